"""Vectors as wide as the processor's registers, and several at a time.

On several processors with AVX-512 LLVM prefers vectors of 256 bits, because on the first of them 512 bits slowed the
clock. For kernels as dense as ours the wide ones are 15 to 35 % faster (measured on Sapphire Rapids; NumPy uses them
too).

A kernel is one long chain of instructions that wait for each other, longer than the processor looks ahead. With four
vectors interleaved there are four chains at a time: 15 to 30 % faster on Zen 5 than with one, which is what LLVM picks
for loops of this length. (Eight gain little more, and the longest kernels lose by them for lack of registers.)

Four vectors need more registers than there are, and what is laid aside must not straddle cache lines. LLVM knows that
too late to align the stack for it, which is aligned by chance in one process out of four; in the others mish of float64
took up to 38 % longer (Zen 4). So the stack is always aligned.

All is asked for in LLVM's terms, at the function and at the loop. The loop around an elementwise kernel is written by
`numba.vectorize`, hence the detour here.

NumPy hands a loop operands that lie apart, or an input that is the output or ahead of it, and copies what overlaps
otherwise. LLVM cannot know that. It would look whether operands overlap, and compute element by element if they do, 8
to 30 times slower in place. So the loop is said to be parallel. (With an input ahead its iterations are not
independent, but a vector is loaded before one is stored.)

Of its two loops Numba's ufunc takes that for contiguous operands wherever the inputs are contiguous, and writes out of
bounds where the output is not. Here it is made to look at the output, too. And it takes back the floating-point flags
that it raised in vain, see `flags`.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from llvmlite import ir

from .flags import settle_at_end
from .numba_patches import ADD_MODULE, ARGUMENT, ASK_FOR_LOCK, IS_UNIT_STRIDED, lock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import numpy as np

_INTERLEAVE = "llvm.loop.interleave.count", ir.Constant(ir.IntType(32), 4)
_SKIP = "llvm.loop.vectorize.enable", ir.Constant(ir.IntType(1), False)  # noqa: FBT003
_PARALLEL = "llvm.loop.parallel_accesses", "llvm.access.group"
_UFUNC = "__ufunc__"  # begins the names of loops
_ATTRIBUTES = '"prefer-vector-width"="512"', '"stackrealign"'


def prefer_wide(function: Any) -> None:
    """Ask for wide vectors in an `llvmlite.ir.Function`, and for a stack that they fit."""
    for attribute in _ATTRIBUTES:
        set.add(function.attributes, attribute)  # llvmlite's own `add` knows no attributes with a value


def interleave(function: Any) -> None:
    """Ask for several vectors at a time in the loops of an `llvmlite.ir.Function`.

    The second loop of a ufunc is for operands with gaps, of which it gets a few hundred elements at most: it is left
    alone, for to vectorise it too takes as long as all the rest.
    """
    before, loops = set(), 0
    is_ufunc = function.name.startswith(_UFUNC)
    for block in function.blocks:
        # Not the block that joins both branches around the loops of a ufunc, which stands before them.
        if not is_ufunc or block.name.startswith("for.cond"):
            before.add(block)
        end = block.terminator
        if end is not None and end.opname == "br" and any(target in before for target in end.operands):
            hints = [_INTERLEAVE if not is_ufunc or not loops else _SKIP]
            if is_ufunc and not loops:
                hints.append((_PARALLEL[0], _group_accesses(function)))
            end.set_metadata("llvm.loop", _loop_metadata(function.module, hints))
            loops += 1


def _loop_metadata(module: Any, hints: Iterable[tuple[str, Any]]) -> Any:
    """Return metadata of one loop, the first operand of which is, as LLVM wants it, the metadata itself."""
    said = [module.add_metadata(list(hint)) for hint in hints]
    loop = ir.MDValue(module, [said[0], *said], name=str(len(module.metadata)))
    loop.operands = (loop, *said)
    return loop


class _Distinct(ir.MDValue):  # type: ignore[misc]
    """A node of metadata that is equal to itself only, which llvmlite cannot write."""

    def descr(self, buf: list[str]) -> None:
        buf += ("distinct !{ }", "\n")


def _group_accesses(function: Any) -> Any:
    """Name all that is read and written in the bodies of loops; return the name."""
    group = _Distinct(function.module, [], name=str(len(function.module.metadata)))
    for block in function.blocks:
        if block.name.startswith("for.body"):
            for instruction in block.instructions:
                if instruction.opname in {"load", "store"}:
                    instruction.set_metadata(_PARALLEL[1], group)
    return group


@contextlib.contextmanager
def wide_loops(dtype: np.dtype[Any] | None = None, arity: int = 0) -> Iterator[None]:
    """Let all that Numba compiles meanwhile have such loops.

    Those of ufuncs settle flags, given the dtype of all operands and the number of inputs.

    Where Numba has changed so much that there is nothing to change here, loops are as LLVM likes them, and those of
    ufuncs as Numba writes them; kernels look whether they are safe.
    """

    def tune(function: Any) -> None:
        prefer_wide(function)
        interleave(function)
        if dtype is not None and function.name.startswith(_UFUNC):
            settle_at_end(function, dtype, arity)

    argument: Any = ARGUMENT.get()
    with _each_function(tune), contextlib.ExitStack() as stack:
        if argument is not None:
            stack.enter_context(ARGUMENT.replaced(_looking_at_the_output(argument)))
        yield


@contextlib.contextmanager
def raising_nothing() -> Iterator[None]:
    """Leave out of all that Numba compiles meanwhile what would raise an exception of a function that raises none.

    It begins by asking for the lock of the interpreter. Without it the object calls nothing of Numba.
    """
    with _each_function(_raise_nothing):
        yield


def _raise_nothing(function: Any) -> None:
    for block in function.blocks:
        end = block.terminator
        targets = [] if end is None or end.opname != "br" else [o for o in end.operands if isinstance(o, ir.Block)]
        others = [target for target in targets if not _asks_for_lock(target)]
        if len(others) < len(targets):
            block.instructions.remove(end)
            block.terminator = None
            ir.IRBuilder(block).branch(*others)


def _asks_for_lock(block: Any) -> bool:
    calls = [each for each in block.instructions if isinstance(each, ir.CallInstr)]
    return bool(calls) and getattr(calls[0].callee, "name", "") == ASK_FOR_LOCK


@contextlib.contextmanager
def _each_function(change: Callable[[Any], object]) -> Iterator[None]:
    """Change each function that Numba hands to LLVM meanwhile."""
    add: Any = ADD_MODULE.get()

    def add_changed(self: Any, module: Any) -> None:
        for function in list(module.functions):  # a change may add some
            if not function.is_declaration:
                change(function)
        add(self, module)

    with lock(), contextlib.ExitStack() as stack:
        if add is not None:
            stack.enter_context(ADD_MODULE.replaced(add_changed))
        yield


def _looking_at_the_output(argument: Any) -> Any:
    """Return a class of the operands of Numba's loop, whose first one speaks for all, also for the output."""
    first: dict[Any, Any] = {}

    class Argument(argument):  # type: ignore[misc]
        def __init__(self, context: Any, builder: Any, *others: Any) -> None:
            super().__init__(context, builder, *others)
            # The wrapper asks only inputs whether they are contiguous.
            one = first.setdefault(builder, self)
            both = [IS_UNIT_STRIDED.of(one), IS_UNIT_STRIDED.of(self)]
            if one is not self and None not in both:
                one.is_unit_strided = builder.and_(*both)

    return Argument

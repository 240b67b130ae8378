"""Vectors as wide as the processor's registers, and several at a time.

On several processors with AVX-512 LLVM prefers vectors of 256 bits, because on the first of them 512 bits slowed the
clock. For kernels as dense as these the wide ones are 15 to 35 % faster (measured on Sapphire Rapids; NumPy uses them
too).

A kernel is one long chain of instructions that wait for each other, longer than the processor looks ahead. With four
vectors interleaved there are four chains at a time: 15 to 30 % faster on Zen 5 than with one, which LLVM would choose
for loops of this length. (Eight gain little more, and slow the longest kernels down for lack of registers.)

Four vectors need more registers than there are, and registers that are spilled must not straddle cache lines. LLVM
spills too late to align the stack for it, which is aligned by chance in one process out of four; in the others mish of
float64 took up to 38 % longer (Zen 4). So the stack is always aligned.

All is requested by LLVM's attributes of the function and metadata of the loop. `numba.vectorize` generates the loop
around an elementwise kernel, so that they are added to all functions which Numba hands to LLVM.

NumPy hands a loop operands that lie apart, or an input that is the output or ahead of it, and copies other operands
that overlap. LLVM cannot know that. It would check whether operands overlap, and compute element by element if they do,
8 to 30 times slower in place. So the loop is declared parallel. (With an input ahead its iterations are not
independent, but a vector is loaded before one is stored.)

Of its two loops Numba's ufunc takes that for contiguous operands wherever the inputs are contiguous, and writes out of
bounds where the output is not. Here it checks the output, too. And it clears the floating-point flags that it raised in
vain, see `flags`.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from llvmlite import ir

from .flags import clear_unjustified_before_return
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
    """Request wide vectors in an `llvmlite.ir.Function`, and a stack that is aligned for them."""
    for attribute in _ATTRIBUTES:
        set.add(function.attributes, attribute)  # llvmlite's own `add` knows no attributes with a value


def interleave(function: Any) -> None:
    """Request several vectors at a time in the loops of an `llvmlite.ir.Function`.

    The second loop of a ufunc is for operands with gaps, of which it gets a few hundred elements at most. It is not
    vectorised, which would take as long to compile as all the rest.
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
    """Return metadata of one loop; LLVM demands that its first operand is the metadata itself."""
    nodes = [module.add_metadata(list(hint)) for hint in hints]
    loop = ir.MDValue(module, [nodes[0], *nodes], name=str(len(module.metadata)))
    loop.operands = (loop, *nodes)
    return loop


class _Distinct(ir.MDValue):  # type: ignore[misc]
    """A distinct node of metadata, which llvmlite does not know."""

    def descr(self, buf: list[str]) -> None:
        buf += ("distinct !{ }", "\n")


def _group_accesses(function: Any) -> Any:
    """Put all loads and stores in the bodies of loops into one access group, and return it."""
    group = _Distinct(function.module, [], name=str(len(function.module.metadata)))
    for block in function.blocks:
        if block.name.startswith("for.body"):
            for instruction in block.instructions:
                if instruction.opname in {"load", "store"}:
                    instruction.set_metadata(_PARALLEL[1], group)
    return group


@contextlib.contextmanager
def wide_loops(dtype: np.dtype[Any] | None = None, arity: int = 0) -> Iterator[None]:
    """Give all functions that Numba compiles meanwhile such loops.

    Those of ufuncs clear flags, given the dtype of all operands and the number of inputs.

    Where Numba has changed so much that its internals are not found, loops are as LLVM prefers, and those of ufuncs as
    Numba generates them; kernels check whether they are safe.
    """

    def tune(function: Any) -> None:
        prefer_wide(function)
        interleave(function)
        if dtype is not None and function.name.startswith(_UFUNC):
            clear_unjustified_before_return(function, dtype, arity)

    argument: Any = ARGUMENT.get()
    with _each_function(tune), contextlib.ExitStack() as stack:
        if argument is not None:
            stack.enter_context(ARGUMENT.replaced(_checking_the_output(argument)))
        yield


@contextlib.contextmanager
def without_exceptions() -> Iterator[None]:
    """Remove the code that raises exceptions from functions, which raise none, that Numba compiles meanwhile.

    It begins with a call that acquires the lock of the interpreter. Without it the object calls nothing of Numba.
    """
    with _each_function(_remove_exceptions):
        yield


def _remove_exceptions(function: Any) -> None:
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


def _checking_the_output(argument: Any) -> Any:
    """Return a class of the operands of Numba's loop, the first of which is contiguous only if the output is, too."""
    first: dict[Any, Any] = {}

    class Argument(argument):  # type: ignore[misc]
        def __init__(self, context: Any, builder: Any, *others: Any) -> None:
            super().__init__(context, builder, *others)
            # The wrapper checks only of inputs whether they are contiguous.
            one = first.setdefault(builder, self)
            both = [IS_UNIT_STRIDED.of(one), IS_UNIT_STRIDED.of(self)]
            if one is not self and None not in both:
                one.is_unit_strided = builder.and_(*both)

    return Argument

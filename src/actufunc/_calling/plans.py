"""Plans: how a backend computes calls with the same dtypes, hyperparameters and keywords.

A backend makes a plan for a call and executes it. The activation caches the plan under a key made of the dtypes of
arrays and of the values of everything else. Whatever calls with the same key may still differ in, such as shapes and
strides, the plan checks when it is executed.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import NoneType
from typing import TYPE_CHECKING, Any

import numpy as np

from .array_kinds import SCALARS

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

    from .call import Call

_UFUNC_KEYWORDS = frozenset({"out", "where", "dtype", "casting", "order", "subok", "signature", "sig"})
_MOST_PLANS = 64  # plans that an activation caches; a hyperparameter that is trained has a new value in each call

_ndarray = np.ndarray
_NUMBERS = (bool, int, float, np.number, np.bool_)
_LARGEST = np.iinfo(np.intp).max


@dataclass(frozen=True, slots=True)
class Plan:
    """How a backend computes a call, and later calls with the same key.

    Attributes
    ----------
    names : tuple of str
        Operands of `execute`: the arrays of the definition, even if scalars are given for them, and hyperparameters
        that are arrays.
    execute : callable
        Function of the operands as a tuple, the output or None, and the mask or True; it returns the result, or
        NotImplemented if it does not accept these arrays, as it may for later calls only.
    kernel : callable, or None
        Function of a single operand and an optional output that computes the same, without a mask: the operand is a
        scalar, or a small or contiguous array, of the type or dtype in the key, and so is the output.
    is_cacheable : bool
        True if the plan holds for later calls with the same key.
    """

    names: tuple[str, ...]
    execute: Callable[[tuple[Any, ...], Any, Any], Any]
    kernel: Callable[..., Any] | None = None
    is_cacheable: bool = True

    def run(self, call: Call) -> Any:
        """Compute the call that this plan was made for."""
        operands = tuple([call.operands[name] for name in self.names])
        return self.execute(operands, call.out, call.keywords.get("where", True))

    def cache_entry(self, names: tuple[str, ...]) -> tuple[Callable[..., Any], int, tuple[int | str, ...] | None]:
        """Return `execute`, the number of its operands, and where calls with positional arguments `names` have them.

        A place is a position or a keyword; None stands for the first positions, in order.
        """
        places = tuple([names.index(name) if name in names else name for name in self.names])
        return self.execute, len(places), None if places == tuple(range(len(places))) else places


def once(compute: Callable[[], Any]) -> Plan:
    """Return a plan for one call, which is not cached."""
    return Plan((), lambda _operands, _out, _where: compute(), is_cacheable=False)


def as_kernel(execute: Callable[[tuple[Any, ...], Any, Any], Any]) -> Callable[..., Any]:
    """Return the `kernel` of a plan whose `execute` takes one operand."""

    def compute(x: Any, out: Any = None) -> Any:
        return execute((x,), out, True)  # noqa: FBT003 -- all elements

    return compute


class UncacheableError(TypeError):
    """An argument that cannot be part of a key, so that no plan is cached for the call."""


def key_of(  # noqa: PLR0912  # one function, which is quick
    x: Any, args: tuple[Any, ...], keywords: Mapping[str, Any], arrays: int
) -> tuple[Any, ...]:
    """Return the key of a call, but for its output; raise UncacheableError if it has none.

    The first `arrays` of `args` are arrays of the definition. A scalar there has only its type in the key, so that it
    must be an operand of the plan.
    """
    kind = type(x)
    if kind is _ndarray:
        key: list[Any] = [x.dtype]
    else:
        key = [kind, getattr(x, "dtype", None)]
        if type(key[1]).__hash__ is None:  # a column of that name
            raise UncacheableError
        if isinstance(x, int):
            _check_integer(x)
    for value in args:
        of_value = type(value)
        if of_value is _ndarray:
            key.append(value.dtype)
        elif arrays > 0 and (of_value is kind or isinstance(value, SCALARS)):
            if isinstance(value, int):
                _check_integer(value)
            key.append(of_value)
        elif of_value is float and (value > 0 or value < 0):  # as by _key_part, but faster
            key.append((of_value, value))
        else:
            key.append(_key_part(value))
        arrays -= 1
    for name, value in keywords.items():
        of_value = type(value)
        if of_value is float and (value > 0 or value < 0):
            key.append((name, of_value, value))
        else:
            key.append((name, value.dtype if of_value is _ndarray else _key_part(value)))
    return tuple(key)


def _check_integer(value: int) -> None:
    """Raise UncacheableError for an integer that NumPy gives another dtype than smaller ones."""
    if not -_LARGEST - 1 <= value <= _LARGEST:
        raise UncacheableError


def _key_part(value: Any) -> Hashable:
    """Return the dtype of an array, or a hashable that is equal only for identical values of one type."""
    kind = type(value)
    if kind is _ndarray:
        return value.dtype  # type: ignore[no-any-return]
    if kind is str or kind is NoneType:
        return value  # type: ignore[no-any-return]
    if isinstance(value, _NUMBERS) and kind is not np.timedelta64:
        # Zeros of both signs are equal but differ to a kernel; NaN is unequal to itself.
        return kind, value if value and value == value else repr(value)  # noqa: PLR0124
    if kind is tuple:
        return tuple(map(_key_part, value))
    if isinstance(value, (np.dtype, type)):
        return value
    raise UncacheableError


def kernel_key(x: Any, args: tuple[Any, ...], keywords: Mapping[str, Any], key: tuple[Any, ...]) -> Any:
    """Return the key of a plan's kernel in `Activation._kernels`, or None if calls like this must not use it."""
    if type(x) is _ndarray:
        return None if keywords.keys() & _UFUNC_KEYWORDS else key if args or keywords else x.dtype
    # A ufunc converts a Python integer beyond 64 bits to an object.
    return None if args or keywords or (isinstance(x, int) and not isinstance(x, bool)) else type(x)


def cache_plan(plans: dict[Hashable, Any], key: Hashable, plan: Any) -> None:
    """Cache a plan; a full cache is cleared first."""
    if len(plans) >= _MOST_PLANS and key not in plans:
        plans.clear()
    plans[key] = plan

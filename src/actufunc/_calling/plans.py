"""Plans: what is settled about a call before its arrays are looked at, kept for the calls like it that follow.

A backend that serves a call makes a plan, of dtypes, hyperparameters and keywords, and executes it. The plan is kept
with the activation under a key, which tells calls apart by just these: arrays by their dtypes, everything else by its
value. In what else calls with the same key may differ, shapes and strides above all, the plan looks at when executed.
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

_OF_CALLS = frozenset({"out", "where", "dtype", "casting", "order", "subok", "signature", "sig"})
_KEPT = 64  # plans that an activation keeps; a hyperparameter that is trained has ever new values

_ndarray = np.ndarray
_NUMBERS = (bool, int, float, np.number, np.bool_)
_LARGEST = np.iinfo(np.intp).max


@dataclass(frozen=True, slots=True)
class Plan:
    """How a backend computes a call, and later calls with the same key.

    Attributes
    ----------
    names : tuple of str
        Arguments that `execute` takes: all that stand in the place of arrays, and hyperparameters that are arrays.
    execute : callable
        Takes their values as a tuple, the output or None, and the mask or True; returns the result, or NotImplemented
        where it does not accept these arrays.
    kernel : callable, or None
        Computes the same for a single array, or scalar, of the key's dtype or type that is small or contiguous, and for
        such an output of that dtype; not where there is a mask.
    lasts : bool
        Whether the plan holds for later calls.
    """

    names: tuple[str, ...]
    execute: Callable[[tuple[Any, ...], Any, Any], Any]
    kernel: Callable[..., Any] | None = None
    lasts: bool = True

    def run(self, call: Call) -> Any:
        """Compute the call that this plan was made for."""
        operands = tuple([call.operands[name] for name in self.names])
        return self.execute(operands, call.out, call.keywords.get("where", True))

    def placed(self, names: tuple[str, ...]) -> tuple[Callable[..., Any], int, tuple[int | str, ...] | None]:
        """Return `execute`, the number of its operands, and where a call has them, whose first arguments are `names`.

        That is the place or keyword of each, or None if they are the first arguments.
        """
        places = tuple([names.index(name) if name in names else name for name in self.names])
        return self.execute, len(places), None if places == tuple(range(len(places))) else places


def once(compute: Callable[[], Any]) -> Plan:
    """Return the plan of a call that says nothing about later ones."""
    return Plan((), lambda _operands, _out, _where: compute(), lasts=False)


def as_kernel(execute: Callable[[tuple[Any, ...], Any, Any], Any]) -> Callable[..., Any]:
    """Return a plan's `execute` of a single array as its `kernel`."""

    def compute(x: Any, out: Any = None) -> Any:
        return execute((x,), out, True)  # noqa: FBT003 -- all elements

    return compute


class UnplannedError(TypeError):
    """An argument has no tag in the key of a call, so that no plan is kept for it."""


def key_of(  # noqa: PLR0912  # one function, which is quick
    x: Any, args: tuple[Any, ...], keywords: Mapping[str, Any], arrays: int
) -> tuple[Any, ...]:
    """Return what tells a call apart, but for its output.

    Parameters
    ----------
    x, args, keywords
        The arguments.
    arrays : int
        How many of `args` stand for arrays. Of a scalar in such a place only the type is told, so that a plan must take
        it among its operands.

    Raises
    ------
    UnplannedError
        If an argument has no tag.
    """
    kind = type(x)
    if kind is _ndarray:
        key: list[Any] = [x.dtype]
    else:
        key = [kind, getattr(x, "dtype", None)]
        if type(key[1]).__hash__ is None:  # a column of that name
            raise UnplannedError
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
        elif of_value is float and (value > 0 or value < 0):  # as of a tag, but at once
            key.append((of_value, value))
        else:
            key.append(_tag(value))
        arrays -= 1
    for name, value in keywords.items():
        of_value = type(value)
        if of_value is float and (value > 0 or value < 0):
            key.append((name, of_value, value))
        else:
            key.append((name, value.dtype if of_value is _ndarray else _tag(value)))
    return tuple(key)


def _check_integer(value: int) -> None:
    """Refuse an integer that NumPy gives another dtype than others."""
    if not -_LARGEST - 1 <= value <= _LARGEST:
        raise UnplannedError


def _tag(value: Any) -> Hashable:
    """Return the dtype of an array, or what tells any other value from those that are equal but not the same."""
    kind = type(value)
    if kind is _ndarray:
        return value.dtype  # type: ignore[no-any-return]
    if kind is str or kind is NoneType:
        return value  # type: ignore[no-any-return]
    if isinstance(value, _NUMBERS) and kind is not np.timedelta64:
        # Two zeros are equal but not the same to a kernel, and NaN would never be found again.
        return kind, value if value and value == value else repr(value)  # noqa: PLR0124
    if kind is tuple:
        return tuple(map(_tag, value))
    if isinstance(value, (np.dtype, type)):
        return value
    raise UnplannedError


def place_of_kernel(x: Any, args: tuple[Any, ...], keywords: Mapping[str, Any], key: tuple[Any, ...]) -> Any:
    """Return where an activation looks for a plan's kernel, or None where it may not."""
    if type(x) is _ndarray:
        # These say more of a call than what it computes.
        return None if keywords.keys() & _OF_CALLS else key if args or keywords else x.dtype
    # A ufunc takes integers without a dtype for objects where they are large.
    return None if args or keywords or (isinstance(x, int) and not isinstance(x, bool)) else type(x)


def remember(plans: dict[Hashable, Any], key: Hashable, plan: Any) -> None:
    """Keep a plan, if need be in the place of all others."""
    if len(plans) >= _KEPT and key not in plans:
        plans.clear()
    plans[key] = plan

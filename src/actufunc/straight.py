"""What goes straight to a kernel: calls like one that was checked in full, and served, before.

A backend that has served a call may leave behind what serves the next of its kind: a function of a tuple of arrays and
an output, which gives the same result, or returns NotImplemented where these arrays are not what it takes. It is found
by what tells calls apart otherwise: the type of the arrays, their dtype, and all other arguments as they were given.
"""

from __future__ import annotations

from types import NoneType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    Straight = Callable[[tuple[Any, ...], Any], Any]

TINY = 512
"""Elements of strided arrays that Numba's loop for strides, which is not vectorised, computes before the guard has
found contiguous chunks."""

SMALL = 4096
"""Elements of an array in place (``out=x``) that are computed one by one before the guard has found a detour: LLVM's
vectorised loop steps aside where input and output are the same memory. What overlaps otherwise NumPy copies."""

LARGE = 16384
"""Elements below which no array is worth a second thread, nor memory that another has left."""

_SCALARS = frozenset({bool, int, float, str, NoneType})

_KNOWN = 64  # kinds of calls that are remembered; a hyperparameter that is trained has ever new values


def key_of(dtype: Any, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """Return what tells the arguments of a call apart; it is hashable if they are.

    Parameters
    ----------
    dtype : dtype
        Of the arrays.
    args, keywords
        The other arguments, without an output.
    """
    if not args and not keywords:
        return dtype
    key: list[Any] = [dtype, args, *map(type, args)]  # 1 and 1.0 differ by their types
    for name, value in keywords.items():
        key += (name, value, type(value))
    return tuple(key)


def remember(
    known: dict[Hashable, Straight], straight: Straight, dtype: Any, args: tuple[Any, ...], keywords: dict[str, Any]
) -> None:
    """Keep what serves such calls, if the arguments can be told apart.

    Parameters
    ----------
    known : dict
        Where to keep it.
    straight : callable
        What to keep.
    dtype, args, keywords
        As for `key_of`.
    """
    for value in (*args, *keywords.values()):
        # Two zeros are equal but not the same to a kernel, and NaN would never be found again.
        if type(value) not in _SCALARS or (type(value) is float and (value == 0 or value != value)):  # noqa: PLR0124
            return
    key = key_of(dtype, args, keywords)
    if len(known) >= _KNOWN and key not in known:
        known.clear()
    known[key] = straight

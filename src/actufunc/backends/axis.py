"""Calls over an axis: axes, shapes of operands and results, and contiguous views."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .broadcasting import check_fits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actufunc._calling.call import Call
    from actufunc.formula.definition import Definition


def normalise_axis(name: str, axis: Any, ndim: int) -> tuple[int, ...]:
    """Return the axes as non-negative integers; raise ValueError if one is out of range or given twice."""
    if axis is None:
        return tuple(range(ndim))
    axes = axis if isinstance(axis, tuple) else (axis,)
    if not all(isinstance(a, int | np.integer) for a in axes):
        raise TypeError(f"{name} takes axis as an integer, a tuple of integers or None, not {axis!r}")
    if ndim == 0 and axes == (-1,):
        return ()
    if not all(-ndim <= a < ndim for a in axes):
        raise ValueError(f"{name} got axis={axis!r} for an array with {ndim} dimensions")
    normal = tuple(int(a) % ndim for a in axes)
    if len(set(normal)) < len(normal):
        raise ValueError(f"{name} got an axis twice: axis={axis!r}")
    return normal


@dataclass(frozen=True)
class Reduced:
    """Shapes of a call over some axes.

    Attributes
    ----------
    of_x : tuple of int
        Shape of x.
    axes : tuple of int
        Axes to reduce over, not negative.
    keepdims : bool
        True if reduced arrays keep the axes with length one.
    """

    of_x: tuple[int, ...]
    axes: tuple[int, ...]
    keepdims: bool

    @property
    def kept(self) -> tuple[int, ...]:
        """Shape of a reduced array with axes of length one."""
        return tuple(1 if axis in self.axes else length for axis, length in enumerate(self.of_x))

    @property
    def given(self) -> tuple[int, ...]:
        """Shape of a reduced array as `keepdims` asks for it."""
        if self.keepdims:
            return self.kept
        return tuple(length for axis, length in enumerate(self.of_x) if axis not in self.axes)


def shapes_of(call: Call, shape: tuple[int, ...]) -> Reduced:
    """Return the shapes of a call over an axis; `shape` is the shape of x."""
    axes = normalise_axis(call.definition.name, call.keywords.get("axis", -1), len(shape))
    return Reduced(shape, axes, bool(call.keywords.get("keepdims", False)))


def broadcast_to_x(
    definition: Definition, key: str, array: Any, shapes: Reduced, broadcast_to: Callable[[Any, tuple[int, ...]], Any]
) -> Any:
    """Return an operand broadcast to the shape of x by a library's `broadcast_to`."""
    of_row = key in definition.without_axis
    given, what = (shapes.given, "the result") if of_row else (shapes.of_x, "x")
    try:
        array = array if array.shape == given else broadcast_to(array, given)
    except ValueError:
        name = definition.name
        raise ValueError(f"{name} cannot broadcast {key} of shape {array.shape} to that of {what}, {given}") from None
    return broadcast_to(array.reshape(shapes.kept), shapes.of_x) if of_row else array


def as_blocks(operands: Sequence[Any], axes: tuple[int, ...]) -> list[Any] | None:
    """Return views of shape (blocks, n, inner), where n are the axes, of contiguous arrays of one shape.

    None is returned if they are not contiguous in one order, or if the axes are not adjacent.
    """
    ndim = operands[0].ndim
    if not all(o.flags.c_contiguous for o in operands):
        if not all(o.flags.f_contiguous for o in operands):
            return None
        operands = [o.T for o in operands]
        axes = tuple(ndim - 1 - axis for axis in axes)
    first, last = min(axes, default=0), max(axes, default=-1)
    if last - first + 1 != len(axes):
        return None

    def blocks(shape: tuple[int, ...]) -> tuple[int, ...]:
        return math.prod(shape[:first]), math.prod(shape[first : last + 1]), math.prod(shape[last + 1 :])

    return [o.reshape(blocks(o.shape)) for o in operands]


# Gated units.


def split_axis(name: str, axis: Any, shape: Sequence[int | None]) -> int:
    """Return the axis that a gated unit splits, as a non-negative integer.

    ValueError is raised unless it is one axis of even length; a length of None is not known yet and accepted.
    """
    axes = normalise_axis(name, axis, len(shape))
    if len(axes) != 1:
        raise ValueError(f"{name} halves one axis: x needs at least one dimension, and axis must be an integer")
    length = shape[axes[0]]
    if length != length:  # noqa: PLR0124 -- NaN, dask's unknown length
        raise ValueError(f"{name} cannot halve axis {axes[0]} of unknown length; use x.compute_chunk_sizes() first")
    if length is not None and length % 2:
        raise ValueError(f"{name} cannot halve axis {axes[0]}, which has the odd length {length}")
    return axes[0]


def split_indices(shape: tuple[int, ...], axis: int) -> tuple[Any, Any]:
    """Return the indices of both parts of an array that is split along an axis."""
    middle = shape[axis] // 2
    before = (slice(None),) * axis
    return (*before, slice(None, middle), ...), (*before, slice(middle, None), ...)


def check_part(name: str, part: Any, out: Any) -> None:
    """Raise ValueError unless an output has the shape of a part of x, which is not broadcast."""
    if out is not None and out is not Ellipsis and hasattr(out, "shape"):
        check_fits(name, part.shape, out.shape, exactly=True)

"""Evaluation of a function on arrays larger than memory, a box (a tuple of slices) at a time."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from .npy import lengths

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from actufunc import Activation

    from .npy import Box

    Array = np.ndarray[Any, Any]


class Source(Protocol):
    """An array that can be read."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of the array."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""

    @property
    def fastest_first(self) -> Sequence[int]:
        """The axes in the order of their strides, the contiguous one first."""

    @property
    def chunks(self) -> tuple[int, ...]:
        """Number of elements along each axis that are best read or written together."""

    def is_contiguous(self, box: Box) -> bool:
        """Return True if `read` gives a box without a copy."""

    def read(self, box: Box) -> Array:
        """Return the elements in a box."""


class Target(Protocol):
    """An array that can be written: in place if a box is contiguous, else by a copy."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of the array."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""

    @property
    def chunks(self) -> tuple[int, ...]:
        """Number of elements along each axis that are best read or written together."""

    def is_contiguous(self, box: Box) -> bool:
        """Return True if `view` gives a box."""

    def view(self, box: Box) -> Array:
        """Return a box as an array to write to."""

    def write(self, box: Box, array: Array) -> None:
        """Write the elements of a box."""


def boxes(
    shape: tuple[int, ...], whole: int | None, limit: int, fastest_first: Sequence[int], chunks: tuple[int, ...]
) -> Iterator[Box]:
    """Cut an array into boxes, in the order in which they are stored; the axis `whole` is not cut.

    A box has at most `limit` elements, unless the whole axis has more, and grows along the axes `fastest_first`. Boxes
    begin and end at multiples of `chunks`, if the limit allows.
    """
    if not math.prod(shape):
        return
    grain = [min(pair) for pair in zip(chunks, shape, strict=True)]
    steps = [length if axis == whole else grain[axis] for axis, length in enumerate(shape)]
    if math.prod(steps) > limit:
        grain = [1] * len(shape)
        steps = [length if axis == whole else 1 for axis, length in enumerate(shape)]
    for axis in fastest_first:
        if axis == whole:
            continue
        others = math.prod(steps) // steps[axis]
        fitting = limit // others // grain[axis] * grain[axis]
        steps[axis] = min(shape[axis], max(steps[axis], fitting))
        if steps[axis] < shape[axis]:
            break
    slow = list(reversed(fastest_first))
    starts = [range(0, shape[axis], steps[axis]) for axis in slow]
    for corner in itertools.product(*starts):
        box = [slice(0)] * len(shape)
        for axis, start in zip(slow, corner, strict=True):
            box[axis] = slice(start, min(start + steps[axis], shape[axis]))
        yield tuple(box)


def compute(
    function: Activation, keywords: dict[str, Any], source: Source, target: Target, chunk: float
) -> Iterator[int]:
    """Compute the result in boxes, holding about `chunk` bytes, and yield the number of elements of each box.

    `keywords` are the hyperparameters, options and axis of the function.
    """
    keywords = dict(keywords)
    ndim = len(source.shape)
    axis = keywords.pop("axis", None) if ndim else None
    if axis is not None:
        axis %= ndim
    # Kernels read rows, along the last axis: an array in Fortran order is transposed.
    is_transposed = ndim > 1 and source.fastest_first[0] == 0
    if axis is not None:
        keywords["axis"] = ndim - 1 - axis if is_transposed else axis
    # Both argument and result are in memory.
    limit = max(1, int(chunk / (source.dtype.itemsize + target.dtype.itemsize)))
    shape = source.shape
    if axis is not None and math.prod(target.shape) > 0:  # an empty axis may still be reduced
        shape = (*shape[:axis], max(1, shape[axis]), *shape[axis + 1 :])
    chunks = target.chunks if source.shape == target.shape and set(source.chunks) <= {1} else source.chunks
    first = next(boxes(shape, axis, limit, source.fastest_first, chunks), None)
    if first is not None and not source.is_contiguous(first):
        limit = max(1, limit // 2)  # a copy, beside the memory map that it is copied from
    for box in boxes(shape, axis, limit, source.fastest_first, chunks):
        x, result_box = _read(source, box), _result_box(function, axis, box, target)
        in_place = target.is_contiguous(result_box)
        out = (
            target.view(result_box)
            if in_place
            else np.empty(lengths(result_box), target.dtype, "F" if is_transposed else "C")
        )
        function(x.T if is_transposed else x, out=out.T if is_transposed else out, **keywords)
        if not in_place:
            target.write(result_box, out)
        yield x.size


def _read(source: Source, box: Box) -> Array:
    if math.prod(source.shape):
        return source.read(box)
    return np.empty(tuple(map(min, lengths(box), source.shape)), source.dtype)


def _result_box(function: Activation, axis: int | None, box: Box, target: Target) -> Box:
    """Return the box of the result that a box of the argument gives."""
    if axis is None:
        return box
    if function.definition.reduces:
        return box[:axis] + box[axis + 1 :]
    return (*box[:axis], slice(0, target.shape[axis]), *box[axis + 1 :])

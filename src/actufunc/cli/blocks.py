"""A function over arrays larger than memory, a box at a time."""

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
        """As of an array."""

    @property
    def shape(self) -> tuple[int, ...]:
        """As of an array."""

    @property
    def fast(self) -> Sequence[int]:
        """The axes, first the one along which neighbours lie side by side."""

    @property
    def chunks(self) -> tuple[int, ...]:
        """Along each axis, the elements that are best read or written together."""

    def is_contiguous(self, box: Box) -> bool:
        """Tell whether a box is there without a copy."""

    def read(self, box: Box) -> Array:
        """Return a box of it."""


class Target(Protocol):
    """An array that can be written: computed in place where a box lies together, else put there."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """As of an array."""

    @property
    def shape(self) -> tuple[int, ...]:
        """As of an array."""

    @property
    def chunks(self) -> tuple[int, ...]:
        """Along each axis, the elements that are best read or written together."""

    def is_contiguous(self, box: Box) -> bool:
        """Tell whether `view` has it."""

    def view(self, box: Box) -> Array:
        """Return a box to compute into."""

    def write(self, box: Box, array: Array) -> None:
        """Put a box into it."""


def boxes(
    shape: tuple[int, ...], whole: int | None, limit: int, fast: Sequence[int], chunks: tuple[int, ...]
) -> Iterator[Box]:
    """Cut an array into boxes.

    Parameters
    ----------
    shape : tuple of int
        Of the array.
    whole : int or None
        An axis that is not cut.
    limit : int
        Elements of a box, if the axis and a chunk have no more.
    fast : sequence of int
        The axes, the fastest first: boxes grow along them in this order.
    chunks : tuple of int
        Boxes begin and end at multiples of these, if the limit allows.

    Yields
    ------
    tuple of slice
        The boxes, in the order of the array.
    """
    if not math.prod(shape):
        return
    grain = [min(pair) for pair in zip(chunks, shape, strict=True)]
    steps = [length if axis == whole else grain[axis] for axis, length in enumerate(shape)]
    if math.prod(steps) > limit:
        grain = [1] * len(shape)
        steps = [length if axis == whole else 1 for axis, length in enumerate(shape)]
    for axis in fast:
        if axis == whole:
            continue
        others = math.prod(steps) // steps[axis]
        fitting = limit // others // grain[axis] * grain[axis]
        steps[axis] = min(shape[axis], max(steps[axis], fitting))
        if steps[axis] < shape[axis]:
            break
    slow = list(reversed(fast))
    starts = [range(0, shape[axis], steps[axis]) for axis in slow]
    for corner in itertools.product(*starts):
        box = [slice(0)] * len(shape)
        for axis, start in zip(slow, corner, strict=True):
            box[axis] = slice(start, min(start + steps[axis], shape[axis]))
        yield tuple(box)


def compute(
    function: Activation, keywords: dict[str, Any], source: Source, target: Target, chunk: float
) -> Iterator[int]:
    """Compute everything, yielding the number of elements read after each box.

    Parameters
    ----------
    function : Activation
        What to compute.
    keywords : dict
        Its hyperparameters, options and axis.
    source, target : Source, Target
        From where to where.
    chunk : float
        Bytes to hold at a time.
    """
    keywords = dict(keywords)
    ndim = len(source.shape)
    axis = keywords.pop("axis", None) if ndim else None
    if axis is not None:
        axis %= ndim
    # With the fastest axis last, as kernels read rows.
    is_turned = ndim > 1 and source.fast[0] == 0
    if axis is not None:
        keywords["axis"] = ndim - 1 - axis if is_turned else axis
    # Twice in memory, as argument and result.
    limit = max(1, int(chunk / (source.dtype.itemsize + target.dtype.itemsize)))
    shape = source.shape
    if axis is not None and math.prod(target.shape) > 0:  # an axis without elements may still be reduced
        shape = (*shape[:axis], max(1, shape[axis]), *shape[axis + 1 :])
    chunks = target.chunks if source.shape == target.shape and set(source.chunks) <= {1} else source.chunks
    first = next(boxes(shape, axis, limit, source.fast, chunks), None)
    if first is not None and not source.is_contiguous(first):
        limit = max(1, limit // 2)  # copied, beside the map that it is copied from
    for box in boxes(shape, axis, limit, source.fast, chunks):
        x, place = _read(source, box), _place(function, axis, box, target)
        is_there = target.is_contiguous(place)
        out = target.view(place) if is_there else np.empty(lengths(place), target.dtype, "F" if is_turned else "C")
        function(x.T if is_turned else x, out=out.T if is_turned else out, **keywords)
        if not is_there:
            target.write(place, out)
        yield x.size


def _read(source: Source, box: Box) -> Array:
    if math.prod(source.shape):
        return source.read(box)
    return np.empty(tuple(map(min, lengths(box), source.shape)), source.dtype)


def _place(function: Activation, axis: int | None, box: Box, target: Target) -> Box:
    """Return where the result of a box belongs."""
    if axis is None:
        return box
    if function.definition.reduces:
        return box[:axis] + box[axis + 1 :]
    return (*box[:axis], slice(0, target.shape[axis]), *box[axis + 1 :])

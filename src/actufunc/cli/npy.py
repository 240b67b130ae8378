"""Files in NumPy's .npy format, larger than memory: the header, and boxes of the array."""

from __future__ import annotations

import math
import mmap
import os
import tokenize
import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.lib import format as npy

from .files import open_regular, reserve
from .problem import shown, size, stop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO
    from pathlib import Path

    Array = np.ndarray[Any, Any]
    Box = tuple[slice, ...]

_VERSIONS = {(1, 0), (2, 0), (3, 0)}
# To make a map costs as much as to copy some pages; pages of a map count as memory of the process.
_MAPPED = 1 << 22  # bytes


@dataclass(frozen=True)
class Header:
    """What a .npy file holds, and where in the file its data begin."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran_order: bool
    offset: int = 0

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Size of the data."""
        return self.elements * self.dtype.itemsize


def open_npy(path: Path) -> tuple[BinaryIO, Header]:
    """Open a .npy file and read its header.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    tuple of file and Header
        The file is to be closed by the caller.

    Raises
    ------
    ProblemError
        If it cannot be read, is none, or ends early.
    """
    file = open_regular(path)
    try:
        header = read_header(file, shown(path))
        there = os.fstat(file.fileno()).st_size - header.offset
        if not header.dtype.hasobject and there < header.nbytes:
            stop(
                f"{shown(path)} is truncated: {size(header.nbytes)} of data should follow the header, {size(there)} do"
            )
    except BaseException:
        file.close()
        raise
    return file, header


def read_header(file: Any, title: str) -> Header:
    """Read the header of a .npy file, or of a stream that looks like one.

    Parameters
    ----------
    file : binary file
        At its beginning.
    title : str
        What messages call it.

    Returns
    -------
    Header
        Checked but for the size of the data.

    Raises
    ------
    ProblemError
        If there is none, or one that is damaged.
    """
    try:
        version = npy.read_magic(file)
    except ValueError:
        stop(f"{title} is not a .npy file")
    if version not in _VERSIONS:
        stop(f"{title} has version {version[0]}.{version[1]} of the .npy format, which is not known")
    # Version 3.0 differs from 2.0 only in that names of fields may be Unicode.
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # headers written by Python 2
            shape, fortran_order, dtype = read(file)
    # Whatever a parser says to random bytes.
    except (ValueError, TypeError, SyntaxError, tokenize.TokenError, OverflowError, RecursionError, MemoryError):
        stop(f"{title} is not a .npy file that NumPy can read: its header is damaged")
    if min(shape, default=0) < 0:
        stop(f"{title} is not a .npy file that NumPy can read: its shape is {shape}")
    return Header(dtype, shape, fortran_order and len(shape) > 1, file.tell())


def create(file: BinaryIO | FileIO, header: Header) -> Data:
    """Write a header to a new file, take space for the data, and return these."""
    description = {
        "descr": npy.dtype_to_descr(header.dtype),
        "fortran_order": header.fortran_order,
        "shape": header.shape,
    }
    npy.write_array_header_1_0(file, description)
    placed = replace(header, offset=file.tell())
    reserve(file, placed.offset, header.nbytes)
    return Data(file, placed, writable=True)


class Data:
    """The array in an open .npy file, through memory maps of a part at a time.

    Pages that a map has touched count as memory of the process until the map is closed. Hence nothing is mapped for
    longer than it takes to compute or copy one part.

    Parameters
    ----------
    file : binary file
        Open for reading, or for reading and writing.
    header : Header
        Of the file.
    writable : bool
        Whether the maps may be written to.
    """

    def __init__(self, file: BinaryIO | FileIO, header: Header, *, writable: bool = False) -> None:
        self._file, self.header, self._writable = file, header, writable
        self.dtype, self.shape = header.dtype, header.shape
        self.chunks = (1,) * len(self.shape)  # boxes may begin and end anywhere
        self.fast = range(len(self.shape)) if header.fortran_order else range(len(self.shape))[::-1]
        strides, step = [0] * len(self.shape), 1
        for axis in self.fast:
            strides[axis], step = step, step * self.shape[axis]
        self._strides = tuple(strides)  # in elements

    def is_contiguous(self, box: Box) -> bool:
        """Tell whether the elements of a box lie side by side in the file."""
        return self._span(box)[1] == math.prod(lengths(box))

    def view(self, box: Box) -> Array:
        """Map what lies between the first and the last element of a box, and return these, in the order of the file.

        The map is closed with the last reference to the array.
        """
        start, count = self._span(box)
        itemsize = self.dtype.itemsize
        first = self.header.offset + start * itemsize
        aligned = first - first % mmap.ALLOCATIONGRANULARITY
        access = mmap.ACCESS_WRITE if self._writable else mmap.ACCESS_READ
        length = first - aligned + count * itemsize
        pages = mmap.mmap(self._file.fileno(), length, access=access, offset=aligned)
        strides = tuple(stride * itemsize for stride in self._strides)
        return np.ndarray(lengths(box), self.dtype, pages, first - aligned, strides)

    def read(self, box: Box) -> Array:
        """Return a box: mapped if it lies together, else copied."""
        if self.is_contiguous(box):
            return self.view(box)
        array = np.empty(lengths(box), self.dtype.newbyteorder("="), "F" if self.header.fortran_order else "C")
        for part, place in self._parts(box, box):
            array[place] = self.view(part)
        return array

    def write(self, box: Box, array: Array) -> None:
        """Put a box into the file."""
        for part, place in self._parts(box, box):
            self.view(part)[...] = array[place]

    def _span(self, box: Box) -> tuple[int, int]:
        """Return where in the file a box begins, and how many elements on it has ended."""
        start = sum(part.start * stride for part, stride in zip(box, self._strides, strict=True))
        last = sum((part.stop - 1) * stride for part, stride in zip(box, self._strides, strict=True))
        return start, last - start + 1

    def _parts(self, part: Box, box: Box) -> Iterator[tuple[Box, Box]]:
        """Cut a part of a box into those that may be mapped, each also counted from the corner of the box."""
        limit = _MAPPED // self.dtype.itemsize
        if self._span(part)[1] <= limit:
            yield part, tuple(slice(p.start - b.start, p.stop - b.start) for p, b in zip(part, box, strict=True))
            return
        sizes = lengths(part)
        axis = next(axis for axis in reversed(self.fast) if sizes[axis] > 1)
        step = max(1, limit // self._strides[axis])
        for start in range(part[axis].start, part[axis].stop, step):
            some = slice(start, min(start + step, part[axis].stop))
            yield from self._parts((*part[:axis], some, *part[axis + 1 :]), box)


def lengths(box: Box) -> tuple[int, ...]:
    """Return the shape of a box."""
    return tuple(part.stop - part.start for part in box)

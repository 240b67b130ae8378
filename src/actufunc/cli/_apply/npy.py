"""Files in NumPy's .npy format: the header, and boxes of an array that may be larger than memory."""

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

from actufunc.cli._errors import format_path, format_size, stop
from actufunc.cli._files import open_regular, reserve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO
    from pathlib import Path

    Array = np.ndarray[Any, Any]
    Box = tuple[slice, ...]

_VERSIONS = {(1, 0), (2, 0), (3, 0)}
# Largest memory map, in bytes. A map costs as much as a copy of some pages; its pages count as memory of the process.
_LARGEST_MAP = 1 << 22


@dataclass(frozen=True)
class Header:
    """The array in a .npy file, and the offset of its data."""

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
    """Open a .npy file, which the caller closes, and read its header.

    Raise `CommandError` if the file cannot be read, is not a .npy file, or is truncated.
    """
    file = open_regular(path)
    try:
        header = read_header(file, format_path(path))
        there = os.fstat(file.fileno()).st_size - header.offset
        if not header.dtype.hasobject and there < header.nbytes:
            expected, found = format_size(header.nbytes), format_size(there)
            stop(f"{format_path(path)} is truncated: {expected} of data should follow the header, {found} do")
    except BaseException:
        file.close()
        raise
    return file, header


def read_header(file: Any, title: str) -> Header:
    """Read the header at the beginning of a .npy file, or of a stream that looks like one, called `title` in messages.

    Raise `CommandError` if there is no valid header; the size of the data is not checked.
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
    # A parser of random bytes may raise any of these.
    except (ValueError, TypeError, SyntaxError, tokenize.TokenError, OverflowError, RecursionError, MemoryError):
        stop(f"{title} is not a .npy file that NumPy can read: its header is damaged")
    if min(shape, default=0) < 0:
        stop(f"{title} is not a .npy file that NumPy can read: its shape is {shape}")
    return Header(dtype, shape, fortran_order and len(shape) > 1, file.tell())


def create(file: BinaryIO | FileIO, header: Header) -> NpyArray:
    """Write a header to a new file, reserve space for the data, and return the array."""
    description = {
        "descr": npy.dtype_to_descr(header.dtype),
        "fortran_order": header.fortran_order,
        "shape": header.shape,
    }
    npy.write_array_header_1_0(file, description)
    placed = replace(header, offset=file.tell())
    reserve(file, placed.offset, header.nbytes)
    return NpyArray(file, placed, writable=True)


class NpyArray:
    """The array in an open .npy file, of which one part at a time is mapped to memory.

    Touched pages of a map count as memory of the process until the map is closed. Hence a part is mapped only while it
    is computed or copied.
    """

    def __init__(self, file: BinaryIO | FileIO, header: Header, *, writable: bool = False) -> None:
        self._file, self.header, self._writable = file, header, writable
        self.dtype, self.shape = header.dtype, header.shape
        self.chunks = (1,) * len(self.shape)  # boxes may begin and end anywhere
        self.fastest_first = range(len(self.shape)) if header.fortran_order else range(len(self.shape))[::-1]
        strides, step = [0] * len(self.shape), 1
        for axis in self.fastest_first:
            strides[axis], step = step, step * self.shape[axis]
        self._strides = tuple(strides)  # in elements

    def is_contiguous(self, box: Box) -> bool:
        """Return True if the elements of a box are contiguous in the file."""
        return self._span(box)[1] == math.prod(lengths(box))

    def view(self, box: Box) -> Array:
        """Map the file from the first to the last element of a box, and return the box.

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
        """Return a box, mapped if it is contiguous, else copied."""
        if self.is_contiguous(box):
            return self.view(box)
        array = np.empty(lengths(box), self.dtype.newbyteorder("="), "F" if self.header.fortran_order else "C")
        for part, place in self._parts(box, box):
            array[place] = self.view(part)
        return array

    def write(self, box: Box, array: Array) -> None:
        """Write a box to the file."""
        for part, place in self._parts(box, box):
            self.view(part)[...] = array[place]

    def _span(self, box: Box) -> tuple[int, int]:
        """Return the offset of a box in the file, and the distance to its end, in elements."""
        start = sum(part.start * stride for part, stride in zip(box, self._strides, strict=True))
        last = sum((part.stop - 1) * stride for part, stride in zip(box, self._strides, strict=True))
        return start, last - start + 1

    def _parts(self, part: Box, box: Box) -> Iterator[tuple[Box, Box]]:
        """Cut a part of a box into parts that may be mapped, each in coordinates of the array and of the box."""
        limit = _LARGEST_MAP // self.dtype.itemsize
        if self._span(part)[1] <= limit:
            yield part, tuple(slice(p.start - b.start, p.stop - b.start) for p, b in zip(part, box, strict=True))
            return
        sizes = lengths(part)
        axis = next(axis for axis in reversed(self.fastest_first) if sizes[axis] > 1)
        step = max(1, limit // self._strides[axis])
        for start in range(part[axis].start, part[axis].stop, step):
            some = slice(start, min(start + step, part[axis].stop))
            yield from self._parts((*part[:axis], some, *part[axis + 1 :]), box)


def lengths(box: Box) -> tuple[int, ...]:
    """Return the shape of a box."""
    return tuple(part.stop - part.start for part in box)

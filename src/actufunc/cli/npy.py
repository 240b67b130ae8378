"""Files in NumPy's .npy format, larger than memory: the header, windows onto the data, and a new file."""

from __future__ import annotations

import contextlib
import errno
import math
import mmap
import os
import secrets
import shutil
import stat
import tokenize
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

import numpy as np
from numpy.lib import format as npy

from .problem import of, shown, size, stop

if TYPE_CHECKING:
    from io import FileIO
    from pathlib import Path
    from types import TracebackType

    Array = np.ndarray[Any, Any]

_VERSIONS = {(1, 0), (2, 0), (3, 0)}
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_ZEROS = 1 << 20
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


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
    try:
        # A pipe would make open() wait for a writer.
        if not stat.S_ISREG(path.stat().st_mode):
            stop(f"{shown(path)} is {'a directory' if path.is_dir() else 'not a regular file'}")
        file = path.open("rb")
    except OSError as error:
        stop(f"cannot read {shown(path)}: {of(error)}")
    try:
        return file, _read_header(file, path)
    except BaseException:
        file.close()
        raise


def _read_header(file: BinaryIO, path: Path) -> Header:
    try:
        version = npy.read_magic(file)
    except ValueError:
        stop(f"{shown(path)} is not a .npy file")
    if version not in _VERSIONS:
        stop(f"{shown(path)} has version {version[0]}.{version[1]} of the .npy format, which is not known")
    # Version 3.0 differs from 2.0 only in that names of fields may be Unicode.
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # headers written by Python 2
            shape, fortran_order, dtype = read(file)
    # Whatever a parser says to random bytes.
    except (ValueError, TypeError, SyntaxError, tokenize.TokenError, OverflowError, RecursionError, MemoryError):
        stop(f"{shown(path)} is not a .npy file that NumPy can read: its header is damaged")
    header = Header(dtype, shape, fortran_order and len(shape) > 1, file.tell())
    if min(shape, default=0) < 0:
        stop(f"{shown(path)} is not a .npy file that NumPy can read: its shape is {shape}")
    there = os.fstat(file.fileno()).st_size - header.offset
    if not dtype.hasobject and there < header.nbytes:
        stop(f"{shown(path)} is truncated: {size(header.nbytes)} of data should follow the header, {size(there)} do")
    return header


class Data:
    """The data of an open .npy file, in the order of the file, through memory maps of a part at a time.

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
        self._file, self._dtype, self._offset = file, header.dtype, header.offset
        self._access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ

    def part(self, start: int, stop: int) -> Array:
        """Map the elements from `start` to `stop`; the map is closed with the last reference to the array."""
        first = self._offset + start * self._dtype.itemsize
        aligned = first - first % mmap.ALLOCATIONGRANULARITY
        last = self._offset + stop * self._dtype.itemsize
        pages = mmap.mmap(self._file.fileno(), last - aligned, access=self._access, offset=aligned)
        return np.ndarray((stop - start,), self._dtype, pages, first - aligned)

    def copy(self, columns: Array, start: int, stride: int, limit: int, *, back: bool = False) -> None:
        """Copy a box of rows that lie `stride` elements apart, the first of them at `start`.

        Parameters
        ----------
        columns : array of two dimensions
            The box in memory.
        start, stride : int
            Where the rows are in the file.
        limit : int
            Elements to map at a time, if a row is not longer.
        back : bool, default False
            Copy to the file instead of from it.
        """
        rows, width = columns.shape
        step = max(1, limit // stride)
        for row in range(0, rows, step):
            count = min(step, rows - row)
            begin = start + row * stride
            part = self.part(begin, begin + (count - 1) * stride + width)
            size = self._dtype.itemsize
            box = np.lib.stride_tricks.as_strided(part, (count, width), (stride * size, size), writeable=back)
            if back:
                box[...] = columns[row : row + count]
            else:
                columns[row : row + count] = box


class NewFile:
    """A .npy file that is written beside its place, under a temporary name, and put there when it is complete.

    A context manager: if it is left before `finish`, the temporary file is removed and nothing remains.

    Parameters
    ----------
    path : Path
        Its place.
    header : Header
        What it will hold.
    force : bool
        Whether a file there is replaced.
    """

    def __init__(self, path: Path, header: Header, *, force: bool) -> None:
        self.path, self.header, self.force = path, header, force
        self._temporary = path.with_name(f".actufunc-{secrets.token_hex(8)}.part")
        self._file: FileIO | None = None
        self._mine = False

    def check(self, source: Path) -> None:
        """Raise `ProblemError` if it is known already that the file cannot be written, or if it is the source."""
        try:
            self._check(source)
        except OSError as error:
            self._refuse(error)

    def _check(self, source: Path) -> None:
        folder, path = self.path.parent, self.path
        if not folder.is_dir():
            what = "is not a directory" if folder.exists() else "does not exist"
            stop(f"cannot write {shown(path)}: {shown(folder)} {what}")
        if path.exists() and not path.is_file():
            # os.replace would take a device or a pipe away.
            stop(f"cannot write {shown(path)}: it is {'a directory' if path.is_dir() else 'not a regular file'}")
        if path.exists() and path.samefile(source):
            stop(f"{shown(path)} is the input; the output must be another file")
        if path.exists() and not self.force:
            stop(f"{shown(path)} exists; --force replaces it")
        free = shutil.disk_usage(folder).free
        if free < self.header.nbytes:
            stop(f"no space for {shown(path)}: it takes {size(self.header.nbytes)}, and {size(free)} are free")

    def __enter__(self) -> Data:
        """Create the file and take its space on the disk."""
        try:
            return self._create()
        except BaseException:
            self._remove()
            raise

    def _create(self) -> Data:
        header = self.header
        self._mine = True
        try:
            # Unlike a file of `tempfile`, with the permissions of any new file.
            descriptor = os.open(self._temporary, _NEW, 0o666)
            # Without a buffer, which would be written, and fail again, when the file is closed.
            self._file = file = os.fdopen(descriptor, "w+b", buffering=0)
            description = {
                "descr": npy.dtype_to_descr(header.dtype),
                "fortran_order": header.fortran_order,
                "shape": header.shape,
            }
            npy.write_array_header_1_0(file, description)
            offset = file.tell()
            self._reserve(file, offset)
        except OSError as error:
            self._refuse(error)
        placed = Header(header.dtype, header.shape, header.fortran_order, offset)
        return Data(file, placed, writable=True)

    def _reserve(self, file: FileIO, offset: int) -> None:
        """Take the space from the disk now: a map of a file on a full disk would kill the process."""
        if not self.header.nbytes:
            return
        if hasattr(os, "posix_fallocate"):
            try:
                os.posix_fallocate(file.fileno(), offset, self.header.nbytes)
            except OSError as error:
                if error.errno not in {errno.EINVAL, errno.EOPNOTSUPP}:
                    raise
            else:
                return
        zeros = memoryview(bytes(_ZEROS))
        left = self.header.nbytes
        while left:
            left -= file.write(zeros[:left]) or 0

    def finish(self) -> None:
        """Put the file in its place."""
        assert self._file is not None  # noqa: S101
        try:
            os.fsync(self._file.fileno())  # here a disk that fails late says so
            self._file.close()
            if not self.force and self.path.exists():
                stop(f"{shown(self.path)} has come into existence meanwhile; --force replaces it")
            self._temporary.replace(self.path)
        except OSError as error:
            self._refuse(error)
        self._mine = False

    def _refuse(self, error: OSError) -> NoReturn:
        what = f"no space for {shown(self.path)}" if error.errno in _NO_SPACE else f"cannot write {shown(self.path)}"
        stop(f"{what}: {of(error)}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the file, and remove it unless it is finished."""
        self._remove()

    def _remove(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
        if self._mine:
            with contextlib.suppress(OSError):
                self._temporary.unlink()

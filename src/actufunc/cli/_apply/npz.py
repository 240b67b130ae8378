"""Archives of arrays, .npz: each member is read and written by a temporary .npy file."""

from __future__ import annotations

import contextlib
import shutil
import zipfile
import zlib
from typing import IO, TYPE_CHECKING, BinaryIO

from actufunc.cli._errors import format_path, stop
from actufunc.cli._files import open_regular, write_all

from .npy import NpyArray, read_header

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO
    from pathlib import Path

_SUFFIX = ".npy"
_BUFFER = 1 << 20  # bytes
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, ValueError)


class NpzMember:
    """Array in the archive at `path`, where `info` is its directory entry."""

    def __init__(self, path: Path, info: zipfile.ZipInfo) -> None:
        self.path, self._info = path, info
        self.name = info.filename.removesuffix(_SUFFIX)
        self.title = f"{self.name!r} in {format_path(path)}"
        self.is_compressed = info.compress_type != zipfile.ZIP_STORED
        with self._opened() as file:
            self.header = read_header(file, self.title)
        found = info.file_size - self.header.offset
        if not self.header.dtype.hasobject and found < self.header.nbytes:
            stop(f"{self.title} is truncated")
        self.dtype, self.shape = self.header.dtype, self.header.shape

    def load(self, file: BinaryIO) -> NpyArray:
        """Copy the member to an empty file, and return the array in that."""
        for part in self._pieces():
            write_all(file, part)
        return NpyArray(file, self.header)

    def _pieces(self) -> Iterator[bytes]:
        with self._opened() as stream:
            while part := stream.read(_BUFFER):
                yield part

    @contextlib.contextmanager
    def _opened(self) -> Iterator[IO[bytes]]:
        try:
            with open_regular(self.path) as file, zipfile.ZipFile(file) as archive, archive.open(self._info) as stream:
                yield stream
        except _DAMAGED as error:
            stop(f"cannot read {self.title}: {error}")


def npz_members(path: Path, chosen: str | None) -> list[NpzMember]:
    """Return the arrays of an archive, or the one of the name `chosen`.

    Raise `CommandError` if the file is not an archive, a member is not an array, or no member has that name.
    """
    with open_regular(path) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                infos = {info.filename.removesuffix(_SUFFIX): info for info in archive.infolist()}
        except _DAMAGED:
            stop(f"{format_path(path)} is not a .npz file, or it is damaged")
    if chosen is not None and chosen not in infos:
        stop(f"{format_path(path)} has no member {chosen!r}; it has {', '.join(infos) or 'none'}")
    if not infos:
        stop(f"{format_path(path)} holds no arrays")
    return [NpzMember(path, info) for name, info in infos.items() if chosen in (None, name)]


class NpzArchive:
    """New archive, to which arrays are added one by one, as `numpy.savez` or `numpy.savez_compressed` does."""

    def __init__(self, file: FileIO, *, compressed: bool) -> None:
        self._zip = zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED)

    def add(self, name: str, file: BinaryIO) -> None:
        """Add a .npy file."""
        file.seek(0)
        with self._zip.open(name + _SUFFIX, "w", force_zip64=True) as stream:
            shutil.copyfileobj(file, stream, _BUFFER)

    def close(self) -> None:
        """Write the directory of the archive."""
        self._zip.close()

    def abandon(self) -> None:
        """Close the incomplete archive; if it stayed open, its destructor would warn."""
        with contextlib.suppress(Exception):
            self._zip.close()

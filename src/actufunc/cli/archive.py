"""Archives of arrays, .npz: members are read and written through files of their own."""

from __future__ import annotations

import contextlib
import shutil
import zipfile
import zlib
from typing import IO, TYPE_CHECKING, BinaryIO

from .files import open_regular, write_all
from .npy import Data, read_header
from .problem import shown, stop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO
    from pathlib import Path

_SUFFIX = ".npy"
_COPIED = 1 << 20
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, ValueError)


class Member:
    """An array in an archive.

    Parameters
    ----------
    path : Path
        The archive.
    info : ZipInfo
        Of the member.
    """

    def __init__(self, path: Path, info: zipfile.ZipInfo) -> None:
        self.path, self._info = path, info
        self.name = info.filename.removesuffix(_SUFFIX)
        self.title = f"{self.name!r} in {shown(path)}"
        self.is_compressed = info.compress_type != zipfile.ZIP_STORED
        with self._opened() as file:
            self.header = read_header(file, self.title)
        there = info.file_size - self.header.offset
        if not self.header.dtype.hasobject and there < self.header.nbytes:
            stop(f"{self.title} is truncated")
        self.dtype, self.shape = self.header.dtype, self.header.shape

    def load(self, file: BinaryIO) -> Data:
        """Copy it to an empty file, and return the array there."""
        for part in self._parts():
            write_all(file, part)
        return Data(file, self.header)

    def _parts(self) -> Iterator[bytes]:
        with self._opened() as stream:
            while part := stream.read(_COPIED):
                yield part

    @contextlib.contextmanager
    def _opened(self) -> Iterator[IO[bytes]]:
        try:
            with open_regular(self.path) as file, zipfile.ZipFile(file) as archive, archive.open(self._info) as stream:
                yield stream
        except _DAMAGED as error:
            stop(f"cannot read {self.title}: {error}")


def members(path: Path, chosen: str | None) -> list[Member]:
    """Return the arrays of an archive, or one of them.

    Parameters
    ----------
    path : Path
        The archive.
    chosen : str or None
        Name of a member; None for all.

    Raises
    ------
    ProblemError
        If it is no archive, or a member is no array, or there is none of that name.
    """
    with open_regular(path) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                infos = {info.filename.removesuffix(_SUFFIX): info for info in archive.infolist()}
        except _DAMAGED:
            stop(f"{shown(path)} is not a .npz file, or it is damaged")
    if chosen is not None and chosen not in infos:
        stop(f"{shown(path)} has no member {chosen!r}; it has {', '.join(infos) or 'none'}")
    if not infos:
        stop(f"{shown(path)} holds no arrays")
    return [Member(path, info) for name, info in infos.items() if chosen in (None, name)]


class Archive:
    """An archive that is being written, one array after the other, as `numpy.savez` does.

    Parameters
    ----------
    file : binary file
        A new one.
    compressed : bool
        Whether members are compressed, as by `numpy.savez_compressed`.
    """

    def __init__(self, file: FileIO, *, compressed: bool) -> None:
        self._zip = zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED)

    def add(self, name: str, file: BinaryIO) -> None:
        """Add a .npy file."""
        file.seek(0)
        with self._zip.open(name + _SUFFIX, "w", force_zip64=True) as stream:
            shutil.copyfileobj(file, stream, _COPIED)

    def close(self) -> None:
        """Write the directory."""
        self._zip.close()

    def abandon(self) -> None:
        """Close it as it is, for what is left open complains when it is forgotten."""
        with contextlib.suppress(Exception):
            self._zip.close()

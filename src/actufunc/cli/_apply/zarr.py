"""Zarr arrays, which are read and written by chunks; needs zarr."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any, NoReturn, Self

import numpy as np

from actufunc.cli._errors import format_path, stop
from actufunc.cli._files import AtomicOutput

if TYPE_CHECKING:
    from pathlib import Path

    from .npy import Box, Header

    Array = np.ndarray[Any, Any]

_METADATA = ("zarr.json", ".zarray", ".zgroup")  # of versions 3 and 2


class ZarrArray:
    """Array in the Zarr store at `path`: a `Source` and a `Target`."""

    def __init__(self, path: Path, array: Any) -> None:
        self._path, self.array = path, array
        self.dtype: np.dtype[Any] = np.dtype(array.dtype)
        self.shape: tuple[int, ...] = tuple(array.shape)
        self.chunks: tuple[int, ...] = tuple(getattr(array, "shards", None) or array.chunks)
        self.fastest_first = range(len(self.shape))[::-1]

    def read(self, box: Box) -> Array:
        """Return the elements in a box."""
        try:
            return np.asarray(self.array[box])
        except Exception as error:  # noqa: BLE001 -- of any codec
            _refuse("read", self._path, error)

    def is_contiguous(self, box: Box) -> bool:  # noqa: ARG002
        """Return False: nothing is computed in place."""
        return False

    def view(self, box: Box) -> Array:
        """Raise NotImplementedError: there are no views."""
        raise NotImplementedError

    def write(self, box: Box, array: Array) -> None:
        """Write the elements of a box."""
        self.array[box] = array


def open_zarr(path: Path, member: str | None) -> ZarrArray:
    """Open a Zarr array, or the `member` of a group; raise `CommandError` if there is none."""
    import zarr  # noqa: PLC0415

    if not path.exists():
        stop(f"cannot read {format_path(path)}: no such file or directory")
    if not _is_zarr(path):
        stop(f"{format_path(path)} is not a Zarr store")
    try:
        found = zarr.open(str(path), mode="r")
        names = sorted(name for name, _ in found.arrays()) if isinstance(found, zarr.Group) else []
    except Exception as error:  # noqa: BLE001 -- of metadata that are damaged
        _refuse("read", path, error)
    if not isinstance(found, zarr.Group):
        if member is not None:
            stop(f"{format_path(path)} is one array; leave --member away")
        return ZarrArray(path, found)
    if member is None and len(names) == 1:
        member = names[0]
    if member not in names:
        what = "is a group of arrays" if member is None else f"has no member {member!r}"
        stop(f"{format_path(path)} {what}; --member takes {', '.join(names) or 'none, for there are none'}")
    return ZarrArray(path, found[member])


class AtomicZarr(AtomicOutput):
    """A Zarr array that is written under a temporary name; see `AtomicOutput`."""

    def _check_replaceable(self) -> None:
        if not _is_zarr(self.path):  # other directories are never replaced
            stop(f"cannot write {format_path(self.path)}: it exists, and is not a Zarr store")

    def __enter__(self) -> Self:
        """Prepare to remove the array that `create` makes."""
        self._created = True
        return self

    def create(self, header: Header, like: object) -> ZarrArray:
        """Create an array, with the chunks of `like` if that is a Zarr array of the same shape."""
        import zarr  # noqa: PLC0415

        chunks = like.array.chunks if isinstance(like, ZarrArray) and like.shape == header.shape else "auto"
        array = zarr.create_array(str(self.temporary), shape=header.shape, dtype=header.dtype, chunks=chunks)
        return ZarrArray(self.path, array)

    def _rename(self) -> None:
        self._check_absent()
        if not self.path.exists():
            self.temporary.rename(self.path)
            return
        old = self._temporary_path()
        self.path.rename(old)
        try:
            self.temporary.rename(self.path)
        except BaseException:
            old.rename(self.path)
            raise
        shutil.rmtree(old, ignore_errors=True)

    def _remove(self) -> None:
        if self._created:
            shutil.rmtree(self.temporary, ignore_errors=True)


def _is_zarr(path: Path) -> bool:
    return path.is_dir() and any((path / name).is_file() for name in _METADATA)


def _refuse(what: str, path: Path, error: Exception) -> NoReturn:
    stop(f"cannot {what} {format_path(path)}: {str(error).strip().partition(chr(10))[0] or type(error).__name__}")

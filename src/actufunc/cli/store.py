"""Zarr arrays, chunk by chunk, where zarr is installed."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any, NoReturn, Self

import numpy as np

from .files import New
from .problem import shown, stop

if TYPE_CHECKING:
    from pathlib import Path

    from .npy import Box, Header

    Array = np.ndarray[Any, Any]

_METADATA = ("zarr.json", ".zarray", ".zgroup")  # of versions 3 and 2


class Store:
    """A Zarr array: a `Source` and a `Target`.

    Parameters
    ----------
    path : Path
        Of the store.
    array : zarr.Array
        The array in it.
    """

    def __init__(self, path: Path, array: Any) -> None:
        self._path, self.array = path, array
        self.dtype: np.dtype[Any] = np.dtype(array.dtype)
        self.shape: tuple[int, ...] = tuple(array.shape)
        self.chunks: tuple[int, ...] = tuple(getattr(array, "shards", None) or array.chunks)
        self.fast = range(len(self.shape))[::-1]

    def read(self, box: Box) -> Array:
        """Return a box."""
        try:
            return np.asarray(self.array[box])
        except Exception as error:  # noqa: BLE001 -- of any codec
            _refuse("read", self._path, error)

    def is_contiguous(self, box: Box) -> bool:  # noqa: ARG002
        """Tell that nothing is computed in place."""
        return False

    def view(self, box: Box) -> Array:
        """There is none."""
        raise NotImplementedError

    def write(self, box: Box, array: Array) -> None:
        """Put a box into it."""
        self.array[box] = array


def open_store(path: Path, member: str | None) -> Store:
    """Open a Zarr array, or one in a group.

    Parameters
    ----------
    path : Path
        Of the store.
    member : str or None
        Name of an array in a group.

    Raises
    ------
    ProblemError
        If there is none.
    """
    import zarr  # noqa: PLC0415

    if not path.exists():
        stop(f"cannot read {shown(path)}: no such file or directory")
    if not _is_store(path):
        stop(f"{shown(path)} is not a Zarr store")
    try:
        found = zarr.open(str(path), mode="r")
        names = sorted(name for name, _ in found.arrays()) if isinstance(found, zarr.Group) else []
    except Exception as error:  # noqa: BLE001 -- of metadata that are damaged
        _refuse("read", path, error)
    if not isinstance(found, zarr.Group):
        if member is not None:
            stop(f"{shown(path)} is one array; leave --member away")
        return Store(path, found)
    if member is None and len(names) == 1:
        member = names[0]
    if member not in names:
        what = "is a group of arrays" if member is None else f"has no member {member!r}"
        stop(f"{shown(path)} {what}; --member takes {', '.join(names) or 'none, for there are none'}")
    return Store(path, found[member])


class NewStore(New):
    """A Zarr array that is written beside its place; see `New`."""

    def _check_replaceable(self) -> None:
        if not _is_store(self.path):  # what else is in a directory is not ours to take away
            stop(f"cannot write {shown(self.path)}: it exists, and is not a Zarr store")

    def __enter__(self) -> Self:
        """Promise to remove what `create` makes."""
        self._mine = True
        return self

    def create(self, header: Header, like: object) -> Store:
        """Make an array, in the chunks of another if that is a Zarr array of the same shape."""
        import zarr  # noqa: PLC0415

        chunks = like.array.chunks if isinstance(like, Store) and like.shape == header.shape else "auto"
        array = zarr.create_array(str(self.temporary), shape=header.shape, dtype=header.dtype, chunks=chunks)
        return Store(self.path, array)

    def _put(self) -> None:
        self._check_absent()
        if not self.path.exists():
            self.temporary.rename(self.path)
            return
        old = self._beside()
        self.path.rename(old)
        try:
            self.temporary.rename(self.path)
        except BaseException:
            old.rename(self.path)
            raise
        shutil.rmtree(old, ignore_errors=True)

    def _remove(self) -> None:
        if self._mine:
            shutil.rmtree(self.temporary, ignore_errors=True)


def _is_store(path: Path) -> bool:
    return path.is_dir() and any((path / name).is_file() for name in _METADATA)


def _refuse(what: str, path: Path, error: Exception) -> NoReturn:
    stop(f"cannot {what} {shown(path)}: {str(error).strip().partition(chr(10))[0] or type(error).__name__}")

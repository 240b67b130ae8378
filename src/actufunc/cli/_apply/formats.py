"""File formats, by the suffixes of names: inputs and outputs of `apply`."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actufunc.cli._errors import format_path, stop
from actufunc.cli._files import AtomicFile, scratch

from . import text
from .npy import Header, NpyArray, create, open_npy
from .npz import NpzArchive, NpzMember, npz_members
from .zarr import AtomicZarr, ZarrArray, open_zarr

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from io import FileIO

    import numpy as np

    from .out_of_core import Source, Target

    Phase = Callable[[str, int], Callable[[float], object]]


class Input:
    """Array in a file at `path`; only the metadata of `found` have been read."""

    def __init__(self, found: NpyArray | NpzMember | text.TextTable | ZarrArray, path: Path) -> None:
        self.found, self.path = found, path
        self.dtype: np.dtype[Any] = found.dtype
        self.name = found.name if isinstance(found, NpzMember) else None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array; the number of rows of a text is 0 until it is read."""
        return self.found.shape

    @property
    def title(self) -> str:
        """Prefix of messages, if the name of the file is not enough."""
        return f"{self.found.title}: " if isinstance(self.found, NpzMember) else ""

    @property
    def fortran_order(self) -> bool:
        """True if the first axis is contiguous."""
        return isinstance(self.found, NpyArray | NpzMember) and self.found.header.fortran_order

    def load(self, stack: contextlib.ExitStack, folder: Path, chunk: float, phase: Phase) -> Source:
        """Return the array; from a format without random access it is copied to a temporary file in `folder`."""
        found = self.found
        if isinstance(found, NpyArray | ZarrArray):
            return found
        copy = stack.enter_context(scratch(folder))
        if isinstance(found, NpzMember):
            return found.load(copy)
        return found.load(copy, chunk, phase(f"reading {self.path.name}", self.path.stat().st_size))


def inputs(stack: contextlib.ExitStack, path: Path, member: str | None) -> list[Input]:
    """Return the arrays in a file, or the `member` of an archive or a group; `stack` closes the file.

    Any other suffix than those of the formats means .npy. Raise `CommandError` if the file cannot be read.
    """
    kind = path.suffix.lower()
    if kind == ".npz":
        return [Input(each, path) for each in npz_members(path, member)]
    if kind == ".zarr":
        return [Input(open_zarr(path, member), path)]
    if member is not None:
        stop(f"--member is for .npz and .zarr, and {format_path(path)} is neither")
    if kind in text.KINDS:
        return [Input(text.TextTable(path), path)]
    file, header = open_npy(path)
    stack.enter_context(file)
    return [Input(NpyArray(file, header), path)]


class Output:
    """File to be written, or replaced if `force`: a .npy file unless a subclass says otherwise.

    A symbolic link is kept, and its target is replaced.
    """

    def __init__(self, path: Path, *, force: bool) -> None:
        self.path, self._folder = path, path.parent
        self._atomic = self._create_atomic(Path(os.path.realpath(path)), force=force)

    def _create_atomic(self, path: Path, *, force: bool) -> AtomicFile | AtomicZarr:
        return AtomicFile(path, force=force)

    def check(self, given: list[Input], results: list[Header]) -> None:
        """Raise `CommandError` if it is certain that the file cannot be written."""
        if len(given) > 1:
            names = ", ".join(str(each.name) for each in given)
            stop(
                f"{format_path(given[0].path)} has {len(given)} members ({names}); --member chooses one, or give an"
                " output that ends in .npz"
            )
        self._atomic.check(given[0].path, sum(result.nbytes for result in results))

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """Create the file under a temporary name, which is removed unless `finish` is called."""
        with self._atomic as self._opened:
            yield

    @property
    def _file(self) -> FileIO:
        assert not isinstance(self._opened, AtomicZarr)  # noqa: S101
        return self._opened

    def target(self, stack: contextlib.ExitStack, header: Header, given: Input) -> Target:  # noqa: ARG002
        """Return an array to write a result to; the stack is closed after `done`."""
        return create(self._file, header)

    def done(self, given: Input, chunk: float, phase: Phase) -> None:
        """Add the array that has been written to the file."""

    def finish(self) -> None:
        """Rename the file to its final path."""
        self._atomic.finish()


class _Text(Output):
    def check(self, given: list[Input], results: list[Header]) -> None:
        super().check(given, results)
        text.check(self.path, results[0].shape)

    def target(self, stack: contextlib.ExitStack, header: Header, given: Input) -> Target:  # noqa: ARG002
        by_rows = replace(header, fortran_order=False)
        self._data = create(stack.enter_context(scratch(self._folder)), by_rows)
        return self._data

    def done(self, given: Input, chunk: float, phase: Phase) -> None:
        like = given.found if isinstance(given.found, text.TextTable) else None
        advance = phase(f"writing {self.path.name}", self._data.header.elements)
        text.save(self._file, self.path.suffix.lower(), self._data, like, chunk, advance)


class _Npz(Output):
    def check(self, given: list[Input], results: list[Header]) -> None:
        self._atomic.check(given[0].path, sum(result.nbytes for result in results))
        self._is_compressed = any(isinstance(each.found, NpzMember) and each.found.is_compressed for each in given)

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        with super().open():
            self._archive = NpzArchive(self._file, compressed=self._is_compressed)
            try:
                yield
            except BaseException:
                self._archive.abandon()
                raise

    def target(self, stack: contextlib.ExitStack, header: Header, given: Input) -> Target:  # noqa: ARG002
        self._member = stack.enter_context(scratch(self._folder))
        return create(self._member, header)

    def done(self, given: Input, chunk: float, phase: Phase) -> None:  # noqa: ARG002
        self._archive.add(given.name or "arr_0", self._member)

    def finish(self) -> None:
        self._archive.close()
        super().finish()


class _Zarr(Output):
    def _create_atomic(self, path: Path, *, force: bool) -> AtomicZarr:
        import zarr  # noqa: F401, PLC0415 -- raises at once if it is not installed

        return AtomicZarr(path, force=force)

    def target(self, stack: contextlib.ExitStack, header: Header, given: Input) -> Target:  # noqa: ARG002
        assert isinstance(self._opened, AtomicZarr)  # noqa: S101
        return self._opened.create(header, given.found)


_OUTPUTS: dict[str, type[Output]] = {
    ".npy": Output,
    ".npz": _Npz,
    **dict.fromkeys(text.KINDS, _Text),
    ".zarr": _Zarr,
}


def output(path: Path, *, force: bool) -> Output:
    """Return a file to be written, in the format of its suffix; raise `CommandError` if no format has it."""
    kind = path.suffix.lower()
    if kind not in _OUTPUTS:
        *others, last = _OUTPUTS
        stop(f"{format_path(path)} must end in {', '.join(others)} or {last}, the formats that apply writes")
    return _OUTPUTS[kind](path, force=force)

"""The formats of files, told by the ends of their names: what is read from them, and what is written to them."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import text
from .archive import Archive, Member, members
from .files import NewFile, scratch
from .npy import Data, Header, create, open_npy
from .problem import shown, stop
from .store import NewStore, Store, open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from io import FileIO

    import numpy as np

    from .blocks import Source, Target

    Phase = Callable[[str, int], Callable[[float], object]]


class Input:
    """An array in a file.

    Parameters
    ----------
    found : Data, Member, TextTable or Store
        What is known of it without reading it.
    path : Path
        The file.
    """

    def __init__(self, found: Data | Member | text.TextTable | Store, path: Path) -> None:
        self.found, self.path = found, path
        self.dtype: np.dtype[Any] = found.dtype
        self.name = found.name if isinstance(found, Member) else None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array; the rows of a text count as 0 until they are read."""
        return self.found.shape

    @property
    def title(self) -> str:
        """What messages call it, where the name of the file is not enough."""
        return f"{self.found.title}: " if isinstance(self.found, Member) else ""

    @property
    def fortran_order(self) -> bool:
        """Whether the first axis is the fastest."""
        return isinstance(self.found, Data | Member) and self.found.header.fortran_order

    def load(self, stack: contextlib.ExitStack, folder: Path, chunk: float, phase: Phase) -> Source:
        """Return the array; what cannot be read at any place is copied to a file in a folder."""
        found = self.found
        if isinstance(found, Data | Store):
            return found
        copy = stack.enter_context(scratch(folder))
        if isinstance(found, Member):
            return found.load(copy)
        return found.load(copy, chunk, phase(f"reading {self.path.name}", self.path.stat().st_size))


def inputs(stack: contextlib.ExitStack, path: Path, member: str | None) -> list[Input]:
    """Return the arrays in a file.

    Parameters
    ----------
    stack : ExitStack
        Closes the file.
    path : Path
        Its name. What has no other known end is taken for a .npy file.
    member : str or None
        Name of an array in an archive or a group.

    Raises
    ------
    ProblemError
        If it cannot be read.
    """
    kind = path.suffix.lower()
    if kind == ".npz":
        return [Input(each, path) for each in members(path, member)]
    if kind == ".zarr":
        return [Input(open_store(path, member), path)]
    if member is not None:
        stop(f"--member is for .npz and .zarr, and {shown(path)} is neither")
    if kind in text.KINDS:
        return [Input(text.TextTable(path), path)]
    file, header = open_npy(path)
    stack.enter_context(file)
    return [Input(Data(file, header), path)]


class Output:
    """A file to be written, a .npy file unless a subclass says otherwise.

    Parameters
    ----------
    path : Path
        Its name. A link stays a link: what it points to is replaced.
    force : bool
        Whether what is there is replaced.
    """

    def __init__(self, path: Path, *, force: bool) -> None:
        self.path, self._folder = path, path.parent
        self._new = self._made(Path(os.path.realpath(path)), force=force)

    def _made(self, path: Path, *, force: bool) -> NewFile | NewStore:
        return NewFile(path, force=force)

    def check(self, given: list[Input], results: list[Header]) -> None:
        """Raise `ProblemError` if it is known already that it cannot be written."""
        if len(given) > 1:
            names = ", ".join(str(each.name) for each in given)
            stop(
                f"{shown(given[0].path)} has {len(given)} members ({names}); --member chooses one, or give an output"
                " that ends in .npz"
            )
        self._new.check(given[0].path, sum(result.nbytes for result in results))

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """Make it, beside its place; if it is left before `finish`, nothing remains."""
        with self._new as self._place:
            yield

    @property
    def _file(self) -> FileIO:
        assert not isinstance(self._place, NewStore)  # noqa: S101
        return self._place

    def target(self, stack: contextlib.ExitStack, header: Header, given: Input) -> Target:  # noqa: ARG002
        """Return the array that is to be filled with a result; the stack is closed after `done`."""
        return create(self._file, header)

    def done(self, given: Input, chunk: float, phase: Phase) -> None:
        """Take what has been filled."""

    def finish(self) -> None:
        """Put it in its place."""
        self._new.finish()


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
        self._new.check(given[0].path, sum(result.nbytes for result in results))
        self._is_compressed = any(isinstance(each.found, Member) and each.found.is_compressed for each in given)

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        with super().open():
            self._archive = Archive(self._file, compressed=self._is_compressed)
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
    def _made(self, path: Path, *, force: bool) -> NewStore:
        import zarr  # noqa: F401, PLC0415 -- to say at once that it is missing

        return NewStore(path, force=force)

    def target(self, stack: contextlib.ExitStack, header: Header, given: Input) -> Target:  # noqa: ARG002
        assert isinstance(self._place, NewStore)  # noqa: S101
        return self._place.create(header, given.found)


_OUTPUTS: dict[str, type[Output]] = {
    ".npy": Output,
    ".npz": _Npz,
    **dict.fromkeys(text.KINDS, _Text),
    ".zarr": _Zarr,
}


def output(path: Path, *, force: bool) -> Output:
    """Return a file to be written, whose format the end of its name tells.

    Parameters
    ----------
    path : Path
        Its name.
    force : bool
        Whether a file there is replaced.

    Raises
    ------
    ProblemError
        If the name does not end in that of a format.
    """
    kind = path.suffix.lower()
    if kind not in _OUTPUTS:
        *others, last = _OUTPUTS
        stop(f"{shown(path)} must end in {', '.join(others)} or {last}, the formats that apply writes")
    return _OUTPUTS[kind](path, force=force)

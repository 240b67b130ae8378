"""Tables of numbers as text, .csv, .tsv and .txt, some rows at a time.

NumPy's `loadtxt` and `savetxt` read and write them: numbers become float64 and are written with as many digits as tell
them from others of their dtype. Beside that it is settled here what separates numbers, which lines are a heading, and
what is wrong with a line that is no row of numbers.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn, TextIO

import numpy as np

from .files import open_regular, write_all
from .npy import Data, Header
from .problem import of, shown, stop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from io import FileIO
    from pathlib import Path

    Array = np.ndarray[Any, Any]

_SEPARATORS = {".csv": ",", ".tsv": "\t", ".txt": " "}
KINDS = tuple(_SEPARATORS)
_COMMENT = "#"
_PER_CHARACTER = 64  # bytes of memory that it may take to read one, where lines are short
_PER_NUMBER = 512  # and to write one number
_SHOWN = 30  # characters of a field that is no number


class TextTable:
    """A table in a text file.

    Its heading are lines that begin with ``#``, and a line that is not numbers, above the first row. Numbers stand
    apart by semicolons, tabs or commas, whichever the first row has, else by blanks. One column is an array of one
    dimension.

    Parameters
    ----------
    path : Path
        The file.

    Attributes
    ----------
    dtype : dtype
        float64.
    shape : tuple of int
        Number of columns, if there are several, after that of rows, which counts as 0 until they are read.
    heading : list of str
        Lines above the first row.
    separator : str or None
        What stands between numbers; None for blanks.
    """

    dtype = np.dtype(np.float64)

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with _opened(path) as file:
                self.heading, first = _until_row(file)
        except OSError as error:
            stop(f"cannot read {shown(path)}: {of(error)}")
        self.separator = _separator(first or self._names())
        self.columns = len(_fields(first or self._names(), self.separator))
        if not self.columns:
            stop(f"{shown(path)} holds no numbers")
        self.shape: tuple[int, ...] = (0,) if self.columns == 1 else (0, self.columns)

    def _names(self) -> str:
        """Return the line of the heading that tells how many columns there are where there is no row."""
        return self.heading[-1].lstrip(_COMMENT) if self.heading else ""

    def load(self, scratch: BinaryIO, chunk: float, advance: Callable[[float], object]) -> Data:
        """Write all numbers to a file without a header, and return them as an array.

        Parameters
        ----------
        scratch : binary file
            An empty one.
        chunk : float
            Bytes to hold at a time.
        advance : callable
            Is told how many characters have been read.
        """
        rows = 0
        for lines, number in self._lines(max(1, int(chunk / _PER_CHARACTER))):
            part = self._parsed(lines, number)
            rows += len(part)
            write_all(scratch, part.tobytes())
            advance(sum(map(len, lines)))
        self.shape = (rows, *self.shape[1:])
        return Data(scratch, Header(self.dtype, self.shape, fortran_order=False))

    def _lines(self, characters: int) -> Iterator[tuple[list[str], int]]:
        """Yield lines below the heading, some at a time, with the number of the first."""
        with _opened(self.path) as file:
            number, left = 1, len(self.heading)
            while left and (line := file.readline()):
                left -= bool(line.strip())
                number += 1
            while lines := self._read(file, characters):
                yield lines, number
                number += len(lines)

    def _read(self, file: TextIO, characters: int) -> list[str]:
        try:
            return file.readlines(characters)
        except OSError as error:
            stop(f"cannot read {shown(self.path)}: {of(error)}")

    def _parsed(self, lines: list[str], number: int) -> Array:
        if not any(map(_has_row, lines)):  # of which loadtxt would warn
            return np.empty((0, self.columns))
        try:
            part = np.loadtxt(lines, self.dtype, delimiter=self.separator, ndmin=2, quotechar='"', comments=_COMMENT)
        except ValueError as error:
            self._refuse(lines, number, error)
        if part.shape[1] != self.columns:
            self._refuse(lines, number)
        return part

    def _refuse(self, lines: list[str], number: int, error: ValueError | None = None) -> NoReturn:
        """Say which line is wrong, and how."""
        for place, line in enumerate(lines, number):
            if not _has_row(line):
                continue
            where = f"line {place} of {shown(self.path)}"
            fields = _fields(line.partition(_COMMENT)[0], self.separator)
            if len(fields) != self.columns:
                stop(f"{where} has {_counted(fields)}, the first row {_counted(range(self.columns))}")
            for field in fields:
                if not _is_number(field):
                    if not field:
                        stop(f"{where} lacks a number; write nan for one that is missing")
                    stop(f"{field[:_SHOWN]!r} in {where} is not a number")
        stop(f"cannot read {shown(self.path)}: {error}")


def check(path: Path, shape: tuple[int, ...]) -> None:
    """Raise `ProblemError` if an array of this shape is no table."""
    if len(shape) > 2:  # noqa: PLR2004
        stop(f"{shown(path)} would hold at most two dimensions, and the result has {len(shape)}; write a .npy file")


def save(
    file: FileIO, kind: str, data: Data, like: TextTable | None, chunk: float, advance: Callable[[float], object]
) -> None:
    """Write an array as a table.

    Parameters
    ----------
    file : binary file
        Where to.
    kind : str
        Suffix of its name.
    data : Data
        An array of at most two dimensions.
    like : TextTable or None
        What it was computed from: its heading is written again over as many columns, and its separator if it is of
        the same kind.
    chunk : float
        Bytes to hold at a time.
    advance : callable
        Is told how many elements have been written.
    """
    separator = _SEPARATORS[kind]
    columns = data.shape[1] if len(data.shape) > 1 else 1
    if like is not None:
        if like.path.suffix.lower() == kind and like.separator:
            separator = like.separator
        if like.columns == columns and len(like.shape) == len(data.shape):
            for line in like.heading:
                is_same = line.startswith(_COMMENT) or separator == like.separator
                own = line if is_same else separator.join(_fields(line, like.separator))
                write_all(file, f"{own}\n".encode(errors="surrogateescape"))
    style = "%s" if data.dtype.kind == "f" else "%d"  # str(float32) has the digits that float32 needs, and no more
    rows = data.shape[0] if data.shape else 1
    step = max(1, int(chunk / _PER_NUMBER / max(1, columns)))
    for start in range(0, rows, step):
        box = (slice(start, min(start + step, rows)), *(slice(0, n) for n in data.shape[1:])) if data.shape else ()
        part = data.read(box).reshape(-1, columns)
        text = io.StringIO()
        np.savetxt(text, part.view(np.uint8) if part.dtype.kind == "b" else part, fmt=style, delimiter=separator)
        write_all(file, text.getvalue().encode())
        advance(part.size)


def _opened(path: Path) -> TextIO:
    # Whatever bytes there are, they are told as the number that they are not, or written back in a heading.
    return io.TextIOWrapper(open_regular(path), encoding="utf-8-sig", errors="surrogateescape")


def _until_row(file: TextIO) -> tuple[list[str], str]:
    """Return the heading and the first row, or "" if there is none."""
    heading: list[str] = []
    has_names = False
    for line in map(str.strip, file):
        if not line:
            continue
        if not line.startswith(_COMMENT):
            fields = _fields(line, _separator(line))
            if has_names or all(map(_is_number, fields)):
                return heading, line.partition(_COMMENT)[0]
            has_names = True
        heading.append(line)
    return heading, ""


def _separator(line: str) -> str | None:
    # A comma may stand within numbers that semicolons separate.
    return next((separator for separator in (";", "\t", ",") if separator in line), None)


def _fields(line: str, separator: str | None) -> Sequence[str]:
    return [field.strip().strip('"') for field in line.split(separator)]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _has_row(line: str) -> bool:
    return bool(line.partition(_COMMENT)[0].strip())


def _counted(fields: Sequence[object]) -> str:
    return f"{len(fields)} column{'s' * (len(fields) != 1)}"

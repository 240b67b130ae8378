"""Tables of numbers as text, .csv, .tsv and .txt, read and written some rows at a time.

NumPy's `loadtxt` and `savetxt` read numbers as float64 and write them with the digits that identify them in their
dtype. This module determines the separator and the heading, and reports lines that are not rows of numbers.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn, TextIO

import numpy as np

from actufunc.cli._errors import format_path, reason, stop
from actufunc.cli._files import open_regular, write_all

from .npy import Header, NpyArray

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from io import FileIO
    from pathlib import Path

    Array = np.ndarray[Any, Any]

_SEPARATORS = {".csv": ",", ".tsv": "\t", ".txt": " "}
KINDS = tuple(_SEPARATORS)
_COMMENT = "#"
_PER_CHARACTER = 64  # bytes of memory to read one character, if lines are short
_PER_NUMBER = 512  # bytes of memory to write one number
_SHOWN = 30  # characters of an invalid field in a message


class TextTable:
    """Table in a text file.

    The `heading` consists of lines that begin with ``#``, and of a line of names, above the first row. The `separator`
    is a semicolon, tab or comma, whichever the first row has, else None for blanks. A table of one column is a
    1-dimensional array. The number of rows in `shape` is 0 until they are read.
    """

    dtype = np.dtype(np.float64)

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with _opened(path) as file:
                self.heading, first = _until_row(file)
        except OSError as error:
            stop(f"cannot read {format_path(path)}: {reason(error)}")
        self.separator = _separator(first or self._names())
        self.columns = len(_fields(first or self._names(), self.separator))
        if not self.columns:
            stop(f"{format_path(path)} holds no numbers")
        self.shape: tuple[int, ...] = (0,) if self.columns == 1 else (0, self.columns)

    def _names(self) -> str:
        """Return the line of names, which gives the number of columns if there is no row."""
        return self.heading[-1].lstrip(_COMMENT) if self.heading else ""

    def load(self, scratch: BinaryIO, chunk: float, advance: Callable[[float], object]) -> NpyArray:
        """Copy all numbers to an empty binary file, without a header, and return the array in that.

        About `chunk` bytes are held at a time; `advance` takes the number of characters that have been read.
        """
        rows = 0
        for lines, number in self._lines(max(1, int(chunk / _PER_CHARACTER))):
            part = self._parsed(lines, number)
            rows += len(part)
            write_all(scratch, part.tobytes())
            advance(sum(map(len, lines)))
        self.shape = (rows, *self.shape[1:])
        return NpyArray(scratch, Header(self.dtype, self.shape, fortran_order=False))

    def _lines(self, characters: int) -> Iterator[tuple[list[str], int]]:
        """Yield lists of lines below the heading, each with the number of its first line."""
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
            stop(f"cannot read {format_path(self.path)}: {reason(error)}")

    def _parsed(self, lines: list[str], number: int) -> Array:
        if not any(map(_has_row, lines)):  # loadtxt would warn
            return np.empty((0, self.columns))
        try:
            part = np.loadtxt(lines, self.dtype, delimiter=self.separator, ndmin=2, quotechar='"', comments=_COMMENT)
        except ValueError as error:
            self._refuse(lines, number, error)
        if part.shape[1] != self.columns:
            self._refuse(lines, number)
        return part

    def _refuse(self, lines: list[str], number: int, error: ValueError | None = None) -> NoReturn:
        """Raise `CommandError` that names the first invalid line and its error."""
        for place, line in enumerate(lines, number):
            if not _has_row(line):
                continue
            where = f"line {place} of {format_path(self.path)}"
            fields = _fields(line.partition(_COMMENT)[0], self.separator)
            if len(fields) != self.columns:
                stop(f"{where} has {_counted(fields)}, the first row {_counted(range(self.columns))}")
            for field in fields:
                if not _is_number(field):
                    if not field:
                        stop(f"{where} lacks a number; write nan for one that is missing")
                    stop(f"{field[:_SHOWN]!r} in {where} is not a number")
        stop(f"cannot read {format_path(self.path)}: {error}")


def check(path: Path, shape: tuple[int, ...]) -> None:
    """Raise `CommandError` if an array of this shape is not a table."""
    if len(shape) > 2:  # noqa: PLR2004
        stop(
            f"{format_path(path)} would hold at most two dimensions, and the result has {len(shape)}; write a .npy file"
        )


def save(
    file: FileIO, kind: str, data: NpyArray, like: TextTable | None, chunk: float, advance: Callable[[float], object]
) -> None:
    """Write an array of at most two dimensions as a table with the suffix `kind`.

    The heading of the input `like` is copied if it has as many columns, its separator if it has the same format. About
    `chunk` bytes are held at a time; `advance` takes the number of elements that have been written.
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
    style = "%s" if data.dtype.kind == "f" else "%d"  # str(float32) has the digits that identify a float32
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
    # Bytes that are not UTF-8 are reported as invalid numbers, or copied with a heading.
    return io.TextIOWrapper(open_regular(path), encoding="utf-8-sig", errors="surrogateescape")


def _until_row(file: TextIO) -> tuple[list[str], str]:
    """Return the heading, and the first row or "" if there is none."""
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
    # Semicolons first: they may separate numbers with decimal commas.
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

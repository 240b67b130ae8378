"""``actufunc plot``: pictures of functions."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from actufunc import catalogue

from . import depth, panels
from .apply import find_function, keywords_of, result_dtype, signals_interrupt
from .npy import Data, Header, NewFile
from .problem import shown, size, stop

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from actufunc import Activation

    from .panels import Chosen

_KINDS = (".png", ".svg", ".pdf")
_STYLE = {
    "figure.dpi": 150,
    "font.size": 9,
    "axes.titlesize": "medium",
    "axes.edgecolor": "0.6",
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": "0.6",
    "xtick.labelcolor": "0.25",
    "xtick.major.width": 0.6,
    "ytick.color": "0.6",
    "ytick.labelcolor": "0.25",
    "ytick.major.width": 0.6,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "svg.hashsalt": "actufunc",
}
# The same picture is the same file, whenever it is drawn.
_WITHOUT_DATE = {".png": {"Software": None}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}


def run(arguments: argparse.Namespace) -> int:
    """Draw functions into a file.

    Parameters
    ----------
    arguments : argparse.Namespace
        Of the command line: a list `names` of functions, or `all`; `output`, a list `set` of hyperparameters as
        ``name=value``, `depth` or None, and `force`.

    Returns
    -------
    int
        Exit status.

    Raises
    ------
    ProblemError
        If an argument or a file is bad.
    """
    kind = Path(arguments.output).suffix.lower()
    if kind not in _KINDS:
        stop(f"{shown(arguments.output)} must end in {', '.join(_KINDS[:-1])} or {_KINDS[-1]}, the formats there are")
    functions = _functions(arguments)
    chosen = list(zip(functions, _settings(functions, arguments.set), strict=True))
    if arguments.depth is not None:
        depth.check(chosen, arguments.depth)
    new = _NewPicture(arguments.output, force=arguments.force)
    new.look()
    picture = _draw(chosen, kind, arguments)
    with signals_interrupt():
        new.write(picture)
    what = f"{len(chosen)} functions" if len(chosen) > 1 else chosen[0][0].__name__
    sys.stdout.write(f"{what}: {size(len(picture))}, to {shown(arguments.output)}\n")
    return 0


def _functions(arguments: argparse.Namespace) -> list[Activation]:
    if not arguments.all:
        if not arguments.names:
            stop("plot needs the names of functions, or --all for the whole catalogue")
        return list(dict.fromkeys(find_function(name) for name in arguments.names))
    if arguments.names:
        stop("--all draws every function; leave the names away")
    if arguments.depth is not None:
        stop("--depth draws the functions that are named; leave --all away")
    return sorted(catalogue.ACTIVATIONS.values(), key=panels.of_rows)


def _settings(functions: Sequence[Activation], given: Sequence[str]) -> list[dict[str, Any]]:
    """Give each function those of the settings that it knows, and examples for what has no default."""
    theirs: list[list[str]] = [[] for _ in functions]
    for setting in given:
        name = setting.partition("=")[0]
        takers = [
            i for i, f in enumerate(functions) if name in {**f.definition.hyperparameters, **f.definition.options}
        ]
        if not takers and len(functions) > 1 and "=" in setting:
            stop(f"none of these functions has a hyperparameter {name!r}")
        for i in takers or [0]:  # which says what is wrong
            theirs[i].append(setting)
    rows = Header(np.dtype("float64"), (0, 2), fortran_order=False)
    settings = []
    for function, its in zip(functions, theirs, strict=True):
        keywords = catalogue.examples(function) | keywords_of(function, its)
        result_dtype(function, rows, keywords)
        settings.append(keywords)
    return settings


def _draw(chosen: Sequence[Chosen], kind: str, arguments: argparse.Namespace) -> bytes:
    """Return a file with the picture."""
    from matplotlib import style  # noqa: PLC0415

    with style.context(["default", _STYLE]):
        if arguments.depth is None:
            figure = panels.draw(chosen, small=arguments.all)
        else:
            figure = depth.draw(chosen, arguments.depth)
        file = io.BytesIO()
        figure.savefig(file, format=kind[1:], metadata=_WITHOUT_DATE[kind])
    return _with_palette(file) if kind == ".png" and arguments.all else file.getvalue()


def _with_palette(file: io.BytesIO) -> bytes:
    """Reduce a picture of few hues to 256 colours, which makes it a third as large."""
    from PIL import Image  # noqa: PLC0415 -- comes with matplotlib

    smaller = io.BytesIO()
    with Image.open(file) as image:
        few = image.convert("RGB").quantize()
        few.save(smaller, format="png", optimize=True, dpi=image.info["dpi"])
    return smaller.getvalue()


class _NewPicture(NewFile):
    """A picture that is put in its place when it is complete, as an array is.

    Parameters
    ----------
    path : str
        Its place; a link stays a link, and what it points to is replaced.
    force : bool
        Whether a file there is replaced.
    """

    def __init__(self, path: str, *, force: bool) -> None:
        super().__init__(Path(os.path.realpath(path)), _bytes(0), force=force)

    def look(self) -> None:
        """Raise `ProblemError` if it is known already that the file cannot be written."""
        self.check(self.path.parent)  # which is not the picture: it is drawn from no file

    def write(self, picture: bytes) -> None:
        """Write it all, or nothing."""
        self.header = _bytes(len(picture))
        self.look()
        with self as data:
            data.part(0, len(picture))[...] = np.frombuffer(picture, np.uint8)
            self.finish()

    def _create(self) -> Data:
        self._mine = True
        try:
            self._file = self._temporary.open("x+b", buffering=0)
            self._reserve(self._file, 0)
        except OSError as error:
            self._refuse(error)
        return Data(self._file, self.header, writable=True)


def _bytes(count: int) -> Header:
    return Header(np.dtype(np.uint8), (count,), fortran_order=False)

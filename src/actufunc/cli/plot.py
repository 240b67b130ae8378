"""``actufunc plot``: pictures of functions."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from actufunc import _catalogue as catalogue

from . import depth, panels
from .apply import find_function, keywords_of, result_of, signals_interrupt
from .files import NewFile, write_all
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
    # A link stays a link: what it points to is replaced.
    new = NewFile(Path(os.path.realpath(arguments.output)), force=arguments.force)
    new.check()
    picture = _draw(chosen, kind, arguments)
    new.check(count=len(picture))
    with signals_interrupt(), new as file:
        write_all(file, picture)
        new.finish()
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
    settings = []
    for function, its in zip(functions, theirs, strict=True):
        keywords = catalogue.examples(function) | keywords_of(function, its)
        result_of(function, np.dtype("float64"), (0, 2), keywords)
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

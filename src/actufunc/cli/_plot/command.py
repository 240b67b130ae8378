"""``actufunc plot``: draws functions into a file."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from actufunc import _catalogue as catalogue
from actufunc.cli._arguments import find_function, parse_hyperparameters, result_type, signals_interrupt
from actufunc.cli._errors import format_path, format_size, stop
from actufunc.cli._files import AtomicFile, write_all

from . import curves, gradient_norms

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from actufunc import Activation

    from .curves import Chosen

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
# Without dates, so that files are reproducible.
_WITHOUT_DATE = {".png": {"Software": None}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}


def run(arguments: argparse.Namespace) -> int:
    """Draw functions into a file, and return the exit status; raise `CommandError` for a bad argument or file."""
    kind = Path(arguments.output).suffix.lower()
    if kind not in _KINDS:
        name, (*others, last) = format_path(arguments.output), _KINDS
        stop(f"{name} must end in {', '.join(others)} or {last}, the formats there are")
    functions = _functions(arguments)
    chosen = list(zip(functions, _hyperparameters(functions, arguments.set), strict=True))
    if arguments.depth is not None:
        gradient_norms.check(chosen, arguments.depth)
    # A symbolic link is kept, and its target is replaced.
    new = AtomicFile(Path(os.path.realpath(arguments.output)), force=arguments.force)
    new.check()
    picture = _draw(chosen, kind, arguments)
    new.check(count=len(picture))
    with signals_interrupt(), new as file:
        write_all(file, picture)
        new.finish()
    what = f"{len(chosen)} functions" if len(chosen) > 1 else chosen[0][0].__name__
    sys.stdout.write(f"{what}: {format_size(len(picture))}, to {format_path(arguments.output)}\n")
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
    return sorted(catalogue.ACTIVATIONS.values(), key=curves.takes_rows)


def _hyperparameters(functions: Sequence[Activation], given: Sequence[str]) -> list[dict[str, Any]]:
    """Return the hyperparameters of each function: those given that it has, and examples of those without defaults."""
    theirs: list[list[str]] = [[] for _ in functions]
    for setting in given:
        name = setting.partition("=")[0]
        takers = [
            i for i, f in enumerate(functions) if name in {**f.definition.hyperparameters, **f.definition.options}
        ]
        if not takers and len(functions) > 1 and "=" in setting:
            stop(f"none of these functions has a hyperparameter {name!r}")
        for i in takers or [0]:  # raises an error for the first function
            theirs[i].append(setting)
    settings = []
    for function, its in zip(functions, theirs, strict=True):
        keywords = catalogue.examples(function) | parse_hyperparameters(function, its)
        result_type(function, np.dtype("float64"), (0, 2), keywords)
        settings.append(keywords)
    return settings


def _draw(chosen: Sequence[Chosen], kind: str, arguments: argparse.Namespace) -> bytes:
    """Return the bytes of the file."""
    from matplotlib import style  # noqa: PLC0415

    with style.context(["default", _STYLE]):
        if arguments.depth is None:
            figure = curves.draw(chosen, small=arguments.all)
        else:
            figure = gradient_norms.draw(chosen, arguments.depth)
        file = io.BytesIO()
        figure.savefig(file, format=kind[1:], metadata=_WITHOUT_DATE[kind])
    return _with_palette(file) if kind == ".png" and arguments.all else file.getvalue()


def _with_palette(file: io.BytesIO) -> bytes:
    """Reduce a picture to a palette of 256 colours, which makes it a third as large."""
    from PIL import Image  # noqa: PLC0415 -- comes with matplotlib

    smaller = io.BytesIO()
    with Image.open(file) as image:
        few = image.convert("RGB").quantize()
        few.save(smaller, format="png", optimize=True, dpi=image.info["dpi"])
    return smaller.getvalue()

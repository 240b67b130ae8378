"""``actufunc list``: the catalogue."""

from __future__ import annotations

import inspect
import textwrap
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from actufunc import _catalogue as catalogue

if TYPE_CHECKING:
    from actufunc import Activation

_INDENT = 4


def run() -> int:
    """Print every function: signature, aliases, summary, formula, values of options; return the exit status."""
    console = Console(highlight=False)
    for function in catalogue.ACTIVATIONS.values():
        heading = Text(_signature(function), style="bold")
        others = catalogue.aliases(function)
        if others:
            heading.append(f"  also {', '.join(others)}", style="not bold")
        console.print(heading)
        lines = [_summary(function), f"= {function.formula}"]
        lines += [f"{name}: {' or '.join(values)}" for name, values in catalogue.choices(function).items()]
        for line in lines:
            style = "cyan" if line.startswith("= ") else ""
            for part in textwrap.wrap(line, max(20, console.width - _INDENT), break_on_hyphens=False):
                console.print(Text(" " * _INDENT + part, style=style), soft_wrap=True)
    return 0


def _signature(function: Activation) -> str:
    definition = function.definition
    parts = [*definition.arrays]
    for name, default in {**definition.hyperparameters, **definition.options}.items():
        parts.append(name if default is inspect.Parameter.empty else f"{name}={default!r}")
    if definition.kind != "elementwise":
        parts.append("axis=-1")
    return f"{function.__name__}({', '.join(parts)})"


def _summary(function: Activation) -> str:
    return inspect.cleandoc(function.__doc__ or "").partition("\n")[0]

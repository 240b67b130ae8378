"""The catalogue of activations, derived from the modules in `activations`."""

from __future__ import annotations

import difflib
import inspect
from typing import Any

from . import activations
from ._activation import Activation
from ._docstrings import choices

__all__ = ["ACTIVATIONS", "NAMES", "aliases", "choices", "examples", "find", "variants"]

NAMES: dict[str, Activation] = {
    name: value for name, value in sorted(vars(activations).items()) if isinstance(value, Activation)
}
"""Every public name, aliases included."""

ACTIVATIONS: dict[str, Activation] = {name: value for name, value in NAMES.items() if value.__name__ == name}
"""Every activation once, by its own name."""


def aliases(function: Activation) -> list[str]:
    """Return the other names of an activation."""
    return [name for name, value in NAMES.items() if value is function and name != function.__name__]


def examples(function: Activation) -> dict[str, float]:
    """Return values to try for the hyperparameters without a default."""
    required = inspect.Parameter.empty
    return {name: 0.25 for name, default in function.definition.hyperparameters.items() if default is required}


def variants(function: Activation) -> list[dict[str, Any]]:
    """Return the sets of keywords with which to try a function: examples, and with them each of its options."""
    required: dict[str, Any] = dict(examples(function))
    defaults = function.definition.options
    others = [
        {option: value} for option, values in choices(function).items() for value in values if value != defaults[option]
    ]
    return [required, *(required | other for other in others)]


def find(name: str) -> Activation:
    """Return the activation of a name or an alias; raise ValueError, which names the nearest, if there is none."""
    if name in NAMES:
        return NAMES[name]
    near = difflib.get_close_matches(name, NAMES, n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(ACTIVATIONS)}"
    raise ValueError(f"no activation is called {name!r}{hint}")

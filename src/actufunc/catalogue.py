"""The catalogue of activations, derived from the modules in `activations`."""

from __future__ import annotations

import difflib

from . import activations
from .ufunc import Activation

NAMES: dict[str, Activation] = {
    name: value for name, value in sorted(vars(activations).items()) if isinstance(value, Activation)
}
"""Every public name, aliases included."""

ACTIVATIONS: dict[str, Activation] = {name: value for name, value in NAMES.items() if value.__name__ == name}
"""Every activation once, by its own name."""


def aliases(function: Activation) -> list[str]:
    """Return the other names of an activation."""
    return [name for name, value in NAMES.items() if value is function and name != function.__name__]


def find(name: str) -> Activation:
    """Look an activation up.

    Parameters
    ----------
    name : str
        Its name or an alias.

    Returns
    -------
    Activation
        The one of that name.

    Raises
    ------
    ValueError
        If there is none; the message names the nearest.
    """
    if name in NAMES:
        return NAMES[name]
    near = difflib.get_close_matches(name, NAMES, n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(ACTIVATIONS)}"
    raise ValueError(f"no activation is called {name!r}{hint}")

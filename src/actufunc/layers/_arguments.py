"""What a layer is given, whatever the framework: a function, its hyperparameters, which of them are learned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import actufunc
from actufunc._calling.binding import bind

if TYPE_CHECKING:
    from collections.abc import Mapping

NUMBERS = (bool, int, float, np.floating, np.integer)


def checked(function: Any, given: Mapping[str, Any], learn: Any, tensors: Any) -> tuple[dict[str, Any], list[str]]:
    """Return what a layer holds by name, and what is to be learned.

    Parameters
    ----------
    function : actufunc.Activation
        What the layer applies.
    given : mapping
        Hyperparameters, options, `axis` and `keepdims`.
    learn : str or iterable of str
        Names of hyperparameters.
    tensors : type or tuple of types
        What a hyperparameter may be beside a number.

    Returns
    -------
    values : dict
        What is given, and what is learned from its default.
    learned : list of str
        The names.

    Raises
    ------
    TypeError
        If something is unknown, missing or of another kind.
    """
    if not isinstance(function, actufunc.Activation) or function.definition.arrays != ("x",):
        raise TypeError(f"a layer applies an activation of one array, such as actufunc.silu, not {function!r}")
    learned = [learn] if isinstance(learn, str) else list(learn) if np.iterable(learn) else [learn]
    if not all(isinstance(name, str) for name in learned):
        raise TypeError(f"learn takes the names of hyperparameters, not {learn!r}")
    name, hyperparameters = function.__name__, function.definition.hyperparameters
    settled = (key for key in ("axis", "keepdims") if key in function.call_keywords)
    known = [*hyperparameters, *function.definition.options, *settled]
    for key in given:
        if key not in known:
            raise TypeError(f"a layer of {name} has no {key!r}; it has {', '.join(known) or 'no hyperparameters'}")
    for key in learned:
        if key not in hyperparameters:
            raise TypeError(
                f"{name} has no hyperparameter {key!r} to learn; it has {', '.join(hyperparameters) or 'none'}"
            )
    call = bind(function, None, **given)
    for key in hyperparameters:
        if not isinstance(call.operands[key], NUMBERS) and not isinstance(call.operands[key], tensors):
            raise TypeError(f"{name} takes {key} as a number or a tensor, not {type(call.operands[key]).__name__}")
    _ = call.expression  # an option without a formula is told here
    return {key: call.operands[key] for key in learned} | dict(given), learned

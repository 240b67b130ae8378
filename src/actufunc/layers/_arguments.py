"""Arguments of a layer of any framework: a function, its hyperparameters and the names of those to learn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import actufunc
from actufunc._calling.binding import bind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NUMBERS = (bool, int, float, np.floating, np.integer)


def check_arguments(
    function: Any, given: Mapping[str, Any], learn: Any, tensors: Any
) -> tuple[dict[str, Any], list[str]]:
    """Return the values that a layer holds, by name, and the names of those to learn.

    `given` are hyperparameters, options, `axis` and `keepdims`, to which the defaults of hyperparameters are added that
    are learned but not given. `learn` is a name or several; `tensors` are the types of hyperparameters that are allowed
    beside numbers. Raises TypeError if a name is unknown, a hyperparameter is missing or a value is neither a number
    nor a tensor.
    """
    if not isinstance(function, actufunc.Activation) or function.definition.arrays != ("x",):
        raise TypeError(f"a layer applies an activation of one array, such as actufunc.silu, not {function!r}")
    learned = [learn] if isinstance(learn, str) else list(learn) if np.iterable(learn) else [learn]
    if not all(isinstance(name, str) for name in learned):
        raise TypeError(f"learn takes the names of hyperparameters, not {learn!r}")
    name, hyperparameters = function.__name__, function.definition.hyperparameters
    keywords = (key for key in ("axis", "keepdims") if key in function.call_keywords)
    known = [*hyperparameters, *function.definition.options, *keywords]
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
    _ = call.expression  # raises for an option without a formula
    return {key: call.operands[key] for key in learned} | dict(given), learned


def check_attributes(layer: Any, names: Iterable[str], kind: str, reserved: tuple[str, ...] = ()) -> None:
    """Raise TypeError if a hyperparameter has the name of an attribute that layers of this kind have already."""
    for name in names:
        if hasattr(layer, name) or name in reserved:
            raise TypeError(f"{kind} have an attribute {name!r}; rename that of {layer.function.__name__}")

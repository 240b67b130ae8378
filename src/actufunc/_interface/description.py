"""Description of an activation: signatures, as of a NumPy ufunc, formula and representation."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import numpy as np

from actufunc.backends.promotion import as_python, holds_integers, is_scalar
from actufunc.formula.expression import to_text

if TYPE_CHECKING:
    from actufunc._calling.function import Function
    from actufunc.formula.definition import Definition

_INTEGERS = "bBhHiIlLqQ"  # in the order of NumPy
_LINE = 80  # characters of a representation


def core_signature(definition: Definition) -> str | None:
    """Return the core dimensions, as the signature of a generalised ufunc; None if elementwise."""
    if definition.kind == "elementwise":
        return None
    other = "(m)" if definition.gated else "()" if definition.reduces or definition.without_axis else "(n)"
    inputs = ["(n)", *(other for _ in definition.arrays[1:]), *("()" for _ in definition.hyperparameters)]
    return f"{','.join(inputs)}->{'(n)' if definition.arrays[1:] else other}"


def types(definition: Definition) -> list[str]:
    """Return the signatures by dtype character, for the default hyperparameters.

    bfloat16 is supported, too, but has no dtype character in NumPy.
    """
    scalars = {key: as_python(v) for key, v in definition.hyperparameters.items() if is_scalar(v)}
    formulas = [each.specialised(each.options, scalars) for each in definition.parts or (definition,)]
    integers = (c for c in _INTEGERS if all(holds_integers(formula, np.dtype(c)) for formula in formulas))
    return [f"{c * len(definition.arguments)}->{c}" for c in (*integers, *"efd")]


def python_signature(function: Function) -> inspect.Signature:
    """Return the signature of a call: arguments, options and other keywords."""
    definition, positions, kinds = function.definition, function.positions, inspect.Parameter
    defaults = {**definition.hyperparameters, **definition.options, **function.call_keywords}
    places = [*positions.names, *([] if positions.follows is None else [positions.follows])]
    parameters = [kinds(name, kinds.POSITIONAL_OR_KEYWORD, default=defaults.get(name, kinds.empty)) for name in places]
    parameters += [
        kinds(name, kinds.KEYWORD_ONLY, default=default) for name, default in defaults.items() if name not in places
    ]
    return inspect.Signature(parameters)


def formula_text(definition: Definition) -> str:
    """Return the formula that all backends compute, for the default options."""
    return to_text(definition.formula(definition.options))


def representation(function: Function) -> str:
    """Return the `repr` of an activation: its formula, cut to the length of a line."""
    definition = function.definition
    text = f"<activation {function.__name__}({', '.join(definition.arguments)}) = {formula_text(definition)}>"
    return text if len(text) <= _LINE else f"{text[: _LINE - len('...>')]}...>"

"""Pickling of activations: by name where another process can import them, by what they derive from, or as formulas."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from actufunc.formula.definition import define

if TYPE_CHECKING:
    from collections.abc import Callable

    from actufunc._calling.function import Function
    from actufunc.formula.expression import Expression


def is_importable(function: Function) -> bool:
    """Tell whether an activation is what its module has under its name."""
    module = sys.modules.get(function.__module__)
    return function.__module__ != "__main__" and getattr(module, function.__name__, None) is function


def reduce(function: Function) -> str | tuple[Callable[..., Any], tuple[Any, ...]]:
    """Return what `pickle` keeps of an activation; see `object.__reduce__`."""
    if function.origin is not None:
        source, which = function.origin
        return (getattr, (source, which)) if isinstance(which, str) else (_part, (source, which))
    definition = function.definition
    # With options it is more than one formula.
    if definition.options or is_importable(function):
        return function.__qualname__
    cotangent = None if function.custom_vjp is None else function.vjp.definition.differentiable()
    named = (definition.name, function.__module__, function.__qualname__, function.__doc__)
    return from_formula, (type(function), named, definition.hyperparameters, definition.differentiable(), cotangent)


def from_formula(
    kind: Any, named: tuple[Any, ...], hyperparameters: Any, formula: Expression, cotangent: Expression | None
) -> Any:
    """Make an activation of a formula.

    Parameters
    ----------
    kind : type
        `actufunc.Activation`.
    named : tuple
        Name, module, qualified name and docstring.
    hyperparameters : dict
        Their defaults.
    formula, cotangent : Expression
        The function and, if it has a custom one, its vjp.
    """
    name, module, qualname, doc = named
    made = kind(define(name, hyperparameters, {}, lambda: formula))
    made.__module__, made.__qualname__, made.__doc__ = module, qualname, doc
    if cotangent is not None:
        made.cotangent(lambda **_: cotangent)
    return made


def _part(gated: Function, number: int) -> Any:
    return gated.halves[number]

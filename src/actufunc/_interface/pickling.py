"""Pickling of activations: by name if they can be imported, derivatives by their origin, others as formulas."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from actufunc._calling.function import Function  # noqa: TC001 -- for typing.get_type_hints
from actufunc.formula.definition import define

if TYPE_CHECKING:
    from actufunc.formula.expression import Expression


def is_importable(function: Function) -> bool:
    """Return True if the module of an activation has it under its name."""
    module = sys.modules.get(function.__module__)
    return function.__module__ != "__main__" and getattr(module, function.__name__, None) is function


def reduce(function: Function) -> str | tuple[Any, ...]:
    """Implement `object.__reduce__`."""
    if function.origin is not None:
        source, which = function.origin
        return (getattr, (source, which)) if isinstance(which, str) else (_part, (source, which))
    definition = function.definition
    # Options stand for several formulas, so that no single one could be pickled.
    if definition.options or is_importable(function):
        return function.__qualname__
    cotangent = None if function.custom_vjp is None else function.vjp.definition.differentiable()
    named = (definition.name, function.__module__, function.__qualname__, function.__doc__)
    return from_formula, (type(function), named, definition.hyperparameters, definition.differentiable(), cotangent)


def from_formula(
    kind: Any, named: tuple[Any, ...], hyperparameters: Any, formula: Expression, cotangent: Expression | None
) -> Any:
    """Return an activation, of class `kind`, of a formula and an optional custom vjp, `cotangent`.

    `named` holds name, module, qualified name and docstring, `hyperparameters` the defaults.
    """
    name, module, qualname, doc = named
    made = kind(define(name, hyperparameters, {}, lambda: formula))
    made.__module__, made.__qualname__, made.__doc__ = module, qualname, doc
    if cotangent is not None:
        made.cotangent(lambda **_: cotangent)
    return made


def _part(gated: Function, number: int) -> Any:
    return gated.halves[number]

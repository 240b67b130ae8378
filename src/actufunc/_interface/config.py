"""Configs of activations, with which Keras saves them in files of models."""

from __future__ import annotations

import inspect
import operator
import sys
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from actufunc._calling.function import Function  # noqa: TC001 -- for typing.get_type_hints
from actufunc.formula.expression import Expression, from_rows
from actufunc.formula.registry import OPERATIONS

from .pickling import from_formula, is_importable

if TYPE_CHECKING:
    from collections.abc import Mapping


def get_config(function: Function, /) -> dict[str, Any]:
    """Return the activation as a dictionary that JSON can store, which Keras calls its config.

    It holds the name of an activation that can be imported, else the formula; for a derivative, the config of the
    activation that it derives from.

    Raises
    ------
    TypeError
        If the activation has options, which stand for several formulas, and cannot be imported.

    Examples
    --------
    >>> from actufunc import Activation, mish
    >>> mish.grad.get_config()
    {'derived': 'grad', 'of': {'module': 'actufunc', 'name': 'mish'}}
    >>> Activation.from_config(mish.get_config()) is mish
    True
    """
    if function.origin is not None:
        source, which = function.origin
        return {"derived": which, "of": get_config(source)}
    name, module = function.__name__, function.__module__
    package = module.partition(".")[0]
    # The name of a package is more stable than that of a module inside it.
    is_public = is_importable(function) and getattr(sys.modules[package], name, None) is function
    named = {"module": package if is_public else module, "name": name}
    if is_importable(function):
        return named
    definition = function.definition
    if definition.options:
        raise TypeError(f"{name} has options, so that it must be importable to be kept; move it to a module")
    defaults = {
        key: []
        if default is inspect.Parameter.empty
        else [operator.index(default) if type(default) is int else float(default)]
        for key, default in definition.hyperparameters.items()
    }
    cotangent = None if function.custom_vjp is None else _to_rows(function.vjp.definition.differentiable())
    formula = {"hyperparameters": defaults, "formula": _to_rows(definition.differentiable()), "cotangent": cotangent}
    return {**named, "qualname": function.__qualname__, "doc": function.__doc__, **formula}


def from_config(cls: Any, config: Mapping[str, Any]) -> Any:
    """Return the activation of a config.

    Parameters
    ----------
    config : mapping
        Result of `get_config`. It runs no code: a module that it names must have been imported.

    Raises
    ------
    ValueError
        If there is no such activation, or `config` is not one.
    """
    if "of" in config:
        source, which = from_config(cls, config["of"]), config["derived"]
        if isinstance(which, int):
            return source.halves[which]
        if which in {"grad", "vjp"}:
            return getattr(source, which)
        raise ValueError(f"no activation is derived from {source.__name__} as {which!r}")
    if "formula" in config:
        return _from_formula(cls, config)
    found = getattr(sys.modules.get(config["module"]), config["name"], None)
    if isinstance(found, cls):
        return found
    raise ValueError(f"no activation {config['name']} is known in {config['module']}; import that module first")


def _from_formula(kind: Any, config: Mapping[str, Any]) -> Any:
    defaults = config["hyperparameters"]
    hyperparameters = {key: value[0] if value else inspect.Parameter.empty for key, value in defaults.items()}
    formula, cotangent = _from_rows(config["formula"], hyperparameters.keys()), config["cotangent"]
    if cotangent is not None:
        cotangent = _from_rows(cotangent, {*hyperparameters, "g"})
    named = tuple(config[key] for key in ("name", "module", "qualname", "doc"))
    return from_formula(kind, named, hyperparameters, formula, cotangent)


def _to_rows(expression: Expression) -> list[list[Any]]:
    return [
        [operation, list(places), {"decimal": str(value)} if isinstance(value, Decimal) else value]
        for operation, places, value in expression.rows()
    ]


def _from_rows(rows: Any, names: Any) -> Expression:
    """Return the expression of rows from a file, which are not trusted; raise ValueError unless they are valid."""
    if not rows:
        raise ValueError("a formula has at least one node")
    made: list[tuple[str, tuple[int, ...], Any]] = []
    for operation, places, value in rows:
        count = len(places)
        record = OPERATIONS.get(operation)
        # The operands of with_derivatives are a value and any number of pairs.
        known = count > 1 and count % 2 == 1 if operation == "with_derivatives" else record and count == record.arity
        known = known and all(isinstance(place, int) and 0 <= place < len(made) for place in places)
        number = Decimal(value["decimal"]) if isinstance(value, dict) else value
        kinds = {"argument": str, "constant": bool | int | float | Decimal}.get(operation, type(None))
        if not known or not isinstance(number, kinds) or (operation == "argument" and number not in {"x", *names}):
            raise ValueError(f"a formula has no node {operation!r} of {value!r}")
        made.append((operation, tuple(places), number))
    return from_rows(made)

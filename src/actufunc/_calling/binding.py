"""Binding: the positional and keyword arguments of a call are assigned to the parameters of a definition."""

from __future__ import annotations

import inspect
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from .call import Call
from .signature import signature_to_dtype

if TYPE_CHECKING:
    from actufunc.formula.definition import Definition

    from .function import Function


_COMMON_KEYWORDS = {"out": None, "where": True, "dtype": None}
_KEYWORDS = {**_COMMON_KEYWORDS, "casting": "same_kind", "order": "K", "subok": True, "signature": None}
_AXIS_KEYWORDS = {"axis": -1, **_COMMON_KEYWORDS}
_REDUCING_KEYWORDS = {**_AXIS_KEYWORDS, "keepdims": False}
_GATED_KEYWORDS = {"axis": -1, "out": None, "dtype": None}

_EMPTY = inspect.Parameter.empty
_OPTIONS = (bool, int, str, type(None))


def call_keywords(definition: Definition) -> dict[str, Any]:
    """Return the keywords of a call that are no hyperparameters or options, with their defaults."""
    if definition.gated:
        return _GATED_KEYWORDS
    if definition.reduces or definition.without_axis:
        return _REDUCING_KEYWORDS
    return _AXIS_KEYWORDS if definition.over_axis else _KEYWORDS


def pop_x(function: Function, keywords: dict[str, Any]) -> Any:
    """Remove `x` from the keywords and return it."""
    if "x" not in keywords:
        raise TypeError(f"{function.__name__} needs 'x', the array to compute")
    return keywords.pop("x")


def has_gate(function: Function, args: tuple[Any, ...], keywords: dict[str, Any]) -> bool:
    """Return True if a gated unit is called with separate parts, ``f(x, gate)`` instead of ``f(x, axis)``."""
    if "gate" in keywords:
        return True
    arrays = function.definition.arrays
    if len(args) < len(arrays) or function.positions.names != arrays:
        return False
    return not isinstance(args[len(arrays) - 1], int | float | np.number | str | tuple | None)


def warn_where_without_out(function: Function) -> None:
    """Warn, as NumPy's ufuncs do, that elements excluded by `where` are not computed; here these are 0, not garbage."""
    if function.definition.kind == "elementwise":
        warnings.warn(
            f"'where' used without 'out': {function.__name__} gives 0 where it is false; use out=None to say so",
            UserWarning,
            stacklevel=4,
        )


def bind(function: Function, *args: Any, **keywords: Any) -> Call:
    """Return a call of an activation; raise TypeError for missing, repeated or unknown arguments."""
    definition, defaults = function.definition, function.call_keywords
    names, positional = (*definition.arguments, *definition.options), function.positions.names
    name = function.__name__
    if "signature" in keywords or "sig" in keywords:
        keywords = signature_to_dtype(definition, keywords)
    if len(args) > len(positional):
        raise TypeError(f"{name} takes at most {len(positional)} positional arguments, not {len(args)}")
    given = dict(zip(positional, args, strict=False))
    others: dict[str, Any] = {}
    for key, value in keywords.items():
        if key in given:
            raise TypeError(f"{name} got {key!r} by position and by keyword")
        if key in defaults:
            others[key] = value
        elif key in names[1:]:
            given[key] = value
        else:
            known = ", ".join([*names[1:], *defaults])
            raise TypeError(f"{name} got an unexpected keyword argument {key!r}; it knows {known}")
    values = {**definition.hyperparameters, **definition.options, **given}
    missing = [key for key in definition.arguments if values.get(key, _EMPTY) is _EMPTY]
    if missing:
        raise TypeError(f"{name} needs {' and '.join(map(repr, missing))}")
    for key in definition.options:
        if not isinstance(values[key], _OPTIONS):
            raise TypeError(f"{name} takes {key}= as a string or the like, not {values[key]!r}")
    operands = {key: values[key] for key in definition.arguments}
    return Call(function, operands, {key: values[key] for key in definition.options}, others)

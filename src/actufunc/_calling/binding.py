"""From the arguments that people type to those of a definition: what stands by position, what by keyword."""

from __future__ import annotations

import inspect
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .call import Call
from .signature import with_dtype

if TYPE_CHECKING:
    from actufunc.formula.definition import Definition

    from .function import Function

NOT_GIVEN: Any = type("NotGiven", (), {"__repr__": lambda _: "<not given>", "__slots__": ()})()
"""Stands for `x` or `out` in a call that names neither: ``out=None`` says that what `where` leaves out is meant."""

_KEYWORDS = {
    "out": None,
    "where": True,
    "dtype": None,
    "casting": "same_kind",
    "order": "K",
    "subok": True,
    "signature": None,
}
_AXIS_KEYWORDS = {"axis": -1, "out": None, "where": True, "dtype": None}
_REDUCING_KEYWORDS = {**_AXIS_KEYWORDS, "keepdims": False}
_GATED_KEYWORDS = {"axis": -1, "out": None, "dtype": None}

_EMPTY = inspect.Parameter.empty
_OPTIONS = (bool, int, str, type(None))


@dataclass(frozen=True, slots=True)
class Positions:
    """What may be given by position.

    Attributes
    ----------
    names : tuple of str
        Arguments and options, `x` first.
    follows : str or None
        Keyword of the call protocol that may stand behind them: "axis", or "out" as for a NumPy ufunc, if there is
        nothing but arrays that it could be taken for.
    """

    names: tuple[str, ...]
    follows: str | None

    @classmethod
    def of(cls, definition: Definition) -> Positions:
        """Return those of a definition."""
        names = (*definition.arguments, *(name for name in definition.options if name != "wrt"))
        if definition.over_axis or definition.gated:
            return cls(names, "axis")
        return cls(names, "out" if names == definition.arrays else None)

    def split(
        self, name: str, args: tuple[Any, ...], keywords: dict[str, Any], out: Any
    ) -> tuple[tuple[Any, ...], dict[str, Any], Any]:
        """Take what follows from the positional arguments behind `x`, and name it."""
        room = len(self.names) - 1
        if len(args) <= room or self.follows is None:
            return args, keywords, out
        if len(args) > room + 1:
            raise TypeError(f"{name} takes at most {room + 2} positional arguments, not {len(args) + 1}")
        if (self.follows == "out" and out is not NOT_GIVEN) or self.follows in keywords:
            raise TypeError(f"{name} got {self.follows!r} by position and by keyword")
        if self.follows == "out":
            return args[:room], keywords, args[room]
        return args[:room], {**keywords, "axis": args[room]}, out


def call_keywords(definition: Definition) -> dict[str, Any]:
    """Return the keywords of every call, with their defaults."""
    if definition.gated:
        return _GATED_KEYWORDS
    if definition.reduces or definition.of_rows:
        return _REDUCING_KEYWORDS
    return _AXIS_KEYWORDS if definition.over_axis else _KEYWORDS


def pop_x(function: Function, keywords: dict[str, Any]) -> Any:
    """Take `x` out of the keywords."""
    if "x" not in keywords:
        raise TypeError(f"{function.__name__} needs 'x', the array to compute")
    return keywords.pop("x")


def has_gate(function: Function, args: tuple[Any, ...], keywords: dict[str, Any]) -> bool:
    """Tell whether a gated unit is given its halves apart, ``f(x, gate)`` instead of ``f(joined, axis)``."""
    if "gate" in keywords:
        return True
    arrays = function.definition.arrays
    if len(args) < len(arrays) or function.positions.names != arrays:
        return False
    return not isinstance(args[len(arrays) - 1], int | float | np.number | str | tuple | None)


def warn_of_rest(function: Function) -> None:
    """Warn as NumPy's ufuncs do of what `where` leaves out of a fresh result, though here it is no garbage."""
    if function.definition.kind == "elementwise":
        warnings.warn(
            f"'where' used without 'out': {function.__name__} gives 0 where it is false; use out=None to say so",
            UserWarning,
            stacklevel=4,
        )


def bind(function: Function, *args: Any, **keywords: Any) -> Call:
    """Return a call of an activation.

    Parameters
    ----------
    function : Activation
        What is called.
    *args, **keywords
        Its arguments, as they were given.

    Raises
    ------
    TypeError
        If there are too many, too few, or some that it does not know.
    """
    definition, own = function.definition, function.call_keywords
    names, positional = (*definition.arguments, *definition.options), function.positions.names
    name = function.__name__
    if "signature" in keywords or "sig" in keywords:
        keywords = with_dtype(definition, keywords)
    if len(args) > len(positional):
        raise TypeError(f"{name} takes at most {len(positional)} positional arguments, not {len(args)}")
    given = dict(zip(positional, args, strict=False))
    protocol: dict[str, Any] = {}
    for key, value in keywords.items():
        if key in given:
            raise TypeError(f"{name} got {key!r} by position and by keyword")
        if key in own:
            protocol[key] = value
        elif key in names[1:]:
            given[key] = value
        else:
            known = ", ".join([*names[1:], *own])
            raise TypeError(f"{name} got an unexpected keyword argument {key!r}; it knows {known}")
    values = {**definition.hyperparameters, **definition.options, **given}
    missing = [key for key in definition.arguments if values.get(key, _EMPTY) is _EMPTY]
    if missing:
        raise TypeError(f"{name} needs {' and '.join(map(repr, missing))}")
    for key in definition.options:
        if not isinstance(values[key], _OPTIONS):
            raise TypeError(f"{name} takes {key}= as a string or the like, not {values[key]!r}")
    operands = {key: values[key] for key in definition.arguments}
    return Call(function, operands, {key: values[key] for key in definition.options}, protocol)

"""What TensorFlow and Keras ask of an activation: to be called as it stands, and to be kept in the file of a model."""

from __future__ import annotations

import inspect
import operator
import sys
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from actufunc.formula import operations
from actufunc.formula.definition import define
from actufunc.formula.expression import COMPARISONS, HALVES, Expression, from_rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actufunc._activation import Activation
    from actufunc.formula.definition import Definition


class Configured:
    """An activation as a dictionary of what JSON can hold, which Keras calls its config.

    One that can be imported is kept by its name, another as its formula, a derivative by what it is derived from.
    """

    __slots__ = ()

    autograph_info__ = None
    """TensorFlow's AutoGraph, which rewrites the Python code that a tf.function calls, leaves alone what has this."""

    if TYPE_CHECKING:
        definition: Definition
        __name__: str
        __qualname__: str
        _parent: tuple[Activation, str | int] | None
        _cotangent: Any
        vjp: Activation

    @property
    def importable(self) -> bool:
        """Whether this is what its module has under its name."""
        module = sys.modules.get(self.__module__)
        return self.__module__ != "__main__" and getattr(module, self.__name__, None) is self

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` takes.

        Raises
        ------
        TypeError
            If it has options, which are more than one formula, and cannot be imported.

        Examples
        --------
        >>> from actufunc import Activation, mish
        >>> mish.grad.get_config()
        {'derived': 'grad', 'of': {'module': 'actufunc', 'name': 'mish'}}
        >>> Activation.from_config(mish.get_config()) is mish
        True
        """
        if self._parent is not None:
            parent, which = self._parent
            return {"derived": which, "of": parent.get_config()}
        package = self.__module__.partition(".")[0]
        # A package's own name lasts longer than where in it a function stands.
        is_public = self.importable and getattr(sys.modules[package], self.__name__, None) is self
        named = {"module": package if is_public else self.__module__, "name": self.__name__}
        if self.importable:
            return named
        definition = self.definition
        if definition.options:
            raise TypeError(
                f"{self.__name__} has options, so that it must be importable to be kept; move it to a module"
            )
        defaults = {
            key: []
            if default is inspect.Parameter.empty
            else [operator.index(default) if type(default) is int else float(default)]
            for key, default in definition.hyperparameters.items()
        }
        cotangent = None if self._cotangent is None else _to_rows(self.vjp.definition.trace())
        formula = {"hyperparameters": defaults, "formula": _to_rows(definition.trace()), "cotangent": cotangent}
        return {**named, "qualname": self.__qualname__, "doc": self.__doc__, **formula}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Activation:
        """Return the activation of a config.

        Parameters
        ----------
        config : mapping
            As of `get_config`. It runs no code: a module that it names must have been imported.

        Raises
        ------
        ValueError
            If there is no such activation, or the config is none.
        """
        if "of" in config:
            of, which = cls.from_config(config["of"]), config["derived"]
            if isinstance(which, int):
                return of.halves[which]
            if which in {"grad", "vjp"}:
                derived: Activation = getattr(of, which)
                return derived
            raise ValueError(f"no activation is derived from {of.__name__} as {which!r}")
        if "formula" in config:
            return _of_formula(cls, config)
        found = getattr(sys.modules.get(config["module"]), config["name"], None)
        if isinstance(found, cls):
            return found  # type: ignore[return-value]
        raise ValueError(f"no activation {config['name']} is known in {config['module']}; import that module first")


def _of_formula(cls: Any, config: Mapping[str, Any]) -> Activation:
    defaults = config["hyperparameters"]
    hyperparameters = {key: value[0] if value else inspect.Parameter.empty for key, value in defaults.items()}
    formula = _from_rows(config["formula"], hyperparameters.keys())
    made: Activation = cls(define(config["name"], hyperparameters, {}, lambda: formula))
    made.__module__, made.__qualname__, made.__doc__ = config["module"], config["qualname"], config["doc"]
    if config["cotangent"] is not None:
        cotangent = _from_rows(config["cotangent"], {*hyperparameters, "g"})
        made.cotangent(lambda **_: cotangent)
    return made


_OPERANDS = {
    **{
        name: len(inspect.signature(made).parameters)
        for name, made in vars(operations).items()
        if inspect.isfunction(made)
    },
    **dict.fromkeys(COMPARISONS | {"add", "subtract", "multiply", "divide"}, 2),
    **dict.fromkeys(("negative", *HALVES), 1),
    **dict.fromkeys(("constant", "argument"), 0),
}
"""How many operands nodes have, by their operation; a stated one has a value, and any number of pairs."""


def _to_rows(expression: Expression) -> list[list[Any]]:
    return [
        [operation, list(places), {"decimal": str(value)} if isinstance(value, Decimal) else value]
        for operation, places, value in expression.rows()
    ]


def _from_rows(rows: Any, names: Any) -> Expression:
    """Make an expression of what a file holds, which may be anything."""
    if not rows:
        raise ValueError("a formula has at least one node")
    made: list[tuple[str, tuple[int, ...], Any]] = []
    for operation, places, value in rows:
        count = len(places)
        known = count > 1 and count % 2 == 1 if operation == "stated" else count == _OPERANDS.get(operation)
        known = known and all(isinstance(place, int) and 0 <= place < len(made) for place in places)
        number = Decimal(value["decimal"]) if isinstance(value, dict) else value
        kinds = {"argument": str, "constant": bool | int | float | Decimal}.get(operation, type(None))
        if not known or not isinstance(number, kinds) or (operation == "argument" and number not in {"x", *names}):
            raise ValueError(f"a formula has no node {operation!r} of {value!r}")
        made.append((operation, tuple(places), number))
    return from_rows(made)

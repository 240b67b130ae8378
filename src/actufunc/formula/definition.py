"""How a definition is read: an ordinary function becomes an expression and a signature."""

from __future__ import annotations

import functools
import inspect
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .derivative import derivative, with_nan
from .expression import COMPARISONS, REDUCTIONS, Expression, argument, constant

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_KEPT_EXPRESSIONS = 256


@dataclass(frozen=True, eq=False)
class Definition:
    """What an activation computes, for every backend.

    Attributes
    ----------
    name : str
        What the activation is called.
    arrays : tuple of str
        Arguments that are arrays and must be given: ``("x",)``, for a vjp ``("x", "g")``.
    hyperparameters : dict
        Numeric arguments and their defaults; `inspect.Parameter.empty` stands for none.
    options : dict
        Arguments that choose between formulas, such as ``approximate="none"``, and their defaults.
    trace : callable
        Gives the expression for the values of the options.
    """

    name: str
    arrays: tuple[str, ...]
    hyperparameters: dict[str, Any]
    options: dict[str, Any]
    trace: Callable[..., Expression]
    _expressions: dict[tuple[Any, ...], Expression] = field(default_factory=dict, repr=False)

    def expression(self, options: Mapping[str, Any]) -> Expression:
        """Return what to compute for these options; NaN in `x` gives NaN."""
        key = tuple(options.items())
        expression = self._expressions.get(key)
        if expression is None:
            expression = self._expressions[key] = with_nan(self.trace(**options), "x")
        return expression

    def specialised(self, options: Mapping[str, Any], scalars: Mapping[str, Any]) -> Expression:
        """Return what to compute for these options and values of scalar hyperparameters."""
        # The repr tells values apart that are equal but not the same: 1 and 1.0, 0.0 and -0.0.
        key = (tuple(options.items()), tuple(scalars), repr(tuple(scalars.values())))
        expression = self._expressions.get(key)
        if expression is None:
            expression = self.expression(options).substitute(scalars)
            if len(self._expressions) > _KEPT_EXPRESSIONS:
                self._expressions.clear()
            self._expressions[key] = expression
        return expression

    @functools.cached_property
    def over_axis(self) -> bool:
        """Whether the formula reduces over an axis."""
        return any(node.operation in REDUCTIONS for node in self.expression(self.options).nodes())

    @functools.cached_property
    def identifier(self) -> str:
        """Name as it can stand in source code."""
        return re.sub(r"\W", "_", self.name)

    @functools.cached_property
    def arguments(self) -> tuple[str, ...]:
        """Names of all arguments but the options, in order."""
        return (*self.arrays, *self.hyperparameters)


def read(function: Callable[..., Any]) -> Definition:
    """Read a definition.

    Parameters
    ----------
    function : callable
        Takes ``x`` and hyperparameters, and returns an expression. A hyperparameter whose default is a string, a bool
        or None is an option: the function may branch on it.

    Returns
    -------
    Definition
        The function's expression and signature.

    Raises
    ------
    TypeError
        If the function does something that a formula cannot.
    """
    name = function.__name__
    parameters = list(inspect.signature(function).parameters.values())
    if not parameters or parameters[0].name != "x":
        raise TypeError(f"the first argument of {name} must be x, the array it is applied to")
    hyperparameters: dict[str, Any] = {}
    options: dict[str, Any] = {}
    for parameter in parameters[1:]:
        if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}:
            raise TypeError(f"{name} must name its hyperparameters one by one, without *{parameter.name}")
        if parameter.name in RESERVED:
            raise TypeError(f"{name} cannot have a hyperparameter {parameter.name!r}: every activation has one already")
        is_option = isinstance(parameter.default, str | bool) or parameter.default is None
        (options if is_option else hyperparameters)[parameter.name] = parameter.default

    def trace(**chosen: Any) -> Expression:
        symbols = {each: argument(each) for each in hyperparameters}
        result = function(argument("x"), **symbols, **chosen)
        try:
            expression = constant(result)
        except TypeError:
            raise TypeError(
                f"{name} must return one expression of its arguments, not {type(result).__name__}"
            ) from None
        if expression.operation in COMPARISONS:
            raise TypeError(f"{name} must return a number, not a condition; write where(condition, 1, 0)")
        return expression

    definition = Definition(name, ("x",), hyperparameters, options, trace)
    definition.expression(options)
    return definition


RESERVED = frozenset({"out", "where", "dtype", "casting", "order", "subok", "axis", "g", "wrt"})


def gradient(of: Definition, override: Callable[..., Any] | None) -> Definition:
    """Return the derivative of a definition; the option ``wrt`` names the argument to differentiate by.

    Parameters
    ----------
    of : Definition
        What to differentiate.
    override : callable or None
        Formula of the derivative by `x`, where the definition states its own.
    """
    # The derivative of a derivative: the first is by x.
    fixed = {"wrt": "x"} if "wrt" in of.options else {}
    left = {name: default for name, default in of.options.items() if name not in fixed}

    def trace(*, wrt: str, **options: Any) -> Expression:
        if wrt not in of.arguments:
            raise ValueError(f"{of.name} has no argument {wrt!r} to differentiate by; it has {', '.join(of.arguments)}")
        if override is not None and wrt == "x":
            symbols = {each: argument(each) for each in of.arguments}
            return constant(override(**symbols, **options))
        return derivative(of.trace(**options, **fixed), wrt)

    return Definition(f"{of.name}.grad", of.arrays, of.hyperparameters, {**left, "wrt": "x"}, trace)


def vector_jacobian_product(of: Definition, override: Callable[..., Any] | None) -> Definition:
    """Return the product of a cotangent `g` with the derivative of a definition.

    Parameters
    ----------
    of : Definition
        For an elementwise function its gradient; for one over an axis the function itself.
    override : callable or None
        Formula of the vjp from `x`, `g` and the hyperparameters; needed over an axis.
    """
    name = f"{of.name.removesuffix('.grad')}.vjp"
    if "g" in of.arrays:
        raise AttributeError(f"{of.name} is linear in g, and its derivative by x is offered as f.grad.vjp only")
    if of.over_axis and override is None:
        raise AttributeError(f"{of.name} reduces over an axis: state its vjp with @{of.name}.cotangent")

    def trace(**options: Any) -> Expression:
        g = argument("g")
        if override is not None:
            symbols = {each: argument(each) for each in of.arguments}
            return constant(override(g=g, **symbols, **options))
        return g * with_nan(of.trace(**options), "x")

    return Definition(name, (*of.arrays, "g"), of.hyperparameters, of.options, trace)

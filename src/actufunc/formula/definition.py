"""Definitions: an ordinary Python function becomes an expression and a signature."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .custom_derivative import with_derivatives, without_derivatives
from .derivative import derivative, with_nan
from .expression import Expression, argument, constant, make_node
from .operations import halves

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_KEPT_EXPRESSIONS = 256


@dataclass(frozen=True, eq=False)
class Definition:
    """What an activation computes, for every backend.

    It is an expression at four stages, each made of the one before:

    1. `differentiable`: what the function returns for symbols, with the derivatives that `with_derivatives` and
       `evaluated` give to parts of it. Derivatives and other formulas are made of this one.
    2. `formula`: the same without these derivatives, as ``f.formula`` shows it.
    3. `computed`: the same, with NaN for NaN. This is what backends compute.
    4. `specialised`: the same with the values of scalar hyperparameters put in.

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
    differentiable : callable
        Takes the values of the options as keywords and returns the expression of the first stage.
    without_axis : frozenset of str
        Arrays over an axis that lack this axis, as the cotangent of a function that reduces does.
    parts : tuple of Definition
        For a gated unit, which splits an axis, the elementwise functions of `x`, the first half, and `gate`, the
        second: one for a value; for a vjp two, whose results are joined along the axis.
    """

    name: str
    arrays: tuple[str, ...]
    hyperparameters: dict[str, Any]
    options: dict[str, Any]
    differentiable: Callable[..., Expression]
    without_axis: frozenset[str] = frozenset()
    parts: tuple[Definition, ...] = ()
    _expressions: dict[tuple[Any, ...], Expression] = field(default_factory=dict, repr=False)

    def computed(self, options: Mapping[str, Any]) -> Expression:
        """Return what backends compute for these options.

        NaN in an element of `x` gives NaN there, except in functions that reduce an axis: their formulas must do that.
        """
        key = tuple(options.items())
        expression = self._expressions.get(key)
        if expression is None:
            formula = self.formula(options)
            if _kind(formula) != self._kind_by_default:
                raise TypeError(f"{self.name} is of another kind with other options; make two activations of it")
            expression = self._expressions[key] = formula if self.reduces else with_nan(formula, "x")
        return expression

    @functools.cached_property
    def _kind_by_default(self) -> tuple[bool, ...]:
        return _kind(self.formula(self.options))

    def formula(self, options: Mapping[str, Any]) -> Expression:
        """Return the formula for these options as it was written."""
        return without_derivatives(self.differentiable(**options))

    def specialised(self, options: Mapping[str, Any], scalars: Mapping[str, Any]) -> Expression:
        """Return what backends compute for these options and values of scalar hyperparameters."""
        # The repr tells values apart that are equal but not the same: 1 and 1.0, 0.0 and -0.0.
        key = (tuple(options.items()), tuple(scalars), repr(tuple(scalars.values())))
        expression = self._expressions.get(key)
        if expression is None:
            expression = self.computed(options).substitute(scalars)
            if len(self._expressions) > _KEPT_EXPRESSIONS:
                self._expressions.clear()
            self._expressions[key] = expression
        return expression

    @functools.cached_property
    def over_axis(self) -> bool:
        """True if the formula reduces over an axis."""
        return self._kind_by_default[0]

    @functools.cached_property
    def reduces(self) -> bool:
        """True if the result lacks the axis: each argument stands within a reduction."""
        return self.over_axis and not self._kind_by_default[1]

    @property
    def gated(self) -> bool:
        """True if this splits an axis."""
        return bool(self.parts)

    @property
    def kind(self) -> str:
        """Kind of function: "elementwise", "over an axis", "reducing" (an axis) or "gated"."""
        if self.gated:
            return "gated"
        if self.reduces:
            return "reducing"
        return "over an axis" if self.over_axis else "elementwise"

    @functools.cached_property
    def identifier(self) -> str:
        """Name as it can stand in source code."""
        return re.sub(r"\W", "_", self.name)

    @functools.cached_property
    def arguments(self) -> tuple[str, ...]:
        """Names of all arguments but the options, in order."""
        return (*self.arrays, *self.hyperparameters)


def trace(function: Callable[..., Any]) -> Definition:
    """Return the definition of a Python function, which is called once with symbols for each set of options.

    It takes ``x`` and hyperparameters, and returns an expression. A hyperparameter whose default is a string, a bool or
    None is an option: the function may branch on it. Raises TypeError if it does something that a formula cannot.
    """
    if not callable(function) or not hasattr(function, "__name__"):
        raise TypeError(f"activation takes a function that has a name, not {function!r}; define one with def")
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

    @functools.cache  # what the function refers to may change, but a value and its derivative must belong together
    def differentiable(**chosen: Any) -> Expression:
        symbols = {each: argument(each) for each in hyperparameters}
        try:
            result = function(argument("x"), **symbols, **chosen)
        except AttributeError as error:
            if not isinstance(error.obj, Expression):
                raise
            raise TypeError(
                f"{name} uses .{error.name} of an argument, which is a symbol here and no array; "
                "use the functions of actufunc.formula instead"
            ) from None
        try:
            expression = constant(result)
        except TypeError:
            raise TypeError(
                f"{name} must return one expression of its arguments, not {type(result).__name__}"
            ) from None
        if expression.record.condition:
            raise TypeError(f"{name} must return a number, not a condition; write where(condition, 1, 0)")
        return expression

    return define(name, hyperparameters, options, differentiable)


def define(
    name: str, hyperparameters: dict[str, Any], options: dict[str, Any], differentiable: Callable[..., Expression]
) -> Definition:
    """Return the definition of a function of `x`; see `Definition` for the parameters."""
    parts: tuple[Definition, ...] = ()
    over_axis, _, gated = _kind(differentiable(**options))
    if gated:

        def differentiable_part(**chosen: Any) -> Expression:
            return _of_parts(name, differentiable(**chosen))

        if over_axis:
            raise TypeError(f"{name} cannot both halve an axis and reduce over one; make it of two activations")
        parts = (Definition(name, ("x", "gate"), hyperparameters, options, differentiable_part),)
        parts[0].computed(options)
    definition = Definition(name, ("x",), hyperparameters, options, differentiable, parts=parts)
    definition.computed(options)
    return definition


RESERVED = frozenset(
    {"out", "where", "dtype", "casting", "order", "subok", "signature", "sig", "axis", "keepdims", "g", "gate", "wrt"}
    | {"self"}
)


def depends_on_element(expression: Expression) -> bool:
    """Return True if a node differs from element to element of a row."""
    found: dict[Expression, bool] = {}
    for node in expression.nodes():
        depends = node.operation == "argument" or any(found[operand] for operand in node.operands)
        found[node] = depends and not node.record.reduction
    return found[expression]


def _kind(formula: Expression) -> tuple[bool, ...]:
    """Return the kind of a formula: whether it reduces over an axis, whether it keeps that, whether it splits one."""
    records = [node.record for node in formula.nodes()]
    over_axis = any(each.reduction for each in records)
    return over_axis, over_axis and depends_on_element(formula), any(each.part for each in records)


def _of_parts(name: str, expression: Expression) -> Expression:
    """Make the parts of `x` the arguments `x` and `gate`."""
    whole = argument("x")
    symbols = dict(zip(halves(whole), (whole, argument("gate")), strict=True))

    def combine(node: Expression, operands: tuple[Any, ...]) -> Expression:
        if node in symbols:
            return symbols[node]
        if any(operand is whole for operand in node.operands):
            raise TypeError(
                f"{name} takes the halves of x, so it cannot use x besides; write x, gate = halves(x) first"
            )
        return node.of(*operands)

    return expression.rewritten(combine)


_being_overridden: ContextVar[frozenset[Definition]] = ContextVar("_being_overridden", default=frozenset())


def override_derivative(of: Definition, wrt: str, formula: Callable[..., Any]) -> Definition:
    """Return a definition with another derivative by the argument `wrt`: a formula that takes the same arguments."""
    _check_argument(of, wrt)

    def differentiable(**options: Any) -> Expression:
        value = of.differentiable(**options)
        if of in _being_overridden.get():  # the formula calls the function itself: then it has the automatic derivative
            return without_derivatives(value)
        symbols = {name: argument(name) for name in of.arguments}
        partials = {name: derivative(value, name) for name in symbols if name != wrt}
        before = _being_overridden.set(_being_overridden.get() | {of})
        try:
            partials[wrt] = constant(formula(**symbols, **options))
        finally:
            _being_overridden.reset(before)
        return with_derivatives(
            without_derivatives(value), {symbols[name]: partial for name, partial in partials.items()}
        )

    return dataclasses.replace(of, differentiable=differentiable, _expressions={})


def _check_argument(of: Definition, wrt: str) -> None:
    if wrt not in of.arguments:
        raise ValueError(f"{of.name} has no argument {wrt!r} to differentiate by; it has {', '.join(of.arguments)}")


def gradient(of: Definition) -> Definition:
    """Return the derivative of a definition; the option ``wrt`` names the argument to differentiate by."""
    # The derivative of a derivative: the first is by x.
    fixed = {"wrt": "x"} if "wrt" in of.options else {}
    left = {name: default for name, default in of.options.items() if name not in fixed}

    def differentiable(*, wrt: str, **options: Any) -> Expression:
        _check_argument(of, wrt)
        return derivative(of.differentiable(**options, **fixed), wrt)

    return Definition(f"{of.name}.grad", of.arrays, of.hyperparameters, {**left, "wrt": "x"}, differentiable)


def vector_jacobian_product(of: Definition, cotangent: Callable[..., Any] | None) -> Definition:
    """Return the product of a cotangent `g` with the derivative of a definition.

    Over an axis it is given by `cotangent`, a formula of `x`, `g` and the hyperparameters.
    """
    if "g" in of.arrays:
        raise AttributeError(f"{of.name} is linear in g, and its derivative by x is offered as f.grad.vjp only")
    if of.over_axis:
        return _over_axis(of, cotangent)
    if of.gated:
        parts = tuple(_times_cotangent(of, _derivative_by(of.parts[0], name)) for name in ("x", "gate"))

        def differentiable(**options: Any) -> Expression:
            return make_node("joined", tuple(part.differentiable(**options) for part in parts))

        return Definition(parts[0].name, ("x", "g"), of.hyperparameters, of.options, differentiable, parts=parts)
    return _times_cotangent(of, gradient(of))


def _times_cotangent(of: Definition, slope: Definition) -> Definition:
    """Return the vjp of an elementwise function from its derivative."""

    def differentiable(**options: Any) -> Expression:
        return argument("g") * with_nan(slope.differentiable(**options), "x")

    return Definition(f"{of.name}.vjp", (*slope.arrays, "g"), of.hyperparameters, slope.options, differentiable)


def _derivative_by(of: Definition, wrt: str) -> Definition:
    """Return the derivative by an array."""
    return dataclasses.replace(
        of, differentiable=lambda **options: derivative(of.differentiable(**options), wrt), _expressions={}
    )


def _over_axis(of: Definition, cotangent: Callable[..., Any] | None) -> Definition:
    if cotangent is None:
        raise AttributeError(f"{of.name} reduces over an axis: state its vjp with @{of.name}.cotangent")

    def differentiable(**options: Any) -> Expression:
        symbols = {each: argument(each) for each in of.arguments}
        return constant(cotangent(g=argument("g"), **symbols, **options))

    without_axis = frozenset({"g"}) if of.reduces else frozenset()
    return Definition(f"{of.name}.vjp", (*of.arrays, "g"), of.hyperparameters, of.options, differentiable, without_axis)

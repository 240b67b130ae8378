"""Automatic differentiation of formulas in torch and JAX, by our derivatives.

Derivatives by the libraries of a formula's operations would cancel in the tails, and store intermediates. Here a
derivative is a formula of the arguments, differentiated in the same way: derivatives of any order exist, and autograd
stores the arguments only.
"""

from __future__ import annotations

import functools
import operator
from typing import TYPE_CHECKING, Any

import array_api_compat as compat

from actufunc.formula.custom_derivative import without_derivatives
from actufunc.formula.derivative import derivative, with_nan
from actufunc.formula.expression import argument

from .array_api_ops import compute, compute_dtype

if TYPE_CHECKING:
    from collections.abc import Callable

    from actufunc.formula.definition import Definition
    from actufunc.formula.expression import Expression


class Formula:
    """An elementwise function of several arrays, and its derivatives.

    Parameters
    ----------
    expression : Expression
        Formula, with custom derivatives.
    names : tuple of str
        Arguments of the expression, in the order of the arrays; the result has the dtype of the first, `x`.
    """

    def __init__(self, expression: Expression, names: tuple[str, ...]) -> None:
        self.expression, self.names = expression, names
        self._slopes: dict[int, Formula] = {}
        self._products: dict[int, Formula] = {}

    @functools.cached_property
    def _computed(self) -> Expression:
        return without_derivatives(with_nan(self.expression, "x"))

    def __call__(self, xp: Any, *arrays: Any) -> Any:
        """Compute the function in a namespace."""
        return compute(xp, self._computed, dict(zip(self.names, arrays, strict=True)))

    def slope(self, index: int) -> Formula:
        """Return the derivative by one of the arrays."""
        if index not in self._slopes:
            slope = with_nan(derivative(self.expression, self.names[index]), "x")
            self._slopes[index] = Formula(slope, self.names)
        return self._slopes[index]

    def times_derivative(self, index: int) -> Formula:
        """Return the product of one more array with the derivative by one of the others."""
        if index not in self._products:
            factor = f"#{len(self.names)}"  # not a valid name of a hyperparameter
            self._products[index] = Formula(argument(factor) * self.slope(index).expression, (*self.names, factor))
        return self._products[index]


@functools.lru_cache(maxsize=512)
def formula_of(definition: Definition, options: tuple[tuple[str, Any], ...]) -> Formula:
    """Return the formula of an activation for these options."""
    return Formula(definition.differentiable(**dict(options)), definition.arguments)


def differentiable_apply(xp: Any) -> Callable[..., Any]:
    """Return a function that applies a formula to arrays of torch or JAX such that the library can differentiate it."""
    return _torch() if compat.is_torch_namespace(xp) else _jax()


@functools.cache
def _torch() -> Callable[..., Any]:
    import array_api_compat.torch as xp  # noqa: PLC0415
    import torch  # noqa: PLC0415

    class Differentiable(torch.autograd.Function):  # type: ignore[misc]
        generate_vmap_rule = True

        @staticmethod
        def forward(formula: Formula, *arrays: Any) -> Any:
            return formula(xp, *arrays)

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Any, ...], _output: Any) -> None:
            ctx.formula, *arrays = inputs
            ctx.save_for_backward(*arrays)
            ctx.save_for_forward(*arrays)

        @staticmethod
        def backward(ctx: Any, cotangent: Any) -> tuple[Any, ...]:
            arrays = ctx.saved_tensors
            products = [
                apply(ctx.formula.times_derivative(i), *arrays, cotangent) if needed else None
                for i, needed in enumerate(ctx.needs_input_grad[1:])
            ]
            return (None, *products)  # torch sums over the axes along which an argument was broadcast

        @staticmethod
        def jvp(ctx: Any, _: None, *tangents: Any) -> Any:
            arrays = ctx.saved_tensors
            products = (
                apply(ctx.formula.times_derivative(i), *arrays, tangent)
                for i, tangent in enumerate(tangents)
                if tangent is not None
            )
            return functools.reduce(operator.add, products)

    apply: Callable[..., Any] = Differentiable.apply
    return apply


@functools.cache
def _jax() -> Callable[..., Any]:
    import jax  # noqa: PLC0415

    def compute_formula(formula: Formula, *arrays: Any) -> Any:
        return formula(jax.numpy, *arrays)

    apply: Callable[..., Any] = jax.custom_jvp(compute_formula, nondiff_argnums=(0,))

    def product(formula: Formula, index: int, arrays: tuple[Any, ...], tangent: Any) -> Any:
        # Not a formula of the tangent, too: JAX drops custom derivatives when it transposes. The derivative is in the
        # dtype of computation, so that a half type is rounded once, after the product.
        x, *others = arrays
        work = compute_dtype(jax.numpy, x.dtype)
        return (tangent.astype(work) * apply(formula.slope(index), x.astype(work), *others)).astype(x.dtype)

    @functools.partial(apply.defjvp, symbolic_zeros=True)  # type: ignore[attr-defined]
    def _(formula: Formula, arrays: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
        products = (
            product(formula, i, arrays, tangent)
            for i, tangent in enumerate(tangents)
            if not isinstance(tangent, jax.custom_derivatives.SymbolicZero)
        )
        return apply(formula, *arrays), functools.reduce(operator.add, products)

    return apply


def graph_node(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that is one node in the graph of torch.compile; the next stage traces into it."""
    import torch  # noqa: PLC0415

    def node(*arguments: Any, **keywords: Any) -> Any:
        return function(*arguments, **keywords)

    # Dynamo identifies functions by their code object: with a shared one, all activations would get the same graph.
    node.__code__ = node.__code__.replace()
    allowed: Callable[..., Any] = torch.compiler.allow_in_graph(node)
    return allowed

"""Formulas in torch and JAX: these libraries differentiate them by our derivatives.

Automatic differentiation of the operations that a formula is made of would cancel in the tails, and keep what each of
them needs. Here a derivative is a formula itself, computed from the arguments alone, and differentiated likewise: so
there are derivatives of any order, and autograd stores nothing but the arguments.
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
        What it computes, with the derivatives that it states.
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
            factor = f"#{len(self.names)}"  # no hyperparameter can be called so
            self._products[index] = Formula(argument(factor) * self.slope(index).expression, (*self.names, factor))
        return self._products[index]


@functools.lru_cache(maxsize=512)
def formula_of(definition: Definition, options: tuple[tuple[str, Any], ...]) -> Formula:
    """Return the formula of an activation for these options."""
    return Formula(definition.differentiable(**dict(options)), definition.arguments)


def differentiable(xp: Any) -> Callable[..., Any]:
    """Return what applies a formula to arrays of torch or JAX, so that the library can differentiate it."""
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
        # Not a formula of the tangent too: JAX forgets the rules by which to differentiate what it transposes. The
        # derivative depends on the arrays alone, and is rounded to a half type with the product only.
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
    """Return a function that torch.compile puts into its graph as one node, for the next stage to look into."""
    import torch  # noqa: PLC0415

    def node(*arguments: Any, **keywords: Any) -> Any:
        return function(*arguments, **keywords)

    # Dynamo tells functions apart by their code: of one code object, the graph of one activation would serve all.
    node.__code__ = node.__code__.replace()
    allowed: Callable[..., Any] = torch.compiler.allow_in_graph(node)
    return allowed

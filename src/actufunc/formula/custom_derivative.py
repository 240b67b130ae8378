"""Expressions with derivatives of their own: how a function is computed need not be what is differentiated.

A formula that is accurate is often made of pieces, clamped, or the difference of two words; its derivatives are those
of the function only where no piece ends, and lose digits. So a node may carry, beside what computes its value, its
partial derivatives by other expressions. These are expressions too, which may carry derivatives of their own, and so
on: the derivatives of the hyperbolic tangent and of its derivative, for instance, are made of each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .expression import Expression, Operand, constant, make_node

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def with_derivatives(value: Operand, partials: Mapping[Expression, Operand]) -> Expression:
    """Return `value` with its partial derivatives, which are taken instead of the automatic ones at every order.

    Parameters
    ----------
    value : Expression
        What is computed.
    partials : mapping of Expression to Expression or number
        The derivative of `value` by each argument or other expression through which it depends on the arguments. By
        an argument that is not named it is zero.

    Returns
    -------
    Expression
        With the value of `value`.

    Examples
    --------
    A root whose derivative does not divide by zero, nor differentiate the maximum:

    >>> import numpy as np
    >>> from actufunc import activation
    >>> from actufunc.formula import maximum, sqrt, with_derivatives
    >>> @activation
    ... def root(x):
    ...     y = sqrt(maximum(x, 1e-4))
    ...     return with_derivatives(y, {x: 0.5 / y})
    >>> root.grad(np.array([0.0, 4.0]))
    array([50.  ,  0.25])
    """
    pairs = ((constant(by), constant(partial)) for by, partial in partials.items())
    return make_node("with_derivatives", (constant(value), *(node for pair in pairs for node in pair)))


def evaluated(formula: Operand, by: Operand) -> Expression:
    """Return a smooth formula that is computed by another: the value of `by`, the derivatives of `formula`.

    Parameters
    ----------
    formula : Expression
        The function as mathematics writes it. It is differentiated, but never computed, so it may cancel or overflow;
        what its derivatives are made of should not.
    by : Expression
        The same function, up to rounding: in pieces, clamped, as it is most accurate.

    Returns
    -------
    Expression
        With the value of `by`.

    Examples
    --------
    The versine, which cancels at zero in one of its forms, and has an `absolute` in the other:

    >>> import numpy as np
    >>> from actufunc import activation
    >>> from actufunc.formula import absolute, evaluated, sqrt
    >>> @activation
    ... def bend(x):
    ...     return evaluated(sqrt(1 + x * x) - 1, by=x * x / (1 + sqrt(1 + absolute(x) ** 2)))
    >>> bend.grad.grad(np.array([0.0]))
    array([1.])
    """
    formula = constant(formula)
    return formula if formula is by else with_derivatives(by, {formula: 1})


def without_derivatives(expression: Expression) -> Expression:
    """Return what an expression computes, without the derivatives given to its parts."""

    def combine(node: Expression, operands: tuple[Any, ...]) -> Expression:
        return operands[0] if node.operation == "with_derivatives" else node.of(*operands)

    if all(node.operation != "with_derivatives" for node in expression.nodes()):
        return expression
    return expression.rewritten(combine)

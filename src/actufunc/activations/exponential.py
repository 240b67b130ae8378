"""Exponential linear units: the identity on the right, an exponential on the left."""

from __future__ import annotations

import math
from decimal import Decimal

from actufunc._decorator import activation
from actufunc.formula import Expression, absolute, clip, damped, exp, expm1, rounded_once, where, with_derivatives
from actufunc.formula.expression import constant

from ._bounds import left_part, zero_at_saturation

__all__ = ["celu", "elu", "selu"]


@activation
def elu(x: Expression, alpha: float | Expression = 1) -> Expression:
    r"""Exponential linear unit.

    .. math:: \operatorname{elu}(x) = \begin{cases} x & x > 0 \\ \alpha\,(e^x - 1) & x \le 0 \end{cases}

    Parameters
    ----------
    alpha : scalar or array that broadcasts, default 1
        Depth of the left branch.

    See Also
    --------
    celu, selu

    Notes
    -----
    :Range if alpha > 0: (-alpha, inf), increasing, smooth but at 0
    :Values if alpha > 0: -alpha at -inf, -0 at -0, +0 at +0, inf at +inf, NaN at NaN
    :Derivative: :math:`\alpha e^x` up to and at zero, 1 beyond

    References
    ----------
    D.-A. Clevert, T. Unterthiner, S. Hochreiter, "Fast and accurate deep network learning by exponential linear units
    (ELUs)", ICLR 2016. arXiv:1511.07289.

    Examples
    --------
    >>> elu(np.array([-1.0, 0.0, 2.0]))
    array([-0.63212056,  0.        ,  2.        ])
    """
    return where(x > 0, x, rounded_once(alpha * expm1(left_part(x))))


@elu.derivative
def _(x: Expression, alpha: Expression) -> Expression:
    return where(x > 0, 1, damped(alpha, exp(left_part(x))))


@activation
def celu(x: Expression, alpha: float | Expression = 1) -> Expression:
    r"""Continuously differentiable exponential linear unit.

    .. math:: \operatorname{celu}(x) = \begin{cases} x & x > 0 \\ \alpha\,(e^{x/\alpha} - 1) & x \le 0 \end{cases}

    Parameters
    ----------
    alpha : scalar or array that broadcasts, default 1
        Depth of the left branch, and the scale over which it falls.

    See Also
    --------
    elu, softplus

    Notes
    -----
    :Range if alpha > 0: (-alpha, inf), increasing, smooth but at 0
    :Values if alpha > 0: -alpha at -inf, -0 at -0, +0 at +0, inf at +inf, NaN at NaN
    :Derivative: :math:`e^{x/\alpha}` up to and at zero, 1 beyond

    References
    ----------
    J. T. Barron, "Continuously differentiable exponential linear units", 2017. arXiv:1704.07483.

    Examples
    --------
    >>> celu(np.array([-1.0, 0.0, 2.0]), alpha=0.5)
    array([-0.43233236,  0.        ,  2.        ])
    """
    return where(x > 0, x, alpha * expm1(left_part(x) / alpha))


@celu.derivative
def _(x: Expression, alpha: Expression) -> Expression:
    u = left_part(x) / alpha
    v = zero_at_saturation(left_part(x), u) / alpha
    return where(x > 0, 1, with_derivatives(exp(u), {x: damped(1 / alpha, exp(u)), alpha: damped(-v / alpha, exp(v))}))


_TERMS = 19


@celu.derivative(wrt="alpha")
def _(x: Expression, alpha: Expression) -> Expression:
    # With u = x/alpha it is expm1(u) - u*exp(u), which cancels near zero. There it is minus the sum of
    # u**(k + 2)/(k!*(k + 2)), where the terms from _TERMS on are below 2**-59 of the sum for u from -1 to 1; it is
    # positive where alpha is not.
    u = left_part(x) / alpha
    near = clip(u, -1, 1)
    total = constant(0)
    for k in reversed(range(_TERMS)):
        total = total * near + 1 / (math.factorial(k) * (k + 2))
    change = where(absolute(u) < 1, -(near * near * total), expm1(u) - damped(u, exp(u)))
    v = zero_at_saturation(left_part(x), u) / alpha
    return where(
        x > 0, 0, with_derivatives(change, {x: -damped(v / alpha, exp(v)), alpha: damped(v * v / alpha, exp(v))})
    )


# The fixed point of mean 0 and variance 1, to more digits than a float64 holds: the equations of Klambauer et al.
# solved with mpmath.
_SELU_SCALE = Decimal("1.05070098735548049341933498529460635195898")
_SELU_DEPTH = Decimal("1.75809934084737685994021752081227957732351")  # the scale times alpha


@activation
def selu(x: Expression) -> Expression:
    r"""Scaled exponential linear unit, which drives activations to mean 0 and variance 1.

    .. math:: \operatorname{selu}(x) = \lambda \begin{cases} x & x > 0 \\ \alpha\,(e^x - 1) & x \le 0 \end{cases}

    with :math:`\alpha = 1.6732632423543772` and :math:`\lambda = 1.0507009873554805`.

    See Also
    --------
    elu

    Notes
    -----
    :Range: (-1.7581, inf), increasing, smooth but at 0
    :Values: -1.7580993408473768 at -inf, -0 at -0, +0 at +0, inf at +inf, NaN at NaN
    :Derivative: :math:`\lambda\alpha\,e^x` up to and at zero, :math:`\lambda` beyond

    References
    ----------
    G. Klambauer, T. Unterthiner, A. Mayr, S. Hochreiter, "Self-normalizing neural networks", NIPS 2017.
    arXiv:1706.02515.

    Examples
    --------
    >>> selu(np.array([-1.0, 0.0, 2.0]))
    array([-1.11133074,  0.        ,  2.10140197])
    """
    left = _SELU_DEPTH * expm1(left_part(x))
    return where(x > 0, rounded_once(_SELU_SCALE * x), rounded_once(left))


@selu.derivative
def _(x: Expression) -> Expression:
    return where(x > 0, _SELU_SCALE, damped(_SELU_DEPTH, exp(left_part(x))))

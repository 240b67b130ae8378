"""Smooth units: the argument times a sigmoid, and other bends without a corner."""

from __future__ import annotations

from decimal import Decimal

from actufunc._decorator import activation
from actufunc.formula import (
    Expression,
    absolute,
    bounded,
    clip,
    damped,
    evaluated,
    exp,
    logistic,
    logistic_pdf,
    normal_cdf,
    normal_pdf,
    raised,
    rounded_once,
    where,
    with_derivatives,
)
from actufunc.formula.operations import half_tanh, magnitude

from ._bounds import GAUSSIAN_VANISHES, HUGE, SATURATION, zero_at_saturation

__all__ = ["gaussian", "gelu", "mish", "quick_gelu", "silu", "swish"]


@activation
def silu(x: Expression, beta: float | Expression = 1) -> Expression:
    r"""Sigmoid linear unit.

    .. math:: \operatorname{silu}(x) = x\,\sigma(\beta x)

    The left tail keeps its relative accuracy. ``swish`` is an alias.

    Parameters
    ----------
    beta : scalar or array that broadcasts, default 1
        Sharpness: towards infinity this becomes `relu`.

    See Also
    --------
    gelu, hard_silu, swiglu

    Notes
    -----
    :Range if beta == 1: [-0.2785, inf), smooth
    :Values if beta > 0: -0 at -inf, -0 at -0, +0 at +0, inf at +inf, NaN at NaN
    :Derivative: :math:`\sigma(\beta x) + \beta x\,\sigma(\beta x)\,\sigma(-\beta x)`

    References
    ----------
    S. Elfwing, E. Uchibe, K. Doya, "Sigmoid-weighted linear units for neural network function approximation in
    reinforcement learning", Neural Networks 107, 2018. arXiv:1702.03118. P. Ramachandran, B. Zoph, Q. V. Le, "Searching
    for activation functions", 2017. arXiv:1710.05941.

    Examples
    --------
    >>> silu(np.array([-np.inf, -1.0, 0.0, 1.0]))
    array([-0.        , -0.26894142,  0.        ,  0.73105858])
    """
    return damped(x, logistic(beta * x))


def _slope(u: Expression, change: Expression) -> Expression:
    """Return the derivative of ``x*logistic(u)`` by `x`, given ``x*du/dx``, which must be finite."""
    formula = logistic(u) + damped(change, logistic_pdf(u))
    return evaluated(formula, by=damped(rounded_once(1 + change * logistic(-u)), logistic(u)))


@silu.derivative
def _(x: Expression, beta: Expression) -> Expression:
    u, change = beta * x, bounded(beta * x, -HUGE, HUGE)
    density = logistic_pdf(u)
    sigma = with_derivatives(logistic(u), {x: damped(beta, density), beta: damped(x, density)})
    return evaluated(sigma + damped(change, density), by=_slope(u, change))


@silu.derivative(wrt="beta")
def _(x: Expression, beta: Expression) -> Expression:
    u = beta * x
    far, y = magnitude(u), zero_at_saturation(x, u)
    return evaluated(
        damped(y * y, logistic_pdf(beta * y)), by=damped(rounded_once(y * y * logistic(far)), logistic(-far))
    )


# 2*sqrt(2/pi) and 0.044715 times it, from mpmath at 50 digits. With (1 + tanh u)/2 = logistic(2 u) the left tail of the
# approximation does not cancel.
_LINEAR = Decimal("1.5957691216057307117597842397375274739034")
_CUBIC = Decimal("0.0713548162726002487763387522798635409956")
# Beyond this the cube decides: logistic is 0 or 1 at 32 in float64. It keeps the cube of large x from overflowing.
_SATURATED = 32


@activation
def gelu(x: Expression, approximate: str = "none") -> Expression:
    r"""Gaussian error linear unit.

    .. math:: \operatorname{gelu}(x) = x\,\Phi(x) = \frac{x}{2} \operatorname{erfc}\left(-\frac{x}{\sqrt 2}\right)

    or, with ``approximate="tanh"``,

    .. math:: \frac{x}{2} \left(1 + \tanh\left(\sqrt{2/\pi}\,(x + 0.044715\,x^3)\right)\right)

    The left tail keeps its relative accuracy, which ``1 + erf`` loses.

    Parameters
    ----------
    approximate : {"none", "tanh"}, default "none"
        Which of the two formulas.

    Raises
    ------
    ValueError
        If `approximate` is something else.

    See Also
    --------
    quick_gelu, silu

    Notes
    -----
    :Range: [-0.1701, inf), smooth
    :Values: -0 at -inf, -0 at -0, +0 at +0, inf at +inf, NaN at NaN
    :Derivative: :math:`\Phi(x) + x\,\varphi(x)`
    :Defaults elsewhere: ``approximate=True``, which is ``"tanh"``, in jax.nn and keras.ops

    References
    ----------
    D. Hendrycks, K. Gimpel, "Gaussian error linear units (GELUs)", 2016. arXiv:1606.08415.

    Examples
    --------
    >>> gelu(np.array([-1.0, 0.0, 1.0]))
    array([-0.15865525,  0.        ,  0.84134475])
    >>> gelu(np.array([-1.0, 0.0, 1.0]), approximate="tanh")
    array([-0.15880801,  0.        ,  0.84119199])
    """
    if approximate == "none":
        return damped(x, normal_cdf(x))
    if approximate == "tanh":
        u = bounded(x, -_SATURATED, _SATURATED)
        return damped(x, logistic(u * (_LINEAR + _CUBIC * (u * u))))
    raise ValueError(f"approximate must be 'none' or 'tanh', not {approximate!r}")


@gelu.derivative
def _(x: Expression, approximate: str) -> Expression:
    if approximate == "none":
        # Far left the terms are subnormal one by one.
        slope = raised(normal_cdf(x) + damped(x, normal_pdf(x)))
        return evaluated(
            normal_cdf(x) + damped(bounded(x, -GAUSSIAN_VANISHES, GAUSSIAN_VANISHES), normal_pdf(x)), by=slope
        )
    u = bounded(x, -_SATURATED, _SATURATED)
    square = _CUBIC * (u * u)
    return _slope(u * (_LINEAR + square), u * (_LINEAR + 3 * square))


_QUICK = Decimal("1.702")


@activation
def quick_gelu(x: Expression) -> Expression:
    r"""Gaussian error linear unit with a logistic function for the normal distribution.

    .. math:: \operatorname{quick\_gelu}(x) = x\,\sigma(1.702\,x)

    The left tail keeps its relative accuracy.

    See Also
    --------
    gelu, silu

    Notes
    -----
    :Range: [-0.1637, inf), smooth
    :Values: -0 at -inf, -0 at -0, +0 at +0, inf at +inf, NaN at NaN
    :Derivative: :math:`\sigma(u) + u\,\sigma(u)\,\sigma(-u)` with :math:`u = 1.702\,x`

    References
    ----------
    D. Hendrycks, K. Gimpel, "Gaussian error linear units (GELUs)", 2016. arXiv:1606.08415.

    Examples
    --------
    >>> quick_gelu(np.array([-1.0, 0.0, 1.0]))
    array([-0.15420423,  0.        ,  0.84579577])
    """
    # Clamped where the logistic function is 0 or 1, so that the product does not overflow.
    return damped(x, logistic(_QUICK * bounded(x, -SATURATION, SATURATION)))


@quick_gelu.derivative
def _(x: Expression) -> Expression:
    u = _QUICK * bounded(x, -SATURATION, SATURATION)
    return _slope(u, u)


@activation
def mish(x: Expression) -> Expression:
    r"""Self-regularised unit: the argument times the hyperbolic tangent of its softplus.

    .. math:: \operatorname{mish}(x) = x \tanh(\log(1 + e^x))

    The left tail keeps its relative accuracy.

    See Also
    --------
    silu, softplus

    Notes
    -----
    :Range: [-0.3089, inf), smooth
    :Values: -0 at -inf, -0 at -0, +0 at +0, inf at +inf, NaN at NaN
    :Derivative: :math:`\tanh s + x\,\sigma(x)/\cosh^2 s` with :math:`s = \log(1 + e^x)`

    References
    ----------
    D. Misra, "Mish: a self regularized non-monotonic activation function", BMVC 2020. arXiv:1908.08681.

    Examples
    --------
    >>> mish(np.array([-np.inf, -1.0, 0.0, 1.0]))
    array([-0.        , -0.30340146,  0.        ,  0.86509839])
    """
    # With n = exp(x), tanh(log(1 + n)) = ((1 + n)**2 - 1)/((1 + n)**2 + 1) = n*(2 + n)/(2 + n*(2 + n)), and with n =
    # exp(-x) it is (1 + 2*n)/(1 + n*(2 + 2*n)). Nothing cancels or overflows, and far left exp(x) comes last.
    n = exp(-absolute(x))
    constant, twice = where(x > 0, 1, 2), where(x > 0, 2, 1) * n
    part = rounded_once(clip(x, -SATURATION, SATURATION) * ((constant + twice) / (constant + n * (2 + twice))))
    return where(x > 0, where(x < SATURATION, part, x), damped(part, n))


@mish.derivative
def _(x: Expression) -> Expression:
    # The quotient rule on both forms. Next to the minimum at -1.19 the numerator of the left one has its root.
    n = exp(-absolute(x))
    u = clip(x, -SATURATION, 0)
    above = 4 * (1 + u) + n * ((6 + 4 * u) + n * (4 + n))
    below = n * (n + 2) + 2
    left = damped(rounded_once(above / (below * below)), n)
    v = clip(x, 0, SATURATION)
    rest = n * n * ((4 * v - 2) + n * (4 * (v - 1) - 4 * n))  # the numerator less the denominator
    below = 1 + 2 * n * (1 + n)
    slope = where(x > 0, rounded_once(1 + rest / (below * below)), left)
    # Further derivatives from those of x*t, where t = tanh(log(1 + exp(x))) is p*(1 + q)/(1 + q**2) with p and q the
    # logistic function of x and -x, and dt/dx = 4*p*q**2/(1 + q**2)**2; the small factors come last.
    p = evaluated(0.5 + 0.5 * half_tanh(x), by=logistic(x))
    q = evaluated(0.5 - 0.5 * half_tanh(x), by=logistic(-x))
    below = 1 + q * q
    change = damped(damped(damped(4 / (below * below), q), q), p)
    t = with_derivatives(p * (1 + q) / below, {x: change})
    return evaluated(t + damped(x, change), by=slope)


def _square(x: Expression) -> Expression:
    """Return the square of `x`, clamped where its negative exponential has become one or zero."""
    u = clip(absolute(x), 1 / HUGE, GAUSSIAN_VANISHES)
    y = bounded(x, -GAUSSIAN_VANISHES, GAUSSIAN_VANISHES)
    return evaluated(y * y, by=u * u)


@activation
def gaussian(x: Expression) -> Expression:
    r"""Bell curve.

    .. math:: \operatorname{gaussian}(x) = e^{-x^2}

    The tails keep their relative accuracy.

    Notes
    -----
    :Range: (0, 1], even, smooth
    :Values: 0 at -inf, 1 at -0 and +0, 0 at +inf, NaN at NaN
    :Derivative: :math:`-2 x\,e^{-x^2}`

    References
    ----------
    D. S. Broomhead, D. Lowe, "Multivariable functional interpolation and adaptive networks", Complex Systems 2, 1988.

    Examples
    --------
    >>> gaussian(np.array([-1.0, 0.0, 2.0]))
    array([0.36787944, 1.        , 0.01831564])
    """
    return exp(-_square(x))


@gaussian.derivative
def _(x: Expression) -> Expression:
    return damped(-2 * bounded(x, -GAUSSIAN_VANISHES, GAUSSIAN_VANISHES), exp(-_square(x)))


swish = silu

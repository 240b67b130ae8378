r"""Smooth units of the form x times a sigmoid."""

from __future__ import annotations

from decimal import Decimal

from actufunc.formula import Expression, damped, logistic, maximum, minimum, normal_cdf, normal_pdf
from actufunc.ufunc import activation

__all__ = ["gelu", "silu", "swish"]


@activation
def silu(x: Expression, beta: float | Expression = 1) -> Expression:
    r"""Sigmoid linear unit.

    .. math:: \operatorname{silu}(x) = x\,\sigma(\beta x)

    Range [-0.2785, inf) for ``beta=1``. The left tail keeps its relative accuracy. ``swish`` is an alias.

    Parameters
    ----------
    x : array, any shape
        float16, bfloat16, float32 or float64; integers and booleans become the default float.
    beta : scalar or array that broadcasts, default 1
        Sharpness: towards infinity this becomes `relu`.

    Returns
    -------
    array
        Of the kind and dtype of `x`.

    Notes
    -----
    Values: -0 at -inf, which is the limit, -0 at -0, +0 at +0, inf at +inf, NaN at NaN. Derivative:
    :math:`\sigma(\beta x) + \beta x\,\sigma(\beta x)\,\sigma(-\beta x)`.

    References
    ----------
    S. Elfwing, E. Uchibe, K. Doya, "Sigmoid-weighted linear units for neural network function approximation in
    reinforcement learning", Neural Networks 107, 2018. P. Ramachandran, B. Zoph, Q. V. Le, "Searching for activation
    functions", 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from actufunc import silu
    >>> silu(np.array([-np.inf, -1.0, 0.0, 1.0]))
    array([-0.        , -0.26894142,  0.        ,  0.73105858])
    """
    return damped(x, logistic(beta * x))


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

    Range [-0.17, inf). The left tail keeps its relative accuracy, which ``1 + erf`` loses.

    Parameters
    ----------
    x : array, any shape
        float16, bfloat16, float32 or float64; integers and booleans become the default float.
    approximate : {"none", "tanh"}, default "none"
        Which of the two formulas.

    Returns
    -------
    array
        Of the kind, shape and dtype of `x`.

    Raises
    ------
    ValueError
        If `approximate` is something else.

    Notes
    -----
    Values: -0 at -inf, which is the limit, -0 at -0, +0 at +0, inf at +inf, NaN at NaN. Derivative:
    :math:`\Phi(x) + x\,\varphi(x)`.

    References
    ----------
    D. Hendrycks, K. Gimpel, "Gaussian error linear units (GELUs)", 2016.

    Examples
    --------
    >>> import numpy as np
    >>> from actufunc import gelu
    >>> gelu(np.array([-1.0, 0.0, 1.0]))
    array([-0.15865525,  0.        ,  0.84134475])
    >>> gelu(np.array([-1.0, 0.0, 1.0]), approximate="tanh")
    array([-0.15880801,  0.        ,  0.84119199])
    """
    if approximate == "none":
        return damped(x, normal_cdf(x))
    if approximate == "tanh":
        u = maximum(minimum(x, _SATURATED), -_SATURATED)
        return damped(x, logistic(u * (_LINEAR + _CUBIC * (u * u))))
    raise ValueError(f"approximate must be 'none' or 'tanh', not {approximate!r}")


@gelu.derivative
def _(x: Expression, approximate: str) -> Expression:
    if approximate == "none":
        return normal_cdf(x) + damped(x, normal_pdf(x))
    # Without the derivative of the clamp, which is 1 wherever the other factors are not 0.
    u = maximum(minimum(x, _SATURATED), -_SATURATED)
    z = u * (_LINEAR + _CUBIC * (u * u))
    slope = _LINEAR + 3 * (_CUBIC * (u * u))
    return logistic(z) + damped(damped(u * slope, logistic(-z)), logistic(z))


swish = silu

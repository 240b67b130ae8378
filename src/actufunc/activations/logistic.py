"""The logistic function, its logarithm and inverse, and other sigmoids."""

from __future__ import annotations

import math

from actufunc import formula
from actufunc._decorator import activation
from actufunc.formula import (
    Expression,
    absolute,
    bounded,
    clip,
    damped,
    evaluated,
    log,
    log1p,
    logistic,
    logistic_pdf,
    maximum,
    minimum,
    rounded_once,
    where,
    with_derivatives,
)

from ._bounds import HUGE, SATURATION, zero_at_saturation

__all__ = ["expit", "log_expit", "log_sigmoid", "logit", "sigmoid", "softplus", "softsign", "tanh", "tanh_offset"]


@activation
def sigmoid(x: Expression) -> Expression:
    r"""Logistic sigmoid.

    .. math:: \sigma(x) = \frac{1}{1 + e^{-x}}

    Point symmetric, :math:`\sigma(-x) = 1 - \sigma(x)`. The left tail keeps its relative accuracy down to the smallest
    subnormal number. ``expit`` is an alias.

    See Also
    --------
    log_sigmoid, logit, tanh

    Notes
    -----
    :Range: (0, 1), increasing, smooth
    :Values: 0 at -inf, 1/2 at -0 and +0, 1 at +inf, NaN at NaN
    :Derivative: :math:`\sigma(x)\,\sigma(-x)`

    References
    ----------
    P.-F. Verhulst, "Recherches mathématiques sur la loi d'accroissement de la population", Nouveaux mémoires de
    l'Académie royale de Bruxelles 18, 1845.

    Examples
    --------
    >>> sigmoid(np.array([-1.0, 0.0, 1.0]))
    array([0.26894142, 0.5       , 0.73105858])
    >>> sigmoid(np.float32(-100))
    np.float32(3.8e-44)
    """
    return logistic(x)


@activation
def log_sigmoid(x: Expression) -> Expression:
    r"""Logarithm of the logistic sigmoid.

    .. math:: \log \sigma(x) = -\log(1 + e^{-x})

    Accurate in both tails: it is `x` far left and :math:`-e^{-x}` far right. ``log_expit`` is an alias.

    See Also
    --------
    sigmoid, softplus

    Notes
    -----
    :Range: (-inf, 0), increasing, smooth
    :Values: -inf at -inf, -log(2) at -0 and +0, -0 at +inf, NaN at NaN
    :Derivative: :math:`\sigma(-x)`

    References
    ----------
    The log-likelihood of logistic regression: D. R. Cox, "The regression analysis of binary sequences", Journal of the
    Royal Statistical Society B 20, 1958. doi:10.1111/j.2517-6161.1958.tb00292.x.

    Examples
    --------
    >>> log_sigmoid(np.array([-100.0, 0.0, 100.0]))
    array([-1.00000000e+02, -6.93147181e-01, -3.72007598e-44])
    """
    return -formula.softplus(-x)


@activation
def logit(x: Expression) -> Expression:
    r"""Logarithm of the odds, the inverse of the logistic sigmoid.

    .. math:: \operatorname{logit}(x) = \log \frac{x}{1 - x}

    NaN outside of [0, 1]. Accurate at 1/2 too, where it vanishes.

    See Also
    --------
    sigmoid

    Notes
    -----
    :Range: (-inf, inf), increasing, smooth
    :Values: NaN at -inf, -inf at -0 and +0, NaN at +inf, NaN at NaN, inf at 1
    :Derivative: :math:`1/(x\,(1 - x))`

    References
    ----------
    J. Berkson, "Application of the logistic function to bio-assay", Journal of the American Statistical Association 39,
    1944. doi:10.1080/01621459.1944.10500699.

    Examples
    --------
    >>> logit(np.array([0.0, 0.25, 0.5, 1.0]))
    array([       -inf, -1.09861229,  0.        ,         inf])
    """
    # Between 1/4 and 3/4 up to the sign the logarithm of (1 - t)/t = 1 + (1 - 2*t)/t with t the lesser of x and 1 - x,
    # where all differences are exact. Outside, the divisor must not be zero, nor x infinite.
    is_middle = absolute(x - 0.5) < 0.25  # noqa: PLR2004
    t = where(is_middle, where(x < 0.5, x, 1 - x), 0.5)  # noqa: PLR2004
    magnitude = log1p((1 - 2 * t) / t)
    middle = where(x < 0.5, -magnitude, magnitude)  # noqa: PLR2004
    above = maximum(x, -1)
    outside = log(above / where(x < 1, 1 - above, 1))
    return where(is_middle, middle, where(x < 1, outside, where(x == 1, math.inf, math.nan)))


def _reciprocal(y: Expression) -> Expression:
    """Return one over `y`, which is not negative; at zero it is infinite, and so are its derivatives."""
    return 1 / (y + where(y == 0, 1, 0)) * where(y == 0, math.inf, 1)


@logit.derivative
def _(x: Expression) -> Expression:
    inside = clip(x, 0, 1)
    product = inside * (1 - inside)
    # Not 1/where(product == 0, 1, product): compilers divide before they choose, and dividing by zero warns.
    slope = rounded_once(1 / (product + where(product == 0, 1, 0)))
    slope = where(x > 0, where(x < 1, slope, where(x == 1, math.inf, math.nan)), where(x == 0, math.inf, math.nan))
    # The same in partial fractions, whose derivatives do not cancel but at 1/2, where they vanish.
    y = bounded(x, 0, 1)
    return evaluated(where(x < 0, math.nan, where(x > 1, math.nan, _reciprocal(y) + _reciprocal(1 - y))), by=slope)


@activation
def tanh(x: Expression) -> Expression:
    r"""Hyperbolic tangent.

    .. math:: \tanh x = \frac{e^x - e^{-x}}{e^x + e^{-x}}

    See Also
    --------
    hard_tanh, softsign, tanh_offset

    Notes
    -----
    :Range: (-1, 1), odd, increasing, smooth
    :Values: -1 at -inf, -0 at -0, +0 at +0, 1 at +inf, NaN at NaN
    :Derivative: :math:`1/\cosh^2 x`, computed without the cancellation of :math:`1 - \tanh^2 x`

    References
    ----------
    Y. LeCun, L. Bottou, G. Orr, K.-R. Müller, "Efficient BackProp", in Neural Networks: Tricks of the Trade, 1998.
    doi:10.1007/3-540-49430-8_2.

    Examples
    --------
    >>> tanh(np.array([-1.0, 0.0, 1.0]))
    array([-0.76159416,  0.        ,  0.76159416])
    """
    return formula.tanh(x)


@activation
def tanh_offset(x: Expression) -> Expression:
    r"""Hyperbolic tangent, moved to the range of a probability.

    .. math:: \operatorname{tanh\_offset}(x) = \frac{1 + \tanh x}{2} = \sigma(2 x)

    The left tail keeps its relative accuracy.

    See Also
    --------
    sigmoid, tanh

    Notes
    -----
    :Range: (0, 1), increasing, smooth
    :Values: 0 at -inf, 1/2 at -0 and +0, 1 at +inf, NaN at NaN
    :Derivative: :math:`2\,\sigma(2 x)\,\sigma(-2 x)`

    References
    ----------
    Y. LeCun, L. Bottou, G. Orr, K.-R. Müller, "Efficient BackProp", in Neural Networks: Tricks of the Trade, 1998.
    doi:10.1007/3-540-49430-8_2.

    Examples
    --------
    >>> tanh_offset(np.array([-1.0, 0.0, 1.0]))
    array([0.11920292, 0.5       , 0.88079708])
    """
    u = bounded(x, -SATURATION, SATURATION)
    return logistic(u + u)


@tanh_offset.derivative
def _(x: Expression) -> Expression:
    u = bounded(x, -SATURATION, SATURATION)
    far = minimum(absolute(x), SATURATION)
    return evaluated(2 * logistic_pdf(u + u), by=damped(2 * logistic(far + far), logistic(-far - far)))


@activation
def softsign(x: Expression) -> Expression:
    r"""Rational sigmoid.

    .. math:: \operatorname{softsign}(x) = \frac{x}{1 + |x|}

    See Also
    --------
    tanh

    Notes
    -----
    :Range: [-1, 1], odd, increasing, smooth but at 0
    :Values: -1 at -inf, -0 at -0, +0 at +0, 1 at +inf, NaN at NaN
    :Derivative: :math:`1/(1 + |x|)^2`

    References
    ----------
    D. L. Elliott, "A better activation function for artificial neural networks", Technical report 93-8, University of
    Maryland, 1993.

    Examples
    --------
    >>> softsign(np.array([-np.inf, -1.0, 0.0, 3.0]))
    array([-1.  , -0.5 ,  0.  ,  0.75])
    """
    finite = clip(x, -HUGE, HUGE)
    return rounded_once(finite / (1 + absolute(finite)))


@softsign.derivative
def _(x: Expression) -> Expression:
    total = 1 + minimum(absolute(x), HUGE)
    large = maximum(absolute(x), HUGE)
    return where(absolute(x) < HUGE, rounded_once(1 / (total * total)), 1 / large / large)


@activation
def softplus(x: Expression, beta: float | Expression = 1) -> Expression:
    r"""Smooth rectifier.

    .. math:: \operatorname{softplus}(x) = \frac{1}{\beta} \log(1 + e^{\beta x})

    Exact as far as :math:`\beta x` is finite: there is no threshold beyond which it becomes `x`.

    Parameters
    ----------
    beta : scalar or array that broadcasts, default 1
        Sharpness: towards infinity this becomes `relu`.

    See Also
    --------
    log_sigmoid, relu, squareplus

    Notes
    -----
    :Range if beta > 0: (0, inf), increasing, smooth
    :Values if beta == 1: 0 at -inf, log(2) at -0 and +0, inf at +inf, NaN at NaN
    :Derivative: :math:`\sigma(\beta x)`
    :Defaults elsewhere: ``threshold=20`` in torch.nn.functional, beyond which it is `x`

    References
    ----------
    C. Dugas, Y. Bengio, F. Bélisle, C. Nadeau, R. Garcia, "Incorporating second-order functional knowledge for better
    option pricing", NIPS 2000.

    Examples
    --------
    >>> softplus(np.array([-1.0, 0.0, 1.0]))
    array([0.31326169, 0.69314718, 1.31326169])
    """
    return formula.softplus(beta * x) / beta


@softplus.derivative
def _(x: Expression, beta: Expression) -> Expression:
    density = logistic_pdf(beta * x)
    return with_derivatives(logistic(beta * x), {x: damped(beta, density), beta: damped(x, density)})


@softplus.derivative(wrt="beta")
def _(x: Expression, beta: Expression) -> Expression:
    # x*logistic(u)/beta - softplus(u)/beta**2 with u = beta*x, which cancels on the right. With u = softplus(u) -
    # softplus(-u) it is minus the entropy of a coin that falls with probability logistic(u).
    u = beta * x
    entropy = damped(formula.softplus(-u), logistic(u)) + damped(formula.softplus(u), logistic(-u))
    y = zero_at_saturation(x, u)
    density = logistic_pdf(beta * y)
    entropy = with_derivatives(entropy, {x: -damped(beta * beta * y, density), beta: -damped(beta * y * y, density)})
    return -entropy / beta / beta


expit = sigmoid
log_expit = log_sigmoid

r"""The logistic function, its logarithm and its kin."""

from __future__ import annotations

from actufunc import formula
from actufunc.formula import Expression, logistic
from actufunc.ufunc import activation

__all__ = ["expit", "log_expit", "log_sigmoid", "sigmoid", "softplus", "tanh"]


@activation
def sigmoid(x: Expression) -> Expression:
    r"""Logistic sigmoid.

    .. math:: \sigma(x) = \frac{1}{1 + e^{-x}}

    Range (0, 1), increasing, :math:`\sigma(-x) = 1 - \sigma(x)`. The left tail keeps its relative accuracy down to the
    smallest subnormal number. ``expit`` is an alias.

    Parameters
    ----------
    x : array, any shape
        float16, bfloat16, float32 or float64; integers and booleans become the default float.

    Returns
    -------
    array
        Of the kind, shape and dtype of `x`.

    Notes
    -----
    Values: 0 at -inf, 1/2 at -0 and +0, 1 at +inf, NaN at NaN. Derivative: :math:`\sigma(x)\,\sigma(-x)`.

    References
    ----------
    P.-F. Verhulst, "Recherches mathématiques sur la loi d'accroissement de la population", Nouveaux mémoires de
    l'Académie royale de Bruxelles 18, 1845.

    Examples
    --------
    >>> import numpy as np
    >>> from actufunc import sigmoid
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

    Range (-inf, 0), increasing. Accurate in both tails: it is `x` far left and :math:`-e^{-x}` far right.
    ``log_expit`` is an alias.

    Parameters
    ----------
    x : array, any shape
        float16, bfloat16, float32 or float64; integers and booleans become the default float.

    Returns
    -------
    array
        Of the kind, shape and dtype of `x`.

    Notes
    -----
    Values: -inf at -inf, -log(2) at -0 and +0, -0 at +inf, NaN at NaN. Derivative: :math:`\sigma(-x)`.

    References
    ----------
    The log-likelihood of logistic regression: D. R. Cox, "The regression analysis of binary sequences", Journal of the
    Royal Statistical Society B 20, 1958.

    Examples
    --------
    >>> import numpy as np
    >>> from actufunc import log_sigmoid
    >>> log_sigmoid(np.array([-100.0, 0.0, 100.0]))
    array([-1.00000000e+02, -6.93147181e-01, -3.72007598e-44])
    """
    return -formula.softplus(-x)


@activation
def tanh(x: Expression) -> Expression:
    r"""Hyperbolic tangent.

    .. math:: \tanh x = \frac{e^x - e^{-x}}{e^x + e^{-x}}

    Range (-1, 1), odd, increasing.

    Parameters
    ----------
    x : array, any shape
        float16, bfloat16, float32 or float64; integers and booleans become the default float.

    Returns
    -------
    array
        Of the kind, shape and dtype of `x`.

    Notes
    -----
    Values: -1 at -inf, -0 at -0, +0 at +0, 1 at +inf, NaN at NaN. Derivative: :math:`1/\cosh^2 x`, computed without the
    cancellation of :math:`1 - \tanh^2 x`.

    References
    ----------
    Y. LeCun, L. Bottou, G. Orr, K.-R. Müller, "Efficient BackProp", in Neural Networks: Tricks of the Trade, 1998.

    Examples
    --------
    >>> import numpy as np
    >>> from actufunc import tanh
    >>> tanh(np.array([-1.0, 0.0, 1.0]))
    array([-0.76159416,  0.        ,  0.76159416])
    """
    return formula.tanh(x)


@activation
def softplus(x: Expression, beta: float | Expression = 1) -> Expression:
    r"""Smooth rectifier.

    .. math:: \operatorname{softplus}(x) = \frac{1}{\beta} \log(1 + e^{\beta x})

    Range (0, inf) for positive `beta`, increasing. Exact everywhere: there is no threshold beyond which it becomes `x`.

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
    Values for ``beta=1``: 0 at -inf, log(2) at -0 and +0, inf at +inf, NaN at NaN. Derivative:
    :math:`\sigma(\beta x)`.

    References
    ----------
    C. Dugas, Y. Bengio, F. Bélisle, C. Nadeau, R. Garcia, "Incorporating second-order functional knowledge for better
    option pricing", NIPS 2000.

    Examples
    --------
    >>> import numpy as np
    >>> from actufunc import softplus
    >>> softplus(np.array([-1.0, 0.0, 1.0]))
    array([0.31326169, 0.69314718, 1.31326169])
    """
    return formula.softplus(beta * x) / beta


@softplus.derivative
def _(x: Expression, beta: Expression) -> Expression:
    return logistic(beta * x)


expit = sigmoid
log_expit = log_sigmoid

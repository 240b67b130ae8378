r"""Functions over an axis: softmax and its logarithm."""

from __future__ import annotations

from actufunc.formula import Expression, axis_max, axis_sum, exp, log1p, where
from actufunc.ufunc import activation

__all__ = ["log_softmax", "softmax"]


@activation
def softmax(x: Expression) -> Expression:
    r"""Exponentials, normalised to sum to one over an axis.

    .. math:: \operatorname{softmax}(x)_i = \frac{e^{x_i}}{\sum_j e^{x_j}}

    Range [0, 1]. Large inputs do not overflow: the largest is subtracted first, and what that rounds off is kept.

    Parameters
    ----------
    x : array, any shape
        float16, bfloat16, float32 or float64; integers and booleans become the default float.
    axis : int, tuple of int or None, default -1
        What to normalise over; None is the whole array.
    where : array of bool, optional
        Elements that take part; the others get 0.

    Returns
    -------
    array
        Of the kind, shape and dtype of `x`.

    Notes
    -----
    Values: an element of -inf gets 0; a slice with NaN or +inf in it, or with nothing but -inf, is NaN.
    ``softmax.vjp(x, g)`` is :math:`y\,(g - \sum_j g_j y_j)`, without a Jacobian matrix.

    References
    ----------
    J. S. Bridle, "Probabilistic interpretation of feedforward classification network outputs", in Neurocomputing, 1990.

    Examples
    --------
    >>> import numpy as np
    >>> from actufunc import softmax
    >>> softmax(np.array([[0.0, 0.0], [1000.0, 0.0]]))
    array([[0.5, 0.5],
           [1. , 0. ]])
    >>> softmax(np.array([1.0, 2.0, 3.0]), where=np.array([True, True, False]))
    array([0.26894142, 0.73105858, 0.        ])
    """
    unnormalised = exp(x - axis_max(x))
    return unnormalised / axis_sum(unnormalised)


@softmax.cotangent
def _(x: Expression, g: Expression) -> Expression:
    y: Expression = softmax(x)
    return y * (g - axis_sum(g * y))


@activation
def log_softmax(x: Expression) -> Expression:
    r"""Logarithm of softmax.

    .. math:: \operatorname{log\_softmax}(x)_i = x_i - \log \sum_j e^{x_j}

    Range (-inf, 0]. The largest element, whose probability may be next to one, keeps its relative accuracy.

    Parameters
    ----------
    x : array, any shape
        float16, bfloat16, float32 or float64; integers and booleans become the default float.
    axis : int, tuple of int or None, default -1
        What to normalise over; None is the whole array.
    where : array of bool, optional
        Elements that take part; the others get -inf.

    Returns
    -------
    array
        Of the kind, shape and dtype of `x`.

    Notes
    -----
    Values: an element of -inf gets -inf; a slice with NaN or +inf in it, or with nothing but -inf, is NaN.
    ``log_softmax.vjp(x, g)`` is :math:`g - \operatorname{softmax}(x) \sum_j g_j`.

    References
    ----------
    J. S. Bridle, "Probabilistic interpretation of feedforward classification network outputs", in Neurocomputing, 1990.

    Examples
    --------
    >>> import numpy as np
    >>> from actufunc import log_softmax
    >>> log_softmax(np.array([0.0, -100.0]))
    array([-3.72007598e-44, -1.00000000e+02])
    """
    # The sum is 1 + (the terms of all but one of the largest), and log1p keeps what is small beside the 1.
    below = x - axis_max(x)
    others = axis_sum(where(below == 0, 0, exp(below)))
    ties = axis_sum(where(below == 0, 1, 0)) - 1
    return below - log1p(others + ties)


@log_softmax.cotangent
def _(x: Expression, g: Expression) -> Expression:
    y: Expression = softmax(x)
    return g - y * axis_sum(g)

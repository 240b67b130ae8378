"""Functions over an axis: softmax and variants of it."""

from __future__ import annotations

import math

from actufunc._decorator import activation
from actufunc.formula import (
    Expression,
    absolute,
    axis_max,
    axis_sum,
    axis_threshold,
    exp,
    log1p,
    maximum,
    rounded_once,
    where,
)

__all__ = ["log_softmax", "logsumexp", "softmax", "softmin", "sparsemax"]


@activation
def softmax(x: Expression) -> Expression:
    r"""Exponentials, normalised to sum to one over an axis.

    .. math:: \operatorname{softmax}(x)_i = \frac{e^{x_i}}{\sum_j e^{x_j}}

    Large inputs do not overflow: the largest is subtracted first, and the rounding error of that is kept.

    Parameters
    ----------
    where : array of bool, optional
        Elements that take part; the others get 0.

    See Also
    --------
    log_softmax, logsumexp, softmin, sparsemax

    Notes
    -----
    :Range: [0, 1]
    :Special values: an element of -inf gets 0; a slice with NaN or +inf in it, or with nothing but -inf, is NaN
    :vjp: :math:`y\,(g - \sum_j g_j y_j)`, without a Jacobian matrix
    :Defaults elsewhere: ``axis=None`` in scipy.special and jax.scipy.special

    References
    ----------
    J. S. Bridle, "Probabilistic interpretation of feedforward classification network outputs", in Neurocomputing, 1990.
    doi:10.1007/978-3-642-76153-9_28.

    Examples
    --------
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

    The largest element, whose probability may be next to one, keeps its relative accuracy.

    Parameters
    ----------
    where : array of bool, optional
        Elements that take part; the others get -inf.

    See Also
    --------
    logsumexp, softmax

    Notes
    -----
    :Range: (-inf, 0]
    :Special values: an element of -inf gets -inf; a slice with NaN or +inf in it, or with nothing but -inf, is NaN
    :vjp: :math:`g - \operatorname{softmax}(x) \sum_j g_j`
    :Defaults elsewhere: ``axis=None`` in scipy.special and jax.scipy.special

    References
    ----------
    J. S. Bridle, "Probabilistic interpretation of feedforward classification network outputs", in Neurocomputing, 1990.
    doi:10.1007/978-3-642-76153-9_28.

    Examples
    --------
    >>> log_softmax(np.array([0.0, -100.0]))
    array([-3.72007598e-44, -1.00000000e+02])
    """
    # The sum is 1 + (the terms of all but one of the largest), and log1p keeps small terms beside the 1.
    below = x - axis_max(x)
    others = axis_sum(where(below == 0, 0, exp(below)))
    ties = axis_sum(where(below == 0, 1, 0)) - 1
    return rounded_once(below - log1p(others + ties))


@log_softmax.cotangent
def _(x: Expression, g: Expression) -> Expression:
    y: Expression = softmax(x)
    return g - y * axis_sum(g)


@activation
def softmin(x: Expression) -> Expression:
    r"""Softmax of the negative: the smallest element gets the largest share.

    .. math:: \operatorname{softmin}(x)_i = \frac{e^{-x_i}}{\sum_j e^{-x_j}}

    Parameters
    ----------
    where : array of bool, optional
        Elements that take part; the others get 0.

    See Also
    --------
    softmax

    Notes
    -----
    :Range: [0, 1]
    :Special values: an element of inf gets 0; a slice with NaN or -inf in it, or with nothing but inf, is NaN
    :vjp: :math:`y\,(\sum_j g_j y_j - g)`

    References
    ----------
    J. S. Bridle, "Probabilistic interpretation of feedforward classification network outputs", in Neurocomputing, 1990.
    doi:10.1007/978-3-642-76153-9_28.

    Examples
    --------
    >>> softmin(np.array([[0.0, 0.0], [0.0, 1000.0]]))
    array([[0.5, 0.5],
           [1. , 0. ]])
    """
    y: Expression = softmax(-x)
    return y


@softmin.cotangent
def _(x: Expression, g: Expression) -> Expression:
    y: Expression = softmax(-x)
    return y * (axis_sum(g * y) - g)


@activation
def logsumexp(x: Expression) -> Expression:
    r"""Logarithm of the sum of exponentials, a smooth maximum.

    .. math:: \operatorname{logsumexp}(x) = \log \sum_j e^{x_j}

    Nothing overflows: the largest element is subtracted first.

    See Also
    --------
    log_softmax, softmax

    Notes
    -----
    :Range: [-inf, inf]
    :Special values: -inf for nothing but -inf (or nothing at all), inf for a slice with inf in it, NaN with NaN
    :vjp: takes a cotangent of the shape of the result, and is :math:`g\,\operatorname{softmax}(x)`
    :Defaults elsewhere: ``axis=None`` in scipy.special, jax.nn, jax.scipy.special and keras.ops; all axes and
        ``keepdims=1`` in onnx

    References
    ----------
    P. Blanchard, D. J. Higham, N. J. Higham, "Accurately computing the log-sum-exp and softmax functions", IMA Journal
    of Numerical Analysis 41, 2021. doi:10.1093/imanum/draa038.

    Examples
    --------
    >>> logsumexp(np.array([[0.0, 0.0], [1000.0, 0.0]]))
    array([6.93147181e-01, 1.00000000e+03])
    """
    # The sum of log_softmax; but an infinite element is not subtracted, as the result is infinite too.
    largest = axis_max(x)
    shift = where(absolute(largest) == math.inf, 0, largest)
    below = x - shift
    others = axis_sum(where(below == 0, 0, exp(below)))
    ties = axis_sum(where(below == 0, 1, 0)) - 1
    return shift + log1p(others + ties)


@logsumexp.cotangent
def _(x: Expression, g: Expression) -> Expression:
    y: Expression = softmax(x)
    return g * y


@activation
def sparsemax(x: Expression) -> Expression:
    r"""Nearest point of the probability simplex: like softmax, but small shares are zero.

    .. math:: \operatorname{sparsemax}(x)_i = \max(x_i - \tau, 0), \quad \sum_i \operatorname{sparsemax}(x)_i = 1

    The error is small beside the differences within a slice, not beside each share.

    Parameters
    ----------
    where : array of bool, optional
        Elements that take part; the others get 0.

    See Also
    --------
    softmax, sparse_sigmoid

    Notes
    -----
    :Range: [0, 1]
    :Special values: an element of -inf gets 0; a slice with NaN or +inf in it, or with nothing but -inf, is NaN
    :vjp: :math:`g` less its mean, among the elements with a share, and 0 elsewhere

    References
    ----------
    A. F. T. Martins, R. F. Astudillo, "From softmax to sparsemax: a sparse model of attention and multi-label
    classification", ICML 2016. arXiv:1602.02068.

    Examples
    --------
    >>> sparsemax(np.array([1.0, 0.75, -1.0]))
    array([0.625, 0.375, 0.   ])
    """
    below = x - axis_max(x)
    return maximum(below - axis_threshold(below), 0)


@sparsemax.cotangent
def _(x: Expression, g: Expression) -> Expression:
    share: Expression = sparsemax(x)
    mean = axis_sum(where(share > 0, g, 0)) / axis_sum(where(share > 0, 1, 0))
    return where(share > 0, g - mean, 0 * share)

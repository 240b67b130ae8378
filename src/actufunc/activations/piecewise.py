"""Functions made of line segments and parabolas."""

from __future__ import annotations

from actufunc._decorator import activation
from actufunc.formula import Expression, absolute, clip, damped, rounded_once, where

__all__ = ["hard_sigmoid", "hard_silu", "hard_swish", "hard_tanh", "identity", "sparse_plus", "sparse_sigmoid"]

# It is lost beside 1; and the second word of a smaller number could underflow.
_NEGLIGIBLE = 1e-30


@activation
def identity(x: Expression) -> Expression:
    r"""Identity.

    .. math:: \operatorname{identity}(x) = x

    Exact. The result is a new array.

    Notes
    -----
    :Range: (-inf, inf), odd, increasing, smooth
    :Values: -inf at -inf, -0 at -0, +0 at +0, inf at +inf, NaN at NaN
    :Derivative: 1
    :Integers: keep their dtype

    References
    ----------
    The output unit of regression: C. M. Bishop, "Pattern recognition and machine learning", 2006, section 5.2.

    Examples
    --------
    >>> identity(np.array([-1, 0, 2]))
    array([-1,  0,  2])
    """
    return x


@activation
def hard_tanh(x: Expression, min_val: float | Expression = -1, max_val: float | Expression = 1) -> Expression:
    r"""Piecewise linear hyperbolic tangent.

    .. math:: \operatorname{hard\_tanh}(x) = \min(\max(x, \text{min\_val}), \text{max\_val})

    Exact.

    Parameters
    ----------
    min_val : scalar or array that broadcasts, default -1
        Lower bound.
    max_val : scalar or array that broadcasts, default 1
        Upper bound.

    See Also
    --------
    relu6, tanh

    Notes
    -----
    :Range: [min_val, max_val], increasing
    :Values if min_val < 0 < max_val: min_val at -inf, -0 at -0, +0 at +0, max_val at +inf, NaN at NaN
    :Derivative: 1 between the bounds, 0 elsewhere, also at the bounds
    :Integers: keep their dtype if both bounds are integers

    References
    ----------
    R. Collobert, "Large scale machine learning", PhD thesis, Université Paris VI, 2004.

    Examples
    --------
    >>> hard_tanh(np.array([-3.0, 0.5, 2.0]))
    array([-1. ,  0.5,  1. ])
    """
    return clip(x, min_val, max_val)


@activation
def hard_sigmoid(x: Expression) -> Expression:
    r"""Piecewise linear sigmoid.

    .. math:: \operatorname{hard\_sigmoid}(x) = \frac{\min(\max(x + 3, 0), 6)}{6}

    See Also
    --------
    hard_silu, sigmoid

    Notes
    -----
    :Range: [0, 1], increasing
    :Values: 0 at -inf, 1/2 at -0 and +0, 1 at +inf, NaN at NaN
    :Derivative: 1/6 between -3 and 3, 0 elsewhere, also at -3 and 3
    :Defaults elsewhere: ``alpha=0.2``, the slope, in onnx

    References
    ----------
    M. Courbariaux, Y. Bengio, J.-P. David, "BinaryConnect: training deep neural networks with binary weights during
    propagations", NIPS 2015, with another slope, arXiv:1511.00363; with this one A. Howard et al., "Searching for
    MobileNetV3", ICCV 2019, arXiv:1905.02244.

    Examples
    --------
    >>> hard_sigmoid(np.array([-4.0, 0.0, 1.5]))
    array([0.  , 0.5 , 0.75])
    """
    return rounded_once((clip(x, -3, 3) + 3) / 6)


@activation
def hard_silu(x: Expression) -> Expression:
    r"""Sigmoid linear unit with a piecewise linear sigmoid.

    .. math:: \operatorname{hard\_silu}(x) = x\,\frac{\min(\max(x + 3, 0), 6)}{6}

    ``hard_swish`` is an alias.

    See Also
    --------
    hard_sigmoid, silu

    Notes
    -----
    :Range: [-3/8, inf)
    :Values: -0 at -inf, -0 at -0, +0 at +0, inf at +inf, NaN at NaN
    :Derivative: 0 up to and at -3, (2 x + 3)/6 up to 3, 1 from there on

    References
    ----------
    A. Howard et al., "Searching for MobileNetV3", ICCV 2019. arXiv:1905.02244.

    Examples
    --------
    >>> hard_silu(np.array([-4.0, 1.0, 5.0]))
    array([-0.        ,  0.66666667,  5.        ])
    """
    middle = clip(x, -3, 3)
    return where(x < 3, where(x > -3, rounded_once(middle * ((middle + 3) / 6)), damped(x, 0)), x)  # noqa: PLR2004


@hard_silu.derivative
def _(x: Expression) -> Expression:
    middle = where(absolute(x) < _NEGLIGIBLE, 0, clip(x, -3, 3))
    slope = rounded_once((2 * middle + 3) / 6)
    return where(x < 3, where(x > -3, slope, 0), 1)  # noqa: PLR2004


@activation
def sparse_plus(x: Expression) -> Expression:
    r"""Continuously differentiable rectifier that is exactly zero on the left.

    .. math:: \operatorname{sparse\_plus}(x) = \begin{cases} 0 & x \le -1 \\ (x + 1)^2/4 & -1 < x < 1 \\ x & x \ge 1
        \end{cases}

    See Also
    --------
    softplus, sparse_sigmoid

    Notes
    -----
    :Range: [0, inf), increasing
    :Values: 0 at -inf, 1/4 at -0 and +0, inf at +inf, NaN at NaN
    :Derivative: `sparse_sigmoid`

    References
    ----------
    The two-class case of sparsemax: A. F. T. Martins, R. F. Astudillo, "From softmax to sparsemax: a sparse model of
    attention and multi-label classification", ICML 2016. arXiv:1602.02068.

    Examples
    --------
    >>> sparse_plus(np.array([-2.0, 0.0, 3.0]))
    array([0.  , 0.25, 3.  ])
    """
    middle = clip(x, -1, 1) + 1
    return where(x < 1, rounded_once(middle * middle / 4), x)


@sparse_plus.derivative
def _(x: Expression) -> Expression:
    return (clip(x, -1, 1) + 1) / 2


@activation
def sparse_sigmoid(x: Expression) -> Expression:
    r"""Piecewise linear sigmoid that is exactly zero and one from -1 and 1 on.

    .. math:: \operatorname{sparse\_sigmoid}(x) = \frac{\min(\max(x + 1, 0), 2)}{2}

    It is the derivative of `sparse_plus`.

    See Also
    --------
    sigmoid, sparse_plus

    Notes
    -----
    :Range: [0, 1], increasing
    :Values: 0 at -inf, 1/2 at -0 and +0, 1 at +inf, NaN at NaN
    :Derivative: 1/2 between -1 and 1, 0 elsewhere, also at -1 and 1

    References
    ----------
    A. F. T. Martins, R. F. Astudillo, "From softmax to sparsemax: a sparse model of attention and multi-label
    classification", ICML 2016. arXiv:1602.02068.

    Examples
    --------
    >>> sparse_sigmoid(np.array([-2.0, 0.0, 0.5]))
    array([0.  , 0.5 , 0.75])
    """
    return (clip(x, -1, 1) + 1) / 2


hard_swish = hard_silu

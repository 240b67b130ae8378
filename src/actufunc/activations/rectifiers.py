"""Rectifiers: the identity on the right, a line on the left."""

from __future__ import annotations

from actufunc._decorator import activation
from actufunc.formula import Expression, clip, maximum, where

__all__ = ["leaky_relu", "prelu", "relu", "relu6", "relu_squared", "threshold"]


@activation
def relu(x: Expression) -> Expression:
    r"""Rectified linear unit.

    .. math:: \operatorname{relu}(x) = \max(x, 0)

    Exact.

    See Also
    --------
    leaky_relu, relu6, softplus

    Notes
    -----
    :Range: [0, inf), increasing
    :Values: 0 at -inf, 0 at -0 and +0, inf at +inf, NaN at NaN
    :Derivative: 0 up to and at zero, 1 beyond
    :Integers: keep their dtype

    References
    ----------
    V. Nair, G. E. Hinton, "Rectified linear units improve restricted Boltzmann machines", ICML 2010.

    Examples
    --------
    >>> relu(np.array([-1.0, 0.0, 2.0]))
    array([0., 0., 2.])
    """
    return maximum(x, 0)


@activation
def relu6(x: Expression) -> Expression:
    r"""Rectifier that stops at six.

    .. math:: \operatorname{relu6}(x) = \min(\max(x, 0), 6)

    Exact.

    See Also
    --------
    hard_sigmoid, relu

    Notes
    -----
    :Range: [0, 6], increasing
    :Values: 0 at -inf, 0 at -0 and +0, 6 at +inf, NaN at NaN
    :Derivative: 1 between 0 and 6, 0 elsewhere, also at 0 and at 6
    :Integers: keep their dtype

    References
    ----------
    A. Krizhevsky, "Convolutional deep belief networks on CIFAR-10", 2010.

    Examples
    --------
    >>> relu6(np.array([-1.0, 2.0, 8.0]))
    array([0., 2., 6.])
    """
    return clip(x, 0, 6)


@activation
def relu_squared(x: Expression) -> Expression:
    r"""Square of the rectified linear unit.

    .. math:: \operatorname{relu\_squared}(x) = \max(x, 0)^2

    Continuously differentiable.

    See Also
    --------
    relu

    Notes
    -----
    :Range: [0, inf), increasing
    :Values: 0 at -inf, 0 at -0 and +0, inf at +inf, NaN at NaN
    :Derivative: :math:`2 \max(x, 0)`

    References
    ----------
    D. R. So, W. Mańke, H. Liu, Z. Dai, N. Shazeer, Q. V. Le, "Primer: searching for efficient transformers for language
    modeling", NeurIPS 2021. arXiv:2109.08668.

    Examples
    --------
    >>> relu_squared(np.array([-1.0, 0.5, 3.0]))
    array([0.  , 0.25, 9.  ])
    """
    return maximum(x, 0) ** 2


@relu_squared.derivative
def _(x: Expression) -> Expression:
    return 2 * maximum(x, 0)


@activation
def leaky_relu(x: Expression, negative_slope: float | Expression = 0.01) -> Expression:
    r"""Leaky rectified linear unit.

    .. math:: \operatorname{leaky\_relu}(x) = \begin{cases} x & x > 0 \\ s\,x & x \le 0 \end{cases}

    Parameters
    ----------
    negative_slope : scalar or array that broadcasts, default 0.01
        Slope :math:`s` on the left.

    See Also
    --------
    prelu, relu

    Notes
    -----
    :Range if negative_slope > 0: (-inf, inf), increasing
    :Values if negative_slope > 0: -inf at -inf, -0 at -0, +0 at +0, inf at +inf, NaN at NaN
    :Derivative: the slope up to and at zero, 1 beyond
    :Integers: keep their dtype if the slope is an integer
    :Defaults elsewhere: ``negative_slope=0.2`` in keras.activations and keras.ops

    References
    ----------
    A. L. Maas, A. Y. Hannun, A. Y. Ng, "Rectifier nonlinearities improve neural network acoustic models", ICML 2013.

    Examples
    --------
    >>> leaky_relu(np.array([-1.0, 0.0, 2.0]))
    array([-0.01,  0.  ,  2.  ])
    >>> leaky_relu(np.array([-1.0, 0.0, 2.0]), negative_slope=0.2)
    array([-0.2,  0. ,  2. ])
    """
    return where(x > 0, x, negative_slope * x)


@activation
def prelu(x: Expression, alpha: Expression) -> Expression:
    r"""Parametric rectified linear unit: a leaky one whose slope is an array that broadcasts.

    .. math:: \operatorname{prelu}(x) = \begin{cases} x & x > 0 \\ \alpha\,x & x \le 0 \end{cases}

    Parameters
    ----------
    alpha : array or scalar
        Slopes on the left, of a shape that broadcasts with `x`: for images in NCHW order ``(C, 1, 1)``.

    See Also
    --------
    leaky_relu

    Notes
    -----
    :Range if alpha > 0: (-inf, inf), increasing
    :Values if alpha > 0: -inf at -inf, -0 at -0, +0 at +0, inf at +inf, NaN at NaN
    :Derivative: :math:`\min(x, 0)` by `alpha`
    :Integers: keep their dtype if `alpha` is an integer

    References
    ----------
    K. He, X. Zhang, S. Ren, J. Sun, "Delving deep into rectifiers", ICCV 2015. arXiv:1502.01852.

    Examples
    --------
    >>> prelu(np.array([[-1.0, 2.0], [-1.0, 2.0]]), np.array([[0.25], [0.5]]))
    array([[-0.25,  2.  ],
           [-0.5 ,  2.  ]])
    """
    return where(x > 0, x, alpha * x)


@activation
def threshold(x: Expression, threshold: Expression, value: Expression) -> Expression:
    r"""Identity above a threshold, a value elsewhere.

    .. math:: \operatorname{threshold}(x) = \begin{cases} x & x > \text{threshold} \\ \text{value} & \text{otherwise}
        \end{cases}

    Exact.

    Parameters
    ----------
    threshold : scalar or array that broadcasts
        Where it jumps.
    value : scalar or array that broadcasts
        Result up to and at the threshold.

    See Also
    --------
    hard_shrink, relu

    Notes
    -----
    :Range if value <= threshold: [value, inf), increasing
    :Values if threshold >= 0: value at -inf, value at -0 and +0, inf at +inf, NaN at NaN
    :Derivative: 0 up to and at the threshold, 1 beyond
    :Integers: keep their dtype if both numbers are integers

    References
    ----------
    K. Konda, R. Memisevic, D. Krueger, "Zero-bias autoencoders and the benefits of co-adapting features", ICLR 2015.
    arXiv:1402.3337.

    Examples
    --------
    >>> threshold(np.array([-1.0, 0.5, 3.0]), 1.0, 0.0)
    array([0., 0., 3.])
    """
    return where(x > threshold, x, value)

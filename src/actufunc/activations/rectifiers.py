r"""Rectifiers: the identity on the right, a straight line on the left."""

from __future__ import annotations

from actufunc._decorator import activation
from actufunc.formula import Expression, clip, maximum, where

__all__ = ["leaky_relu", "prelu", "relu", "relu6", "relu_squared", "threshold"]


@activation
def relu(x: Expression) -> Expression:
    r"""Rectified linear unit.

    .. math:: \operatorname{relu}(x) = \max(x, 0)

    Range [0, inf), increasing. Exact, also on integers, which keep their dtype.

    Parameters
    ----------
    x : array, any shape
        float16, bfloat16, float32, float64 or integers; booleans become the default float.

    Returns
    -------
    array
        Of the kind, shape and dtype of `x`.

    Notes
    -----
    Values: 0 at -inf, 0 at -0 and +0, inf at +inf, NaN at NaN. Derivative: 0 up to and at zero, 1 beyond.

    References
    ----------
    V. Nair, G. E. Hinton, "Rectified linear units improve restricted Boltzmann machines", ICML 2010.

    Examples
    --------
    >>> import numpy as np
    >>> from actufunc import relu
    >>> relu(np.array([-1.0, 0.0, 2.0]))
    array([0., 0., 2.])
    """
    return maximum(x, 0)


@activation
def relu6(x: Expression) -> Expression:
    r"""Rectifier that stops at six.

    .. math:: \operatorname{relu6}(x) = \min(\max(x, 0), 6)

    Range [0, 6], increasing. Exact, also on integers, which keep their dtype.

    Parameters
    ----------
    x : array, any shape
        float16, bfloat16, float32, float64 or integers; booleans become the default float.

    Returns
    -------
    array
        Of the kind, shape and dtype of `x`.

    Notes
    -----
    Values: 0 at -inf, 0 at -0 and +0, 6 at +inf, NaN at NaN. Derivative: 1 between 0 and 6, 0 elsewhere, also at 0 and
    at 6.

    References
    ----------
    A. Krizhevsky, "Convolutional deep belief networks on CIFAR-10", 2010.

    Examples
    --------
    >>> import numpy as np
    >>> from actufunc import relu6
    >>> relu6(np.array([-1.0, 2.0, 8.0]))
    array([0., 2., 6.])
    """
    return clip(x, 0, 6)


@activation
def relu_squared(x: Expression) -> Expression:
    r"""Square of the rectified linear unit.

    .. math:: \operatorname{relu\_squared}(x) = \max(x, 0)^2

    Range [0, inf), increasing. Continuously differentiable.

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
    Values: 0 at -inf, 0 at -0 and +0, inf at +inf, NaN at NaN. Derivative: :math:`2 \max(x, 0)`.

    References
    ----------
    D. R. So, W. Mańke, H. Liu, Z. Dai, N. Shazeer, Q. V. Le, "Primer: searching for efficient transformers for language
    modeling", NeurIPS 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from actufunc import relu_squared
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

    Range (-inf, inf) for a positive slope :math:`s`, increasing.

    Parameters
    ----------
    x : array, any shape
        float16, bfloat16, float32 or float64; integers and booleans become the default float.
    negative_slope : scalar or array that broadcasts, default 0.01
        Slope :math:`s` on the left.

    Returns
    -------
    array
        Of the kind and dtype of `x`.

    Notes
    -----
    Values: -inf at -inf, -0 at -0, +0 at +0, inf at +inf, NaN at NaN. Derivative: the slope up to and at zero, 1
    beyond.

    Defaults elsewhere: ``negative_slope=0.2`` in keras.activations and keras.ops.

    References
    ----------
    A. L. Maas, A. Y. Hannun, A. Y. Ng, "Rectifier nonlinearities improve neural network acoustic models", ICML 2013.

    Examples
    --------
    >>> import numpy as np
    >>> from actufunc import leaky_relu
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

    Range (-inf, inf) for positive `alpha`, increasing.

    Parameters
    ----------
    x : array, any shape
        float16, bfloat16, float32 or float64; integers and booleans become the default float.
    alpha : array or scalar
        Slopes on the left, of a shape that broadcasts with `x`: for images in NCHW order ``(C, 1, 1)``.

    Returns
    -------
    array
        Of the kind of `x`, the broadcast shape and the common dtype.

    Notes
    -----
    Values for positive `alpha`: -inf at -inf, -0 at -0, +0 at +0, inf at +inf, NaN at NaN. Derivative by `alpha`:
    :math:`\min(x, 0)`.

    References
    ----------
    K. He, X. Zhang, S. Ren, J. Sun, "Delving deep into rectifiers", ICCV 2015.

    Examples
    --------
    >>> import numpy as np
    >>> from actufunc import prelu
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

    Range [0.25, inf) for a threshold and a value of 1/4. Exact, also on integers, which keep their dtype if both
    numbers are integers.

    Parameters
    ----------
    x : array, any shape
        float16, bfloat16, float32, float64 or integers; booleans become the default float.
    threshold : scalar or array that broadcasts
        Where it jumps.
    value : scalar or array that broadcasts
        Result up to and at the threshold.

    Returns
    -------
    array
        Of the kind and dtype of `x`.

    Notes
    -----
    Values for a threshold and a value of 1/4: 0.25 at -inf, 0.25 at -0 and +0, inf at +inf, NaN at NaN. Derivative: 0
    up to and at the threshold, 1 beyond.

    References
    ----------
    K. Konda, R. Memisevic, D. Krueger, "Zero-bias autoencoders and the benefits of co-adapting features", ICLR 2015.

    Examples
    --------
    >>> import numpy as np
    >>> from actufunc import threshold
    >>> threshold(np.array([-1.0, 0.5, 3.0]), 1.0, 0.0)
    array([0., 0., 3.])
    """
    return where(x > threshold, x, value)

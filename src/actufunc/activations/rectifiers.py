r"""Rectifiers: the identity on the right, something small on the left."""

from __future__ import annotations

from actufunc.formula import Expression, expm1, maximum, where
from actufunc.ufunc import activation

__all__ = ["elu", "leaky_relu", "prelu", "relu"]


@activation
def relu(x: Expression) -> Expression:
    r"""Rectified linear unit.

    .. math:: \operatorname{relu}(x) = \max(x, 0)

    Range [0, inf). Exact, also on integers, which keep their dtype.

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
def leaky_relu(x: Expression, negative_slope: float | Expression = 0.01) -> Expression:
    r"""Leaky rectified linear unit.

    .. math:: \operatorname{leaky\_relu}(x) = \begin{cases} x & x > 0 \\ s\,x & x \le 0 \end{cases}

    Range (-inf, inf) for a positive slope :math:`s`.

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
def elu(x: Expression, alpha: float | Expression = 1) -> Expression:
    r"""Exponential linear unit.

    .. math:: \operatorname{elu}(x) = \begin{cases} x & x > 0 \\ \alpha\,(e^x - 1) & x \le 0 \end{cases}

    Range (-alpha, inf), increasing.

    Parameters
    ----------
    x : array, any shape
        float16, bfloat16, float32 or float64; integers and booleans become the default float.
    alpha : scalar or array that broadcasts, default 1
        Depth of the left branch.

    Returns
    -------
    array
        Of the kind and dtype of `x`.

    Notes
    -----
    Values: -alpha at -inf, -0 at -0, +0 at +0, inf at +inf, NaN at NaN. Derivative: :math:`\alpha e^x` up to and at
    zero, 1 beyond.

    References
    ----------
    D.-A. Clevert, T. Unterthiner, S. Hochreiter, "Fast and accurate deep network learning by exponential linear units
    (ELUs)", ICLR 2016.

    Examples
    --------
    >>> import numpy as np
    >>> from actufunc import elu
    >>> elu(np.array([-1.0, 0.0, 2.0]))
    array([-0.63212056,  0.        ,  2.        ])
    """
    left = where(x > 0, 0, x)  # lest the exponential overflow on the right
    return where(x > 0, x, alpha * expm1(left))

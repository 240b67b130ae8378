"""Shrinkage: small numbers become zero or smaller."""

from __future__ import annotations

import itertools

from actufunc._decorator import activation
from actufunc.formula import Expression, absolute, clip, rounded_once, tanh, where
from actufunc.formula.expression import constant

__all__ = ["hard_shrink", "soft_shrink", "tanh_shrink"]


@activation
def hard_shrink(x: Expression, lambd: float | Expression = 0.5) -> Expression:
    r"""Identity, but zero near zero.

    .. math:: \operatorname{hard\_shrink}(x) = \begin{cases} x & |x| > \lambda \\ 0 & |x| \le \lambda \end{cases}

    Exact.

    Parameters
    ----------
    lambd : scalar or array that broadcasts, default 0.5
        Largest magnitude that becomes zero, :math:`\lambda`.

    See Also
    --------
    soft_shrink, threshold

    Notes
    -----
    :Range: (-inf, inf), odd, increasing
    :Values: -inf at -inf, 0 at -0 and +0, inf at +inf, NaN at NaN
    :Derivative: 0 up to and at the threshold, 1 beyond

    References
    ----------
    Hard thresholding: D. L. Donoho, I. M. Johnstone, "Ideal spatial adaptation by wavelet shrinkage", Biometrika 81,
    1994. doi:10.1093/biomet/81.3.425.

    Examples
    --------
    >>> hard_shrink(np.array([-1.0, 0.5, 2.0]))
    array([-1.,  0.,  2.])
    """
    return where(absolute(x) > lambd, x, 0)


@activation
def soft_shrink(x: Expression, lambd: float | Expression = 0.5) -> Expression:
    r"""Shrinkage towards zero.

    .. math:: \operatorname{soft\_shrink}(x) = \begin{cases} x - \lambda & x > \lambda \\ x + \lambda & x < -\lambda \\
        0 & \text{otherwise} \end{cases}

    The proximal operator of the absolute value.

    Parameters
    ----------
    lambd : scalar or array that broadcasts, default 0.5
        By how much magnitudes shrink, :math:`\lambda`; not negative.

    See Also
    --------
    hard_shrink, tanh_shrink

    Notes
    -----
    :Range: (-inf, inf), odd, increasing
    :Values: -inf at -inf, 0 at -0 and +0, inf at +inf, NaN at NaN
    :Derivative: 0 up to and at the threshold, 1 beyond

    References
    ----------
    Soft thresholding: D. L. Donoho, I. M. Johnstone, "Ideal spatial adaptation by wavelet shrinkage", Biometrika 81,
    1994. doi:10.1093/biomet/81.3.425.

    Examples
    --------
    >>> soft_shrink(np.array([-1.0, 0.5, 2.0]))
    array([-0.5,  0. ,  1.5])
    """
    return where(x > lambd, x - lambd, where(x < -lambd, x + lambd, 0))


# Near zero x - tanh(x) cancels. Lambert's continued fraction, tanh(x) = x/(1 + w) with
# w = x**2/(3 + x**2/(5 + x**2/(7 + ...))), gives x - tanh(x) = x*w/(1 + w), where nothing does. Cut off
# after x**2/21, w = u*D(u)/N(u) with u = x**2 and polynomials of positive coefficients, and the relative error is below
# 2**-60 up to 1.5 (largest where it ends, found with mpmath). From there on tanh is so far from x that the difference
# loses nothing.
_NEAR = 1.5
# Multiplied by this, products of small x are large enough to have a second word.
_RAISED = 2.0**60


def _convergent() -> tuple[list[float], list[float]]:
    """Return N and D, lowest coefficients first, both divided by D(0)."""
    n, d = [21], [1]
    for k in range(19, 1, -2):
        # k + u*D/N = (k*N + u*D)/N
        n, d = [k * a + b for a, b in itertools.zip_longest(n, [0, *d], fillvalue=0)], n
    return [a / d[0] for a in n], [a / d[0] for a in d]


_NUMERATOR, _DENOMINATOR = _convergent()


def _polynomial(u: Expression, coefficients: list[float]) -> Expression:
    *lower, highest = coefficients
    result = constant(highest)
    for coefficient in reversed(lower):
        result = result * u + coefficient
    return result


@activation
def tanh_shrink(x: Expression) -> Expression:
    r"""Difference of the argument and its hyperbolic tangent.

    .. math:: \operatorname{tanh\_shrink}(x) = x - \tanh x

    Accurate near zero, where the difference would cancel.

    See Also
    --------
    soft_shrink, tanh

    Notes
    -----
    :Range: (-inf, inf), odd, increasing, smooth
    :Values: -inf at -inf, -0 at -0, +0 at +0, inf at +inf, NaN at NaN
    :Derivative: :math:`\tanh^2 x`

    References
    ----------
    J. H. Lambert, "Mémoire sur quelques propriétés remarquables des quantités transcendentes circulaires et
    logarithmiques", 1761, for the fraction.

    Examples
    --------
    >>> tanh_shrink(np.array([-1.0, 0.0, 0.001]))
    array([-2.38405844e-01,  0.00000000e+00,  3.33333200e-10])
    """
    near = clip(x, -_NEAR, _NEAR)
    u = near * near
    part = u * _polynomial(u, _DENOMINATOR)
    series = rounded_once(_RAISED * near * part / (_polynomial(u, _NUMERATOR) + part)) / _RAISED
    return where(absolute(x) < _NEAR, series, rounded_once(x - tanh(x)))


@tanh_shrink.derivative
def _(x: Expression) -> Expression:
    return rounded_once(tanh(x) ** 2)

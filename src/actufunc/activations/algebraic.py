"""Units made of roots."""

from __future__ import annotations

from actufunc._decorator import activation
from actufunc.formula import (
    Expression,
    absolute,
    bounded,
    maximum,
    minimum,
    rounded_once,
    sqrt,
    where,
    with_derivatives,
)

from ._bounds import HUGE

__all__ = ["squareplus"]


def _bend(x: Expression, b: float | Expression) -> tuple[Expression, Expression, Expression]:
    """Return the clamped magnitude of `x`, the root of its square plus `b`, and the mean of the two."""
    u = minimum(absolute(x), HUGE)
    root = sqrt(u * u + b)
    return u, root, u / 2 + root / 2


# Magnitude beyond which the cube of the inverse is zero.
_REMOTE = 1e300


def _root(x: Expression, b: Expression) -> tuple[Expression, Expression]:
    """Return `x` and the root of its square plus `b`, for further derivatives: also where the square overflows."""
    x = bounded(x, -_REMOTE, _REMOTE)
    y = bounded(x, -HUGE, HUGE)
    large = maximum(absolute(x), HUGE)
    return x, where(absolute(x) < HUGE, sqrt(y * y + b), large * sqrt(1 + b / large / large))


@activation
def squareplus(x: Expression, b: float | Expression = 4) -> Expression:
    r"""Algebraic smooth rectifier.

    .. math:: \operatorname{squareplus}(x) = \frac{x + \sqrt{x^2 + b}}{2}

    The left tail keeps its relative accuracy.

    Parameters
    ----------
    b : scalar or array that broadcasts, default 4
        Width of the bend, from 1e-30 to 1e18, so that its square root counts and neither vanishes beside `x`.

    See Also
    --------
    softplus, relu

    Notes
    -----
    :Range if b > 0: (0, inf), increasing, smooth
    :Values if b == 4: 0 at -inf, 1 at -0 and +0, inf at +inf, NaN at NaN
    :Derivative: :math:`\left(1 + x/\sqrt{x^2 + b}\right)/2`

    References
    ----------
    J. T. Barron, "Squareplus: a softplus-like algebraic rectifier", 2021. arXiv:2112.11687.

    Examples
    --------
    >>> squareplus(np.array([-1e8, 0.0, 1.5]))
    array([1.e-08, 1.e+00, 2.e+00])
    """
    # With r the root, (x + r)/2 = (b/2)/(r - x), which does not cancel on the left.
    u, _, mean = _bend(x, b)
    large = maximum(absolute(x), HUGE)
    right = where(u < HUGE, rounded_once(mean), large)
    left = where(u < HUGE, rounded_once(b / 4 / mean), b / 4 / large)
    return where(x >= 0, right, left)


@squareplus.derivative
def _(x: Expression, b: Expression) -> Expression:
    u, root, mean = _bend(x, b)
    large = maximum(absolute(x), HUGE)
    tail = b / 4 / mean / root  # the derivative on the left, and its difference from 1 on the right
    left = where(u < HUGE, rounded_once(tail), b / 4 / large / large)
    y, r = _root(x, b)
    return with_derivatives(where(x >= 0, rounded_once(1 - tail), left), {x: b / 2 / r / r / r, b: -y / 4 / r / r / r})


@squareplus.derivative(wrt="b")
def _(x: Expression, b: Expression) -> Expression:
    _, root, _ = _bend(x, b)
    large = maximum(absolute(x), HUGE)
    y, r = _root(x, b)
    slope = where(absolute(x) < large, 0.25 / root, 0.25 / large)
    return with_derivatives(slope, {x: -y / 4 / r / r / r, b: -0.125 / r / r / r})

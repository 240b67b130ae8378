"""Where formulas clamp their argument, lest something overflow that is not even used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actufunc.formula import absolute, where

if TYPE_CHECKING:
    from actufunc.formula import Expression

FAR = 1000
"""Exponentials of it and their like have long been zero, one or infinite."""

NOTHING = 40
"""``exp(-x * x)`` is zero from here on."""

ALMOST_INFINITE = 1e18
"""One more makes no difference, and the square is finite."""


def without_right(x: Expression) -> Expression:
    """Return `x` on the left of zero, and zero on the right; unlike a minimum it keeps the sign of -0."""
    return where(x > 0, 0, x)


def while_finite(x: Expression, u: Expression) -> Expression:
    """Return `x`, for a factor of what vanishes with the exponential of -abs(u): where that is zero, so is this."""
    return where(absolute(u) < FAR, x, 0)

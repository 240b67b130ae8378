"""Bounds to which formulas clamp their argument, so that no part of them overflows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actufunc.formula import absolute, where

if TYPE_CHECKING:
    from actufunc.formula import Expression

SATURATION = 1000
"""Magnitude from which exponentials and logistic functions are zero, one or infinite in float64."""

GAUSSIAN_VANISHES = 40
"""Magnitude of x from which ``exp(-x * x)`` is zero in float64."""

HUGE = 1e18
"""Magnitude beside which 1 is lost in float64, while its square is finite in float32."""


def left_part(x: Expression) -> Expression:
    """Return `x` where it is not positive, else zero; unlike a minimum it keeps the sign of -0."""
    return where(x > 0, 0, x)


def zero_at_saturation(x: Expression, u: Expression) -> Expression:
    """Return `x`, a factor of an exponential of -abs(u), and zero where that exponential is zero."""
    return where(absolute(u) < SATURATION, x, 0)

"""Distance of results from the exact value, in units in the last place.

The exact value is that of the activation's own expression, computed by mpmath with as many digits as it takes. mpmath
is imported when something is measured, not before.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from actufunc._formats import FORMATS

from ._exact import EXACT_BITS, reference
from ._sample import sample, sample_rows

if TYPE_CHECKING:
    from actufunc import Activation

    Array = np.ndarray[Any, Any]

__all__ = ["LargestError", "beside", "largest_error", "reference", "sample", "sample_rows", "ulp_error"]


class LargestError(NamedTuple):
    """Largest error of a sample, in ulp, and the point where it is."""

    ulp: float
    at: float


def largest_error(activation: Activation, points: Array, /, **arguments: Any) -> LargestError:
    """Measure the largest error of an activation over a sample.

    Parameters
    ----------
    activation : Activation
        Function to measure; its ``grad`` and ``vjp`` can be measured too.
    points : array
        Values of `x`, from `sample` or `sample_rows`. A function over an axis reduces over the last one.
    **arguments
        Hyperparameters, options and, for a vjp, ``g``: scalars, or arrays that broadcast to the sample.

    Returns
    -------
    LargestError
        Error in ulp of the sample's dtype, and its point.

    Examples
    --------
    >>> from actufunc import relu
    >>> from actufunc.accuracy import largest_error, sample
    >>> largest_error(relu, sample("float32", 100)).ulp
    0.0
    """
    with np.errstate(all="ignore"):
        values = activation(points, **arguments)
    errors = ulp_error(values, reference(activation, points, **arguments), beside=beside(activation))
    worst = int(np.argmax(errors))
    return LargestError(float(errors.flat[worst]), float(points.flat[worst]))


def beside(activation: Activation) -> float:
    """Return the magnitude whose ulp is the least unit of errors of an activation.

    Parameters
    ----------
    activation : Activation
        Function over an axis, or an elementwise one.

    Returns
    -------
    float
        One for shares of a total and for a sum that may cancel, else zero.
    """
    definition = activation.definition
    nodes = definition.computed(definition.options).nodes()
    return 1.0 if definition.reduces or any(node.operation == "axis_threshold" for node in nodes) else 0.0


def ulp_error(values: Array, exact: Array, *, beside: float = 0.0) -> Array:
    """Return the distance from exact values in units in the last place.

    Parameters
    ----------
    values : array of float16, bfloat16, float32 or float64
        Computed values. The unit is that of their dtype at the exact value, below the normal range the subnormal one.
    exact : array of mpmath numbers, of the same shape
        Exact values, from `reference`.
    beside : float, default 0
        Magnitude whose ulp is the least unit, for results of terms of that magnitude that cancel.

    Returns
    -------
    array of float64
        Errors. Infinity counts as the power of two behind the largest finite number, and as no error where the exact
        value rounds to it. NaN is no error where NaN is exact, and infinitely wrong elsewhere. The sign of zero is
        ignored.
    """
    import mpmath  # noqa: PLC0415

    form = FORMATS[values.dtype.name]
    context = mpmath.MPContext()
    context.prec = EXACT_BITS  # so that differences and quotients below are exact to all bits of interest
    beyond = context.ldexp(1, form.highest + 1)
    least = max(form.lowest, math.frexp(beside)[1] - 1) if beside else form.lowest
    overflow = beyond - context.ldexp(1, form.highest - form.precision)  # where rounding to nearest gives infinity

    def error(value: float, right: Any) -> float:
        computed, right = context.mpf(value), context.mpf(right)
        if context.isnan(computed) or context.isnan(right):
            return 0.0 if context.isnan(computed) and context.isnan(right) else float("inf")
        if context.isinf(right):
            return 0.0 if computed == right else float("inf")
        clipped = max(min(right, beyond), -beyond) if abs(right) >= overflow else right
        if context.isinf(computed):
            if abs(right) >= overflow and (computed > 0) == (right > 0):
                return 0.0
            computed = beyond if computed > 0 else -beyond
        exponent = min(max(context.mag(clipped) - 1, least), form.highest) if clipped else least
        return float(abs(computed - clipped) / context.ldexp(1, exponent - form.precision + 1))

    errors = np.empty(values.shape)
    # An element of bfloat16 is no Python float; the conversion to float64 is exact.
    errors.reshape(-1)[:] = [error(v, e) for v, e in zip(values.astype(np.float64).flat, exact.flat, strict=True)]
    return errors

"""Fit the polynomials of the NumPy backend's SIMD kernels and print them as Python source.

Run ``python benchmarks/fit_polynomials.py [name ...]``; without names, every table is fitted. Each polynomial minimises
the largest weighted error over its interval (Remez exchange) among polynomials whose coefficients are float64
numbers: the coefficients are rounded one by one, lowest power first, and the others fitted again to make up for it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import mpmath as mp
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Function = Callable[[Any], Any]  # of mpmath numbers, which are not typed

mp.mp.dps = 60
HALF_LN2 = mp.log(2) / 2


@dataclass(frozen=True)
class Fit:
    """One polynomial to fit.

    Parameters
    ----------
    name : str
        Name of the printed constant.
    function : callable
        The function of an mpmath number.
    interval : tuple of two numbers
        The interval of the approximation.
    weight : callable
        Factor of the error; ``lambda x: 1 / function(x)`` makes it a relative error.
    degree : int
        Highest power.
    forced : sequence of numbers, optional
        Given coefficients of the lowest powers; they are not printed.
    """

    name: str
    function: Function
    interval: tuple[Any, Any]
    weight: Function
    degree: int
    forced: Sequence[float] = ()


def over_exp(x: Any) -> Any:
    """Weight of an error relative to exp."""
    return mp.exp(-x)


def over_expm1(x: Any) -> Any:
    """Weight of an error relative to expm1."""
    return 1 / mp.expm1(x)


def over_log1p(x: Any) -> Any:
    """Weight of an error relative to log1p."""
    return 1 / mp.log1p(x)


def atanh_of_root(y: Any) -> Any:
    """``atanh(s) / s`` of ``y = s**2``."""
    return mp.atanh(mp.sqrt(y)) / mp.sqrt(y) if y else mp.mpf(1)


# exp(r) = 1 + r + r**2 * P(r), |r| <= log(2)/2: the argument is reduced by the nearest multiple of log(2); 0.1 % more
# allows for the rounding of the quotient.
REDUCED = (-1.001 * HALF_LN2, 1.001 * HALF_LN2)
FITS = [
    Fit("EXP", mp.exp, REDUCED, over_exp, 11, (1, 1)),
    Fit("EXPM1", mp.expm1, REDUCED, over_expm1, 12, (0, 1)),
    # log(1 + f) = f + f**2 * P(f): a significand in [3/4, 3/2), and softplus of both signs.
    Fit("LOG1P", mp.log1p, (-0.25, 0.5), over_log1p, 21, (0, 1)),
    # For results of float32 that are computed in float64.
    Fit("FLOAT32_EXP", mp.exp, REDUCED, over_exp, 7, (1, 1)),
    Fit("FLOAT32_EXPM1", mp.expm1, REDUCED, over_expm1, 8, (0, 1)),
    # log(1 + e) = 2*atanh(s) with s = e/(2 + e), for e from 0 (or -1/4) to 1.
    Fit("FLOAT32_ATANH", atanh_of_root, (0, mp.mpf(1) / 9), lambda y: 1 / atanh_of_root(y), 5),
]


def polynomial(coefficients: Sequence[Any], x: Any) -> Any:
    """Evaluate a polynomial, lowest power first."""
    return mp.polyval(list(reversed(coefficients)), x)


def sample(fit: Fit, count: int) -> list[tuple[Any, Any, Any]]:
    """Return points ``(x, function(x), weight(x))``, denser towards the ends of the interval as extrema are.

    Points where the function or the weight is not defined (0/0) are left out.
    """
    low, high = map(mp.mpf, fit.interval)
    points = []
    for i in range(count + 1):
        x = (low + high) / 2 - (high - low) / 2 * mp.cos(mp.pi * i / count)
        try:
            points.append((x, fit.function(x), abs(fit.weight(x))))
        except ZeroDivisionError:
            continue
    return points


def errors(points: Sequence[tuple[Any, Any, Any]], coefficients: Sequence[Any]) -> list[Any]:
    """Weighted errors of a polynomial at the points."""
    return [weight * (value - polynomial(coefficients, x)) for x, value, weight in points]


def extrema(values: Sequence[Any], count: int) -> list[int]:
    """Return where `count` consecutive extrema of alternating sign stand in `values`, the largest possible."""
    peaks: list[int] = []
    for i, value in enumerate(values):
        if peaks and value * values[peaks[-1]] >= 0:
            if abs(value) > abs(values[peaks[-1]]):
                peaks[-1] = i
        else:
            peaks.append(i)
    while len(peaks) > count:
        peaks.pop(0 if abs(values[peaks[0]]) < abs(values[peaks[-1]]) else -1)
    return peaks


def remez(points: Sequence[tuple[Any, Any, Any]], forced: Sequence[Any], start: Sequence[Any]) -> list[Any]:
    """Improve `start`, coefficients of the powers above the forced ones, towards the minimax ones (Remez 1934).

    Every step solves for the coefficients and the level ``e`` at which the error alternates between ``e`` and ``-e`` on
    the reference points, then moves those to the extrema of that error. Where the lowest free power is odd, it changes
    sign at zero, and the error alternates once divided by that power. With forced coefficients the alternation may not
    exist, so the best coefficients met are returned, be they `start` itself.
    """
    powers = range(len(forced), len(forced) + len(start))
    size = len(powers) + 1
    signs = [-1 if x < 0 and powers[0] % 2 else 1 for x, _, _ in points]
    usable = [i for i, (x, _, _) in enumerate(points) if x != 0 or not forced]
    reference = [usable[round((i + 0.5) / size * (len(usable) - 1))] for i in range(size)]
    best = list(start)
    smallest = max(map(abs, errors(points, [*forced, *best])))
    for _ in range(20):
        matrix, right = mp.matrix(size, size), mp.matrix(size, 1)
        for row, i in enumerate(reference):
            x, value, weight = points[i]
            for column, power in enumerate(powers):
                matrix[row, column] = weight * x**power
            matrix[row, size - 1] = (-1) ** row * signs[i]
            right[row] = weight * (value - polynomial(list(forced) or [0], x))
        solution = mp.lu_solve(matrix, right)
        values = [sign * e for sign, e in zip(signs, errors(points, [*forced, *solution[: size - 1]]), strict=True)]
        largest = max(map(abs, values))
        if largest < smallest:
            best, smallest = list(solution[: size - 1]), largest
        reference = extrema(values, size)
        if len(reference) < size or largest <= 1.0001 * abs(solution[size - 1]):
            break
    return best


def solve(fit: Fit) -> tuple[list[float], float]:
    """Return the coefficients above the forced ones, as float64 numbers, and the largest weighted error."""
    points = sample(fit, 60 * (fit.degree + 1))
    coefficients = list(fit.forced)
    free: list[Any] = [mp.mpf(0)] * (fit.degree + 1 - len(coefficients))
    while free:
        first, *free = remez(points, coefficients, free)
        coefficients.append(float(first))
    return coefficients[len(fit.forced) :], float(max(map(abs, errors(points, coefficients))))


def main(names: Sequence[str]) -> None:
    """Print the tables called `names`, or all of them."""
    for fit in FITS:
        if not names or fit.name in names:
            coefficients, error = solve(fit)
            print(f"{fit.name} = (  # largest error {error:.2g}, 2**{np.log2(error):.1f}")
            print(*(f"    {c!r}," for c in coefficients), ")", sep="\n")


if __name__ == "__main__":
    main(sys.argv[1:])

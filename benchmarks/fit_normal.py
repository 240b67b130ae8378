"""Fit the rational function behind `normal_cdf` and print its tables as Python source.

Run ``python benchmarks/fit_normal.py``. With R(a) = Phi(-a) * exp(a*a/2), where Phi is the distribution function of the
standard normal distribution, P/S approximates 1/R(a) - sqrt(2*pi)*a such that the relative error of R, as computed from
it, is the least possible (Remez exchange). The constant terms are given, P(0) = 2 and S(0) = 1. The other coefficients
are rounded to the format one by one, lowest power first, and the remaining ones fitted again by least squares.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mpmath as mp
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

mp.mp.dps = 90
SQRT_2PI = mp.sqrt(2 * mp.pi)
CONSTANT_P, CONSTANT_S = 2, 1
# Name, format, degree of P (that of S is one more) and the end of the interval, which starts at zero.
FITS = [("float32", "float32", 4, 16), ("float32 in float64", "float64", 5, 16), ("float64", "float64", 9, 50)]

Point = tuple[Any, Any, Any]  # a, what is approximated there, and the weight of its error


def point(a: Any) -> Point:
    """Evaluate at `a` what is approximated, and the weight that makes its error the relative error of R."""
    reciprocal = 2 / (mp.erfc(a / mp.sqrt(2)) * mp.exp(a * a / 2))
    return a, reciprocal - SQRT_2PI * a, 1 / reciprocal


def polynomial(coefficients: Sequence[Any], x: Any) -> Any:
    """Evaluate a polynomial, lowest power first."""
    return mp.polyval(list(reversed(coefficients)), x)


def error(at: Point, p: Sequence[Any], s: Sequence[Any]) -> Any:
    """Weighted error of P/S."""
    a, value, weight = at
    return weight * (value - polynomial(p, a) / polynomial(s, a))


def level(reference: Sequence[Point], degree: int, s: list[Any]) -> tuple[list[Any], list[Any], Any]:
    """Return P, S and the e such that the errors at the reference points are e and -e in turn.

    The product of e and S makes the equations nonlinear; it is formed with the S of the step before until that settles.
    """
    size = 2 * degree + 2
    e = mp.mpf(0)
    p: list[Any] = []
    for _ in range(12):
        matrix, right = mp.matrix(size, size), mp.matrix(size, 1)
        for row, (a, value, weight) in enumerate(reference):
            for power in range(1, degree + 1):
                matrix[row, power - 1] = a**power
            for power in range(1, degree + 2):
                matrix[row, degree + power - 1] = -value * a**power
            matrix[row, size - 1] = (-1) ** row / weight * polynomial(s, a)
            right[row] = value * CONSTANT_S - CONSTANT_P
        solution = list(mp.lu_solve(matrix, right))
        p, s = [CONSTANT_P, *solution[:degree]], [CONSTANT_S, *solution[degree:-1]]
        previous, e = e, solution[-1]
        if abs(e - previous) < abs(e) * mp.mpf(10) ** -12:
            break
    return p, s, e


def minimax(points: Sequence[Point], degree: int) -> tuple[list[Any], list[Any]]:
    """Return P and S by the exchange algorithm, on points dense enough to stand for the interval."""
    size = 2 * degree + 2
    reference = [points[round((i + 0.5) / size * (len(points) - 1))] for i in range(size)]
    p: list[Any] = []
    s: list[Any] = [CONSTANT_S]
    for _ in range(30):
        p, s, e = level(reference, degree, s)
        peaks: list[tuple[Any, Point]] = []
        for at in points:
            value = error(at, p, s)
            if peaks and value * peaks[-1][0] >= 0:
                if abs(value) > abs(peaks[-1][0]):
                    peaks[-1] = value, at
            else:
                peaks.append((value, at))
        while len(peaks) > size:
            peaks.pop(0 if abs(peaks[0][0]) < abs(peaks[-1][0]) else -1)
        reference = [at for _, at in peaks]
        if len(peaks) < size or max(abs(value) for value, _ in peaks) <= 1.001 * abs(e):
            break
    return p, s


def rounded(points: Sequence[Point], p: list[Any], s: list[Any], form: str) -> tuple[list[float], list[float]]:
    """Round the coefficients one by one, by growing power, correcting the others by linearised least squares."""
    order = sorted(
        [(power, s, 1) for power in range(1, len(s))] + [(power, p, 0) for power in range(1, len(p))],
        key=lambda item: (item[0], -item[2]),
    )
    while order:
        power, coefficients, _ = order.pop(0)
        coefficients[power] = mp.mpf(float(np.dtype(form).type(float(coefficients[power]))))
        if not order:
            break
        matrix, right = mp.matrix(len(points), len(order)), mp.matrix(len(points), 1)
        for row, at in enumerate(points):
            a, _, weight = at
            p_value, s_value = polynomial(p, a), polynomial(s, a)
            right[row] = error(at, p, s)
            for column, (other, _, in_s) in enumerate(order):
                derivative = -p_value / s_value**2 if in_s else 1 / s_value
                matrix[row, column] = weight * derivative * a**other
        for (other, others, _), change in zip(order, mp.lu_solve(matrix, right), strict=True):
            others[other] += change
    return list(map(float, p)), list(map(float, s))


def main() -> None:
    """Print both tables and the largest errors."""
    tables: dict[str, list[str]] = {"NORMAL_P": [], "NORMAL_S": []}
    for key, form, degree, end in FITS:
        count = 60 * (degree + 1)
        # The square concentrates the points where the function varies.
        points = [point(end * ((1 - mp.cos(mp.pi * i / count)) / 2) ** 2) for i in range(count + 1)]
        p, s = rounded(points[::5], *minimax(points, degree), form)
        largest = max(abs(error(at, p, s)) for at in points)
        for name, coefficients in (("NORMAL_P", p), ("NORMAL_S", s)):
            tables[name].append(f'    "{key}": (  # largest error 2**{float(mp.log(largest, 2)):.1f}')
            tables[name].extend(f"        {np.dtype(form).type(c)!s}," for c in coefficients)
            tables[name].append("    ),")
    for name, lines in tables.items():
        print(f"{name} = {{", *lines, "}", sep="\n")


if __name__ == "__main__":
    main()

"""Exact derivatives of the smooth functions, from their textbook definitions.

A Taylor polynomial in mpmath numbers goes through the definition. The precision is so large that whatever cancels
between the largest and the smallest float64, these definitions keep more than a hundred bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mpmath

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ORDER = 4  # of the highest derivative
NUMBERS: Any = mpmath.MPContext()
NUMBERS.prec = 2400  # exp(-745)**2 beside 1, or 1e-323 squared


class Taylor:
    """The first coefficients of a power series."""

    def __init__(self, *coefficients: Any) -> None:
        self.c = [*coefficients, *[NUMBERS.zero] * (ORDER + 1 - len(coefficients))]

    def __add__(self, other: Any) -> Taylor:
        return Taylor(*(a + b for a, b in zip(self.c, lifted(other).c, strict=True)))

    def __mul__(self, other: Any) -> Taylor:
        a, b = self.c, lifted(other).c
        return Taylor(*(NUMBERS.fdot((a[j], b[k - j]) for j in range(k + 1)) for k in range(ORDER + 1)))

    def __truediv__(self, other: Any) -> Taylor:
        b, quotient = lifted(other).c, []
        for k in range(ORDER + 1):
            quotient.append((self.c[k] - NUMBERS.fdot((quotient[j], b[k - j]) for j in range(k))) / b[0])
        return Taylor(*quotient)

    def __neg__(self) -> Taylor:
        return Taylor(*(-a for a in self.c))

    def __sub__(self, other: Any) -> Taylor:
        return self + -lifted(other)

    def __rsub__(self, other: Any) -> Taylor:
        return lifted(other) - self

    def __rtruediv__(self, other: Any) -> Taylor:
        return lifted(other) / self

    __radd__ = __add__
    __rmul__ = __mul__

    def __gt__(self, number: float) -> bool:
        return bool(self.c[0] > number)

    @property
    def slope(self) -> Taylor:
        return Taylor(*(k * self.c[k] for k in range(1, ORDER + 1)))

    def integral(self, start: Any) -> Taylor:
        return Taylor(start, *(self.c[k] / (k + 1) for k in range(ORDER)))


def lifted(value: Any) -> Taylor:
    return value if isinstance(value, Taylor) else Taylor(NUMBERS.mpf(value))


def exp(x: Taylor) -> Taylor:
    found, slope = [NUMBERS.exp(x.c[0])], x.slope.c
    for k in range(ORDER):
        found.append(NUMBERS.fdot((slope[j], found[k - j]) for j in range(k + 1)) / (k + 1))
    return Taylor(*found)


def log(x: Taylor) -> Taylor:
    return (x.slope / x).integral(NUMBERS.log(x.c[0]))


def sqrt(x: Taylor) -> Taylor:
    found = [NUMBERS.sqrt(x.c[0])]
    for k in range(1, ORDER + 1):
        found.append((x.c[k] - NUMBERS.fdot((found[j], found[k - j]) for j in range(1, k))) / (2 * found[0]))
    return Taylor(*found)


def logistic(x: Taylor) -> Taylor:
    return 1 / (1 + exp(-x)) if x > 0 else exp(x) / (1 + exp(x))


def tanh(x: Taylor) -> Taylor:
    return 2 * logistic(2 * x) - 1


def softplus(x: Taylor) -> Taylor:
    return x + log(1 + exp(-x)) if x > 0 else log(1 + exp(x))


def normal_cdf(x: Taylor) -> Taylor:
    """Only its derivatives are needed exactly where mpmath's function of a large argument fails."""
    at = x.c[0]
    start = NUMBERS.erfc(-at / NUMBERS.sqrt(2)) / 2 if abs(at) < 100 else NUMBERS.mpf(at > 0)
    return (exp(-x * x / 2) / NUMBERS.sqrt(2 * NUMBERS.pi) * x.slope).integral(start)


def gelu(x: Taylor, approximate: str = "none") -> Taylor:
    if approximate == "none":
        return x * normal_cdf(x)
    return x / 2 * (1 + tanh(NUMBERS.sqrt(2 / NUMBERS.pi) * (x + NUMBERS.mpf("0.044715") * x * x * x)))


def selu(x: Taylor) -> Taylor:
    scale, depth = NUMBERS.mpf("1.05070098735548049341933498529460635"), NUMBERS.mpf("1.75809934084737685994021752081")
    return scale * x if x > 0 else depth * (exp(x) - 1)


DEFINITIONS: dict[str, Callable[..., Taylor]] = {
    "celu": lambda x, alpha: x if x > 0 else alpha * (exp(x / alpha) - 1),
    "elu": lambda x, alpha: x if x > 0 else alpha * (exp(x) - 1),
    "gaussian": lambda x: exp(-x * x),
    "gelu": gelu,
    "identity": lambda x: x,
    "log_sigmoid": lambda x: -softplus(-x),
    "logit": lambda x: log(x / (1 - x)),
    "mish": lambda x: x * tanh(softplus(x)),
    "quick_gelu": lambda x: x * logistic(NUMBERS.mpf("1.702") * x),
    "selu": selu,
    "sigmoid": logistic,
    "silu": lambda x, beta: x * logistic(beta * x),
    "softplus": lambda x, beta: softplus(beta * x) / beta,
    "softsign": lambda x: x / (1 + x) if x > 0 else x / (1 - x),
    "squareplus": lambda x, b: (x + sqrt(x * x + b)) / 2,
    "tanh": tanh,
    "tanh_offset": lambda x: (1 + tanh(x)) / 2,
    "tanh_shrink": lambda x: x - tanh(x),
}
"""Every function whose docstring says that it is smooth, perhaps but at 0."""


def derivatives(
    name: str, at: Mapping[str, float], along: Mapping[str, int], options: Mapping[str, str] | None = None
) -> list[Any]:
    """Return a value and its derivatives along a direction in the space of `x` and the hyperparameters."""
    arguments = {key: Taylor(NUMBERS.mpf(value), NUMBERS.mpf(along.get(key, 0))) for key, value in at.items()}
    assert name in DEFINITIONS, f"{name} is smooth: add its definition to DEFINITIONS of tests/support/taylor.py"
    series = lifted(DEFINITIONS[name](**arguments, **(options or {})))
    return [coefficient * NUMBERS.factorial(k) for k, coefficient in enumerate(series.c)]

"""What the functions of `simd` promise (largest error, domain, flags), measured against mpmath.

As a program, ``python test_contracts.py 100000``, it measures at so many points, and as many around the worst of them.
"""

from __future__ import annotations

import inspect
import math
import re
import sys
from typing import TYPE_CHECKING, Any

import mpmath
import numpy as np
import pytest
from numba import vectorize

from actufunc._formats import FLOAT32, FLOAT64
from actufunc.accuracy import sample
from actufunc.backends.coefficients import RAISING_POWER
from actufunc.backends.numpy.jit import compiler, intrinsics
from actufunc.backends.numpy.simd import contract, exponential, float32

if TYPE_CHECKING:
    from collections.abc import Callable

    from actufunc.backends.numpy.simd.contract import Contract

    Array = np.ndarray[Any, Any]

CONTEXT = mpmath.MPContext()
CONTEXT.prec = 240
mp: Any = CONTEXT
WIDE = 2.0**-860  # second words, and remainders, of smaller numbers may underflow

# ruff: noqa: PLW0108 -- mpmath's functions tell wrongly how many arguments they take
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "exp": lambda x: mp.exp(x),
    "expm1": lambda x: mp.expm1(x),
    "logistic": lambda x: 1 / (1 + mp.exp(-x)),
    "tanh": lambda x: mp.tanh(x),
    "log": lambda x: mp.log(x),
    "log1p": lambda x: mp.log1p(x),
    "softplus": lambda x: mp.log1p(mp.exp(x)),
    "normal_cdf": lambda x: mp.erfc(-max(min(x, 10**6), -(10**6)) / mp.sqrt(2)) / 2,
    "normal_pdf": lambda x: mp.exp(-x * x / 2) / mp.sqrt(2 * mp.pi),
    "sqrt": lambda x: mp.sqrt(x),
    "exp_words": lambda x: mp.exp(x),
    "multiply": lambda x, y: x * y,
    "divide": lambda x, y: x / y,
    "negative": lambda x: -x,
}
RELATED: dict[str, dict[str, Callable[..., Any]]] = {
    "scaled_expm1": {"scaled_expm1(x, y, wide_divide(x, y))": lambda x, y: y * mp.expm1(x / y)},
    "softplus_over": {f"softplus_over({x}, y)": lambda x, y: FUNCTIONS["softplus"](x) / y for x in ("x", "xx")},
    "wide_add": {"wide_add(x, y)": lambda x, y: x + y},
    "wide_subtract": {"wide_subtract(x, y)": lambda x, y: x - y},
    "divided": {f"divided({x}, yy[0], yy[1], 1.0 / y)": lambda x, y: x / y for x in ("x", "xx")},
}
"""Calls whose arguments depend on each other, or are not taken of any kind."""
RESTRICTED = {text: 100.0 if "expm1" in text else 2.0**1000 for calls in RELATED.values() for text in calls}


class Probe:
    """A function of the vocabulary, called on arrays.

    Parameters
    ----------
    function : callable
        Function of `simd`, with a contract.
    text : str
        A call, of the names x and y for floats and of xx and yy for double words.
    exact : callable
        The same function of one or two mpmath numbers.
    """

    def __init__(self, function: Callable[..., Any], text: str, exact: Callable[..., Any]) -> None:
        self.promise: Contract = contract.CONTRACTS[function]
        self.text, self._exact = text, exact
        self._arity = len(inspect.signature(exact).parameters)
        self._power = RAISING_POWER if text.startswith("raised_") else 0
        self.is_double = text.startswith(("wide_", "raised_", "exp_words"))
        module: Any = sys.modules[function.__module__]
        self.form = FLOAT32 if module is float32 else FLOAT64
        self.least = WIDE if self.is_double or text in RESTRICTED else 0.0
        self.largest = float(np.finfo(self.form.name).max)
        self._bends = [abs(each) for value in vars(module).values() for each in np.ravel(value) if type(each) is float]

    def __repr__(self) -> str:
        return self.text

    def arguments(self, points: int, near: float | None = None) -> list[Array]:
        """Return x and y, each in two words; x everywhere, or near a number."""
        random = np.random.default_rng(0)
        reduction = np.concatenate([(np.arange(40) + 0.5) * math.log(2), 0.75 * np.exp2(np.arange(-8.0, 9))])
        around = np.outer([*self._bends, *reduction], 1 + np.arange(-3, 4) * 2.0**-self.form.mantissa_bits).ravel()
        x = np.concatenate([sample(self.form.name, points), around, -around]).astype(self.form.name)
        if near is not None:
            x = (min(near, 1e300) * random.uniform(0.97, 1.03, points)).astype(self.form.name)
        x = x.astype(np.float64)
        if "times_" in self.text:
            x = x[abs(x) <= exponential.LIMIT]
        if self.text in RESTRICTED:
            x = x[abs(x) < RESTRICTED[self.text]]
        y = random.choice([-1, 1], x.size) * random.uniform(0.2, 3, x.size)
        if "times_" in self.text:
            y[::2] = np.ldexp(y[::2], random.integers(-1000, 700, y[::2].size))
        if "xx" not in self.text and "yy" not in self.text:
            return [x, np.zeros_like(x), y[: x.size], np.zeros_like(x)]
        low = [np.where(abs(a) > 2.0**-800, a * random.uniform(-0.5, 0.5, a.size) * 2.0**-53, 0) for a in (x, y)]
        low[0][~np.isfinite(x) | (("log1p" in self.text) & (x + 1 < 2.0**-8))] = 0  # it counts to first order there
        return [x, low[0] * ("xx" in self.text), y, low[1]]

    def __call__(self, arguments: list[Array]) -> tuple[Array, Array, Callable[[Array], set[str]]]:
        """Return both words of all results, and a function that returns the flags raised at some of the arguments."""
        body = "    xx = (x, x_low)\n    yy = (y, y_low)\n"
        words = ("[0]", "[1]") if self.is_double else ("",)
        signature = ["float64(float64, float64, float64, float64)"]
        ufuncs = [
            vectorize(signature)(
                compiler.function("probe", f"def probe(x, x_low, y, y_low):\n{body}    return {self.text}{word}\n")
            ).ufunc
            for word in words
        ]

        def flags(chosen: Array) -> set[str]:
            found: set[str] = set()
            before = np.seterrcall(lambda name, _: found.add(name.split()[0]))
            try:
                with np.errstate(all="call"):
                    for ufunc in ufuncs:
                        ufunc(*(each[chosen] for each in arguments))
            finally:
                np.seterrcall(before)
            return found

        with np.errstate(all="ignore"):
            high, low = (*(ufunc(*arguments) for ufunc in ufuncs), np.zeros(arguments[0].size))[:2]
        return high, low, flags

    def error(self, arguments: list[Array], high: Array, low: Array) -> tuple[float, float, float]:
        """Return the largest error in ulp at finite arguments, and where it is."""
        overflow = mp.ldexp(2 - mp.mpf(2) ** -53, FLOAT64.bias)
        worst = 0.0, 0.0, 0.0
        for *given, one, other in zip(*(each.tolist() for each in (*arguments, high, low)), strict=True):
            x, y = (mp.mpf(given[i]) + mp.mpf(given[i + 1]) for i in (0, 2))
            if not math.isfinite(given[0]):
                continue
            if x < self.promise.least:
                assert math.isnan(one), (self.text, given, one)
                continue
            exact = mp.ldexp(self._exact(*[x, y][: self._arity]), self._power)
            if mp.isinf(exact) or abs(exact) >= overflow:
                assert one == exact or abs(one) > self.largest, (self.text, given, one)
            elif min(abs(exact), abs(x)) < self.least:
                continue
            elif mp.mag(exact) <= self.form.bias + 1:
                unit = max(mp.mag(exact) - 1, self.form.lowest) - self.form.mantissa_bits
                error = float(abs(mp.mpf(one) + mp.mpf(other) - exact) / mp.ldexp(1, unit))
                worst = max(worst, (error, given[0], given[2]))
        return worst


def times(function: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    """Return ``y * function(x)``."""
    return lambda x, y: y * function(x)


def probes() -> list[Probe]:
    """Return those of each function that has a contract: of one word, of two words, with a factor."""
    found = []
    assert intrinsics.NAMES  # the import of which enters all contracts
    for function in contract.CONTRACTS:
        name, parameters = function.__name__, inspect.signature(function).parameters
        calls = RELATED.get(name)
        if calls is None:
            exact = FUNCTIONS[re.sub("^(wide|raised)_", "", name)]
            arity = len(inspect.signature(exact).parameters) if name.startswith("wide_") else 1
            first = next(iter(parameters.values()))
            forms = ["x", "xx"] if first.annotation == "Argument" else ["x"]
            prefix = "single_" if function.__module__ == float32.__name__ else ""
            calls = {f"{prefix}{name}({', '.join([form, form.replace('x', 'y')][:arity])})": exact for form in forms}
            if "times" in parameters:
                calls |= {f"times_{name}({form.replace('x', 'y')}, {form})": times(exact) for form in forms}
        found += [Probe(function, text, exact) for text, exact in calls.items()]
    return found


PROBES = probes()


class Measured:
    """Largest error and flags of a function, at a number of points everywhere or near one."""

    def __init__(self, probe: Probe, points: int, near: float | None = None) -> None:
        arguments = probe.arguments(points, near)
        high, low, flags = probe(arguments)
        self.error, self.x, self.y = probe.error(arguments, high, low)
        is_finite = np.isfinite(arguments[0])
        is_normal = (abs(high) > max(probe.form.smallest_normal, probe.least)) & (abs(high) <= probe.largest)
        is_normal &= abs(arguments[0]) >= probe.least
        self.flags, self.in_vain = flags(is_finite), flags(is_finite & is_normal)


@pytest.mark.parametrize("probe", PROBES, ids=repr)
def test_contract(probe: Probe) -> None:
    measured, promise = Measured(probe, 1000), probe.promise
    assert measured.error <= promise.ulp, (measured.x, measured.y)
    assert measured.flags <= set(promise.flags.split())  # some need arguments that are rare
    assert measured.in_vain == set(promise.in_vain.split())


if __name__ == "__main__":
    for each in PROBES:
        found = Measured(each, int(sys.argv[1]))
        found = max(found, Measured(each, int(sys.argv[1]), found.x), key=lambda measured: measured.error)
        at = f"{found.error:.4g} ulp at x={found.x!r}, y={found.y!r}"
        print(f"{each.text}: {at}; flags {sorted(found.flags)}, in vain {sorted(found.in_vain)}", flush=True)  # noqa: T201

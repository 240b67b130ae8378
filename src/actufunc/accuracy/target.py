"""The target of a measurement: the values or the gradients of a function."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from actufunc._docstrings import properties

from . import ulp_error
from ._breakpoints import breakpoints
from ._exact import reference

if TYPE_CHECKING:
    from actufunc import Activation
    from actufunc._docstrings import Properties

    from .findings import Findings

    Array = np.ndarray[Any, Any]

__all__ = ["NEAR_ROOT", "OF_TERMS", "Target"]

NEAR_ROOT, OF_TERMS = 2.0, 0.25
"""Distance from zero within which roots of a derivative are searched, and magnitude of the terms that cancel there."""

_SEARCHED = 1 << 12  # points between which a root is looked for
_LOOP = 100  # elements that go through the vectorised body of a loop


@dataclass(frozen=True)
class Target:
    """Values of an elementwise function, or its derivative by `x`, to be measured.

    `keywords` are hyperparameters and options that differ from the defaults.
    """

    function: Activation
    gradient: bool = False
    keywords: dict[str, Any] = field(default_factory=dict)

    @functools.cached_property
    def measured(self) -> Activation:
        """The function that is called: `function` or its derivative."""
        return self.function.grad if self.gradient else self.function

    @functools.cached_property
    def properties(self) -> Properties:
        """Documented properties of the function, or what follows for its derivative."""
        documented = properties(self.function, **self.keywords)
        return documented.of_derivative() if self.gradient else documented

    @functools.cached_property
    def has_root(self) -> bool:
        """True if the derivative changes its sign near zero, but not at zero."""
        if not self.gradient:
            return False
        left = np.linspace(-NEAR_ROOT, 0, _SEARCHED)[1:-1]
        with np.errstate(all="ignore"):
            signs = [np.sign(self(x)) for x in (left, -left)]
        return any(bool((each[1:] * each[:-1] < 0).any()) for each in signs)

    @functools.cached_property
    def hyperparameters(self) -> dict[str, float]:
        """Values of all hyperparameters."""
        defaults = self.function.definition.hyperparameters
        return {name: self.keywords.get(name, default) for name, default in defaults.items()}

    @functools.cached_property
    def breakpoints(self) -> Array:
        """Breakpoints of the formula."""
        definition = self.measured.definition
        options = {name: self.keywords.get(name, default) for name, default in definition.options.items()}
        return breakpoints(definition.computed(options), self.hyperparameters)

    def __call__(self, x: Array) -> Array:
        """Compute the values or gradients."""
        result: Array = self.measured(x, **self.keywords)
        return result

    def in_float64(self, x: Array) -> Array:
        """Compute the same in float64, with hyperparameters rounded to float32."""
        rounded = {name: float(np.float32(value)) for name, value in self.hyperparameters.items()}
        result: Array = self.measured(x, **{**self.keywords, **rounded})
        return result

    def errors(self, x: Array) -> tuple[Array, Array]:
        """Return errors against mpmath in ulp of the terms where they cancel, and in ulp of the results everywhere."""
        with np.errstate(all="ignore"):
            values = self(x)
        exact = reference(self.measured, x, **self.keywords)
        plain = ulp_error(values, exact)
        near = np.abs(x) <= NEAR_ROOT if self.has_root else np.zeros(x.shape, bool)
        judged = plain.copy()
        judged[near] = ulp_error(values[near], exact[near], beside=OF_TERMS)
        return judged, plain

    def check_properties(self, up: tuple[Array, Array], down: tuple[Array, Array], found: Findings) -> None:
        """Note where range, monotonicity or symmetry differ from the docstring.

        `up` and `down` are inputs, which ascend from zero, and results; the same for the negative inputs. The first
        input is only the neighbour of the second: for zero that is the zero of the other sign.
        """
        documented = self.properties
        for (x, y), falls in ((up, np.less), (down, np.greater)):
            # Results rounded to nearest stay within bounds that are rounded to nearest.
            low, high = (y.dtype.type(x.dtype.type(bound)) for bound in (documented.low, documented.high))
            found.violate_at("range", x[1:][(y[1:] < low) | (y[1:] > high)])
            if documented.increasing:
                found.violate_at("monotonicity", x[1:][falls(y[1:], y[:-1])])
        if documented.parity:
            a, b = up[1][1:], down[1][1:]
            differ = a != documented.parity * b
            found.violate_at("symmetry", up[0][1:][differ & ~(np.isnan(a) & np.isnan(b))])

    def check_special_values(self, dtype: np.dtype[Any], found: Findings) -> None:
        """Note where special values, alone and in a loop, differ from the docstring; signs of zeros count."""
        for point, value in self.properties.values:
            expected = np.array(value, dtype)
            for n in (1, _LOOP):
                got = self(np.full(n, point, dtype))
                same = (got == expected) & (np.signbit(got) == np.signbit(expected))
                wrong = not (same | (np.isnan(got) & np.isnan(expected))).all()
                found.violate("special values", int(wrong), [point])

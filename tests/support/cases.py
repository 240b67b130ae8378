"""The catalogue as cases: each activation with each of its options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from actufunc._catalogue import ACTIVATIONS, variants
from actufunc.backends.promotion import keeps_integers

if TYPE_CHECKING:
    from actufunc import Activation


@dataclass(frozen=True)
class Case:
    """An activation with values for what has no default, and one set of options."""

    function: Activation
    keywords: tuple[tuple[str, Any], ...] = ()

    def __repr__(self) -> str:
        chosen = ",".join(f"{key}={value}" for key, value in self.keywords)
        return f"{self.function.__name__}({chosen})" if chosen else self.function.__name__

    def __call__(self, *arrays: Any, **keywords: Any) -> Any:
        return self.function(*arrays, **dict(self.keywords), **keywords)

    @property
    def of_halves(self) -> Case:
        """The same with scalar hyperparameters rounded to float32, as they are beside half-precision arrays."""
        values = self.function.definition.hyperparameters | dict(self.keywords)
        return Case(
            self.function,
            tuple(
                (k, v if isinstance(v, str) else float(np.float32(v)))
                for k, v in values.items()
                if isinstance(v, str | int | float)
            ),
        )

    @property
    def grad(self) -> Case:
        return Case(self.function.grad, self.keywords)

    @property
    def vjp(self) -> Case:
        return Case(self.function.vjp, self.keywords)


def cases(kind: str | None = None) -> list[Case]:
    """Return every activation of the catalogue, or of one kind, with each of its options."""
    found = []
    for function in ACTIVATIONS.values():
        if kind is not None and function.definition.kind != kind:
            continue
        found += [Case(function, tuple(keywords.items())) for keywords in variants(function)]
    return found


ELEMENTWISE = cases("elementwise")
OVER_AXIS = cases("over an axis")
REDUCING = cases("reducing")
GATED = cases("gated")
SORTING = [
    case
    for case in OVER_AXIS
    if any(
        node.operation == "axis_threshold" for node in case.function.definition.computed(dict(case.keywords)).nodes()
    )
]
"""What dask refuses over an axis that lies in several blocks."""


def representatives(of: list[Case]) -> list[Case]:
    """Return one case of every kind: elementwise or over an axis, with hyperparameters or not, exact on integers."""
    kinds: dict[Any, Case] = {}
    for case in of:
        definition = case.function.definition
        exact = keeps_integers(definition.computed(definition.options))
        kinds.setdefault((definition.kind, bool(definition.hyperparameters), exact), case)
    return list(kinds.values())


def as_float64(exact: Any) -> np.ndarray[Any, Any]:
    """Round numbers of mpmath; older versions of NumPy warn of the way in which its NaN becomes one of a float."""
    with np.errstate(invalid="ignore"):
        return np.asarray(exact.astype(np.float64))


def mostly_slow(of: list[Case], quick: list[Case] | None = None) -> list[Any]:
    """Return cases to parametrize a test with, of which these, or one of every kind, are not slow."""
    chosen = representatives(of) if quick is None else quick
    return [case if case in chosen else pytest.param(case, marks=pytest.mark.slow) for case in of]

"""Findings: the result of measuring one function in one dtype."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Findings"]

_SHOWN = 5  # inputs kept of each kind of violation


@dataclass
class Findings:
    """Result of a measurement of all inputs or of a part of them.

    Attributes
    ----------
    inputs : int
        Number of inputs that were tried.
    right, undecided : int
        Number of results that are correctly rounded, and of those that may be: the reference is too near the middle of
        two numbers, and there were too many to ask mpmath. Both stay 0 where it is not counted.
    ulp, at : float
        Largest error in units in the last place, and its input. Next to a root of a derivative, where its terms cancel,
        the unit is that of the terms.
    plain_ulp, plain_at : float
        Largest error in units in the last place of the result everywhere, and its input.
    violations : dict
        Number of inputs that violate each property ("range", "monotonicity", "symmetry", "special values", "rounding",
        "reference"), and the first few of them.
    """

    inputs: int = 0
    right: int = 0
    undecided: int = 0
    ulp: float = 0.0
    at: float = math.nan
    plain_ulp: float = 0.0
    plain_at: float = math.nan
    violations: dict[str, tuple[int, list[float]]] = field(default_factory=dict)

    def add(self, other: Findings) -> None:
        """Add the findings of another part of the inputs."""
        self.inputs += other.inputs
        self.right += other.right
        self.undecided += other.undecided
        self.see(other.ulp, other.at)
        self.see_plain(other.plain_ulp, other.plain_at)
        for name, (count, examples) in other.violations.items():
            self.violate(name, count, examples)

    def see(self, ulp: float, at: float) -> None:
        """Keep an error if it is the largest."""
        if ulp > self.ulp or math.isnan(self.at):
            self.ulp, self.at = ulp, at

    def see_plain(self, ulp: float, at: float) -> None:
        """Keep an error beside the result if it is the largest."""
        if ulp > self.plain_ulp or math.isnan(self.plain_at):
            self.plain_ulp, self.plain_at = ulp, at

    def violate(self, name: str, count: int, examples: list[float]) -> None:
        """Note that a property is violated."""
        if count:
            before, known = self.violations.get(name, (0, []))
            self.violations[name] = before + count, [*known, *examples][:_SHOWN]

    def violate_at(self, name: str, inputs: np.ndarray[Any, Any]) -> None:
        """Note the inputs that violate a property."""
        self.violate(name, inputs.size, inputs[:_SHOWN].astype(float).tolist())

    def as_json(self) -> dict[str, Any]:
        """Return the fields for JSON: infinity and NaN, which it lacks, become strings."""
        return {
            **{name: _as_json(value) for name, value in vars(self).items() if name != "violations"},
            "violations": {
                name: {"inputs": count, "first": [_as_json(x) for x in examples]}
                for name, (count, examples) in self.violations.items()
            },
        }

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Findings:
        """Return the findings that `as_json` gave."""
        numbers: dict[str, Any] = {
            name: value if isinstance(value, int) else float(value)
            for name, value in fields.items()
            if name != "violations"
        }
        violations = {
            name: (each["inputs"], [float(x) for x in each["first"]]) for name, each in fields["violations"].items()
        }
        return cls(**numbers, violations=violations)


def _as_json(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)

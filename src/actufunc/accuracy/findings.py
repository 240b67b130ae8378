"""What a measurement of one function in one dtype has found."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

_SHOWN = 5  # inputs that are kept of each kind of violation


@dataclass
class Findings:
    """What a measurement has found, of all inputs or of a part of them.

    Attributes
    ----------
    inputs : int
        How many were tried.
    right, undecided : int
        How many results are correctly rounded, and of how many that is not known: the reference is too near the middle
        of two numbers, and there were too many to ask mpmath. Both stay 0 where it is not counted.
    ulp, at : float
        The largest error in units in the last place, and the input. Where the terms of a derivative cancel, next to a
        root of it, the error is that beside the terms.
    plain_ulp, plain_at : float
        The same beside the result everywhere.
    violations : dict
        By what does not hold ("range", "monotonicity", "symmetry", "special values", "rounding", "reference"), the
        number of inputs where it does not, and the first few of them.
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
        """Add what another part of the inputs has shown."""
        self.inputs += other.inputs
        self.right += other.right
        self.undecided += other.undecided
        self.see(other.ulp, other.at)
        self.see_plain(other.plain_ulp, other.plain_at)
        for what, (count, examples) in other.violations.items():
            self.violate(what, count, examples)

    def see(self, ulp: float, at: float) -> None:
        """Keep an error if it is the largest."""
        if ulp > self.ulp or math.isnan(self.at):
            self.ulp, self.at = ulp, at

    def see_plain(self, ulp: float, at: float) -> None:
        """Keep an error beside the result if it is the largest."""
        if ulp > self.plain_ulp or math.isnan(self.plain_at):
            self.plain_ulp, self.plain_at = ulp, at

    def violate(self, what: str, count: int, examples: list[float]) -> None:
        """Note that something does not hold."""
        if count:
            before, known = self.violations.get(what, (0, []))
            self.violations[what] = before + count, [*known, *examples][:_SHOWN]

    def violate_at(self, what: str, inputs: np.ndarray[Any, Any]) -> None:
        """Note at which inputs something does not hold."""
        self.violate(what, inputs.size, inputs[:_SHOWN].astype(float).tolist())

    def as_json(self) -> dict[str, Any]:
        """Return the fields as JSON has them: infinity and NaN, which it lacks, become strings."""
        return {
            **{name: _written(value) for name, value in vars(self).items() if name != "violations"},
            "violations": {
                what: {"inputs": count, "first": [_written(x) for x in examples]}
                for what, (count, examples) in self.violations.items()
            },
        }

    @classmethod
    def of_json(cls, fields: dict[str, Any]) -> Findings:
        """Return what `as_json` has written."""
        numbers: dict[str, Any] = {
            name: value if isinstance(value, int) else float(value)
            for name, value in fields.items()
            if name != "violations"
        }
        violations = {
            what: (each["inputs"], [float(x) for x in each["first"]]) for what, each in fields["violations"].items()
        }
        return cls(**numbers, violations=violations)


def _written(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)

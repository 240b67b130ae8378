"""Results of `report.py`: kept as JSON, with the figures that every report needs."""

from __future__ import annotations

import json
import math
import statistics
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

OURS = "actufunc"
BASELINE = "np.exp"  # not a peer: the cost of a call on one element
COPY = "copy"  # not a peer: the cost of memory for large arrays, by torch, whose copies use all threads
NO_PEERS = frozenset({OURS, BASELINE, COPY})
CLEAR = 1.05  # a ratio of times that a repetition would not reverse

Errors = dict[str, dict[str, dict[str, float]]]  # largest one in ulp by function, dtype and library


@dataclass
class CpuRow:
    """The results of one case.

    Attributes
    ----------
    function, dtype, size, output, threads
        The case.
    times : dict
        Nanoseconds per element by library.
    memory : dict
        Extra memory by library, in multiples of the input.
    at_work : dict
        Processor time of all threads over wall time, by library.
    """

    function: str
    dtype: str
    size: int
    output: str
    threads: int
    times: dict[str, float] = field(default_factory=dict)
    memory: dict[str, float] = field(default_factory=dict)
    at_work: dict[str, float] = field(default_factory=dict)

    @property
    def ours(self) -> float:
        """Our time."""
        return self.times[OURS]

    @property
    def fastest(self) -> str | None:
        """The fastest peer; None if there is no peer."""
        return min(self.times.keys() - NO_PEERS, key=lambda name: (self.times[name], name), default=None)

    @property
    def ratio(self) -> float:
        """The time of the fastest peer over ours."""
        return math.nan if self.fastest is None else self.times[self.fastest] / self.ours


@dataclass
class CpuResults:
    """The results of all cases.

    Attributes
    ----------
    machine : dict
        Facts in words: processor, caches, versions and so on.
    rows : list of CpuRow
        The results of each case.
    errors : dict
        Largest errors in ulp by function, dtype and library.
    """

    machine: dict[str, str] = field(default_factory=dict)
    rows: list[CpuRow] = field(default_factory=list)
    errors: Errors = field(default_factory=dict)

    def beside(self, ulp: float) -> list[CpuRow]:
        """Return the cases without peers whose error is a bound or more."""
        return [
            replace(
                row,
                times={
                    name: time for name, time in row.times.items() if name in NO_PEERS or self._is_below(ulp, row, name)
                },
            )
            for row in self.compared
        ]

    def _is_below(self, ulp: float, row: CpuRow, name: str) -> bool:
        return self.errors.get(row.function, {}).get(row.dtype, {}).get(name, math.inf) < ulp

    @classmethod
    def load(cls, file: Path) -> CpuResults:
        """Read a file that `save` has written."""
        kept = json.loads(file.read_text(encoding="utf-8"))
        return cls(kept["machine"], [CpuRow(**row) for row in kept["rows"]], kept["errors"])

    def save(self, file: Path) -> None:
        """Write a file with one row a line, so that a diff of two files is readable."""
        rows = ",\n".join(json.dumps(_short(asdict(row))) for row in self.rows)
        machine, errors = json.dumps(self.machine, indent=1), json.dumps(_short(self.errors))
        text = f'{{"machine": {machine},\n"errors": {errors},\n"rows": [\n{rows}\n]}}\n'
        file.write_text(text, encoding="utf-8")

    @property
    def compared(self) -> list[CpuRow]:
        """The cases that a peer takes part in."""
        return [row for row in self.rows if row.fastest is not None]

    @property
    def losses(self) -> list[CpuRow]:
        """The cases in which a peer is faster, the worst first."""
        return sorted((row for row in self.compared if row.ratio < 1), key=lambda row: row.ratio)


def _short(value: Any) -> Any:
    """Round the numbers in nested dictionaries to five digits."""
    if isinstance(value, dict):
        return {key: _short(each) for key, each in value.items()}
    return float(f"{value:.5g}") if isinstance(value, float) else value


def names(tables: Iterable[dict[str, float]]) -> list[str]:
    """Return the names of libraries, ours first, then the peers."""
    return [OURS, *(name for name in dict.fromkeys(name for table in tables for name in table) if name not in NO_PEERS)]


def mean(ratios: Iterable[float]) -> float:
    """Return the geometric mean of the ratios that are not NaN."""
    known = [ratio for ratio in ratios if not math.isnan(ratio)]
    return statistics.geometric_mean(known) if known else math.nan


def against(peer: str, rows: Iterable[CpuRow]) -> list[float]:
    """Return how many times as fast as one peer we are, in the cases that it takes part in."""
    return [row.times[peer] / row.ours for row in rows if peer in row.times]


def figure(value: float | None) -> str:
    """Write a number with three significant digits."""
    if value is None or math.isnan(value):
        return "-"
    digits = 2 if value < 10 else 1 if value < 100 else 0  # noqa: PLR2004 -- three significant ones
    return f"{value:.{digits}f}"

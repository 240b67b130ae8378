"""What `report.py` has measured: kept as JSON, and the figures that every report of it needs."""

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
BASELINE = "np.exp"  # no peer: what a call costs, timed on one element beside each function
COPY = "copy"  # no peer: what memory costs, timed by torch, whose copies take all threads, on large arrays
NO_PEERS = frozenset({OURS, BASELINE, COPY})
CLEAR = 1.05  # a ratio that a repetition would not reverse

Errors = dict[str, dict[str, dict[str, float]]]  # largest one in ulp by function, dtype and library


@dataclass
class Row:
    """What was measured in one cell.

    Attributes
    ----------
    function, dtype, size, output, threads
        Which cell.
    times : dict
        Nanoseconds per element by library.
    memory : dict
        Extra memory by library, in multiples of the input.
    at_work : dict
        Time of all threads over that of the clock, by library.
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
        """How many times as fast as the fastest peer we are: its time over ours."""
        return math.nan if self.fastest is None else self.times[self.fastest] / self.ours


@dataclass
class Measured:
    """Everything that is kept.

    Attributes
    ----------
    machine : dict
        Facts in words: processor, caches, versions and so on.
    rows : list of Row
        The cells.
    errors : dict
        Largest errors in ulp by function, dtype and library.
    """

    machine: dict[str, str] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    errors: Errors = field(default_factory=dict)

    def beside(self, ulp: float) -> list[Row]:
        """Return the cells, of all peers only those whose error in them is less than this."""
        return [
            replace(
                row,
                times={
                    name: time for name, time in row.times.items() if name in NO_PEERS or self._is_below(ulp, row, name)
                },
            )
            for row in self.compared
        ]

    def _is_below(self, ulp: float, row: Row, name: str) -> bool:
        return self.errors.get(row.function, {}).get(row.dtype, {}).get(name, math.inf) < ulp

    @classmethod
    def load(cls, file: Path) -> Measured:
        """Read what `save` has written."""
        kept = json.loads(file.read_text(encoding="utf-8"))
        return cls(kept["machine"], [Row(**row) for row in kept["rows"]], kept["errors"])

    def save(self, file: Path) -> None:
        """Write all, one row a line, so that a difference between two files is readable."""
        rows = ",\n".join(json.dumps(_short(asdict(row))) for row in self.rows)
        machine, errors = json.dumps(self.machine, indent=1), json.dumps(_short(self.errors))
        text = f'{{"machine": {machine},\n"errors": {errors},\n"rows": [\n{rows}\n]}}\n'
        file.write_text(text, encoding="utf-8")

    @property
    def compared(self) -> list[Row]:
        """The cells that a peer takes part in."""
        return [row for row in self.rows if row.fastest is not None]

    @property
    def losses(self) -> list[Row]:
        """The cells in which a peer is faster, the worst first."""
        return sorted((row for row in self.compared if row.ratio < 1), key=lambda row: row.ratio)


def _short(value: Any) -> Any:
    """Round numbers to five digits, deep inside."""
    if isinstance(value, dict):
        return {key: _short(each) for key, each in value.items()}
    return float(f"{value:.5g}") if isinstance(value, float) else value


def names(tables: Iterable[dict[str, float]]) -> list[str]:
    """Return the libraries, ours first, without those that are no peers."""
    return [OURS, *(name for name in dict.fromkeys(name for table in tables for name in table) if name not in NO_PEERS)]


def mean(ratios: Iterable[float]) -> float:
    """Return the geometric mean of those that are known."""
    known = [ratio for ratio in ratios if not math.isnan(ratio)]
    return statistics.geometric_mean(known) if known else math.nan


def against(peer: str, rows: Iterable[Row]) -> list[float]:
    """Return how many times as fast as one peer we are, in the cells that it takes part in."""
    return [row.times[peer] / row.ours for row in rows if peer in row.times]


def figure(value: float | None) -> str:
    """Write a number with three significant digits."""
    if value is None or math.isnan(value):
        return "-"
    digits = 2 if value < 10 else 1 if value < 100 else 0  # noqa: PLR2004 -- three significant ones
    return f"{value:.{digits}f}"

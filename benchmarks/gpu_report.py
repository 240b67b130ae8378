"""Results of `gpu.py`, and their report: tables, a verdict on the goals, a chart."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from gpu_cases import DTYPES

if TYPE_CHECKING:
    from pathlib import Path

GOALS = {"value": 0.95, "grad": 0.95, "vjp": 0.95, "rows": 0.85}
"""Shares of the copy's bandwidth to be reached with `_GOAL_SIZE` elements."""

_GOAL_SIZE, _GOAL_ULP = 1 << 28, 2.0


@dataclass
class GpuRow:
    """The result of one case: gigabytes per second by library, and of the copy."""

    function: str
    what: str
    dtype: str
    elements: int
    length: int | None
    speed: dict[str, float] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """Our bandwidth over that of the copy."""
        return self.speed["actufunc"] / self.speed["copy"]

    @property
    def goal(self) -> float | None:
        """The share to reach, or None if the array is too small for a goal."""
        if self.elements < _GOAL_SIZE:
            return None
        return GOALS["rows" if self.length else self.what]

    @property
    def fastest(self) -> str | None:
        """The fastest peer, if there is one."""
        others = {name: speed for name, speed in self.speed.items() if name not in {"actufunc", "copy"}}
        return max(others, key=others.__getitem__, default=None)


@dataclass
class GpuResults:
    """The results of all cases."""

    device: str
    tests: str = "not run"
    errors: list[dict[str, Any]] = field(default_factory=list)
    overhead: dict[str, float] = field(default_factory=dict)
    rows: list[GpuRow] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def as_markdown(results: GpuResults) -> str:
    """Return the tables and the verdict."""
    lines = [f"# {results.device}", "", f"Tests: {results.tests}.", ""]
    lines += [
        "## Largest errors, in ulp",
        "",
        "| function | " + " | ".join(DTYPES) + " |",
        "| --- |" + " --- |" * len(DTYPES),
    ]
    for name in dict.fromkeys(each["function"] for each in results.errors):
        of = {each["dtype"]: each for each in results.errors if each["function"] == name}
        texts = (f"{of[d]['ulp']:.3g}" if d in of else "" for d in DTYPES)
        lines.append(f"| {name} | {' | '.join(texts)} |")
    lines += ["", "## A call on a small array, in microseconds of the host", ""]
    lines += [f"- `{name}`: {each:.1f}" for name, each in results.overhead.items()]
    names = [*dict.fromkeys(name for row in results.rows for name in row.speed)]
    lines += ["", "## GB/s", "", f"| function | dtype | elements | {' | '.join(names)} | of the copy |"]
    lines.append("| --- | --- | --- |" + " --- |" * (len(names) + 1))
    for row in results.rows:
        speeds = (f"{row.speed[name]:.0f}" if name in row.speed else "" for name in names)
        exponent = row.elements.bit_length() - 1
        size = f"2^{exponent}" if row.elements == 1 << exponent else f"{row.elements:,}"
        lines.append(f"| {_label(row)} | {row.dtype} | {size} | {' | '.join(speeds)} | {row.share:.0%} |")
    return "\n".join([*lines, "", *_verdict(results), ""])


def _verdict(results: GpuResults) -> list[str]:
    """Return which goals are reached, in words."""
    lines = ["## Goals", ""]
    counting = [row for row in results.rows if row.goal is not None]
    for what, goal in GOALS.items():
        of = [row for row in counting if ("rows" if row.length else row.what) == what]
        if of:
            worst = min(of, key=lambda row: row.share)
            reached = sum(row.share >= goal for row in of)
            lines.append(
                f"- {what}: {reached} of {len(of)} cases reach {goal:.0%} of the copy's bandwidth;"
                f" the least is {worst.share:.0%} ({worst.function}, {worst.dtype})"
            )
    compared = [row for row in results.rows if row.fastest]
    ahead = sum(row.speed["actufunc"] >= row.speed[str(row.fastest)] for row in compared)
    lines.append(f"- ahead of every peer in {ahead} of {len(compared)} cases")
    exact = [each for each in results.errors if each["dtype"] in {"float32", "float64"}]
    if exact:
        within = sum(each["ulp"] <= _GOAL_ULP for each in exact)
        lines.append(f"- {within} of {len(exact)} functions and derivatives within {_GOAL_ULP:g} ulp")
    lines += [f"- left out: {each}" for each in results.left_out]
    lines += [f"- WRONG: {each}" for each in results.wrong]
    return lines


_COLOURS = {"float16": "#4477aa", "bfloat16": "#66ccee", "float32": "#228833", "float64": "#ee6677"}


def draw(results: GpuResults, file: Path) -> None:
    """Draw our share of the copy's bandwidth, for the largest size, by function and dtype."""
    import matplotlib as mpl  # noqa: PLC0415

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    largest = max((row.elements for row in results.rows), default=0)
    rows = [row for row in results.rows if row.elements == largest]
    labels = [*dict.fromkeys(_label(row) for row in rows)]
    figure, axes = plt.subplots(figsize=(7, 1.4 + 0.25 * len(labels)), layout="constrained")
    for number, dtype in enumerate(DTYPES):
        share = {_label(row): row.share for row in rows if row.dtype == dtype}
        places = [labels.index(label) + 0.18 * (number - (len(DTYPES) - 1) / 2) for label in share]
        axes.plot(list(share.values()), places, "o", color=_COLOURS[dtype], label=dtype, markersize=4)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xlim(left=0)
    axes.set_xlabel(f"bandwidth, as a share of a copy's, with {largest:,} elements")
    axes.set_title(results.device, fontsize="medium")
    figure.legend(loc="outside upper center", ncols=len(DTYPES), fontsize="small")
    axes.grid(linewidth=0.3)
    figure.savefig(file, dpi=150, format="png")
    plt.close(figure)


def _label(row: GpuRow) -> str:
    name = row.function if row.what == "value" else f"{row.function}.{row.what}"
    return f"{name}, rows of {row.length}" if row.length else name


def write(results: GpuResults, markdown: Path | None, file: Path | None, png: Path | None) -> None:
    """Write the files that are asked for.

    Parameters
    ----------
    results : GpuResults
        The results.
    markdown, file, png : Path or None
        The files for the tables, for all results as JSON, and for the chart.
    """
    if markdown:
        markdown.write_text(as_markdown(results) + "\n", encoding="utf-8")
    if file:
        file.write_text(json.dumps(asdict(results), indent=1), encoding="utf-8")
    if png and results.rows:
        draw(results, png)

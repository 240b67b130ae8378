"""The tables of ``actufunc verify``."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from actufunc._formats import FORMATS
from actufunc.accuracy.measure import MAGNITUDES
from actufunc.accuracy.target import NEAR_ROOT, OF_TERMS
from actufunc.backends.promotion import HALF_TYPES

from .tasks import problems

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actufunc.accuracy.findings import Findings

    from .tasks import Results, Task

_NOTHING = "-"


def table(results: Results) -> Table:
    """Return a table with one row for the values of each function, and one for its gradients."""
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 0, 0, 1))
    made.add_column("", overflow="fold")
    for dtype in FORMATS:
        made.add_column(f"{dtype}\n{'wrong' if dtype in HALF_TYPES else 'ulp'}", justify="right")
    made.add_column("float32\nright", justify="right")
    made.add_column("")
    for row in _rows(results):
        task = next(iter(row.values()))
        holds = not any(problems(each, results) for each in row.values())
        cells = [_figure(row[dtype], _found(results, row[dtype])) if dtype in row else _NOTHING for dtype in FORMATS]
        float32 = row.get("float32")
        made.add_row(
            Text(f"{task.title} {task.what}", "bold" if not task.gradient else ""),
            *cells,
            _NOTHING if float32 is None else _share(_found(results, float32)),
            Text("holds", "green") if holds else Text("fails", "red"),
        )
    return made


def _rows(results: Results) -> Iterator[dict[str, Task]]:
    """Yield the tasks that differ only in their dtypes, by dtype."""
    for _, group in itertools.groupby(results.records, lambda task: (task.title, task.what)):
        yield {task.dtype: task for task in group}


def _found(results: Results, task: Task) -> Findings:
    return results.records[task].findings


def _figure(task: Task, found: Findings) -> str:
    if task.dtype in HALF_TYPES:
        return f"{found.violations.get('rounding', (0, []))[0]:,}"
    return f"{found.ulp:.3f}{'*' if _is_marked(found) else ''}"


def _share(found: Findings) -> str:
    # Rounded down, so that 100 % means all.
    share = int(found.right / found.inputs * 1e5) / 1e3
    return f"{share:.3f}%"


def legend(results: Results) -> list[str]:
    """Return explanations of the table."""
    lines = [
        "ulp: the largest error in units in the last place; 0.5 is correct rounding.",
        "right: the share of inputs that give the number nearest to the exact value; wrong: how many do not.",
    ]
    lines += [f"{dtype}: {text}" for dtype in FORMATS if (text := _inputs(results, dtype))]
    if any(_found(results, task).undecided for task in results.records):
        lines.append(
            "undecided, and not counted as right: so near the middle of two numbers that the reference in float64"
            " cannot tell, and too many to ask mpmath."
        )
    if any(_is_marked(found) for task in results.records if (found := _found(results, task))):
        lines.append(
            f"*: next to a root, |x| <= {NEAR_ROOT:g}, the error of a gradient is that beside its terms, of magnitude"
            f" {OF_TERMS:g}, which cancel there; over an axis it is that beside 1."
        )
    return lines


def _is_marked(found: Findings) -> bool:
    return found.ulp != found.plain_ulp


def _inputs(results: Results, dtype: str) -> str:
    """Return the number of inputs of a dtype, in words."""
    chosen = [task for task in results.records if task.dtype == dtype and not (task.is_sample and dtype == "float32")]
    if not chosen:
        return ""
    if dtype in HALF_TYPES:
        return "all 65,536 inputs"
    count = max(_found(results, task).inputs for task in chosen)
    if dtype == "float64":
        return (
            f"a sample of up to {count:,} inputs against mpmath, with a search for worst cases; functions over an axis"
            " and gated units are sampled in float32 too"
        )
    if count == 2 * MAGNITUDES:
        return f"all {count:,} inputs"
    return (
        f"{count:,} inputs: every {chosen[0].size:,}th bit pattern of both signs, and those next to switch-over points"
    )


def failures(results: Results) -> list[str]:
    """Return the failed tasks, each in one line."""
    found = ((task, problems(task, results)) for task in results.records)
    return [f"{task.key}: {'; '.join(texts)}" for task, texts in found if texts]


def markdown(results: Results, about: dict[str, str]) -> str:
    """Return the results as Markdown, below `about`: command, date, versions and machine, by heading."""
    notes = [line.replace("*", r"\*") for line in legend(results)]
    facts = [f"{heading}: {text}" for heading, text in about.items()]
    lines = ["# Accuracy", "", *(f"- {line}" for line in (*facts, *notes)), ""]
    heads = ["function", "", "dtype", "inputs", "largest error, ulp", "at", "right", "undecided", "does not hold"]
    lines += [_line(heads), _line(["---"] * len(heads))]
    for row in _rows(results):
        for dtype in FORMATS:
            if dtype in row:
                lines.append(_line(_cells(row[dtype], results)))
    return "\n".join(lines) + "\n"


def _cells(task: Task, results: Results) -> list[str]:
    found = _found(results, task)
    error = f"{found.ulp:.4f}"
    if _is_marked(found):
        error += f" \\* ({found.plain_ulp:.4g} at {task.written(found.plain_at)})"
    return [
        task.title,
        task.what,
        task.dtype,
        f"{'sample of ' if task.is_sample else ''}{found.inputs:,}",
        error,
        task.written(found.at),
        _share(found),
        f"{found.undecided:,}" if found.undecided else "",
        "; ".join(problems(task, results)),
    ]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"

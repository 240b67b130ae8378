"""The table of containers is true of the real libraries, and the README shows it."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]


@pytest.fixture
def containers() -> Iterator[Any]:
    """The script that makes the table."""
    with mock.patch.object(sys, "path", [str(ROOT / "benchmarks"), *sys.path]):
        yield importlib.import_module("containers")


def test_readme_has_many_libraries_and_nothing_wrong(containers: Any) -> None:
    table = containers.readme_table()
    assert len(re.findall(r"\w \d+\.\d", table)) >= 30
    assert not re.search("wrong|unclear", table)


def test_table(containers: Any) -> None:
    missing = [row.needs for row in containers.ROWS.values() if not row.is_installed and row.process != "cupy"]
    if missing:
        pytest.skip(f"could not import {missing}")
    found = containers.try_all(list(containers.ROWS))
    bad = [
        f"{name}, {column}: {cell.verdict.value}: {cell.detail}"
        for name, cells in found.items()
        for column, cell in cells.items()
        if cell is not None and cell.verdict > containers.Verdict.REFUSED
    ]
    assert not bad, "\n".join(bad)
    assert containers.readme_table() == containers.markdown(found), "python benchmarks/containers.py --readme"


def zeros_for_what_is_missing(function: Any, x: Any) -> Any:
    return np.where(np.isnan(x), np.nan, function(np.nan_to_num(x)))


def refuse_too_late(function: Any, x: Any, out: Any) -> Any:
    function(x, out=out)
    raise TypeError("pass it plain arrays")


@pytest.mark.parametrize(
    ("verdict", "column", "container"),
    [
        ("SAME", "axis", {}),
        ("CONVERTED", "axis", {"make": np.ndarray.tolist}),
        ("UNCLEAR", "axis", {"apply": lambda function, x: function(x.device.of_nothing)}),
        ("WRONG", "axis", {"apply": lambda function, x: function(x) + 1e-3}),
        ("WRONG", "axis", {"apply": zeros_for_what_is_missing, "missing": True}),
        ("WRONG", "axis", {"has_meaning": False}),
        ("WRONG", "elementwise", {"gradient": lambda *_: None}),
        ("WRONG", "elementwise", {"gradient": lambda _call, x, _g: 0 * x}),
        ("WRONG", "out=", {"apply": lambda function, x, out: function(x)}),
        ("WRONG", "out=", {"apply": refuse_too_late}),
    ],
)
def test_verdicts(containers: Any, verdict: str, column: str, container: dict[str, Any]) -> None:
    """The judgement finds what it is there for."""
    trials = importlib.import_module("container_trials")
    trial = trials.COLUMNS[column][0]
    outcome = trials.try_call(trials.Container(**{"make": np.array, **container}), trial)
    assert outcome.verdict is containers.Verdict[verdict]

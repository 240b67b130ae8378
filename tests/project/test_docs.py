"""Docstrings: complete, and their examples run."""

from __future__ import annotations

import doctest
import inspect
import pydoc
import re
from pathlib import Path

import pytest

import actufunc
from actufunc._catalogue import ACTIVATIONS, NAMES, aliases

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_examples(name: str) -> None:
    example = doctest.DocTestParser().get_doctest(ACTIVATIONS[name].__doc__ or "", {}, name, None, None)
    assert example.examples
    runner = doctest.DocTestRunner()
    assert runner.run(example).failed == 0


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_sections(name: str) -> None:
    function = ACTIVATIONS[name]
    text = function.__doc__ or ""
    summary = text.strip().splitlines()[0]
    assert summary.endswith(".")
    for section in ("Parameters", "Returns", "Notes", "References", "Examples"):
        assert re.search(rf"^ *{section}\n *-{{{len(section)}}}$", text, re.MULTILINE), section
    assert ".. math::" in text
    assert "Values" in text
    for parameter in [*function.definition.hyperparameters, *function.definition.options]:
        assert re.search(rf"^ *{parameter} : ", text, re.MULTILINE), parameter
    for alias in aliases(function):
        assert f"``{alias}`` is an alias" in text
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_help(name: str) -> None:
    text = pydoc.render_doc(ACTIVATIONS[name], renderer=pydoc.plaintext)
    assert (ACTIVATIONS[name].__doc__ or "").strip().splitlines()[0] in text


def table() -> dict[str, tuple[list[str], str]]:
    """Read aliases and hyperparameters of each function from the table in the README."""
    text = (ROOT / "README.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (.*?) ?\| (.*?) ?\| .* \|$", text, re.MULTILINE)
    return {name: (re.findall(r"\w+", others), hyperparameters.strip("`")) for name, others, hyperparameters in rows}


def test_table_of_functions() -> None:
    """What the README says of each name is what the catalogue has."""
    stated = table()
    assert len(stated) >= 40  # what the peers have
    assert set(stated) <= set(ACTIVATIONS)
    assert set(NAMES) <= set(actufunc.__all__)
    for name, (others, hyperparameters) in stated.items():
        function = ACTIVATIONS[name]
        assert others == aliases(function)
        protocol = {} if function.definition.kind == "elementwise" else {"axis": -1}
        taken = {**function.definition.hyperparameters, **function.definition.options, **protocol}
        text = ", ".join(
            key if default is inspect.Parameter.empty else f"{key}={default!r}" for key, default in taken.items()
        )
        assert hyperparameters.replace('"', "'") == text


def test_readme() -> None:
    """The examples run as doctests."""
    text = (ROOT / "README.md").read_text()
    setup = re.findall(r"^ {4}python -m pip install .*$", text, re.MULTILINE)
    assert [line.partition(" && ")[2] for line in setup] == ["python -m actufunc", "python -m pytest"]


def test_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert re.fullmatch(r"\d+\.\d+\.\d+", actufunc.__version__)
    assert "## [Unreleased]" in changelog or f"## [{actufunc.__version__}]" in changelog

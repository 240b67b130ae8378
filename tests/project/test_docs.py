"""Docstrings are complete, their examples run, and each file of tests stands in tests/README.md."""

from __future__ import annotations

import ast
import doctest
import inspect
import math
import pydoc
import re
from pathlib import Path

import numpy as np
import pytest

import actufunc
from actufunc import activation
from actufunc._catalogue import ACTIVATIONS, NAMES, aliases
from actufunc._docstrings import choices, complete, fields, properties

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
    assert fields(function).keys() & {"Values", "Special values"}
    related = re.search(r"^See Also\n-{8}\n(.*)$", text, re.MULTILINE)
    assert related is None or set(related[1].split(", ")) < set(ACTIVATIONS)
    for parameter in [*function.definition.hyperparameters, *function.definition.options]:
        assert re.search(rf"^ *{parameter} : ", text, re.MULTILINE), parameter
    for alias in aliases(function):
        assert f"``{alias}`` is an alias" in text
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_help(name: str) -> None:
    text = pydoc.render_doc(ACTIVATIONS[name], renderer=pydoc.plaintext)
    assert (ACTIVATIONS[name].__doc__ or "").strip().splitlines()[0] in text


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_parameters(name: str) -> None:
    """Each once, with the keywords that the signature has."""
    function = ACTIVATIONS[name]
    section = (function.__doc__ or "").partition("Parameters\n----------\n")[2].partition("\n\n")[0]
    names = [each for names in re.findall(r"^(\w.*) : ", section, re.MULTILINE) for each in names.split(", ")]
    assert sorted(names) == sorted(function.__signature__.parameters.keys() - {"signature"})
    assert choices(function).keys() == function.definition.options.keys()
    integers = dict.fromkeys(function.definition.hyperparameters, 1)
    keeps = function(np.ones(2, int), **integers).dtype.kind == "i"
    assert keeps == ("Integers" in fields(function))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (":Range: [0, 1], incresing", r"must be \[LOW, HIGH\], then any of even or odd, increasing, smooth"),
        (":Range: 0 to 1", "must be .LOW, HIGH"),
        (":Range: [0, 1], increasing, odd", "must be .LOW, HIGH"),
        (":Range: [0, beta]", "name 'beta' is not defined"),
        (":Range if beta > 0: [0, 1]", "name 'beta' is not defined"),
        (":Ragne: [0, 1]", "not :NAME: VALUE by a name of Range, "),
        (":Range [0, 1]", "not :NAME: VALUE by a name of Range, "),
        (":Values: 0 at -inf, 1 at -0 and +0, 1 at +inf", "no value at NaN"),
        (":Values: 0 at -inf, 1 at -0 and +0, 1 for +inf, NaN at NaN", "'1 for .inf' must be VALUE at POINT"),
        (":Range: [0, 1]\n    :Range: (0, 1)", "has :Range: twice"),
        (":Values: 0 at -infinity, 1 at -0 and +0, 1 at +inf, NaN at NaN", "'0 at -infinity' must be"),
    ],
)
def test_what_is_not_of_the_grammar_is_refused(line: str, message: str) -> None:
    @activation
    def misspelt(x):
        return x

    misspelt.__doc__ = f"""Identity.

    Notes
    -----
    {line}
    """
    with pytest.raises(ValueError, match=message) as raised:
        properties(misspelt)
    assert "misspelt" in str(raised.value)


def test_own_entries_replace_those_of_all() -> None:
    @activation
    def described(x, alpha=2):
        """Multiple.

        Parameters
        ----------
        alpha : scalar, default 2
            Factor.
        out, where, dtype, casting, order, subok : optional
            None of these.

        Notes
        -----
        :Range if alpha == 0: [0, 0], increasing,
            smooth
        """
        return alpha * x

    text = complete(described)
    assert re.findall(r"^(\w.*) : ", text, re.MULTILINE) == ["x", "alpha", "out, where, dtype, casting, order, subok"]
    assert "None of these." in text
    assert text.index("x : array") < text.index("Returns\n-------\narray") < text.index("Notes\n-----\n")
    assert properties(described, alpha=0)[:4] == (0, 0, 0, True)
    assert properties(described).high == math.inf


def table() -> dict[str, tuple[list[str], str]]:
    """Read aliases and hyperparameters of each function from the table in the README."""
    text = (ROOT / "README.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (.*?) ?\| (.*?) ?\| .* \|$", text, re.MULTILINE)
    return {name: (re.findall(r"\w+", others), hyperparameters.strip("`")) for name, others, hyperparameters in rows}


def test_table_of_functions() -> None:
    """What the README says of each name is what the catalogue has."""
    listed = table()
    assert len(listed) >= 40  # what the peers have
    assert listed.keys() == ACTIVATIONS.keys()
    assert set(NAMES) <= set(actufunc.__all__)
    for name, (others, hyperparameters) in listed.items():
        function = ACTIVATIONS[name]
        assert others == aliases(function)
        axis = {} if function.definition.kind == "elementwise" else {"axis": -1}
        taken = {**function.definition.hyperparameters, **function.definition.options, **axis}
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


def test_each_file_of_tests_stands_in_their_table() -> None:
    """With the first line of its docstring."""
    folder = ROOT / "tests"
    rows = set(re.findall(r"^\| \[(.+)\]\(\1\) \| (.+) \|$", (folder / "README.md").read_text(), re.MULTILINE))
    files = [path for path in folder.rglob("*.py") if path.name != "conftest.py"]
    documented = {path: ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "" for path in files}
    expected = {(path.relative_to(folder).as_posix(), text.partition("\n")[0]) for path, text in documented.items()}
    assert not expected - rows, "tests/README.md lacks these rows"
    assert not rows - expected, "tests/README.md has rows of no file"

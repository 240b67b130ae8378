"""The page for contributors: its paths and names exist, and its worked examples run as they are written."""

from __future__ import annotations

import importlib
import re
import textwrap
from pathlib import Path

import pytest
from programs import run

from actufunc import formula

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / ".github" / "CONTRIBUTING.md").read_text(encoding="utf-8")
NEW = {"src/actufunc/backends/strict.py"}
"""Files that the examples add."""

PATHS = sorted(set(re.findall(r"(?:\.ci|src|tests|benchmarks)/[\w./]*\w", TEXT)) | {"README.md", "CHANGELOG.md"})
NAMES = sorted(set(re.findall(r"`(actufunc\.[\w.]+)`", TEXT)))


def blocks(heading: str) -> list[str]:
    """Return the Python code of a section."""
    section = TEXT.split(f"\n## {heading}\n")[1].partition("\n## ")[0]
    return [
        textwrap.dedent(block) for block in re.findall(r"^ *```python\n(.*?)^ *```$", section, re.MULTILINE | re.DOTALL)
    ]


@pytest.mark.parametrize("path", PATHS)
def test_path(path: str) -> None:
    assert (ROOT / path).exists() is (path not in NEW)


def test_links() -> None:
    for link in re.findall(r"\]\(([^)#]+)", TEXT):
        assert (ROOT / ".github" / link).exists(), link
    for anchor in re.findall(r"\]\(#(\w+)\)", TEXT):
        assert f"\n## {anchor.capitalize()}\n" in TEXT


@pytest.mark.parametrize("name", NAMES)
def test_name(name: str) -> None:
    module, attributes = name, []
    while True:
        try:
            value = importlib.import_module(module)
            break
        except ModuleNotFoundError as error:
            if error.name != module:
                raise
            module, _, attribute = module.rpartition(".")
            attributes.insert(0, attribute)
    for attribute in attributes:
        value = getattr(value, attribute)


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("_dispatch", "_BACKENDS"),
        ("_calling.array_kinds", "FRAMEWORKS"),
        ("backends.array_api_ops", "_FUNCTIONS"),
        ("backends.numpy.codegen.primitives", "FUNCTIONS"),
        ("accuracy._exact", "_operations"),
        ("formula.operations", "_AMPLIFIER"),
    ],
)
def test_entries(place: str, name: str) -> None:
    """What the examples add to is called so."""
    assert f"`{name}`" in TEXT
    assert hasattr(importlib.import_module(f"actufunc.{place}"), name)


@pytest.mark.parametrize("package", ["actufunc.backends", "actufunc.backends.numpy"])
def test_way_of_a_call(package: str) -> None:
    """The drawings of the way of a call name functions and methods that are there."""
    drawing = str(importlib.import_module(package).__doc__)
    rows = re.findall(r"^    ([\w.]+) {2,}([\w.]+) {2,}\S", drawing, re.MULTILINE)
    assert len(rows) >= 8
    for module, name in rows:
        value = importlib.import_module(f"{'actufunc' if package == 'actufunc.backends' else package}.{module}")
        for attribute in name.split("."):
            value = getattr(value, attribute)


def test_glossary() -> None:
    terms = re.findall(r"^\| (.+?) \|", TEXT.split("\n## Glossary\n")[1], re.MULTILINE)[2:]
    assert terms == sorted(terms)


def test_activation() -> None:
    """The first formula cancels, as the text says, and the second does not; the docstring is of the grammar."""
    program, better, derivative = blocks("An activation")
    *above, last = program.rstrip().splitlines()
    assert last == "    return 2 * logistic(x) - 1"
    mended = "\n".join([*above, f"    {better.strip()}"])
    check = """
        import doctest
        import numpy as np
        from actufunc._docstrings import complete, properties
        from actufunc.accuracy import largest_error, sample
        f, points = bipolar_sigmoid, sample("float64", 100)
        assert properties(f)[:4] == (-1, 1, -1, True) and len(properties(f).values) == 5
        example = doctest.DocTestParser().get_doctest(complete(f), {"bipolar_sigmoid": f, "np": np}, "f", None, None)
        example.examples = example.examples[2:]
        assert doctest.DocTestRunner().run(example) == (0, 1)
        print(largest_error(f, points).ulp < 1)
    """
    gradient = "print(largest_error(f.grad, points).ulp < 1)"
    assert run(program, check, mended, check, derivative, gradient).split() == ["False", "True", "True"]


def test_operation() -> None:
    record, use = blocks("An operation")
    printed = re.findall(r"```text\n(.*?)```", TEXT.split("\n## An operation\n")[1], re.DOTALL)[0]
    program = f"""
import actufunc.formula
from actufunc.formula import operations
exec({record!r}, vars(operations))
actufunc.formula.arctanh = operations.arctanh
"""
    first, second = run(program, use).splitlines()
    expected = textwrap.dedent(printed).strip().splitlines()
    assert first == expected[0]
    assert float(second) == pytest.approx(float(expected[1]), abs=0.2)
    assert not hasattr(formula, "arctanh")


def test_backend() -> None:
    module, use = blocks("A backend")
    program = f"""
import sys, types
from actufunc import _dispatch
module = types.ModuleType("actufunc.backends.strict")
exec({module!r}, vars(module))
sys.modules[module.__name__] = module
_dispatch._BACKENDS["array_api_strict"] = "strict"
"""
    assert run(program, use).strip() == "Array([0.73105858, 0.88079708], dtype=array_api_strict.float64)"

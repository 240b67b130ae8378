"""The command line apart from `apply`, `plot` and `verify`."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from cases import ELEMENTWISE, GATED, OVER_AXIS, REDUCING, cases, representatives
from command import COMMAND, names

import actufunc
from actufunc import _catalogue as catalogue
from actufunc import logit, sigmoid, sparsemax
from actufunc.cli import _report as report
from actufunc.cli import main
from actufunc.cli.baselines import plain_numpy, scipy_function

if TYPE_CHECKING:
    from pathlib import Path

    from cases import Case


def test_list(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["list"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "\x1b" not in out
    assert max(map(len, out.splitlines())) <= 80
    flat = " ".join(out.split())
    for name, function in catalogue.ACTIVATIONS.items():
        assert f"{name}(x" in out
        assert " ".join(function.formula.split()) in flat
        assert all(alias in out for alias in catalogue.aliases(function))
        assert all(each in out for each in function.definition.hyperparameters)
    assert "approximate: none or tanh" in out


@pytest.fixture(params=["some", pytest.param("all", marks=pytest.mark.slow)])
def reported(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the functions that are reported: one of every kind, or all."""
    some = {case.function.__name__: case.function for case in representatives(cases())}
    if request.param == "some":
        monkeypatch.setattr(catalogue, "ACTIVATIONS", some)
    return list(catalogue.ACTIVATIONS)


def test_report(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, reported: list[str]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(report, "_SECONDS", 0.0)
    monkeypatch.setattr(report, "_POINTS", 64)
    assert main([]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "\x1b" not in out
    assert max(map(len, out.splitlines())) <= 80
    assert np.__version__ in out
    for name in reported:
        row = re.search(rf"^{name} +(\S+ +){{7}}\S+ *$", out, re.MULTILINE)
        assert row, name
        assert "nan" not in row[0]


@pytest.mark.usefixtures("reported")
def test_report_on_a_narrow_terminal_keeps_the_figures(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "70")
    monkeypatch.setattr(report, "_SECONDS", 0.0)
    monkeypatch.setattr(report, "_POINTS", 32)
    assert main([]) == 0
    assert "\N{HORIZONTAL ELLIPSIS}" not in capsys.readouterr().out


@pytest.mark.parametrize("case", [*ELEMENTWISE, *OVER_AXIS, *REDUCING, *GATED], ids=repr)
def test_plain_numpy_formulas_compute_the_function(case: Case) -> None:
    x = np.random.default_rng(0).standard_normal((5, 8)).astype("float32")
    if case.function is logit:
        x = sigmoid(x)
    hyperparameters = {key: value for key, value in case.keywords if key in case.function.definition.hyperparameters}
    typed = plain_numpy(case.function, **hyperparameters)
    if case.function is sparsemax:  # an algorithm
        assert typed is None
        return
    assert typed is not None
    result = typed(x)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, case.function(x, **hyperparameters), rtol=1e-5, atol=1e-6)


def test_scipy_has_some_of_them() -> None:
    x = np.linspace(-2, 2, 12).reshape(3, 4)
    found = {name: scipy_function(function) for name, function in catalogue.ACTIVATIONS.items()}
    assert found["relu"] is None
    for name in ("sigmoid", "log_sigmoid", "softmax", "log_softmax"):
        theirs = found[name]
        assert theirs is not None
        np.testing.assert_allclose(theirs(x, np.empty_like(x)), catalogue.find(name)(x), rtol=1e-12)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"actufunc {actufunc.__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["list"], ["apply", "relu", "in.npy", "-o", "o.npy"]], ids=" ".join)
def test_without_rich(tmp_path: Path, arguments: list[str]) -> None:
    np.save(tmp_path / "in.npy", np.zeros(3))
    code = "import sys; sys.modules['rich'] = None; from actufunc.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "actufunc: this needs rich: pip install rich\n"
    assert names(tmp_path) == ["in.npy"]


def test_module_runs(tmp_path: Path) -> None:
    done = subprocess.run([*COMMAND, "list"], cwd=tmp_path, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0
    assert done.stdout.startswith("celu(")
    assert names(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes that break")
def test_reader_that_leaves() -> None:
    with subprocess.Popen([*COMMAND, "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:  # noqa: S603
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


def test_import_leaves_the_extras_alone() -> None:
    code = "import sys, actufunc, actufunc.cli; print(*{'rich', 'mpmath', 'numba', 'scipy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.strip() == ""

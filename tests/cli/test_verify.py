"""``actufunc verify``: the loop over all inputs, the properties that docstrings document, the command."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from cases import ELEMENTWISE, Case

from actufunc import activation, elu, hard_shrink, logit, relu, sigmoid, silu, tanh
from actufunc._docstrings import Properties, fields, properties
from actufunc._formats import FORMATS
from actufunc.accuracy import measure, ulp_error
from actufunc.accuracy._breakpoints import moved, neighbourhood, stratified
from actufunc.accuracy.compare import RIGHT, UNDECIDED, WRONG, compare
from actufunc.accuracy.findings import Findings
from actufunc.accuracy.target import Target
from actufunc.cli import main
from actufunc.cli._verify.tasks import Task
from actufunc.formula import Expression, exp, log, where

Array = np.ndarray[Any, Any]

COARSE = 400_009  # stride: 11,000 numbers
QUICK = ["--stride", str(COARSE), "--points", "100", "--jobs", "1"]


def type_of(dtype: str) -> np.dtype[Any]:
    return np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)


def awkward(dtype: str) -> tuple[Array, Array]:
    """Return results and exact values: near each other and not, in all of the range and beyond."""
    random = np.random.default_rng(0)
    form = FORMATS[dtype]
    ends = [0.0, math.inf, math.nan, 1.0, 2.0**form.lowest, 2.0 ** (form.lowest - form.precision)]
    ends += [2.0**form.highest * (2 - 2.0 ** (1 - form.precision)), 2.0**form.highest * (2 - 2.0**-form.precision)]
    ends += [2.0 ** (form.highest + 1), 2.0 ** (form.highest + 9)]
    spread = np.ldexp(random.uniform(1, 2, 60), random.integers(form.lowest - form.precision - 2, form.highest + 3, 60))
    exact = np.concatenate([spread, -spread, np.repeat(ends, len(ends)), -np.repeat(ends, len(ends))])
    near = spread * (1 + random.choice([0, 2.0**-24, 2.0**-11, 2.0**-8], 60))
    with np.errstate(all="ignore"):
        values = np.concatenate([near, -near, np.tile(ends, 2 * len(ends))]).astype(type_of(dtype))
    return values, exact


@pytest.mark.parametrize("beside", [0.0, 0.25])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_the_loop_counts_as_ulp_error_does(dtype: str, beside: float) -> None:
    values, exact = awkward(dtype)
    plain, judged = (ulp_error(values, exact.astype(object), beside=each) for each in (0.0, beside))
    verdicts = np.empty(1, np.uint8)
    wide = values.astype(np.float32)
    for i in range(values.size):
        got = compare(wide[i : i + 1], exact[i : i + 1], dtype, verdicts, beside=beside)
        assert (got.plain_ulp, got.ulp) == pytest.approx((plain[i], judged[i]))
        assert verdicts[0] in ({RIGHT, UNDECIDED} if plain[i] <= 0.5 else {WRONG, UNDECIDED}), (values[i], exact[i])


def test_the_loop_finds_the_largest_error() -> None:
    values = np.array([1, 1, 1, 1], np.float32)
    exact = values + np.array([0, 2.0**-24, 2.0**-22, 2.0**-23])
    verdicts = np.empty(4, np.uint8)
    assert compare(values, exact, "float32", verdicts)[:2] == (2, 2)
    assert verdicts.tolist() == [RIGHT, UNDECIDED, WRONG, WRONG]


def test_properties() -> None:
    assert properties(tanh)._replace(values=()) == Properties(-1, 1, -1, increasing=True, smooth="smooth")
    assert properties(tanh).of_derivative() == Properties(0, math.inf, 1)
    assert properties(relu.grad) == Properties()
    assert properties(elu, alpha=2).values[0] == (-math.inf, -2)
    assert properties(elu, alpha=-2) == Properties()  # of which nothing is documented


@pytest.mark.parametrize("case", ELEMENTWISE, ids=repr)
def test_every_docstring_has_range_and_values(case: Case) -> None:
    documented = properties(case.function, **dict(case.keywords))
    unbounded = fields(case.function)["Range"][1].startswith("(-inf, inf)")
    assert ((documented.low, documented.high) != (-math.inf, math.inf)) != unbounded
    assert documented.values


def test_samples() -> None:
    points = Target(hard_shrink).breakpoints
    for dtype in ("float32", "float64"):
        near = neighbourhood(points, dtype)
        half = np.array(0.5, dtype)
        assert np.isin([half, np.nextafter(half, half * 2), -np.nextafter(half, half * 0), half * 0], near).all()
        assert np.all(near[1:] > near[:-1])
    x = stratified(points, 500)
    assert x.shape == (500,)
    assert np.isin([-0.5, 0.5], x).all()
    other = moved(np.random.default_rng(0), x)
    assert not np.isnan(other).any()
    assert np.mean(abs(other[x == 0.5] / 0.5 - 1) <= 1) == 1


def test_roots() -> None:
    assert Target(silu, gradient=True).has_root
    assert not Target(silu).has_root
    assert not Target(tanh, gradient=True).has_root


def test_a_right_function_passes() -> None:
    for target in (Target(sigmoid), Target(relu, gradient=True)):
        for found in (measure.float32(target, stride=COARSE), measure.float64(target, 100)):
            assert not found.violations
            assert found.ulp < 1
            assert found.right > 0.9 * found.inputs
    found = measure.half(Target(relu), np.dtype("float16"))
    assert (found.inputs, found.right, found.undecided, found.ulp) == (1 << 16, 1 << 16, 0, 0)


def test_a_block_is_compared_with_its_neighbour() -> None:
    """All numbers of a part of the range, each once, beginning with the one before."""
    seen: list[Array] = []

    class Watched(Target):
        def __call__(self, x: Array) -> Array:
            seen.append(x)
            return super().__call__(x)

    target = Watched(relu)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(measure, "_BLOCK", 1000)
        patched.setattr(measure, "_CHUNK", 600)
        found = measure.float32(target, 1)
    assert found.inputs == 2000
    bits = [x.view(np.uint32) for x in seen[:-1]]  # the last is for mpmath
    magnitudes = [(each & 0x7FFFFFFF).tolist() for each in bits]
    assert magnitudes[0] == magnitudes[1] == list(range(999, 1600))
    assert magnitudes[2] == magnitudes[3] == list(range(1599, 2000))
    assert [bool(each[0] >> 31) for each in bits] == [False, True] * 2


@activation
def claims_too_much(x: Expression) -> Expression:
    """Ripples.

    Notes
    -----
    :Range: [0, 1/2], odd, increasing
    :Values: 1 at -inf, 0 at -0 and +0, 0 at +inf, NaN at NaN
    """
    return x * exp(-x * x)


@activation
def drops(x: Expression) -> Expression:
    """Zero where it should be one.

    Notes
    -----
    :Range: [-1, 2], even
    """
    return where(x > 1, 0, where(x < -1, 0, 1)) + where(x < -1, 0.5, 0)


@activation
def cancelling(x: Expression) -> Expression:
    """Softplus as it stands in textbooks.

    Notes
    -----
    :Range: [0, inf), increasing
    """
    return log(1 + exp(x))


class TwoAway(Target):
    """Results that are off by two units."""

    def __call__(self, x: Array) -> Array:
        y = super().__call__(x)
        return np.nextafter(np.nextafter(y, y * 0), y * 0)


def test_false_statements_are_found() -> None:
    for found in (
        measure.float32(Target(claims_too_much), stride=COARSE),
        measure.float64(Target(claims_too_much), 100),
    ):
        assert set(found.violations) == {"range", "monotonicity", "special values"}
        assert all(count > 5 for what, (count, _) in found.violations.items() if what != "special values")
        (count, at) = found.violations["special values"]
        assert count >= 2
        assert at[0] == -math.inf
        assert min(found.violations["range"][1]) < 0
    found = measure.float32(Target(drops), stride=COARSE)
    assert set(found.violations) == {"symmetry"}
    assert abs(found.violations["symmetry"][1][0]) > 1
    assert found.ulp == 0


def test_wrong_results_are_found() -> None:
    found = measure.float32(TwoAway(sigmoid), stride=COARSE)
    assert 1.5 < found.ulp < 4.5  # at a power of two the unit below is half of that above
    found = measure.half(TwoAway(tanh), np.dtype("float16"))
    assert found.violations["rounding"][0] > 50_000
    assert measure.float32(Target(cancelling), stride=COARSE).ulp > 1000
    assert measure.float64(Target(cancelling), 100).ulp > 1000  # so that its float64 is no reference


def test_nan_is_an_error_where_it_is_not_exact() -> None:
    class Bad(Target):
        def __call__(self, x: Array) -> Array:
            return np.where(x == 0, np.float32(np.nan), super().__call__(x))

    found = measure.float32(Bad(tanh), stride=COARSE)
    assert (found.ulp, found.at) == (math.inf, 0)
    assert "special values" in found.violations


def test_findings_survive_json() -> None:
    found = Findings(3, 2, 0, math.inf, -math.inf, math.inf, -1.5, {"range": (2, [math.nan, 1.0])})
    text = json.dumps(found.as_json(), allow_nan=False)
    assert repr(Findings.from_json(json.loads(text))) == repr(found)


def test_findings_of_blocks_are_added() -> None:
    total = Findings(1, 1, 0, 0.5, 1.0, 0.5, 1.0, {"range": (2, [1.0, 2.0])})
    total.add(Findings(2, 1, 1, 0.75, 3.0, 0.25, 4.0, {"range": (9, [3.0, 4.0, 5.0, 6.0]), "symmetry": (1, [0.0])}))
    violations = {"range": (11, [1.0, 2.0, 3.0, 4.0, 5.0]), "symmetry": (1, [0.0])}
    assert total == Findings(3, 2, 1, 0.75, 3.0, 0.5, 1.0, violations)


# The command.


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    return tmp_path


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Return keys and blocks of what is measured."""
    keys: list[tuple[str, int]] = []
    original = Task.measure

    def watched(self: Task, block: int) -> Findings:
        keys.append((self.key, block))
        return original(self, block)

    monkeypatch.setattr(Task, "measure", watched)
    return keys


def test_all_holds(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "relu", "softmax", *QUICK, "--json", "r.json", "--markdown", "r.md"]) == 0
    out = capsys.readouterr().out
    assert "Everything holds." in out
    assert "relu gradient" in out
    assert sorted(path.name for path in folder.iterdir()) == ["r.json", "r.md"]
    content = json.loads(Path("r.json").read_text())
    assert {"format", "Command", "Date", "CPU", "NumPy", "results"} <= set(content)
    halves = {"float16", "bfloat16"}
    keys = {f"relu {what} {dtype}" for what in ("value", "gradient") for dtype in FORMATS}
    keys |= {f"softmax value {dtype}" for dtype in FORMATS if dtype not in halves}
    assert set(content["results"]) == keys
    result = content["results"]["relu value float32"]
    assert {**result, "digest": ..., "findings": ...} == {
        "name": "relu",
        "keywords": {},
        "gradient": False,
        "dtype": "float32",
        "size": COARSE,
        "done": "all",
        "problems": [],
        "digest": ...,
        "findings": ...,
    }
    assert result["findings"]["inputs"] == result["findings"]["right"] > 10_000
    text = Path("r.md").read_text()
    assert content["Command"] in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == 2 + len(keys)
    assert len({line.count("|") for line in rows}) == 1


def test_what_does_not_hold(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    original = Task.measure

    def spoiled(self: Task, block: int) -> Findings:
        found = original(self, block)
        if self.dtype == "float64":
            found.ulp, found.at = 9.5, 1.25
        return found

    monkeypatch.setattr(Task, "measure", spoiled)
    command = ["verify", "tanh", *QUICK, "--json", "r.json", "--dtype", "float32", "--dtype", "float64"]
    assert main(command) == 1
    out = capsys.readouterr().out
    assert "tanh value float64: error of 9.5 ulp at 1.25" in out
    assert "tanh value float32: its reference in float64 is off by 9.5 ulp" in out
    assert "of 4 measurements do not hold" in out
    assert json.loads(Path("r.json").read_text())["results"]["tanh value float64"]["problems"]


def test_resumes(folder: Path, measured: list[tuple[str, int]], capsys: pytest.CaptureFixture[str]) -> None:
    command = ["verify", "relu", *QUICK, "--json", "r.json"]
    assert main(command) == 0
    everything = measured.copy()
    assert len(everything) == 8
    first = Path("r.json").read_text()
    capsys.readouterr()
    measured.clear()
    assert main(command) == 0
    assert measured == []
    assert "Everything holds." in capsys.readouterr().out
    assert Path("r.json").read_text() == first
    # Another function does not drop the first; another stride concerns float32 only.
    assert main(["verify", "hard_tanh", *QUICK, "--json", "r.json", "--dtype", "float16"]) == 0
    assert set(json.loads(first)["results"]) < set(json.loads(Path("r.json").read_text())["results"])
    measured.clear()
    assert main([*command, "--stride", str(COARSE + 2)]) == 0
    assert sorted(measured) == [("relu gradient float32", 0), ("relu value float32", 0)]
    assert "2 results of another version, machine or size are measured anew" in capsys.readouterr().err
    # And another version everything.
    content = json.loads(first)
    for result in content["results"].values():
        result["digest"] = "another"
    Path("r.json").write_text(json.dumps(content))
    measured.clear()
    assert main(command) == 0
    assert measured == everything


def test_an_interrupt_keeps_what_is_done(
    folder: Path, measured: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(measure, "_BLOCK", 2000)
    command = ["verify", "relu", *QUICK, "--json", "r.json", "--dtype", "float32"]
    watched = Task.measure

    def interrupted(self: Task, block: int) -> Findings:
        if len(measured) == 2:
            raise KeyboardInterrupt
        return watched(self, block)

    with monkeypatch.context() as patched:
        patched.setattr(Task, "measure", interrupted)
        assert main(command) == 130
    assert "r.json keeps what is done; the same command goes on from there" in capsys.readouterr().err
    results = json.loads(Path("r.json").read_text())["results"]
    assert [result["done"] for result in results.values()] == [[0, 1]]
    done = measured.copy()
    measured.clear()
    assert main(command) == 0
    assert set(measured).isdisjoint(done)
    assert len(measured) + len(done) == 2 * measure.blocks(COARSE)
    whole = json.loads(Path("r.json").read_text())["results"]["relu value float32"]
    assert whole["findings"]["inputs"] == measure.float32(Target(relu), stride=COARSE).inputs + sum(
        measure.float32(Target(relu), block, COARSE).inputs for block in range(1, measure.blocks(COARSE))
    )


def test_processes_share_the_work(folder: Path) -> None:
    command = [sys.executable, "-m", "actufunc", "verify", "logit", *QUICK[:4], "--jobs", "2", "--dtype", "float32"]
    run = subprocess.run(  # noqa: S603
        command, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "120"}
    )
    assert run.stderr == ""
    assert run.returncode in {0, 1}
    alone = measure.float32(Target(logit), stride=COARSE)
    line = next(line for line in run.stdout.splitlines() if line.startswith("logit value"))
    assert f"{alone.ulp:.3f}" in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sigmoit"], "no activation is called 'sigmoit'; did you mean 'sigmoid'?"),
        (["--stride", "0"], "--stride must be a positive number, not 0"),
        (["--points", "3"], "--points must be from 100 to 10000000, not 3"),
        (["--jobs", "0"], "--jobs must be a positive number, not 0"),
        (["--exhaustive", "--stride", "3"], "not allowed with argument"),
        (["--dtype", "float80"], "invalid choice"),
        (["softmax", "--dtype", "float16"], "there is nothing to measure"),
        (["--json", "nowhere/r.json"], "cannot write nowhere/r.json: nowhere is not a directory"),
        (["--markdown", "nowhere/r.md"], "cannot write nowhere/r.md: nowhere is not a directory"),
        (["--json", "other.json"], "other.json is no file of actufunc verify; give another, or remove it"),
        (["--json", "."], "cannot read .: is a directory"),
    ],
)
def test_errors(folder: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("other.json").write_text("[1, 2")
    try:
        status: object = main(["verify", *arguments])
    except SystemExit as end:  # of argparse
        status = end.code
    assert status == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert message in err
    assert [path.name for path in folder.iterdir()] == ["other.json"]

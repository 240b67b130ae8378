"""benchmarks/report.py, on figures that are made up."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def scripts() -> Iterator[Any]:
    """The modules of the report."""
    folder = str(Path(__file__).parents[2] / "benchmarks")
    with mock.patch.object(sys, "path", [folder, *sys.path]):
        names = ("cpu_cases", "cpu_report", "cpu_results", "cpu_timing", "libraries", "report")
        yield mock.Mock(**{name: importlib.import_module(name) for name in names})


def made_up(scripts: Any) -> Any:
    """Return cases whose ratios are 4, 0.96, 0.5, 0.5, 0.8 and 0.25."""
    row = scripts.cpu_results.CpuRow
    rows = [
        row("tanh", "float32", 1, "out", 1, {"actufunc": 700.0, "np.exp": 200.0}),
        row("tanh", "float32", 10**4, "out", 1, {"actufunc": 1.0, "NumPy": 4.0, "torch": 5.0}),
        row("tanh", "float64", 10**4, "out", 1, {"actufunc": 1.0, "NumPy": 1.0 / 0.96, "torch": 0.96}),
        row("relu", "float32", 10**6, "out", 2, {"actufunc": 1.0, "NumPy": 2.0, "torch": 0.5}),
        row("relu", "float32", 10**6, "fresh", 2, {"actufunc": 2.0, "NumPy": 1.0, "copy": 2.0}),
        row("relu", "float64", 10**6, "out", 2, {"actufunc": 1.0, "torch": 0.8, "copy": 0.95}),
        row("relu", "float64", 10**4, "out", 2, {"actufunc": 1.0, "torch": 0.25}),
    ]
    errors = {"tanh": {"float64": {"actufunc": 0.75, "torch": 123450.0}}}
    return scripts.cpu_results.CpuResults({"Processor": "one"}, rows, errors)


def test_counts_and_means(scripts: Any) -> None:
    standing = scripts.cpu_report.Standing.of(made_up(scripts).rows)
    assert standing[:3] == (6, 1, 2)
    assert standing.mean == pytest.approx((4 * 0.96 * 0.5 * 0.5 * 0.8 * 0.25) ** (1 / 6))
    text = scripts.cpu_report.as_markdown(made_up(scripts))
    assert "in 2 of 6 cases (33.3%)" in text
    assert "without them in 1 (16.7%)" in text
    assert "| tanh | 2 | 1 | 2 (100.0%) | 1.96 |" in text
    assert "| torch | 5 | 4 | 0.86 |" in text  # five cases, of ratios 5, 0.96, 0.5, 0.8 and 0.25
    assert "| tanh | float32 | preallocated | 700 | 200 | 3.50 |" in text


def test_beside_exact_peers(scripts: Any) -> None:
    results = made_up(scripts)
    results.errors["tanh"]["float64"] = {"actufunc": 0.75, "torch": 123450.0, "NumPy": 1.5}
    standings = {ulp: scripts.cpu_report.Standing.of(results.beside(ulp)) for ulp in (1, 2, 1e6)}
    assert standings[1][:3] == (0, 0, 0)
    assert standings[2][:3] == (1, 1, 1)
    assert standings[1e6][:3] == (1, 0, 1)
    assert "| of peers only those within 4 ulp | 1 | 1 | 1 (100.0%) | 1.04 |" in scripts.cpu_report.as_markdown(results)


def test_losses_say_what_holds_them(scripts: Any) -> None:
    text = scripts.cpu_report.as_markdown(made_up(scripts))
    losses = [line for line in text.partition("## Losses")[2].partition("##")[0].splitlines() if " | **" in line]
    exact = f"exactness: 0.75 ulp instead of 1e5; {scripts.cpu_report._PRICE['float64']}"
    memory = "new memory from the system: with preallocated output ours takes 1.00 ns"
    assert losses == [
        "| relu | float64 | 10,000 | preallocated | 2 | 1.00 | torch | 0.25 | **0.25** |  | not explained |",
        "| relu | float32 | 1,000,000 | preallocated | 2 | 1.00 | torch | 0.50 | **0.50** |  | not explained |",
        f"| relu | float32 | 1,000,000 | fresh | 2 | 2.00 | NumPy | 1.00 | **0.50** |  | {memory} |",
        "| relu | float64 | 1,000,000 | preallocated | 2 | 1.00 | torch | 0.80 | **0.80** |  | not explained |",
        f"| tanh | float64 | 10,000 | preallocated | 1 | 1.00 | torch | 0.96 | **0.96** | 1e5 | {exact} |",
    ]
    assert "5 losses, 3 of them not explained" in text


@pytest.mark.parametrize(
    ("peer", "threads", "theirs", "copy", "expected"),
    [
        ("torch", 1, 0.9, 0.95, "memory: a copy takes 0.95 ns"),
        ("torch", 1, 0.9, 0.8, "not explained"),  # ours is slower than memory
        ("torch", 1, 0.5, 2.0, "not explained"),  # theirs is faster than memory
        ("NumPy", 1, 0.96, 0.1, "a call costs 500 ns more than one of np.exp; 400 ns are lost here"),
        ("NumPy", 1, 0.94, 0.1, "not explained"),
        ("torch", 2, 0.5, 0.1, "threads: one takes 1.00 ns, and the fastest peer 4.00 ns"),
        (
            "JAX",
            1,
            0.5,
            0.1,
            "exactness: 0.50 ulp instead of 0.75; it is computed in float64, with half as many elements to a vector",
        ),
        ("SciPy", 1, 0.5, 0.1, "not explained"),  # hardly less exact
    ],
)
def test_explanations(scripts: Any, peer: str, threads: int, theirs: float, copy: float, expected: str) -> None:
    results = made_up(scripts)
    results.errors["tanh"]["float32"] = {"actufunc": 0.5, "JAX": 0.75, "SciPy": 0.74}
    times = {"actufunc": 1.0, peer: theirs, "copy": copy}
    row = scripts.cpu_results.CpuRow("tanh", "float32", 10**4, "out", threads, times)
    assert scripts.cpu_report.explanation(row, results) == expected


def test_tells_again_what_is_kept(scripts: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = tmp_path / "kept.json"
    made_up(scripts).save(kept)
    loaded = scripts.cpu_results.CpuResults.load(kept)
    assert loaded.errors == made_up(scripts).errors
    again = ["--from", str(kept), "--to", str(tmp_path)]
    assert scripts.report.main(["--cpu", *again]) == 0
    assert capsys.readouterr().out.strip() == scripts.cpu_report.verdict(loaded)
    assert (tmp_path / "cpu.md").read_text() == scripts.cpu_report.as_markdown(loaded)
    picture = (tmp_path / "cpu.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert scripts.report.main(["--cpu", *again]) == 0
    assert (tmp_path / "cpu.png").read_bytes() == picture
    assert scripts.report.main(again) == 0
    assert "Losses: 5 of 6 cases, 4 of them by more than 5%" in capsys.readouterr().out


def test_the_shortest_time_of_all_turns_counts(scripts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def call(seconds: list[float]) -> Any:
        def function() -> None:
            nonlocal now
            now += seconds.pop(0) if len(seconds) > 1 else seconds[0]

        return scripts.libraries.TimedCall(function, (), {})

    calls = {
        "actufunc": call([3.0, 2.0, 5.0, 4.0]),
        "NumPy": call([5.0]),
        "torch": None,
        "SciPy": call([7.0, 7.0, 8.0]),
    }
    monkeypatch.setenv("NUMBA_NUM_THREADS", "2")
    monkeypatch.setattr(scripts.cpu_timing, "prepare", lambda _, name: calls[name])
    monkeypatch.setattr(scripts.cpu_timing.time, "perf_counter", lambda: now)
    case = scripts.cpu_cases.CpuCase("relu", "float32", 10, "out")
    plan = scripts.cpu_cases.Selection((10,), turns=2, seconds=0, least_rounds=1)
    row = scripts.cpu_timing.time_case(case, calls, plan)
    # The first two calls say how long a round takes; SciPy's is three times as long as ours, and has one turn.
    assert row.times == pytest.approx({"actufunc": 4e8, "NumPy": 5e8, "SciPy": 8e8})
    assert (row.function, row.output, row.threads, row.fastest) == ("relu", "out", 2, "NumPy")


@pytest.mark.slow
def test_measures_the_cases_that_an_expression_matches(scripts: Any, tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"
    command = [
        sys.executable,
        scripts.report.__file__,
        "--quick",
        "--json",
        str(kept),
        "-k",
        "relu6 and float32-1e4-out",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr
    assert "Losses" in done.stdout
    (row,) = scripts.cpu_results.CpuResults.load(kept).rows
    assert (row.function, row.dtype, row.size, row.output) == ("relu6", "float32", 10**4, "out")
    assert row.ours > 0


def test_cases_are_those_that_are_promised(scripts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = scripts.cpu_cases.SELECTIONS["cpu"]
    counts = []
    for threads in cpu.threads:
        monkeypatch.setenv("NUMBA_NUM_THREADS", str(threads))
        counts.append(sum(case.size >= cpu.peers_from for case in cpu.cases()))
    assert counts == [13 * 2 * 3 * 2] * 2

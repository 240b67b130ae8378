"""benchmarks/gpu.py, without a GPU: everything but the numbers."""

from __future__ import annotations

import contextlib
import json
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import pytest
from array_libraries import load
from host_gpu import host_view, to_device
from scipy.special import erf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def gpu() -> Iterator[Any]:
    """The script, with the few methods of CuPy's arrays that it calls computed here."""
    cupy = load("cupy").module
    folder = str(Path(__file__).parents[2] / "benchmarks")
    methods = {
        "argmax": lambda self: int(np.nanargmax(host_view(self))),
        "__getitem__": lambda self, at, get=cupy.ndarray.__getitem__: (
            float(host_view(self)[at]) if isinstance(at, int) else get(self, at)
        ),
    }
    with contextlib.ExitStack() as stack:
        for name, method in methods.items():
            stack.enter_context(mock.patch.object(cupy.ndarray, name, method, create=True))
        stack.enter_context(mock.patch.object(cupy, "exp", cupy.empty_like))
        stack.enter_context(mock.patch.object(sys, "path", [folder, *sys.path]))
        import gpu

        for module, faster in (
            (gpu.gpu_ulp, {"CHUNK": 1 << 12, "SAMPLE": 100}),
            (gpu, {"_ROUND": 0, "_ROUNDS": 1, "_CALLS": 3, "_LARGE": 1 << 16}),
        ):
            stack.enter_context(mock.patch.multiple(module, **faster))
        yield gpu


def stand_in(gpu: Any) -> Any:
    class Host(gpu.Device):
        def name(self) -> str:
            return "a host"

        def free(self) -> int:
            return 1 << 25

        def copy(self, source: Any, target: Any) -> None:
            host_view(target)[...] = host_view(source)

        def seconds(self, call: Callable[[int], object], times: int) -> float:
            start = time.perf_counter()
            for number in range(times):
                call(number)
            return time.perf_counter() - start

        def synchronize(self) -> None:
            pass

    return Host()


ARGUMENTS = ["--no-tests", "--stride", str(1 << 22), "--sizes", "65536", "--rows", "64"]


def test_measures_and_writes(gpu: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [f"--{kind}={tmp_path / kind}" for kind in ("json", "markdown", "png")]
    assert gpu.main([*ARGUMENTS, *files, "--only", "relu"], stand_in(gpu)) == 0
    out = capsys.readouterr().out
    assert out == (tmp_path / "markdown").read_text()
    measured = json.loads((tmp_path / "json").read_text())
    assert measured["wrong"] == measured["left_out"] == []
    timed = {(row["what"], row["dtype"]) for row in measured["rows"]}
    assert timed == {(what, dtype) for what in ("value", "grad", "vjp") for dtype in gpu.DTYPES}
    assert gpu.DTYPES == ("float16", "bfloat16", "float32", "float64")
    assert all({"actufunc", "copy"} <= row["speed"].keys() for row in measured["rows"])
    errors = {(each["function"], each["dtype"]): each for each in measured["errors"]}
    for dtype, inputs in (("float16", 1 << 16), ("bfloat16", 1 << 16), ("float32", 1 << 10), ("float64", 100)):
        assert (errors["relu", dtype]["ulp"], errors["relu", dtype]["inputs"]) == (0, inputs)
    assert "sigmoid(x, out=out)" in measured["overhead"]
    assert (tmp_path / "png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_measures_over_an_axis(gpu: Any, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    import gpu_report

    # One dtype fewer than usual must not break the tables.
    only = [mock.patch.object(module, "DTYPES", ("float32",)) for module in (gpu, gpu_report)]
    with only[0], only[1], mock.patch.object(gpu, "_measure_overhead"):
        assert gpu.main([*ARGUMENTS, "--only", name], stand_in(gpu)) == 0
    out = capsys.readouterr().out
    assert "| function | float32 |\n| --- | --- |\n" in out
    table = dict(re.findall(rf"^\| ({name}[.vjp]*) \| ([\d.]+) ", out, re.MULTILINE))
    assert 0 < float(table[name]) <= 2.5
    assert 0 < float(table[f"{name}.vjp"]) <= 4


def test_subnormal_numbers_are_measured(gpu: Any) -> None:
    x = np.array([0, -0.0, 1e-45, -1e-45, 1.1754942e-38, -1.1754944e-38, 1, -3e38, np.inf, -np.inf, np.nan], np.float32)
    for array in (x, x.astype("bfloat16"), x.astype(np.float64)):
        result = host_view(gpu.gpu_ulp._as_float64(to_device(array)))
        np.testing.assert_array_equal(result, array.astype(np.float64))
        np.testing.assert_array_equal(np.signbit(result[:-1]), np.signbit(x[:-1]))


@pytest.mark.parametrize("name", ["relu_squared", "logit"])
def test_products_of_infinite_derivatives_may_be_infinite(gpu: Any, name: str) -> None:
    case = next(case for case in gpu.cases() if str(case) == f"{name}.vjp")
    assert gpu.gpu_ulp.largest_error(case, "float32", stride=1 << 15).ulp < 4


def test_wrong_values_fail(gpu: Any, capsys: pytest.CaptureFixture[str]) -> None:
    from actufunc.backends.cupy import kernels

    def source(*arguments: Any) -> str:
        text: str = right(*arguments)
        return text.replace("return t0;", "return t0 * 1.000001f;") if arguments[-1] == np.float32 else text

    def forget() -> None:
        kernels.vectors.cache_clear()
        for case in gpu.cases():
            case.function._plans.clear()

    right = kernels.source
    forget()
    dtypes = mock.patch.object(gpu, "DTYPES", ("float16", "float32"))
    with dtypes, mock.patch.object(kernels, "source", source), mock.patch.object(gpu, "_measure_speed"):
        status = gpu.main([*ARGUMENTS, "--only", "relu"], stand_in(gpu))
    forget()
    assert status == 1
    out = capsys.readouterr().out
    assert "WRONG: relu in float32 is off by" in out
    assert "relu in float16 is off" not in out


def test_a_failure_leaves_the_others(gpu: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with mock.patch.object(gpu, "_largest_error", side_effect=MemoryError("out of memory")):
        assert gpu.main([*ARGUMENTS, "--only", "relu", "--sizes", str(1 << 40)], stand_in(gpu)) == 1
    out = capsys.readouterr().out
    assert out.count("WRONG: error of relu.vjp in float32: MemoryError: out of memory") == 1
    assert out.count("not enough memory") == 4


@pytest.mark.parametrize(
    "bad",
    [
        "--only nothing",
        "--sizes 0",
        "--sizes -5",
        "--sizes 1000 --rows 64",
        "--rows 0",
        "--stride 0",
        "--json /no/where/x",
    ],
)
def test_bad_arguments_are_told_first(gpu: Any, bad: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        gpu.main(bad.split(), stand_in(gpu))
    assert "error: " in capsys.readouterr().err.splitlines()[-1]


def test_without_a_gpu(gpu: Any, capsys: pytest.CaptureFixture[str]) -> None:
    import cupy

    with mock.patch.object(cupy.cuda.runtime, "getDeviceCount", return_value=0):
        assert gpu.main([]) == 2
    assert capsys.readouterr().err == "gpu.py: CuPy finds no GPU\n"


def test_too_little_time_is_said(gpu: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main([*ARGUMENTS, "--only", "relu", "--minutes", "0"], stand_in(gpu)) == 0
    out = capsys.readouterr().out
    assert "left out: large arrays: no time" in out
    assert "left out: error of relu in float16: no time" in out
    assert "left out: relu.vjp in float32 with 65536 elements: no time" in out


def test_peers_compute_the_same(gpu: Any) -> None:
    """torch's functions and the formulas in CuPy's operations, on arrays of torch and NumPy in the place of a GPU's."""
    torch = load("torch").module
    import gpu_cases

    rng = np.random.default_rng(0)
    x, g = (to_device(rng.normal(size=(3, 8))) for _ in range(2))
    values = [host_view(x), host_view(g)]
    patches = [
        mock.patch.object(torch, "from_dlpack", lambda array: torch.from_numpy(host_view(array))),
        mock.patch.object(torch.cuda, "is_available", return_value=True),
    ]
    found = 0
    with patches[0], patches[1]:
        for case in gpu.cases():
            expected = case(*values[: case.arrays])
            function = gpu_cases._torch(case)
            if function is not None:
                result = function(*[x, g][: case.arrays])
                result = result[0] if isinstance(result, tuple) else result
                np.testing.assert_allclose(result.detach().numpy(), expected, rtol=1e-12, atol=1e-15)
                found += 1
            if "approximate" not in case.keywords:
                plain = gpu_cases.plain_numpy(case.function, erf=erf, **case.keywords)
                if plain is None:  # sparsemax is no formula
                    continue
                with np.errstate(invalid="ignore"):  # the logarithm of negative numbers
                    np.testing.assert_allclose(
                        plain(*values[: case.arrays]), expected, rtol=1e-12, atol=1e-15, err_msg=str(case)
                    )
    assert found > 20

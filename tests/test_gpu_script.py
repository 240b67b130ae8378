"""benchmarks/gpu.py, as far as it goes without a GPU: everything but the numbers."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import pytest
from conftest import load
from host_gpu import host_view

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def gpu() -> Iterator[Any]:
    """The script, with the few methods of CuPy's arrays that it calls computed here."""
    cupy = load("cupy").module
    folder = str(Path(__file__).parents[1] / "benchmarks")
    methods = {
        "argmax": lambda self: int(np.nanargmax(host_view(self))),
        "__getitem__": lambda self, at, get=cupy.ndarray.__getitem__: (
            float(host_view(self)[at]) if isinstance(at, int) else get(self, at)
        ),
    }
    patches = [mock.patch.object(cupy.ndarray, name, method, create=True) for name, method in methods.items()]
    with mock.patch.object(sys, "path", [folder, *sys.path]):
        for patch in patches:
            patch.start()
        import gpu  # noqa: PLC0415

        faster = {"CHUNK": 1 << 12, "SAMPLE": 100}
        with mock.patch.multiple(gpu.gpu_ulp, **faster), mock.patch.object(gpu, "DTYPES", ("float16", "float32")):
            yield gpu
        for patch in patches:
            patch.stop()


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


ARGUMENTS = ["--no-tests", "--stride", str(1 << 22), "--sizes", "65536", "--rows", "64", "--only", "relu", "softmax"]


def test_measures_and_writes(gpu: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [f"--{kind}={tmp_path / kind}" for kind in ("json", "markdown", "png")]
    with mock.patch.object(gpu, "_ROUND", 0), mock.patch.object(gpu, "_ROUNDS", 1):
        assert gpu.main([*ARGUMENTS, *files], stand_in(gpu)) == 0
    out = capsys.readouterr().out
    assert out == (tmp_path / "markdown").read_text() + "\n"
    measured = json.loads((tmp_path / "json").read_text())
    assert measured["wrong"] == measured["left_out"] == []
    timed = {(row["function"], row["what"], row["dtype"]) for row in measured["rows"]}
    whats = {"relu": ("value", "grad", "vjp"), "softmax": ("value", "vjp")}
    assert timed == {(name, what, dtype) for name in whats for what in whats[name] for dtype in gpu.DTYPES}
    assert all({"actufunc", "copy"} <= row["speed"].keys() for row in measured["rows"])
    errors = {(each["function"], each["dtype"]): each for each in measured["errors"]}
    relu = errors["relu", "float16"]
    assert (relu["ulp"], relu["inputs"]) == (0, 1 << 16)
    assert 0 < errors["softmax", "float32"]["ulp"] <= 2
    assert (tmp_path / "png").read_bytes().startswith(b"\x89PNG")


def test_wrong_values_fail(gpu: Any, capsys: pytest.CaptureFixture[str]) -> None:
    from actufunc.backends.cupy import kernels  # noqa: PLC0415

    def source(*arguments: Any) -> str:
        text: str = right(*arguments)
        return text.replace("return t0;", "return t0 * 1.000001f;") if arguments[-1] == np.float32 else text

    def forget() -> None:
        kernels.vectors.cache_clear()
        for cell in gpu.cells():
            cell.function._elsewhere.clear()

    right = kernels.source
    forget()
    with mock.patch.object(kernels, "source", source), mock.patch.object(gpu, "_measure_speed"):
        status = gpu.main(ARGUMENTS[:-1], stand_in(gpu))
    forget()
    assert status == 1
    out = capsys.readouterr().out
    assert "WRONG: relu in float32 is off by" in out
    assert "relu in float16 is off" not in out


def test_too_little_time_is_said(gpu: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main([*ARGUMENTS, "--minutes", "0"], stand_in(gpu)) == 0
    out = capsys.readouterr().out
    assert "left out: error of relu in float16: no time" in out
    assert "left out: relu.vjp in float32 with 65536 elements: no time" in out


def test_too_little_memory_is_said(gpu: Any, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [*ARGUMENTS[:3], "--sizes", str(1 << 40), "--only", "relu"]
    assert gpu.main(arguments, stand_in(gpu)) == 0
    assert capsys.readouterr().out.count("not enough memory") == 2

"""``actufunc apply`` that is interrupted or killed leaves no partial file; its memory is bounded."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from command import COMMAND, INTERRUPTED, PEAK, TERMINATED, Array, names

from actufunc.cli import _arguments as arguments
from actufunc.cli import main
from actufunc.cli._apply import out_of_core

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working directory, empty but for ``in.npy``, 1000 numbers in float32."""
    monkeypatch.chdir(tmp_path)
    np.save("in.npy", np.random.default_rng(0).standard_normal(1000).astype("float32"))
    return tmp_path


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("exception", "status"),
    [(KeyboardInterrupt(), INTERRUPTED), (arguments._SignalInterrupt(signal.SIGTERM), TERMINATED)],
    ids=["Ctrl-C", "SIGTERM"],
)
def test_interrupted_in_a_block(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, exception: BaseException, status: int
) -> None:
    calls = 0
    read = out_of_core._read

    def interrupted(*arguments: Any) -> Array:
        nonlocal calls
        calls += 1
        if calls == 3:
            assert any(name.startswith(".actufunc-") for name in names())
            raise exception
        return read(*arguments)

    monkeypatch.setattr(out_of_core, "_read", interrupted)
    assert main(["apply", "relu", "in.npy", "-o", "o.npy", "--chunk-mb", "0.001"]) == status
    assert names() == ["in.npy"]
    assert capsys.readouterr().err == "actufunc: interrupted\n"


@pytest.mark.skipif(sys.platform == "win32", reason="no signals between processes")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, INTERRUPTED), (signal.SIGTERM, TERMINATED)])
def test_killed_process_cleans_up(folder: Path, number: int, status: int) -> None:
    np.save("in.npy", np.zeros((2000, 2000)))
    # Of one column at a time, which takes minutes.
    command = [*COMMAND, "apply", "softmax", "in.npy", "-o", "o.npy", "--axis", "0", "--chunk-mb", "0.001"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:  # noqa: S603
        end = time.monotonic() + 50
        while not list(folder.glob(".actufunc-*")):
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.02)
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
    assert process.returncode == status
    assert err == "actufunc: interrupted\n"
    assert names(folder) == ["in.npy"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="counts resident memory as Linux does")
@pytest.mark.parametrize(
    ("name", "shape", "arguments"),
    [
        ("silu", (150, 1000, 125), []),
        ("softmax", (150, 1000, 125), []),
        ("softmax", (150, 500, 200), ["--axis", "0"]),
        ("log_softmax", (3, 2500, 1000), ["--axis", "1"]),
    ],
    ids=["elementwise", "last axis", "first axis", "middle axis"],
)
@pytest.mark.usefixtures("folder")
def test_memory_is_bounded_by_the_chunk(name: str, shape: tuple[int, ...], arguments: list[str]) -> None:
    def peak(shape: tuple[int, ...]) -> float:
        # Nothing but zeros, which take no space on the disk.
        np.lib.format.open_memmap("x.npy", mode="w+", dtype="float64", shape=shape)
        command = ["apply", name, "x.npy", "-o", "y.npy", "--force", "--chunk-mb", "8", *arguments]
        out = subprocess.run([sys.executable, "-c", PEAK, *command], check=True, capture_output=True, text=True)  # noqa: S603
        return int(out.stdout.split()[-1]) * 1024 / 1e6

    small = (max(1, shape[0] // 5), *shape[1:])  # of several chunks, too, which several threads compute
    peak(small)  # fills the cache of compiled kernels
    assert peak(shape) - peak(small) < 8 + 4 + 4

"""Everything that only a GPU can show, in one call.

``python benchmarks/gpu.py [--json FILE] [--markdown FILE] [--png FILE]``

Runs the part of the test suite that is about CuPy, measures the largest error of every function on the device, and
times every function and derivative against a copy from device to device, CuPy's own expressions, `cupyx.scipy.special`
and, where it is installed, torch. Inputs are rotated, so that no cache helps. The exit status is not 0 if any value is
wrong or a test fails.

It needs CuPy and array-api-compat; mpmath for the errors of float64, pytest and what the tests import for the tests,
matplotlib for the chart. What is missing is said and left out. ``--minutes`` bounds the time; cells that it does not
suffice for are left out, and counted.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

SOURCE = Path(__file__).resolve().parents[1] / "src"
sys.path.insert(0, str(SOURCE))

if importlib.util.find_spec("cupy") is None:
    sys.exit("gpu.py: this needs CuPy: pip install cupy-cuda12x or cupy-cuda13x")

import cupy  # noqa: E402
import gpu_ulp  # noqa: E402
import numpy as np  # noqa: E402
from gpu_cells import DTYPES, Cell, cells, dtype_of, peers  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SIZES = (1 << 20, 1 << 24, 1 << 28)
ROWS = (1 << 10, 1 << 12, 1 << 14, 1 << 16)
EXHAUSTIVE = ("sigmoid", "tanh", "softplus", "silu", "gelu", "gelu_tanh", "relu", "elu", "log_sigmoid")
"""Functions that are tried on every float32."""

_WHATS = ("value", "grad", "vjp")

GOALS = {"value": 0.95, "grad": 0.95, "vjp": 0.95, "rows": 0.85}
"""Shares of the copy's bandwidth to be reached with `_GOAL_SIZE` elements."""

_GOAL_SIZE, _GOAL_ULP = 1 << 28, 2.0
_STRIDE = 257  # every how many float32 numbers other functions are tried on
_ROTATED = 512 << 20  # bytes of inputs that are used in turns
_ROUNDS, _ROUND = 5, 2e-3  # and seconds that one round takes at least
_TESTS = {
    "test_cupy.py": ("ml_dtypes",),
    "test_protocol.py": ("ml_dtypes",),
    "test_namespaces.py": ("ml_dtypes", "array_api_strict"),
    "test_training.py": ("sklearn",),
}
"""Files of the test suite that are about CuPy, and what each needs; all need `_FOR_TESTS`."""

_FOR_TESTS = ("pytest", "hypothesis", "mpmath", "numba", "array_api_compat")


class Device:
    """What is asked of the device beside computing."""

    def name(self) -> str:
        """Name the device and the versions."""
        properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
        cuda = cupy.cuda.runtime.runtimeGetVersion()
        return f"{properties['name'].decode()}, CUDA {cuda // 1000}.{cuda % 1000 // 10}, CuPy {cupy.__version__}"

    def free(self) -> int:
        """Return how many bytes are free, once CuPy keeps none."""
        cupy.get_default_memory_pool().free_all_blocks()
        return int(cupy.cuda.runtime.memGetInfo()[0])

    def copy(self, source: Any, target: Any) -> None:
        """Copy from device to device."""
        target.data.copy_from_device_async(source.data, source.nbytes, cupy.cuda.get_current_stream())

    def seconds(self, call: Callable[[int], object], times: int) -> float:
        """Return how long the device takes for calls, by its own clock."""
        start, end = cupy.cuda.Event(), cupy.cuda.Event()
        start.record()
        for number in range(times):
            call(number)
        end.record()
        end.synchronize()
        return float(cupy.cuda.get_elapsed_time(start, end)) / 1000

    def synchronize(self) -> None:
        """Wait."""
        cupy.cuda.get_current_stream().synchronize()


@dataclass
class Row:
    """What was measured in one cell: gigabytes per second by library, that of the copy among them."""

    function: str
    what: str
    dtype: str
    elements: int
    length: int | None
    speed: dict[str, float] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """Our bandwidth over that of the copy."""
        return self.speed["actufunc"] / self.speed["copy"]

    @property
    def goal(self) -> float | None:
        """The share to reach, if this cell counts."""
        if self.elements < _GOAL_SIZE:
            return None
        return GOALS["rows" if self.length else self.what]

    @property
    def fastest(self) -> str | None:
        """The fastest peer, if there is one."""
        others = {name: speed for name, speed in self.speed.items() if name not in {"actufunc", "copy"}}
        return max(others, key=others.__getitem__, default=None)


@dataclass
class Measured:
    """Everything that is written down."""

    device: str
    tests: str = "not run"
    errors: list[dict[str, Any]] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def main(arguments: Sequence[str] | None = None, device: Device | None = None) -> int:
    """Measure, print, and write what is asked for.

    Parameters
    ----------
    arguments : sequence of str, optional
        Of the command line.
    device : Device, optional
        What measures time.

    Returns
    -------
    int
        0 if every value is right.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all that was measured")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables")
    parser.add_argument("--png", type=Path, metavar="FILE", help="draw the shares of the copy's bandwidth")
    parser.add_argument("--minutes", type=float, default=8, help="time to take at most (default 8)")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, metavar="N", help="numbers of elements")
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS, metavar="N", help="lengths of rows of softmax")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="functions to measure")
    parser.add_argument("--stride", type=int, metavar="N", help="try every Nth float32 only")
    parser.add_argument("--no-tests", action="store_true", help="leave the test suite out")
    chosen = parser.parse_args(arguments)
    if device is None and (problem := _without_gpu()):
        print(f"gpu.py: {problem}", file=sys.stderr)
        return 2
    device = device or Device()
    end = time.monotonic() + 60 * chosen.minutes
    measured = Measured(device.name())
    if not chosen.no_tests:
        measured.tests = _run_tests(end - time.monotonic())
        if "failed" in measured.tests:
            measured.wrong.append(f"tests: {measured.tests}")
    wanted = [cell for cell in cells() if not chosen.only or cell.name in chosen.only]
    if missing := _missing(("ml_dtypes",)):
        measured.left_out.append(f"bfloat16: {missing[0]} is missing")
    _measure_errors(wanted, measured, chosen, time.monotonic() + (end - time.monotonic()) / 2)
    _measure_speed(wanted, measured, chosen, device, end)
    text = _as_markdown(measured)
    print(text)
    if chosen.markdown:
        chosen.markdown.write_text(text, encoding="utf-8")
    if chosen.json:
        chosen.json.write_text(json.dumps(asdict(measured), indent=1), encoding="utf-8")
    if chosen.png:
        _draw(measured, chosen.png)
    return 1 if measured.wrong else 0


def _without_gpu() -> str:
    """Say why there is no GPU; nothing if there is one."""
    try:
        return "" if cupy.cuda.runtime.getDeviceCount() else "CuPy finds no GPU"
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return f"CuPy finds no GPU: {error}"


def _run_tests(seconds: float) -> str:
    if missing := _missing(_FOR_TESTS):
        return f"not run, for {' and '.join(missing)} are missing"
    folder = SOURCE.parent / "tests"
    files = [str(folder / name) for name, needed in _TESTS.items() if not _missing(needed)]
    command = [sys.executable, "-m", "pytest", *files, "-q", "-k", "cupy"]
    paths = os.pathsep.join(filter(None, [str(SOURCE), os.environ.get("PYTHONPATH", "")]))
    environment = os.environ | {"PYTHONPATH": paths}
    try:
        done = subprocess.run(  # noqa: S603
            command,
            cwd=SOURCE.parent,
            env=environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=seconds / 2,
        )
    except subprocess.TimeoutExpired:
        return "not finished in half of the time"
    *_, last = done.stdout.strip().splitlines() or ["failed to start"]
    if done.returncode:
        print(done.stdout, done.stderr)
        return f"failed: {last}"
    return f"{last} ({len(files)} of {len(_TESTS)} files)"


def _missing(modules: Sequence[str]) -> list[str]:
    return [name for name in modules if importlib.util.find_spec(name) is None]


def _measure_errors(wanted: list[Cell], measured: Measured, chosen: argparse.Namespace, end: float) -> None:
    # A vjp over an axis is a difference of sums: its error in ulp says nothing. The tests measure it beside its terms.
    meaningful = [cell for cell in wanted if cell.what != "vjp" or not cell.over_axis]
    for cell in sorted(meaningful, key=lambda cell: _WHATS.index(cell.what)):
        for dtype in DTYPES:
            if time.monotonic() > end:
                measured.left_out.append(f"error of {cell} in {dtype}: no time")
                continue
            every = chosen.stride or (1 if cell.name in EXHAUSTIVE and cell.what == "value" else _STRIDE)
            if cell.over_axis and dtype != "float64":
                tried = [gpu_ulp.rows_error(cell, dtype, length) for length in chosen.rows]
            else:
                tried = list(filter(None, [gpu_ulp.largest_error(cell, dtype, stride=every)]))
            if not tried:
                continue
            found = max(tried)
            measured.errors.append({"function": str(cell), "dtype": dtype, **found._asdict()})
            if found.ulp > gpu_ulp.WRONG[dtype]:
                measured.wrong.append(f"{cell} in {dtype} is off by {found.ulp:.3g} ulp at {found.at!r}")


# Speed.


def _measure_speed(
    wanted: list[Cell], measured: Measured, chosen: argparse.Namespace, device: Device, end: float
) -> None:
    for size in sorted(chosen.sizes, reverse=True):  # the largest tells most
        for dtype in DTYPES:
            itemsize = dtype_of(dtype).itemsize
            most = max(cell.arrays for cell in wanted) + 1
            if 2 * most * size * itemsize > device.free():
                measured.left_out.append(f"{dtype} with {size} elements: not enough memory")
                continue
            buffers = _buffers(size, dtype, most)
            copy = _copy_speed(device, buffers)
            for cell in wanted:
                for length in chosen.rows if cell.over_axis else [None]:
                    if time.monotonic() > end:
                        measured.left_out.append(f"{cell} in {dtype} with {size} elements: no time")
                        continue
                    row = Row(cell.name, cell.what, dtype, size, length, {"copy": copy})
                    _time(cell, row, buffers, device)
                    measured.rows.append(row)
            del buffers


def _copy_speed(device: Device, buffers: list[list[Any]]) -> float:
    def copy(n: int) -> None:
        source, *_, target = buffers[n % len(buffers)]
        device.copy(source, target)

    return _gigabytes_per_second(device, copy, 2 * buffers[0][0].nbytes)


def _buffers(size: int, dtype: str, arrays: int) -> list[list[Any]]:
    """Make inputs and an output, so many times that no cache holds them from one turn to the next."""
    count = max(1, min(64, _ROTATED // (arrays * size * dtype_of(dtype).itemsize)))
    made = []
    for number in range(count):
        group = [cupy.empty(size, dtype_of(dtype)) for _ in range(arrays)]
        for place, array in enumerate(group):
            _scrambled()(float(number * arrays + place), array)
        made.append(group)
    return made


def _scrambled() -> Any:
    text = """
        unsigned bits = static_cast<unsigned>(i) * 2654435761u + static_cast<unsigned>(seed) * 40503u;
        bits ^= bits >> 15;
        bits *= 2246822519u;
        bits ^= bits >> 13;
        x = static_cast<T>((static_cast<float>(bits >> 8) / 16777216.0f - 0.5f) * 16.0f);
    """
    return cupy.ElementwiseKernel("float32 seed", "T x", text, "actufunc_scrambled")


def _time(cell: Cell, row: Row, buffers: list[list[Any]], device: Device) -> None:
    """Time our function and those of others, with the shape that the row asks for."""
    shaped = [[a.reshape(-1, row.length) if row.length else a for a in group] for group in buffers]
    count = row.elements * shaped[0][0].dtype.itemsize * (cell.arrays + 1)
    functions: dict[str, Callable[[int], object]] = {
        "actufunc": lambda n: cell(*shaped[n % len(shaped)][: cell.arrays], out=shaped[n % len(shaped)][-1])
    }
    for name, function in peers(cell, shaped[0]).items():
        functions[name] = lambda n, f=function: f(*shaped[n % len(shaped)][: cell.arrays])  # type: ignore[misc]
    for name, function in functions.items():
        row.speed[name] = _gigabytes_per_second(device, function, count)


def _gigabytes_per_second(device: Device, call: Callable[[int], object], count: int) -> float:
    call(0)  # compiles
    device.synchronize()
    times = max(1, min(1000, int(_ROUND / max(device.seconds(call, 1), 1e-7))))
    return count / statistics.median(device.seconds(call, times) / times for _ in range(_ROUNDS)) / 1e9


# What is told.


def _as_markdown(measured: Measured) -> str:
    lines = [f"# {measured.device}", "", f"Tests: {measured.tests}.", ""]
    lines += ["## Largest errors, in ulp", "", "| function | " + " | ".join(DTYPES) + " |", "| --- |" + " --- |" * 4]
    for name in dict.fromkeys(each["function"] for each in measured.errors):
        of = {each["dtype"]: each for each in measured.errors if each["function"] == name}
        texts = (f"{of[d]['ulp']:.3g}" if d in of else "" for d in DTYPES)
        lines.append(f"| {name} | {' | '.join(texts)} |")
    names = [*dict.fromkeys(name for row in measured.rows for name in row.speed)]
    lines += ["", "## GB/s", "", f"| function | dtype | elements | {' | '.join(names)} | of the copy |"]
    lines.append("| --- | --- | --- |" + " --- |" * (len(names) + 1))
    for row in measured.rows:
        of_rows = f", rows of {row.length}" if row.length else ""
        label = row.function if row.what == "value" else f"{row.function}.{row.what}"
        speeds = (f"{row.speed[name]:.0f}" if name in row.speed else "" for name in names)
        size = f"2^{int(np.log2(row.elements))}"
        lines.append(f"| {label}{of_rows} | {row.dtype} | {size} | {' | '.join(speeds)} | {row.share:.0%} |")
    return "\n".join([*lines, "", *_verdict(measured), ""])


def _verdict(measured: Measured) -> list[str]:
    """Say which goals are reached."""
    lines = ["## Goals", ""]
    counting = [row for row in measured.rows if row.goal is not None]
    for what, goal in GOALS.items():
        of = [row for row in counting if ("rows" if row.length else row.what) == what]
        if of:
            worst = min(of, key=lambda row: row.share)
            reached = sum(row.share >= goal for row in of)
            lines.append(
                f"- {what}: {reached} of {len(of)} cells reach {goal:.0%} of the copy's bandwidth;"
                f" the least is {worst.share:.0%} ({worst.function}, {worst.dtype})"
            )
    compared = [row for row in measured.rows if row.fastest]
    ahead = sum(row.speed["actufunc"] >= row.speed[str(row.fastest)] for row in compared)
    lines.append(f"- ahead of every peer in {ahead} of {len(compared)} cells")
    exact = [each for each in measured.errors if each["dtype"] in {"float32", "float64"}]
    if exact:
        within = sum(each["ulp"] <= _GOAL_ULP for each in exact)
        lines.append(f"- {within} of {len(exact)} functions and derivatives within {_GOAL_ULP:g} ulp")
    lines += [f"- left out: {each}" for each in measured.left_out]
    lines += [f"- WRONG: {each}" for each in measured.wrong]
    return lines


_COLOURS = {"float16": "#4477aa", "bfloat16": "#66ccee", "float32": "#228833", "float64": "#ee6677"}


def _draw(measured: Measured, file: Path) -> None:
    """Draw our share of the copy's bandwidth, for the largest size, by function and dtype."""
    import matplotlib as mpl  # noqa: PLC0415

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    largest = max((row.elements for row in measured.rows), default=0)
    rows = [row for row in measured.rows if row.elements == largest]
    labels = [*dict.fromkeys(_label(row) for row in rows)]
    figure, axes = plt.subplots(figsize=(7, 1.4 + 0.25 * len(labels)), layout="constrained")
    for number, dtype in enumerate(DTYPES):
        share = {_label(row): row.share for row in rows if row.dtype == dtype}
        places = [labels.index(label) + 0.18 * (number - (len(DTYPES) - 1) / 2) for label in share]
        axes.plot(list(share.values()), places, "o", color=_COLOURS[dtype], label=dtype, markersize=4)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xlim(left=0)
    axes.set_xlabel(f"bandwidth, as a share of a copy's, with {largest:,} elements")
    axes.set_title(measured.device, fontsize="medium")
    figure.legend(loc="outside upper center", ncols=len(DTYPES), fontsize="small")
    axes.grid(linewidth=0.3)
    figure.savefig(file, dpi=150, format="png")
    plt.close(figure)


def _label(row: Row) -> str:
    name = row.function if row.what == "value" else f"{row.function}.{row.what}"
    return f"{name}, rows of {row.length}" if row.length else name


if __name__ == "__main__":
    sys.exit(main())

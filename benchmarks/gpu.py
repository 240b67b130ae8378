"""Everything that only a GPU can show, in one call.

``python benchmarks/gpu.py [--json FILE] [--markdown FILE] [--png FILE]``

Runs the part of the test suite that is about CuPy, measures the largest error of every function on the device, and
times every function and derivative against a copy from device to device, CuPy's own expressions, `cupyx.scipy.special`
and, where it is installed, torch. Inputs are rotated, so that no cache helps. The exit status is not 0 if any value is
wrong or a test fails.

It needs CuPy and array-api-compat; mpmath for the errors of float64, pytest and what the tests import for the tests,
matplotlib for the chart. What is missing is said and left out. ``--minutes`` bounds the time; cases that it does not
suffice for are left out, and counted. Errors are measured by several processes: most of their time goes into compiling,
which CuPy keeps on disk for the timings, and into mpmath.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib.util
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

SOURCE = Path(__file__).resolve().parents[1] / "src"
sys.path.insert(0, str(SOURCE))

for needed in ("cupy", "array_api_compat"):
    if importlib.util.find_spec(needed) is None:
        sys.exit(f"gpu.py: this needs {needed}: pip install cupy-cuda12x (or cupy-cuda13x) array-api-compat")

import cupy  # noqa: E402
import gpu_ulp  # noqa: E402
import numpy as np  # noqa: E402
from gpu_cases import DTYPES, WHATS, GpuCase, cases, dtype_of, peers  # noqa: E402
from gpu_report import GpuResults, GpuRow, as_markdown, write  # noqa: E402

import actufunc  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

SIZES = (1 << 20, 1 << 24, 1 << 28)
ROWS = (1 << 10, 1 << 12, 1 << 14, 1 << 16)
EXHAUSTIVE = ("sigmoid", "tanh", "softplus", "silu", "gelu", "gelu_tanh", "relu", "elu", "log_sigmoid")
"""Functions that are tried on every float32."""

_CALLS = 2000  # whose mean time is the overhead of one
_LARGE = (1 << 31) + 5000  # elements

_OF_A_PROCESS = 6 << 30  # bytes of the device that a process which measures errors may hold

_STRIDE = 257  # every nth float32 number is tried for other functions
_ROTATED = 512 << 20  # bytes of inputs that are rotated
_ROUNDS, _ROUND = 5, 2e-3  # and seconds that one round takes at least
_TESTS = {
    "backends/cupy/test_cupy.py": ("ml_dtypes",),
    "api/test_ufunc_keywords.py": ("ml_dtypes",),
    "namespaces/test_namespaces.py": ("ml_dtypes", "array_api_strict"),
    "namespaces/test_training.py": ("sklearn",),
}
"""Files of the test suite that are about CuPy, and what each needs; all need `_FOR_TESTS`."""

_FOR_TESTS = ("pytest", "hypothesis", "mpmath", "numba", "array_api_compat")


class Device:
    """Properties and timing of the device."""

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
        """Wait for the device."""
        cupy.cuda.get_current_stream().synchronize()


def main(arguments: Sequence[str] | None = None, device: Device | None = None) -> int:
    """Measure, print, and write what is asked for.

    Parameters
    ----------
    arguments : sequence of str, optional
        Arguments of the command line.
    device : Device, optional
        The device, which measures time.

    Returns
    -------
    int
        0 if every value is right.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", type=_file, metavar="FILE", help="write all that was measured")
    parser.add_argument("--markdown", type=_file, metavar="FILE", help="write the tables")
    parser.add_argument("--png", type=_file, metavar="FILE", help="draw the shares of the copy's bandwidth")
    parser.add_argument("--minutes", type=float, default=8, help="time to take at most (default 8)")
    parser.add_argument("--sizes", type=_count, nargs="+", default=SIZES, metavar="N", help="numbers of elements")
    parser.add_argument("--rows", type=_count, nargs="+", default=ROWS, metavar="N", help="lengths of rows of softmax")
    names = sorted({case.name for case in cases()})
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help="functions to measure")
    parser.add_argument("--stride", type=_count, metavar="N", help="try every Nth float32 only")
    parser.add_argument(
        "--jobs",
        type=_count,
        metavar="N",
        default=os.cpu_count() or 1,
        help="processes (default: one for each processor)",
    )
    parser.add_argument("--no-tests", action="store_true", help="leave the test suite out")
    chosen = parser.parse_args(arguments)
    if any(size % length for size in chosen.sizes for length in chosen.rows):
        parser.error("every size must be a multiple of every length of rows")
    if device is None and (problem := _without_gpu()):
        print(f"gpu.py: {problem}", file=sys.stderr)
        return 2
    if chosen.png and (missing := _missing(("matplotlib",))):
        parser.error(f"--png needs {missing[0]}")
    device = device or Device()
    end = time.monotonic() + 60 * chosen.minutes
    results = GpuResults(device.name())
    if not chosen.no_tests:
        results.tests = _run_tests(end - time.monotonic(), chosen.jobs)
        if results.tests.startswith("failed"):
            results.wrong.append(f"tests: {results.tests}")
    wanted = [case for case in cases() if not chosen.only or case.name in chosen.only]
    for dtype in ("bfloat16",) if "bfloat16" not in DTYPES else ():
        results.left_out.append(f"{dtype}: ml_dtypes, CuPy 14 or NumPy 2.1.2 is missing")
    for what, step in (("overhead", _measure_overhead), ("large arrays", _measure_large)):
        if time.monotonic() > end:
            results.left_out.append(f"{what}: no time")
            continue
        with _recorded(results, what):
            step(results, device)
    _measure_errors(wanted, results, chosen, device, time.monotonic() + (end - time.monotonic()) / 2)
    write(results, chosen.markdown, chosen.json, chosen.png)  # what comes now is long
    _measure_speed(wanted, results, chosen, device, end)
    print(as_markdown(results))
    write(results, chosen.markdown, chosen.json, chosen.png)
    return 1 if results.wrong else 0


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not positive")
    return number


@contextlib.contextmanager
def _recorded(results: GpuResults, what: str) -> Iterator[None]:
    """Count whatever goes wrong as wrong, and go on: the others count as well."""
    try:
        yield
    except Exception as problem:  # noqa: BLE001
        results.wrong.append(f"{what}: {type(problem).__name__}: {problem}")


def _file(text: str) -> Path:
    if Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"{text} is a folder")
    if not Path(text).resolve().parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {Path(text).resolve().parent}")
    return Path(text)


def _without_gpu() -> str:
    """Return the reason why there is no GPU, or ""."""
    try:
        return "" if cupy.cuda.runtime.getDeviceCount() else "CuPy finds no GPU"
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return f"CuPy finds no GPU: {error}"


def _run_tests(seconds: float, jobs: int) -> str:
    if missing := _missing(_FOR_TESTS):
        return f"not run, for {' and '.join(missing)} are missing"
    folder = SOURCE.parent / "tests"
    files = [str(folder / name) for name, needed in _TESTS.items() if not _missing(needed)]
    if not files:
        return f"not run, for {' and '.join(_missing(sorted({*sum(_TESTS.values(), ())})))} are missing"
    command = [sys.executable, "-m", "pytest", *files, "-q", "-k", "cupy", "-n", str(jobs), "--maxprocesses", str(jobs)]
    command += ["-o", "filterwarnings=default"]  # what libraries of other versions warn about is not asked here
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


def _measure_errors(
    wanted: list[GpuCase], results: GpuResults, chosen: argparse.Namespace, device: Device, end: float
) -> None:
    tasks = [
        (case, dtype, chosen.stride or _stride(case), tuple(chosen.rows))
        for case in sorted(wanted, key=lambda case: WHATS.index(case.what))
        for dtype in DTYPES
    ]
    jobs = min(chosen.jobs, max(1, device.free() // _OF_A_PROCESS))
    with contextlib.ExitStack() as stack:
        waiting: list[Callable[[], gpu_ulp.Error | None]]
        if jobs == 1:
            waiting = [functools.partial(_largest_error, *task) for task in tasks]
        else:
            pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"))
            stack.callback(pool.shutdown, cancel_futures=True)
            futures = [pool.submit(_error_of, str(case), dtype, stride, rows) for case, dtype, stride, rows in tasks]
            waiting = [
                functools.partial(lambda future: future.result(max(0, end - time.monotonic())), future)
                for future in futures
            ]
        for (case, dtype, *_), result in zip(tasks, waiting, strict=True):
            what = f"error of {case} in {dtype}"
            if time.monotonic() > end:
                results.left_out.append(f"{what}: no time")
                continue
            found = None
            with _recorded(results, what):
                try:
                    found = result()
                except TimeoutError:
                    results.left_out.append(f"{what}: no time")
            if found is None:
                continue
            results.errors.append({"function": str(case), "dtype": dtype, **found._asdict()})
            if found.ulp > gpu_ulp.WRONG[dtype]:
                results.wrong.append(f"{case} in {dtype} is off by {found.ulp:.3g} ulp at {found.at!r}")


def _stride(case: GpuCase) -> int:
    return 1 if case.name in EXHAUSTIVE and case.what == "value" else _STRIDE


def _error_of(name: str, dtype: str, stride: int, rows: Sequence[int]) -> gpu_ulp.Error | None:
    """Measure an error in a process of its own, which is told the case by its name."""
    return _largest_error(next(case for case in cases() if str(case) == name), dtype, stride, rows)


def _largest_error(case: GpuCase, dtype: str, stride: int, rows: Sequence[int]) -> gpu_ulp.Error | None:
    if case.over_axis and dtype != "float64":
        return max(gpu_ulp.rows_error(case, dtype, length) for length in rows)
    return gpu_ulp.largest_error(case, dtype, stride=stride)


def _measure_large(results: GpuResults, device: Device) -> None:
    """Look at the last elements of an array of more than 2^31: indices of 32 bits would not reach them."""
    size = _LARGE
    if 3 * 2 * size > device.free():
        results.left_out.append(f"an array of {size} elements: not enough memory")
        return
    x, out = (cupy.empty(size, np.float16) for _ in range(2))
    _scrambled()(1.0, x)
    actufunc.sigmoid(x, out=out)
    last = x[-1000:]
    if not (actufunc.sigmoid(last).get() == out[-1000:].get()).all():
        results.wrong.append(f"sigmoid of an array of {size} elements is wrong at its end")
    actufunc.softmax(x.reshape(-1, 8), out=out.reshape(-1, 8))
    if not (actufunc.softmax(last.reshape(-1, 8)).get() == out[-1000:].get().reshape(-1, 8)).all():
        results.wrong.append(f"softmax of an array of {size} elements is wrong at its end")


def _measure_overhead(results: GpuResults, device: Device) -> None:
    """Time calls on small arrays by the host's clock."""
    x = cupy.empty(1000, np.float32)
    out, square, tail = cupy.empty_like(x), x.reshape(10, 100), x[1:]
    _scrambled()(1.0, x)
    kernel = cupy.ElementwiseKernel("T x", "T y", "y = x", "actufunc_nothing")
    calls: dict[str, Callable[[int], object]] = {
        "a kernel of CuPy's, with output": lambda _: kernel(x, out),
        "cupy.exp(x)": lambda _: cupy.exp(x),
        "sigmoid(x)": lambda _: actufunc.sigmoid(x),
        "sigmoid(x, out=out)": lambda _: actufunc.sigmoid(x, out=out),
        "sigmoid(x) in two dimensions": lambda _: actufunc.sigmoid(square),
        "sigmoid(x[1:])": lambda _: actufunc.sigmoid(tail),
        "silu.vjp(x, g)": lambda _: actufunc.silu.vjp(x, x),
        "softmax(x) in two dimensions": lambda _: actufunc.softmax(square),
    }
    for name, call in calls.items():
        with _recorded(results, f"overhead of {name}"):
            call(0)
            device.synchronize()
            start = time.perf_counter()
            for number in range(_CALLS):
                call(number)
            results.overhead[name] = (time.perf_counter() - start) / _CALLS * 1e6
            device.synchronize()


# Speed.


def _measure_speed(
    wanted: list[GpuCase], results: GpuResults, chosen: argparse.Namespace, device: Device, end: float
) -> None:
    for size in sorted(chosen.sizes, reverse=True):  # the largest tells most
        for dtype in DTYPES:
            itemsize = dtype_of(dtype).itemsize
            most = max(case.arrays for case in wanted) + 1
            if 2 * most * size * itemsize > device.free():
                results.left_out.append(f"{dtype} with {size} elements: not enough memory")
                continue
            with _recorded(results, f"speed in {dtype} with {size} elements"):
                buffers = _buffers(size, dtype, most)
                copy = _copy_speed(device, buffers)
                for case in wanted:
                    for length in chosen.rows if case.over_axis else [None]:
                        if time.monotonic() > end:
                            results.left_out.append(f"{case} in {dtype} with {size} elements: no time")
                            continue
                        row = GpuRow(case.name, case.what, dtype, size, length, {"copy": copy})
                        with _recorded(results, f"speed of {case} in {dtype} with {size} elements"):
                            _time(case, row, buffers, device)
                            results.rows.append(row)
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


@functools.cache
def _scrambled() -> Any:
    text = """
        unsigned bits = static_cast<unsigned>(i) * 2654435761u + static_cast<unsigned>(seed) * 40503u;
        bits ^= bits >> 15;
        bits *= 2246822519u;
        bits ^= bits >> 13;
        x = static_cast<T>((static_cast<float>(bits >> 8) / 16777216.0f - 0.5f) * 16.0f);
    """
    return cupy.ElementwiseKernel("float32 seed", "T x", text, "actufunc_scrambled")


def _time(case: GpuCase, row: GpuRow, buffers: list[list[Any]], device: Device) -> None:
    """Time our function and its peers, on arrays of the row's shape."""
    shaped = [[a.reshape(-1, row.length) if row.length else a for a in group] for group in buffers]
    count = row.elements * shaped[0][0].dtype.itemsize * (case.arrays + 1)
    functions: dict[str, Callable[[int], object]] = {
        "actufunc": lambda n: case(*shaped[n % len(shaped)][: case.arrays], out=shaped[n % len(shaped)][-1])
    }
    for name, function in peers(case, shaped[0]).items():
        functions[name] = lambda n, f=function: f(*shaped[n % len(shaped)][: case.arrays])  # type: ignore[misc]
    for name, function in functions.items():
        row.speed[name] = _gigabytes_per_second(device, function, count)


def _gigabytes_per_second(device: Device, call: Callable[[int], object], count: int) -> float:
    call(0)  # compiles
    device.synchronize()
    times = max(1, min(1000, int(_ROUND / max(device.seconds(call, 1), 1e-7))))
    return count / statistics.median(device.seconds(call, times) / times for _ in range(_ROUNDS)) / 1e9


if __name__ == "__main__":
    sys.exit(main())

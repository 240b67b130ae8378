"""The number of threads, and the settings, libraries and processes that decide it."""

from __future__ import annotations

import asyncio
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from programs import run

import actufunc
from actufunc import _threads as threads

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

needs_two = pytest.mark.skipif(threads.processors() == 1, reason="one processor")


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Leave the number of threads as it was."""
    before = threads._requested
    yield
    threads._requested = before


def test_setting() -> None:
    available = actufunc.get_num_threads()
    actufunc.set_num_threads(1)
    assert actufunc.get_num_threads() == 1
    actufunc.set_num_threads(np.int64(1000))
    assert actufunc.get_num_threads() == available
    with actufunc.num_threads(1):
        assert actufunc.get_num_threads() == 1
        with actufunc.num_threads(available):
            assert actufunc.get_num_threads() == available
        assert actufunc.get_num_threads() == 1
    assert actufunc.get_num_threads() == available


@pytest.mark.parametrize(
    ("wrong", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError), ("2", TypeError), (True, TypeError)]
)
def test_wrong_settings(wrong: Any, error: type[Exception]) -> None:
    before = actufunc.get_num_threads()
    with pytest.raises(error, match="the number of threads must be"):
        actufunc.set_num_threads(wrong)
    with pytest.raises(error, match="the number of threads must be"):
        actufunc.num_threads(wrong)
    assert actufunc.get_num_threads() == before


@needs_two
def test_a_context_is_of_one_thread_and_one_task() -> None:
    many = actufunc.get_num_threads()
    with actufunc.num_threads(1), ThreadPoolExecutor(1) as executor:
        assert executor.submit(actufunc.get_num_threads).result() == many

    @actufunc.num_threads(1)
    def decorated() -> int:
        return actufunc.get_num_threads()

    assert (decorated(), actufunc.get_num_threads(), decorated()) == (1, many, 1)

    block = actufunc.num_threads(1)  # may be used again, also within itself
    with block:
        with block:
            assert actufunc.get_num_threads() == 1
        assert actufunc.get_num_threads() == 1
    assert actufunc.get_num_threads() == many

    async def task(n: int) -> int:
        with actufunc.num_threads(n):
            await asyncio.sleep(0)
            return actufunc.get_num_threads()

    async def both() -> list[int]:
        return await asyncio.gather(task(1), task(many))

    assert asyncio.run(both()) == [1, many]


NO_OTHERS = {"OPENBLAS_NUM_THREADS": "1"}  # Numba imports SciPy
ASK = "import actufunc; print(actufunc.get_num_threads())"


def test_environment() -> None:
    assert run(ASK, ACTUFUNC_NUM_THREADS="1").split() == ["1"]
    assert run(ASK, NUMBA_NUM_THREADS="1").split() == ["1"]
    assert run(ASK, ACTUFUNC_NUM_THREADS=" ").split() == [str(actufunc.get_num_threads())]
    code = "import numba, numpy, actufunc; actufunc.sigmoid(numpy.ones(3)); print(actufunc.get_num_threads())"
    assert run(code, NUMBA_NUM_THREADS="1").split() == ["1"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *[("1", 1), (" 1 ", 1), ("1,8", 1), ("1, 8 ,2", 1), ("+1", 1)],
        *[("1000", None), ("1000,1", None), ("", None), (" ", None)],
        # As if it were not set, which is what GNU's and LLVM's OpenMP say of it.
        *[("0", None), ("-1", None), ("many", None), ("1.5", None), ("1,", None), (",1", None), ("1,many", None)],
        *[("1,0", None), ("1 8", None), ("1_0", None), ("\N{SUPERSCRIPT ONE}", None)],
    ],
)
def test_openmp(text: str, expected: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", text)
    limit = threads._openmp_limit()
    assert limit == (1000 if expected is None and text.startswith("1000") else expected)


def test_openmp_limits_all_that_is_asked_for() -> None:
    code = """
        import os, numpy, actufunc
        actufunc.set_num_threads(8)
        print(actufunc.get_num_threads())
        with actufunc.num_threads(8):
            print(actufunc.get_num_threads())
        before = len(os.listdir("/proc/self/task")) if os.path.exists("/proc/self/task") else 0
        actufunc.sigmoid(numpy.ones(1_000_000))
        print((len(os.listdir("/proc/self/task")) if before else 0) - before)
    """
    assert run(code, OMP_NUM_THREADS="1,4", ACTUFUNC_NUM_THREADS="8", **NO_OTHERS).split() == ["1", "1", "0"]
    assert int(run(ASK, OMP_NUM_THREADS="2", ACTUFUNC_NUM_THREADS="1")) == 1


@pytest.mark.parametrize("text", ["0", "many", "-1", "1.5"])
def test_wrong_environment(text: str) -> None:
    code = """
        try:
            import actufunc
        except ValueError as error:
            print(error)
    """
    said = run(code, ACTUFUNC_NUM_THREADS=text).strip()
    assert said == f"the environment variable ACTUFUNC_NUM_THREADS must be a positive integer, not {text!r}"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity here")
def test_affinity_is_respected_also_when_it_changes() -> None:
    code = """
        import os, numpy, actufunc
        x = numpy.linspace(-5, 5, 1_000_000)
        y = actufunc.sigmoid(x)
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        assert (actufunc.sigmoid(x) == y).all()
        print(actufunc.get_num_threads())
    """
    assert run(code).split() == ["1"]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, sys.maxsize),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, sys.maxsize),
        ({"cpu.max": "nonsense"}, sys.maxsize),
        ({}, sys.maxsize),
    ],
)
def test_limit_of_a_container(files: dict[str, str], expected: int, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert threads._container_limit.__wrapped__(tmp_path) == expected


def test_numbas_own_limit_is_respected() -> None:
    code = """
        import numpy, numba, actufunc
        from actufunc.backends.numpy.threading import tbb
        if tbb.is_usable():
            x = numpy.linspace(-5, 5, 1_000_000)
            y = actufunc.sigmoid(x)
            numba.set_num_threads(1)
            assert (actufunc.sigmoid(x) == y).all()
            assert numba.get_num_threads() == 1
            numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
            with actufunc.num_threads(1):
                actufunc.sigmoid(x)
            assert numba.get_num_threads() == numba.config.NUMBA_NUM_THREADS
    """
    run(code)


TASKS = "import os; count = lambda: len(os.listdir('/proc/self/task'))"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_one_thread_is_really_one() -> None:
    code = """
        import numpy
        before = count()
        import actufunc
        actufunc.set_num_threads(1)
        x = numpy.linspace(-5, 5, 1_000_000)
        actufunc.sigmoid(x, out=x)
        actufunc.relu(x)
        actufunc.softmax(x.reshape(-1, 1000), axis=0)
        import numba
        try:
            print(numba.threading_layer())
        except ValueError:
            print(count() - before)
    """
    assert run(TASKS, code, **NO_OTHERS).split() == ["0"]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@needs_two
def test_threads_start_at_the_first_large_call() -> None:
    code = """
        import numpy
        before = count()
        import actufunc
        actufunc.sigmoid(numpy.ones(10_000))
        print(count() - before)
        actufunc.sigmoid(numpy.ones(1_000_000))
        print(count() > before)
    """
    assert run(TASKS, code, **NO_OTHERS).split() == ["0", "True"]


def test_the_start_method_of_multiprocessing_stays_open() -> None:
    """Numba would fix it when it launches threads."""
    code = """
        import multiprocessing, numpy, actufunc
        actufunc.sigmoid(numpy.ones(1_000_000))
        multiprocessing.set_start_method("spawn")
    """
    run(code)


def test_a_kind_of_threads_that_is_asked_for_is_left_alone() -> None:
    code = """
        import numpy, actufunc, numba
        x = numpy.ones(1_000_000)
        y = actufunc.sigmoid(x)
        from actufunc.backends.numpy.threading import tbb
        print(tbb.description())
        try:
            numba.threading_layer()
        except ValueError:
            print("none")
    """
    assert run(code, NUMBA_THREADING_LAYER="omp").splitlines() == [
        "threads of Python (Numba is set to another layer than TBB)",
        "none",
    ]


def test_no_tbb() -> None:
    code = """
        import numpy, actufunc
        from actufunc.backends.numpy.threading import tbb
        tbb._load_library = lambda: False
        x = numpy.ones(1_000_000)
        y = actufunc.sigmoid(x)
        print(tbb.description())
    """
    assert run(code).strip() == "threads of Python (TBB is not installed)"


def test_the_interpreter_shuts_down_around_calls() -> None:
    code = """
        import atexit, threading, time, numpy, actufunc
        x = numpy.linspace(-5, 5, 1_000_000)
        y = actufunc.sigmoid(x)
        z = actufunc.softmax(x.reshape(-1, 1000))
        def last():
            assert (actufunc.sigmoid(x) == y).all()
            assert (actufunc.softmax(x.reshape(-1, 1000)) == z).all()
            print("fine")
        atexit.register(last)
        def forever():
            while True:
                actufunc.softmax(x.reshape(-1, 1000))
        threading.Thread(target=forever, daemon=True).start()
        time.sleep(0.1)
    """
    assert run(code).strip() == "fine"

"""Threads, forks and processes, in each state in which another user of Numba may leave the process.

What is tried runs in programs of their own with a time limit: what could go wrong here kills or hangs a process.
"""

from __future__ import annotations

import itertools
import sys

import pytest
from programs import run

# The launcher of Numba's threads before the first large call: nobody (then TBB serves, where it is installed), or other
# code, which has chosen any kind of threads.
THREADS = {"nobody": "", "TBB": "launch('tbb')", "OpenMP": "launch('omp')", "workqueue": "launch('workqueue')"}

PRELUDE = """
import concurrent.futures, multiprocessing, os, signal, sys, threading
import numpy as np
import actufunc
from actufunc.backends.numpy.threading import tbb

def launch(name):
    import numba
    tbb._load_library()  # Numba by itself does not find it in a wheel
    numba.config.THREADING_LAYER = name
    try:
        total()
    except ValueError as error:
        print("skip:", error)
        sys.exit()
    numba.config.THREADING_LAYER = "default"
    assert numba.threading_layer() == name

def total():
    import numba
    @numba.njit(parallel=True)
    def sums(n):
        result = 0
        for i in numba.prange(n):
            result += i
        return result
    assert sums(1000) == 499500

x = np.linspace(-10, 10, 1 << 19, dtype=np.float32).reshape(512, 1024)
cotangent = np.ones_like(x)
with actufunc.num_threads(1):
    expected = [actufunc.sigmoid(x), actufunc.gelu.vjp(x, cotangent), actufunc.softmax(x), actufunc.relu(x)]

def check(rounds=2):
    for _ in range(rounds):
        results = [actufunc.sigmoid(x), actufunc.gelu.vjp(x, cotangent), actufunc.softmax(x)]
        in_place = x.copy()
        results.append(actufunc.relu(in_place, out=in_place))
        for result, right in zip(results, expected):
            np.testing.assert_array_equal(result, right)

def forked(child):
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            signal.alarm(60)
            child()
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
"""

SITUATIONS = {
    "4 threads": """
        check()
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            for done in [pool.submit(check) for _ in range(8)]:
                done.result()
        check()
    """,
    "first call in 4 threads": """
        threads = [threading.Thread(target=check) for _ in range(4)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        check()
    """,
    "fork after use": """
        check()
        forked(check)
        forked(lambda: forked(check))
        check()
        with multiprocessing.get_context("fork").Pool(2) as pool:
            for result in pool.map(actufunc.sigmoid, [x] * 4):
                np.testing.assert_array_equal(result, expected[0])
        check()
    """,
    "fork before use": """
        forked(check)
        check()
    """,
    "fork while threads work": """
        check()
        stop = threading.Event()
        def work():
            while not stop.is_set():
                check(1)
        threads = [threading.Thread(target=work) for _ in range(3)]
        [thread.start() for thread in threads]
        for _ in range(5):
            forked(check)
        stop.set()
        [thread.join() for thread in threads]
        check()
    """,
    "pre-fork server": """
        check()  # warm up, then fork workers that serve and exit as a program does
        workers = []
        for _ in range(3):
            pid = os.fork()
            if pid == 0:
                signal.alarm(60)
                check()
                sys.exit(0)
            workers.append(pid)
        assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in workers] == [0] * 3
        check()
    """,
    "spawn": """
        check()
        for method in ("spawn", "forkserver"):
            with multiprocessing.get_context(method).Pool(2) as pool:
                for result in pool.map(actufunc.sigmoid, [x] * 3):
                    np.testing.assert_array_equal(result, expected[0])
        with concurrent.futures.ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
            np.testing.assert_array_equal(pool.submit(actufunc.softmax, x).result(), expected[2])
        check()
    """,
    "nested": """
        import numba
        errors = []
        def one():
            try:
                check(1)
            except BaseException as error:
                errors.append(error)
        @numba.njit(parallel=True)
        def outer(n):
            for _ in numba.prange(n):
                with numba.objmode():
                    one()
        check()
        outer(4)
        assert not errors, errors
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for done in [pool.submit(lambda: pool.submit(check) and check()) for _ in range(2)]:
                done.result()
        check()
    """,
    "dask": """
        import dask.array as da
        check()
        lazy = actufunc.sigmoid(da.from_array(x, chunks=(512, 1024)))
        for scheduler in ("threads", "processes"):
            np.testing.assert_array_equal(lazy.compute(scheduler=scheduler), expected[0])
        check()
    """,
}


# A program for some of them: each begins with a first use of its own kind, and goes on after uses of all kinds.
TOGETHER = (
    ("fork before use", "4 threads", "fork after use"),
    ("first call in 4 threads", "fork while threads work", "pre-fork server"),
    ("nested", "dask", "spawn"),
)


def test_every_situation_is_tried() -> None:
    assert sorted(itertools.chain(*TOGETHER)) == sorted(SITUATIONS)


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
@pytest.mark.parametrize(
    "situations", [*TOGETHER[:2], pytest.param(TOGETHER[2], marks=pytest.mark.slow)], ids=", then ".join
)
@pytest.mark.parametrize(
    "running", [pytest.param(each, marks=[] if each == "nobody" else pytest.mark.slow) for each in THREADS]
)
def test_situations(running: str, situations: tuple[str, ...]) -> None:
    programs = (SITUATIONS[each] for each in situations)
    printed = run(PRELUDE, THREADS[running], *programs, "print(tbb.description())", options=("-X", "dev")).strip()
    if printed.startswith("skip:"):
        pytest.skip(printed)
    assert (
        printed
        in {
            "nobody": {"TBB", "threads of Python (TBB is not installed)"},
            "TBB": {"TBB"},
            "OpenMP": {"threads of Python (Numba already runs on omp)"},
            "workqueue": {"threads of Python (Numba already runs on workqueue)"},
        }[running]
    )

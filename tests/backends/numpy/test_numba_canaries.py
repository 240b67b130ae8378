"""Behaviour of Numba that the backend works around; a release that changes it is noticed.

Where one of these fails, Numba has mended it, and what we do about it may become simpler.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import numpy as np
import pytest
from llvmlite import binding
from memory import Memory
from numba import njit, vectorize
from programs import outcome

from actufunc import sigmoid
from actufunc.backends.numpy.jit.numba_patches import ASK_FOR_LOCK

if TYPE_CHECKING:
    from pathlib import Path

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="GNU OpenMP, and signals as of Linux")

UFUNC = """
    import os, sys, threading
    import numpy as np
    import numba
    @numba.vectorize(["float64(float64)"], target=TARGET)
    def negated(x):
        return -x
    ufunc = getattr(negated, "ufunc", negated)
    x = np.arange(1.0, 1_000_001.0)
"""


def beside_ufunc(code: str, *, target: str = "cpu", before: str = "", **environment: str) -> tuple[int, str]:
    """Run a program around a ufunc of Numba; return its exit status and what it wrote to stderr."""
    status, _, errors = outcome(before, f"TARGET = {target!r}", UFUNC, code, **environment)
    return status, errors


@vectorize(["float64(float64)"])
def negated(x: float) -> float:
    """Negate."""
    return -x


def test_the_strides_of_the_output_are_ignored() -> None:
    buffer = np.full(20, 7.25)
    negated.ufunc(np.arange(1.0, 6.0), out=buffer[:10:2])
    np.testing.assert_array_equal(buffer[:5], -np.arange(1.0, 6.0))  # not every other element
    np.testing.assert_array_equal(buffer[5:], 7.25)


@on_linux
def test_a_reversed_output_is_overrun_past_the_end_of_its_memory() -> None:
    """The guard pages of `Memory` catch it; our guard does not let it happen."""
    code = """
        from memory import Memory
        memory = Memory()
        out = memory.view((16,), "float64", (-8,), 1.0)  # its first element is the last of the memory
        {call}(x[:16], out=out)
        assert (out <= 1).all()
    """
    status, _ = beside_ufunc(code.format(call="ufunc"))
    assert status == -signal.SIGSEGV
    status, errors = beside_ufunc(
        code.format(call="from actufunc import sigmoid; (lambda x, out: sigmoid(-x, out=out))")
    )
    assert (status, errors) == (0, "")


@pytest.mark.skipif(sys.platform == "win32", reason="mprotect")
def test_reading_past_an_input_would_be_caught_as_well() -> None:
    memory = Memory()
    for place in (0.0, 1.0):
        x = memory.view((33,), "float32", (4,), place)
        x[:] = 1
        np.testing.assert_array_equal(sigmoid(x), np.full(33, sigmoid(np.float32(1))))


def test_where_is_refused() -> None:
    with pytest.raises((TypeError, ValueError)):
        negated.ufunc(np.ones(3), out=np.zeros(3), where=np.array([True, False, True]))


def test_the_dynamic_ufunc_is_not_the_ufunc() -> None:
    """Its ``__call__`` costs three times that of the `numpy.ufunc` within."""
    assert isinstance(negated.ufunc, np.ufunc)
    assert not isinstance(negated, np.ufunc)


@on_linux
def test_openmp_calls_a_kernel_once_per_element() -> None:
    code = """
        import ctypes
        ufunc(x)  # launches
        from numba.np.ufunc import omppool
        calls = []
        kernel = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4)(lambda *_: calls.append(1))
        pointers, sizes = ctypes.c_void_p * 2, ctypes.c_size_t * 2
        parallel_for = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 5, *[ctypes.c_size_t] * 2, ctypes.c_int)(
            omppool.parallel_for
        )
        parallel_for(ctypes.cast(kernel, ctypes.c_void_p), ctypes.cast(pointers(), ctypes.c_void_p),
                     ctypes.cast(sizes(1000, 1000), ctypes.c_void_p), ctypes.cast(sizes(8, 8), ctypes.c_void_p),
                     None, 1, 2, 1)
        sys.exit(0 if len(calls) == 1000 else 1)
    """
    assert beside_ufunc(code, target="parallel", NUMBA_THREADING_LAYER="omp") == (0, "")


@on_linux
def test_openmp_kills_a_forked_child() -> None:
    code = """
        ufunc(x)
        child = os.fork()
        if child == 0:
            ufunc(x)
            os._exit(0)
        sys.exit(0 if os.waitpid(child, 0)[1] else 1)
    """
    status, errors = beside_ufunc(code, target="parallel", NUMBA_THREADING_LAYER="omp")
    assert status == 0
    assert "Terminating: fork() called from a process already using GNU OpenMP" in errors


@on_linux
def test_workqueue_aborts_when_two_threads_enter_it() -> None:
    code = """
        threads = [threading.Thread(target=lambda: [ufunc(x) for _ in range(1000)]) for _ in range(4)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
    """
    status, errors = beside_ufunc(code, target="parallel", NUMBA_THREADING_LAYER="workqueue")
    assert status == -signal.SIGABRT
    assert "Concurrent access has been detected" in errors


@on_linux
def test_tbb_complains_at_a_fork_if_another_thread_has_used_it() -> None:
    """On stdout. So our parallel kernels run in the main thread only."""
    code = """
        used, forked = threading.Event(), threading.Event()
        def use():
            ufunc(x)
            used.set()
            forked.wait()
        ufunc(x)
        threading.Thread(target=use).start()
        used.wait()
        os.dup2(2, 1)
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        forked.set()
    """
    load = "from actufunc.backends.numpy.threading import tbb; tbb._load_library()"
    status, errors = beside_ufunc(code, before=load, target="parallel", NUMBA_THREADING_LAYER="tbb")
    if "No threading layer could be loaded" in errors:
        pytest.skip("TBB is not installed")
    assert status == 0
    assert "Unable to join threads to shut down before fork()" in errors


@on_linux
def test_numba_keeps_a_kernel_in_two_files(tmp_path: Path) -> None:
    """Named by a counter of the process that writes them: together, those of two processes call the address 0.

    Hence our own files, and all that `numba_patches` needs for them.
    """
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent("""
            import sys, numba, numpy as np
            if len(sys.argv) > 1:
                numba.njit("f8(f8)")(lambda x: x)  # counted
            @numba.guvectorize(["void(f8[:], f8[:])"], "(n)->(n)", cache=True)
            def copy(x, out):
                for i in range(x.size):
                    out[i] = x[i]
            assert copy(np.ones(2)).sum() == 2
        """)
    )
    cache = tmp_path / "cache"

    def status(*arguments: str) -> int:
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
        command = [sys.executable, str(program), *arguments]
        return subprocess.run(command, env=environment, check=False, timeout=60).returncode  # noqa: S603

    assert status() == 0
    for path in cache.rglob("program.copy*"):
        path.unlink()
    assert status("counted") == -signal.SIGSEGV


def test_numba_asks_for_no_wide_vectors() -> None:
    """Hence `vectors`."""
    (text,) = njit(["float64(float64)"])(lambda x: -x).inspect_llvm().values()
    assert "prefer-vector-width" not in text
    assert "stackrealign" not in text


def test_numba_asks_for_the_lock_of_the_interpreter() -> None:
    """By this symbol; `vectors` leaves out of kernels the code that raises exceptions."""
    assert binding.address_of_symbol(ASK_FOR_LOCK)

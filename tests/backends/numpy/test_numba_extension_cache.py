"""Functions that users compile with Numba: its cache, other processes and threads, and its JIT disabled."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest
from numba.core.errors import NumbaError
from programs import run

from actufunc.backends.numpy.jit import numba_cache
from actufunc.backends.numpy.threading import tbb

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True, scope="module")
def _tbb_first() -> None:
    """Launch TBB, for a process has threads of one kind: parallel code here would let Numba choose OpenMP."""
    tbb.is_usable()


def test_a_cached_function_is_loaded_by_the_next_process(tmp_path: Path) -> None:
    (tmp_path / "users_module.py").write_text(
        """
import numba
from actufunc import sigmoid, tanh

@numba.njit(cache=True)
def compute(x, out):
    for i in range(x.size):
        out[i] = sigmoid(x[i]) + 1
    return tanh(x)

@numba.njit(cache=True)
def apply(function, x):
    return function(x)
"""
    )
    program = f"""
        import sys
        sys.path.insert(0, {str(tmp_path)!r})
        import numpy, actufunc, users_module
        x = numpy.linspace(-5, 5, 100)
        out = numpy.empty_like(x)
        assert (users_module.compute(x, out) == actufunc.tanh(x)).all()
        assert (out == actufunc.sigmoid(x) + 1).all()
        for function in (actufunc.gelu, actufunc.sigmoid):
            assert users_module.apply(function, 0.5) == function(0.5)
        for function in (users_module.compute, users_module.apply):
            print(sum(function.stats.cache_hits.values()))
    """
    assert run(program, NUMBA_CACHE_DIR=str(tmp_path)).split() == ["0", "0"]
    assert run(program, NUMBA_CACHE_DIR=str(tmp_path)).split() == ["1", "2"]


def test_a_broken_cache_is_mended(tmp_path: Path) -> None:
    """What users' functions call is kept by Numba, as only Numba can link it into others."""
    program = """
        import numba, actufunc
        assert numba.njit(lambda x: actufunc.sigmoid(x))(0.0) == 0.5
    """
    run(program, NUMBA_CACHE_DIR=str(tmp_path))
    kept = {path: path.stat().st_size for path in tmp_path.rglob("*.nb?")}
    assert len(kept) == 2
    for path in kept:
        path.write_bytes(path.read_bytes()[:100])
        run(program, NUMBA_CACHE_DIR=str(tmp_path))
        assert {path: path.stat().st_size for path in kept} == kept


@pytest.mark.parametrize("error", [MemoryError, NumbaError])
def test_what_is_no_fault_of_the_cache_is_raised(error: type[Exception]) -> None:
    tried = []

    def build(*, cache: bool) -> None:
        tried.append(cache)
        raise error("no fault of the cache")

    with pytest.raises(error, match="no fault"):
        numba_cache.compile_cached(build, lambda: None)
    assert tried == [True]
    assert numba_cache._cache_works


def test_one_file_that_cannot_be_written_stops_no_other() -> None:
    """A name that is too long, say."""

    def build(*, cache: bool) -> str:
        if cache:
            raise OSError(errno.ENAMETOOLONG, "File name too long")
        return "compiled"

    assert numba_cache.compile_cached(build, lambda: None) == "compiled"
    assert numba_cache._cache_works


def test_first_use_in_many_threads_and_in_a_fork() -> None:
    """And Numba without an activation does not import us."""
    code = """
        import os, sys, threading, numba
        assert numba.njit(lambda x: x + 1)(1) == 2 and "actufunc" not in sys.modules
        import actufunc
        functions = [actufunc.sigmoid, actufunc.tanh, actufunc.gelu, actufunc.silu]
        start = threading.Barrier(8)
        results = {}
        def work(i):
            function = functions[i % 4]
            compute = numba.njit((lambda x: function(x)) if i < 4 else (lambda f, x: f(x)))
            start.wait()
            results[i] = compute(0.5) if i < 4 else compute(function, 0.5)
        threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        assert results == {i: functions[i % 4](0.5) for i in range(8)}
        if hasattr(os, "fork"):
            child = os.fork()
            if child == 0:
                os._exit(0 if numba.njit(lambda x: actufunc.elu(x))(0.5) == 0.5 else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    """
    run(code)


def test_without_jit() -> None:
    """``NUMBA_DISABLE_JIT`` leaves functions to Python, but not those of ``vectorize``."""
    code = """
        import numba, actufunc
        assert numba.njit(lambda x: actufunc.sigmoid(x))(0.0) == 0.5
        assert numba.vectorize(["float64(float64)"])(lambda x: actufunc.silu(x, 3.0))(0.5) == actufunc.silu(0.5, 3.0)
    """
    run(code, NUMBA_DISABLE_JIT="1")

"""Interrupts and exhausted memory leave nothing broken, and calls leak nothing."""

from __future__ import annotations

import gc
import os
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from programs import run

from actufunc import gelu, prelu, relu, sigmoid, softmax

if TYPE_CHECKING:
    from collections.abc import Callable

SMALL = np.linspace(-3, 3, 10)
LARGE = np.linspace(-3, 3, 1 << 20, dtype=np.float32)  # enough for threads, whoever runs them
HUGE = np.broadcast_to(np.float32(1), (1 << 50,))  # 4 PiB, for a result of its own


def refused(x: Any, out: Any) -> None:
    for call in (lambda: sigmoid(x, out=out[1:]), lambda: sigmoid(x.astype(complex)), lambda: softmax(x, axis=3)):
        try:
            call()
        except (TypeError, ValueError):
            continue
        raise AssertionError("the call should be refused")


CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "fresh": lambda x, out: sigmoid(x),
    "out": lambda x, out: sigmoid(x, out=out),
    "in place": lambda x, out: relu(out, out=out),
    "strided": lambda x, out: gelu(x[::2], out=out[::2]),
    "masked": lambda x, out: gelu(x, out=out, where=x > 0),
    "half": lambda x, out: sigmoid(x, dtype="float16"),
    "hyperparameter": lambda x, out: prelu(x, x, out=out),
    "vjp": lambda x, out: gelu.vjp(x, x, out=out),
    "over an axis": lambda x, out: softmax(x.reshape(-1, 2), axis=0, out=out.reshape(-1, 2)),
    "short rows": lambda x, out: softmax.vjp(x.reshape(-1, 2), x.reshape(-1, 2)),
    "wrong": refused,
}


@pytest.mark.parametrize("x", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_reference_counts_stay(call: Callable[[Any, Any], Any], x: Any) -> None:
    x, out = x.copy(), x.copy()
    gc.freeze()  # what other tests have left is none of this one's business, and takes long to look through

    def counts() -> list[int]:
        gc.collect()
        return [sys.getrefcount(x), sys.getrefcount(out), sys.getrefcount(np.dtype(np.float16))]

    call(x, out)
    before = counts()
    for _ in range(20):
        call(x, out)
    after = counts()
    gc.unfreeze()
    assert after[:2] == before[:2]
    assert abs(after[2] - before[2]) < 5


MEASURE = """
    import os, numpy as np, actufunc
    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")
    def grown(call, times):
        for _ in range(max(10, times // 10)):
            call()
        before = resident()
        for _ in range(times):
            call()
        return (resident() - before) / 1e6
    small, large = np.linspace(-3, 3, 10), np.linspace(-3, 3, 1 << 20, dtype=np.float32)
    out, rows = np.empty_like(large), large.reshape(-1, 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_stays_flat() -> None:
    code = """
        print(grown(lambda: actufunc.sigmoid(small), 100_000))
        print(grown(lambda: actufunc.sigmoid(small, out=out[:10]), 10_000))
        print(grown(lambda: actufunc.leaky_relu(small, 0.25), 10_000))
        print(grown(lambda: actufunc.relu(small[::2], out=small[::2]), 10_000))
        print(grown(lambda: actufunc.sigmoid(large), 1000))
        print(grown(lambda: actufunc.gelu(large, out=out), 1000))
        print(grown(lambda: actufunc.relu(large, out=large), 1000))
        print(grown(lambda: actufunc.softmax(rows), 500))
        from actufunc.backends.numpy.threading import tbb
        tbb.is_usable = lambda: False
        print(grown(lambda: actufunc.sigmoid(large), 1000))
    """
    assert max(map(float, run(MEASURE, code).split())) < 2  # megabytes


def test_results_that_cannot_be_allocated() -> None:
    for call in (
        lambda: sigmoid(HUGE),
        lambda: gelu.vjp(HUGE, HUGE),
        lambda: softmax(HUGE),
        lambda: softmax(HUGE.reshape(-1, 2), axis=0),
        lambda: sigmoid(HUGE, dtype="float64"),
    ):
        with pytest.raises(MemoryError):
            call()
    np.testing.assert_array_equal(sigmoid(np.zeros(3)), [0.5] * 3)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="signals of a POSIX system")
@pytest.mark.parametrize("tbb", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["TBB", "pool"])
def test_interrupts_leave_the_interpreter_sane(tbb: bool) -> None:
    """Ctrl-C at random moments, while functions are traced and compiled and while they compute."""
    code = f"""
        import os, random, signal, time, numpy as np, actufunc
        from actufunc import activation
        from actufunc.backends.numpy.threading import tbb
        from actufunc.formula import tanh
        if not {tbb}:
            tbb.is_usable = lambda: False
        x = np.linspace(-5, 5, 1 << 20, dtype=np.float32)
        rows, out, turned = x.reshape(-1, 1024), np.empty_like(x), x.reshape(2, -1).T
        in_place = x.copy()
        def work(n):
            actufunc.sigmoid(x)
            actufunc.gelu(x, out=out)
            actufunc.relu(in_place, out=in_place)
            actufunc.softmax(rows, axis=0)
            actufunc.softmax(turned)
            actufunc.elu(turned[::2], out=out[: x.size // 2].reshape(-1, 2))
            actufunc.sigmoid(x, out=out, where=x > 0)
            new = activation(eval(f"lambda x: tanh(x * {{n}}) * 3", {{"tanh": tanh}}))
            new(x)
            new.grad(x.astype(np.float64))
        work(0)
        random.seed(0)
        interrupted, n = 0, 0
        stop = time.monotonic() + 5
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        while time.monotonic() < stop and interrupted < 300:
            try:
                signal.setitimer(signal.ITIMER_REAL, random.random() ** 3 / 10 + 1e-5)
                n += 1
                work(n)
                if n % 10 == 0:
                    child = os.fork()
                    if child == 0:
                        os._exit(0)
                    os.waitpid(child, 0)
                time.sleep(1)
            except KeyboardInterrupt:
                interrupted += 1
        signal.setitimer(signal.ITIMER_REAL, 0)
        work(n + 1)
        exact = x.astype(np.float64)
        np.testing.assert_allclose(actufunc.sigmoid(x), 1 / (1 + np.exp(-exact)), rtol=1e-6)
        np.testing.assert_allclose(actufunc.softmax(rows).sum(axis=-1), 1, rtol=1e-6)
        new = activation(lambda x: tanh(x) * 7)
        np.testing.assert_allclose(new(x), 7 * np.tanh(x), rtol=1e-6)
        print(interrupted > 10)
    """
    # An interrupt can fall into a callback of C code, which can only report it.
    quiet = """
        import sys
        report = sys.unraisablehook
        sys.unraisablehook = lambda about: about.exc_type is KeyboardInterrupt or report(about)
    """
    assert run(quiet, code).split() == ["True"]

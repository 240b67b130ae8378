"""The pool of Python threads: exceptions, interrupts and forks."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any

import pytest
from programs import outcome

from actufunc.backends.numpy.jit.signals import defer_signals
from actufunc.backends.numpy.threading import pool


def test_pool_shares_all_pieces_once() -> None:
    for _ in range(50):
        done: list[int] = []
        pool.share(done.append, range(100), 8)
        assert sorted(done) == list(range(100))


def test_pool_raises_what_a_piece_raises_and_lets_go() -> None:
    for failing in range(0, 20, 3):
        at_work = []

        def work(piece: int, failing: int = failing, at_work: list[int] = at_work) -> None:
            at_work.append(piece)
            if piece == failing:
                raise MemoryError(piece)
            at_work.remove(piece)

        with pytest.raises(MemoryError, match=str(failing)):
            pool.share(work, range(20), 4)
        assert at_work == [failing]


def test_pool_works_where_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*_: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(pool, "_workers", pool._Workers())
    monkeypatch.setattr("_thread.start_new_thread", start)
    done: list[int] = []
    pool.share(done.append, range(5), 3)
    assert done == [0, 1, 2, 3, 4]


def test_helpers_that_come_too_late_do_nothing() -> None:
    done: list[int] = []
    work = pool._Work(done.append, range(5))
    work.wait_for_helpers()
    work.help()
    assert done == []


def test_pool_waits_for_its_threads_when_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    helping, go_on = threading.Event(), threading.Event()
    finished = []

    def work(_: int) -> None:
        if threading.current_thread() is threading.main_thread():
            helping.wait(10)
            threading.Timer(0.1, go_on.set).start()
            raise KeyboardInterrupt
        helping.set()
        go_on.wait(10)
        finished.append(1)

    with pytest.raises(KeyboardInterrupt):
        pool.share(work, range(100), 2)
    assert finished == [1]


def test_an_interrupt_is_not_hidden_by_the_failure_of_a_piece() -> None:
    helping, go_on = threading.Event(), threading.Event()

    def work(_: int) -> None:
        if threading.current_thread() is threading.main_thread():
            helping.wait(10)
            raise FloatingPointError
        helping.set()
        threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        go_on.wait(0.5)

    with pytest.raises(KeyboardInterrupt):
        pool.share(work, range(100), 2)


def test_handlers_of_signals_wait() -> None:
    seen = []

    def interrupted() -> int:
        os.kill(os.getpid(), signal.SIGINT)
        seen.extend(i for i in range(1000))
        return defer_signals(lambda: 7)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        defer_signals(interrupted)
    assert len(seen) == 1000
    assert signal.getsignal(signal.SIGINT) is before
    assert defer_signals(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        defer_signals(lambda: 1 // 0)
    assert signal.getsignal(signal.SIGINT) is before


PRELUDE = """
    import os, signal, sys, threading, time
    import numpy as np
    import actufunc
    from actufunc import activation
    from actufunc.backends.numpy.threading import tbb, pool
    tbb.is_usable = lambda: False
    reciprocal = activation(lambda x: 1 / x)
    x = np.ones(4_000_000)
    x[::1000] = 0
    def fork():
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            with np.errstate(all="ignore"):
                os._exit(0 if reciprocal(x)[0] == np.inf else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""

# What threads of the pool may run besides kernels, and what may happen around a fork: each once made a process hang.
AROUND_FORKS = {
    "a warning that waits for a lock which the fork holds": """
        import logging, warnings  # after actufunc, so that its hook runs before ours
        logging.captureWarnings(True)
        logging.getLogger("py.warnings").addHandler(logging.NullHandler())
        warnings.simplefilter("always")
        stop = threading.Event()
        def work():
            while not stop.is_set():
                reciprocal(x)
        thread = threading.Thread(target=work)
        thread.start()
        for _ in range(5):
            fork()
        stop.set()
        thread.join()
    """,
    "a callback of numpy.errstate that forks": """
        forked = []
        def callback(*_):
            if not forked:
                forked.append(1)
                fork()
        with np.errstate(divide="call", call=callback):
            for _ in range(10):
                reciprocal(x)
        fork()
    """,
    "an interrupt while a fork waits": """
        with np.errstate(all="ignore"):
            reciprocal(x)
            def wait(workers, before=pool._Workers.shutdown):
                raise KeyboardInterrupt
            shutdown, pool._Workers.shutdown = pool._Workers.shutdown, wait
            sys.unraisablehook = lambda _: None
            fork()
            pool._Workers.shutdown = shutdown
            reciprocal(x)
            fork()
    """,
    "a thread that dies": """
        with np.errstate(all="ignore"):
            reciprocal(x)
            def die():
                raise SystemExit
            pool._workers._calls.put(die)
            fork()
            reciprocal(x)
            fork()
    """,
    "a fork while another thread launches TBB": """
        import numba
        from numba.np.ufunc import parallel
        launch = parallel._launch_threads
        def slowly():
            with parallel._backend_init_thread_lock:
                time.sleep(0.5)
                launch()
        parallel._launch_threads = slowly
        child = threading.Thread(target=lambda: (time.sleep(0.2), fork_and_launch()))
        def fork_and_launch():
            child = os.fork()
            if child == 0:
                signal.alarm(20)
                numba.get_num_threads()
                os._exit(0)
            failures.append(os.waitpid(child, 0)[1])
        failures = []
        child.start()
        tbb._launch()
        child.join()
        assert failures == [0]
    """,
}


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
@pytest.mark.parametrize("situation", AROUND_FORKS)
def test_around_forks(situation: str) -> None:
    status, _, errors = outcome(PRELUDE, AROUND_FORKS[situation])
    assert status == 0, errors


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
@pytest.mark.parametrize("delay", [0.02, 0.1, 0.3])
def test_a_fork_while_another_thread_imports_numba(delay: float) -> None:
    code = f"""
        import os, signal, threading, time, numpy, actufunc
        x = numpy.ones(3)
        thread = threading.Thread(target=lambda: actufunc.sigmoid(x))
        thread.start()
        time.sleep({delay})
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            os._exit(0 if actufunc.tanh(x).shape == (3,) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        thread.join()
    """
    # On stderr Python may tell that it cannot release the lock of logging, which Numba imports during the fork.
    status, _, errors = outcome(code)
    assert status == 0, errors

"""How many threads, from which size on, and that it makes no difference to the result."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from conftest import ELEMENTWISE, OVER_AXIS, Case
from programs import run

import actufunc
from actufunc import activation, threads, ufunc
from actufunc.backends.numpy import kernels, layer, parallel, pool
from actufunc.backends.numpy.interrupts import uninterrupted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CASES = [*ELEMENTWISE, *(case.grad for case in ELEMENTWISE), *(case.vjp for case in ELEMENTWISE)]
AXIS_CASES = [*OVER_AXIS, *(case.vjp for case in OVER_AXIS)]
SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-40, -1e-40, 88.0, -104.0, 1e30, -1e30]

needs_two = pytest.mark.skipif(threads.processors() == 1, reason="one processor")


@pytest.fixture(params=["TBB", "pool"])
def runner(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Those who run threads, and small arrays large enough for them."""
    if request.param == "pool":
        monkeypatch.setattr(layer, "is_usable", lambda: False)
    elif not layer.is_usable():
        pytest.skip(layer.description())
    for key in parallel.GRAINS:
        monkeypatch.setitem(parallel.GRAINS, key, 1 << 10)
    return str(request.param)


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Leave the number of threads as it was."""
    before = threads._asked
    yield
    threads._asked = before


# Results.


def arrays_for(case: Case, dtype: str, shape: tuple[int, ...]) -> list[Any]:
    """Return arguments with special values among them."""
    rng = np.random.default_rng(0)
    found = []
    for _ in case.function.definition.arrays:
        x = (rng.normal(size=shape) * 8).astype(dtype)
        x.flat[rng.integers(0, x.size, 200)] = rng.choice(SPECIAL, 200).astype(dtype)
        found.append(x)
    return found


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES, ids=repr)
def test_elementwise_gives_the_same_bits(case: Case, dtype: str, runner: str) -> None:
    arrays = arrays_for(case, dtype, (20_011,))
    with np.errstate(all="ignore"):
        with actufunc.num_threads(1):
            expected = case(*arrays)
        for _ in range(2):  # the second time by the shorter way
            np.testing.assert_array_equal(case(*arrays), expected)
        out = np.empty_like(expected)
        case(*arrays, out=out)
        np.testing.assert_array_equal(out, expected)
        case(*arrays, out=arrays[0])
        np.testing.assert_array_equal(arrays[0], expected)


@pytest.mark.parametrize("axis", [-1, 0, 1, None, (0, 2)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", AXIS_CASES, ids=repr)
def test_over_axis_gives_the_same_bits(case: Case, dtype: str, axis: Any, runner: str) -> None:
    for shape in ((12, 33, 40), (300, 3, 7)):
        arrays = [x + np.zeros((), dtype) for x in np.random.default_rng(0).normal(size=(2, *shape)).astype(dtype)]
        arrays = arrays[: len(case.function.definition.arrays)]
        with actufunc.num_threads(1):
            expected = case(*arrays, axis=axis)
        np.testing.assert_array_equal(case(*arrays, axis=axis), expected)
        np.testing.assert_array_equal(case(*arrays, axis=axis, out=arrays[0]), expected)


@pytest.mark.parametrize("order", ["C", "F"])
def test_contiguous_arrays_of_many_dimensions_are_one_piece_of_work(
    order: Any, runner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NumPy would walk some of them row by row, and each row would launch threads."""
    dimensions = []
    compute = kernels.Elementwise.parallel.fget  # type: ignore[attr-defined]

    def noted(kernel: Any) -> Any:
        made = compute(kernel)
        return lambda *operands: (dimensions.append([o.ndim for o in operands]), made(*operands))

    monkeypatch.setattr(kernels.Elementwise, "parallel", property(noted))
    x = np.array(np.random.default_rng(0).normal(size=(20, 1, 30, 50)), order=order)
    np.testing.assert_array_equal(actufunc.sigmoid(x), actufunc.sigmoid(x.ravel()).reshape(x.shape))
    assert dimensions == ([[1, 1]] * 2 if runner == "TBB" else [])


def test_strided_arrays_take_no_thread(runner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[int] = []
    monkeypatch.setattr(parallel, "share", lambda *_: used.append(1))
    monkeypatch.setattr(kernels.Elementwise, "parallel", property(lambda _: used.append(1)))
    x = np.ones((2000, 100))[:, ::2]
    actufunc.sigmoid(x)
    actufunc.sigmoid(x, out=np.empty((50, 2000)).T)
    assert used == []


@needs_two
def test_floating_point_errors_are_raised_by_any_piece() -> None:
    """What the threads of TBB raise is lost, so that it is used only where nobody asked to be told."""
    reciprocal = activation(lambda x: 1 / x)
    x = np.ones(5_000_000)
    x[-1] = 0
    with np.errstate(divide="raise"), pytest.raises(FloatingPointError):
        reciprocal(x)
    seen: list[Any] = []
    with np.errstate(divide="call", call=lambda *about: seen.append(about)):
        assert reciprocal(x)[-1] == np.inf
    assert len(seen) == 1
    with np.errstate(divide="ignore"):
        assert reciprocal(x)[-1] == np.inf
    y = np.full(5_000_000, -745.0)
    with np.errstate(all="raise", under="raise"), pytest.raises(FloatingPointError, match="underflow"):
        actufunc.sigmoid(y)


# Who runs.


def test_thresholds(monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread up to a size, then as many as each has enough to do for."""
    monkeypatch.setattr(parallel, "get_num_threads", lambda: 16)
    for (name, kind), grain in parallel.GRAINS.items():
        assert [parallel._threads(name, kind, size) for size in (0, grain, 2 * grain - 1)] == [1, 1, 1]
        assert parallel._threads(name, kind, 2 * grain) == 2
        assert parallel._threads(name, kind, 7 * grain) == 7
        assert parallel._threads(name, kind, 1000 * grain) == 16


def test_every_kernel_for_large_arrays_starts_below_every_threshold() -> None:
    assert ufunc._LARGE * np.dtype(np.float64).itemsize <= 2 * min(parallel.GRAINS.values())


def test_kinds() -> None:
    by_name = {}
    for function in (actufunc.relu, actufunc.leaky_relu, actufunc.sigmoid, actufunc.gelu, actufunc.elu):
        definition = function.definition
        expression = definition.specialised(definition.options, definition.hyperparameters)
        kernel = kernels.elementwise(definition.identifier, expression, ("x",), np.dtype(np.float32))
        by_name[function.__name__] = kernel.is_costly
    assert by_name == {"relu": False, "leaky_relu": False, "sigmoid": True, "gelu": True, "elu": True}


# How many.


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


@pytest.mark.parametrize(("wrong", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError), ("2", TypeError)])
def test_wrong_settings(wrong: Any, error: type[Exception]) -> None:
    before = actufunc.get_num_threads()
    with pytest.raises(error, match="the number of threads must be"):
        actufunc.set_num_threads(wrong)
    with pytest.raises(error, match="the number of threads must be"), actufunc.num_threads(wrong):
        pass
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

    async def task(n: int) -> int:
        with actufunc.num_threads(n):
            await asyncio.sleep(0)
            return actufunc.get_num_threads()

    async def both() -> list[int]:
        return await asyncio.gather(task(1), task(many))

    assert asyncio.run(both()) == [1, many]


ASK = "import actufunc; print(actufunc.get_num_threads())"


def test_environment() -> None:
    assert run(ASK, ACTUFUNC_NUM_THREADS="1").split() == ["1"]
    assert run(ASK, NUMBA_NUM_THREADS="1").split() == ["1"]
    assert run(ASK, ACTUFUNC_NUM_THREADS=" ").split() == [str(actufunc.get_num_threads())]
    code = "import numba, numpy, actufunc; actufunc.sigmoid(numpy.ones(3)); print(actufunc.get_num_threads())"
    assert run(code, NUMBA_NUM_THREADS="1").split() == ["1"]


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
        x = numpy.linspace(-5, 5, 5_000_000)
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
    assert threads._limit_of_container.__wrapped__(tmp_path) == expected


def test_numbas_own_limit_is_respected() -> None:
    code = """
        import numpy, numba, actufunc
        from actufunc.backends.numpy import layer
        if layer.is_usable():
            x = numpy.linspace(-5, 5, 5_000_000)
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


NO_OTHERS = {"OPENBLAS_NUM_THREADS": "1"}  # Numba imports SciPy
TASKS = "import os; count = lambda: len(os.listdir('/proc/self/task'))"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_one_thread_is_really_one() -> None:
    code = """
        import numpy
        before = count()
        import actufunc
        actufunc.set_num_threads(1)
        x = numpy.linspace(-5, 5, 5_000_000)
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
        actufunc.sigmoid(numpy.ones(5_000_000))
        print(count() > before)
    """
    assert run(TASKS, code, **NO_OTHERS).split() == ["0", "True"]


def test_the_start_method_of_multiprocessing_stays_open() -> None:
    """Numba would fix it when it launches threads."""
    code = """
        import multiprocessing, numpy, actufunc
        actufunc.sigmoid(numpy.ones(5_000_000))
        multiprocessing.set_start_method("spawn")
    """
    run(code)


def test_a_layer_that_is_asked_for_is_left_alone() -> None:
    code = """
        import numpy, actufunc, numba
        x = numpy.ones(5_000_000)
        y = actufunc.sigmoid(x)
        from actufunc.backends.numpy import layer
        print(layer.description())
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
        from actufunc.backends.numpy import layer
        layer._load_library = lambda: False
        x = numpy.ones(5_000_000)
        y = actufunc.sigmoid(x)
        print(layer.description())
    """
    assert run(code).strip() == "threads of Python (TBB is not installed)"


# The pool.


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

    monkeypatch.setattr(pool, "_pool", pool._Pool())
    monkeypatch.setattr("_thread.start_new_thread", start)
    done: list[int] = []
    pool.share(done.append, range(5), 3)
    assert done == [0, 1, 2, 3, 4]
    assert uninterrupted(lambda: 7) == 7


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


def test_the_interpreter_shuts_down_around_calls() -> None:
    code = """
        import atexit, threading, time, numpy, actufunc
        x = numpy.linspace(-5, 5, 5_000_000)
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


def test_warnings_are_those_of_one_thread(runner: str) -> None:
    """Silence where one thread is silent."""
    x = np.tile(np.array(SPECIAL), 2000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for function in (actufunc.sigmoid, actufunc.relu, actufunc.gelu, actufunc.softplus):
            function(x)

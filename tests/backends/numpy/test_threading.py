"""Threads for large arrays: the sizes from which they work, and that results have the same bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cases import ELEMENTWISE, OVER_AXIS, Case, mostly_slow
from digests import bits

import actufunc
from actufunc import _threads as threads
from actufunc import activation
from actufunc.backends.numpy import fast_path
from actufunc.backends.numpy.jit import kernels
from actufunc.backends.numpy.threading import schedule, tbb

CASES = [
    *ELEMENTWISE,
    *mostly_slow([case.grad for case in ELEMENTWISE]),
    *mostly_slow([case.vjp for case in ELEMENTWISE]),
]
AXIS_CASES = [*OVER_AXIS, *mostly_slow([case.vjp for case in OVER_AXIS])]
SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-40, -1e-40, 88.0, -104.0, 1e30, -1e30]

needs_two = pytest.mark.skipif(threads.processors() == 1, reason="one processor")


@pytest.fixture(params=["TBB", "pool"])
def runner(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Those who run threads, and small arrays large enough for them."""
    if request.param == "pool":
        monkeypatch.setattr(tbb, "is_usable", lambda: False)
    elif not tbb.is_usable():
        pytest.skip(tbb.description())
    for key in schedule.GRAINS:
        monkeypatch.setitem(schedule.GRAINS, key, 1 << 10)
    return str(request.param)


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
            expected = bits(case(*arrays))
        for _ in range(2):  # the second time by the shorter way
            np.testing.assert_array_equal(bits(case(*arrays)), expected)
        out = np.empty_like(arrays[0])
        case(*arrays, out=out)
        np.testing.assert_array_equal(bits(out), expected)
        case(*arrays, out=arrays[0])
        np.testing.assert_array_equal(bits(arrays[0]), expected)


@pytest.mark.parametrize("axis", [-1, 0, 1, None, (0, 2)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", AXIS_CASES, ids=repr)
def test_over_axis_gives_the_same_bits(case: Case, dtype: str, axis: Any, runner: str) -> None:
    for shape in ((12, 33, 40), (300, 3, 7)):
        arrays = [x + np.zeros((), dtype) for x in np.random.default_rng(0).normal(size=(2, *shape)).astype(dtype)]
        arrays = arrays[: len(case.function.definition.arrays)]
        with actufunc.num_threads(1):
            expected = bits(case(*arrays, axis=axis))
        np.testing.assert_array_equal(bits(case(*arrays, axis=axis)), expected)
        np.testing.assert_array_equal(bits(case(*arrays, axis=axis, out=arrays[0])), expected)


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


def test_contiguous_rows_take_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[int] = []
    share = schedule.share
    monkeypatch.setattr(schedule, "share", lambda compute, pieces, n: (used.append(n), share(compute, pieces, n)))
    x = np.random.default_rng(0).normal(size=(4000, 1000))
    with actufunc.num_threads(2):
        result = actufunc.sigmoid(x[:, :500])
    assert used == [min(2, threads.processors())]
    np.testing.assert_array_equal(result, actufunc.sigmoid(np.ascontiguousarray(x[:, :500])))


def test_strided_arrays_take_no_thread(runner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[int] = []
    monkeypatch.setattr(schedule, "share", lambda *_: used.append(1))
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


@needs_two
def test_warnings_do_not_depend_on_who_computed_what(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pool gives them as one thread does, TBB gives none."""
    reciprocal = activation(lambda x: 1 / x)
    for place in (0, -1):
        x = np.ones(5_000_000)
        x[place] = 0
        if tbb.is_usable():
            for _ in range(5):
                reciprocal(x)  # warnings are errors here
        with monkeypatch.context() as patch:
            patch.setattr(tbb, "is_usable", lambda: False)
            for threads_used in (1, 2):
                with actufunc.num_threads(threads_used), pytest.warns(RuntimeWarning, match="divide by zero"):
                    reciprocal(x)


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_outputs_of_other_classes(runner: str) -> None:
    x = np.random.default_rng(0).normal(size=(64, 64))
    expected = actufunc.relu(x)
    matrix = np.asmatrix(x.copy())
    assert actufunc.relu(matrix, out=matrix) is matrix
    np.testing.assert_array_equal(np.asarray(matrix), expected)
    other = np.asmatrix(np.empty_like(x))
    assert actufunc.relu(x, out=other) is other
    np.testing.assert_array_equal(np.asarray(other), expected)
    small = np.asmatrix(x[:2, :2].copy())
    assert type(actufunc.relu(small, out=small)) is np.matrix


# Who runs.


def test_thresholds(monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread up to a size, then as many as each has enough to do for."""
    monkeypatch.setattr(schedule, "get_num_threads", lambda: 16)
    for (name, kind), grain in schedule.GRAINS.items():
        assert [schedule._threads(name, kind, size) for size in (0, grain, 2 * grain - 1)] == [1, 1, 1]
        assert schedule._threads(name, kind, 2 * grain) == 2
        assert schedule._threads(name, kind, 7 * grain) == 7
        assert schedule._threads(name, kind, 1000 * grain) == 16


def test_the_fast_paths_end_below_every_threshold() -> None:
    assert fast_path.TINY <= fast_path.LARGE
    assert fast_path.LARGE * np.dtype(np.float64).itemsize <= 2 * min(schedule.GRAINS.values())


def test_kinds() -> None:
    by_name = {}
    for function in (actufunc.relu, actufunc.leaky_relu, actufunc.sigmoid, actufunc.gelu, actufunc.elu):
        definition = function.definition
        expression = definition.specialised(definition.options, definition.hyperparameters)
        kernel = kernels.elementwise(definition.identifier, expression, ("x",), np.dtype(np.float32))
        by_name[function.__name__] = kernel.is_costly
    assert by_name == {"relu": False, "leaky_relu": False, "sigmoid": True, "gelu": True, "elu": True}

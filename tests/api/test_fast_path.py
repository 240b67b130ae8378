"""The fast path gives the results, layouts, outputs and errors of the first call, whatever the arrays."""

from __future__ import annotations

import gc
import itertools
import weakref
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numba
import numpy as np
import pytest

from actufunc import activation, elu, gelu, glu, leaky_relu, logsumexp, prelu, relu, sigmoid, silu, softmax, swiglu
from actufunc.backends.numpy.jit import kernels

if TYPE_CHECKING:
    from collections.abc import Callable

    from actufunc import Activation

FUNCTIONS = (sigmoid, gelu, relu, leaky_relu, elu, prelu, silu, softmax, logsumexp, glu, swiglu)
DTYPES = [np.float16, pytest.param(ml_dtypes.bfloat16, marks=pytest.mark.slow), np.float32, np.float64, np.int32]


def all_functions() -> list[Activation]:
    derived = [f.grad for f in FUNCTIONS if f.definition.kind == "elementwise"]
    halves = [half for f in FUNCTIONS for half in (*f.halves, *f.vjp.halves)]
    return [*FUNCTIONS, *(f.vjp for f in FUNCTIONS), *derived, *halves]


def forget() -> None:
    for function in all_functions():
        function._kernels.clear()
        function._plans.clear()


def told(call: Callable[..., Any], x: Any, **keywords: Any) -> Any:
    """Return all that a call shows: its result and how it lies in memory, or its error, and what became of `out`."""
    out = keywords.get("out")
    try:
        result = call(x, **keywords)
    except (TypeError, ValueError) as error:
        seen: tuple[Any, ...] = (type(error), str(error))
    else:
        flags = result.flags
        order = (flags.c_contiguous, flags.f_contiguous, flags.writeable, flags.aligned)
        seen = (type(result), result.dtype, result.shape, result.strides, order, result.tobytes(), result is out)
    return seen, None if out is None else np.asarray(out if out.base is None else out.base).tobytes()


CALLS: dict[str, Callable[..., Any]] = {
    "bare": sigmoid,
    "option": lambda x, **k: gelu(x, approximate="tanh", **k),
    "option by position": lambda x, **k: gelu(x, "tanh", **k),
    "hyperparameter": lambda x, **k: leaky_relu(x, 0.2, **k),
    "by keyword": lambda x, **k: elu(x, alpha=2.5, **k),
    "grad": silu.grad,
    "grad wrt": lambda x, **k: silu.grad(x, wrt="beta", **k),
    "vjp": lambda x, **k: sigmoid.vjp(x, x, **k),
    "vjp wrt": lambda x, **k: leaky_relu.vjp(x, x, 0.5, wrt="negative_slope", **k),
    "vjp of a constant": lambda x, **k: sigmoid.vjp(x, 2.0, **k),
    "vjp of a row": lambda x, **k: sigmoid.vjp(x, x[..., :1] if x.ndim else x, **k),
    "vjp of another dtype": lambda x, **k: sigmoid.vjp(x, x.astype("f8"), **k),
    "vjp of another order": lambda x, **k: sigmoid.vjp(x, x.copy("F"), **k),
    "vjp of a broadcast x": lambda x, **k: sigmoid.vjp(
        np.broadcast_to(x[:1] if x.ndim else x, x.shape), x.copy("F"), **k
    ),
    "array": lambda x, **k: prelu(x, x, **k),
    "softmax": softmax,
    "softmax axis": lambda x, **k: softmax(x, axis=0, **k),
    "softmax wrong axis": lambda x, **k: softmax(x, axis=7, **k),
    "softmax.vjp": lambda x, **k: softmax.vjp(x, x, **k),
    "logsumexp": logsumexp,
    "logsumexp keepdims": lambda x, **k: logsumexp(x, axis=0, keepdims=True, **k),
    "logsumexp.vjp": lambda x, **k: logsumexp.vjp(x, logsumexp(x), **k),
    "glu": glu,
    "swiglu": lambda x, **k: swiglu(x, axis=-2, **k),
    "glu.vjp": lambda x, **k: glu.vjp(x, glu(x), **k),
}

SHAPES = [(), (0,), (1,), (6,), (3, 0), (2, 1), (4, 6), (4, 40), (40, 4), (3, 1, 20), (2, 24, 24), (30, 200), (8, 3000)]
LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "C": lambda x: x,
    "F": np.asfortranarray,
    "reversed": lambda x: x[::-1] if x.ndim else x,
    "gaps": lambda x: np.repeat(x, 2, axis=-1)[..., ::2] if x.ndim else x,
    "broadcast": lambda x: np.broadcast_to(x[:1], x.shape) if x.ndim else x,
    "unaligned": lambda x: np.frombuffer(b" " + x.tobytes(), np.uint8)[1:].view(x.dtype).reshape(x.shape),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
def test_later_calls_do_what_the_first_does(call: Callable[..., Any], dtype: Any) -> None:
    chance = np.random.default_rng(0)
    another = chance.normal(size=(4, 40)).astype(dtype)
    with np.errstate(all="ignore"):
        for shape, layout in itertools.product(SHAPES, LAYOUTS.values()):
            x = layout((chance.normal(size=shape) * 4).astype(dtype))
            forget()
            first = told(call, x)
            told(call, another)
            assert told(call, x) == told(call, x) == first


def locked(y: Any) -> Any:
    """Forbid to write to an array."""
    y.flags.writeable = False
    return y


OUTPUTS: dict[str, Callable[[Any], Any]] = {
    "C": lambda y: np.full(y.shape, 7, y.dtype),
    "F": lambda y: np.full(y.shape, 7, y.dtype, order="F"),
    "gaps": lambda y: np.full((*y.shape[:-1], 2 * y.shape[-1]), 7, y.dtype)[..., ::2],
    "rows apart": lambda y: np.full((*y.shape[:-1], y.shape[-1] + 3), 7, y.dtype)[..., :-3],
    "reversed": lambda y: np.full(y.shape, 7, y.dtype)[::-1],
    "larger": lambda y: np.full((2, *y.shape), 7, y.dtype),
    "too small": lambda y: np.full(y.shape[1:], 7, y.dtype),
    "without ones": lambda y: np.full(y.shape[1:] if y.shape[0] == 1 else y.shape, 7, y.dtype),
    "of other length": lambda y: np.full((*y.shape[:-1], y.shape[-1] + 1), 7, y.dtype),
    "read-only": lambda y: np.broadcast_to(np.full(1, 7, y.dtype), y.shape),
    "locked": lambda y: locked(np.full(y.shape, 7, y.dtype)),
    "float32": lambda y: np.full(y.shape, 7, np.float32),
    "bfloat16": lambda y: np.full(y.shape, 7, ml_dtypes.bfloat16),
    "integers": lambda y: np.full(y.shape, 7, np.int64),
    "other byte order": lambda y: np.full(y.shape, 7, y.dtype.newbyteorder()),
    "subclass": lambda y: np.full(y.shape, 7, y.dtype).view(np.matrix) if y.ndim == 2 else np.full(y.shape, 7, y.dtype),
    "unaligned": lambda y: np.zeros(y.nbytes + 1, np.uint8)[1:].view(y.dtype).reshape(y.shape),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
def test_outputs(call: Callable[..., Any], dtype: Any) -> None:
    chance = np.random.default_rng(0)
    with np.errstate(all="ignore"):
        for shape in ((6,), (1, 6), (4, 6), (4, 40), (2, 24, 24), (30, 200), (200, 100)):
            x = (chance.normal(size=shape) * 4).astype(dtype)
            try:
                like = np.asarray(call(x))
            except (TypeError, ValueError):
                continue
            for make in OUTPUTS.values() if like.ndim else ():
                forget()
                seen = []
                for _ in range(3):
                    seen.append(told(call, x, out=make(like)))
                    call(x, out=np.empty_like(like))
                assert seen[0] == seen[1] == seen[2]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_overlap(dtype: Any) -> None:
    for size in (3, 40, 600, 5000, 20000):
        values = np.random.default_rng(0).normal(size=size + 1).astype(dtype)
        for call in (
            lambda x, out: sigmoid(x, out=out),
            lambda x, out: elu(x, 0.5, out=out),
            lambda x, out: sigmoid.vjp(x, x, out=out),
        ):
            expected = call(values[:-1], np.empty(size, dtype))
            for source, target in ((np.s_[:-1], np.s_[1:]), (np.s_[1:], np.s_[:-1]), (np.s_[1:], np.s_[1:])):
                for _ in range(2):
                    memory = np.empty(size + 1, dtype)
                    memory[source] = values[:-1]
                    call(memory[source], memory[target])
                    np.testing.assert_array_equal(memory[target], expected)
            x = values[:-1].copy()
            assert call(x, x) is x
            np.testing.assert_array_equal(x, expected)


def test_errors_are_seen_as_ever() -> None:
    @activation
    def inverse(x: Any, a: Any = 1.0) -> Any:
        return a / x

    zeros, out = np.zeros(3), np.empty(3)
    with np.errstate(all="ignore"):
        calls = [lambda: inverse(zeros), lambda: inverse(zeros, 2.0), lambda: inverse(zeros, out=out)]
        for call in calls:
            call()
    for call in calls:
        with np.errstate(all="raise"), pytest.raises(FloatingPointError):
            call()
        with np.errstate(all="warn"), pytest.warns(RuntimeWarning, match="divide by zero"):
            call()


def test_tables_stay_small_and_hold_no_array() -> None:
    forget()
    x = np.ones(5)
    for beta in np.linspace(0.1, 2, 200):
        silu(x, float(beta))
    assert len(silu._plans) <= 64
    arrays = [np.ones((4, 40)) for _ in range(4)]
    for function in all_functions():
        for array in arrays:
            more = [array] * (len(function.definition.arrays) - 1)
            more += [0.5] * (function in {prelu, prelu.vjp, prelu.grad})
            try:
                function(array, *more)
                function(array, *more, out=np.empty_like(array))
            except ValueError:
                continue
    seen = [weakref.ref(array) for array in arrays]
    del array, arrays, more
    gc.collect()
    assert not any(each() is not None for each in seen)


def test_a_loop_that_ignores_the_strides_of_its_output_is_found() -> None:
    """Numba's own is; ours, in whose place that would be if Numba changed, is not."""
    kernel = object.__new__(kernels.Elementwise)
    kernel._dtype, kernel._arity = np.dtype(np.float64), 1
    kernel.serial = numba.vectorize(["f8(f8)"])(lambda x: x + 1).ufunc
    assert not kernel._checks_strides_of_output()
    x = np.ones(4)
    for dtype in (np.float32, np.float64):
        sigmoid(x.astype(dtype))
    made = [kernel for kernel in kernels._elementwise.values() if isinstance(kernel, kernels.Elementwise)]
    assert made
    assert all(kernel.is_safe for kernel in made)


def test_without_safe_loops_the_guard_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.linspace(-2, 2, 6)
    expected = sigmoid(x)
    for kernel in kernels._elementwise.values():
        monkeypatch.setattr(kernel, "is_safe", False, raising=False)
    forget()
    for _ in range(3):
        gaps = np.full(12, 7.0)
        sigmoid(x, out=gaps[::2])
        np.testing.assert_array_equal(gaps[::2], expected)
        assert (gaps[1::2] == 7).all()
    assert not sigmoid._kernels

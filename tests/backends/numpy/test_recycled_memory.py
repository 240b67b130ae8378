"""Memory of large results is used again, never while anything refers to it, and within a bound."""

from __future__ import annotations

import ctypes
import gc
import itertools
import os
import pickle
import random
import sys
import threading
import tracemalloc
from collections import deque
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest
from programs import outcome, run

import actufunc
from actufunc import _memory as memory
from actufunc import activation, glu, logsumexp, prelu, relu, sigmoid, softmax, swiglu

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SIZE = 1 << 15  # from half of that on, the memory for results is our choice
X = np.linspace(-3, 3, SIZE, dtype=np.float32)


@pytest.fixture(autouse=True, scope="module")
def frozen() -> Iterator[None]:
    """Keep the collector, which is called often here, from what pytest and all the other tests hold."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let small results do what large ones do."""
    monkeypatch.setattr(memory, "_LEAST", 1 << 10)
    monkeypatch.setattr(memory, "_pool", memory._Pool(1 << 24))


def address(array: Any) -> int:
    return np.asarray(array).__array_interface__["data"][0]


def is_recycled(array: Any) -> bool:
    """Tell whether an array lies in memory of the pool."""
    while isinstance(array, np.ndarray) and array.base is not None:
        array = array.base
    return type(array) is memory._Buffer


def torch_tensor(y: Any) -> Any:
    return pytest.importorskip("torch").from_numpy(y)[1:]


def torch_dlpack(y: Any) -> Any:
    return pytest.importorskip("torch").from_dlpack(y)[::2]


def jax_array(y: Any) -> Any:
    return pytest.importorskip("jax").dlpack.from_dlpack(y)


class Sub(np.ndarray):
    pass


HOLDERS: dict[str, Callable[[Any], Any]] = {
    "itself": lambda y: y,
    "view": lambda y: y[:],
    "element": lambda y: y[SIZE // 2 : SIZE // 2 + 1],
    "reshaped": lambda y: y.reshape(2, -1).T[::3, ::-1],
    "another dtype": lambda y: y.view(np.uint8)[5::7],
    "subclass": lambda y: y.view(Sub)[3:],
    "masked": lambda y: np.ma.masked_array(y, y > 0, copy=False),
    "field": lambda y: y.view([("a", "f2"), ("b", "f2")])["b"],
    "broadcast": lambda y: np.broadcast_to(y, (3, SIZE)),
    "windows": lambda y: np.lib.stride_tricks.sliding_window_view(y, 5),
    "memoryview": memoryview,
    "sliced memoryview": lambda y: memoryview(y).cast("B")[3:999],
    "data": lambda y: y.data,
    "frombuffer": lambda y: np.frombuffer(y, np.uint16)[7:],
    "bytes-like": lambda y: np.frombuffer(memoryview(pickle.PickleBuffer(y)), np.int8),
    "base": lambda y: y.base,
    "base of base": lambda y: y.base.base,
    "flat": lambda y: y.flat,
    "rows": lambda y: iter(y.reshape(-1, 2)),
    "generator": lambda y: (row.copy() for row in y.reshape(-1, 64)),
    "nditer": np.nditer,
    "ctypes": lambda y: np.ctypeslib.as_array(np.ctypeslib.as_ctypes(y)),
    "DLPack": np.from_dlpack,
    "capsule": lambda y: y.__dlpack__(),
    "torch": torch_tensor,
    "torch by DLPack": torch_dlpack,
    "JAX by DLPack": jax_array,
    "lambda": lambda y: lambda: y,
}


@pytest.mark.parametrize("hold", HOLDERS.values(), ids=HOLDERS)
def test_nobody_writes_to_what_is_looked_into(hold: Callable[[Any], Any]) -> None:
    result = sigmoid(X)
    assert is_recycled(result)
    place, expected = address(result), result.copy()
    held = hold(result)
    raw = np.frombuffer((ctypes.c_float * SIZE).from_address(place), np.float32)
    del result
    others = []
    for number in range(6):
        others.append(relu(X + number))
        sigmoid(X - number)
        assert all(address(other) != place for other in others)
        np.testing.assert_array_equal(raw, expected)
    del others, held
    gc.collect()
    places = {address(relu(X)), *(address(each) for each in [sigmoid(X), sigmoid(X), sigmoid(X)])}
    assert place in places


def test_memory_is_used_again() -> None:
    result = sigmoid(X)
    place = address(result)
    assert place % 64 == 0
    del result
    for _ in range(5):
        result = relu(X)
        assert address(result) == place
        del result
    result = sigmoid(X)
    places = []
    for _ in range(6):
        result = sigmoid(result)
        places.append(address(result))
    assert len(set(places)) == 2


def test_sizes_that_differ_much_do_not_share() -> None:
    small_one, large_one = relu(np.zeros(SIZE)), relu(np.zeros(4 * SIZE))
    places = {address(small_one), address(large_one)}
    del small_one, large_one
    middle = relu(np.zeros(2 * SIZE))
    assert address(middle) not in places
    again = relu(np.zeros(SIZE)), relu(np.zeros(4 * SIZE))
    assert set(map(address, again)) == places
    del again
    slightly_less = relu(np.zeros(4 * SIZE - SIZE // 2))
    assert address(slightly_less) in places


CALLS: dict[str, Callable[..., Any]] = {
    "bare": sigmoid,
    "keyword": lambda x: actufunc.gelu(x, approximate="tanh"),
    "hyperparameter": lambda x: actufunc.elu(x, 0.5),
    "array": lambda x: prelu(x, x[..., :1]),
    "grad": sigmoid.grad,
    "vjp": lambda x: sigmoid.vjp(x, x),
    "several": lambda x: np.stack(prelu.vjp(x, x, x, wrt=("x", "alpha"))),
    "softmax": softmax,
    "softmax of columns": lambda x: softmax(x, axis=0),
    "softmax.vjp": lambda x: softmax.vjp(x, x),
    "logsumexp": logsumexp,
    "logsumexp of columns": lambda x: logsumexp(x, axis=0, keepdims=True),
    "glu": glu,
    "swiglu": lambda x: swiglu(x, axis=0),
    "glu.vjp": lambda x: glu.vjp(x, glu(x)),
    "where": lambda x: sigmoid(x, out=None, where=x > 0),
    "order C": lambda x: sigmoid(x, order="C"),
    "order F": lambda x: sigmoid(x, order="F"),
    "order A": lambda x: sigmoid(x, order="A"),
    "dtype": lambda x: sigmoid(x, dtype=np.float32),
}
LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "C": lambda x: x,
    "F": np.asfortranarray,
    "strided": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "turned": lambda x: np.ascontiguousarray(x.transpose(1, 0, 2)).transpose(1, 0, 2),
    "reversed": lambda x: x[::-1],
    "subclass": lambda x: x.view(Sub),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32], ids=lambda dtype: dtype.__name__)
def test_results_are_those_of_fresh_memory(call: Callable[..., Any], layout: Callable[[Any], Any], dtype: Any) -> None:
    x = layout((np.linspace(-4, 4, 16 * 16 * 32).reshape(16, 16, 32)).astype(dtype))
    pool = memory._pool
    results = []
    with np.errstate(all="ignore"):
        for limited in (memory._Pool(0), pool, pool, pool):
            memory._pool = limited
            call(x)
            results.append(call(x))
    fresh, *others = results
    assert not is_recycled(fresh)
    for other in others:
        assert (type(other), other.dtype, other.shape) == (type(fresh), fresh.dtype, fresh.shape)
        assert other.strides == fresh.strides
        assert other.flags.writeable
        assert other.flags.aligned
        np.testing.assert_array_equal(other.astype("f8"), fresh.astype("f8"))
    assert not any(np.shares_memory(*pair) for pair in itertools.combinations(others, 2))


def test_others_own_their_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    for size in (1, 1000, 1 << 20):
        x = np.zeros(size)
        for result in (relu(x), sigmoid.vjp(x, x), softmax(x), glu(np.zeros(2 * size))):
            assert result.flags.owndata or result.base.flags.owndata
            assert not is_recycled(result)
        out = np.empty_like(x)
        assert relu(x, out=out) is out
    large = relu(np.zeros(memory._LEAST // 8))
    assert is_recycled(large)
    assert not large.flags.owndata
    with pytest.raises(ValueError, match="does not own its data"):
        large.resize(3, refcheck=False)
    assert not is_recycled(pickle.loads(pickle.dumps(large)))  # noqa: S301


def test_what_is_kept_is_bounded() -> None:
    memory._pool = memory._Pool(1 << 20)
    x = np.zeros(1 << 15)
    tracemalloc.start()
    try:
        results = [relu(x + number) for number in range(12)]
        assert all(map(is_recycled, results))
        del results
        assert len(memory._pool._kept) == 2
        assert tracemalloc.get_traced_memory()[0] < 2.5 * x.nbytes
        results = [relu(x) for number in range(3)]
        actufunc.set_kept_memory(1 << 10)
        assert not memory._pool._kept
        del results
        assert tracemalloc.get_traced_memory()[0] < 0.1 * x.nbytes
        assert not is_recycled(relu(x))
    finally:
        tracemalloc.stop()
    memory._pool = memory._Pool(1 << 20)
    assert is_recycled(relu(np.zeros(1 << 16)))
    assert not is_recycled(relu(np.zeros((1 << 16) + 1)))


@pytest.mark.parametrize("threads", [1, 4])
def test_results_that_live_for_any_time(threads: int) -> None:
    """In each thread results, and views of them, die in any order, while others are made."""
    failures: list[str] = []
    passed_on: deque[Any] = deque(maxlen=8)  # what dies in another thread than the one it was made in

    def work(seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311
        held: list[Any] = []
        for number in range(600):
            value = float(seed * 10_000 + number)
            x = np.full(chance.choice([SIZE, SIZE, SIZE + 100, 3 * SIZE]), value)
            result = relu(x) if chance.random() < 0.8 else relu.vjp(x, x)
            held.append((value, result[:: chance.choice([1, 7])] if chance.random() < 0.7 else memoryview(result)))
            if chance.random() < 0.3:
                passed_on.append(held[-1])
            del x, result
            while len(held) > chance.randrange(12):
                value, looked_at = held.pop(chance.randrange(len(held)))
                if not (np.asarray(looked_at) == value).all():
                    failures.append(f"{value} was overwritten")
                del looked_at

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        workers = [threading.Thread(target=work, args=(seed,)) for seed in range(1, threads + 1)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    finally:
        sys.setswitchinterval(before)
    assert not failures
    passed_on.clear()
    assert len(memory._pool._kept) <= 2


def test_garbage_collection_inside_of_calls() -> None:
    """Results in cycles die where the collector happens to run: inside of calls, and of one another's death."""
    threshold = gc.get_threshold()
    gc.set_threshold(1)
    try:
        kept = []
        for number in range(300):
            cycle: list[Any] = [relu(np.full(SIZE, number + 1.0))]
            cycle.append(cycle)
            kept.append((number + 1.0, relu(np.full(SIZE, number + 1.0))[1:]))
            del cycle
            if len(kept) > 5:
                value, result = kept.pop(0)
                assert (result == value).all()
    finally:
        gc.set_threshold(*threshold)


def test_exceptions_inside_of_kernels() -> None:
    @activation
    def quotient(x: Any) -> Any:
        return 1 / x

    x = np.linspace(1, 2, SIZE)
    zero = np.where(np.arange(SIZE) == SIZE // 2, 0.0, x)
    quotient(x)
    held = []
    for _ in range(5):
        held.append(quotient(x))
        with np.errstate(all="raise"), pytest.raises(FloatingPointError) as caught:
            quotient(zero)
        held.append(caught)
        for each in held[::2]:
            np.testing.assert_array_equal(each, 1 / x)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_fork() -> None:
    code = """
        import os
        import numpy as np
        import actufunc
        from actufunc import _memory as memory

        memory._LEAST = 1 << 10
        x = np.linspace(0, 1, 1 << 16)
        held = [actufunc.relu(x + n) for n in range(3)]
        del held[0]
        pid = os.fork()
        for n in range(20):
            held.append(actufunc.relu(x - n))
            assert (held.pop(0 if n > 1 else 1) is not None)
            actufunc.relu(x + 100)
        if pid == 0:
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        assert (held[-1] == np.maximum(x - 19, 0)).all()
    """
    run(code)


def test_the_end_of_the_interpreter_is_quiet() -> None:
    code = """
        import threading
        import numpy as np
        import actufunc
        from actufunc import _memory as memory

        memory._LEAST = 1 << 10
        x = np.linspace(0, 1, 1 << 14)
        left = actufunc.relu(x)
        view = memoryview(actufunc.relu(x))
        cycle = [actufunc.relu(x)]
        cycle.append(cycle)
        memory.left = memory.__builtins__["left"] = actufunc.relu(x)

        def work():
            while True:
                actufunc.relu(x)

        threading.Thread(target=work, daemon=True).start()
    """
    run(code)


def test_environment() -> None:
    code = """
        import numpy as np
        import actufunc
        from actufunc import _memory as memory
        y = actufunc.relu(np.zeros(memory._LEAST // 8))
        print(y.flags.owndata, memory._pool.largest)
    """
    assert run(code).split() == ["False", str(1 << 27)]
    assert run(code, ACTUFUNC_KEPT_MEMORY="0").split() == ["True", "0"]
    for wrong in ("-1", "much"):
        status, _, err = outcome("import actufunc", ACTUFUNC_KEPT_MEMORY=wrong)
        assert status == 1
        assert err.rstrip().endswith(
            f"ValueError: the environment variable ACTUFUNC_KEPT_MEMORY must be a number of bytes, not {wrong!r}"
        )
    for wrong, error in ((-1, ValueError), (1.5, TypeError), ("1", TypeError)):
        with pytest.raises(error):
            actufunc.set_kept_memory(wrong)  # type: ignore[arg-type]

"""Calls on NumPy arrays do what a NumPy ufunc does: dtypes, scalars, subclasses, containers, pickling, warnings."""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any

import ml_dtypes
import numpy as np
import pandas as pd
import pytest
from cases import ELEMENTWISE, OVER_AXIS, Case

import actufunc
from actufunc import activation, leaky_relu, prelu, sigmoid, silu, softmax
from actufunc._catalogue import ACTIVATIONS, NAMES

X = np.array([-2.0, -0.5, 0.0, 1.5])
HALF_TYPES = (np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16))
ALL = [*ELEMENTWISE, *OVER_AXIS]


@pytest.mark.parametrize("case", OVER_AXIS, ids=repr)
@pytest.mark.parametrize("dtype", HALF_TYPES, ids=str)
def test_half_types_over_an_axis_are_float32_rounded_once(case: Case, dtype: np.dtype[Any]) -> None:
    x = np.linspace(-9, 9, 37).astype(dtype)
    np.testing.assert_array_equal(case(x).astype("float64"), case(x.astype("float32")).astype(dtype).astype("float64"))
    assert case(x).dtype == dtype


@pytest.mark.parametrize("case", ALL, ids=repr)
@pytest.mark.parametrize("dtype", ["complex64", "longdouble", "object", "U3", "S3", "datetime64[s]", "timedelta64[s]"])
def test_other_dtypes_are_refused(case: Case, dtype: str) -> None:
    with pytest.raises(TypeError, match=r"does not support .*float64"):
        case(np.zeros(3, dtype))


def test_byte_order_and_alignment() -> None:
    expected = sigmoid(X)
    np.testing.assert_array_equal(sigmoid(X.astype(">f8")), expected)
    assert sigmoid(X.astype(">f8")).dtype.isnative
    unaligned = np.zeros(X.nbytes + 1, np.uint8)[1:].view(np.float64)
    unaligned[:] = X
    np.testing.assert_array_equal(sigmoid(unaligned), expected)
    out = np.zeros(X.nbytes + 1, np.uint8)[1:].view(np.float64)
    assert sigmoid(X, out=out) is out
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("case", ELEMENTWISE, ids=repr)
def test_scalars_and_lists(case: Case) -> None:
    expected = case(X)
    assert type(case(0.5)) is np.float64
    assert type(case(1)) is type(case(np.int64(1)))
    assert type(case(np.float32(0.5))) is np.float32
    assert type(case(np.array(0.5, "f"))) is np.float32
    np.testing.assert_array_equal(case(X.tolist()), expected)
    np.testing.assert_array_equal(case([]), np.zeros(0))
    kept = case(np.array(0.5), out=...)
    assert type(kept) is np.ndarray
    assert kept.shape == ()


def test_scalars_and_lists_as_hyperparameters() -> None:
    x = X.astype("float32")
    alpha = np.array([[0.25], [0.5]], "float32")
    assert prelu(x, [0.1, 0.2, 0.3, 0.4]).dtype == np.float64
    assert prelu(np.float32(-1), np.float32(0.5)) == np.float32(-0.5)
    assert prelu(-1.0, alpha).dtype == np.float32
    assert prelu(-0.5, np.array([2, 4])).tolist() == [-1.0, -2.0]
    assert sigmoid.vjp(x, 1.0).dtype == np.float32
    assert softmax.vjp(x, 1).dtype == np.float32


def test_many_values_of_a_hyperparameter() -> None:
    """Scalars compiled in, and those past the limit that go through the general kernel, give the same bits."""
    x = np.random.default_rng(0).normal(size=5000).astype("float32") * 5
    for beta in np.linspace(0.1, 3, 40):
        scalar = silu(x, float(beta))
        array = silu(x, np.full(x.shape, beta, "float32"))
        np.testing.assert_array_equal(scalar, array)
        np.testing.assert_array_equal(silu(x[::2], float(beta)), array[::2])


def test_memory_map(tmp_path: Any) -> None:
    mapped = np.memmap(tmp_path / "x", dtype="float64", mode="w+", shape=(4,))
    mapped[:] = X
    np.testing.assert_array_equal(sigmoid(mapped), sigmoid(X))
    sigmoid(X, out=mapped)
    np.testing.assert_array_equal(np.asarray(mapped), sigmoid(X))


@pytest.mark.parametrize("case", ELEMENTWISE, ids=repr)
def test_masked_arrays(case: Case) -> None:
    x = np.ma.MaskedArray(X, mask=[False, True, False, False])
    result = case(x)
    assert isinstance(result, np.ma.MaskedArray)
    np.testing.assert_array_equal(result.mask, x.mask)
    np.testing.assert_array_equal(result.compressed(), case(X)[[0, 2, 3]])


@pytest.mark.parametrize("case", ELEMENTWISE, ids=repr)
def test_pandas(case: Case) -> None:
    series = pd.Series(X, index=list("abcd"), name="logit")
    result = case(series)
    pd.testing.assert_series_equal(result, pd.Series(case(X), index=list("abcd"), name="logit"))
    frame = pd.DataFrame({"p": X, "q": -X})
    pd.testing.assert_frame_equal(case(frame), pd.DataFrame({"p": case(X), "q": case(-X)}))


def test_array_ufunc_gets_the_activation() -> None:
    class Wrapper:
        def __init__(self, value: Any) -> None:
            self.value = value

        def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **keywords: Any) -> Any:
            assert ufunc is leaky_relu
            assert (method, ufunc.nout, ufunc.signature) == ("__call__", 1, None)
            assert ufunc.nin == 2
            assert ufunc.nargs == 3
            values = [i.value if isinstance(i, Wrapper) else i for i in inputs]
            return Wrapper(getattr(ufunc, method)(*values, **keywords))

    class Refusing:
        def __array_ufunc__(self, *_: Any, **__: Any) -> Any:
            return NotImplemented

    np.testing.assert_array_equal(leaky_relu(Wrapper(X)).value, leaky_relu(X))
    np.testing.assert_array_equal(leaky_relu(Wrapper(X), 0.3).value, leaky_relu(X, 0.3))
    np.testing.assert_array_equal(leaky_relu(X, Wrapper(X)).value, leaky_relu(X, X))
    with pytest.raises(TypeError, match="not supported by"):
        leaky_relu(Refusing())


@pytest.mark.parametrize("function", NAMES.values(), ids=NAMES)
def test_pickle_copy_repr_help(function: actufunc.Activation) -> None:
    elementwise = function.definition.kind == "elementwise"
    derived = [function, function.vjp, *function.halves, *([function.grad, function.grad.vjp] if elementwise else [])]
    for each in derived:
        assert pickle.loads(pickle.dumps(each)) is each  # noqa: S301
        assert copy.copy(each) is each
        assert copy.deepcopy(each) is each
        assert each.__name__ in repr(each)
        assert next(iter(inspect.signature(each).parameters)) == "x"
        assert each.__doc__
        assert {f"{c * each.nin}->{c}" for c in "efd"} <= set(each.types)


@activation
def module_level(x: Any, gain: float = 2) -> Any:
    return gain * sigmoid(x)


def test_own_activation_pickles() -> None:
    assert pickle.loads(pickle.dumps(module_level)) is module_level  # noqa: S301
    assert pickle.loads(pickle.dumps(module_level.grad)) is module_level.grad  # noqa: S301


@pytest.mark.parametrize("case", OVER_AXIS, ids=repr)
def test_silent_over_an_axis(case: Case) -> None:
    """No warning on quiet NaN, infinity and large inputs, whatever numpy.errstate says."""
    special = [np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 1e30, -1e30, 88.0, 700.0, 30.0]
    for dtype in ("float32", "float64"):
        for values in (special, special * 5, np.full(40, 1.7e38 if dtype == "float32" else 1e308)):
            with np.errstate(all="raise", under="ignore"):  # a genuine underflow may be told, as by np.exp(-1000)
                case(np.array(values, dtype))
        with np.errstate(all="raise"):
            case(np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 30.0] * 5, dtype))


def test_catalogue_names() -> None:
    assert set(NAMES) <= set(actufunc.__all__)
    assert set(actufunc.__all__) <= set(dir(actufunc))
    assert actufunc.expit is actufunc.sigmoid
    assert actufunc.swish is actufunc.silu
    assert all(ACTIVATIONS[name].__name__ == name for name in ACTIVATIONS)


def test_no_copy_of_softmax_input() -> None:
    x = np.random.default_rng(0).normal(size=(3, 4))
    before = x.copy()
    softmax(x, axis=0)
    softmax(x.T, axis=0)
    np.testing.assert_array_equal(x, before)

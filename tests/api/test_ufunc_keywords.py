"""Keywords of a ufunc (out, where, dtype, casting, order), layouts and errors, on NumPy's and CuPy's arrays."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from array_libraries import Library, load
from cases import ELEMENTWISE, OVER_AXIS, Case

from actufunc import elu, gelu, hard_tanh, identity, leaky_relu, prelu, relu, relu6, sigmoid

LIBRARIES = ("numpy", "cupy")
X = np.array([-2.0, -0.5, 0.0, 1.5])
ALL = [*ELEMENTWISE, *OVER_AXIS]


def everywhere(test: Any) -> Any:
    """Test every function on the arrays of each library."""
    return each_library(pytest.mark.parametrize("case", ALL, ids=repr)(test))


def elementwise(test: Any) -> Any:
    """Test every elementwise function on the arrays of each library."""
    return each_library(pytest.mark.parametrize("case", ELEMENTWISE, ids=repr)(test))


each_library = pytest.mark.parametrize("name", LIBRARIES)


def same(library: Library, result: Any, expected: Any) -> None:
    """Compare the values of an array with what NumPy gives: the same bits from NumPy, else to rounding errors."""
    values = np.asarray(library.asnumpy(result) if hasattr(result, "ndim") else result)
    expected = np.asarray(expected)
    assert values.dtype == expected.dtype
    assert values.shape == expected.shape
    if library.name == "numpy" or expected.dtype.kind != "f":
        np.testing.assert_array_equal(values, expected)
    else:
        ulp = np.finfo(expected.dtype).eps
        np.testing.assert_allclose(values, expected, rtol=4 * ulp, atol=8 * ulp)  # where derivatives cancel


@everywhere
@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64], ids=lambda d: d.__name__)
def test_keeps_dtype_and_shape(name: str, case: Case, dtype: Any) -> None:
    library = load(name)
    x = library.make(X.astype(dtype).reshape(2, 1, 2))
    for function in [case, case.vjp] if case.function.definition.over_axis else [case, case.grad]:
        result = function(x, x) if function.function.__name__.endswith("vjp") else function(x)
        assert library.is_array(result)
        assert result.dtype == dtype
        assert result.shape == x.shape


@everywhere
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64", "bool"])
def test_integers_become_float64_unless_exact(name: str, case: Case, dtype: str) -> None:
    library = load(name)
    x = np.array([0, 1, 3]).astype(dtype)
    result = case(library.asarray(x))
    exact = case.function in {identity, relu, relu6} or (case.function is hard_tanh and dtype != "uint8")
    if exact and dtype != "bool":
        assert result.dtype == dtype
    else:
        assert result.dtype == np.float64
    same(library, result, case(x.astype("float64")).astype(result.dtype))


@each_library
def test_relu_on_negative_integers(name: str) -> None:
    library = load(name)
    for dtype in (np.int8, np.int16, np.int32, np.int64):
        x = np.array([np.iinfo(dtype).min, -1, 0, 7], dtype)
        same(library, relu(library.asarray(x)), np.array([0, 0, 0, 7], dtype))
        out = library.asarray(np.full(4, 9, dtype))
        assert relu(library.asarray(x), out=out, where=library.asarray([True, False, True, True])) is out
        same(library, out, np.array([0, 9, 0, 7], dtype))


@everywhere
@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (0, 3), (1, 1, 1), (2, 3, 4)], ids=str)
@pytest.mark.parametrize("layout", ["C", "F", "reversed", "strided", "broadcast", "unaligned"])
def test_any_shape_and_layout(name: str, case: Case, shape: tuple[int, ...], layout: str) -> None:
    library = load(name)
    values = np.random.default_rng(0).normal(size=shape)
    if layout == "F":
        values = np.array(values, order="F")
    elif layout == "strided" and shape:
        values = np.repeat(values, 2, axis=-1)
    elif layout == "unaligned":
        values = np.concatenate([np.zeros(1), values.reshape(-1)])
    x = library.asarray(values) if layout != "F" else library.make(values)
    if not shape:
        x = x[1:].reshape(()) if layout == "unaligned" else x
    elif layout == "reversed":
        x = x[::-1, ..., ::-1] if x.ndim > 1 else x[::-1]
    elif layout == "strided":
        x = x[..., ::2]
    elif layout == "broadcast":
        x = library.module.broadcast_to(x[..., :1], shape)
    elif layout == "unaligned":
        x = x[1:].reshape(shape)
    assert case(x).shape == shape
    same(library, case(x), case(library.asnumpy(x)))


@elementwise
def test_order(name: str, case: Case) -> None:
    library = load(name)
    values = np.random.default_rng(0).normal(size=(3, 4))
    x = library.asarray(values)
    for order in "KACF":
        for array in (x, library.make(np.asfortranarray(values)), x[:, ::2]):
            result = case(array, order=order)
            flags = {"C": result.flags.c_contiguous, "F": result.flags.f_contiguous}
            assert flags[order] if order in flags else any(flags.values())
            same(library, result, case(library.asnumpy(array)))
    with pytest.raises(ValueError, match="order must be one of"):
        case(x, order="Z")


@elementwise
def test_where(name: str, case: Case) -> None:
    library = load(name)
    values = np.random.default_rng(0).normal(size=(50, 7))
    x, chosen, expected = library.asarray(values), values > 0, case(values)
    mask = library.asarray(chosen)
    out = library.asarray(np.full(values.shape, 9.0))
    assert case(x, out=out, where=mask) is out
    same(library, out, np.where(chosen, expected, 9.0))
    out = library.asarray(np.full(values.shape, 9.0))
    case(x, out=out, where=mask[:1])
    same(library, out, np.where(chosen[:1], expected, 9.0))
    same(library, case(x, out=None, where=mask), np.where(chosen, expected, 0.0))
    same(library, case(x[:1], out=None, where=mask), np.where(chosen, expected[:1], 0.0))
    case(x, out=out, where=False)
    same(library, out, np.where(chosen[:1], expected, 9.0))
    case(x, out=x, where=mask)
    same(library, x, np.where(chosen, expected, values))
    for wrong in (library.asarray(np.ones(values.shape)), None):
        with pytest.raises(TypeError, match="takes where= as an array of booleans, not of"):
            case(x, out=out, where=wrong)


@everywhere
def test_out(name: str, case: Case) -> None:
    library = load(name)
    values = np.random.default_rng(0).normal(size=(4, 6))
    x, expected = library.asarray(values), case(values)
    outputs = [
        library.asarray(np.zeros((4, 6))),
        library.make(np.zeros((4, 6), order="F")),
        library.asarray(np.zeros((4, 12)))[:, ::2],
        library.asarray(np.zeros((6, 4))).T[::-1],
    ]
    for out in outputs:
        assert case(x, out=out) is out
        same(library, out, expected)
        assert case(x, out=(out,)) is out
    low = library.asarray(np.zeros((4, 6), "float32"))
    case(x, out=low)
    same(library, low, expected.astype("float32"))
    assert case(x, out=...).shape == x.shape
    empty = library.asarray(np.zeros((4, 0)))
    assert case(empty, out=empty) is empty


@everywhere
def test_in_place(name: str, case: Case) -> None:
    library = load(name)
    values = np.random.default_rng(0).normal(size=(40, 600))
    for view in (np.s_[:], np.s_[::2], np.s_[:, ::-1], np.s_[:, 3:4]):
        expected = values.copy()
        expected[view] = case(values[view])
        whole = library.asarray(values)
        out = whole[view]
        assert case(whole[view], out=out) is out
        same(library, whole, expected)


@everywhere
def test_overlap(name: str, case: Case) -> None:
    """An output that shares memory with the input, shifted: the input is read before it is overwritten."""
    library = load(name)
    values = np.random.default_rng(0).normal(size=(6, 1000))
    for source, target in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:], np.s_[::-1]), (np.s_[:3], np.s_[1:4])):
        expected = values.copy()
        expected[target] = case(values[source])
        whole = library.asarray(values)
        case(whole[source], out=whole[target])
        same(library, whole, expected)


BAD_OUTPUTS = [
    (lambda lib: lib.asarray(np.zeros(5)), ValueError, "does not fit"),
    (lambda lib: lib.asarray(np.zeros((2, 2))), ValueError, "does not fit"),
    (lambda lib: lib.asarray(np.zeros(4, "int64")), TypeError, "cannot cast"),
    (lambda lib: lib.module.broadcast_to(lib.asarray(np.zeros(1)), (4,)), ValueError, "read-only"),
    (lambda _: [0.0] * 4, TypeError, r"(NumPy|CuPy) array only"),
    (lambda lib: (lib.asarray(np.zeros(4)), lib.asarray(np.zeros(4))), ValueError, "one output"),
]


@everywhere
@pytest.mark.parametrize(("make", "error", "words"), BAD_OUTPUTS)
def test_bad_out(name: str, case: Case, make: Any, error: type[Exception], words: str) -> None:
    library = load(name)
    target = make(library)
    arrays = [each for each in (target if isinstance(target, tuple) else [target]) if library.is_array(each)]
    before = [library.asnumpy(each).copy() for each in arrays]
    with pytest.raises(error, match=words) as caught:
        case(library.asarray(X), out=target)
    assert "\n" not in str(caught.value)
    for each, values in zip(arrays, before, strict=True):
        same(library, each, values)


@elementwise
def test_dtype_and_casting(name: str, case: Case) -> None:
    library = load(name)
    x, low = library.asarray(X), library.asarray(X.astype("float32"))
    same(library, case(x, dtype="float32"), case(X.astype("float32")))
    assert case(low, dtype=np.float64).dtype == np.float64
    assert case(library.asarray(np.arange(3)), dtype=np.float16).dtype == np.float16
    with pytest.raises(TypeError, match="casting='safe'"):
        case(x, dtype="float32", casting="safe")
    with pytest.raises(TypeError, match="casting='no'"):
        case(x, out=library.asarray(np.zeros(4, "float32")), casting="no")
    unsafe = library.asarray(np.zeros(4, "int64"))
    with np.errstate(invalid="ignore"):  # NaN to an integer
        case(x, out=unsafe, casting="unsafe")
        same(library, unsafe, case(X).astype("int64"))
    with pytest.raises(ValueError, match="casting must be one of"):
        case(x, casting="sometimes")
    with pytest.raises(TypeError, match="does not support complex128"):
        case(x, dtype=complex)


@everywhere
def test_bad_arguments(name: str, case: Case) -> None:
    library = load(name)
    x, function = library.asarray(X), case.function.__name__
    with pytest.raises(TypeError, match=f"{function} got an unexpected keyword argument 'betta'; it knows"):
        case(x, betta=2)
    with pytest.raises(TypeError, match="positional arguments"):
        case.function(x, *range(9))
    with pytest.raises(TypeError):
        case.function()
    if not case.function.definition.over_axis:
        with pytest.raises(ValueError, match="broadcast these shapes"):
            case.vjp(library.asarray(np.zeros(3)), library.asarray(np.zeros(4)))


@each_library
def test_missing_and_repeated_arguments(name: str) -> None:
    x = load(name).asarray(X)
    with pytest.raises(TypeError, match="prelu needs 'alpha'"):
        prelu(x)
    with pytest.raises(TypeError, match="by position and by keyword"):
        elu(x, 2, alpha=2)
    for value in ("abc", 1j, None):
        with pytest.raises(TypeError, match=r"does not support .* for alpha"):
            prelu(x, value)
    with pytest.raises(ValueError, match="approximate must be"):
        gelu(x, approximate="fast")


@each_library
def test_hyperparameters(name: str) -> None:
    library = load(name)
    values = X.astype("float32")
    x = library.asarray(values)
    same(library, leaky_relu(x, 0.2), leaky_relu(values, negative_slope=0.2))
    # Scalars never promote, arrays do.
    assert leaky_relu(x, np.float64(0.2)).dtype == np.float32
    same(library, leaky_relu(x, ml_dtypes.bfloat16(0.25)), leaky_relu(values, ml_dtypes.bfloat16(0.25)))
    assert leaky_relu(x, library.asarray(np.full(4, 0.2))).dtype == np.float64
    alpha = np.array([[0.25], [0.5]], "float32")
    expected = np.where(values > 0, values, alpha * values)
    same(library, prelu(x, library.asarray(alpha)), expected)
    out = library.asarray(np.zeros((2, 4), "float32"))
    assert prelu(x, library.asarray(alpha), out=out) is out
    same(library, out, expected)
    same(library, prelu(-1.0, library.asarray(alpha)), -alpha)
    assert prelu(np.float64(-1), library.asarray(alpha)).dtype == np.float64


@each_library
@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64], ids=lambda d: d.__name__)
@pytest.mark.parametrize("size", [1, 7, 8, 9, 1023, 1024, 1025, 5000])
def test_every_size(name: str, dtype: Any, size: int) -> None:
    """Around the ends of vectors and blocks, with memory around the output that must stay as it is."""
    library = load(name)
    values = np.linspace(-9, 9, size).astype(dtype)
    x = library.make(values)
    for offset in (16, 17):
        around = library.make(np.full(size + 40, 5).astype(dtype))
        sigmoid(x, out=around[offset : offset + size])
        result = library.asnumpy(around).astype("float64")
        expected = sigmoid(values).astype("float64")
        eps = float(ml_dtypes.finfo(dtype).eps)
        np.testing.assert_allclose(result[offset : offset + size], expected, rtol=2 * eps)
        assert (result[:offset] == 5).all()
        assert (result[offset + size :] == 5).all()

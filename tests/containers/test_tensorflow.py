"""TensorFlow's tensors: NumPy's values, dtypes, axes, and errors."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest
from array_libraries import load
from cases import ELEMENTWISE, GATED, OVER_AXIS, REDUCING, Case, cases

import actufunc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.needs_library("tensorflow")

from actufunc.backends import delegation  # noqa: E402

ALL = cases()
every_function = pytest.mark.parametrize("case", ALL, ids=repr)
elementwise = pytest.mark.parametrize("case", ELEMENTWISE, ids=repr)
over_axis = pytest.mark.parametrize("case", [*OVER_AXIS, *REDUCING], ids=repr)
gated = pytest.mark.parametrize("case", GATED, ids=repr)
one_of_each_kind = pytest.mark.parametrize(
    "case", [of_kind[0] for of_kind in (ELEMENTWISE, OVER_AXIS, REDUCING, GATED)], ids=repr
)
WITH_HYPERPARAMETERS = [case for case in ELEMENTWISE if case.function.definition.hyperparameters]
with_hyperparameters = pytest.mark.parametrize("case", WITH_HYPERPARAMETERS, ids=repr)

GENERIC = np.array([[-2.3, -0.7, 0.4, 1.3], [1.9, 0.1, -1.1, -0.2]])  # no kink, no tie
COTANGENT = np.array([[0.5, -1.5, 2.0, 1.0], [1.0, 0.25, -0.75, 3.0]])
TAILS = np.array(
    [0.0, 0.5, -0.4, 2.5, 8, -8, 16, -16, 30, -30, 80, -80, 700, -700, 1e20, -1e20, np.inf, -np.inf, np.nan]
)

# Formulas in which exp has an argument that is rounded: to the error comes what rounding does to the argument.
ROUNDED_ARGUMENT = {"gelu(approximate=tanh)", "quick_gelu"}

# Where TensorFlow's own functions differ at special values, of which these are theirs.
DIFFERENCES = {("relu", -0.0): -0.0, ("relu6", -0.0): -0.0}

# Their derivatives at NaN.
LOST_NAN = {"relu", "relu6"}


@pytest.fixture(autouse=True)
def _poles() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


def points(case: Case) -> np.ndarray[Any, Any]:
    """Return points without kink or tie, where the function has a value."""
    return GENERIC if np.isfinite(case(GENERIC)).all() else np.abs(GENERIC) / 3


def functions(case: Case) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield a function and its derivatives; vjp takes two arrays."""
    yield "value", case
    if case in ELEMENTWISE:
        yield "grad", case.grad
    yield "vjp", case.vjp


def has_formula(case: Case) -> bool:
    """Tell whether no function of TensorFlow's own serves this case."""
    return case.function.__name__ not in delegation._tensorflow()


def close(result: Any, expected: Any, rtol: float = 1e-12, atol: float = 1e-14) -> None:
    assert isinstance(result, tf.Tensor)
    np.testing.assert_allclose(result.numpy(), expected, rtol=rtol, atol=atol)


def ones_like(case: Case, x: Any, **keywords: Any) -> Any:
    return np.ones(case(np.zeros(x.shape), **keywords).shape, x.dtype)


def slope(function: Callable[[Any], Any], x: Any, order: int = 1) -> Any:
    """Let nested tapes differentiate the sum of a function."""
    if not order:
        return function(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        result = slope(function, x, order - 1)
    return tape.gradient(result, x, unconnected_gradients="zero")


# Values.


@every_function
def test_values_are_numpys(case: Case) -> None:
    x = np.linspace(-20, 20, 402).reshape(3, 134)
    g = np.cos(np.arange(case(x).size)).reshape(case(x).shape)
    for what, function in functions(case):
        for dtype, rtol in (("float64", 1e-13), ("float32", 4e-6)):
            arrays = [array.astype(dtype) for array in ((x, g) if what == "vjp" else (x,))]
            result = function(*map(tf.constant, arrays))
            assert result.dtype == dtype
            cancels = (what == "value" and not has_formula(case)) or case not in ELEMENTWISE
            atol = 64 * np.finfo(dtype).eps if cancels else 1000 * np.finfo(dtype).tiny
            expected = function(*(array.astype("float64") for array in arrays))
            close(result, expected, rtol * (10 if repr(case) in ROUNDED_ARGUMENT else 1), atol)
            again = function(*map(tf.constant, arrays))  # by what the first call has left to be remembered
            np.testing.assert_array_equal(again, result)


@every_function
def test_shapes(case: Case) -> None:
    for shape in [(2, 1, 4), (4,), (0,), (3, 0), (0, 4), ()]:
        if case in GATED and not shape:
            continue
        x = np.linspace(0.1, 0.9, math.prod(shape)).reshape(shape)
        for what, function in functions(case):
            arrays = (x, ones_like(case, x)) if what == "vjp" else (x,)
            close(function(*map(tf.constant, arrays)), function(*arrays))


@elementwise
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_special_values_are_numpys(case: Case, dtype: str) -> None:
    special = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0], dtype)
    result, expected = case(tf.constant(special)).numpy(), case(special.astype("float64")).copy()
    for i, x in enumerate(special.tolist()):
        for (name, at), value in DIFFERENCES.items():
            if (name, repr(at)) == (repr(case), repr(x)):
                assert repr(expected[i].item()) != repr(value), f"{name} no longer differs: update the table"
                expected[i] = value
    np.testing.assert_allclose(result, expected, rtol=np.finfo(dtype).eps)
    zero = expected == 0
    np.testing.assert_array_equal(np.signbit(result[zero]), np.signbit(expected[zero]))


@over_axis
def test_special_values_over_axis_are_numpys(case: Case) -> None:
    for row in ([np.nan, 1, 2], [-np.inf, 1, 2], [-np.inf] * 3, [np.inf, 1, 2], [0.0, -0.0, 0.0], [1e300, 0, -1e300]):
        close(case(tf.constant([row], tf.float64)), case(np.array([row])), 1e-14)


@every_function
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_types(case: Case, dtype: str) -> None:
    """Values, and what a tape makes of them; formulas are rounded once."""
    of_half, eps = case.of_halves if case in ELEMENTWISE else case, float(ml_dtypes.finfo(dtype).eps)
    x = tf.cast(tf.constant(points(case)), dtype)
    exact = x.numpy().astype("float64")
    with tf.GradientTape() as tape:
        tape.watch(x)
        result = of_half(x)
    g = np.cos(of_half(exact)).astype(x.dtype.as_numpy_dtype)
    by_tape = tape.gradient(result, x, output_gradients=tf.constant(g))
    is_formula = case in ELEMENTWISE and has_formula(case)
    tolerance = {"rtol": 0.51 * eps, "atol": 0} if is_formula else {"rtol": 4 * eps, "atol": 2 * eps}
    for found, expected in ((result, of_half(exact)), (by_tape, of_half.vjp(exact, g.astype("float64")))):
        assert found.dtype == dtype
        np.testing.assert_allclose(found.numpy().astype("float64"), expected, **tolerance)


@every_function
@pytest.mark.parametrize("dtype", ["int32", "int64", "int8", "uint8", "bool"])
def test_integers(case: Case, dtype: str) -> None:
    x = np.array([[0, 1, 3, 2]]).astype(dtype)
    result, expected = case(tf.constant(x)), case(x)
    assert result.dtype == (dtype if expected.dtype == dtype else "float32")
    np.testing.assert_allclose(result.numpy(), expected, rtol=1e-6)


@every_function
def test_dtype_keyword(case: Case) -> None:
    x = np.array([[-1, 0, 2, 1]], "int32")
    for asked in (tf.float32, "float32", np.float32):
        result = case(tf.constant(x), dtype=asked)
        assert result.dtype == tf.float32
        close(result, case(x.astype("float64")), 2e-6, 1e-7)
    with pytest.raises(TypeError, match="real floating dtype only"):
        case(tf.constant(x), dtype=tf.complex64)


# Axes.


@over_axis
@pytest.mark.parametrize("axis", [0, 1, -1, (0, 2), (1,), (-1, 0), None], ids=str)
def test_axis(case: Case, axis: Any) -> None:
    x = np.random.default_rng(0).normal(size=(2, 4, 5))
    g = np.cos(np.arange(case(x, axis=axis).size)).reshape(case(x, axis=axis).shape)

    def both(x: Any, g: Any) -> Any:
        return case(x, axis=axis), case.vjp(x, g, axis=axis)

    computed = [both(tf.constant(x), tf.constant(g))]
    if axis == (0, 2):
        open_ = [tf.TensorSpec([None] * 3, tf.float64), tf.TensorSpec(None, tf.float64)]
        computed.append(tf.function(both, input_signature=open_)(x, g))
    for results in computed:
        for result, expected in zip(results, both(x, g), strict=True):
            close(result, expected, 1e-12, 1e-15)


@pytest.mark.parametrize("case", REDUCING, ids=repr)
@pytest.mark.parametrize("axis", [0, (0, 2), None], ids=str)
def test_keepdims(case: Case, axis: Any) -> None:
    x = np.random.default_rng(0).normal(size=(2, 4, 5))
    expected = case(x, axis=axis, keepdims=True)
    close(case(tf.constant(x), axis=axis, keepdims=True), expected)
    result = case.vjp(tf.constant(x), tf.constant(expected), axis=axis, keepdims=True)
    close(result, case.vjp(x, expected, axis=axis, keepdims=True))


@over_axis
@pytest.mark.parametrize("axis", [-1, 0, None], ids=str)
def test_where_over_axis(case: Case, axis: Any) -> None:
    x = np.random.default_rng(0).normal(size=(4, 5))
    mask = x > 0
    mask[2] = False  # nothing takes part here
    x[0, ~mask[0]] = np.nan  # what takes no part has no say
    for selected in (mask, mask[:1]):
        expected = case(x, axis=axis, where=selected)
        g = np.ones(expected.shape)
        for where in (tf.constant(selected), selected):
            close(case(tf.constant(x), axis=axis, where=where), expected, 1e-13, 1e-15)
            result = case.vjp(tf.constant(x), tf.constant(g), axis=axis, where=where)
            close(result, case.vjp(x, g, axis=axis, where=selected), 1e-13, 1e-15)


@over_axis
@pytest.mark.parametrize("axis", [3, -4, (0, 5), (0, 0), (1, -2)], ids=str)
def test_bad_axis(case: Case, axis: Any) -> None:
    x = tf.zeros((2, 3, 4))
    with pytest.raises(ValueError, match="axis"):
        case(x, axis=axis)


@gated
@pytest.mark.parametrize("axis", [0, 1, -1], ids=str)
def test_halves(case: Case, axis: int) -> None:
    """Joined, also where lengths are open, and apart."""
    x = np.random.default_rng(0).normal(size=(2, 4, 6))
    expected = case(x, axis=axis)
    close(case(tf.constant(x), axis=axis), expected)
    close(tf.function(case, input_signature=[tf.TensorSpec([None] * 3, tf.float64)])(x), case(x))
    value, gate = np.split(x, 2, axis)
    close(case(tf.constant(value), tf.constant(gate)), expected)
    for result, wanted in zip(
        case.vjp(tf.constant(value), tf.constant(gate), tf.constant(expected)),
        case.vjp(value, gate, expected),
        strict=True,
    ):
        close(result, wanted)
    with pytest.raises(ValueError, match="cannot halve axis 1, which has the odd length 3"):
        case(tf.zeros((2, 3)))


# What stands beside tensors.


@with_hyperparameters
def test_numpy_arrays_take_the_dtype_of_tensors(case: Case) -> None:
    name = next(iter(case.function.definition.hyperparameters))
    values = np.array([[0.5], [0.75]])
    given = {**dict(case.keywords), name: values}
    for x in (tf.constant(GENERIC, tf.float32), tf.Variable(GENERIC, dtype=tf.float32)):
        result = case.function(x, **given)
        assert result.dtype == tf.float32
        np.testing.assert_allclose(result, case.function(GENERIC, **given), rtol=1e-5, atol=1e-6)
    assert case.function(GENERIC, **{**given, name: tf.constant(values, tf.float32)}).dtype == tf.float32
    x = tf.constant([[1, -2, 3, 4], [0, 1, 2, -3]])  # TensorFlow itself would round the array to integers
    np.testing.assert_allclose(case.function(x, **given), case.function(x.numpy(), **given), rtol=1e-5, atol=1e-6)


@every_function
def test_keywords_for_numpy_only(case: Case) -> None:
    x = tf.constant(GENERIC)
    refused: dict[str, Any] = {"out": x, "casting": "safe", "order": "C", "subok": False}
    if case in ELEMENTWISE:
        refused["where"] = x > 0
    for keyword, value in refused.items():
        if keyword in case.function.call_keywords:
            with pytest.raises(TypeError, match=f"takes {keyword}= with NumPy arrays only"):
                case(x, **{keyword: value})
            if keyword == "out":
                with pytest.raises(TypeError, match="takes out= with NumPy arrays only"):
                    case(GENERIC, out=tf.Variable(GENERIC))


@every_function
def test_what_is_no_tensor_is_refused_by_its_kind(case: Case) -> None:
    ragged = tf.ragged.constant([[1.0, 2.0], [3.0]])
    for kind, value in (
        ("RaggedTensor", ragged),
        ("SparseTensor", tf.sparse.from_dense([[1.0, 0.0]])),
        ("IndexedSlices", tf.IndexedSlices(tf.ones((1, 2)), tf.constant([0]))),
    ):
        with pytest.raises(TypeError, match=f"got {kind} for x .*convert it first"):
            case(value)
        with pytest.raises(TypeError, match=f"got {kind} for g .*convert it first"):
            case.vjp(tf.ones((1, 2)), value)


@every_function
def test_dtypes_that_are_refused(case: Case) -> None:
    for dtype in (tf.complex64, tf.string):
        with pytest.raises(TypeError, match=f"does not support {dtype.name}"):
            case(tf.zeros((2, 2), dtype))
    with pytest.raises(TypeError, match="got tensors of float32 and float64, which TensorFlow does not mix"):
        case.vjp(tf.zeros((2, 2)), tf.zeros((2, 2), tf.float64))
    with pytest.raises(TypeError, match="got complex128 for g, which tensorflow does not take"):
        case.vjp(tf.zeros((2, 2)), np.zeros((2, 2), complex))
    with pytest.raises(TypeError, match="got list for g"):
        case.vjp(tf.zeros((2, 2)), [[1.0, 2.0]])


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_other_libraries_are_refused(name: str) -> None:
    other = load(name).asarray([1.0])
    with pytest.raises(TypeError, match="convert it first"):
        actufunc.prelu(tf.ones(2), other)
    with pytest.raises(TypeError, match="convert it first"):
        actufunc.prelu(other, tf.ones(2))


def test_readme() -> None:
    text = (Path(__file__).parents[2] / "README.md").read_text()
    (code,) = re.findall(r"^```python\n([^`]*import tensorflow.*?)^```$", text, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {"__name__": __name__}
    exec(code, names)  # noqa: S102
    x = np.linspace(-3, 3, 6)
    expected = (actufunc.softmax(actufunc.gelu(x)) * actufunc.prelu.grad(x, 0.25, wrt="alpha")).sum()
    np.testing.assert_allclose(names["slope"], expected, rtol=1e-6)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_compiled_sparsemax_of_nan_is_nan(place: int) -> None:
    """XLA sorts NaN elsewhere than TensorFlow does."""
    row = np.array([[0.0, 1.0, 2.0]], np.float32)
    row[0, place] = np.nan
    assert np.isnan(tf.function(actufunc.sparsemax, jit_compile=True)(tf.constant(row)).numpy()).all()

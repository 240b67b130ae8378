"""TensorFlow's tensors: NumPy's values and our derivatives, eagerly, in a tf.function, compiled by XLA, under tapes."""

from __future__ import annotations

import functools
import math
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest
from array_libraries import load
from cases import ELEMENTWISE, GATED, OVER_AXIS, REDUCING, Case, cases, representatives

import actufunc
from actufunc import activation
from actufunc.formula import exp, maximum, minimum

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.needs_library("tensorflow")

from actufunc.backends import delegation as native  # noqa: E402

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
    return case.function.__name__ not in native._tensorflow()


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


# Open shapes, and compilers.


def everything(case: Case) -> Callable[[Any], Any]:
    """Return a function that computes a function, its derivatives and what tapes make of them."""

    def compute(x: Any) -> Any:
        by_tapes = [slope(lambda x: tf.reduce_sum(case(x) * case(x)), x, order) for order in (1, 2)]
        return [case(x), case.vjp(x, case(x)), *([case.grad(x)] if case in ELEMENTWISE else []), *by_tapes]

    return compute


@every_function
def test_open_shapes(case: Case) -> None:
    """Also of one size after the other."""
    function = tf.function(functools.partial(slope, case), input_signature=[tf.TensorSpec([None, None], tf.float64)])
    x = points(case)
    for values in (x, x[:1]):
        close(function(values), case.vjp(values, ones_like(case, values)), 1e-12)


@one_of_each_kind
@pytest.mark.parametrize("shape", [(None, 4), None], ids=str)
def test_everything_of_open_shapes(case: Case, shape: Any) -> None:
    """What has an axis must know how many there are."""
    function = tf.function(everything(case), input_signature=[tf.TensorSpec(shape, tf.float64)])
    x = points(case)
    if shape is None and case not in ELEMENTWISE:
        with pytest.raises(ValueError, match=r"number of dimensions of x .*; give it by tf\.ensure_shape"):
            function(x)
        return
    for values in (x, x[:1]):
        for result, expected in zip(function(values), everything(case)(tf.constant(values)), strict=True):
            close(result, expected.numpy(), 1e-13)


@one_of_each_kind
def test_xla(case: Case) -> None:
    x = tf.constant(points(case))
    for result, expected in zip(tf.function(everything(case), jit_compile=True)(x), everything(case)(x), strict=True):
        close(result, expected.numpy(), 1e-12)


def test_autograph_does_not_read_activations(monkeypatch: pytest.MonkeyPatch) -> None:
    """It could not, and would say so."""
    monkeypatch.setenv("AUTOGRAPH_STRICT_CONVERSION", "1")

    @tf.function
    def function(x: Any) -> Any:
        if tf.reduce_sum(x) > 0:
            x = actufunc.swiglu(x) + actufunc.mish.grad(x[..., :2])
        return actufunc.silu(x[..., :2], beta=2.0)

    x = np.abs(GENERIC)
    expected = actufunc.silu(actufunc.swiglu(x) + actufunc.mish.grad(x[..., :2]), beta=2.0)
    close(function(tf.constant(x)), expected)
    close(tf.function(actufunc.mish)(tf.constant(x)), actufunc.mish(x))


# Derivatives by tapes.


@elementwise
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_tapes_are_as_accurate_as_grad(case: Case, dtype: str) -> None:
    """Where the formula computes, at every number and in both orders; TensorFlow's own functions lose tails."""
    info = np.finfo(dtype)
    x, atol = TAILS.astype(dtype), 1000 * info.tiny
    if not has_formula(case):
        x, atol = x[np.abs(x) <= 30], 64 * info.eps
    rtol = (40 if repr(case) in ROUNDED_ARGUMENT else 8) * info.eps
    expected = case.grad(x.astype("float64"))
    np.testing.assert_allclose(slope(case, tf.constant(x)), expected, rtol=rtol, atol=atol)
    if has_formula(case):
        second = case.grad.grad
        np.testing.assert_allclose(slope(case, tf.constant(x), 2), second(tf.constant(x)), rtol=rtol, atol=atol)


@pytest.mark.parametrize("case", [c for c in representatives(ELEMENTWISE) if has_formula(c)], ids=repr)
def test_tapes_of_higher_order(case: Case) -> None:
    x, second = points(case), case.grad.grad
    close(slope(case, tf.constant(x), 2), second(x), 1e-12, 1e-13)
    close(slope(case, tf.constant(x), 3), second.grad(x), 1e-12, 1e-13)


@every_function
def test_tapes_and_vjp_agree(case: Case) -> None:
    """Also in second order, where the derivatives of both by `x` and by the cotangent are the same."""
    x = tf.constant(points(case))
    g = tf.constant(np.cos(np.arange(np.size(case(points(case))))).reshape(case(points(case)).shape))

    def by_tape(x: Any, g: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            result = case(x)
        return tape.gradient(result, x, output_gradients=g)

    def seconds(first: Callable[..., Any]) -> Any:
        with tf.GradientTape() as tape:
            tape.watch([x, g])
            result = tf.reduce_sum(first(x, g) * COTANGENT)
        return tape.gradient(result, [x, g], unconnected_gradients="zero")

    close(by_tape(x, g), case.vjp(x.numpy(), g.numpy()))
    for result, expected in zip(seconds(case.vjp), seconds(by_tape), strict=True):
        close(result, expected.numpy(), 1e-11, 1e-13)


@pytest.mark.parametrize("case", representatives(ALL), ids=repr)
def test_forward_mode_and_jacobian(case: Case) -> None:
    x = tf.constant(points(case))
    with tf.GradientTape() as tape:
        tape.watch(x)
        result = case(x)
    with tf.autodiff.ForwardAccumulator(x, tf.constant(COTANGENT)) as forward:
        again = case(x)
    close(forward.jvp(again), tf.tensordot(tape.jacobian(result, x), COTANGENT, 2).numpy())


@with_hyperparameters
@pytest.mark.parametrize("make", [tf.constant, tf.Variable], ids=["tensor", "variable"])
def test_gradient_by_hyperparameters(case: Case, make: Callable[[Any], Any]) -> None:
    """It has the shape of the hyperparameter, and a derivative by x."""
    x, name = tf.constant(GENERIC), next(iter(case.function.definition.hyperparameters))
    for shape, axes in (((2, 1), (1,)), ((4,), (0,)), ((), (0, 1)), ((2, 4), ())):
        values = np.linspace(0.5, 0.75, math.prod(shape)).reshape(shape)
        value, given = make(values), {**dict(case.keywords), name: values}
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as tape:
                tape.watch(value)
                result = case.function(x, **{**given, name: value})
            by_value = tape.gradient(result, value)
        close(result, case.function(GENERIC, **given))
        by = functools.partial(case.function.grad, **given, wrt=name)
        close(by_value, np.broadcast_to(by(GENERIC), GENERIC.shape).sum(axes).reshape(shape))
        mixed = Case(case.function.grad).function(x, **{**given, name: value}, wrt=name)
        assert mixed.shape == np.broadcast_shapes(GENERIC.shape, shape)
        by_x = outer.gradient(by_value, x, unconnected_gradients="zero")
        close(by_x, slope(lambda x, by=by: by(x), x).numpy())


@activation
def steep(x: Any, slope: float = -1) -> Any:
    return maximum(slope, 0.25) * minimum(x, 1)


def test_own_activation_and_its_stated_derivative() -> None:
    """Its kinks are those of grad, and what it states of its derivative is taken, inside others too."""

    @activation
    def custom(x: Any, alpha: float = 2) -> Any:
        return alpha * x

    custom.derivative(lambda x, alpha: 10 * alpha * x)
    custom.derivative(lambda x, alpha: exp(x), wrt="alpha")

    @activation
    def outer(x: Any) -> Any:
        return custom(3 * x) + x

    x = np.array([-1.5, 0.25, 1.0])
    close(slope(custom, tf.constant(x)), 20 * x)
    close(slope(outer, tf.constant(x)), 3 * 20 * 3 * x + 1)
    close(slope(steep, tf.constant(x)), steep.grad(x))
    close(slope(lambda alpha: custom(tf.constant(x), alpha), tf.Variable([2.0, 2.0, 2.0], dtype="float64")), np.exp(x))


def test_function_of_a_hyperparameter_alone() -> None:
    """Its result has the shape of x, also where that is open."""

    @activation
    def constant(x: Any, value: float = 1.0) -> Any:
        return 2 * value

    function = tf.function(constant, input_signature=[tf.TensorSpec(None, tf.float64), tf.TensorSpec(None, tf.float64)])
    close(function(tf.zeros((2, 3), tf.float64), tf.constant([1.0], tf.float64)), np.full((2, 3), 2.0))
    close(constant(tf.zeros((2, 3)), 0.5), np.full((2, 3), 1.0))


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

"""Every array library gets its own arrays back, with NumPy's values and derivatives, or one-line errors."""

from __future__ import annotations

import functools
import math
import operator
from typing import TYPE_CHECKING, Any

import array_api_compat.numpy
import array_api_strict
import ml_dtypes
import numpy as np
import pytest
from array_libraries import LIBRARIES, Library, load
from cases import ELEMENTWISE, OVER_AXIS, Case, mostly_slow
from programs import run

import actufunc
from actufunc import activation
from actufunc.accuracy import beside
from actufunc.formula import maximum, minimum

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Numbers = np.ndarray[Any, Any]

ALL = [*ELEMENTWISE, *OVER_AXIS]
WITH_HYPERPARAMETERS = [case for case in ELEMENTWISE if case.function.definition.hyperparameters]
DTYPES = ("float32", "float64")
GENERIC = np.array([[-2.3, -0.7, 0.4], [1.9, 0.1, -1.1]])  # no kink, no tie
every_function = pytest.mark.parametrize("case", ALL, ids=repr)
elementwise = pytest.mark.parametrize("case", ELEMENTWISE, ids=repr)
over_axis = pytest.mark.parametrize("case", OVER_AXIS, ids=repr)

# Where a library's own function is called, its results differ here from NumPy's. The value is what it returns.
_NAN, _LIMIT = float("nan"), "multiplies infinity by zero instead of taking the limit"
DIFFERENCES: dict[tuple[str, str, float], tuple[float, str]] = {
    **{
        (library, function, -np.inf): (_NAN, _LIMIT)
        for library in ("torch", "jax")
        for function in ("silu", "gelu", "gelu(approximate=tanh)", "mish", "hard_silu")
    },
    ("torch", "log_sigmoid", np.inf): (0.0, "subtracts equal numbers, so that zero is not negative"),
    **{("torch", function, -0.0): (-0.0, "keeps the sign of zero") for function in ("relu", "relu6", "soft_shrink")},
    ("jax", "celu", -0.0): (0.0, "loses the sign of zero"),
}

# Where what a library returns depends on the dtype, the processor and the number of elements.
UNDECIDED = {("torch", "gelu", np.inf): "NaN for several numbers of float32 with AVX-512, else infinity"}

# Formulas in which exp has an argument that is rounded: to the error comes what rounding does to the argument.
ROUNDED_ARGUMENT = {
    "gelu(approximate=tanh)": "a cubic polynomial is the argument",
    "quick_gelu": "a product is the argument",
}


@pytest.fixture(autouse=True)
def _poles() -> Iterator[None]:
    """Let NumPy say nothing of the infinities and the NaN of logit."""
    with np.errstate(all="ignore"):
        yield


def functions(case: Case) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield a function and its derivatives; vjp takes two arrays."""
    yield "value", case
    if not case.function.definition.over_axis:
        yield "grad", case.grad
    yield "vjp", case.vjp


def asnumpy(library: Library, array: Any) -> Numbers:
    """Return values; bfloat16 as float32."""
    if library.name == "torch":
        array = array.detach()
        return (array.float() if array.dtype == library.module.bfloat16 else array).numpy()
    values = library.asnumpy(array)
    return values.astype("float32") if values.dtype.name == "bfloat16" else values


def dtype_name(array: Any) -> str:
    """Return the name of a dtype, which the libraries spell differently."""
    dtype = array.dtype
    return getattr(dtype, "name", None) or str(dtype).rpartition(".")[2]


# Values.


@every_function
def test_kind_dtype_and_shape(xp: Library, case: Case) -> None:
    for dtype, shape in [("float32", (2, 1, 3)), *(("float64", shape) for shape in [(3,), (), (0,), (3, 0), (0, 3)])]:
        x = xp.module.reshape(xp.asarray(np.linspace(-2, 2, math.prod(shape)), dtype), shape)
        for what, function in functions(case):
            result = function(*[x] * (2 if what == "vjp" else 1))
            assert xp.is_array(result), what
            assert dtype_name(result) == dtype
            assert result.shape == shape
            assert asnumpy(xp, result).shape == shape


@every_function
@pytest.mark.parametrize("dtype", DTYPES)
def test_values_are_numpys(xp: Library, case: Case, dtype: str) -> None:
    x = np.linspace(-20, 20, 402).reshape(2, 201).astype(dtype)
    g = np.linspace(1, 2, 402).reshape(2, 201).astype(dtype)
    rtol = 4e-6 if dtype == "float32" else 1e-13
    if repr(case) in ROUNDED_ARGUMENT:
        rtol *= 10
    for what, function in functions(case):
        arrays = (x, g) if what == "vjp" else (x,)
        result, expected = asnumpy(xp, function(*map(xp.asarray, arrays))), function(*arrays)
        # Formulas lose subnormal numbers at most. The libraries' own functions cancel in the tail, and so does a
        # difference from a sum over an axis.
        cancels = (what == "value" and xp.name in {"torch", "jax"}) or case.function.definition.over_axis
        atol = 64 * np.finfo(dtype).eps if cancels else 1000 * np.finfo(dtype).tiny
        np.testing.assert_allclose(result, expected, rtol=rtol, atol=atol, err_msg=what)
        if xp.name == "dask" and case in ELEMENTWISE:
            np.testing.assert_array_equal(result, expected)


@every_function
@pytest.mark.parametrize("dtype", DTYPES)
def test_formula_is_accurate(case: Case, dtype: str) -> None:
    """Of the formula in operations of the standard, on numbers whose differences are exact."""
    strict = load("array_api_strict")
    x = (np.arange(-320, 321) / 16).reshape(1, 641).astype(dtype)
    expected = case(x)
    ulp = np.spacing(np.maximum(np.abs(expected), beside(case.function)).astype(dtype))
    allowed = 8 * ulp
    if repr(case) in ROUNDED_ARGUMENT:
        allowed = allowed + np.finfo(dtype).eps * np.abs(x * case.grad(x))
    result = asnumpy(strict, case(strict.asarray(x)))
    np.testing.assert_array_equal(np.isfinite(result), np.isfinite(expected))
    error = np.abs(result - expected)[np.isfinite(expected)]
    x, ulp, allowed = (values[np.isfinite(expected)] for values in (x, ulp, allowed))
    worst = np.argmax(error - allowed)
    assert (error <= allowed).all(), f"{error[worst] / ulp[worst]} ulp at {x[worst]}"


@elementwise
@pytest.mark.parametrize("dtype", DTYPES)
def test_special_values_are_numpys(xp: Library, case: Case, dtype: str) -> None:
    special = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0], dtype)
    result = asnumpy(xp, case(xp.asarray(special)))
    expected = case(special).copy()
    for i, x in enumerate(special.tolist()):
        if (xp.name, repr(case), x) in UNDECIDED:
            expected[i] = result[i]
        for (library, function, at), (value, reason) in DIFFERENCES.items():
            if (library, function, repr(at)) == (xp.name, repr(case), repr(x)):
                message = f"{library} no longer differs in {function}({x}), where it {reason}: update the table"
                assert repr(expected[i].item()) != repr(value), message
                expected[i] = value
    # The constant that is selu of -inf may be the next number.
    np.testing.assert_allclose(result, expected, rtol=np.finfo(dtype).eps)
    zero = expected == 0
    np.testing.assert_array_equal(np.signbit(result[zero]), np.signbit(expected[zero]), "sign of zero")
    for what, function in functions(case):
        if what != "value":
            arrays = [special] if what == "grad" else [special, np.ones_like(special)]
            np.testing.assert_array_equal(asnumpy(xp, function(*map(xp.asarray, arrays))), function(*arrays), what)


@over_axis
def test_special_values_over_axis_are_numpys(xp: Library, case: Case) -> None:
    for row in ([np.nan, 1, 2], [-np.inf, 1, 2], [-np.inf] * 3, [np.inf, 1, 2], [0.0, -0.0, 0.0], [1e300, 0, -1e300]):
        result, expected = asnumpy(xp, case(xp.asarray([row], "float64"))), case(np.array([row]))
        np.testing.assert_allclose(result, expected, rtol=1e-14)


@every_function
@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "bool"])
def test_integers(xp: Library, case: Case, dtype: str) -> None:
    x = np.array([[0, 1, 3]]).astype(dtype)
    if dtype.startswith("int"):
        x = x - x.dtype.type(2)
    result, expected = case(xp.asarray(x)), case(x)
    if expected.dtype == dtype:
        assert dtype_name(result) == dtype
    else:
        namespace = actufunc.array_namespace(xp.asarray(x))
        default = namespace.__array_namespace_info__().default_dtypes()["real floating"]
        assert result.dtype == default
    np.testing.assert_allclose(asnumpy(xp, result), expected, rtol=1e-6)
    again = case(xp.asarray(x))  # by what the first call has left to be remembered
    assert again.dtype == result.dtype
    np.testing.assert_array_equal(asnumpy(xp, again), asnumpy(xp, result))


def _half(library: Library, values: Numbers, dtype: str) -> Any:
    if library.name == "cupy":
        return library.make(values.astype(getattr(ml_dtypes, dtype, dtype)))
    array = library.asarray(values, "float32")
    return actufunc.array_namespace(array).astype(array, getattr(library.module, dtype))


@every_function
@pytest.mark.parametrize(
    ("name", "dtype"),
    [(name, dtype) for dtype in ("float16", "bfloat16") for name in ("torch", "jax", "cupy")],
)
def test_half_types_keep_their_dtype(name: str, dtype: str, case: Case) -> None:
    library = load(name)
    x = np.linspace(-4, 4, 12).reshape(2, 6)
    eps = float(ml_dtypes.finfo(dtype).eps)
    for what, function in functions(case):
        number = 2 if what == "vjp" else 1
        result = function(*[_half(library, x, dtype)] * number)
        assert library.is_array(result)
        assert dtype_name(result) == dtype, what
        rounded = asnumpy(library, _half(library, x, dtype)).astype("float64")
        np.testing.assert_allclose(
            asnumpy(library, result).astype("float64"), function(*[rounded] * number), rtol=4 * eps, atol=4 * eps
        )


@every_function
def test_dtype_keyword(xp: Library, case: Case) -> None:
    x = xp.asarray([[-1, 0, 2]], "int32")
    result = case(x, dtype=xp.module.float32)
    assert dtype_name(result) == "float32"
    np.testing.assert_allclose(asnumpy(xp, result), case(np.array([[-1.0, 0, 2]], "float32")), rtol=1e-6)


@pytest.mark.parametrize("case", mostly_slow(WITH_HYPERPARAMETERS), ids=repr)
def test_hyperparameters(xp: Library, case: Case) -> None:
    """A number, NumPy's scalars, and an array that broadcasts: they have the same values, and derivatives by them."""
    x = np.linspace(-2, 2, 12).reshape(3, 4) + 0.1
    for name in case.function.definition.hyperparameters:
        for value in (2, 2.0, np.float64(2), np.float32(2), np.array([[0.25], [0.5], [0.75]])):
            is_array = isinstance(value, np.ndarray)
            given = {**dict(case.keywords), name: xp.asarray(value) if is_array else value}
            own = {**dict(case.keywords), name: value}
            function = case.function
            for derived, keywords in ((function, {}), (function.grad, {}), (function.grad, {"wrt": name})):
                result = derived(xp.asarray(x), **given, **keywords)
                assert xp.is_array(result)
                np.testing.assert_allclose(asnumpy(xp, result), derived(x, **own, **keywords), rtol=1e-13, atol=1e-15)
                if not is_array:
                    single = derived(xp.asarray(x, "float32"), **given, **keywords)
                    assert dtype_name(single) == "float32", "a scalar never promotes"


@activation
def steep(x: Any, slope: float = -1) -> Any:
    return maximum(slope, 0.25) * minimum(x, 1)


def test_function_of_a_hyperparameter_alone(xp: Library) -> None:
    for slope in (-1, 0.5, 2.0):
        result = steep(xp.asarray(GENERIC), slope)
        np.testing.assert_array_equal(asnumpy(xp, result), steep(GENERIC, slope))


# Functions over an axis.


@over_axis
@pytest.mark.parametrize("axis", [0, 1, -1, (0, 2), (1,), (-1, 0), None], ids=str)
def test_axis(xp: Library, case: Case, axis: Any) -> None:
    x = np.random.default_rng(0).normal(size=(2, 4, 5))
    for what, function in functions(case):
        arrays = [x, x + 1] if what == "vjp" else [x]
        result = function(*map(xp.asarray, arrays), axis=axis)
        assert xp.is_array(result)
        np.testing.assert_allclose(asnumpy(xp, result), function(*arrays, axis=axis), rtol=1e-12, atol=1e-15)


@over_axis
@pytest.mark.parametrize("axis", [3, -4, (0, 5), (0, 0), (1, -2)], ids=str)
def test_bad_axis(xp: Library, case: Case, axis: Any) -> None:
    for what, function in functions(case):
        x = xp.asarray(np.zeros((2, 3, 4)))
        with pytest.raises((ValueError, IndexError)):
            asnumpy(xp, function(*[x] * (2 if what == "vjp" else 1), axis=axis))


@over_axis
@pytest.mark.parametrize("axis", [-1, 0, None], ids=str)
def test_where_over_axis(xp: Library, case: Case, axis: Any) -> None:
    x = np.random.default_rng(0).normal(size=(4, 5))
    mask = x > 0
    mask[2] = False  # nothing takes part here
    x[0, ~mask[0]] = np.nan  # what takes no part has no say
    for selected in (mask, mask[:1]):
        for what, function in functions(case):
            arrays = [x, np.ones_like(x)] if what == "vjp" else [x]
            result = function(*map(xp.asarray, arrays), axis=axis, where=xp.asarray(selected))
            assert xp.is_array(result)
            np.testing.assert_allclose(
                asnumpy(xp, result), function(*arrays, axis=axis, where=selected), rtol=1e-13, atol=1e-15, err_msg=what
            )


# Several devices.


def test_jax_array_on_several_devices() -> None:
    """It stays where it is; no constant of a formula asks for one device."""
    load("jax")
    code = """
        import cases, jax, numpy
        from jax.sharding import Mesh, NamedSharding, PartitionSpec
        mesh = Mesh(numpy.array(jax.devices()), ("device",))
        x = numpy.linspace(0.1, 0.9, 8, dtype="float32").reshape(2, 4)
        shared = jax.device_put(x, NamedSharding(mesh, PartitionSpec("device", None)))
        for case in cases.cases():
            result = case(shared)
            assert len(result.devices()) == 2, case
            numpy.testing.assert_allclose(result, case(x), rtol=1e-4, err_msg=str(case))
    """
    run(code, XLA_FLAGS="--xla_force_host_platform_device_count=2")


# Errors.


@every_function
@pytest.mark.parametrize("name", [name for name in LIBRARIES if name not in {"numpy", "cupy"}])
def test_keywords_for_numpy_only(name: str, case: Case) -> None:
    library = load(name)
    x = library.asarray(GENERIC)
    refused: dict[str, Any] = {"out": x, "casting": "safe", "order": "C", "subok": False}
    if not case.function.definition.over_axis:
        refused["where"] = x > 0
    for keyword, value in refused.items():
        with pytest.raises(TypeError, match=rf"^{case.function.__name__} .*{keyword}") as caught:
            case(x, **{keyword: value})
        assert "\n" not in str(caught.value)


@every_function
def test_complex_is_refused(xp: Library, case: Case) -> None:
    with pytest.raises(TypeError, match=r"does not support .*complex"):
        case(xp.asarray(GENERIC, "complex128"))


@every_function
@pytest.mark.parametrize("name", ["torch", "jax", "array_api_strict"])
def test_beside_a_list_is_refused(name: str, case: Case) -> None:
    x = load(name).asarray(GENERIC)
    with pytest.raises(TypeError, match="got list for g"):
        case.vjp(x, GENERIC.tolist())


@every_function
@pytest.mark.parametrize("name", ["array_api_strict", "torch"])
def test_mixed_devices(name: str, case: Case) -> None:
    library = load(name)
    x = library.asarray(GENERIC)
    elsewhere = x.to("meta") if name == "torch" else x.to_device(library.module.Device("device1"))
    with pytest.raises(TypeError, match=r"got arrays on .* and .*; move them to one device first"):
        case.vjp(x, elsewhere)
    for what, function in functions(case):
        result = function(*[elsewhere] * (2 if what == "vjp" else 1))
        assert result.device == elsewhere.device
        assert (result.shape, result.dtype) == (x.shape, x.dtype)
    if case in OVER_AXIS:
        assert case(elsewhere, where=elsewhere > 0).device == elsewhere.device


# A library that nobody knows.


class Unknown:
    """An array of a library nobody has heard of: it has what the standard asks for and nothing else."""

    device = "here"

    def __init__(self, values: Any) -> None:
        self._values = np.asarray(values)
        self.dtype, self.shape = self._values.dtype, self._values.shape
        self.ndim, self.size = self._values.ndim, self._values.size

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        del api_version
        return UNKNOWN

    def __neg__(self) -> Unknown:
        return Unknown(-self._values)

    __hash__ = None  # type: ignore[assignment]


def _binary(function: Callable[[Any, Any], Any]) -> Callable[[Unknown, Any], Any]:
    def method(self: Unknown, other: Any) -> Any:
        if isinstance(other, Unknown):
            return Unknown(function(self._values, other._values))
        return Unknown(function(self._values, other)) if type(other) in {bool, int, float} else NotImplemented

    return method


for _name in ("add", "sub", "mul", "truediv", "pow", "lt", "le", "gt", "ge", "eq", "ne", "and_", "or_"):
    _operation = getattr(operator, _name)
    setattr(Unknown, f"__{_name.rstrip('_')}__", _binary(_operation))
    if _name in {"add", "sub", "mul", "truediv", "pow"}:
        setattr(Unknown, f"__r{_name}__", _binary(lambda a, b, _operation=_operation: _operation(b, a)))


class UnknownNamespace:
    """Functions of the standard, by NumPy of any version; they take arrays of this library and no others."""

    __name__ = "unknown"

    def __getattr__(self, name: str) -> Any:
        if name not in array_api_strict.__all__:
            raise AttributeError(f"not in the standard: {name}")
        found = getattr(array_api_compat.numpy, name)
        if isinstance(found, type) and issubclass(found, np.generic):
            return np.dtype(found)
        return functools.partial(self._call, found) if callable(found) else found

    def __array_namespace_info__(self) -> UnknownNamespace:
        return self

    def default_dtypes(self, *, device: str | None = None) -> dict[str, Any]:
        assert device == "here"
        return array_api_compat.numpy.__array_namespace_info__().default_dtypes()

    @staticmethod
    def _call(function: Callable[..., Any], *arguments: Any, device: str = "here", **keywords: Any) -> Any:
        assert device == "here"
        assert not any(isinstance(value, np.ndarray | np.generic) for value in (*arguments, *keywords.values()))
        values = [value._values if isinstance(value, Unknown) else value for value in arguments]
        result = function(*values, **keywords)
        return Unknown(result) if isinstance(result, np.ndarray | np.generic) else result


UNKNOWN = UnknownNamespace()


@every_function
@pytest.mark.parametrize("dtype", [*DTYPES, "int64"])
def test_unknown_library(case: Case, dtype: str) -> None:
    x = (GENERIC * 4).astype(dtype)
    with pytest.raises(TypeError):
        np.exp(Unknown(x))  # NumPy cannot take it for its own
    for what, function in functions(case):
        number = 2 if what == "vjp" else 1
        result, expected = function(*[Unknown(x)] * number), function(*[x] * number)
        assert type(result) is Unknown
        assert result.dtype == expected.dtype
        np.testing.assert_allclose(
            result._values, expected, rtol=4e-6 if dtype == "float32" else 1e-13, atol=8 * np.finfo(expected.dtype).eps
        ) if expected.dtype.kind == "f" else np.testing.assert_array_equal(result._values, expected)
    for name in case.function.definition.hyperparameters:
        given = {**dict(case.keywords), name: 0.75}
        array = {**dict(case.keywords), name: Unknown([0.75, 0.75, 0.75])}
        np.testing.assert_allclose(
            case.function(Unknown(GENERIC), **array)._values, case.function(GENERIC, **given), rtol=1e-13
        )
    if case in OVER_AXIS:
        for axis in (0, (0, 1), None):
            masked = case(Unknown(GENERIC), axis=axis, where=Unknown(GENERIC > 0))
            np.testing.assert_allclose(masked._values, case(GENERIC, axis=axis, where=GENERIC > 0), rtol=1e-13)


@every_function
def test_unknown_library_in_errors_and_namespace(case: Case) -> None:
    assert actufunc.array_namespace(Unknown(GENERIC)).sigmoid is actufunc.sigmoid
    with pytest.raises(TypeError, match="numpy"):
        case.vjp(Unknown(GENERIC), GENERIC)
    with pytest.raises(TypeError, match="takes out= with NumPy arrays only"):
        case(Unknown(GENERIC), out=Unknown(GENERIC))

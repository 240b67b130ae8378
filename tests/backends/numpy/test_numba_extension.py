"""Activations inside functions that users compile with Numba: the same bits, in vectors, and clear errors."""

from __future__ import annotations

import pickle
import re
from typing import Any

import numba
import numpy as np
import pytest
from cases import ELEMENTWISE, OVER_AXIS
from numba import guvectorize, literal_unroll, njit, prange, vectorize
from numba.core.errors import TypingError
from test_machine_code import VECTORS, loop_of

import actufunc
from actufunc import activation, elu, gelu, hard_tanh, leaky_relu, prelu, relu, sigmoid, silu, tanh
from actufunc._catalogue import ACTIVATIONS
from actufunc.backends.numpy.numba_extension import functions
from actufunc.backends.numpy.threading import tbb
from actufunc.formula import exp

SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-40, -1e-40, 1e-310, 88.0, -88.0, -103.5, 709.5, -745.0]
X = np.linspace(-9, 9, 43)
FORMATS = [np.dtype("float32"), np.dtype("float64")]
GATED = [function for function in ACTIVATIONS.values() if function.definition.gated]


@pytest.fixture(autouse=True, scope="module")
def _tbb_first() -> None:
    """Launch TBB, for a process has threads of one kind: parallel code here would let Numba choose OpenMP."""
    tbb.is_usable()


def assert_same(result: Any, expected: Any, message: str = "") -> None:
    """Compare dtype, shape and bits, except those of NaN."""
    result, expected = np.asarray(result), np.asarray(expected)
    assert (result.dtype, result.shape) == (expected.dtype, expected.shape), message
    np.testing.assert_array_equal(result, expected, message)
    if result.dtype.kind == "f":
        is_zero = expected == 0
        np.testing.assert_array_equal(np.signbit(result[is_zero]), np.signbit(expected[is_zero]), message)


def assert_vectorised(compiled: Any, dtype: np.dtype[Any]) -> None:
    """Look for vectors in a function's own code, and for calls that are more than an instruction."""
    (result,) = compiled.overloads.values()
    name = re.escape(result.fndesc.llvm_func_name)
    body = re.search(rf'^define [^@]*@"?{name}"?\(.*?^}}', result.library.get_llvm_str(), re.MULTILINE | re.DOTALL)
    assert body is not None
    assert re.search(rf"store {VECTORS[dtype.name]}", body[0]), "the loop is not vectorised"
    assert all(callee.startswith("llvm.") for callee in re.findall(r"call [^@]*@([\w.]+)", body[0]))


@np.errstate(all="ignore")
@pytest.mark.parametrize("dtype", FORMATS, ids=str)
def test_every_function_on_scalars(dtype: np.dtype[Any]) -> None:
    """In one function, as each compilation takes its time; with a hyperparameter of run time in one format."""
    x = np.array([*X, *SPECIAL]).astype(dtype)
    g = np.linspace(-2, 2, x.size).astype(dtype)
    names: dict[str, Any] = {}
    lines, expected = [], []
    for number, case in enumerate(ELEMENTWISE):
        names[f"f{number}"] = case.function
        given = "".join(f", {key}={value!r}" for key, value in case.keywords)
        lines += [f"f{number}(x{given})", f"f{number}.vjp(x, g{given})"]
        expected += [case(x), case.vjp(x, g)]
        hyperparameters = dict.fromkeys(case.function.definition.hyperparameters, 1.7)
        if hyperparameters and dtype == "float32":
            lines.append(f"f{number}(x, {', '.join(f'{key}=p' for key in hyperparameters)})")
            expected.append(case.function(x, **hyperparameters))
    body = "".join(f"    out[{number}] = {line}\n" for number, line in enumerate(lines))
    exec(f"def every(x, g, p, out):\n{body}", names)  # noqa: S102
    every = njit(names["every"])
    results = np.empty((x.size, len(lines)), dtype)
    for row, element, cotangent in zip(results, x, g, strict=True):
        every(element, cotangent, 1.7, row)
    for line, result, known in zip(lines, results.T, expected, strict=True):
        assert_same(result, known, line)


@pytest.mark.parametrize("dtype", FORMATS, ids=str)
def test_a_loop_is_vectorised(dtype: np.dtype[Any]) -> None:
    @njit
    def compute(x: Any, out: Any) -> None:
        for i in range(x.size):
            out[i] = sigmoid(x[i]) + silu(x[i], beta=2.0)

    x = X.astype(dtype)
    out = np.empty_like(x)
    compute(x, out)
    assert_same(out, sigmoid(x) + silu(x, beta=2.0))
    assert_vectorised(compute, dtype)


def test_a_helper_is_inlined() -> None:
    """Also one that is much longer than what LLVM likes to inline."""

    @njit
    def both(x: Any) -> Any:
        return gelu(x) * gelu(x, approximate="tanh") + elu.grad(x, 0.5)

    @njit
    def compute(x: Any, out: Any) -> None:
        for i in range(x.size):
            out[i] = both(x[i])

    x = X.astype("float32")
    out = np.empty_like(x)
    compute(x, out)
    assert_same(out, gelu(x) * gelu(x, approximate="tanh") + elu.grad(x, 0.5))
    assert_vectorised(compute, x.dtype)


# Arrays.


def layouts() -> list[np.ndarray[Any, Any]]:
    """Return arrays laid out in every way."""
    x = np.resize(X, (6, 4, 2)).astype("float32")
    readonly = x.copy()
    readonly.flags.writeable = False
    record = np.zeros(5, dtype=[("before", "i1"), ("x", "f4")])
    record["x"] = X[:5]
    views = [x.ravel(), x[0], np.asfortranarray(x[0]), x.T, x.transpose(1, 0, 2), x[::2, 1:, :1], x.ravel()[::-3]]
    return [*views, readonly, x[:0], x[0, 0, 0, ...], record["x"]]


def test_arrays_of_every_layout() -> None:
    @njit
    def compute(x: Any) -> Any:
        return leaky_relu(x, negative_slope=0.2)

    for x in layouts():
        before = x.copy()
        result = compute(x)
        assert_same(result, leaky_relu(x, negative_slope=0.2))
        assert_same(x, before)
        assert result.flags.writeable
        assert not np.may_share_memory(result, x)
        assert result.flags.f_contiguous if x.flags.f_contiguous else result.flags.c_contiguous
    for compiled in compute.overloads.values():
        if compiled.signature.args[0].ndim:
            assert re.search(rf"store {VECTORS['float32']}", compiled.library.get_llvm_str())


def test_arrays_that_broadcast() -> None:
    @njit
    def compute(x: Any, alpha: Any) -> Any:
        return prelu(x, alpha)

    x = np.resize(X, (4, 5))
    narrow = x.astype("float32")
    pairs = [
        (x, x + 1),
        (x, x[:1]),
        (x[0], x),
        (x, x[0, 0, ...]),
        (x.T, x.T),
        (narrow, x[::2, ::2][:1, :1]),
        (narrow, 0.3),  # a scalar promotes no array
        (np.arange(20).reshape(4, 5), narrow),
    ]
    for pair in pairs:
        assert_same(compute(*pair), prelu(*pair))
    with pytest.raises(ValueError, match="the shapes of x and alpha cannot be broadcast together"):
        compute(x, x[:2])


def test_a_vjp_of_arrays_and_scalars() -> None:
    vjp = sigmoid.vjp

    @njit
    def compute(x: Any, g: Any) -> Any:
        return vjp(x, g)

    x = X.astype("float32")
    assert_same(compute(x, x), vjp(x, x))
    assert_same(compute(x, 2.0), vjp(x, 2.0))
    assert compute(x[3], 2.0) == vjp(float(x[3]), 2.0)  # of float64, as x[3] * 2.0 is there


# Dtypes.


@pytest.mark.parametrize("dtype", ["int8", "uint64", "bool"])
def test_integers_and_booleans(dtype: str) -> None:
    @njit
    def compute(x: Any) -> Any:
        return relu(x), hard_tanh(x, -2, 3), sigmoid(x), relu(x[0]), hard_tanh(x[0], -2, 3), sigmoid(x[0])

    x = np.array([100, 1, 0, 5]).astype(dtype)
    expected = (relu(x), hard_tanh(x, -2, 3), sigmoid(x))
    results = compute(x)
    for result, known in zip(results, expected, strict=False):
        assert_same(result, known)
    assert results[3:] == tuple(known[0] for known in expected)
    (signature,) = compute.nopython_signatures
    assert [str(kind) for kind in signature.return_type.types[3:]] == [known.dtype.name for known in expected]


def test_an_integer_known_at_run_time_only_makes_no_integers() -> None:
    @njit
    def compute(x: Any, low: Any) -> Any:
        return hard_tanh(x, low, 3)

    x = np.arange(-4, 5, dtype="int8")
    assert_same(compute(x, -2), hard_tanh(x, -2, 3).astype("float64"))


def test_literals_and_scalars() -> None:
    @njit
    def compute(x: Any, beta: Any = 1.5) -> Any:
        return sigmoid(1), silu(x, beta), silu(x, beta=2), prelu(True, x)

    for x in (np.float32(0.75), 0.75):
        assert compute(x) == (sigmoid(1), silu(x, 1.5), silu(x, 2), prelu(1.0, x))
        assert compute(x, 0.1) == (sigmoid(1), silu(x, 0.1), silu(x, 2), prelu(1.0, x))
        assert compute(x, np.float32(0.1)) == (sigmoid(1), silu(x, np.float32(0.1)), silu(x, 2), prelu(1.0, x))


# Which function it is.


def test_functions_of_the_user() -> None:
    def make(factor: float) -> tuple[Any, Any]:
        @activation
        def bump(x: Any, k: Any = 0.5) -> Any:
            return x * exp(-k * x * x) * factor

        slope = bump.grad

        @njit
        def compute(x: Any) -> Any:
            return bump(x), slope(x, k=0.25), bump.grad(x), bump.vjp(x, x)

        return bump, compute

    made = [make(2.5), make(3.5)]
    for bump, compute in made:
        expected = (bump(X), bump.grad(X, k=0.25), bump.grad(X), bump.vjp(X, X))
        for result, known in zip(compute(X), expected, strict=True):
            assert_same(result, known)


def test_functions_as_arguments() -> None:
    @njit
    def compute(function: Any, other: Any, x: Any) -> Any:
        return function(x) - other(x)

    for pair in ((sigmoid, tanh), (tanh, sigmoid), (silu.grad, sigmoid)):
        assert_same(compute(*pair, X), pair[0](X) - pair[1](X))


def test_functions_in_a_tuple() -> None:
    functions = (sigmoid, tanh, relu)

    @njit
    def compute(x: Any) -> Any:
        total = functions[0](x)
        for function in literal_unroll(functions):
            total += function(x)
        return total + actufunc.sigmoid(x)

    assert compute(0.5) == sigmoid(0.5) + sigmoid(0.5) + tanh(0.5) + relu(0.5) + sigmoid(0.5)


def test_types_are_told_apart_and_travel() -> None:
    assert numba.typeof(sigmoid) is numba.typeof(sigmoid)
    assert numba.typeof(sigmoid) != numba.typeof(tanh)
    assert numba.typeof(sigmoid) != numba.typeof(sigmoid.grad)
    for function in (sigmoid, sigmoid.vjp):
        assert pickle.loads(pickle.dumps(numba.typeof(function))) is numba.typeof(function)  # noqa: S301


def test_each_kernel_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    names = []
    really = functions.compile_cached
    monkeypatch.setattr(functions, "compile_cached", lambda build, of: (names.append(of), really(build, of))[1])

    @activation
    def new(x: Any) -> Any:
        return x * exp(-x * x * 1.25)

    for _ in range(2):

        @njit
        def compute(x: Any) -> Any:
            return new(x) + new(x + 1)

        compute(1.0)
        compute(X)
    assert len(names) == 2  # for scalars and for arrays


# Numba's other decorators.


def test_vectorize() -> None:
    def formula(x: Any) -> Any:
        return 2 * sigmoid(x) - 1

    for dtype in FORMATS:
        ir, _ = loop_of(formula, dtype, 1)
        assert re.search(rf"store {VECTORS[dtype.name]}", ir)
    signatures = ["float32(float32)", "float64(float64)"]
    x = X.astype("float32")
    expected = (2 * sigmoid(x.astype("float32")).astype("float64") - 1).astype("float32")
    for compute in (vectorize(signatures)(formula), vectorize(signatures, target="parallel")(formula)):
        assert_same(compute(x), expected)
    assert_same(vectorize(formula)(X), 2 * sigmoid(X) - 1)


def test_guvectorize() -> None:
    @guvectorize(["(float32[:], float32[:])"], "(n)->(n)")
    def compute(x: Any, out: Any) -> None:
        for i in range(x.size):
            out[i] = gelu(x[i])

    x = X.astype("float32")
    assert_same(compute(x), gelu(x))


def test_parallel_loops_and_arrays() -> None:
    @njit(parallel=True)
    def compute(x: Any, out: Any) -> Any:
        for i in prange(x.size):
            out[i] = gelu(x[i], approximate="tanh")
        return sigmoid(x) * leaky_relu(x, negative_slope=0.2) + x

    out = np.empty_like(X)
    assert_same(compute(X, out), sigmoid(X) * leaky_relu(X, negative_slope=0.2) + X)
    assert_same(out, gelu(X, approximate="tanh"))


@pytest.mark.parametrize("options", [{"fastmath": True}, {"boundscheck": True}, {"debug": True}], ids=str)
def test_options_of_the_function_around_change_nothing(options: dict[str, bool]) -> None:
    """Even where they come first: what is compiled for one caller serves all."""

    @activation
    def new(x: Any) -> Any:
        return silu(x * 1.125) * float(len(str(options)))

    @njit(**options)
    def compute(x: Any, out: Any) -> Any:
        for i in range(x.size):
            out[i] = new(x[i])
        return new(x)

    out = np.empty_like(X)
    assert_same(compute(X, out), new(X))
    assert_same(out, new(X))


# Errors.


@pytest.mark.parametrize(
    ("code", "x", "message"),
    [
        ("sigmoid(x)", 1j, "inside compiled code sigmoid takes .*, not complex128 for x; convert it"),
        ("sigmoid(x)", np.zeros(3, "float16"), r"not array\(float16, 1d, C\) for x; convert it"),
        ("sigmoid(x)", np.float16(1), "not float16 for x; convert it"),
        ("sigmoid(x)", "text", "not unicode_type for x"),
        ("sigmoid(x)", (1.0, 2.0), r"not UniTuple\(float64 x 2\) for x"),
        ("silu(x, beta=None)", 1.0, "not None for beta"),
        ("silu(x, beta='1')", 1.0, "not '1' for beta"),
        ("silu(x, gamma=1)", 1.0, "silu got an unexpected keyword argument 'gamma'"),
        ("silu(x, 1, beta=1)", 1.0, "silu got 'beta' by position and by keyword"),
        ("silu(x, 1, 2)", 1.0, "silu takes at most 2 positional arguments, not 3"),
        ("silu()", 1.0, "silu needs 'x'"),
        ("prelu(x)", 1.0, "prelu needs 'alpha'"),
        ("silu(x, out=x)", X, "inside compiled code silu takes no out; call it outside"),
        ("silu(x, where=True, dtype=None)", X, "silu takes no where and no dtype; call it outside"),
        ("gelu(x, approximate='erf')", 1.0, "approximate must be 'none' or 'tanh', not 'erf'"),
        ("gelu(x, approximate=str(x))", 1, "takes approximate= as .* not a value of type unicode_type that is not kn"),
        ("elu.grad(x, wrt='beta')", 1.0, "elu has no argument 'beta' to differentiate by; it has x, alpha"),
        ("softmax.grad(x)", X, r"the derivative of softmax is a matrix: use softmax.vjp\(x, g\)"),
        ("sigmoid.gard(x)", X, "Unknown attribute 'gard'"),
    ],
)
def test_errors(code: str, x: Any, message: str) -> None:
    names = dict(ACTIVATIONS)
    exec(f"def compute(x): return {code}", names)  # noqa: S102
    with pytest.raises(TypingError, match=message):
        njit(names["compute"])(x)


@pytest.mark.parametrize("function", [case.function for case in OVER_AXIS] + GATED, ids=lambda f: f.__name__)
def test_functions_over_an_axis_are_for_outside(function: Any) -> None:
    @njit
    def compute(x: Any) -> Any:
        return function(x)

    with pytest.raises(TypingError, match=f"{function.__name__} works along an axis .* call it outside compiled code"):
        compute(X)


def test_other_targets_are_told() -> None:
    with pytest.raises(TypingError, match="sigmoid can be called only in code that is compiled for the CPU"):
        numba.typeof(sigmoid).get_call_type(object(), (numba.float64,), {})

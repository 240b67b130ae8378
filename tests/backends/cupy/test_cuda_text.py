"""The CUDA text, compiled for the host: its results, and its form."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import mpmath
import numpy as np
import pytest
from cases import OVER_AXIS, Case
from cuda_loops import DTYPES, FUSED, KERNELS, STRICT, Kernel, call, can_fuse, loop
from host_gpu import compile_text

from actufunc import activation, formula, gelu, relu
from actufunc.backends.cupy.codegen.elementwise import source as cuda_source
from actufunc.formula.expression import Expression
from actufunc.formula.lowering import lowered

if TYPE_CHECKING:
    import ctypes
    from collections.abc import Callable

    from actufunc import Activation

# In ulp, in both precisions. Of derivatives, in ulp of the largest term. With 24 times the random numbers the largest
# errors are 2.3 (softplus) and 3.8 (gelu.vjp by tanh).
BOUND = {"function": 2.5, "derivative": 4.1}


# Numbers to compute with.


def arrays(kernel: Kernel) -> dict[str, np.ndarray[Any, Any]]:
    """Return values for all arguments: special ones of x with the defaults of the others, then random ones of all."""
    information = np.finfo(kernel.dtype)
    rng = np.random.default_rng(0)
    tiny, least = float(information.tiny), float(information.smallest_subnormal)
    ends = [np.inf, float(information.max), 1e30, 1000, 33, 32, 20, 1, 0.5, 1e-5, 1e-30, tiny, 7 * least, least, 0]
    # Around the ends of the ranges of exp, exp(-x*x/2) and the tails of gelu, and where they become subnormal.
    near = {"float32": [80, 87.3, 88.7, 100, 103.9, 10.05, 12, 12.98, 13.5, 14.1], "float64": []}
    near["float64"] = [700, 708.3, 709.7, 740, 745.1, 21.2, 36, 37.5, 38.3, 38.5]
    tails = np.concatenate([value * np.linspace(0.999, 1.001, 5) for value in near[kernel.dtype]])
    magnitudes = np.concatenate([ends, tails])
    special = np.concatenate([[np.nan], magnitudes, -magnitudes])
    wide = {"float32": 105, "float64": 750}[kernel.dtype]
    random = [rng.normal(size=30), rng.uniform(-wide, wide, 30), rng.uniform(-40, 5, 30), rng.uniform(-15, 2, 30)]
    x = np.concatenate([special, *random, rng.choice([-1, 1], 30) * 2.0 ** rng.uniform(-60, 6, 30)])
    defaults = {"g": 1.0, **kernel.function.definition.hyperparameters}
    values = {"x": x}
    for name in kernel.function.definition.arguments[1:]:
        default = defaults[name] if isinstance(defaults[name], int | float) else 0.25
        values[name] = np.full(x.size, float(default))
        varied = slice(special.size, None, 2)
        values[name][varied] = rng.uniform(0.1, 4, values[name][varied].size)
    return {name: array.astype(kernel.dtype) for name, array in values.items()}


# The reference: each node's value and how large the terms are that make it up.


def _where(condition: Any, a: Any, b: Any) -> Any:
    return a if condition else b


def _larger(a: Any, b: Any) -> Any:
    return mpmath.nan if mpmath.isnan(a) or mpmath.isnan(b) else max(a, b)


def _logistic(x: Any) -> Any:
    return 1 / (1 + mpmath.exp(-x))


def _normal_pdf(x: Any) -> Any:
    return mpmath.exp(-x * x / 2) / mpmath.sqrt(2 * mpmath.pi)


def _normal_cdf(x: Any) -> Any:
    if mpmath.isinf(x) or abs(x) > 100:
        return mpmath.mpf(int(x > 0))  # mpmath takes for ever, and the dtypes end at 38.6
    return mpmath.erfc(-x / mpmath.sqrt(2)) / 2


def _damped(x: Any, factor: Any) -> Any:
    return mpmath.mpf(0) if factor == 0 and not mpmath.isnan(x) else x * factor


def _softplus(x: Any) -> Any:
    return x if x == mpmath.inf else mpmath.log1p(mpmath.exp(x))


REFERENCE: dict[str, Callable[..., Any]] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b if b else a * mpmath.inf,
    "negative": lambda a: -a,
    "absolute": abs,
    "exp": mpmath.exp,
    "expm1": lambda x: mpmath.mpf(-1) if x == -mpmath.inf else mpmath.expm1(x),
    "log": lambda x: mpmath.log(x) if x >= 0 else mpmath.nan,
    "log1p": lambda x: mpmath.log1p(x) if x >= -1 else mpmath.nan,
    "raised": lambda x: x,
    "rounded_once": lambda x: x,
    "sqrt": mpmath.sqrt,
    "tanh": mpmath.tanh,
    "logistic": _logistic,
    "softplus": _softplus,
    "normal_cdf": _normal_cdf,
    "normal_pdf": _normal_pdf,
    "maximum": _larger,
    "minimum": lambda a, b: -_larger(-a, -b),
    "where": _where,
    "damped": _damped,
    "less": lambda a, b: a < b,
    "less_equal": lambda a, b: a <= b,
    "equal": lambda a, b: a == b,
    "not_equal": lambda a, b: a != b,
}


def reference(expression: Expression, values: dict[str, Any], dtype: str) -> tuple[Any, Any]:
    """Compute an expression to 60 digits, and the magnitude of which its error is to be a few ulp.

    That is the magnitude of the value, but of the largest term where a sum cancels, as gradients do next to their
    roots; and a factor of a product is known to no more than an ulp of the smallest normal number, unless `damped` has
    promised otherwise.
    """
    tiny = mpmath.mpf(float(np.finfo(dtype).tiny))

    def operand(pair: Any) -> tuple[Any, Any]:
        if not isinstance(pair, Expression):
            value, scale = pair
            return value, scale
        value = pair.value
        # A Decimal is exact, all other constants are rounded to the dtype like arguments.
        exact = mpmath.mpf(str(value)) if not isinstance(value, bool | int | float) else mpmath.mpf(value)
        return exact, abs(exact)

    def combine(node: Expression, pairs: tuple[Any, ...]) -> tuple[Any, Any]:
        operands = [operand(pair) for pair in pairs]
        value = REFERENCE[node.operation](*(each for each, _ in operands))
        if node.operation == "damped" and mpmath.isinf(operands[0][0]) and 0 < operands[1][0] < tiny**2:
            value = mpmath.mpf(0)  # the exact factor has no limits; that of the dtype is zero, which prevails
        if node.record.condition:
            return value, None
        scales = [abs(value), tiny]
        match node.operation, operands:
            case (("add" | "subtract"), [(_, scale), (_, other)]):
                scales += [scale, other]
            case (("multiply" | "damped"), [(a, scale), (b, other)]):
                scales.append(scale * abs(b))
                if node.operation == "multiply" or not node.operands[1].record.scaled_last:
                    scales.append(abs(a) * other)
            case "divide", [(_, scale), (b, _)]:
                scales.append(scale / abs(b) if b else tiny)
            case "where", [(condition, _), (_, scale), (_, other)]:
                scales.append(scale if condition else other)
            case (("negative" | "raised" | "rounded_once"), [(_, scale)]):
                scales.append(scale)
        return value, max(scale for scale in scales if not mpmath.isnan(scale))

    expression = lowered(expression, REFERENCE)
    result: tuple[Any, Any] = operand(
        expression.fold(lambda node: (values[node.value], abs(values[node.value])), combine)
        if expression.operation != "constant"
        else expression
    )
    return result


def error(result: float, expected: Any, scale: Any, dtype: str) -> float:
    """Return the error in ulp of the number as large as `scale`."""
    information = np.finfo(dtype)
    largest = mpmath.mpf(float(information.max))
    if mpmath.isnan(expected) or np.isnan(result):
        return 0 if mpmath.isnan(expected) and np.isnan(result) else np.inf
    if mpmath.isinf(expected) or np.isinf(result):
        beyond = abs(expected) > largest * (1 + mpmath.mpf(float(information.eps)) / 4)
        return 0 if beyond and np.isinf(result) and np.sign(result) == mpmath.sign(expected) else np.inf
    if mpmath.isinf(scale) or scale > largest:
        scale = largest
    exponent = max(mpmath.frexp(scale)[1] - 1, information.minexp)
    spacing = mpmath.ldexp(1, exponent - information.nmant)
    return float(abs(mpmath.mpf(float(result)) - expected) / spacing)


# Compiling.


@pytest.fixture(scope="module", params=[(), pytest.param(FUSED, marks=pytest.mark.slow)], ids=["separate", "fused"])
def library(request: pytest.FixtureRequest) -> ctypes.CDLL:
    """All kernels in one library."""
    if request.param == FUSED and not can_fuse():
        pytest.skip("no fused multiply-add here")
    return compile_text("".join(map(loop, KERNELS)), (*STRICT, *request.param))


@pytest.mark.slow
@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
def test_values(kernel: Kernel, library: ctypes.CDLL) -> None:
    bound = BOUND["derivative" if "." in kernel.function.__name__ else "function"]
    check_values(kernel, library, bound)


def check_values(kernel: Kernel, library: ctypes.CDLL, bound: float) -> None:
    values = arrays(kernel)
    results = call(library[f"loop_{kernel.symbol}"], values)
    with mpmath.workdps(60):
        rows = np.stack(list(values.values()), axis=1).tolist()
        exact = [dict(zip(values, map(mpmath.mpf, row), strict=True)) for row in rows]
        expected = [reference(kernel.expression, each, kernel.dtype) for each in exact]
        errors = [error(r, *e, kernel.dtype) for r, e in zip(results.tolist(), expected, strict=True)]
    worst = int(np.argmax(errors))
    assert errors[worst] <= bound, {name: array[worst] for name, array in values.items()} | {"result": results[worst]}


DAMPED = [k for k in KERNELS if k.expression.operation == "damped" and k.expression.operands[0].value == "x"]


@pytest.mark.slow
@pytest.mark.parametrize("kernel", DAMPED, ids=repr)
def test_zeros_have_the_sign_of_what_is_damped(kernel: Kernel, library: ctypes.CDLL) -> None:
    values = arrays(kernel)
    results = call(library[f"loop_{kernel.symbol}"], values)
    x = values["x"]
    zero = (results == 0) & ~np.isnan(x)
    assert zero.any()
    np.testing.assert_array_equal(np.signbit(results[zero]), np.signbit(x[zero]))


# Operations that no formula of the catalogue uses, or only with arguments that need no second word.


def _vocabulary() -> list[Activation]:
    @activation
    def of_rounded(x: Expression, a: float = 0.3) -> Expression:
        u = a * x / 3 - 0.1
        return formula.exp(u) + formula.normal_cdf(u) + formula.normal_pdf(u) + formula.softplus(u)

    @activation
    def rounded_expm1(x: Expression, a: float = 0.3) -> Expression:
        return formula.expm1(a * x)

    @activation
    def damped_by_rounded(x: Expression, a: float = 0.3) -> Expression:
        return formula.damped(x, formula.normal_cdf(a * x))

    @activation
    def damped_by_exp(x: Expression, a: float = 0.3) -> Expression:
        return formula.damped(x, formula.exp(a * x))

    @activation
    def damped_by_pdf(x: Expression, a: float = 0.3) -> Expression:
        return formula.damped(x, formula.normal_pdf(a * x))

    @activation
    def divided_softplus(x: Expression, a: float = 0.003) -> Expression:
        return formula.softplus(a * x) / a

    @activation
    def scaled_expm1(x: Expression, a: float = 300.0) -> Expression:
        return a * formula.expm1(x / a)

    @activation
    def others(x: Expression) -> Expression:
        y = formula.log(2 + formula.sqrt(abs(x))) + formula.log1p(abs(x))
        return formula.where(x != 3, formula.where(x <= 5, y, -y), 0)

    return [
        of_rounded,
        rounded_expm1,
        damped_by_rounded,
        damped_by_exp,
        damped_by_pdf,
        divided_softplus,
        scaled_expm1,
        others,
    ]


def test_the_rest_of_the_vocabulary() -> None:
    made = [Kernel(function, (), dtype) for function in _vocabulary() for dtype in DTYPES]
    library = compile_text("".join(map(loop, made)), STRICT)
    for kernel in made:
        check_values(kernel, library, BOUND["derivative"])


def test_infinite_and_nan_constants() -> None:
    @activation
    def constants(x: Expression) -> Expression:
        return formula.where(x > 0, float("inf"), formula.where(x < 0, float("-inf"), float("nan")))

    kernel = Kernel(constants, (), "float32")
    library = compile_text(loop(kernel), STRICT)
    results = call(library[f"loop_{kernel.symbol}"], {"x": np.array([1, -1, 0], "float32")})
    np.testing.assert_array_equal(results, [np.inf, -np.inf, np.nan])


# The text.

NUMBER = re.compile(r"(?<![\w.])(?:\d+\.\d*|\d+(?=[eE]))(?:[eE][+-]?\d+)?(\w*)")


@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
def test_text(kernel: Kernel) -> None:
    statements = kernel.source().rpartition("{\n")[2]
    computed = re.findall(r" = (.*);", statements)
    assert re.search(r"return \w+;\n}\n$", statements)
    assert len(set(computed)) == len(computed), "a subexpression is computed twice"
    text = re.sub(r"//.*", "", kernel.source())
    assert set(NUMBER.findall(text)) <= {"f" if kernel.dtype == "float32" else ""}
    assert ("double" in text) is (kernel.dtype == "float64")
    assert not re.search(r"\b__(?:exp|log|tan|fdivide)|\$", text), "fast-math, or a placeholder left"
    helpers = re.findall(r"^(?:struct|__device__ inline \w+) (\w+)", text, re.MULTILINE)[:-1]
    assert ("gradual" in helpers) is (kernel.dtype == "float32")
    for helper in helpers:
        assert len(re.findall(rf"\b{helper}\b", text)) > 1, f"{helper} is not used"
        first = re.search(rf"\b{helper}\b", text)
        assert first is not None
        assert re.search(rf"(?:struct|inline \w+) {helper}\b", text[: first.end()]), (
            f"{helper} is used before it is there"
        )


@pytest.mark.parametrize("dtype", [np.dtype(character) for character in "bBhHiIlLqQ"], ids=str)
def test_integers(dtype: np.dtype[Any]) -> None:
    text = relu.source("cuda", dtype)
    assert text.startswith("__device__ inline")
    assert text.count("__device__") == 1
    real = text.split("inline ")[1].split(" actufunc_relu")[0]
    wrapped = f'extern "C" void many(const {real} *x, {real} *out, long n) {{\n'
    wrapped += "    for (long k = 0; k < n; k++) out[k] = actufunc_relu(x[k]);\n}\n"
    library = compile_text(text + wrapped, STRICT)
    x = np.array([np.iinfo(dtype).min, 0, 1, np.iinfo(dtype).max], dtype)
    np.testing.assert_array_equal(call(library.many, {"x": x}), relu(x))


def test_refuses_what_it_cannot_write() -> None:
    for case in OVER_AXIS:
        with pytest.raises(TypeError, match="over an axis"):
            cuda_source("f", case.function.definition.computed({}), ["x"], np.dtype("float32"))
    for function in (gelu, OVER_AXIS[0].function):
        with pytest.raises(TypeError, match="no integers"):
            function.source("cuda", "int32")
    with pytest.raises(TypeError, match="complex64"):
        gelu.source("cuda", "complex64")


@pytest.mark.parametrize("case", OVER_AXIS, ids=repr)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_source_over_an_axis(case: Case, dtype: str) -> None:
    for function in (case.function, case.function.vjp):
        text = function.source("cuda", dtype)
        compile_text(text)
        assert "__shfl_xor_sync" in text


def test_any_name_can_be_an_argument() -> None:
    @activation
    def double(x: Expression, y: float = 1, t0: float = 1, int: float = 1, exp: float = 1, β: float = 1) -> Expression:  # noqa: A002, PLC2401
        return formula.exp(x) + y + t0 + int + exp + β

    compile_text(double.source("cuda"), STRICT)

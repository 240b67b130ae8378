"""The errors of results on the device, measured on the device.

The reference for float32 and the half types is the same formula in float64, which is compared with mpmath on a sample.
All inputs of the half types are tried, and all or every nth of float32. CuPy compiles kernels that flush subnormal
floats: ours must not, and the kernels that measure read subnormal numbers by their bits.
"""

from __future__ import annotations

import functools
import importlib.util
from string import Template
from typing import TYPE_CHECKING, Any, NamedTuple

import cupy
import numpy as np
from gpu_cases import GpuCase, dtype_of

from actufunc import accuracy
from actufunc._activation import Activation
from actufunc._formats import FORMATS
from actufunc.formula.definition import Definition
from actufunc.formula.expression import apply

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actufunc.formula.expression import Expression

CHUNK = 1 << 26
SAMPLE = 1000  # points for mpmath
WRONG = {"float16": 0.57, "bfloat16": 0.57, "float32": 8.0, "float64": 8.0}
"""Errors in ulp from which on a result is wrong. Half types: half an ulp, and 1/16 before the rounding. Others: more
than the largest error of a derivative by exponentials that are off by 2 ulp."""


class Error(NamedTuple):
    """The largest error in ulp, its place, and the number of inputs."""

    ulp: float
    at: float
    inputs: int


def largest_error(case: GpuCase, dtype: str, *, stride: int = 1) -> Error | None:
    """Measure the largest error of a function of one element.

    Parameters
    ----------
    case : GpuCase
        The case. A vjp is measured with cotangents between 1/2 and 2; it may be infinite where the derivative
        is. In derivatives, next to the roots, the error counts beside terms of 1.
    dtype : str
        Name of the dtype.
    stride : int
        Every `stride`-th float32 number is tried.

    Returns
    -------
    Error or None
        None if it takes mpmath, which is missing.
    """
    if dtype == "float64":
        return _beside_mpmath(case)
    worst, count = (0.0, 0.0), 0
    for x in _all_numbers(dtype, stride):
        g = cupy.empty_like(x)
        _cotangents()(x, g)
        inputs = [x, g][: case.arrays]
        wide = [_as_float64(each) for each in inputs]
        errors = cupy.empty(x.shape, np.float64)
        last_factor = wide[1] if case.arrays > 1 else 1.0
        _error(dtype, of_terms=case.what != "value")(x, case(*inputs), case(*wide), 0.0, last_factor, errors)
        at = int(errors.argmax())
        worst = max(worst, (float(errors[at]), float(x[at])))
        count += x.size
    return Error(*worst, count)


def _all_numbers(dtype: str, stride: int) -> Iterator[Any]:
    """Yield all numbers of a dtype, or every so many of float32."""
    word, total, stride = (np.uint32, 1 << 32, stride) if dtype == "float32" else (np.uint16, 1 << 16, 1)
    for start in range(0, total, CHUNK * stride):
        bits = cupy.empty(min(CHUNK, -(-(total - start) // stride)), word)
        _bits()(start, stride, bits)
        yield bits.view(dtype_of(dtype))


@functools.cache
def _bits() -> Any:
    return cupy.ElementwiseKernel("int64 start, int64 stride", "W bits", "bits = start + i * stride", "actufunc_bits")


@functools.cache
def _cotangents() -> Any:
    text = "g = static_cast<T>(0.5f + 1.5f * static_cast<float>(i % 1021) / 1021.0f)"
    return cupy.ElementwiseKernel("T x", "T g", text, "actufunc_cotangents")


def _as_float64(x: Any) -> Any:
    return _widened()(x, cupy.empty(x.shape, np.float64))


# Of a subnormal float the magnitude is an integer number of the least.
_WIDENED = """
__device__ inline double widened(double x) { return x; }
__device__ inline double widened(float x) {
    unsigned bits;
    memcpy(&bits, &x, sizeof bits);
    const unsigned magnitude = bits & 0x7fffffffu;
    const double y = magnitude < 0x00800000u ? ldexp(static_cast<double>(magnitude), -149) : static_cast<double>(x);
    return bits > 0x7fffffffu ? -fabs(y) : fabs(y);
}
template <typename T> __device__ double widened(T x) { return widened(static_cast<float>(x)); }
"""


@functools.cache
def _widened() -> Any:
    return cupy.ElementwiseKernel("X x", "float64 y", "y = widened(x)", "actufunc_widened", preamble=_WIDENED)


_ERROR = """
const double computed = widened(y);
const double right = exact > $largest ? $largest : exact < -$largest ? -$largest : exact;
const double got = computed > $largest ? $largest : computed < -$largest ? -$largest : computed;
const double near_root = $of_terms && fabs(widened(x)) < 4 ? 1.0 : 0.0;
const double scale = fmax(fabs(right), fmax(near_root, terms));
int exponent = $lowest;
if (scale > 0) frexp(scale, &exponent), exponent -= 1;
if (exponent < $lowest) exponent = $lowest;
error = fabs(got - right) / ldexp(1.0, exponent - $bits + 1);
if (fabs(computed) > $largest && computed * exact > 0 && fabs(exact) > $largest * last_factor) error = 0.0;
if (computed != computed || exact != exact) error = (computed != computed && exact != exact) ? 0.0 : 1e300;
"""


@functools.cache
def _error(dtype: str, *, of_terms: bool) -> Any:
    form = FORMATS[dtype]
    largest = (2 - 2.0 ** (1 - form.precision)) * 2.0**form.highest
    text = Template(_ERROR).substitute(
        largest=largest, lowest=form.lowest, bits=form.precision, of_terms=str(of_terms).lower()
    )
    name = f"actufunc_error_{dtype}_{of_terms}"
    inputs = "X x, Y y, float64 exact, float64 terms, float64 last_factor"
    return cupy.ElementwiseKernel(inputs, "float64 error", text, name, preamble=_WIDENED)


def _beside_mpmath(case: GpuCase) -> Error | None:
    if importlib.util.find_spec("mpmath") is None:
        return None
    points = (
        accuracy.sample_rows(np.float64, SAMPLE // 20, 20) if case.over_axis else accuracy.sample("float64", SAMPLE)
    )
    arguments = dict(case.keywords)
    arrays = [cupy.asarray(points)]
    if case.arrays > 1:
        arguments["g"] = np.linspace(0.5, 2, points.size).reshape(points.shape)
        arrays.append(cupy.asarray(arguments["g"]))
    values = case(*arrays).get()
    exact = accuracy.reference(case.function, points, **arguments)
    errors = accuracy.ulp_error(values, exact, beside=accuracy.beside(case.function))
    if case.what != "value":  # beside the terms that cancel: of 1 next to a root, and those of a row
        with np.errstate(invalid="ignore", over="ignore"):
            terms = np.abs(_terms(case)(points, arguments["g"])) if case.over_axis else np.float64(np.abs(points) < 4)  # noqa: PLR2004
            off = [abs(float(e - v)) for v, e in zip(values.flat, exact.flat, strict=True)]
            beside = np.reshape(off, points.shape) / np.spacing(terms)
        errors = np.where(terms > 0, np.fmin(errors, beside), errors)
    worst = int(np.argmax(errors))
    return Error(float(errors.flat[worst]), float(points.flat[worst]), points.size)


def rows_error(case: GpuCase, dtype: str, length: int) -> Error:
    """Measure the largest error of a function over rows of some length, beside the same in float64.

    Cotangents are positive, and the error of a vjp counts beside the terms of the differences that it is made of; that
    of sparsemax, a share that is a difference, beside the total.
    """
    x = cupy.asarray(accuracy.sample_rows(dtype_of(dtype), 64, length))
    g = cupy.empty_like(x)
    _cotangents()(x, g)
    inputs = [x, g][: case.arrays]
    wide = [_as_float64(each) for each in inputs]
    terms: Any = _terms(case)(*wide) if case.what == "vjp" else accuracy.beside(case.function)
    errors = cupy.empty(x.shape, np.float64)
    _error(dtype, of_terms=False)(x, case(*inputs), case(*wide), terms, 1.0, errors)
    at = int(errors.argmax())
    return Error(float(errors.reshape(-1)[at]), float(x.reshape(-1)[at]), x.size)


def _terms(case: GpuCase) -> Activation:
    """Return the vjp of a function over an axis with the largest terms of its differences as values."""
    return Activation(_with_sums(case.function.definition))


@functools.cache
def _with_sums(definition: Definition) -> Definition:
    """Return a definition with sums in the place of differences of what depends on the cotangent."""

    def combine(node: Expression, operands: tuple[Any, ...]) -> Expression:
        operation = node.operation
        if "g" in node.arguments():
            operation = {"subtract": "add"}.get(operation, operation)
        return apply(operation, *operands)

    def trace(**options: Any) -> Expression:
        result: Expression = definition.formula(options).fold(lambda node: node, combine)
        return result

    return Definition(
        f"{definition.name}.terms", definition.arrays, definition.hyperparameters, definition.options, trace
    )

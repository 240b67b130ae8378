"""From an elementwise expression to CUDA C.

The statements are those of :mod:`actufunc.backends.writer`, double words for the arguments of exponentials
included; the functions that they call and CUDA lacks stand in a preamble. With the exponentials of a C library the
functions of the catalogue are within 3 ulp, also where factors are subnormal, and their derivatives within 4 ulp of the
largest term. On a device CUDA's own errors take the place of the library's.
"""

from __future__ import annotations

import re
from string import Template
from typing import TYPE_CHECKING, Any

import numpy as np

from actufunc.backends.rules import keeps_integers
from actufunc.backends.writer import Writer, identifier
from actufunc.formula.expression import REDUCTIONS, argument

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from actufunc.formula.expression import Expression

# What differs between the precisions. `f` ends literals and the names of CUDA's functions. From `limit` on exponentials
# have saturated, and a low word, which there is up to 1/16, could soon make 1 + low negative. Exponentials of arguments
# within `normal` are normal numbers; so is the normal distribution function at -`tail`, beyond which six terms of its
# asymptotic series are enough: the next is 135135/tail**14, below 2**-33 and 2**-55.
_PRECISION = {
    "float32": {"real": "float", "f": "f", "mul": "__fmul_rn", "limit": "1e6f", "normal": "80.0f", "tail": "12.0f"},
    "float64": {"real": "double", "f": "", "mul": "__dmul_rn", "limit": "1e15", "normal": "700.0", "tail": "36.0"},
}

# Each function uses only those above it.
_TEXT = """\
// A number and what its rounding left out.
struct wide {
    $real high, low;
    __device__ wide($real value) : high(value), low(0.0$f) {}
    __device__ wide($real value, $real rest) : high(value), low(fabs$f(value) < $limit ? rest : 0.0$f) {}
};
__device__ inline wide wide_negative(wide a) { return wide(-a.high, -a.low); }
__device__ inline wide wide_add(wide a, wide b) {
    const $real sum = a.high + b.high, part = sum - a.high;
    return wide(sum, (a.high - (sum - part)) + (b.high - part) + (a.low + b.low));
}
__device__ inline wide wide_subtract(wide a, wide b) { return wide_add(a, wide_negative(b)); }
// The compiler could fuse a product written with * into a later sum, and then the low word would not fit.
__device__ inline wide wide_multiply(wide a, wide b) {
    const $real product = $mul(a.high, b.high);
    return wide(product, fma$f(a.high, b.high, -product) + (a.high * b.low + a.low * b.high));
}
__device__ inline wide wide_divide(wide a, wide b) {
    const $real quotient = a.high / b.high, rest = fma$f(-quotient, b.high, a.high) + (a.low - quotient * b.low);
    return wide(quotient, quotient == 0.0$f ? 0.0$f : rest / b.high);
}
// Unlike fmax and fmin, NaN if either is.
__device__ inline $real maximum($real a, $real b) { return a > b || a != a ? a : b; }
__device__ inline $real minimum($real a, $real b) { return a < b || a != a ? a : b; }
// Zero prevails over infinity.
__device__ inline $real damped($real x, $real factor) {
    return (factor == 0.0$f && x == x ? copysign$f(0.0$f, x) : x) * factor;
}
// Where exp(x) may be subnormal exp(x/2) is normal, and scales twice: 4 roundings and twice the error of exp. (But if
// times is beyond 2**120, exp(x/2) is subnormal too where the result is next to subnormal.)
__device__ inline $real times_exp($real times, wide x) {
    const bool twice = !(fabs$f(x.high) < $normal);
    const $real e = exp$f(twice ? 0.5$f * x.high : x.high);
    const $real y = damped(times, x.high < $normal ? fma$f(e, x.low, e) : e * (1.0$f + x.low));
    return twice ? damped(y, e) : y;
}
__device__ inline $real wide_expm1(wide x) { return expm1$f(x.high) * (1.0$f + x.low) + x.low; }
// With exp(-x) the left tail would end where that overflows. All but the last rounding are kept in second words.
__device__ inline $real logistic(wide x) {
    const $real e = exp$f(-fabs$f(x.high)), sum = 1.0$f + e, inverse = 1.0$f / sum;
    const $real top = x.high < 0.0$f ? e : 1.0$f, y = $mul(top, inverse);
    const $real rest = fma$f(-sum, inverse, 1.0$f) - (e - (sum - 1.0$f)) * inverse;
    const $real slope = x.high < 0.0$f ? inverse : e * inverse;
    return y + fma$f(y, fma$f(x.low, slope, rest), fma$f(top, inverse, -y));
}
// Far left this is an exponential.
__device__ inline $real times_logistic($real times, wide x) {
    return x.high < -$normal ? times_exp(times, x) : times * logistic(x);
}
__device__ inline $real softplus(wide x) {
    const $real e = exp$f(-fabs$f(x.high));
    const $real y = (x.high > 0.0$f ? x.high : 0.0$f) + log1p$f(e);
    return x.low == 0.0$f ? y : fma$f(x.low, (x.high > 0.0$f ? 1.0$f : e) / (1.0$f + e), y);
}
// The constant is sqrt(2*pi), which a float holds to 33 bits; of 1/sqrt(2*pi) it holds 25.
__device__ inline $real times_normal_pdf($real times, wide x) {
    const wide square = wide_multiply(x, x);
    return times_exp(times / 2.5066282746310005$f, wide(-0.5$f * square.high, -0.5$f * square.low));
}
__device__ inline $real normal_pdf(wide x) { return times_normal_pdf(1.0$f, x); }
__device__ inline $real normal_cdf(wide x) {
    return x.low == 0.0$f ? normcdf$f(x.high) : normcdf$f(x.high) + x.low * normal_pdf(x.high);
}
// Far left by the asymptotic series: the density times (1 - 1/x**2 + 1*3/x**4 - 1*3*5/x**6 + ...)/-x.
__device__ inline $real times_normal_cdf($real times, wide x) {
    if (!(x.high < -$tail)) return times * normal_cdf(x);
    const $real q = 1.0$f / (x.high * x.high);
    const $real end = 1.0$f - 7.0$f * q * (1.0$f - 9.0$f * q * (1.0$f - 11.0$f * q));
    const $real series = 1.0$f - q * (1.0$f - 3.0$f * q * (1.0$f - 5.0$f * q * end));
    return times_normal_pdf(damped(times, series / -x.high), x);
}
"""
_HELPERS = {
    re.findall(r"^(?:struct|__device__ inline \S+) (\w+)", each, re.MULTILINE)[0]: f"{each}\n"
    for each in re.split(r"(?<=[};])\n(?=//|__device__)", _TEXT.rstrip())
}

_COMPARISONS = {"less": "{} < {}", "less_equal": "{} <= {}", "equal": "{} == {}", "not_equal": "{} != {}"}
_ON_FLOATS = {name: f"{name}$f({{}})" for name in ("log", "log1p", "sqrt", "tanh")} | {"absolute": "fabs$f({})"}
_ON_INTEGERS = {
    "maximum": "{0} > {1} ? {0} : {1}",
    "minimum": "{0} < {1} ? {0} : {1}",
}

# NumPy's characters for C's types.
_INTEGERS = {"b": "char", "h": "short", "i": "int", "l": "long", "q": "long long"}
_SPECIAL = {"inf": "(1.0$f / 0.0$f)", "-inf": "(-1.0$f / 0.0$f)", "nan": "(0.0$f / 0.0$f)"}


def preamble(expression: Expression, dtype: np.dtype[Any]) -> str:
    """Write the functions that the statements of an expression call and CUDA lacks.

    Parameters
    ----------
    expression : Expression
        What is computed.
    dtype : numpy.dtype
        Of the arrays.

    Returns
    -------
    str
        Definitions in CUDA C, each after those it uses; often none.
    """
    text, needed = body(expression, sorted(expression.arguments()), dtype), ""
    for name, helper in reversed(_HELPERS.items()):
        if re.search(rf"\b{name}\b", text + needed):
            needed = helper + needed
    return _fill(needed, _computed_in(dtype))


def body(expression: Expression, arguments: Sequence[str], dtype: np.dtype[Any]) -> str:
    """Write the statements that compute an expression.

    Parameters
    ----------
    expression : Expression
        What to compute.
    arguments : sequence of str
        Its arguments; `identifier` tells what they are called in the text.
    dtype : numpy.dtype
        Of the arrays; half types are computed in float32.

    Returns
    -------
    str
        Statements in CUDA C, one a line, of which the last assigns to ``y``.

    Raises
    ------
    TypeError
        If the expression reduces over an axis, or if the dtype cannot hold its values.
    """
    if any(node.operation in REDUCTIONS for node in expression.nodes()):
        raise TypeError("a formula over an axis is no elementwise CUDA kernel")
    computed = _computed_in(dtype)
    if computed.kind != "f" and not keeps_integers(expression):
        raise TypeError(f"the formula gives no integers: convert {dtype.name} to a float dtype first")
    writer = _Writer(computed, {argument(name): identifier(name) for name in arguments})
    result = writer.value(expression)
    return "".join(f"{line}\n" for line in [*writer.lines, f"y = {result};"])


def source(name: str, expression: Expression, arguments: Sequence[str], dtype: np.dtype[Any]) -> str:
    """Write a function that computes an expression, and those it calls.

    Parameters
    ----------
    name : str
        What to call it; the text puts ``actufunc_`` before it, for CUDA has a `tanh` already.
    expression : Expression
        What it computes.
    arguments : sequence of str
        Its parameters, in order.
    dtype : numpy.dtype
        Of the arrays; half types are computed in float32.

    Returns
    -------
    str
        CUDA C.
    """
    real = _c_type(_computed_in(dtype))
    parameters = ", ".join(f"{real} {identifier(each)}" for each in arguments)
    lines = [f"{real} y;", *body(expression, arguments, dtype).splitlines(), "return y;"]
    text = "".join(f"    {line}\n" for line in lines)
    function = f"__device__ inline {real} actufunc_{_ascii(name)}({parameters}) {{\n{text}}}\n"
    return preamble(expression, dtype) + function


class _Writer(Writer):
    """Writes CUDA C where the base class writes Python."""

    def literal(self, value: float | Decimal) -> str:
        if self.dtype.kind != "f":
            return str(int(value))
        with np.errstate(over="ignore"):
            number = str(self.dtype.type(float(value)))
        return _fill(_SPECIAL.get(number, f"{number}$f"), self.dtype)

    def _wide_literal(self, value: float | Decimal) -> str:
        text = super()._wide_literal(value)
        return f"wide{text}" if "," in text else text

    def _assign(self, node: Expression, text: str, *, wide: bool) -> str:
        kind = "wide" if wide else "bool" if node.operation in _COMPARISONS else _c_type(self.dtype)
        name = super()._assign(node, text, wide=wide)
        self.lines[-1] = f"const {kind} {name} = {text};"
        return name

    def value(self, node: Expression) -> str:
        texts = {"where": "{} ? {} : {}"} | _COMPARISONS | (_ON_FLOATS if self.dtype.kind == "f" else _ON_INTEGERS)
        if (node, False) in self._texts:
            return self._texts[node, False]
        if node.operation in {"exp", "expm1"}:
            x = self.wide(node.operands[0])
            if (node.operands[0], True) not in self._texts and not x.startswith("wide("):
                text = f"{node.operation}$f({x})"
            else:
                text = f"times_exp(1.0$f, {x})" if node.operation == "exp" else f"wide_expm1({x})"
        elif node.operation in texts:
            text = texts[node.operation].format(*map(self.value, node.operands))
        else:
            return super().value(node)
        return self._assign(node, _fill(text, self.dtype), wide=False)


def _computed_in(dtype: np.dtype[Any]) -> np.dtype[Any]:
    if dtype.kind in "iu" or dtype.name in _PRECISION:
        return dtype
    if dtype.name in {"float16", "bfloat16"}:
        return np.dtype("float32")
    raise TypeError(f"CUDA kernels are for integers, float16, bfloat16, float32 and float64, not for {dtype.name}")


def _c_type(dtype: np.dtype[Any]) -> str:
    if dtype.kind == "f":
        return _PRECISION[dtype.name]["real"]
    sign = "unsigned " if dtype.kind == "u" else "signed " if dtype.char == "b" else ""
    return sign + _INTEGERS[dtype.char.lower()]


def _fill(text: str, dtype: np.dtype[Any]) -> str:
    return Template(text).substitute(_PRECISION[dtype.name]) if dtype.kind == "f" else text


def _ascii(name: str) -> str:
    return name.encode("ascii", "backslashreplace").decode().replace("\\", "")

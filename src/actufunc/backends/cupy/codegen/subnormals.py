"""A type of float in CUDA C that keeps subnormal numbers: `gradual`, for gradual underflow.

CuPy compiles all kernels with ``-ftz=true``, after any options of ours: subnormal floats count as zero wherever they
are an argument or a result, of comparisons too. Only instructions that are written out are exempt. So floats are
computed in a type whose operators are such instructions, and CUDA's functions get no argument and give no result that
is subnormal. Doubles are flushed in one of CUDA's functions only; numbers that are only moved are never flushed.
"""

from __future__ import annotations

from decimal import Decimal
from string import Template

import numpy as np

_STRUCT = Template("""\
// A float that may be subnormal: the compiler is told to take all others for zero.
struct gradual {
    float value;
    gradual() = default;
    __device__ gradual(float value) : value(value) {}
    template <typename T> __device__ explicit gradual(T x) : value(static_cast<float>(x)) {}
    template <typename T> __device__ explicit operator T() const { return static_cast<T>(value); }
#ifdef __CUDA_ARCH__
$device    friend __device__ gradual operator/(float a, gradual b) {  // a literal
        if (a != 1.0f) return gradual(a) / b;
        float y; asm("rcp.rn.f32 %0, %1;" : "=f"(y) : "f"(b.value)); return y;
    }
#else
$host#endif
};
""")

# Names, instructions and what they are in C++. Instructions that are written out are not contracted.
_ARITHMETIC = [
    ("operator-", "neg.f32", "-{}"),
    ("operator+", "add.rn.f32", "{} + {}"),
    ("operator-", "sub.rn.f32", "{} - {}"),
    ("operator*", "mul.rn.f32", "{} * {}"),
    ("operator/", "div.rn.f32", "{} / {}"),
    ("fabsf", "abs.f32", "::fabsf({})"),
    ("sqrtf", "sqrt.rn.f32", "::sqrtf({})"),
    ("fmaf", "fma.rn.f32", "::fmaf({}, {}, {})"),
]
_COMPARISONS = {"<": "lt", "<=": "le", ">": "gt", ">=": "ge", "==": "eq", "!=": "neu"}


def _struct() -> str:
    device, host = "", ""

    def add(result: str, name: str, instruction: str, host_text: str) -> None:
        nonlocal device, host
        letters = "abc"[: host_text.count("{}")]
        head = f"    friend __device__ {result} {name}({', '.join(f'gradual {each}' for each in letters)}) {{ "
        kind, constraint = ("int", "=r") if result == "bool" else ("float", "=f")
        operands = ", ".join(f'"f"({each}.value)' for each in letters)
        device += f'{head}{kind} y; asm("{instruction}" : "{constraint}"(y) : {operands}); return y; }}\n'
        host += f"{head}return {host_text.format(*(f'{each}.value' for each in letters))}; }}\n"

    for name, instruction, host_text in _ARITHMETIC:
        places = ", ".join(f"%{number}" for number in range(host_text.count("{}") + 1))
        add("gradual", name, f"{instruction} {places};", host_text)
    for sign, name in _COMPARISONS.items():
        instruction = f"{{ .reg .pred p; setp.{name}.f32 p, %1, %2; selp.b32 %0, 1, 0, p; }}"
        add("bool", f"operator{sign}", instruction, f"{{}} {sign} {{}}")
    return _STRUCT.substitute(device=device, host=host)


# The shift of the exponential is exact, as is that of the logarithm, and the constants that go with them are, by luck,
# within 1/100 of a unit in the last place.
_EXP_SHIFT, _LOG_SHIFT = Decimal(37), 24
_FUNCTIONS = """\
__device__ inline gradual copysignf(gradual a, gradual b) { return ::copysignf(a.value, b.value); }
__device__ inline gradual expf(gradual x) {
    const bool small = x < -87.0f;
    const gradual y = ::expf((small ? x + $exp_shift : x).value);
    return small ? y * $exp_factor : y;
}
__device__ inline gradual logarithm(gradual x) {
    const bool small = x < $tiny;
    const gradual y = ::logf((small ? x * $log_factor : x).value);
    return small ? y - $log_shift : y;
}
__device__ inline gradual expm1f(gradual x) { return fabsf(x) < $tiny ? x : gradual(::expm1f(x.value)); }
__device__ inline gradual log1pf(gradual x) { return fabsf(x) < $tiny ? x : gradual(::log1pf(x.value)); }
__device__ inline gradual tanhf(gradual x) { return fabsf(x) < $tiny ? x : gradual(::tanhf(x.value)); }
__device__ inline gradual __shfl_xor_sync(unsigned mask, gradual x, int lane_mask) {
    return ::__shfl_xor_sync(mask, x.value, lane_mask);
}
"""

_OF_DOUBLE = """\
// CUDA's function looks at the high word as a float, and takes the least negative numbers for zero.
__device__ inline double logarithm(double x) { return x < 0.0 ? nan("") : ::log(x); }
"""

_CONVERTED = """\
// A static_cast, but subnormal numbers count. Half types become float first.
template <typename T, typename From> __device__ inline T converted(From x) {
    if (__is_class(From)) return converted<T>(static_cast<float>(x));
    return static_cast<T>(x);
}
template <> __device__ inline double converted(float x) {
#ifdef __CUDA_ARCH__
    double y;
    asm("cvt.f64.f32 %0, %1;" : "=d"(y) : "f"(x));
    return y;
#else
    return static_cast<double>(x);
#endif
}
template <> __device__ inline float converted(double x) {
#ifdef __CUDA_ARCH__
    float y;
    asm("cvt.rn.f32.f64 %0, %1;" : "=f"(y) : "d"(x));
    return y;
#else
    return static_cast<float>(x);
#endif
}
"""


def definitions(kind: str) -> str:
    """Write the type and what takes it, as far as a kind of kernel may need it."""
    if kind == "float64":
        return _OF_DOUBLE + _CONVERTED
    number = np.float32
    values = {
        "exp_shift": number(_EXP_SHIFT),
        "exp_factor": number((-_EXP_SHIFT).exp()),
        "log_factor": number(2.0**_LOG_SHIFT),
        "log_shift": number(_LOG_SHIFT * Decimal(2).ln()),
        "tiny": np.finfo(number).tiny,
    }
    return (
        _struct() + Template(_FUNCTIONS).substitute({name: f"{value}f" for name, value in values.items()}) + _CONVERTED
    )

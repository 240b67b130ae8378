"""Values of a kernel while it is being compiled, with Python's operators emitting LLVM instructions.

A function of :mod:`~actufunc.backends.numpy.simd` is ordinary Python over `Lane` objects. It runs once, while Numba
compiles a kernel, and emits LLVM code without branches and calls, so that LLVM can vectorise the loop around it. Code
written so, instead of types that Numba infers for every line, gives each constant the format of the lane and keeps the
compilation of a kernel below 0.1 s.

Ordered comparisons and floating-point minima raise the *invalid* flag on quiet NaN (x86 ``vcmpltps``, ``vminps``), and
NumPy would turn it into a warning. Here comparisons work on the integer bits, and only equality, which is quiet, uses
the floating-point unit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, TypeAlias

from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba.core import config

from actufunc._formats import FLOAT32
from actufunc.backends.coefficients import LOG_2

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actufunc._formats import Format

Operand: TypeAlias = "Lane | float"


class Lane:
    """One value of the kernel: a float, an integer of the same width, or a truth value (`i1`).

    Parameters
    ----------
    builder : llvmlite.ir.IRBuilder
        Builder of the instructions.
    value : llvmlite.ir.Value
        LLVM value.
    format : Format
        The floating-point format of the kernel, also for integers and truth values.
    """

    __slots__ = ("builder", "format", "value")

    def __init__(self, builder: ir.IRBuilder, value: ir.Value, format: Format) -> None:  # noqa: A002
        self.builder = builder
        self.value = value
        self.format = format

    def new(self, value: ir.Value) -> Lane:
        """Wrap another value of the same kernel."""
        return Lane(self.builder, value, self.format)

    @property
    def is_float(self) -> bool:
        """True for a floating-point value, or a vector of them; false for an integer or a truth value."""
        kind = self.value.type
        return isinstance(kind.element if isinstance(kind, ir.VectorType) else kind, ir.FloatType | ir.DoubleType)

    def constant(self, value: float) -> Lane:
        """Return `value` with the type of this lane."""
        if self.is_float:
            value = self.format.round(value)
        return self.new(ir.Constant(self.value.type, value))

    def operand(self, other: Operand) -> ir.Value:
        """Return the LLVM value of the other operand, a number as a constant of this type."""
        return other.value if isinstance(other, Lane) else self.constant(other).value

    def _binary(self, other: Operand, of_floats: str, of_integers: str) -> Lane:
        emit = getattr(self.builder, of_floats if self.is_float else of_integers)
        return self.new(emit(self.value, self.operand(other)))

    def __add__(self, other: Operand) -> Lane:
        return self._binary(other, "fadd", "add")

    def __sub__(self, other: Operand) -> Lane:
        return self._binary(other, "fsub", "sub")

    def __mul__(self, other: Operand) -> Lane:
        return self._binary(other, "fmul", "mul")

    def __truediv__(self, other: Operand) -> Lane:
        return self.new(self.builder.fdiv(self.value, self.operand(other)))

    __radd__ = __add__
    __rmul__ = __mul__

    def __rsub__(self, other: float) -> Lane:
        return self.constant(other) - self

    def __rtruediv__(self, other: float) -> Lane:
        return self.constant(other) / self

    def __neg__(self) -> Lane:
        return self.new(self.builder.fneg(self.value) if self.is_float else self.builder.neg(self.value))

    # Integers and truth values.

    def __and__(self, other: Lane | int) -> Lane:
        return self.new(self.builder.and_(self.value, self.operand(other)))

    def __or__(self, other: Lane | int) -> Lane:
        return self.new(self.builder.or_(self.value, self.operand(other)))

    def __xor__(self, other: Lane | int) -> Lane:
        return self.new(self.builder.xor(self.value, self.operand(other)))

    def __invert__(self) -> Lane:
        return self.new(self.builder.not_(self.value))

    def __lshift__(self, count: int) -> Lane:
        return self.new(self.builder.shl(self.value, self.operand(count)))

    def __rshift__(self, count: int) -> Lane:
        """Arithmetic shift: the sign is kept."""
        return self.new(self.builder.ashr(self.value, self.operand(count)))

    def below(self, other: Lane | int) -> Lane:
        """Return true if this integer is less than `other`, both signed."""
        return self.new(self.builder.icmp_signed("<", self.value, self.operand(other)))

    def below_unsigned(self, other: Lane | int) -> Lane:
        """Return true if this integer is less than `other`, both unsigned."""
        return self.new(self.builder.icmp_unsigned("<", self.value, self.operand(other)))

    # Between floats and their bits.

    def bits(self) -> Lane:
        """Bits of a float, as a signed integer."""
        return self.new(self.builder.bitcast(self.value, ir.IntType(self.format.bits)))

    def as_float(self) -> Lane:
        """Float of these bits."""
        float_type = ir.FloatType() if self.format is FLOAT32 else ir.DoubleType()
        return self.new(self.builder.bitcast(self.value, float_type))

    def magnitude_bits(self) -> Lane:
        """Bits without the sign: ordered as the magnitudes are, infinity and then NaN on top."""
        return self.bits() & ~self.format.sign_bit

    def sign_bits(self) -> Lane:
        """Return the sign bit alone."""
        return self.bits() & self.format.sign_bit

    def __abs__(self) -> Lane:
        return self.magnitude_bits().as_float()

    def with_sign_of(self, other: Lane) -> Lane:
        """Return this magnitude with the sign of `other` (``copysign``)."""
        return (self.magnitude_bits() | other.sign_bits()).as_float()

    def times_sign_of(self, other: Lane) -> Lane:
        """Return this, its sign flipped where `other` has one."""
        return (self.bits() ^ other.sign_bits()).as_float()

    # Quiet comparisons of floats.

    def is_nan(self) -> Lane:
        """Return true for NaN."""
        return self.new(self.builder.fcmp_unordered("uno", self.value, self.value))

    def is_nan_or(self, other: Operand) -> Lane:
        """Return true for NaN and where this equals `other`, by one comparison."""
        return self.new(self.builder.fcmp_unordered("==", self.value, self.operand(other)))

    def is_finite(self) -> Lane:
        """Return true where this is neither infinite nor NaN."""
        return self.magnitude_bits().below(self.format.bit_pattern(float("inf")))

    def is_negative(self) -> Lane:
        """Return true where the sign bit is set, also of -0.0."""
        return self.bits().below(0)

    def equals(self, other: Operand) -> Lane:
        """IEEE equality: -0.0 equals 0.0, NaN equals nothing."""
        return self.new(self.builder.fcmp_ordered("==", self.value, self.operand(other)))


@dataclass(frozen=True)
class DoubleWord:
    """An unevaluated sum ``high + low`` of two floats, about twice as precise as one.

    The argument of an exponential is computed so: exp turns an absolute error of its argument into a relative error of
    its result, hence the rounding errors of an argument near -80 would cost 80 ulp.
    """

    high: Lane
    low: Lane


Argument: TypeAlias = "Lane | DoubleWord"


def split(x: Argument) -> tuple[Lane, Lane | None]:
    """Return both words of `x`; None stands for a low word that is zero."""
    return (x.high, x.low) if isinstance(x, DoubleWord) else (x, None)


def fma(a: Lane, b: Operand, c: Operand) -> Lane:
    """``a*b + c``, rounded once."""
    return a.new(a.builder.fma(a.value, a.operand(b), a.operand(c)))


def select(condition: Lane, yes: Lane, no: Operand) -> Lane:
    """``yes`` where the condition holds, else ``no``; never a branch."""
    return yes.new(yes.builder.select(condition.value, yes.value, yes.operand(no)))


def polynomial(x: Lane, coefficients: Sequence[float], square: Lane | None = None) -> Lane:
    """Evaluate a polynomial, lowest coefficient first, by Horner's rule with fused multiply-adds.

    Given the square of `x`, the rule runs over pairs of coefficients: as many instructions, half of which do not wait
    for each other.
    """
    if square is not None:
        constants = [x.constant(c) for c in coefficients]
        pairs = [fma(odd, x, even) for even, odd in zip(constants[::2], constants[1::2], strict=False)]
        result, *others = reversed([*pairs, constants[-1]] if len(constants) % 2 else pairs)
        for pair in others:
            result = fma(result, square, pair)
        return result
    result = x.constant(coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        result = fma(result, x, coefficient)
    return result


def fast_two_sum(a: Lane, b: Operand) -> tuple[Lane, Lane]:
    """Sum of `a` and `b` and its rounding error, for ``|a| >= |b|`` (Dekker 1971)."""
    total = a + b
    return total, b - (total - a)


def two_sum(a: Lane, b: Lane) -> tuple[Lane, Lane]:
    """Sum of `a` and `b` and its rounding error, for any order of magnitudes (Knuth, TAOCP vol. 2, 4.2.2)."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def two_product(a: Lane, b: Operand) -> tuple[Lane, Lane]:
    """Product of `a` and `b` and its rounding error."""
    product = a * b
    return product, fma(a, b, -product)


def power_of_two(exponent: Lane) -> Lane:
    """``2**exponent`` for an integer lane within the exponents of normal numbers."""
    form = exponent.format
    return ((exponent + form.bias) << form.mantissa_bits).as_float()


def scale(x: Lane, exponent: Lane) -> Lane:
    """``x * 2**exponent``, rounded once, for an exponent within twice the range of normal numbers."""
    form = x.format
    # Two factors that are normal numbers. The second, nearly all of the exponent, takes what fits into one; the first
    # product is exact, or the result is zero or infinite anyway.
    smallest, largest = 1 - form.bias, form.bias
    last = select(exponent.below(smallest), exponent.constant(smallest), exponent)
    last = select(last.below(largest), last, largest)
    return x * power_of_two(exponent - last) * power_of_two(last)


def _scales_in_hardware() -> bool:
    """Return True if ``llvm.ldexp`` becomes an instruction: on CPUs with AVX-512; elsewhere it is a call of libm.

    Return False where Numba's settings name another CPU than the one it runs on.
    """
    if config.CPU_NAME is not None or config.CPU_FEATURES is not None or not config.ENABLE_AVX:
        return False
    features = get_host_cpu_features()
    return bool(features.get("avx512f") and features.get("avx512vl"))


def ldexp(x: Lane, k: Lane) -> Lane:
    """Return ``x * 2**k`` with the same bits as `scale`, in fewer instructions where the CPU has them.

    LLVM ignores floating-point flags and exchanges ``llvm.ldexp`` with a `select` between `x` and a constant, or
    between `k` and 0. Hence `k` must be harmless for an `x` that was not selected, and not itself such a select.
    """
    if not _scales_in_hardware():
        return scale(x, k)
    integer = ir.IntType(32)
    narrow = k.value if k.value.type == integer else k.builder.trunc(k.value, integer)
    types = [x.value.type, narrow.type]
    intrinsic = x.builder.module.declare_intrinsic("llvm.ldexp", types, ir.FunctionType(types[0], types))
    return Lane(x.builder, x.builder.call(intrinsic, [x.value, narrow]), x.format)


def log_2_words(bits: int) -> tuple[float, float]:
    """Return log(2) as a multiple of ``2**-bits``, whose product with a short integer is exact, and the remainder."""
    high = math.floor(Fraction(LOG_2) * 2**bits) / 2**bits
    return high, float(Fraction(LOG_2) - Fraction(high))

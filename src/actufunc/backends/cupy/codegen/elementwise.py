"""From an elementwise expression to CUDA C.

The statements are those of :mod:`actufunc.backends.codegen`; the functions that they call and CUDA lacks stand in
:mod:`actufunc.backends.cupy.codegen.mathematics`. With the exponentials of a C library the functions of the catalogue
are within 2.5 ulp, also where factors are subnormal, and their derivatives within 4 ulp of the largest term. On a
device CUDA's own errors take the place of the library's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from actufunc.backends.codegen import ARITHMETIC, WRITTEN, Codegen, identifier, inverse_of
from actufunc.backends.promotion import is_half, keeps_integers, working_dtype
from actufunc.formula.expression import argument
from actufunc.formula.lowering import lowered
from actufunc.formula.operations import COMPARISONS, REDUCTIONS
from actufunc.formula.registry import OPERATIONS, named

from .mathematics import fill, functions, functions_called

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from decimal import Decimal

    from actufunc.formula.expression import Expression

VECTOR = 16
"""Bytes of the widest access to memory."""

_COMPARISONS = {name: OPERATIONS[name].on_integers for name in COMPARISONS}
# CUDA's own functions; `subnormals` defines them for `gradual`.
_ON_FLOATS = {name: f"{name}$f({{}})" for name in ("log1p", "sqrt", "tanh")}
_ON_FLOATS |= {"absolute": "fabs$f({})", "log": "logarithm({})"}
_ON_INTEGERS = {
    "maximum": "{0} > {1} ? {0} : {1}",
    "minimum": "{0} < {1} ? {0} : {1}",
}

# NumPy's characters for C's types. CuPy, too, has int64 as long long; half types have no constructor from long.
_INTEGERS = {"b": "char", "h": "short", "i": "int", "l": "long long", "q": "long long"}
_SPECIAL = {"inf": "(1.0$f / 0.0$f)", "-inf": "(-1.0$f / 0.0$f)", "nan": 'nan$f("")'}


@dataclass(frozen=True)
class KernelSpec:
    """What a kernel computes: an expression of arrays and scalars, which it takes in this order.

    The dtype is that of the result; half types are computed in float.
    """

    name: str
    expression: Expression
    arrays: tuple[str, ...]
    scalars: tuple[str, ...]
    dtype: np.dtype[Any]


def source(
    name: str, expression: Expression, arguments: Sequence[str], dtype: np.dtype[Any], *, caller: str = ""
) -> str:
    """Write a function of `arguments`, in order, that computes an expression, and all functions that it calls.

    `caller` is a text that calls it, and perhaps others, which are written, too. `symbol` makes `name` that of the
    text. The dtype is that of the result; half types are computed in float. The function takes and returns `gradual`
    for float: a float converts to it implicitly, and it to a float by a static_cast. Raises TypeError if the expression
    reduces over an axis, or if the dtype cannot hold its values.
    """
    if any(node.operation in REDUCTIONS for node in expression.nodes()):
        raise TypeError("a formula over an axis is no elementwise CUDA kernel")
    real = c_type(dtype)
    if dtype.kind in "iu" and not keeps_integers(expression):
        raise no_integers(dtype)
    codegen = CudaCodegen(dtype, {argument(each): identifier(each) for each in arguments})
    expression = lowered(expression, primitives(dtype))
    result = codegen.value(expression)
    parameters = ", ".join(f"{real} {identifier(each)}" for each in arguments)
    text = "".join(f"    {line}\n" for line in [*codegen.lines, f"return {result};"])
    function = f"__device__ inline {real} {symbol(name)}({parameters}) {{\n{text}}}\n"
    return functions_of(function + caller, dtype) + function


def primitives(dtype: np.dtype[Any]) -> frozenset[str]:
    """Return the operations that need no composition in kernels for a dtype."""
    if dtype.kind in "iu":
        return WRITTEN | named(lambda each: bool(each.on_integers))
    return WRITTEN | functions(kind_of(dtype)) | _COMPARISONS.keys() | _ON_FLOATS.keys() | {"where", "exp", "expm1"}


def no_integers(dtype: np.dtype[Any]) -> TypeError:
    """Return the error for a formula that an integer dtype cannot hold."""
    return TypeError(f"the formula gives no integers: convert {dtype.name} to a float dtype first")


def symbol(name: str) -> str:
    """Return the name of a function in the text: CUDA has a `tanh` already."""
    ascii_name = name.encode("ascii", "backslashreplace").decode().replace("\\", "")
    return f"actufunc_{ascii_name}"


def functions_of(text: str, dtype: np.dtype[Any]) -> str:
    """Return the functions that a text calls and CUDA lacks; integers need none."""
    return functions_called(text, kind_of(dtype)) if dtype.kind not in "iu" else ""


def kind_of(dtype: np.dtype[Any]) -> str:
    """Name the kind of kernel for a floating dtype."""
    return "half" if is_half(dtype) else dtype.name


def c_type(dtype: np.dtype[Any]) -> str:
    """Return the type in which results of a dtype are computed."""
    work = working_dtype(dtype)
    if work is None or work.kind == "b":
        raise TypeError(f"CUDA kernels are for integers, float16, bfloat16, float32 and float64, not for {dtype.name}")
    if work.kind == "f":
        return "gradual" if work.itemsize == np.dtype(np.float32).itemsize else "double"
    sign = "unsigned " if work.kind == "u" else "signed " if work.char == "b" else ""
    return sign + _INTEGERS[work.char.lower()]


def stored_type(dtype: np.dtype[Any]) -> str:
    """Return the type of arrays from which a dtype is computed; half types are not among them."""
    real = c_type(dtype)
    return "float" if real == "gradual" else real


class CudaCodegen(Codegen):
    """Writes CUDA C where the base class writes Python; half types are computed in float, with one word."""

    wide_operations = ARITHMETIC
    amplifiers = named(lambda each: each.amplifies) - _ON_FLOATS.keys()

    def __init__(self, dtype: np.dtype[Any], known: Mapping[Expression, str]) -> None:
        super().__init__(working_dtype(dtype) or dtype, known)
        self._one_word = is_half(dtype)
        self._kind = kind_of(dtype)

    def fill(self, text: str) -> str:
        """Put the names for this precision into a text."""
        return fill(text, self._kind) if self.dtype.kind == "f" else text

    def literal(self, value: float | Decimal) -> str:
        """Write a number with the type of the kernel."""
        if self.dtype.kind != "f":
            return str(int(value))
        with np.errstate(over="ignore"):
            number = str(self.dtype.type(float(value)))
        return self.fill(_SPECIAL.get(number, f"{number}$f"))

    def _wide_literal(self, value: float | Decimal) -> str:
        text = super()._wide_literal(value)
        return f"wide{text}" if "," in text else text

    def _assign(self, node: Expression, text: str, *, wide: bool) -> str:
        kind = "wide" if wide else "bool" if node.operation in _COMPARISONS else c_type(self.dtype)
        name = super()._assign(node, text, wide=wide)
        self.lines[-1] = f"const {kind} {name} = {text};"
        return name

    def wide(self, node: Expression) -> str:
        """Write the statements that compute `node`, as a double word where one word would round it."""
        return self.value(node) if self._one_word else super().wide(node)

    def value(self, node: Expression) -> str:
        """Write the statements that compute `node`, and return its name or literal."""
        texts = {"where": "{} ? {} : {}"} | _COMPARISONS | (_ON_FLOATS if self.dtype.kind == "f" else _ON_INTEGERS)
        if (node, False) in self._texts:
            return self._texts[node, False]
        if node.record.precision and self._one_word:
            return self.value(node.operands[0])
        if self.dtype.kind == "f" and (fused := self._fused_call(node)) is not None:
            text = fused
        elif node.operation in {"exp", "expm1"}:
            x = self.wide(node.operands[0])
            if self._one_word or ((node.operands[0], True) not in self._texts and not x.startswith("wide(")):
                text = f"{node.operation}$f({x})"
            else:
                text = f"times_exp(1.0$f, {x})" if node.operation == "exp" else f"wide_expm1({x})"
        elif node.operation == "divide" and (inverse := self._inverse(node.operands[1])) is not None:
            text = f"{self.value(node.operands[0])} * {self.literal(inverse)}"
        elif node.operation in texts:
            text = texts[node.operation].format(*map(self.value, node.operands))
        else:
            return super().value(node)
        return self._assign(node, self.fill(text), wide=False)

    def _inverse(self, node: Expression) -> Decimal | None:
        """Return one over a constant if the product with it is as good as the division, which takes much longer.

        They are equal for powers of two. For half types a float has bits to spare.
        """
        inverse = inverse_of(node) if self.dtype.kind == "f" else None
        if inverse is None or self._one_word or abs(math.frexp(inverse)[0]) == 0.5:  # noqa: PLR2004
            return inverse
        return None

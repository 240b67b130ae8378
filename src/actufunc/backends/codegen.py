"""Code generation: from an expression to statements that compute it, in the Python that Numba compiles.

:mod:`~actufunc.backends.cupy.codegen` writes CUDA C in the same way. The functions that the Python text calls
(``logistic``, ``where``, ...) are those of `actufunc.backends.numpy.jit.intrinsics`. Every constant is typed to the
dtype of the kernel: in Numba a literal ``1.0`` would make float64 of a float32 kernel.

The argument of an exponential is computed as a double word (``wide_add``, ``wide_multiply``, ...), because the
exponential turns its absolute error into a relative one; and a product with a factor that may be subnormal,
``damped(y, logistic(x))``, becomes one call ``times_logistic(y, x)`` that scales last. So do two others, in which a
subnormal value would come back into the normal range: ``softplus(x) / y``, and ``y * expm1(x / y)``, which is x for
small x.
"""

from __future__ import annotations

import decimal
import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from actufunc.formula.expression import DIGITS
from actufunc.formula.operations import COSTLY
from actufunc.formula.registry import named

from .coefficients import RAISING_POWER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actufunc.formula.expression import Expression

ARITHMETIC = named(lambda each: each.rounded) | {"negative"}
"""Operations of IEEE 754."""

WRITTEN = ARITHMETIC | named(lambda each: each.reduction or each.precision)
"""Operations that need no function, because statements or loops compute them."""


def identifier(name: str) -> str:
    """Return the name of an argument in generated text: x and g stay, others get one that hides no other name."""
    if name in {"x", "g"}:
        return name
    return f"{name}_" if name.isascii() else f"u{name.encode().hex()}_u"


class Codegen:
    """Writes statements that compute expressions of one dtype, each node once.

    Parameters
    ----------
    dtype : numpy.dtype
        dtype of arguments and results.
    known : mapping of Expression to str
        Text of the nodes that need no statement, such as arguments.
    """

    wide_operations = named(lambda each: each.wide)  # those that can give a double word, by ``wide_add`` and so on
    amplifiers = named(lambda each: each.amplifies)  # those that take a double word
    fuses_calls = True  # one call computes a node whose operand may be subnormal although it is not itself

    def __init__(self, dtype: np.dtype[Any], known: Mapping[Expression, str]) -> None:
        self.dtype = dtype
        self.lines: list[str] = []
        self._given = set(known)
        self._texts: dict[tuple[Expression, bool], str] = {(node, False): text for node, text in known.items()}
        self._divisors: dict[Expression, str] = {}
        self._count = 0

    def know(self, node: Expression, text: str) -> None:
        """Use `text` wherever `node` is needed."""
        self._texts[node, False] = text
        self._given.add(node)

    def know_divisor(self, node: Expression, *words_and_inverse: str) -> None:
        """Divide by `node` through its inverse."""
        self._divisors[node] = ", ".join(words_and_inverse)

    def declare(self, node: Expression, text: str) -> None:
        """Load `node` from where it is stored."""
        self._assign(node, text, wide=False)
        self._given.add(node)

    def literal(self, value: float | Decimal) -> str:
        """Write a number with the dtype of the kernel."""
        return f"{self.dtype.name}({_python_text(float(value) if self.dtype.kind == 'f' else value)})"

    def _wide_literal(self, value: float | Decimal) -> str:
        """Write a number as the nearest value of the dtype and the remainder."""
        if not math.isfinite(value):
            return self.literal(value)
        high = float(self.dtype.type(float(value)))
        with decimal.localcontext(DIGITS):
            low = float(Decimal(value) - Decimal(high))
        return f"({self.literal(high)}, {self.literal(low)})" if low else self.literal(high)

    def _assign(self, node: Expression, text: str, *, wide: bool) -> str:
        name = f"t{self._count}"
        self._count += 1
        self.lines.append(f"{name} = {text}")
        self._texts[node, wide] = name
        return name

    def value(self, node: Expression) -> str:
        """Write the statements that compute `node` in the dtype, and return its name or literal."""
        if (node, False) in self._texts:
            return self._texts[node, False]
        if node.operation == "constant":
            return self.literal(node.value)
        if self.fuses_calls and (text := self._fused_call(node)) is not None:
            return self._assign(node, text, wide=False)
        if node.operation == "divide" and (divisor := self._divisors.get(node.operands[1])) is not None:
            return self._assign(node, f"divided({self.wide(node.operands[0])}, {divisor})", wide=False)
        if node.operation in ARITHMETIC and (infix := node.record.infix):
            left, right = map(self.value, node.operands)
            return self._assign(node, f"{left} {infix.strip()} {right}", wide=False)
        if node.operation == "negative":
            return self._assign(node, f"-{self.value(node.operands[0])}", wide=False)
        if node.operation in self.amplifiers:
            return self._assign(node, f"{node.operation}({self.wide(node.operands[0])})", wide=False)
        if node.record.precision:
            text = self.wide(node.operands[0])
            is_wide = (node.operands[0], True) in self._texts
            return self._assign(node, f"rounded({text})", wide=False) if is_wide else text
        if node.operation == "damped" and node.operands[1].record.scaled_last:
            factor = node.operands[1]
            times = self.wide(node.operands[0]) if "damped" in self.wide_operations else self.value(node.operands[0])
            argument = self.wide(factor.operands[0])
            return self._assign(node, f"times_{factor.operation}({times}, {argument})", wide=False)
        operands = list(map(self.value, node.operands))
        if self.dtype.kind == "f":
            text = f"{node.operation}({', '.join(operands)})"
        else:
            text = node.record.on_integers.format(*operands)
        return self._assign(node, text, wide=False)

    def _fused_call(self, node: Expression) -> str | None:
        """Write the call for a node whose operand may be subnormal although it is not itself; None if it is not one."""
        match node.operation, node.operands:
            case "raised", (total,) if "damped" in self.wide_operations:
                return f"rounded({self._raised(total)}) * {self.literal(2.0**-RAISING_POWER)}"
            case "divide", (over, divisor) if over.operation == "softplus":
                return f"softplus_over({self.wide(over.operands[0])}, {self.value(divisor)})"
            case "multiply", (factor, other) if other.operation == "expm1":
                quotient = other.operands[0]
                if quotient.operation == "divide" and quotient.operands[1] is factor:
                    x = self.value(quotient.operands[0])
                    return f"scaled_expm1({x}, {self.value(factor)}, {self.wide(quotient)})"
        return None

    def _raised(self, node: Expression) -> str:
        """Return the text of a double word: a sum of terms times ``2**RAISING_POWER``."""
        if node.operation in {"add", "subtract"}:
            return f"wide_{node.operation}({', '.join(map(self._raised, node.operands))})"
        if node.operation in {"damped", "multiply"}:
            return f"wide_{node.operation}({self.wide(node.operands[0])}, {self._raised(node.operands[1])})"
        if node.record.scaled_last and node.operation in self.wide_operations:
            return f"raised_{node.operation}({self.wide(node.operands[0])})"
        return f"wide_multiply({self.wide(node)}, {self.literal(2.0**RAISING_POWER)})"

    def wide(self, node: Expression) -> str:
        """Write the statements that compute `node`, as a double word where one word would round it."""
        if (node, True) in self._texts:
            return self._texts[node, True]
        if self._is_exact(node):
            return self.value(node)
        if node.operation == "constant":
            return self._wide_literal(node.value)
        if node.operation == "rounded_once":
            return self.wide(node.operands[0])
        if node.operation == "divide" and (inverse := inverse_of(node.operands[1])) is not None:
            # Two words of it are as good as the quotient, without two divisions.
            text = f"wide_multiply({self.wide(node.operands[0])}, {self._wide_literal(inverse)})"
            return self._assign(node, text, wide=True)
        choice = node.operation == "where"
        texts = [self.value(o) if choice and i == 0 else self.wide(o) for i, o in enumerate(node.operands)]
        return self._assign(node, f"wide_{node.operation}({', '.join(texts)})", wide=True)

    def _is_exact(self, node: Expression) -> bool:
        """Return True if one word is as good as two: nothing is rounded, or a function has rounded already."""
        if node in self._given:
            return True
        if node.operation == "constant":
            return Decimal(float(self.dtype.type(float(node.value)))) == Decimal(node.value)
        if node.operation in {"negative", "rounded_once"}:
            return self._is_exact(node.operands[0])
        if node.operation == "multiply":
            factor, other = node.operands
            if factor.operation == "constant" and math.frexp(factor.value)[0] in {0.5, -0.5}:
                return self._is_exact(other)  # a power of two
        return node.operation not in self.wide_operations


class Float32Codegen(Codegen):
    """Writes statements in float64 for a formula of float32 numbers: no value is subnormal or needs a second word.

    Parameters
    ----------
    known : mapping of Expression to str
        Text of the nodes that need no statement, in float64.
    """

    fuses_calls = False

    def __init__(self, known: Mapping[Expression, str]) -> None:
        super().__init__(np.dtype(np.float64), known)

    def value(self, node: Expression) -> str:
        """Write the statements that compute `node`, and return its name or literal."""
        if (node, False) in self._texts:
            return self._texts[node, False]
        if node.record.precision:
            return self.value(node.operands[0])
        if node.operation in COSTLY:
            return self._assign(node, f"single_{node.operation}({self.value(node.operands[0])})", wide=False)
        if node.operation == "damped":
            operands = list(map(self.value, node.operands))
            text = " * ".join(operands) if _is_bounded(node.operands[0]) else f"damped({', '.join(operands)})"
            return self._assign(node, text, wide=False)
        if node.operation == "divide" and (inverse := self._divisors.get(node.operands[1])) is not None:
            return self._assign(node, f"{self.value(node.operands[0])} * {inverse}", wide=False)
        return super().value(node)

    def know_divisor(self, node: Expression, *words_and_inverse: str) -> None:
        """Multiply by the inverse of `node` alone."""
        self._divisors[node] = words_and_inverse[-1]

    def wide(self, node: Expression) -> str:
        """Return one word, which is exact enough."""
        return self.value(node)


def _is_bounded(node: Expression) -> bool:
    """Return True if a node is finite or NaN."""
    if node.operation in {"multiply", "negative"}:
        return all(map(_is_bounded, node.operands))
    return node.record.bounded or (node.operation == "constant" and math.isfinite(node.value))


def is_rounded_once(expression: Expression) -> bool:
    """Return True if a formula, computed in the dtype of its arguments, is rounded at most once on every path."""
    roundings: dict[Expression, int] = {}
    for node in expression.nodes():
        inexact = node.operation == "constant" and isinstance(node.value, Decimal)
        below = max((roundings[operand] for operand in node.operands), default=0)
        roundings[node] = below + (inexact or node.record.rounded) + 2 * (node.operation in COSTLY)
    return roundings[expression] <= 1


def inverse_of(node: Expression) -> Decimal | None:
    """Return one over a constant, unless it is near to overflow or underflow in some dtype."""
    if node.operation != "constant" or not 2.0**-60 < abs(node.value) < 2.0**60:
        return None
    with decimal.localcontext(DIGITS):
        return 1 / Decimal(node.value)


def _python_text(value: float | Decimal) -> str:
    return repr(value) if math.isfinite(value) else f"float({str(value)!r})"

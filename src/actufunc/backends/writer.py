"""Statements, in the Python that Numba compiles, which compute an expression.

Every constant is typed to the dtype of the kernel: in Numba a literal ``1.0`` would pull a float32 kernel to float64.
The names that the text calls (``logistic``, ``where``, ...) are those of :mod:`~actufunc.backends.numpy.intrinsics`.

The argument of an exponential is computed as a double word (``wide_add``, ``wide_multiply``, ...), because the
exponential turns its absolute error into a relative one; and a product with a factor that may be subnormal,
``damped(y, logistic(x))``, becomes one call ``logistic(x, y)`` that scales last.
"""

from __future__ import annotations

import decimal
import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from actufunc.formula.expression import DIGITS, SCALED_LAST

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from actufunc.formula.expression import Expression

WIDE = frozenset({"add", "subtract", "multiply", "divide", "negative", "sqrt"})
"""Operations that are also there for double words, as ``wide_add`` and so on."""

INFIX = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}

# Operations that amplify the absolute error of their argument, and those of them that take a factor to scale last.
AMPLIFIERS = frozenset({"exp", "expm1", "logistic", "softplus", "normal_cdf", "normal_pdf"})
TAKING_FACTOR = SCALED_LAST

# Operations that map integers to integers, exactly, as Numba writes them; the intrinsics are for floats.
INTEGER_TEXT = {
    "maximum": "max({}, {})",
    "minimum": "min({}, {})",
    "where": "{1} if {0} else {2}",
    "less": "{} < {}",
    "less_equal": "{} <= {}",
    "equal": "{} == {}",
    "not_equal": "{} != {}",
}


def identifier(name: str) -> str:
    """Return what an argument is called in generated text: x and g as ever, others so that no other name is hidden."""
    if name in {"x", "g"}:
        return name
    return f"{name}_" if name.isascii() else f"u{name.encode().hex()}_u"


class Writer:
    """Writes statements that compute expressions of one dtype, each node once.

    Parameters
    ----------
    dtype : numpy.dtype
        What arguments and results are.
    known : mapping of Expression to str
        Text of the nodes that need no statement, as arguments do.
    """

    def __init__(self, dtype: np.dtype[Any], known: Mapping[Expression, str]) -> None:
        self.dtype = dtype
        self.lines: list[str] = []
        self._texts: dict[tuple[Expression, bool], str] = {(node, False): text for node, text in known.items()}
        self._divisors: dict[Expression, str] = {}
        self._count = 0

    def know(self, node: Expression, text: str) -> None:
        """Use `text` wherever `node` is needed."""
        self._texts[node, False] = text

    def know_divisor(self, node: Expression, words_and_inverse: str) -> None:
        """Divide by `node` through its inverse."""
        self._divisors[node] = words_and_inverse

    def declare(self, node: Expression, text: str) -> None:
        """Load `node` from where it is stored."""
        self._assign(node, text, wide=False)

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
        """Write what computes `node` in the dtype, and return its name or literal."""
        if (node, False) in self._texts:
            return self._texts[node, False]
        if node.operation == "constant":
            return self.literal(node.value)
        if node.operation == "divide" and (divisor := self._divisors.get(node.operands[1])) is not None:
            return self._assign(node, f"divided({self.value(node.operands[0])}, {divisor})", wide=False)
        if node.operation in INFIX:
            left, right = map(self.value, node.operands)
            return self._assign(node, f"{left} {INFIX[node.operation]} {right}", wide=False)
        if node.operation == "negative":
            return self._assign(node, f"-{self.value(node.operands[0])}", wide=False)
        if node.operation in AMPLIFIERS:
            return self._assign(node, f"{node.operation}({self.wide(node.operands[0])})", wide=False)
        if node.operation == "rounded_once":
            text = self.wide(node.operands[0])
            is_wide = (node.operands[0], True) in self._texts
            return self._assign(node, f"rounded({text})", wide=False) if is_wide else text
        if node.operation == "damped" and node.operands[1].operation in TAKING_FACTOR:
            factor = node.operands[1]
            times, argument = self.value(node.operands[0]), self.wide(factor.operands[0])
            return self._assign(node, f"times_{factor.operation}({times}, {argument})", wide=False)
        operands = list(map(self.value, node.operands))
        if self.dtype.kind == "f":
            text = f"{node.operation}({', '.join(operands)})"
        else:
            text = INTEGER_TEXT[node.operation].format(*operands)
        return self._assign(node, text, wide=False)

    def wide(self, node: Expression) -> str:
        """Write what computes `node` as a double word where one word would round it."""
        if _is_exact(node, self.dtype):
            return self.value(node)
        if (node, True) in self._texts:
            return self._texts[node, True]
        if node.operation == "constant":
            return self._wide_literal(node.value)
        if node.operation == "rounded_once":
            return self.wide(node.operands[0])
        if node.operation == "divide" and (inverse := _inverse(node.operands[1])) is not None:
            # Two words of it are as good as the quotient, without two divisions.
            text = f"wide_multiply({self.wide(node.operands[0])}, {self._wide_literal(inverse)})"
            return self._assign(node, text, wide=True)
        operands = ", ".join(map(self.wide, node.operands))
        return self._assign(node, f"wide_{node.operation}({operands})", wide=True)


def _inverse(node: Expression) -> Decimal | None:
    """Return one over a constant that is far from what overflows or vanishes in any dtype."""
    if node.operation != "constant" or not 2.0**-60 < abs(node.value) < 2.0**60:
        return None
    with decimal.localcontext(DIGITS):
        return 1 / Decimal(node.value)


def _is_exact(node: Expression, dtype: np.dtype[Any]) -> bool:
    """Tell whether a single word is as good as two: nothing is rounded here, or a primitive has rounded already."""
    if node.operation == "constant":
        return Decimal(float(dtype.type(float(node.value)))) == Decimal(node.value)
    if node.operation == "negative":
        return _is_exact(node.operands[0], dtype)
    if node.operation == "multiply":
        factor, other = node.operands
        if factor.operation == "constant" and math.frexp(factor.value)[0] in {0.5, -0.5}:
            return _is_exact(other, dtype)  # a power of two
    return node.operation not in WIDE


def _python_text(value: float | Decimal) -> str:
    return repr(value) if math.isfinite(value) else f"float({str(value)!r})"

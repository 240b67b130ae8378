"""Statements that compute in float64 what kernels over an axis need in two words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actufunc.backends.codegen import ARITHMETIC, Codegen

if TYPE_CHECKING:
    from actufunc.formula.expression import Expression


class RowCodegen(Codegen):
    """Computes to two words what is kept or is the same for a whole row, and terms of sums that are exponentials."""

    wide_operations = ARITHMETIC | {"where", "exp", "log1p"}

    def value(self, node: Expression) -> str:
        """Write the statements that compute `node`, and return its name or literal."""
        if node.operation == "exp" and (node, False) not in self._texts:
            return self._assign(node, f"rounded({self.wide(node)})", wide=False)
        return super().value(node)

    def rounds(self, node: Expression) -> bool:
        """Return True if the second word of `node` may be other than zero."""
        return node.operation in self.wide_operations - {"where", "negative"}

    def wide(self, node: Expression) -> str:
        """Write the statements that compute both words of `node`."""
        if node.operation == "exp" and (node, True) not in self._texts:
            return self._assign(node, f"exp_words({self.wide(node.operands[0])})", wide=True)
        return super().wide(node)

    def declare_words(self, node: Expression, text: str) -> None:
        """Load both words of `node` from where they are stored."""
        self._assign(node, text, wide=True)

    def know_words(self, node: Expression, text: str) -> None:
        """Use two words wherever more than one of `node` is asked for."""
        self._texts[node, True] = text


def is_wide(node: Expression) -> bool:
    """Return True if a term of a sum is an exponential, or one of two."""
    return any(each.operation == "exp" for each in (node, *node.operands))


def is_count(node: Expression) -> bool:
    """Return True if a sum counts elements: it is an integer, and nothing is rounded."""
    if node.operation != "axis_sum" or node.operands[0].operation != "where":
        return False
    return [each.operation == "constant" and each.value for each in node.operands[0].operands[1:]] == [1, 0]


def is_sum(node: Expression) -> bool:
    """Return True if a reduction is a sum of terms that are not integers."""
    return node.operation == "axis_sum" and not is_count(node)

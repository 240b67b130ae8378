"""The operand that an `absolute`, `maximum` or `minimum` equals within a branch of a `where`.

In ``where(x > 0, f(absolute(x)), g(absolute(x)))`` the first branch is a function of `x` and the second one of `-x`,
up to and at zero. The derivative of `absolute` at its kink must not show there: so it is differentiated as what it
equals on that side, without a change of how it is computed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .custom_derivative import evaluated
from .expression import Expression, constant, is_constant

if TYPE_CHECKING:
    Fact = tuple[Expression, Expression]  # the first is not above the second


def on_their_sides(expression: Expression) -> Expression:
    """Return an expression that is computed by the same operations, and differentiated on the sides of each `where`.

    There an `absolute`, `maximum` or `minimum` has the derivative of the operand that the condition makes it.
    """
    nodes = list(expression.nodes())
    if not (any(node.operation == "where" for node in nodes) and any(node.record.kinked for node in nodes)):
        return expression

    def combine(node: Expression, operands: tuple[Any, ...]) -> Expression:
        if node.operation != "where":
            return node.of(*operands)
        condition, *branches = operands
        sides = [_resolved(branch, fact) for branch, fact in zip(branches, _facts(condition), strict=True)]
        return node.of(condition, *sides)

    return expression.rewritten(combine)


def _facts(condition: Expression) -> tuple[Fact | None, Fact | None]:
    """Return the facts that hold where a condition does, and where it does not."""
    if condition.operation in {"less", "less_equal"}:
        low, high = condition.operands
        return (low, high), (high, low)
    return None, None


def _resolved(branch: Expression, fact: Fact | None) -> Expression:
    """Replace the nodes of a branch that a fact decides."""
    if fact is None:
        return branch
    chosen = {node: side for node in branch.nodes(_differentiated) if (side := _side(node, fact)) is not None}
    if not chosen:
        return branch

    made: dict[Expression, Expression] = {}
    for node in branch.nodes(_differentiated):
        if node in chosen:
            made[node] = evaluated(chosen[node], by=node)
        elif node.operation in {"argument", "constant"}:
            made[node] = node
        else:
            # The value of a node with derivatives of its own is not differentiated: it stays as it is.
            made[node] = node.of(*(made.get(operand, operand) for operand in node.operands))
    return made[branch]


def _differentiated(node: Expression) -> tuple[Expression, ...]:
    """Return the operands through which a node is differentiated."""
    return node.operands[1:] if node.operation == "with_derivatives" else node.operands


def _side(node: Expression, fact: Fact) -> Expression | None:
    """Return the operand, or its negative, that a node is where a fact holds."""
    if node.operation == "absolute":
        x, zero = node.operands[0], constant(0)
        return x if _follows(zero, x, fact) else -x if _follows(x, zero, fact) else None
    if node.operation in {"maximum", "minimum"}:
        a, b = node.operands
        low, high = (a, b) if _follows(a, b, fact) else (b, a) if _follows(b, a, fact) else (None, None)
        return high if node.operation == "maximum" else low
    return None


def _follows(low: Expression, high: Expression, fact: Fact) -> bool:
    """Return True if a fact implies that one node is not above another."""
    return _not_above(low, fact[0]) and _not_above(fact[1], high)


def _not_above(a: Expression, b: Expression) -> bool:
    return a is b or (is_constant(a) and is_constant(b) and bool(a.value <= b.value))

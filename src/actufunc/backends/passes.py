"""How often a kernel over an axis must go through a row, and for what.

The formula of softmax, ``exp(x - axis_max(x)) / axis_sum(exp(x - axis_max(x)))``, becomes one loop over the elements of
a row per reduction and one for the result. What two of the loops need and is dear to compute, here the exponential, is
worth keeping in between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actufunc.formula.expression import REDUCTIONS

from .writer import AMPLIFIERS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actufunc.formula.expression import Expression

DEAR = AMPLIFIERS | {"log", "log1p", "tanh"}
"""Operations that take longer than loading and storing an element."""


class Passes:
    """The loops that an expression over an axis takes.

    Attributes
    ----------
    reductions : list of Expression
        All nodes that reduce over the axis.
    stages : list of list of Expression
        The reductions that each loop but the last takes.
    loops : list of list of Expression
        What each loop computes per element; the last one computes the result.
    kept : Expression or None
        A dear node that several loops need.
    kept_by : int
        Number of the loop that computes it first; -1 if there is none.
    """

    def __init__(self, expression: Expression) -> None:
        self.reductions = [node for node in expression.nodes() if node.operation in REDUCTIONS]
        depths = range(1, max(map(_depth, self.reductions)) + 1)
        self.stages = [[node for node in self.reductions if _depth(node) == depth] for depth in depths]
        self.loops = [[node.operands[0] for node in stage] for stage in self.stages] + [[expression]]
        self.kept = self._worth_keeping()
        keeping = [number for number in range(len(self.loops)) if self.kept in self.per_element(number)]
        self.kept_by = keeping[0] if keeping else -1

    def _worth_keeping(self) -> Expression | None:
        nodes_of_loops = [self.per_element(number) for number in range(len(self.loops))]
        for node in self.loops[-1][0].nodes():
            if node.operation in DEAR and sum(node in nodes for nodes in nodes_of_loops) > 1:
                return node
        return None

    def per_element(self, number: int, without: Expression | None = None) -> dict[Expression, None]:
        """Return the nodes that a loop computes for each element, but not what only `without` needs."""
        return _union(_in_loop(root, without) for root in self.loops[number])

    def per_row(self, number: int) -> list[Expression]:
        """Return the nodes that a loop needs and that are the same for a whole row, constants left out."""
        operands = (operand for node in self.per_element(number) for operand in node.operands)
        wanted = dict.fromkeys([*self.loops[number], *operands])
        return [node for node in wanted if not _depends_on_element(node) and node.operation != "constant"]


def _depends_on_element(node: Expression) -> bool:
    """Tell whether a node differs from element to element of a row."""
    if node.operation in REDUCTIONS:
        return False
    return node.operation == "argument" or any(map(_depends_on_element, node.operands))


def _depth(node: Expression) -> int:
    """Count the loops over the row that must have ended before a node can be computed."""
    below = max(map(_depth, node.operands), default=0)
    return below + (node.operation in REDUCTIONS)


def _in_loop(root: Expression, without: Expression | None) -> dict[Expression, None]:
    # Ordered sets, here and below; lists cannot be searched, for == on expressions makes an expression.
    nodes: dict[Expression, None] = {}
    stack = [root]
    while stack:
        node = stack.pop()
        if node not in nodes and node is not without and _depends_on_element(node):
            nodes[node] = None
            stack.extend(node.operands)
    return nodes


def _union(sets: Iterable[dict[Expression, None]]) -> dict[Expression, None]:
    return dict.fromkeys(node for nodes in sets for node in nodes)

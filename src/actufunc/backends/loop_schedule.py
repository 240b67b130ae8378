"""The loops over a row of a kernel that reduces over an axis.

The formula of softmax, ``exp(x - axis_max(x)) / axis_sum(exp(x - axis_max(x)))``, becomes one loop over the elements of
a row per reduction and one for the result. A costly value that two of the loops need, here the exponential, is kept in
between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actufunc.formula.definition import depends_on_element
from actufunc.formula.operations import COMPARISONS, COSTLY, REDUCTIONS, axis_sum, where

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actufunc.formula.expression import Expression


class LoopSchedule:
    """The loops that an expression over an axis takes.

    Attributes
    ----------
    reduces : bool
        True if there is one result per row, which no loop computes.
    reductions : list of Expression
        All nodes that reduce over the axis.
    stages : list of list of Expression
        The reductions that each loop but the last takes.
    loops : list of list of Expression
        What each loop computes per element; the last one computes the result.
    kept : Expression or None
        A costly node that several loops need.
    kept_by : int
        Number of the loop that computes it first; -1 if there is none.
    """

    def __init__(self, expression: Expression, *, keep: bool = True) -> None:
        self.reductions = [node for node in expression.nodes() if node.operation in REDUCTIONS]
        depths = range(1, max(map(_depth, self.reductions)) + 1)
        self.stages = [[node for node in self.reductions if _depth(node) == depth] for depth in depths]
        self.loops = [[node.operands[0] for node in stage] for stage in self.stages] + [[expression]]
        self.reduces = not depends_on_element(expression)
        self.kept = self._worth_keeping() if keep and not self.reduces else None  # one value per row is no work
        keeping = [number for number in range(len(self.loops)) if self.kept in self.per_element(number)]
        self.kept_by = keeping[0] if keeping else -1

    def _worth_keeping(self) -> Expression | None:
        nodes_of_loops = [self.per_element(number) for number in range(len(self.loops))]
        for node in self.loops[-1][0].nodes():
            if node.operation in COSTLY and sum(node in nodes for nodes in nodes_of_loops) > 1:
                return node
        return None

    def per_element(self, number: int, without: Expression | None = None) -> dict[Expression, None]:
        """Return the nodes that a loop computes for each element, but not what only `without` needs."""
        return _union(_in_loop(root, without) for root in self.loops[number])

    def per_row(self, number: int) -> list[Expression]:
        """Return the numbers that a loop needs and that are the same for a whole row, constants left out."""
        operands = (operand for node in self.per_element(number) for operand in node.operands)
        wanted = dict.fromkeys([*self.loops[number], *operands])
        return [node for node in wanted if not _is_in_loop(node) and node.operation != "constant"]


def threshold_step(node: Expression) -> tuple[Expression, Expression]:
    """Return the sums by which a step to an ``axis_threshold`` is made.

    The sum of what rises above t is convex and piecewise linear in t. Newton's method from the left, where -1 is for
    elements whose largest is zero, steps to the zero of the piece it is on, ``(total - 1)/count`` of the elements above
    t, and comes up to the threshold from below in at most as many steps as there are elements: when it rises no more it
    is there. (The same as Michelot's algorithm, 1986, which removes the elements below.)
    """
    x = node.operands[0]
    is_above = node < x
    return axis_sum(where(is_above, x, 0)), axis_sum(where(is_above, 1, 0))


def _depth(node: Expression) -> int:
    """Count the loops over the row that must have ended before a node can be computed."""
    found: dict[Expression, int] = {}
    for each in node.nodes():
        below = max((found[operand] for operand in each.operands), default=0)
        found[each] = below + (each.operation in REDUCTIONS)
    return found[node]


def _is_in_loop(node: Expression) -> bool:
    """Return True if a node is computed for each element. Conditions always are: only numbers are kept per row."""
    return depends_on_element(node) or node.operation in COMPARISONS


def _in_loop(root: Expression, without: Expression | None) -> dict[Expression, None]:
    # Ordered sets, here and below; lists cannot be searched, for == on expressions makes an expression.
    nodes: dict[Expression, None] = {}
    stack = [root]
    while stack:
        node = stack.pop()
        if node not in nodes and node is not without and _is_in_loop(node):
            nodes[node] = None
            stack.extend(node.operands)
    return nodes


def _union(sets: Iterable[dict[Expression, None]]) -> dict[Expression, None]:
    return dict.fromkeys(node for nodes in sets for node in nodes)

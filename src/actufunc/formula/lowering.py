"""Compositions in the place of operations that a backend has no function for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from .expression import Expression


def lowered(expression: Expression, primitives: Container[str]) -> Expression:
    """Replace the operations that are not among a backend's primitives by their compositions, where they have one."""

    def composition(node: Expression) -> Callable[..., Expression] | None:
        return None if node.operation in primitives else node.record.composition

    if not any(map(composition, expression.nodes())):
        return expression
    return lowered(expression.rewritten(lambda node, operands: (composition(node) or node.of)(*operands)), primitives)

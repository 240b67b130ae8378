"""The table of operations: one record for each, by name.

It is filled by :mod:`actufunc.formula.operations`, where each record stands below its function of the vocabulary.
Expressions are beneath that module, and look up here what they must know of an operation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Operation:
    """What is known of one operation of formulas.

    A derivative takes, for one operand, this operand, and for several the operands followed by their derivatives. A
    composition takes the operands, and is an expression in other operations for backends without a function for this
    one; without a composition every backend must have one.
    """

    name: str  # by which backends call their functions for it
    arity: int | None  # number of operands; None if that varies
    derivative: Callable[..., Any] | None = None  # None if there is no elementwise derivative
    composition: Callable[..., Any] | None = None
    operator: Callable[..., Any] | None = None  # Python's, which arrays and numbers have
    infix: str = ""  # sign of an operator
    precedence: int = 100  # how strongly it binds
    on_integers: str = ""  # Python text by which it is exact on integers and cannot overflow; "" if it is not
    condition: bool = False  # the result is a truth value
    reduction: bool = False  # one result for a row along the axis
    part: bool = False  # a part of the axis that a gated unit splits
    kinked: bool = False  # the one-sided derivatives differ somewhere
    precision: bool = False  # the operand itself, computed more exactly than by default
    # For kernels:
    rounded: bool = False  # arithmetic of IEEE 754: the exact result, rounded once
    costly: bool = False  # takes many instructions
    # Makes a relative error of an absolute error of its argument, which is a double word therefore.
    amplifies: bool = False
    wide: bool = False  # NumPy's kernels can have a double word as its result
    scaled_last: bool = False  # takes a factor to multiply by before the result, maybe subnormal, is scaled
    bounded: bool = False  # the result is at most one in magnitude


OPERATIONS: dict[str, Operation] = {}
"""Every operation by its name."""


def named(predicate: Callable[[Operation], bool]) -> frozenset[str]:
    """Return the names of the operations for which a predicate holds."""
    return frozenset(name for name, operation in OPERATIONS.items() if predicate(operation))

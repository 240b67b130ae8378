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
    """One operation of formulas.

    Attributes
    ----------
    name : str
        Name of the operation, by which backends call their functions for it.
    arity : int or None
        Number of operands; None if that varies.
    derivative : callable or None
        For one operand, the derivative at this expression. For several, that of the result, from the operands followed
        by their derivatives. None if there is no elementwise derivative.
    composition : callable or None
        Expression of the operands in other operations, for backends that have no function for this one; None if every
        backend must have one.
    operator : callable or None
        Python's operator, which arrays and numbers have.
    infix, precedence : str, int
        Sign of the operator, and how strongly it binds; "" for a function.
    on_integers : str
        Python text by which it is exact on integers, and cannot overflow; "" if it is not.
    condition : bool
        The result is a truth value.
    reduction : bool
        One result for a row along the axis.
    part : bool
        A part of the axis that a gated unit splits.
    kinked : bool
        The one-sided derivatives differ somewhere.
    precision : bool
        The operand itself, computed more exactly than by default.
    rounded : bool
        Arithmetic of IEEE 754: the exact result, rounded once.
    costly : bool
        Takes many instructions.
    amplifies : bool
        Makes a relative error of the absolute error of its argument, which kernels compute as a double word therefore.
    wide : bool
        NumPy's kernels have it with a double word as its result, too.
    scaled_last : bool
        Kernels have it with a factor, which is multiplied before the result, that may be subnormal, is scaled.
    bounded : bool
        The result is at most one in magnitude.
    """

    name: str
    arity: int | None
    derivative: Callable[..., Any] | None = None
    composition: Callable[..., Any] | None = None
    operator: Callable[..., Any] | None = None
    infix: str = ""
    precedence: int = 100
    on_integers: str = ""
    condition: bool = False
    reduction: bool = False
    part: bool = False
    kinked: bool = False
    precision: bool = False
    rounded: bool = False
    costly: bool = False
    amplifies: bool = False
    wide: bool = False
    scaled_last: bool = False
    bounded: bool = False


OPERATIONS: dict[str, Operation] = {}
"""Every operation by its name."""


def named(predicate: Callable[[Operation], bool]) -> frozenset[str]:
    """Return the names of the operations for which a predicate holds."""
    return frozenset(name for name, operation in OPERATIONS.items() if predicate(operation))

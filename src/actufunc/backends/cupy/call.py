"""Calls on CuPy arrays: which module serves them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .axis import evaluate_axis
from .elementwise import evaluate_elementwise

if TYPE_CHECKING:
    from actufunc._calling.call import Call


def evaluate(call: Call) -> Any:
    """Compute an activation on CuPy arrays."""
    return (evaluate_axis if call.definition.over_axis else evaluate_elementwise)(call)

"""Expressions of polars over an axis, of which each column, or group of one, is a row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actufunc._calling.call import Call


def map_columns(call: Call) -> Any:
    """Return the expression that applies a function over an axis to columns.

    It is computed on whole columns or groups, which polars does not split, and has one value of each if the function
    reduces. polars does the same for a ufunc with a signature, but warns that this may not be expected of a ufunc.
    """
    import polars as pl  # noqa: PLC0415

    inputs, keywords = call.as_arguments()
    if any(np.ndim(each) for each in inputs if not isinstance(each, pl.Expr)):
        raise TypeError(f"{call.definition.name} takes polars.lit of an array beside expressions, not the array")

    def compute(columns: Sequence[Any]) -> Any:
        given = iter(columns)
        return call.function(*(next(given) if isinstance(each, pl.Expr) else each for each in inputs), **keywords)

    expressions = [each for each in inputs if isinstance(each, pl.Expr)]
    return pl.map_batches(expressions, compute, returns_scalar=call.definition.reduces)

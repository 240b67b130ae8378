"""Expressions of polars over an axis, which are the rows themselves: a column, or a group of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actufunc._calling.call import Call


def over_rows(call: Call) -> Any:
    """Return the expression of a function over an axis.

    polars would map a ufunc with a signature in the same way, but warns that people may not expect it of a ufunc.

    Parameters
    ----------
    call : Call
        What to compute.

    Returns
    -------
    polars.Expr
        Computed of whole columns or groups, which are not cut to pieces for it; reduced to one value where the function
        reduces.
    """
    import polars as pl  # noqa: PLC0415

    inputs, keywords = call.as_typed()
    if any(np.ndim(each) for each in inputs if not isinstance(each, pl.Expr)):
        raise TypeError(f"{call.definition.name} takes polars.lit of an array beside expressions, not the array")

    def compute(columns: Sequence[Any]) -> Any:
        given = iter(columns)
        return call.function(*(next(given) if isinstance(each, pl.Expr) else each for each in inputs), **keywords)

    expressions = [each for each in inputs if isinstance(each, pl.Expr)]
    return pl.map_batches(expressions, compute, returns_scalar=call.definition.reduces)

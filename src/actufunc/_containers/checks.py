"""What stands in the way of a container: missing values over an axis, elements that are no numbers, units."""

from __future__ import annotations

from typing import Any

import numpy as np


def of_anything(_container: Any, _over_axis: bool, /) -> str:  # noqa: FBT001 -- a table's
    """Find nothing."""
    return ""


def of_pandas(container: Any, over_axis: bool, /) -> str:  # noqa: FBT001
    """Find columns whose buffers hold more than the elements, or fewer: nullable, Arrow's, sparse, categorical."""
    dtypes = [container.dtype] if container.ndim == 1 else list(container.dtypes)
    others = [dtype for dtype in dtypes if not isinstance(dtype, np.dtype)]
    if not over_axis or not others:
        return ""
    return f"{others[0]} of pandas over an axis; fill or drop what is missing, then convert by .astype('float64')"


def of_polars(series: Any, over_axis: bool, /) -> str:  # noqa: FBT001
    """Find nulls, and types whose numbers mean something else."""
    dtype = series.dtype
    if not dtype.is_numeric() or dtype.is_decimal():
        return f"{dtype} of polars; pass it numbers, e.g. by .cast(polars.Float64)"
    if over_axis and series.null_count():
        return "nulls of polars over an axis; .fill_null() or .drop_nulls() them first"
    return ""

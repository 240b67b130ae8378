"""Checks of containers: missing values over an axis, and elements that are not numbers."""

from __future__ import annotations

from typing import Any

import numpy as np


def accept(_container: Any, _over_axis: bool, /) -> str:  # noqa: FBT001 -- the signature of all checks in the table
    """Accept any container."""
    return ""


def pandas(container: Any, over_axis: bool, /) -> str:  # noqa: FBT001
    """Refuse columns over an axis that are not NumPy arrays: nullable, Arrow's, sparse, categorical."""
    dtypes = [container.dtype] if container.ndim == 1 else list(container.dtypes)
    others = [dtype for dtype in dtypes if not isinstance(dtype, np.dtype)]
    if not over_axis or not others:
        return ""
    return f"{others[0]} of pandas over an axis; fill or drop what is missing, then convert by .astype('float64')"


def polars(series: Any, over_axis: bool, /) -> str:  # noqa: FBT001
    """Refuse nulls over an axis, and types that are not numeric."""
    dtype = series.dtype
    if not dtype.is_numeric() or dtype.is_decimal():
        return f"{dtype} of polars; pass it numbers, e.g. by .cast(polars.Float64)"
    if over_axis and series.null_count():
        return "nulls of polars over an axis; .fill_null() or .drop_nulls() them first"
    return ""

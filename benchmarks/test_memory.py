"""Memory that a call takes beyond its arguments: the result and nothing else, and with ``out=`` nothing."""

from __future__ import annotations

import numpy as np
import pytest
from cells import FUNCTIONS, peak
from libraries import Call

_ROWS = (10_000, 1000)
_OBJECTS = 100_000  # bytes: Python's, not the array's


@pytest.mark.parametrize("given", [False, True], ids=["fresh", "out"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_extra_memory(function: str, dtype: str, given: bool) -> None:  # noqa: FBT001
    """Measure it at 1e7 elements."""
    x = np.ones(_ROWS, dtype)
    call = Call(FUNCTIONS[function], (x,), {"out": np.empty_like(x)} if given else {})
    call()
    assert peak(call) <= (0 if given else x.nbytes) + _OBJECTS

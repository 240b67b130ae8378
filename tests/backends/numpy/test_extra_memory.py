"""A call allocates its result and nothing else, and nothing with ``out=``."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

import numpy as np
import pytest
from cases import cases

if TYPE_CHECKING:
    from cases import Case

ROWS = (1000, 1000)
CONSTANT = 400_000  # bytes: Python's objects, and NumPy's buffers for rows that are half of others


@pytest.mark.slow
@pytest.mark.parametrize("given", [False, True], ids=["fresh", "out"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", cases(), ids=repr)
def test_extra_memory(case: Case, dtype: str, given: bool) -> None:
    x = np.ones(ROWS, dtype)
    keywords = {"out": np.empty_like(case(x))} if given else {}
    case(x, **keywords)
    tracemalloc.start()
    try:
        result = case(x, **keywords)  # lives until the peak is read
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= (0 if given else result.nbytes) + CONSTANT

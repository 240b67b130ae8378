"""The largest errors of the timed libraries, on ordinary numbers."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from cpu_cases import FUNCTIONS, CpuCase, Selection, libraries
from cpu_results import NO_PEERS, OURS

from actufunc.accuracy import reference, ulp_error

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cpu_results import Errors

WITHIN = 20.0
POINTS = 2000
_DTYPES = ("float32", "float64")


def peer_errors(selection: Selection, functions: Iterable[str]) -> Errors:
    """Measure the largest error of every library on `POINTS` numbers between -`WITHIN` and `WITHIN`.

    Parameters
    ----------
    selection : Selection
        The selection, which names the libraries.
    functions : iterable of str
        Names of functions of the selection.
    """
    return {function: {dtype: _errors(selection, function, dtype) for dtype in _DTYPES} for function in functions}


def _errors(selection: Selection, function: str, dtype: str) -> dict[str, float]:
    case = CpuCase(function, dtype, max(POINTS, selection.peers_from), "fresh")
    x = np.random.default_rng(0).uniform(-WITHIN, WITHIN, CpuCase(function, dtype, POINTS, "fresh").shape).astype(dtype)
    called: Any = FUNCTIONS[function]
    if not isinstance(called, partial):
        called = partial(called)
    exact = reference(called.func, x, **called.keywords)
    errors = {}
    for name in selection.libraries(case):
        call = None if name in NO_PEERS - {OURS} else libraries()[name].call(function, x, None)
        if call is not None:
            with np.errstate(all="ignore"):
                values = np.asarray(call()).reshape(x.shape)
            errors[name] = float(ulp_error(values, exact).max())
    return errors

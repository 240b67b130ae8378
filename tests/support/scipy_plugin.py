"""A plugin of pytest that has SciPy's own tests call our functions.

``python -m pytest -p scipy_plugin --pyargs scipy.special.tests.test_logit scipy.special.tests.test_logsumexp``
"""

from __future__ import annotations

import re
from typing import Any

import pytest

import actufunc


def of_our_dtypes(function: Any) -> Any:
    """Return a function that skips the test at dtypes that only SciPy's take."""

    def call(x: Any, **keywords: Any) -> Any:
        if re.search("complex|float128|longdouble", kind := str(getattr(x, "dtype", ""))):
            pytest.skip(f"only SciPy's takes {kind}")
        return function(x, **keywords)

    return call


def along_all(function: Any) -> Any:
    """Return a function over all axes by default, as SciPy's are; what only those take skips the test."""

    def call(x: Any, axis: Any = None, keepdims: Any = None, **of_scipy: Any) -> Any:
        if any(value is not None and value is not False for value in of_scipy.values()):
            pytest.skip(f"only SciPy's takes {', '.join(of_scipy)}")
        return of_our_dtypes(function)(x, axis=axis, **({} if keepdims is None else {"keepdims": keepdims}))

    return call


OURS = {
    "expit": of_our_dtypes(actufunc.sigmoid),
    "log_expit": of_our_dtypes(actufunc.log_sigmoid),
    "logit": of_our_dtypes(actufunc.logit),
    "logsumexp": along_all(actufunc.logsumexp),
    "softmax": along_all(actufunc.softmax),
    "log_softmax": along_all(actufunc.log_softmax),
}


def pytest_collection_modifyitems(items: list[Any]) -> None:
    """Put ours in the place of what the modules have imported."""
    for module in {item.module for item in items}:
        for name in OURS.keys() & vars(module).keys():
            setattr(module, name, OURS[name])

"""Activations in scikit-learn's pipelines: cloned, pickled, searched."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from actufunc import activation, identity, logit, sigmoid


@activation
def calibrated(x: Any, temperature: float = 1, shift: float = 0) -> Any:
    """Sigmoid with a temperature and a shift."""
    return sigmoid((x - shift) / temperature)


def pipeline() -> Any:
    transformer = FunctionTransformer(sigmoid, inverse_func=logit, check_inverse=True)
    return make_pipeline(StandardScaler(), transformer, LogisticRegression(max_iter=2000))


def test_inverse() -> None:
    transformer = FunctionTransformer(sigmoid, inverse_func=logit, check_inverse=True)
    x = np.random.default_rng(0).standard_normal((20, 3)) * 4
    y = transformer.fit_transform(x)
    np.testing.assert_array_equal(y, sigmoid(x))
    np.testing.assert_allclose(transformer.inverse_transform(y), x, rtol=1e-12)


def test_cloned_and_pickled() -> None:
    x, y = load_digits(return_X_y=True)
    fitted = pipeline().fit(x[:400], y[:400])
    again = pickle.loads(pickle.dumps(fitted))  # noqa: S301
    assert again[1].func is sigmoid
    np.testing.assert_array_equal(again.predict(x[400:]), fitted.predict(x[400:]))
    fresh = clone(fitted)
    assert fresh[1].func is sigmoid
    assert fresh[1].inverse_func is logit
    np.testing.assert_array_equal(fresh.fit(x[:400], y[:400]).predict(x[400:]), fitted.predict(x[400:]))


@pytest.mark.parametrize("jobs", [None, 2])
def test_grid_search_over_functions_and_hyperparameters(jobs: int | None) -> None:
    x, y = load_digits(return_X_y=True)
    grid = [
        {"functiontransformer__func": [identity, sigmoid]},
        {
            "functiontransformer__func": [calibrated],
            "functiontransformer__kw_args": [{"temperature": 0.5}, {"temperature": 2.0, "shift": 0.5}],
        },
    ]
    search = GridSearchCV(pipeline().set_params(functiontransformer__check_inverse=False), grid, cv=2, n_jobs=jobs)
    search.fit(x[:300], y[:300])
    scores = search.cv_results_["mean_test_score"]
    assert len(scores) == 4
    assert np.isfinite(scores).all()
    assert scores.max() > 0.8
    assert search.best_params_["functiontransformer__func"] in {identity, sigmoid, calibrated}

"""Activations in scikit-learn's pipelines and networks: cloned, pickled, searched."""

from __future__ import annotations

import pickle
import re
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from programs import run
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from threadpoolctl import threadpool_limits

from actufunc import activation, gelu, identity, logit, mish, relu, sigmoid, silu, tanh

if TYPE_CHECKING:
    from collections.abc import Iterator


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


def test_names_of_features() -> None:
    frame = pd.DataFrame({"a": [-1.0, 0.0, 1.0], "b": [4.0, 5.0, 7.0]})
    transformer = FunctionTransformer(sigmoid, logit, feature_names_out="one-to-one")
    result = make_pipeline(StandardScaler(), transformer).set_output(transform="pandas").fit_transform(frame)
    assert [*transformer.get_feature_names_out()] == [*result] == ["a", "b"]
    assert ((result > 0) & (result < 1)).all(axis=None)


@pytest.mark.needs_library("torch")
def test_array_api_dispatch() -> None:
    """A whole pipeline on tensors gives tensors, and the numbers that it gives on arrays."""
    code = """
        import numpy as np, sklearn, torch
        from sklearn.datasets import load_digits
        from sklearn.decomposition import PCA
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import FunctionTransformer
        from actufunc import logit, sigmoid, silu
        x, y = load_digits(return_X_y=True)
        model = make_pipeline(PCA(10, svd_solver="full"), FunctionTransformer(silu), LinearDiscriminantAnalysis())
        expected = model.fit(x[:600] / 16, y[:600]).predict(x[600:] / 16)
        squash = FunctionTransformer(sigmoid, logit, check_inverse=False, feature_names_out="one-to-one")
        with sklearn.config_context(array_api_dispatch=True):
            x, y = torch.from_numpy(x) / 16, torch.from_numpy(y)
            result = model.fit(x[:600], y[:600]).predict(x[600:])
            assert type(result) is type(model[:-1].transform(x)) is torch.Tensor
            assert (result.numpy() == expected).mean() > 0.99
            torch.testing.assert_close(squash.inverse_transform(squash.fit_transform(x)), x, rtol=1e-12, atol=1e-12)
    """
    run(code, SCIPY_ARRAY_API="1")


# The network of the README.


@pytest.fixture
def recipe() -> Iterator[Any]:
    """Run what the README defines as a module, and yield the class."""
    text = (Path(__file__).parents[2] / "README.md").read_text()
    (code,) = re.findall(r"^```python\n(import weakref\n.*?)^```$", text, re.MULTILINE | re.DOTALL)
    module = sys.modules["recipe"] = types.ModuleType("recipe")
    exec(code, module.__dict__)  # noqa: S102
    with threadpool_limits(1):
        yield module.MLPWith
    del sys.modules["recipe"]


def fitted(kind: Any, function: Any) -> Any:
    x, y = load_digits(return_X_y=True)
    model = kind((16, 16), activation=function, solver="lbfgs", random_state=0, max_iter=40)
    return model.fit(x[:600] / 16, y[:600])


@pytest.mark.filterwarnings("ignore:lbfgs failed to converge")
def test_network(recipe: Any) -> None:
    """It learns what scikit-learn's own does, and as well with functions that that has not."""
    x, y = load_digits(return_X_y=True)
    x, y = x[600:] / 16, y[600:]
    scores = []
    for function in (relu, tanh, identity):
        own = fitted(MLPClassifier, function.__name__)
        model = fitted(recipe, function)
        np.testing.assert_allclose(model.coefs_[0], own.coefs_[0], rtol=1e-8, atol=1e-8)
        scores.append(own.score(x, y))
    for function in (gelu, silu, mish):
        model = fitted(recipe, function)
        assert model.score(x, y) > min(scores)
        again = pickle.loads(pickle.dumps(model))  # noqa: S301
        np.testing.assert_array_equal(again.predict(x), model.predict(x))
        assert clone(model).set_params(activation=relu).activation is relu


@pytest.mark.filterwarnings("ignore:lbfgs failed to converge")
def test_grid_search_over_networks(recipe: Any) -> None:
    x, y = load_digits(return_X_y=True)
    network = recipe((8,), solver="lbfgs", random_state=0, max_iter=30)
    search = GridSearchCV(network, {"activation": [gelu, silu, mish]}, cv=2).fit(x[:200] / 16, y[:200])
    assert search.best_params_["activation"] in {gelu, silu, mish}
    assert search.cv_results_["mean_test_score"].min() > 0.5

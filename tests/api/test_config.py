"""Activations as dictionaries of what JSON can hold, as Keras keeps them in the files of models."""

from __future__ import annotations

import inspect
import json
import sys
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from programs import run

from actufunc import Activation, activation, mish, softmax, swiglu
from actufunc._catalogue import ACTIVATIONS
from actufunc.formula import axis_sum, exp, halves, logistic, normal_cdf, where

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

X = np.array([[-1.5, 0.0, 0.5, 2.0]])


def kept(function: Activation) -> Activation:
    """Return what comes back from a file."""
    return Activation.from_config(json.loads(json.dumps(function.get_config())))


def derived(function: Activation) -> Iterator[Activation]:
    yield function
    yield function.vjp
    yield from function.halves
    if function.definition.kind == "elementwise":
        yield function.grad
        yield function.grad.grad
        yield function.grad.vjp


@pytest.mark.parametrize("function", list(ACTIVATIONS.values()), ids=list(ACTIVATIONS))
def test_catalogue_comes_back(function: Activation) -> None:
    for each in derived(function):
        assert kept(each) is each


@activation
def importable(x: Any, alpha: float = 2) -> Any:
    return alpha * x


def test_own_activation_that_can_be_imported() -> None:
    assert kept(importable) is importable
    assert kept(importable.grad) is importable.grad


def own() -> Iterator[Activation]:
    """Yield activations that nobody can import."""

    @activation
    def bump(x: Any, width: Any, height: float = -0.0, count: int = 3) -> Any:
        """Keeps its docstring."""
        return where(x < np.inf, normal_cdf(x) * exp(-x * x / width) * count + height, float("inf"))

    bump.derivative(lambda x, width, height, count: 7 * x * logistic(width))
    yield bump

    @activation
    def shares(x: Any, temperature: float = 2) -> Any:
        return exp(x / temperature) / axis_sum(exp(x / temperature))

    shares.cotangent(lambda x, g, temperature: g * shares(x, temperature))
    yield shares

    @activation
    def unit(x: Any, slope: float = 2.5) -> Any:
        x, gate = halves(x)
        return x * mish(slope * gate)

    yield unit
    yield swiglu.halves[0]
    yield softmax


@pytest.mark.parametrize("function", list(own()), ids=lambda function: function.__name__)
def test_own_activation_comes_back_as_its_formula(function: Activation) -> None:
    again = kept(function)
    for attribute in ("__name__", "__qualname__", "__module__", "__doc__"):
        assert getattr(again, attribute) == getattr(function, attribute)
    assert repr(again.definition.hyperparameters) == repr(function.definition.hyperparameters)
    given = {k: 0.5 for k, v in function.definition.hyperparameters.items() if v is inspect.Parameter.empty}
    for mine, other in zip(derived(function), derived(again), strict=True):
        arrays = [X] * len(mine.definition.arrays)
        if mine.definition.gated and len(arrays) > 1:
            arrays[1] = X[:, :2]
        texts = (each.definition.computed(each.definition.options).fingerprint() for each in (mine, other))
        assert next(texts) == next(texts)
        np.testing.assert_array_equal(other(*arrays, **given), mine(*arrays, **given))


def test_options_need_an_import() -> None:
    @activation
    def chosen(x: Any, squared: bool = False) -> Any:
        return x * x if squared else x

    with pytest.raises(TypeError, match="chosen has options, so that it must be importable to be kept"):
        chosen.get_config()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"module": "wave", "formula": None}, "no activation bump is known in wave"),
        ({"module": "os", "name": "system", "formula": None}, "import that module first"),
        ({"formula": [["system", [], None]]}, "no node 'system'"),
        ({"formula": [["argument", [], "y"]]}, "no node 'argument' of 'y'"),
        ({"formula": [["exp", [0], None]]}, "no node 'exp'"),
        ({"formula": [["argument", [], "x"], ["exp", [-1], None]]}, "no node 'exp'"),
        ({"formula": [["argument", [], "x"], ["exp", [0, 0], None]]}, "no node 'exp'"),
        ({"formula": [["argument", [], "x"], ["add", [0], None]]}, "no node 'add'"),
        ({"formula": []}, "at least one node"),
        ({"formula": [["constant", [], "1"]]}, "no node 'constant' of '1'"),
        ({"of": {"module": "actufunc", "name": "mish"}, "derived": "__class__"}, "derived from mish as '__class__'"),
    ],
    ids=repr,
)
def test_what_a_file_may_hold(changes: dict[str, Any], message: str) -> None:
    """Nothing is imported or called that it names."""
    config = {**next(own()).get_config(), **changes}
    config = {key: value for key, value in config.items() if value is not None}
    assert "wave" not in sys.modules
    with pytest.raises(ValueError, match=message):
        Activation.from_config(config)
    assert "wave" not in sys.modules


def test_keras_is_not_imported_but_waited_for() -> None:
    """What is called Keras and is another thing, or fails to be imported, is left alone."""
    code = """
        import sys, types, actufunc
        assert "keras" not in sys.modules
        from importlib.machinery import ModuleSpec
        class Finder:
            fails = True
            @classmethod
            def find_spec(cls, name, path, target=None):
                return ModuleSpec(name, cls()) if name == "keras" else None
            def create_module(self, spec):
                return None
            def exec_module(self, module):
                if Finder.fails:
                    raise ImportError("half of it is missing")
                module.__version__ = "2.15.0"
        sys.meta_path.insert(0, Finder)
        try:
            import keras
        except ImportError as error:
            print(error)
        Finder.fails = False
        import keras
        print(keras.__version__, "actufunc.layers" in sys.modules)
    """
    assert run(code).splitlines() == ["half of it is missing", "2.15.0 False"]


def test_keras_is_waited_for_once_and_its_loader_left_alone(tmp_path: Path) -> None:
    """A reload of the package waits no second time; a zip has one loader for all that is in it."""
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as file:
        file.writestr("keras/__init__.py", "__version__ = '2.0'\nimport first")
        file.writestr("first.py", "")
        file.writestr("second.py", "")
    code = f"""
        import importlib, sys, actufunc
        importlib.reload(actufunc)
        sys.path.insert(0, {str(tmp_path / "all.zip")!r})
        import keras, second
        print(type(keras.__loader__).__name__, [each for each in sys.meta_path if "actufunc" in type(each).__module__])
    """
    assert run(code).strip() == "zipimporter []"

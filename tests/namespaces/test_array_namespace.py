"""The namespace of a library extended with the activations: what is added, and what stays."""

from __future__ import annotations

import copy
import pickle
import warnings
from typing import Any

import array_api_compat
import array_api_strict
import numpy as np
import pytest
from array_libraries import LIBRARIES, Library, load

import actufunc
from actufunc import array_namespace
from actufunc._catalogue import NAMES

X = np.linspace(-2.0, 2.0, 6).reshape(2, 3)
KEPT = {name for name in NAMES if name in array_api_strict.__all__ or hasattr(np, name)}
ADDED = NAMES.keys() - KEPT


def test_names() -> None:
    """Those that mean something else are known."""
    assert set(array_api_strict.__all__) & NAMES.keys() == {"tanh"}
    assert sorted(KEPT) == ["identity", "tanh"]


def test_no_other_name_is_lost(xp: Library) -> None:
    namespace = array_namespace(xp.asarray(X))
    assert {name for name in NAMES if getattr(namespace, name, None) is NAMES[name]} == ADDED


def test_attributes(xp: Library) -> None:
    x = xp.asarray(X)
    namespace, own = array_namespace(x), array_api_compat.array_namespace(x)
    assert namespace.__wrapped__ is own
    names = {name for name in dir(own) if not name.startswith("_")}
    assert names | ADDED <= set(dir(namespace))
    assert namespace.__array_namespace_info__ is own.__array_namespace_info__
    for name in names - ADDED:
        assert getattr(namespace, name) is getattr(own, name)
    for name in KEPT - names:
        with pytest.raises(AttributeError, match=name):
            getattr(namespace, name)
    with pytest.raises(AttributeError):
        _ = namespace.no_such_function


def test_tanh_of_complex_numbers(xp: Library) -> None:
    if xp.name == "cupy":
        pytest.skip("CuPy's own functions need a GPU")
    z = X + 0.5j
    namespace = array_namespace(xp.asarray(z))
    np.testing.assert_allclose(xp.asnumpy(namespace.tanh(xp.asarray(z))), np.tanh(z), rtol=1e-14)


def test_the_same_object(xp: Library) -> None:
    x = xp.asarray(X)
    namespace = array_namespace(x)
    for again in (
        array_namespace(x, None, 1.5, x),
        copy.copy(namespace),
        copy.deepcopy(namespace),
        pickle.loads(pickle.dumps(namespace)),  # noqa: S301
    ):
        assert again is namespace
    assert hash(namespace) == hash(array_namespace(x))
    assert repr(namespace) == f"<actufunc.array_namespace of {namespace.__wrapped__.__name__}>"


@pytest.mark.parametrize("name", LIBRARIES)
def test_it_is_known_as_the_librarys(name: str) -> None:
    """By what array-api-compat and others that look at the name offer."""
    namespace = array_namespace(load(name).asarray(X))
    questions = [each for each in dir(array_api_compat) if each.startswith("is_") and each.endswith("_namespace")]
    answers = {each for each in questions if getattr(array_api_compat, each)(namespace)}
    assert answers == {f"is_{name}_namespace"}
    assert answers == {each for each in questions if getattr(array_api_compat, each)(namespace.__wrapped__)}


def own(x: Any, **keywords: Any) -> Any:
    """Return array-api-compat's answer, or its error."""
    try:
        return array_api_compat.array_namespace(x, **keywords)
    except (TypeError, ValueError) as error:
        return type(error)


@pytest.mark.parametrize("use_compat", [None, True, False])
@pytest.mark.parametrize("api_version", [None, "2022.12", "2023.12", "2024.12", "2021.01"])
def test_versions(xp: Library, api_version: str | None, use_compat: bool | None) -> None:
    x = xp.asarray(X)
    keywords: dict[str, Any] = {"api_version": api_version, "use_compat": use_compat}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # older versions are warned of
        expected = own(x, **keywords)
        if isinstance(expected, type):
            with pytest.raises(expected):
                array_namespace(x, **keywords)
        else:
            found = array_namespace(x, **keywords)
            assert found.__wrapped__ is expected
            assert found.sigmoid is actufunc.sigmoid


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "needs an array, and got nothing"),
        ((None,), "needs an array, and got only NoneType"),
        ((1.5, 2, True), "needs an array, and got only bool and float and int"),
        (("abc",), "takes arrays, Python scalars and None, not str; make an array of it first"),
        ((X, [1, 2]), "takes arrays, Python scalars and None, not list; make an array of it first"),
        (([1, 2], (3,)), "takes arrays, Python scalars and None, not list and tuple; make an array of it first"),
        (
            (X, array_api_strict.asarray([1.0])),
            "got arrays of array_api_strict and numpy; convert them to one library first",
        ),
        (
            (array_api_strict.asarray([1.0]), np.float64(1)),
            "got arrays of array_api_strict and numpy; convert them to one library first",
        ),
    ],
    ids=str,
)
def test_mistakes(arguments: tuple[Any, ...], said: str) -> None:
    with pytest.raises(TypeError) as caught:
        array_namespace(*arguments)
    assert str(caught.value) == f"array_namespace {said}"


class Refusing:
    """An array whose library has reasons of its own."""

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        raise TypeError(f"not today, nor for {api_version}")


def test_what_the_library_says_is_kept() -> None:
    with pytest.raises(TypeError, match="not today, nor for 2024"):
        array_namespace(Refusing(), api_version="2024.12")


def layer(x: Any) -> Any:
    xp = array_namespace(x)
    assert array_api_compat.is_torch_namespace(xp) != array_api_compat.is_jax_namespace(xp)
    return xp.gelu(xp.tanh(x))


@pytest.mark.needs_library("torch")
def test_in_torch_compile() -> None:
    import torch

    compiled = torch.compile(layer, backend="eager", fullgraph=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, of functools.lru_cache
        np.testing.assert_allclose(compiled(torch.from_numpy(X)), actufunc.gelu(np.tanh(X)), rtol=1e-12)


@pytest.mark.needs_library("jax")
def test_in_jax_jit() -> None:
    import jax

    library = load("jax")
    compiled = jax.jit(layer)
    np.testing.assert_allclose(compiled(library.asarray(X)), actufunc.gelu(np.tanh(X)), rtol=1e-6)

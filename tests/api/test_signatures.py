"""`signature=` and `resolve_dtypes` accept and refuse what those of NumPy's ufuncs do."""

from __future__ import annotations

import itertools
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from array_libraries import Library, load
from cases import ELEMENTWISE, Case
from test_ufunc_methods import BINARY, SOME, UNARY, X, error_of

from actufunc import (
    activation,
    relu,
    sigmoid,
    softmax,
    swiglu,
)
from actufunc._calling.signature import required

# signature=


UNARY_SIGNATURES = [
    *("f->f", "d->d", "e->e", ("f", "f"), ("f", None), (None, "f"), (None, np.float64), (None, None), ("f4", "f4")),
    *((np.dtype("f"), np.dtype("f")), (float, float), ("<f8", "=f8"), ("float32", np.float32)),
    *("f", "", "->f", "f->", "f->ff", "ff->f", "float32", " f->f", "f -> f", "z->z", "f->d", "d->f", "?->?", "i->d"),
    *("l->l", "l->d", ("f",), (None,), (), ("f", "f", "f"), ("f", "d"), ["f", "f"], np.float32, np.dtype("f"), 3, None),
    *((3, 3), ("dd", "d"), (">f4", ">f4"), (np.dtype(">f4"), None)),
]
BINARY_SIGNATURES = [
    *("ff->f", ("f", "f", "f"), (None, None, "f"), (None, None, None), ("f", "f", None)),
    *("f->f", "fff->f", ("f", "f"), ("f", "d", None), ("f", None, None), "fd->d"),
]


def result_of(function: Any, *args: Any, **keywords: Any) -> Any:
    """Return the dtype of a result, or the kind of error."""
    try:
        return function(*args, **keywords).dtype
    except Exception:  # noqa: BLE001
        return error_of(function, *args, **keywords)


@pytest.mark.parametrize("keyword", ["signature", "sig"])
@pytest.mark.parametrize("signature", UNARY_SIGNATURES, ids=repr)
def test_signature(signature: Any, keyword: str) -> None:
    expected = result_of(np.exp, X, **{keyword: signature})
    result = result_of(sigmoid, X, **{keyword: signature})
    assert result == expected
    if isinstance(expected, np.dtype):
        values = sigmoid(X, **{keyword: signature})
        np.testing.assert_array_equal(values, sigmoid(X, dtype=expected), strict=True)
        assert sigmoid.resolve_dtypes((X.dtype, None), signature=signature)[1] == expected


@pytest.mark.parametrize("signature", BINARY_SIGNATURES, ids=repr)
def test_signature_of_two_arrays(signature: Any) -> None:
    assert result_of(sigmoid.vjp, X, X, signature=signature) == result_of(np.add, X, X, signature=signature)


@pytest.mark.parametrize("case", [*ELEMENTWISE, *[case.vjp for case in ELEMENTWISE]], ids=repr)
def test_signature_with_and_without_hyperparameters(case: Case) -> None:
    definition = case.function.definition
    arrays = [np.array([0.25, 0.5])] * len(definition.arrays)
    for number in range(len(required(definition)), case.function.nin + 1):
        result = case(*arrays, signature=f"{'f' * number}->f")
        np.testing.assert_array_equal(result, case(*arrays, dtype="f"), strict=True)
    for number in (len(required(definition)) - 1, case.function.nin + 1):
        assert error_of(case, *arrays, signature=f"{'f' * number}->f") is ValueError


def test_signature_of_bfloat16_and_integers() -> None:
    assert sigmoid(X, signature="E->E").dtype == ml_dtypes.bfloat16
    assert sigmoid(X, signature=(None, ml_dtypes.bfloat16)).dtype == ml_dtypes.bfloat16
    integers = np.arange(3, dtype="int8")
    assert relu(integers, signature="i->i").dtype == np.int32
    for kind in relu.types:
        assert relu.resolve_dtypes((np.dtype("int8"), None), signature=kind, casting="unsafe")[1] == kind[-1]


@pytest.mark.parametrize(
    "keywords",
    [
        {"signature": "f->f", "sig": "f->f"},
        {"signature": None, "sig": "f->f"},
        {"signature": "f->f", "dtype": "f"},
        {"sig": "f->f", "dtype": None},
        {"signature": "f->f", "casting": "safe"},
        {"signature": "f->f", "out": np.zeros(4, "int64")},
    ],
    ids=repr,
)
def test_signature_beside_other_keywords(keywords: dict[str, Any]) -> None:
    assert error_of(sigmoid, X, **keywords) is error_of(np.exp, X, **keywords) is TypeError


def test_signature_is_of_elementwise_calls() -> None:
    assert error_of(softmax, X, signature="f->f") is TypeError
    assert error_of(swiglu, X, sig="f->f") is TypeError
    with pytest.raises(TypeError, match="every activation has one already"):
        activation(lambda_with_signature)


def lambda_with_signature(x: Any, signature: float = 1) -> Any:
    return x * signature


def test_signature_of_other_libraries(xp: Library) -> None:
    result = sigmoid(xp.asarray(X), signature="f->f")
    assert xp.asnumpy(result).dtype == np.float32


@pytest.mark.parametrize("dtype", [">f8", ">f4", np.dtype(">f8"), "<f8", "=f8", "d", float, np.float32], ids=repr)
@pytest.mark.parametrize("case", SOME, ids=repr)
def test_dtype_has_no_byte_order(case: Case, dtype: Any) -> None:
    expected = result_of(np.exp, X, dtype=dtype)
    assert result_of(case, X, dtype=dtype) == expected


@pytest.mark.parametrize("name", ["array_api_strict", "torch", "jax", "dask", "cupy"])
def test_dtype_has_no_byte_order_in_other_libraries(name: str) -> None:
    library = load(name)
    assert error_of(sigmoid, library.asarray(X), dtype=">f8") is TypeError
    assert library.asnumpy(sigmoid(library.asarray(X), dtype="<f4")).dtype == np.float32


# resolve_dtypes


F2, F4, F8, I1, I8 = map(np.dtype, ("f2", "f4", "f8", "i1", "i8"))
RESOLVED: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    ((F2, None), {}),
    ((F4, None), {}),
    ((I8, None), {}),
    ((np.dtype(">f4"), None), {}),
    ((np.dtype("?"), None), {"dtypes": (F8, F8)}),
    ((int, None), {}),
    ((float, None), {}),
    ((F8, F4), {}),
    ((F8, F4), {"casting": "safe"}),
    ((F8, np.dtype("i4")), {}),
    ((F8, np.dtype("i4")), {"casting": "unsafe"}),
    ((F4, None), {"signature": "d->d"}),
    ((F8, None), {"signature": "f->f"}),
    ((F8, None), {"signature": "f->f", "casting": "safe"}),
    ((F8, None), {"signature": (None, "f")}),
    ((F4, None), {"signature": "f"}),
    ((F4, None), {"signature": "ff->f"}),
    ((F4, None), {"reduction": True}),
    ((F4, None), {"casting": "sometimes"}),
    ((F4,), {}),
    ((F4, None, None), {}),
    ((None, None), {}),
    (("f4", None), {}),
    ((np.float32, None), {}),
    ((bool, None), {}),
    ((np.dtype("S3"), None), {}),
    ((F4, F4, None), {}),
    ((F4, F8, None), {}),
    ((F4, I8, None), {}),
    ((F4, int, None), {}),
    ((F4, float, None), {}),
    ((int, float, None), {}),
    ((F4, float, F2), {}),
    ((F4, float, None), {"signature": "dd->d"}),
]


@pytest.mark.parametrize(("dtypes", "keywords"), RESOLVED, ids=repr)
def test_resolve_dtypes(dtypes: tuple[Any, ...], keywords: dict[str, Any]) -> None:
    ours, numpys = BINARY if len(dtypes) == BINARY[0].nargs else UNARY
    keywords = dict(keywords)
    expected = keywords.pop("dtypes", None)  # where NumPy has a dtype, of booleans, that we do not
    try:
        expected = expected or numpys.resolve_dtypes(dtypes, **keywords)
    except (TypeError, ValueError, DeprecationWarning):
        assert error_of(ours.resolve_dtypes, dtypes, **keywords) is error_of(numpys.resolve_dtypes, dtypes, **keywords)
    else:
        assert ours.resolve_dtypes(dtypes, **keywords) == expected


def test_resolve_dtypes_raises_more() -> None:
    """For what NumPy has and we do not, and where NumPy crashes."""
    for dtypes in ((complex, None), (np.dtype("g"), None), (np.dtype("O"), None), (F4, float), [F4, None], ([], None)):
        assert error_of(sigmoid.resolve_dtypes, dtypes) is TypeError
    assert error_of(sigmoid.resolve_dtypes, (F4, None), signature="D->D") is TypeError
    assert error_of(sigmoid.vjp.resolve_dtypes, (F4, float, F2), casting="equiv") is TypeError


@pytest.mark.parametrize("case", SOME, ids=repr)
@pytest.mark.parametrize(
    "dtype", [F4, I1, pytest.param(np.dtype(ml_dtypes.bfloat16), marks=pytest.mark.slow), np.dtype("u1")], ids=str
)
def test_resolve_dtypes_as_calls(case: Case, dtype: np.dtype[Any]) -> None:
    """With all combinations of arrays of this dtype, Python's integers (the default, if it is one) and nothing."""
    for function in (case.function, case.function.vjp):
        definition = function.definition
        x, g = np.ones(4, dtype), np.ones((), dtype)  # a cotangent broadcasts to any shape
        arrays = [x, g][: len(definition.arrays)]
        for given in range(len(required(definition)) - len(arrays), len(definition.hyperparameters) + 1):
            for kinds in itertools.product((dtype, int), repeat=given):
                defaults = definition.hyperparameters.items()
                numbers = {key: default if isinstance(default, int) else 1 for key, default in defaults}
                values = {key: numbers[key] if kind is int else g for key, kind in zip(numbers, kinds, strict=False)}
                resolved = function.resolve_dtypes((*[dtype] * len(arrays), *kinds, None))
                assert resolved == (function(*arrays, **values).dtype,) * (len(arrays) + given + 1)

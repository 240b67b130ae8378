"""Objects of unknown libraries: containers, buffers and frameworks are handed over, converted or refused by name."""

from __future__ import annotations

import array
import collections
import decimal
import fractions
import types
from typing import Any

import array_api_strict as strict
import numpy as np
import pandas as pd
import pytest
from cases import ELEMENTWISE, GATED, OVER_AXIS, REDUCING, Case, cases
from scipy import sparse

from actufunc import elu, prelu, sigmoid, softmax

X = np.array([[-2.0, -0.5, 0.0, 1.5], [1.0, 3.0, -1.0, 0.5]])
ROWS = [*OVER_AXIS, *REDUCING, *GATED]


class Container:
    """A container that computes each of its blocks by itself, as one does that is spread over machines."""

    def __init__(self, *blocks: Any) -> None:
        self.blocks = blocks

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **keywords: Any) -> Any:
        def part(value: Any, number: int) -> Any:
            return value.blocks[number] if isinstance(value, Container) else value

        count = range(len(self.blocks))
        return Container(*(getattr(ufunc, method)(*(part(v, i) for v in inputs), **keywords) for i in count))


class Unknown:
    """A tensor of a library that differentiates, and gives its numbers to whoever asks."""

    requires_grad = False

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.ones(4)


class Later(Unknown):
    """One whose sign is an attribute of the object."""

    def __init__(self) -> None:
        self.stop_gradient = True


class Buffer:
    """Numbers, and nothing else."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return X


@pytest.mark.parametrize("case", ELEMENTWISE, ids=repr)
def test_elementwise_functions_are_handed_to_any_container(case: Case) -> None:
    for function in (case, case.grad):
        result = function(Container(X, X[0]))
        assert isinstance(result, Container)
        np.testing.assert_array_equal(result.blocks[0], function(X))
        np.testing.assert_array_equal(result.blocks[1], function(X[0]))


@pytest.mark.parametrize("case", ROWS, ids=repr)
def test_over_an_axis_an_unknown_container_is_refused(case: Case) -> None:
    for function, arrays in ((case, (Container(X),)), (case.vjp, (X, Container(X))), (case.vjp, (Container(X), X))):
        with pytest.raises(TypeError, match=r"needs whole rows, which Container.* is not known to give; pass numpy.as"):
            function(*arrays)
    with pytest.raises(TypeError, match="is not known to give; pass"):
        case(X, out=Container(X.copy()))


def test_a_subclass_that_takes_calls_over_is_another_kind() -> None:

    class Mine(pd.Series):
        pass

    class Chunked(pd.Series):
        def __array_ufunc__(self, *arguments: Any, **keywords: Any) -> Any:
            return super().__array_ufunc__(*arguments, **keywords)

    np.testing.assert_array_equal(softmax(Mine(X[0])), softmax(X[0]))
    np.testing.assert_array_equal(sigmoid(Chunked(X[0])), sigmoid(X[0]))
    with pytest.raises(TypeError, match=r"which Chunked.* is not known to give; pass x.to_numpy\(\)"):
        softmax(Chunked(X[0]))


@pytest.mark.parametrize("case", cases(), ids=repr)
def test_signature(case: Case) -> None:
    """As a generalised ufunc has it: what a call makes of the shapes of its arrays."""
    definition = case.function.definition
    if case in ELEMENTWISE:
        assert case.function.signature is case.function.grad.signature is case.function.vjp.signature is None
        return
    result = np.asarray(case(X[0]))
    of_result = {(4,): "(n)", (2,): "(m)", (): "()"}[result.shape]
    given = ["()"] * len(definition.hyperparameters)
    assert case.function.signature == f"{','.join(['(n)', *given])}->{of_result}"
    assert case.function.vjp.signature == f"{','.join(['(n)', of_result, *given])}->(n)"
    assert case.vjp(X[0], np.ones(result.shape)).shape == (4,)


def test_a_column_is_called_dtype() -> None:
    frame = pd.DataFrame({"dtype": X[0], "b": X[1]})
    np.testing.assert_array_equal(sigmoid(frame), sigmoid(frame.to_numpy()))
    np.testing.assert_array_equal(softmax(frame), softmax(frame.to_numpy()))


class Metres(np.ndarray):
    """Of a unit, and without a function of its own for ufuncs."""

    unit = "m"


@pytest.mark.parametrize("case", cases(), ids=repr)
def test_a_unit_that_nobody_computes_with_is_refused(case: Case) -> None:
    with pytest.raises(TypeError, match=r"does not know the unit of Metres.*; pass its numbers"):
        case(X.view(Metres))


@pytest.mark.parametrize("lacking", ["isdtype", "functions"])
def test_what_a_namespace_lacks_is_named(lacking: str) -> None:
    def astype(x: Any, dtype: Any) -> Any:
        return x

    names = {"result_type": lambda *_: "float64", "isdtype": lambda *_: True, "astype": astype}  # without copy=
    namespace = types.ModuleType("half")
    vars(namespace).update({key: value for key, value in names.items() if key != lacking})

    class Array:
        """As of a library that is on its way to the standard."""

        dtype, shape, ndim, device = "float64", (2,), 1, "cpu"

        def __array_namespace__(self, api_version: Any = None) -> Any:
            return namespace

    with pytest.raises(TypeError, match=rf"sigmoid needs {lacking} of the array API standard, which .* lacks; convert"):
        sigmoid(Array())


@pytest.mark.parametrize("function", [sigmoid, sigmoid.grad, softmax], ids=lambda function: function.__name__)
def test_what_a_formula_lacks_is_named(function: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a namespace that has all else, where it is missed when the formula is computed."""
    x = strict.asarray([0.5, -1.0])
    monkeypatch.delattr(strict, "exp")
    with pytest.raises(TypeError, match=r"needs exp of the array API standard, which array_api_strict lacks; convert"):
        function(x)


def test_lists_of_different_lengths() -> None:
    with pytest.raises(ValueError, match="sigmoid cannot make an array of x: "):
        sigmoid([[1.0], [1.0, 2.0]])


# Objects that reach us by `__array__`, or not at all.


def everywhere(value: Any) -> list[Any]:
    """Return calls with an object in every place."""
    return [
        lambda: sigmoid(value),
        lambda: softmax(value),
        lambda: prelu(X, value),
        lambda: elu(X, alpha=value),
        lambda: sigmoid.vjp(X, value),
        lambda: softmax.vjp(X, value),
        lambda: softmax(X, where=value),
        lambda: sigmoid(X, out=None, where=value),
        lambda: prelu.outer(X, value),
        lambda: prelu.at(X.copy(), ..., value),
    ]


@pytest.mark.parametrize("make", [Unknown, Later, lambda: [Unknown()], lambda: [[1.0, Later()]], lambda: (Later(),)])
def test_gradients_are_never_lost(make: Any) -> None:
    for call in everywhere(make()):
        with pytest.raises(TypeError, match=r"does not support .*(Unknown|Later).*gradients or graph would be lost"):
            call()


NO_ARRAYS = {
    "Decimal": (decimal.Decimal(1), r"float\(\w+\)"),
    "Fraction": (fractions.Fraction(1), r"float\(\w+\)"),
    "dict": ({"a": 1.0}, r"list\(\w+.values\(\)\)"),
    "set": ({1.0}, r"list\(\w+\)"),
    "generator": ((i for i in range(4)), r"list\(\w+\)"),
    "object": (object(), "arrays, numbers and lists"),
    "a list with Decimal": ([decimal.Decimal(1)], r"asarray\(\w+, float\)"),
    "a tuple with NoneType": ((None, 1.0), "make one array"),
    "a list with MaskedArray": ([np.ma.masked_array([1.0], [True])], "make one array"),
    r"an array of objects \(Fraction\)": (np.array([fractions.Fraction(1)]), r"asarray\(\w+, float\)"),
}


@pytest.mark.parametrize("kind", NO_ARRAYS)
def test_what_is_no_array_is_named(kind: str) -> None:
    value, advice = NO_ARRAYS[kind]
    for call in everywhere(value)[:6]:
        with pytest.raises(TypeError, match=f"does not support {kind} for .*{advice}") as caught:
            call()
        assert "\n" not in str(caught.value)


def test_sparse_matrices_are_named() -> None:
    for call in everywhere(sparse.csr_array(X)):
        with pytest.raises(TypeError, match=r"does not support csr_array of scipy for \w+; pass \w+.toarray\(\)"):
            call()


BUFFERS = {
    "array": lambda: array.array("d", X[0]),
    "memoryview": lambda: memoryview(X),
    "deque": lambda: collections.deque(X[0]),
    "UserList": lambda: collections.UserList(X.tolist()),
    "range": lambda: range(4),
    "lists": X.tolist,
    "arrays": lambda: [*X],
    "__array__": Buffer,
}


@pytest.mark.parametrize("kind", BUFFERS)
def test_buffers_are_converted(kind: str) -> None:
    value = BUFFERS[kind]()
    expected = np.asarray(value, float)
    np.testing.assert_array_equal(sigmoid(value), sigmoid(expected))
    np.testing.assert_array_equal(softmax(value), softmax(expected))
    np.testing.assert_array_equal(prelu(X, value), prelu(X, expected))
    np.testing.assert_array_equal(softmax.vjp(X, value), softmax.vjp(X, expected))
    np.testing.assert_array_equal(prelu.outer(X, value), prelu.outer(X, expected))


def test_masks_of_what_is_converted_stay() -> None:
    class Variable:
        """As a variable of a netCDF file, which reads as a masked array."""

        def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
            return np.ma.masked_array([1.0, 1e36], [False, True])

    assert sigmoid(Variable()).mask.tolist() == [False, True]
    assert softmax(Variable())[0] == 1


def test_where_is_no_container_that_would_ask_again() -> None:
    mask = pd.Series([True, False, True, True])
    for function in (sigmoid, softmax):
        with pytest.raises(TypeError, match=r"where= as an array, not as Series of pandas; pass where.to_numpy\(\)"):
            function(X[0], out=None, where=mask)


def test_nulls_in_lists_are_not_taken_for_nan() -> None:
    for column in (pd.array([1, None], dtype="Int64"), pd.Series([1.0, None], dtype="Float64")):
        with pytest.raises(TypeError, match=r"the nulls in a list with .* of pandas for x; fill or drop them first"):
            sigmoid([column])
    values = [1.0, np.nan]
    np.testing.assert_array_equal(sigmoid([pd.Series(values)]), sigmoid([values]))

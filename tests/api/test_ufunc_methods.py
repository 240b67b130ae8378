"""Attributes and methods of a NumPy ufunc beside its call (at, outer), and the table that lists them."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest
from cases import ELEMENTWISE, GATED, OVER_AXIS, REDUCING, Case, cases, representatives

from actufunc import (
    Activation,
    activation,
    hard_tanh,
    leaky_relu,
    prelu,
    relu,
    relu_squared,
    sigmoid,
    softmax,
    swiglu,
    threshold,
)
from actufunc._calling.signature import required

if TYPE_CHECKING:
    from collections.abc import Callable

    from array_libraries import Library

X = np.array([-2.0, -0.5, 0.0, 1.5])
INTEGERS = "bBhHiIlLqQ"
SOME = representatives(cases())

# A function that NumPy has, beside one of ours of as many arrays.
UNARY = (sigmoid, np.exp)
BINARY = (sigmoid.vjp, np.add)
each_pair = pytest.mark.parametrize(("ours", "numpys"), [UNARY, BINARY], ids=["unary", "binary"])


class Overriding:
    """What computes itself (NEP 13)."""

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **keywords: Any) -> Any:
        return ufunc, method, inputs, keywords


class OptedOut:
    """What no ufunc may compute."""

    __array_ufunc__ = None


def error_of(function: Callable[..., Any], *args: Any, **keywords: Any) -> type[Exception]:
    """Return what a call raises, as one of Python's own types; the message is one line if it is ours."""
    with pytest.raises(Exception) as caught:  # noqa: PT011
        function(*args, **keywords)
    if not isinstance(getattr(function, "__self__", function), np.ufunc):
        assert "\n" not in str(caught.value)
    if isinstance(caught.value, DeprecationWarning):  # NumPy before 2.3, of what raises TypeError since
        return TypeError
    return next(kind for kind in (TypeError, ValueError, IndexError) if isinstance(caught.value, kind))


# The table.


def table() -> dict[str, str]:
    """Read what the docstring of `Activation` says of each part of the protocol."""
    rows = re.findall(r"^((?:``\w+``(?:, )?)+) {2,}(\S.*)$", inspect.cleandoc(Activation.__doc__ or ""), re.MULTILINE)
    return {name: text for names, text in rows for name in re.findall(r"\w+", names)}


def test_table_is_complete() -> None:
    """Nothing of a ufunc's public interface is left out, nor is anything there that it does not have."""
    public = {name for name in dir(np.ufunc) if not name.startswith("_")}
    keywords = set(re.findall(r"(\w+)=", np.exp.__doc__.splitlines()[0])) | {"signature"}
    assert {"out", "where", "casting"} < keywords
    assert public | keywords <= set(table())
    assert set(table()) <= public | keywords | {"sig", "axes", "axis", "keepdims"}


def test_table_tells_what_is_refused() -> None:
    refused = {name for name, text in table().items() if text.startswith("refused")}
    assert refused
    x = X.copy()
    for name in table():
        if hasattr(np.ufunc, name):
            assert hasattr(sigmoid, name)
    for name in refused:
        if hasattr(np.ufunc, name):
            assert error_of(getattr(sigmoid, name), x) is error_of(getattr(np.exp, name), x) is ValueError
        else:
            assert error_of(sigmoid, x, **{name: -1}) is error_of(np.exp, x, **{name: -1}) is TypeError
    np.testing.assert_array_equal(x, X)
    taken = {"out": np.zeros(4), "where": np.ones(4, bool), "dtype": "d", "casting": "safe", "order": "C"}
    taken |= {"subok": False, "signature": "d->d", "sig": "d->d"}
    assert taken.keys() == {name for name in table() if name == "signature" or not hasattr(np.ufunc, name)} - refused
    for name, value in taken.items():
        others = {"out": np.zeros(4)} if name == "where" else {}
        np.testing.assert_array_equal(sigmoid(X, **{name: value}, **others), sigmoid(X))
        np.exp(X, **{name: value}, **others)


# Attributes.


@pytest.mark.parametrize("case", cases(), ids=repr)
def test_attributes(case: Case) -> None:
    for each in (case.function, case.function.vjp, *case.function.halves):
        assert (each.nout, each.nargs, each.ntypes) == (1, each.nin + 1, len(each.types))
        assert each.identity is None
        assert (each.signature is None) == (each.definition.kind == "elementwise")
        assert each.nin == len(each.definition.arguments)
        for kind in each.types:
            assert re.fullmatch(rf"(\w)\1{{{each.nin - 1}}}->\1", kind)
    assert (case.function.__name__, case.function.__qualname__) == (case.function.definition.name,) * 2


@each_pair
def test_attributes_are_of_the_kinds_of_numpys(ours: Any, numpys: Any) -> None:
    for name in ("nin", "nout", "nargs", "signature", "identity"):
        if name != "identity":  # of np.add it is 0
            assert getattr(ours, name) == getattr(numpys, name)
    for name in ("ntypes", "types", "__name__", "__doc__"):
        assert type(getattr(ours, name)) is type(getattr(numpys, name))
    assert ours.__qualname__ == ours.__name__  # as NumPy's, which have it from 2.2 on
    assert set(numpys.types) >= set(ours.types)


@pytest.mark.parametrize("case", cases(), ids=repr)
def test_types_list_the_integers_that_are_kept(case: Case) -> None:
    """With the default hyperparameters, or arrays where there are none."""
    function = case.function
    for each in [function, function.vjp, *([function.grad] if case in ELEMENTWISE else [])]:
        needed = required(each.definition)
        for character in INTEGERS:
            dtype = np.dtype(character)
            (*_, resolved) = each.resolve_dtypes((*[dtype] * len(needed), None))
            assert (f"{character * each.nin}->{character}" in each.types) == (resolved == dtype)


@pytest.mark.parametrize("case", SOME, ids=repr)
def test_types_hold_of_calls(case: Case) -> None:
    function = case.function
    needed = required(function.definition)
    for kind in function.types:
        dtype = np.dtype(kind[-1])
        assert function(*[np.ones(4, dtype)] * len(needed)).dtype == dtype


def test_types_of_what_one_defines() -> None:
    @activation
    def above(x: Any, least: float = 300) -> Any:
        from actufunc.formula import maximum

        return maximum(x, least)

    assert [kind[-1] for kind in above.types] == [*"hHiIlLqQefd"]
    assert [kind[-1] for kind in hard_tanh.types] == [*"bhilqefd"]  # -1 is no unsigned integer
    for function in (relu, threshold):
        assert [kind[-1] for kind in function.types] == [*INTEGERS, *"efd"]


# at


AT = {
    "repeated": (X, [0, 3, 0, 0]),
    "none": (X, []),
    "one": (X, 2),
    "negative": (X, [-1, 3, -1]),
    "slice": (X, slice(1, None, 2)),
    "ellipsis": (X, ...),
    "new axis": (X, None),
    "mask": (X, X < 0),
    "2-d": (X, [[0, 1], [1, 1]]),
    "0-d": (np.array(0.5), ()),
    "several axes": (np.arange(24.0).reshape(2, 3, 4) / 24, ([0, 1, 0], slice(1, 3), [[3], [3]])),
    "rows": (np.arange(12.0).reshape(3, 4).T[::-1] / 12, [1, 1, 2]),
    "float32": (X.astype("float32"), [0, 0]),
    "bfloat16": (X.astype(ml_dtypes.bfloat16), [0, 0]),
    "big-endian": (X.astype(">f8"), [0, 0]),
}


def one_by_one(function: Any, a: np.ndarray[Any, Any], indices: Any, *b: Any) -> None:
    """Apply a function to one element after the other, as `at` is defined."""
    places = np.arange(a.size).reshape(a.shape)[indices]
    b = tuple(np.broadcast_to(each, np.shape(places)).reshape(-1) for each in b)
    for number, place in enumerate(np.reshape(places, -1)):
        where = np.unravel_index(place, a.shape)
        a[where] = function(a[where], *(each[number] for each in b))


@pytest.mark.parametrize("what", AT)
def test_at(what: str) -> None:
    x, indices = AT[what]
    shape = np.shape(x[indices])
    g = np.linspace(0.5, 2, int(np.prod(shape))).reshape(shape)
    for function, *b in (
        [sigmoid],
        [sigmoid.vjp, g],
        [sigmoid.vjp, 2.0],
        [prelu, g],
        [prelu, 0.5],
        [prelu, g[..., :1] if shape else g],
    ):
        a, expected, numpys = x.copy(), x.copy(), x.copy()
        assert function.at(a, indices, *b) is None
        one_by_one(function, expected, indices, *b)
        np.testing.assert_allclose(
            a.astype("d"), expected.astype("d"), rtol=ml_dtypes.finfo(a.dtype.newbyteorder("=")).eps
        )
        if what != "bfloat16":  # the same places as NumPy
            (np.add if b else np.exp).at(numpys, indices, *(each * 0 + 9 for each in b))
            np.testing.assert_array_equal(a[numpys == x], x[numpys == x])


@pytest.mark.parametrize("case", ELEMENTWISE, ids=repr)
def test_at_of_every_function(case: Case) -> None:
    indices = np.array([3, 0, 0, 1, 0])
    g = np.linspace(0.5, 1.5, 5)
    for each, *b in ([case], [case.grad], [case.vjp, g]):
        a, expected = X.copy(), X.copy()
        each.function.at(a, indices, *b, **dict(each.keywords))
        one_by_one(each, expected, indices, *b)
        np.testing.assert_array_equal(a, expected)


def test_at_with_many_repetitions() -> None:
    indices = np.random.default_rng(0).geometric(0.01, 4000) % 50
    g = np.random.default_rng(1).uniform(0.5, 4, 4000)
    a = np.ones(50)
    expected = a.copy()
    sigmoid.vjp.at(a, indices, g)
    one_by_one(sigmoid.vjp, expected, indices, g)
    np.testing.assert_array_equal(a, expected)


def test_at_takes_hyperparameters_by_name() -> None:
    a = np.array([-8.0, -8.0, 8.0])
    leaky_relu.at(a, [0, 0, 1], negative_slope=0.5)
    np.testing.assert_array_equal(a, [-2, -4, 8])
    leaky_relu.at(a, [0, 0, 1], negative_slope=[0.5, 0.25, 0])
    np.testing.assert_array_equal(a, [-0.25, 0, 8])
    a = np.array([-1.0, 1.0])
    prelu.vjp.at(a, [0, 0], [3.0, 4.0], alpha=0.5)
    np.testing.assert_array_equal(a, [4, 1])  # -1 gives 1.5, and this 4
    swiglu.halves[0].at(a, [1], 2.0)
    np.testing.assert_allclose(a, [4, swiglu(np.array([1.0, 2.0]))[0]])


def test_at_of_integers() -> None:
    a = np.array([-3, 5, -2], "int8")
    relu.at(a, [0, 0, 1])
    np.testing.assert_array_equal(a, np.array([0, 5, -2], "int8"))


BAD_AT: dict[str, Callable[[Any], Any]] = {
    "no array": lambda f: ([1.0], [0]),
    "too far": lambda f: (X.copy(), [9]),
    "no index": lambda f: (X.copy(), [0.5]),
    "text": lambda f: (np.array(["a", "b"]), [0]),
    "opted out": lambda f: (OptedOut(), [0]),
}


@each_pair
@pytest.mark.parametrize("what", BAD_AT)
def test_at_raises_as_numpys(ours: Any, numpys: Any, what: str) -> None:
    second = (1.0,) if ours.nin > 1 else ()
    expected = error_of(numpys.at, *BAD_AT[what](numpys), *second)
    assert error_of(ours.at, *BAD_AT[what](ours), *second) is expected


def test_at_tells_how_many_operands_it_needs() -> None:
    a = X.copy()
    assert error_of(sigmoid.at, a, [0], 1.0) is error_of(np.exp.at, a.copy(), [0], 1.0) is ValueError
    assert error_of(sigmoid.vjp.at, a, [0]) is error_of(np.add.at, a.copy(), [0]) is ValueError
    for shape in ([1, 2, 3], [[1, 2]]):
        assert error_of(sigmoid.vjp.at, a, [0, 1], shape) is error_of(np.add.at, a, [0, 1], shape) is ValueError
    assert error_of(sigmoid.at, a, [0], out=a) is error_of(np.exp.at, a, [0], out=a) is TypeError
    assert error_of(prelu.at, a, [0], 0.5, alpha=0.5) is TypeError
    assert error_of(prelu.at, a, [0]) is ValueError
    np.testing.assert_array_equal(a, X)


def test_at_writes_nothing_that_it_should_not() -> None:
    """Other than NumPy's: that writes floats to integers, and to arrays that are read-only."""
    read_only, integers = X.copy(), np.arange(4)
    read_only.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        sigmoid.at(read_only, [0])
    with pytest.raises(TypeError, match="cannot cast its result from float64 to int64"):
        sigmoid.at(integers, [0])
    with pytest.raises(TypeError, match="cannot cast its result from float64 to int64"):
        sigmoid.at(integers, [])
    a = np.array([1.0, 1e200])
    with np.errstate(over="raise"), pytest.raises(FloatingPointError):
        relu_squared.at(a, [0, 1])
    np.testing.assert_array_equal(a, [1.0, 1e200])
    np.testing.assert_array_equal(read_only, X)
    np.testing.assert_array_equal(integers, np.arange(4))


# outer


OUTER = [(4, 3), ((), 3), (3, ()), ((), ()), ((2, 3), (4,)), ((2, 0), (3,)), ((1, 2), (2, 1))]


@pytest.mark.parametrize("shapes", OUTER, ids=str)
def test_outer(shapes: Any) -> None:
    a, b = (np.random.default_rng(0).normal(size=shape) for shape in shapes)
    for function in (prelu, leaky_relu, sigmoid.vjp, swiglu.halves[0]):
        result = function.outer(a, b)
        expected = np.add.outer(a, b)
        assert (type(result), result.dtype, result.shape) == (type(expected), expected.dtype, expected.shape)
        np.testing.assert_array_equal(result, function(*np.ix_(np.ravel(a), np.ravel(b))).reshape(result.shape))


@pytest.mark.parametrize("case", ELEMENTWISE, ids=repr)
def test_outer_of_every_vjp(case: Case) -> None:
    keywords: Any = {**dict(case.keywords), "dtype": "float32", "out": np.zeros((4, 2), "float32")}
    result = case.function.vjp.outer(list(X), (1.0, -2.0), **keywords)
    assert result is keywords["out"]
    np.testing.assert_array_equal(result, case.vjp(X.astype("f")[:, None], np.array([1, -2], "f")))


def test_outer_of_scalars_and_containers() -> None:
    low = X.astype("float32")
    np.testing.assert_array_equal(prelu.outer(low, 0.5), prelu(low, 0.5), strict=True)
    np.testing.assert_array_equal(prelu.outer(-1.0, low), prelu(-1.0, low), strict=True)
    masked = np.ma.array(X, mask=[0, 1, 0, 0])
    result = prelu.outer(masked, [0.5, 0.25])
    assert isinstance(result, np.ma.MaskedArray)
    np.testing.assert_array_equal(result.mask, np.add.outer(masked, [0.5, 0.25]).mask)


def test_outer_of_other_libraries(xp: Library) -> None:
    alpha = np.array([[0.25, 0.5, 2.0]])
    result = prelu.outer(xp.asarray(X), xp.asarray(alpha))
    assert xp.is_array(result)
    np.testing.assert_array_equal(xp.asnumpy(result), prelu.outer(X, alpha))


def test_outer_raises_as_numpys() -> None:
    for operands in ([X], [X, X], []):
        assert error_of(sigmoid.outer, *operands) is error_of(np.exp.outer, *operands) is ValueError
    matrix = X.reshape(1, 4).view(np.matrix)
    for operands in ([X], [X, X, X], [matrix, X], [X, OptedOut()]):
        assert error_of(prelu.outer, *operands) is error_of(np.add.outer, *operands) is TypeError
    for keywords in ({"out": np.zeros(4)}, {"casting": "sometimes"}):
        assert error_of(prelu.outer, X, X, **keywords) is error_of(np.add.outer, X, X, **keywords) is ValueError
    for keywords in ({"axis": 1}, {"foo": 1}, {"dtype": ">f8"}):
        assert error_of(prelu.outer, X, X, **keywords) is error_of(np.add.outer, X, X, **keywords) is TypeError


@pytest.mark.parametrize("case", representatives([*OVER_AXIS, *REDUCING, *GATED]), ids=repr)
def test_methods_are_of_elementwise_functions(case: Case) -> None:
    for function in (case.function, case.function.vjp):
        assert error_of(function.at, X.copy(), [0]) is ValueError
        assert error_of(function.outer, X, X) is ValueError
    assert error_of(swiglu.vjp.halves[0].outer, X, X) is ValueError  # of three arrays


@pytest.mark.parametrize("case", cases(), ids=repr)
@pytest.mark.parametrize("method", ["reduce", "accumulate", "reduceat"])
def test_what_no_activation_has(case: Case, method: str) -> None:
    for function in (case.function, case.function.vjp, *case.function.halves):
        with pytest.raises(ValueError, match=f"has no {method}"):
            getattr(function, method)(X, 0, dtype="f")
    assert error_of(getattr(case.function, method), OptedOut()) is ValueError


# What operands say.


def test_array_ufunc_gets_the_method() -> None:
    x, g = Overriding(), Overriding()
    assert sigmoid.at(x, [0]) == (sigmoid, "at", (x, [0]), {})
    assert np.exp.at(x, [0]) == (np.exp, "at", (x, [0]), {})
    assert sigmoid.vjp.at(x, [0], g) == (sigmoid.vjp, *np.add.at(x, [0], g)[1:])
    assert sigmoid.at(X, x)[1:] == np.exp.at(X, x)[1:]
    assert prelu.outer(x, g) == (prelu, *np.add.outer(x, g)[1:])
    out = np.zeros(4)
    assert prelu.outer(x, 1, out=out) == (prelu, *np.add.outer(x, 1, out=out)[1:])
    assert leaky_relu.at(x, [0], negative_slope=1) == (leaky_relu, "at", (x, [0]), {"negative_slope": 1})
    _, method, inputs, keywords = sigmoid(x, signature="f->f")
    assert (method, inputs, keywords) == ("__call__", (x,), {"dtype": np.dtype("float32")})


@each_pair
def test_opting_out_wins(ours: Any, numpys: Any) -> None:
    """On any operand, the output and the mask, also beside what would compute."""
    out, over = OptedOut(), Overriding()
    others = (X,) * (ours.nin - 1)
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        ((out, *others), {}),
        ((X, *others), {"out": out}),
        ((X, *others), {"out": (out,)}),
        ((X, *others), {"where": out, "out": None}),
        ((over, *others), {"out": out}),
        ((over, *others), {"where": out, "out": None}),
        ((out, *others), {"out": over}),
        *([((over, out), {}), ((out, over), {}), ((X, out), {})] if others else []),
    ]
    for args, keywords in calls:
        for function in (ours, numpys):
            with pytest.raises(TypeError, match=r"operand 'OptedOut' does not support ufuncs \(__array_ufunc__=None\)"):
                function(*args, **keywords)
    with pytest.raises(TypeError, match="operand 'OptedOut'"):
        softmax(X, out=out)
    with pytest.raises(TypeError, match="operand 'OptedOut'"):
        swiglu(out)

    class Array(np.ndarray[Any, Any]):
        __array_ufunc__ = None

    for function in (ours, numpys):
        with pytest.raises(TypeError, match="operand 'Array'"):
            function(X.view(Array), *others)

"""NumPy's arrays and scalars beside arrays of another library are taken where that library takes them itself."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from array_libraries import LIBRARIES, Library, load
from cases import OVER_AXIS, SORTING, Case, cases, representatives
from programs import run

import actufunc
from actufunc.backends.mixed import takes_numpy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Numbers = np.ndarray[Any, Any]

X = np.linspace(-2.3, 1.9, 8).reshape(2, 4)
ALL = representatives(cases())
WITH_HYPERPARAMETERS = [case for case in ALL if case.function.definition.hyperparameters]
NUMBERS = (1.5, 2, np.float32(1.5), np.float64(1.5), np.int64(2), np.float16(1.5))
every_kind = pytest.mark.parametrize("case", ALL, ids=repr)
others = pytest.mark.parametrize("name", [name for name in LIBRARIES if name != "numpy"])


def takes(library: Library) -> bool:
    """Tell what the library itself does in its functions of two arrays."""
    own, array = library.asarray(X), np.ones(4)
    found = []
    for function in (library.module.add, library.module.maximum):
        for arrays in ((own, array), (array, own)):
            try:
                found.append(library.is_array(function(*arrays)))
            except Exception:  # noqa: BLE001  # each has its own
                found.append(False)
    assert len(set(found)) == 1
    return found[0]


def dtype_name(array: Any) -> str:
    return str(array.dtype).rpartition(".")[2]


def mixtures(library: Library, *arrays: Numbers) -> Iterator[list[Any]]:
    """Yield the arrays with all but one of them NumPy's, and with one of them NumPy's."""
    for n in range(len(arrays)):
        for these in ({n}, set(range(len(arrays))) - {n}):
            yield [library.asarray(array) if i in these else array for i, array in enumerate(arrays)]


def check(library: Library, function: Callable[..., Any], *arrays: Numbers) -> None:
    expected = function(*arrays)
    for mixed in mixtures(library, *arrays):
        if takes(library):
            for _ in range(2):  # what served a call must not serve others
                result = function(*mixed)
                assert library.is_array(result)
                assert dtype_name(result) == dtype_name(function(*map(library.asarray, arrays)))
                np.testing.assert_allclose(library.asnumpy(result), expected, rtol=1e-6, atol=1e-6)
        else:
            both = " and ".join(sorted(("numpy", library.name)))
            with pytest.raises(TypeError, match=f"got arrays of {both}; convert them to one library first") as caught:
                function(*mixed)
            assert "\n" not in str(caught.value)
    again = function(*arrays)
    assert isinstance(again, np.ndarray | np.generic)
    np.testing.assert_array_equal(again, expected)


@others
def test_the_library_is_asked(name: str) -> None:
    """The answer is that of its own functions, and another library that comes along needs no entry anywhere."""
    library = load(name)
    takes_numpy.cache_clear()
    assert takes_numpy(actufunc.array_namespace(library.asarray(X)).__wrapped__) is takes(library)
    assert takes(library) is (name in {"jax", "dask"})  # today


@others
@every_kind
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_cotangents(name: str, case: Case, dtype: str) -> None:
    library, x = load(name), X.astype(dtype)
    y = case(x)
    for g in (np.linspace(1, 2, y.size).reshape(y.shape), np.ones(y.shape[-1:], "float32"), np.array(1.5)):
        check(library, case.vjp, x, g)


def test_byte_order(xp: Library) -> None:
    if xp.name == "numpy" or takes(xp):
        result = actufunc.sigmoid.vjp(xp.asarray(X), X.astype(">f4"))
        np.testing.assert_allclose(xp.asnumpy(result), actufunc.sigmoid.vjp(X, X), rtol=1e-6)


@others
@pytest.mark.parametrize("case", WITH_HYPERPARAMETERS, ids=repr)
def test_hyperparameters(name: str, case: Case) -> None:
    library, given = load(name), dict(case.keywords)
    for key in case.function.definition.hyperparameters:
        for function in (case.function, case.function.grad):

            def by_value(x: Any, value: Any, function: Any = function, key: str = key) -> Any:
                return function(x, **{**given, key: value})

            for value in (np.array([[0.25], [0.75]]), np.array(0.5)):
                check(library, by_value, X, value)


@others
def test_masks(name: str) -> None:
    library = load(name)
    for case in OVER_AXIS:
        if name != "dask" or case not in SORTING:
            check(library, lambda x, mask, case=case: case(x, where=mask), X, X > -1)


@every_kind
@pytest.mark.parametrize("number", NUMBERS, ids=repr)
def test_numbers_as_cotangents(xp: Library, case: Case, number: Any) -> None:
    """Python's never promote; NumPy's do where the library has it so."""
    x = X.astype("float32")
    result = case.vjp(xp.asarray(x), number)
    assert xp.is_array(result)
    promoted = "float32"
    if isinstance(number, np.generic) and (xp.name in {"numpy", "cupy"} or takes(xp)):
        own = np.multiply(x, number) if xp.name == "cupy" else xp.module.multiply(xp.asarray(x), number)
        promoted = dtype_name(own)
    assert dtype_name(result) == promoted
    values = xp.asnumpy(result)
    assert values.dtype == promoted
    np.testing.assert_allclose(values, case.vjp(x, np.full(case(x).shape, number, "float32")), rtol=2e-6, atol=2e-6)


@others
def test_number_beside_an_array(name: str) -> None:
    """No integer dtype cuts it off."""
    library = load(name)
    small = library.asarray([1, 2], "uint8")
    for number, expected in ((1.5, [1.5, 0.0]), (300, [300, 300]), (np.int64(300), [300, 300]), (2, [2, 0])):
        try:
            result = actufunc.threshold(number, small, 0)
        except OverflowError:  # as NumPy has it
            assert name in {"dask", "cupy"}
            assert type(number) is int
        else:
            np.testing.assert_array_equal(library.asnumpy(result), expected)


@others
def test_refused(name: str) -> None:
    """An output of NumPy, masks that would be lost, and what is no number."""
    library = load(name)
    x = library.asarray(X)
    masked = np.ma.masked_array(X, X > 0)
    for call in (
        lambda: actufunc.sigmoid(x, out=np.empty_like(X)),
        lambda: actufunc.sigmoid.vjp(x, X, out=np.empty_like(X)),
        lambda: actufunc.sigmoid.vjp(x, masked),
        lambda: actufunc.softmax(x, where=masked > 1),
        *(lambda dtype=dtype: actufunc.sigmoid.vjp(x, X.astype(dtype)) for dtype in ("O", "U4", "complex64")),
    ):
        with pytest.raises(TypeError, match=r"^(sigmoid|sigmoid\.vjp|softmax) ") as caught:
            call()
        assert "\n" not in str(caught.value)


@others
def test_cotangent_that_does_not_fit(name: str) -> None:
    """Over an axis x is not broadcast."""
    library = load(name)
    for case in OVER_AXIS:
        of_rows = bool(case.function.vjp.definition.without_axis)
        g = np.ones((3, 2, 4)[: 2 if of_rows else 3])
        with pytest.raises(ValueError, match="cannot broadcast g of shape"):
            case.vjp(library.asarray(X), library.asarray(g))


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(LIBRARIES[1:], 2)))
def test_two_other_libraries(first: str, second: str) -> None:
    one, other = load(first).asarray(X), load(second).asarray(X)
    both = " and ".join(sorted((first, second)))
    for case in ALL:
        for arrays in ((one, other), (other, one)):
            with pytest.raises(TypeError, match=f"got arrays of {both}; convert"):
                case.vjp(*arrays)
    for case in OVER_AXIS:
        with pytest.raises(TypeError, match=f"got arrays of {both}; convert"):
            case(one, where=load(second).asarray(X > 0))
    with pytest.raises(TypeError, match=f"got arrays of .*numpy.*{second}|got arrays of .*{second}.*numpy"):
        actufunc.softmax.vjp(one, other, where=X > 0)


@pytest.mark.needs_library("jax")
def test_in_jax_transformations() -> None:
    import jax

    library = load("jax")
    x, slopes = library.asarray(X), np.array([0.25, 0.5, 0.75, 1.0])

    def loss(x: Any) -> Any:
        takes_numpy.cache_clear()  # the first call may be traced
        return (actufunc.prelu(x, slopes) * actufunc.sigmoid.vjp(x, slopes)).sum()

    own = jax.grad(lambda x: (actufunc.prelu(x, x * 0 + slopes) * actufunc.sigmoid.vjp(x, x * 0 + slopes)).sum())(x)
    for gradient in (jax.grad(loss), jax.jit(jax.grad(loss))):
        np.testing.assert_allclose(gradient(x), own, rtol=1e-12)
    by_row = jax.vmap(lambda row: actufunc.prelu(row, slopes))(x)
    np.testing.assert_array_equal(by_row, actufunc.prelu(X, slopes))


def test_jax_devices() -> None:
    """What is NumPy's goes to where the others are, as what JAX has not committed to a device."""
    load("jax")
    code = """
        import jax, numpy, pytest
        import jax.numpy as jnp
        from jax.sharding import Mesh, NamedSharding, PartitionSpec
        import actufunc
        devices = jax.devices()
        x, g = numpy.linspace(-2, 2, 8, dtype="float32").reshape(2, 4), numpy.ones(4, "float32")
        shared = NamedSharding(Mesh(numpy.array(devices), ("device",)), PartitionSpec("device", None))
        for place, on in ((devices[1], {devices[1]}), (shared, set(devices))):
            there = jax.device_put(x, place)
            for function in (actufunc.sigmoid, actufunc.log_softmax):
                for cotangent in (g, jnp.asarray(g), numpy.float32(1), 1.0):
                    assert function.vjp(there, cotangent).devices() == on
            assert actufunc.prelu(there, g).devices() == on
        with pytest.raises(TypeError, match="got arrays on"):
            actufunc.prelu(jax.device_put(x, devices[1]), jax.device_put(g, devices[0]))
    """
    run(code, XLA_FLAGS="--xla_force_host_platform_device_count=2")

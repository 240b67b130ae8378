"""The functions of the catalogue against those of other libraries: values, derivatives, defaults and names.

All that is known to differ stands in peers_differences.py.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import functools
import importlib.metadata
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import pytest
from array_libraries import load
from peers_differences import DIFFERENCES, Difference
from peers_table import NOT_OURS, TWINS, VERSIONS, Twin, mapped, public

from actufunc._catalogue import NAMES

if TYPE_CHECKING:
    from collections.abc import Callable

    Array = np.ndarray[Any, Any]

# Of values relative, of derivatives beside one, in multiples of the machine epsilon: in float32 2e-6, in float64 4e-15.
# The softmax of all peers needs 12, for it rounds the input less the largest.
TOLERANCE = 16


class Peer:
    """A package of functions of arrays."""

    def __init__(self, package: Any) -> None:
        self.package = package

    def function(self, twin: Twin) -> Callable[[Any], Any]:
        """Return what should compute the same as ours."""
        given = {name: twin.keywords[key] for key, name in twin.names.items() if key in twin.keywords}
        if twin.composed is not None:
            return lambda x: twin.composed(self.package, x, **given)
        if "approximate" in given and twin.peer != "torch":
            given["approximate"] = given["approximate"] == "tanh"
        try:
            found = functools.reduce(getattr, twin.theirs.split("."), self.package)
        except AttributeError:
            pytest.skip(f"this version of {twin.peer} has no {twin.theirs}")
        return lambda x: found(x, **given)

    def value(self, twin: Twin, x: Array) -> Array:
        return np.asarray(self.function(twin)(x))

    def vjp(self, twin: Twin, x: Array, g: Array) -> Array:
        """Return the product of a cotangent with the derivative."""
        raise NotImplementedError


class Torch(Peer):
    def value(self, twin: Twin, x: Array) -> Array:
        return self.function(twin)(self.package.tensor(x)).numpy()

    def vjp(self, twin: Twin, x: Array, g: Array) -> Array:
        leaf = self.package.tensor(x, requires_grad=True)
        self.function(twin)(leaf).backward(self.package.tensor(g))
        return leaf.grad.numpy()


class Jax(Peer):
    """Compiled: one operation after the other would take twice the time."""

    def value(self, twin: Twin, x: Array) -> Array:
        return np.asarray(self.package.jit(self.function(twin))(x))

    def vjp(self, twin: Twin, x: Array, g: Array) -> Array:
        def pull(x: Array, g: Array) -> Any:
            y, by_x = self.package.vjp(self.function(twin), x)
            return by_x(g)[0] if y.shape == g.shape else g[..., :0]

        return np.asarray(self.package.jit(pull)(x, g))


class Onnx(Peer):
    """ONNX Runtime."""

    def value(self, twin: Twin, x: Array) -> Array:
        runtime = pytest.importorskip("onnxruntime")
        kind = {"float32": "float", "float64": "double"}[x.dtype.name]
        operators = '<ir_version: 11, opset_import: ["": 24, "com.microsoft": 1]>'
        graph = f"{operators} graph({kind}[] x) => ({kind}[] y) {{ {twin.theirs} }}"
        options = runtime.SessionOptions()
        options.log_severity_level = 4  # it warns of constants that it folds
        model = self.package.parser.parse_model(graph).SerializeToString()
        session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        return session.run(None, {"x": x})[0]


DIFFERENTIATE = {"torch": Torch, "jax": Jax}


@functools.cache
def peer(name: str) -> Peer:
    """Import a package, or skip the test."""
    if name in DIFFERENTIATE:
        load(name)
        return DIFFERENTIATE[name](pytest.importorskip(name))
    if name == "keras":
        # On NumPy its formulas are its own; and it must not write to the home directory.
        with mock.patch.dict(os.environ, {"KERAS_BACKEND": "numpy", "KERAS_HOME": os.devnull}):
            return Peer(pytest.importorskip("keras", exc_type=ImportError))
    submodule = {"scipy": "special", "onnx": "parser"}[name]
    pytest.importorskip(f"{name}.{submodule}")
    return (Onnx if name == "onnx" else Peer)(pytest.importorskip(name))


# What is compared.


def elements(dtype: str) -> Array:
    """Return kinks and their neighbours, what is special to floats, and numbers of all sizes."""
    random, info = np.random.default_rng(0), np.finfo(dtype)
    kinks = np.array([0.25, 0.5, 1, 3, 6, 20], dtype)
    kinks = np.concatenate([kinks, np.nextafter(kinks, kinks * 2), np.nextafter(kinks, kinks * 0)])
    sizes = [
        info.smallest_subnormal,
        info.tiny / 2,
        info.tiny,
        info.eps,
        1e-3,
        100,
        1e10,
        info.max / 4,
        info.max,
        np.inf,
    ]
    special = np.concatenate([kinks, np.array([0, *sizes], dtype)])
    special = np.concatenate([special, -special, [np.nan]])
    magnitudes = np.exp(random.uniform(np.log(float(info.tiny)), np.log(float(info.max)), 300))
    far = -1.05 * np.log(float(info.smallest_subnormal))  # where exponentials end
    ranges = [random.uniform(low, high, 500) for low, high in ((-20, 20), (0, 1), (-far, far))]
    signed = magnitudes * random.choice([-1, 1], magnitudes.size)
    # The special ones at both ends: loops over vectors have a tail of single elements.
    return np.concatenate([special, random.normal(size=1000) * 4, *ranges, signed, special]).astype(dtype)


def rows(dtype: str) -> Array:
    inf, nan, large = np.inf, np.nan, float(np.finfo(dtype).max)
    finite = [[0, 0, 0, 0], [-0.0] * 4, [2, 2, 1, 1], [1000, 0, 0, -1000], [-100, 0, -50, 40], [0, 0, 0, -1e-30]]
    huge = [[large, 0, 1, 2], [-large, 0, 1, 2], [large, -large, 0, 1]]
    infinite = [[-inf, 1, 2, 3], [-inf, -inf, -inf, 5], [-inf] * 4, [inf, 1, 2, 3], [inf, inf, 1, 1], [inf, -inf, 1, 2]]
    gates = [[1, 2, -inf, inf], [inf, 1, 0, 1], [-inf, inf, 2, -3]]
    random = np.random.default_rng(0).normal(size=(50, 4)) * 4
    return np.array([*finite, *huge, *infinite, *gates, [nan, 1, 2, 3], [1, nan, -inf, inf], *random], dtype)


def is_elementwise(twin: Twin) -> bool:
    definition = NAMES[twin.ours].definition
    return not (definition.over_axis or definition.gated)


def inputs(twin: Twin, dtype: str) -> Array:
    if is_elementwise(twin):
        return elements(dtype)
    if "axis" not in twin.keywords:
        return rows(dtype)
    return (np.random.default_rng(0).normal(size=(20, 3, 10)) * 4).astype(dtype)


@dataclass(frozen=True)
class Comparison:
    """Results of a pair of functions."""

    twin: Twin
    of: str
    x: Array
    got: Array
    expected: Array
    slope: Array | None  # of an elementwise function

    def differs(self, within: float | None = None) -> Array:
        """Tell where they differ, or by more than this, in multiples of the machine epsilon."""
        got, expected = self.got.astype(np.longdouble), self.expected.astype(np.longdouble)
        info = np.finfo(self.x.dtype)
        least = 0.0
        with np.errstate(all="ignore"):
            if within is not None:
                size = 1 + abs(expected if self.slope is None else self.x)  # of terms that cancel
            elif self.of == "derivative":
                size = 1 + abs(expected)  # they are of the order of one, and vanish in the middle of the range
            else:
                # What is right for an input rounded otherwise is right.
                moved = 0 if self.slope is None else np.nan_to_num(abs(self.x * self.slope.astype(np.longdouble)))
                size = abs(expected) + moved
                least = 4 * float(info.smallest_subnormal)
            allowed = (TOLERANCE if within is None else within) * float(info.eps) * size + least
            same = (got == expected) | (np.isnan(got) & np.isnan(expected))
            return ~(same | (abs(got - expected) <= allowed))

    def expects(self, difference: Difference) -> Array:
        """Tell where they may differ."""
        by_x, by_y = difference.where.x(self.x), difference.where.y(self.expected)
        if not is_elementwise(self.twin):  # then an element concerns all results of its row
            by_x = by_x.any(axis=-1) if self.x.ndim == 2 else by_x.all()
            by_x = by_x[:, None] if by_x.ndim < by_y.ndim and by_x.ndim else by_x
        return by_x | by_y

    def unexplained(self, without: Difference | None = None) -> Array:
        """Tell where they differ although no difference, or no other than this, says so."""
        found = self.differs()
        for difference in DIFFERENCES:
            if difference is not without and difference.concerns(self.twin, self.of):
                too_far = difference.within is not None and self.differs(difference.within)
                found &= ~self.expects(difference) | too_far
        return found


@functools.cache
def compare(twin: Twin, of: str) -> list[Comparison]:
    library, function, keywords = peer(twin.peer), NAMES[twin.ours], twin.keywords
    found = []
    for dtype in twin.dtypes:
        x = inputs(twin, dtype)
        slope = None
        with np.errstate(all="ignore"):
            if is_elementwise(twin):
                slope = function.grad(x, **keywords)
            if of == "value":
                expected, got = function(x, **keywords), library.value(twin, x)
            elif slope is not None:
                expected, got = slope, library.vjp(twin, x, np.ones_like(x))
            else:
                y = function(x, **keywords)
                g = np.random.default_rng(0).normal(size=y.shape).astype(dtype)
                expected, got = function.vjp(x, g, **keywords), library.vjp(twin, x, g)
        if got.shape != expected.shape:
            got = np.full_like(expected, np.pi)  # which differs wherever it stands
        found.append(Comparison(twin, of, x, got.astype(dtype), expected, slope))
    return found


def check(twin: Twin, of: str) -> None:
    for comparison in compare(twin, of):
        wrong = comparison.unexplained()
        if wrong.any():
            n = np.argwhere(wrong)[0]
            x = comparison.x[*n] if is_elementwise(twin) else comparison.x[n[0]]
            got, expected = comparison.got[*n], comparison.expected[*n]
            pytest.fail(f"{wrong.sum()} differ, as theirs, {got}, from ours, {expected}, at {x} ({x.dtype})")


@pytest.mark.parametrize("twin", TWINS, ids=repr)
def test_values(twin: Twin) -> None:
    check(twin, "value")


@pytest.mark.parametrize("twin", [twin for twin in TWINS if twin.peer in DIFFERENTIATE], ids=repr)
def test_derivatives(twin: Twin) -> None:
    check(twin, "derivative")


@pytest.mark.parametrize("difference", DIFFERENCES, ids=repr)
def test_differences_still_show(difference: Difference) -> None:
    """What a newer version of a peer does as ours is to be taken from the table."""
    for name in difference.ours.split():
        twins = [twin for twin in TWINS if name in (twin.ours, "*") and difference.concerns(twin, difference.of)]
        compared = (comparison for twin in twins for comparison in compare(twin, difference.of))
        assert any(comparison.unexplained(difference).any() for comparison in compared), name


@pytest.mark.parametrize(
    "twin",
    [twin for twin in TWINS if twin.peer == "jax" and twin.keywords.keys() & {"alpha", "b", "negative_slope"}],
    ids=repr,
)
def test_derivatives_by_hyperparameters(twin: Twin) -> None:
    library, x = peer("jax"), np.linspace(-6.3, 6.7, 41)
    ((name, at),) = twin.keywords.items()

    def by_value(value: Any) -> Any:
        return library.function(dataclasses.replace(twin, keywords={name: value}))(x)

    _, theirs = library.package.jvp(by_value, (at,), (1.0,))
    np.testing.assert_allclose(NAMES[twin.ours].grad(x, wrt=name, **twin.keywords), theirs, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
def test_masks(name: str) -> None:
    """As in JAX; the others have none."""
    random = np.random.default_rng(0)
    x, mask = random.normal(size=(20, 6)) * 4, random.random(size=(20, 6)) < 0.5
    mask[:2] = [[False], [True]]
    theirs = getattr(peer("jax").package.nn, name)(x, axis=-1, where=mask)
    np.testing.assert_allclose(NAMES[name](x, where=mask), theirs, rtol=1e-12)


def test_every_function_has_a_peer() -> None:
    assert {twin.ours for twin in TWINS} == NAMES.keys()


@pytest.mark.parametrize("name", VERSIONS)
def test_every_function_of_a_peer_has_its_place(name: str) -> None:
    """A new activation there is either compared or said not to be ours."""
    package = peer(name).package
    version = importlib.metadata.version(name).partition("+")[0]
    if version != VERSIONS[name]:
        pytest.skip(f"the table is of {name} {VERSIONS[name]}, not {version}")
    theirs = {f".{each}" for each in public(name, package)}
    patterns = " ".join(NOT_OURS[name].values()).split()
    others = {pattern: set(fnmatch.filter(theirs, f"*.{pattern}")) for pattern in patterns}
    assert all(others.values())
    assert theirs <= {f".{each}" for each in mapped(name)}.union(*others.values())

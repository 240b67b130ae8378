"""Derivatives of any order of functions that are smooth: no piece, clamp or tail of a formula shows in them."""

from __future__ import annotations

import functools
import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import taylor
from array_libraries import jax_module, load
from cases import ELEMENTWISE, Case

from actufunc._activation import Activation
from actufunc._docstrings import properties
from actufunc.accuracy import sample
from actufunc.accuracy._breakpoints import breakpoints
from actufunc.backends.array_api_ops import compute
from actufunc.formula.custom_derivative import without_derivatives
from actufunc.formula.definition import _derivative_by
from actufunc.formula.derivative import derivative

if TYPE_CHECKING:
    Numbers = np.ndarray[Any, Any]

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")  # torch, of its own forward mode


def claim(case: Case) -> str:
    """Return what the docstring says: "smooth", "smooth but at 0" or nothing."""
    return properties(case.function, **dict(case.keywords)).smooth


SMOOTH = [case for case in ELEMENTWISE if claim(case)]
smooth = pytest.mark.parametrize("case", SMOOTH, ids=repr)
every_order = pytest.mark.parametrize("order", [1, 2, pytest.param(3, marks=pytest.mark.slow)])
with_hyperparameters = pytest.mark.parametrize(
    "case", [case for case in SMOOTH if case.function.definition.hyperparameters], ids=repr
)

# In ulp; measured: 6.1 at the points of the quick tests, 8.04 at all; 12 in torch and JAX.
LARGEST, LARGEST_IN_LIBRARIES = 10, 16
FACTORS = (1, 3, 0.5, 2.0**-22)  # of hyperparameters
"""squareplus at b=1e-6 and less bends so sharply that its second derivative is 500 and more."""

# Of all binades, tails with subnormal results, and where formulas of any function may be clamped.
_ORDINARY = [0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 1, 1.2, 1.5, 1.8, 2, 2.4, 3, 4, 5, 7, 9, 12, 16, 20, 25, 30, 38.4]
_TAILS = [150, 300, 350, 360, 369, 400, 690, 700, 708, 715, 730, 740, 745, 760, 1000]
_EXTREMES = [0, 5e-324, 1e-300, 1e-200, 1e-100, 1e-40, 1e-17, 1e-9, 1e-6, 1e-4, 1e4, 1e8, 1.01e18, 1e25, 1e60, 1e107]
MAGNITUDES = np.array([*_EXTREMES, *_ORDINARY, *_TAILS, 1e150, 1e200, 1e300])


@functools.cache
def hyperparameters(case: Case) -> list[dict[str, float]]:
    """Return values to try."""
    defaults = case.function.definition.hyperparameters
    return [{key: factor * value for key, value in defaults.items()} for factor in (FACTORS if defaults else (1,))]


@functools.cache
def points(case: Case, values: tuple[tuple[str, float], ...], more: int = 0) -> Numbers:
    """Return where to look: at all magnitudes, and next to where the formula and its derivatives switch over."""
    definition = case.function.definition
    expression = definition.differentiable(**{**definition.options, **dict(case.keywords)})
    found = [MAGNITUDES, -MAGNITUDES, sample(np.float64, more), np.random.default_rng(0).normal(scale=6, size=more)]
    for _, value in values:
        found += [MAGNITUDES / value, -MAGNITUDES / value]
    for _ in range(3):
        at = breakpoints(without_derivatives(expression), dict(values))
        found += [at, np.nextafter(at, np.inf), np.nextafter(at, -np.inf), at * (1 + 2.0**-40), at * (1 - 2.0**-40)]
        expression = derivative(expression, "x")
    x = np.unique(np.concatenate(found))
    x = x[abs(x) <= 1e300]  # NaN, too, is left out
    if case.function.__name__ == "logit":
        x = np.concatenate([x[(x > 0) & (x < 1)], 1 - 2.0 ** -np.arange(1, 54)])
    return x[x != 0] if claim(case) == "smooth but at 0" else x


@functools.cache
def exact(
    case: Case, values: tuple[tuple[str, float], ...], along: tuple[tuple[str, int], ...], more: int = 0
) -> list[list[Any]]:
    """Return the derivatives along a direction at these points."""
    name, options = case.function.__name__, dict(case.keywords)
    at = [{"x": x, **dict(values)} for x in points(case, values, more).tolist()]
    return [taylor.derivatives(name, each, dict(along), options) for each in at]


def errors(x: Numbers, results: Numbers, exact: list[Any], scales: list[Any], least: float) -> Numbers:
    """Return errors in ulp, not less than `least`; next to a root beside `scales`, the magnitude of the terms."""
    signs = np.array([int(taylor.NUMBERS.sign(value)) for value in exact])
    near = np.zeros(x.shape, bool)
    known = np.flatnonzero(signs)
    for a, b in itertools.pairwise(known):
        if signs[a] != signs[b] and x[a] * x[b] > 0:
            low, high = sorted(abs(x[[a, b]]))
            near |= (np.sign(x) == np.sign(x[a])) & (low / 1.5 <= abs(x)) & (abs(x) <= 1.5 * high)
    found = []
    for result, value, scale, is_near in zip(results.tolist(), exact, scales, near, strict=True):
        rounded = float(value) if abs(value) < taylor.NUMBERS.mpf(2) ** 1024 else math.copysign(math.inf, value)
        beside = max(abs(rounded), float(abs(scale))) if is_near else abs(rounded)
        if result == rounded:
            found.append(0.0)
        elif math.isfinite(result) and math.isfinite(rounded):
            unit = max(float(np.spacing(beside)), least)
            found.append(float(abs(value - taylor.NUMBERS.mpf(result)) / taylor.NUMBERS.mpf(unit)))
        else:
            found.append(math.inf)
    return np.array(found)


def chain(case: Case, *names: str) -> Activation:
    """Return the derivative by one argument after the other, as an activation."""
    definition = case.function.definition
    for name in names:
        definition = _derivative_by(definition, name)
    return Activation(definition)


def computed(function: Any, case: Case, values: tuple[tuple[str, float], ...], more: int = 0) -> Numbers:
    """Compute at the points; hyperparameters are arrays, so that one kernel serves all of their values."""
    x, keywords = points(case, values, more), dict(case.keywords)
    with np.errstate(over="ignore", under="ignore"):
        return np.asarray(function(x, *(np.full(x.shape, value) for _, value in values), **keywords))


def divided(hyperparameter: float, order: int) -> float:
    """Return the least unit of a derivative: what is subnormal may be divided by a small hyperparameter each time."""
    return 5e-324 * max(1, 1 / hyperparameter) ** (order + 1)


def check(
    function: Any, case: Case, values: tuple[tuple[str, float], ...], name: str, order: int, more: int = 0
) -> None:
    """Compare a function with the exact derivatives by one argument."""
    x, series = points(case, values, more), exact(case, values, ((name, 1),), more)
    results = computed(function, case, values, more)
    at = x.tolist() if name == "x" else [dict(values)[name]] * x.size
    scales = [p * s[order + 1] for p, s in zip(at, series, strict=True)]
    least = 5e-324 if name == "x" else divided(dict(values)[name], order)
    found = errors(x, results, [each[order] for each in series], scales, least)
    worst = int(found.argmax())
    assert found[worst] <= LARGEST, (values, name, order, x[worst], results[worst], float(series[worst][order]))


# What docstrings claim.


def test_some_are_smooth_and_all_have_definitions() -> None:
    assert {case.function.__name__ for case in SMOOTH} == set(taylor.DEFINITIONS)
    assert {claim(case) for case in ELEMENTWISE} == {"", "smooth", "smooth but at 0"}


@pytest.mark.parametrize("case", ELEMENTWISE, ids=repr)
def test_claim_holds_at_breakpoints(case: Case) -> None:
    """Up to the third derivative there is a jump where the formula switches if and only if no smoothness is claimed."""
    definition = case.function.definition
    chosen = {**definition.hyperparameters, **definition.options, **dict(case.keywords)}
    options, jumps = {key: chosen.pop(key) for key in definition.options}, set()
    at = breakpoints(definition.computed(options), chosen)
    at = at[(abs(at) < 100) & ((abs(at) > 1e-10) | (at == 0))]
    if case.function.__name__ == "logit":
        at = at[(at > 0) & (at < 0.9)]
    h = 1e-10
    before, after = np.where(at == 0, -h, at * (1 - np.sign(at) * h)), np.where(at == 0, h, at * (1 + np.sign(at) * h))
    expression = definition.differentiable(**options).substitute(chosen)
    for _ in range(4):
        left, right = (compute(np, without_derivatives(expression), {"x": x}) for x in (before, after))
        expression = derivative(expression, "x")
        jumps |= set(at[abs(left - right) > 1e-6 * (1 + abs(left))].tolist())
    assert {"": bool(jumps), "smooth": not jumps, "smooth but at 0": jumps == {0.0}}[claim(case)], jumps


# NumPy.


@smooth
@every_order
def test_derivatives_by_x(case: Case, order: int) -> None:
    function = case.function
    for _ in range(order):
        function = function.grad
    for each in hyperparameters(case):
        values = tuple(each.items())
        check(function, case, values, "x", order)


@pytest.mark.slow
@smooth
def test_derivatives_by_x_everywhere(case: Case) -> None:
    """At many points of all binades, and of a normal distribution."""
    function, values = case.function.grad, tuple(hyperparameters(case)[0].items())
    for order in (2, 3):
        function = function.grad
        check(function, case, values, "x", order, more=200)


@pytest.mark.slow
@smooth
def test_derivatives_in_float32(case: Case) -> None:
    """They are computed in float64, and rounded."""
    function, x = case.grad.grad, points(case, tuple(hyperparameters(case)[0].items()))
    with np.errstate(over="ignore", under="ignore"):
        x = np.unique(x.astype(np.float32))
        x = x[np.isfinite(x)] if claim(case) == "smooth" else x[np.isfinite(x) & (x != 0)]
        got, expected = function(x), function(x.astype(np.float64)).astype(np.float32)
    is_root = (abs(expected) < 1e-15) & (abs(x) > 0.1) & (abs(x) < 10)  # there the error counts beside the terms
    np.testing.assert_allclose(got[~is_root], expected[~is_root], rtol=2.0**-22, atol=1e-45)


@with_hyperparameters
@every_order
def test_derivatives_by_hyperparameters(case: Case, order: int) -> None:
    for name in case.function.definition.hyperparameters:
        function = chain(case, *[name] * order)
        for each in hyperparameters(case):
            values = tuple(each.items())
            check(function, case, values, name, order)


@pytest.mark.slow
@with_hyperparameters
def test_mixed_derivatives(case: Case) -> None:
    """From the derivatives along `x`, a hyperparameter, and both diagonals."""
    for name in case.function.definition.hyperparameters:
        for each in hyperparameters(case):
            values = tuple(each.items())
            x, along = points(case, values), [(("x", 1),), ((name, 1),), (("x", 1), (name, 1)), (("x", 1), (name, -1))]
            mixed, scales = [], []
            series = zip(*(exact(case, values, direction) for direction in along), strict=True)
            for p, (a, b, c, d) in zip(x.tolist(), series, strict=True):
                mixed.append((c[2] - a[2] - b[2]) / 2)
                scales.append(p * ((c[3] - d[3]) / 2 - b[3]) / 3)  # x times the derivative by x
            for names in (("x", name), (name, "x")):
                found = errors(x, computed(chain(case, *names), case, values), mixed, scales, divided(each[name], 2))
                assert found.max() <= LARGEST, (each, names, x[found.argmax()])


# torch and JAX.


def differentiated(name: str, function: Any, x: Numbers, orders: int) -> list[Numbers]:
    """Let a library differentiate a function of one array several times."""
    if name == "torch":
        torch, found = load("torch").module, []
        leaf = torch.tensor(x, requires_grad=True)
        result = function(leaf)
        for _ in range(orders):
            # What does not depend on x any more is constant.
            slope = torch.autograd.grad(result.sum(), leaf, create_graph=True)[0] if result.requires_grad else 0 * leaf
            result = slope
            found.append(result.detach().numpy())
        return found
    jax, functions = jax_module(), [function]
    for _ in range(orders):
        functions.append(jax.grad(lambda x, f=functions[-1]: f(x).sum()))
    jax.config.update("jax_disable_most_optimizations", val=True)  # compiles in half the time
    try:
        return [np.asarray(each) for each in jax.jit(lambda x: [f(x) for f in functions[1:]])(jax.numpy.asarray(x))]
    finally:
        jax.config.update("jax_disable_most_optimizations", val=False)


@smooth
@pytest.mark.parametrize("name", ["torch", "jax"])
def test_libraries_differentiate_formulas(name: str, case: Case) -> None:
    """As NumPy's do; but the argument of an exponential is rounded there, and factors are not scaled last."""
    library = load(name)
    values = tuple(hyperparameters(case)[0].items())
    x, series = points(case, values), exact(case, values, (("x", 1),))
    if name == "jax":  # which takes subnormal numbers for zero
        series = [terms for at, terms in zip(x, series, strict=True) if at == 0 or abs(at) > 1e-307]
        x = x[(x == 0) | (abs(x) > 1e-307)]

    def slope(x: Any) -> Any:
        arrays = (library.asarray(np.full(len(x), value)) for _, value in values)
        return case.function.grad(x, *arrays, **dict(case.keywords))

    for order, results in enumerate(differentiated(name, slope, x, 2), 2):
        for at, result, terms in zip(x.tolist(), results.tolist(), series, strict=True):
            value, conditioned = float(terms[order]), float(abs(at * terms[order + 1]))
            tolerance = LARGEST_IN_LIBRARIES * 2.0**-52 * max(abs(value), conditioned) + 1e-290
            assert result == value or abs(result - value) <= tolerance, (order, at, result, value)


@smooth
@pytest.mark.parametrize("name", ["torch", "jax"])
def test_libraries_differentiate_their_own_functions(name: str, case: Case) -> None:
    """Where the library's own function serves, its accuracy is its own; at 0 it is smooth as well."""
    load(name)
    x = np.concatenate([[0.0, -0.0, 5e-324, -1e-300, 1e-17], np.linspace(-4, 4, 17)])
    x = np.linspace(0.1, 0.9, 9) if case.function.__name__ == "logit" else x
    x = x[abs(x) > 1e-307] if claim(case) == "smooth but at 0" else x
    function: Any = case
    for results in differentiated(name, case, x, 3):
        function = function.grad
        np.testing.assert_allclose(results, function(x), rtol=1e-12, atol=1e-12)


@smooth
def test_hessian_of_torch(case: Case) -> None:
    torch = load("torch").module
    x = np.array([0.0, 0.3] if claim(case) == "smooth" and case.function.__name__ != "logit" else [0.2, 0.3])
    hessian = torch.func.hessian(lambda x: case(x).sum())(torch.tensor(x))
    np.testing.assert_allclose(hessian.numpy(), np.diag(case.grad.grad(x)), rtol=1e-13, atol=1e-15)


# The ends.


def test_limits_at_infinity() -> None:
    """Derivatives vanish there, or stay: none is NaN because infinity was multiplied by zero."""
    x = np.array([-np.inf, np.inf])
    for case in SMOOTH:
        if case.function.__name__ == "logit":
            continue
        function: Any = case
        for _ in range(3):
            function = function.grad
            assert np.isfinite(function(x)).all(), (case, function(x))


def test_logit_ends_in_poles() -> None:
    logit: Any = next(case for case in SMOOTH if case.function.__name__ == "logit")
    x = np.array([-1.0, 0.0, 1.0, 2.0])
    np.testing.assert_array_equal(logit.grad(x), [np.nan, np.inf, np.inf, np.nan])
    np.testing.assert_array_equal(logit.grad.grad(x), [np.nan, -np.inf, np.inf, np.nan])
    np.testing.assert_array_equal(logit.grad.grad.grad(x), [np.nan, np.inf, np.inf, np.nan])

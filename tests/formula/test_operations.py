"""The table of operations: what every operation must have, and that every backend computes all of them."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import array_api_strict
import numpy as np
import pytest
from conftest import LIBRARIES, load
from cuda_loops import DTYPES, STRICT, Kernel, call, loop
from host_gpu import compile_text

from actufunc import Activation, activation, formula
from actufunc.accuracy import reference
from actufunc.backends import array_api_ops
from actufunc.backends.codegen import identifier
from actufunc.backends.cupy.codegen.elementwise import primitives
from actufunc.backends.numpy.codegen.primitives import FUNCTIONS, PRIMITIVES
from actufunc.formula import operations
from actufunc.formula.expression import Expression, apply
from actufunc.formula.lowering import lowered
from actufunc.formula.registry import OPERATIONS, Operation

if TYPE_CHECKING:
    from collections.abc import Callable, Container

COMPUTED = [each for each in OPERATIONS.values() if each.arity]
ELEMENTWISE = [each for each in COMPUTED if not each.reduction and not each.part]
X = np.array([-0.8, -0.45, -0.1, 0.15, 0.4, 0.85])


class ArrayApi:
    """The operations that need no composition in the standard's namespace."""

    def __contains__(self, name: str) -> bool:
        known = OPERATIONS[name]
        own = name in array_api_ops._FUNCTIONS or hasattr(array_api_strict, name)
        return own or known.operator is not None or known.reduction


BACKENDS: dict[str, Container[str]] = {
    "numpy": PRIMITIVES,
    **{f"cuda {dtype}": primitives(np.dtype(dtype)) for dtype in ("float16", *DTYPES)},
    "array API": ArrayApi(),
}


def applied(operation: Operation, x: Expression) -> Expression:
    """Apply an operation to operands that all depend on x."""
    assert operation.arity is not None
    operands: list[Any] = [x, 0.3 * x + 0.2, 0.5 * x][: operation.arity]
    if operation.name == "where":
        operands[0] = x < operands[1]
    result = apply(operation.name, *operands)
    return formula.where(result, 1 + x, 1 - x) if operation.condition else result


def function_of(operation: Operation) -> Activation:
    def apply_one(x: Expression) -> Expression:
        return applied(operation, x)

    apply_one.__name__ = f"apply_{operation.name}"
    return activation(apply_one)


def exact(function: Activation, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return reference(function, x).astype(np.float64)


def points(function: Activation, dtype: str = "float64") -> np.ndarray[Any, Any]:
    """Return points at which a function is defined."""
    x = X.astype(dtype)
    return x[np.isfinite(exact(function, x))]


every_operation = pytest.mark.parametrize("operation", ELEMENTWISE, ids=lambda each: each.name)


# The records.


@pytest.mark.parametrize("operation", COMPUTED, ids=lambda each: each.name)
def test_who_uses_the_vocabulary_meets_every_operation(operation: Operation) -> None:
    function = getattr(operations, operation.name, None)
    assert (function is None) is (operation.operator is not None or operation.part)
    if function is not None:
        assert len(inspect.signature(function).parameters) == operation.arity


@every_operation
def test_derivative(operation: Operation) -> None:
    """It is the slope of the values, at the points where these have one."""
    function, step = function_of(operation), 2.0**-20
    x = points(function)
    above, below = (reference(function, x + side * step) for side in (1, -1))
    slopes = ((above - below) / (2 * step)).astype(np.float64)
    np.testing.assert_allclose(exact(function.grad, x), slopes, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("operation", [each for each in COMPUTED if each not in ELEMENTWISE], ids=lambda o: o.name)
def test_what_is_not_elementwise_has_no_derivative(operation: Operation) -> None:
    assert operation.derivative is None


@pytest.mark.parametrize("operation", [each for each in ELEMENTWISE if each.composition], ids=lambda each: each.name)
def test_composition_is_the_operation(operation: Operation) -> None:
    @activation
    def composed(x: Expression) -> Expression:
        return lowered(applied(operation, x), OPERATIONS.keys() - {operation.name})

    assert operation.name not in {node.operation for node in composed.definition.differentiable().nodes()}
    x = points(composed)
    difference = reference(function_of(operation), x) - reference(composed, x)
    assert np.all(abs(difference) < 1e-30)


# The backends.


@pytest.mark.parametrize(
    ("backend", "operation"),
    [
        (backend, each)
        for backend, has in BACKENDS.items()
        for each in COMPUTED
        if each.name not in has and not each.part
    ],
    ids=lambda each: getattr(each, "name", each),
)
def test_what_a_backend_lacks_has_a_composition(backend: str, operation: Operation) -> None:
    assert operation.composition is not None, f"{operation.name} needs a function of {backend}, or a composition"


def test_functions_of_numpy_have_records() -> None:
    assert OPERATIONS.keys() >= {name for names in FUNCTIONS.values() for name in names}


@every_operation
def test_numpy(operation: Operation) -> None:
    function = function_of(operation)
    x = points(function)
    np.testing.assert_allclose(function(x), exact(function, x), rtol=1e-15)


@every_operation
@pytest.mark.parametrize("library", [name for name in LIBRARIES if name not in {"numpy", "cupy"}])
def test_array_api(library: str, operation: Operation) -> None:
    xp, function = load(library), function_of(operation)
    x = points(function)
    np.testing.assert_allclose(xp.asnumpy(function(xp.make(x))), exact(function, x), rtol=1e-13, atol=1e-15)


def check_on_host(*functions: Activation) -> None:
    """Check what CUDA's text computes, compiled for the host."""
    kernels = [Kernel(function, (), dtype) for function in functions for dtype in DTYPES]
    library = compile_text("".join(map(loop, kernels)), STRICT)
    for kernel in kernels:
        x = points(kernel.function, kernel.dtype)
        result = call(library[f"loop_{kernel.symbol}"], {"x": x})
        np.testing.assert_allclose(result, exact(kernel.function, x), 8 * np.finfo(x.dtype).eps, err_msg=repr(kernel))


def test_cuda() -> None:
    check_on_host(*map(function_of, ELEMENTWISE))


# A new operation.


@pytest.fixture
def arctanh(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], Expression]:
    """An operation that is a record and nothing else."""
    log1p = formula.log1p
    record = Operation(
        "arctanh",
        1,
        derivative=lambda x: 1 / ((1 - x) * (1 + x)),
        composition=lambda x: 0.5 * (log1p(x) - log1p(-x)),
    )
    monkeypatch.setitem(OPERATIONS, "arctanh", record)
    return lambda x: apply("arctanh", x)


def test_record_alone_is_enough(arctanh: Callable[[Any], Expression]) -> None:
    @activation
    def own(x: Expression, scale: float = 0.5) -> Expression:
        return arctanh(scale * x)

    @activation
    def total(x: Expression) -> Expression:
        return formula.axis_sum(arctanh(x))

    def slope(x: Any) -> Any:
        return 0.5 / (1 - x * x / 4)

    for dtype, tolerance in (("float64", 1e-15), ("float32", 1e-7), ("float16", 1e-3)):
        x = X.astype(dtype)
        wide = x.astype(np.float64)
        np.testing.assert_allclose(own(x), np.arctanh(wide / 2), rtol=tolerance)
        np.testing.assert_allclose(own.grad(x), slope(wide), rtol=tolerance)
        np.testing.assert_allclose(own.vjp(x, x), wide * slope(wide), rtol=2 * tolerance)
        np.testing.assert_allclose(total(x), np.arctanh(wide).sum(), rtol=10 * tolerance)
    x = array_api_strict.asarray(X)
    np.testing.assert_allclose(np.asarray(own(x)), np.arctanh(X / 2), rtol=1e-15)
    np.testing.assert_allclose(np.asarray(own.grad(x)), slope(X), rtol=1e-15)
    np.testing.assert_allclose(exact(own, X), np.arctanh(X / 2), rtol=1e-15)
    assert Activation.from_config(own.get_config())(0.5) == own(0.5)
    assert own.formula == "arctanh(scale*x)"


def test_record_alone_is_enough_for_cuda(arctanh: Callable[[Any], Expression]) -> None:
    @activation
    def own(x: Expression) -> Expression:
        return arctanh(x)

    check_on_host(own, own.grad)

    @activation
    def total(x: Expression) -> Expression:
        return x / formula.axis_sum(arctanh(x))

    assert f"log1p({identifier('x')})" in total.source("cuda", "float64")

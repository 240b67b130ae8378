"""Derivatives that torch and JAX take: of any order, in the tails, under transformations and compilers."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from array_libraries import Library, jax_module, load
from cases import ELEMENTWISE, Case, cases, representatives
from test_namespaces import ROUNDED_ARGUMENT, WITH_HYPERPARAMETERS, asnumpy, dtype_name

import actufunc
from actufunc import activation
from actufunc.backends import delegation
from actufunc.formula import absolute, exp, maximum, minimum

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Numbers = np.ndarray[Any, Any]

pytestmark = [  # what torch says of its own forward mode
    pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:There is a performance drop .* aten..glu.*jvp:UserWarning"),
]

ALL = cases()
every_function = pytest.mark.parametrize("case", ALL, ids=repr)
elementwise = pytest.mark.parametrize("case", ELEMENTWISE, ids=repr)
with_hyperparameters = pytest.mark.parametrize("case", WITH_HYPERPARAMETERS, ids=repr)
both = pytest.mark.parametrize("name", ["torch", "jax"])

GENERIC = np.array([[-2.3, -0.7, 0.4, 1.3], [1.9, 0.1, -1.1, -0.2]])  # no kink, no tie
COTANGENT = np.array([[0.5, -1.5, 2.0, 1.0], [1.0, 0.25, -0.75, 3.0]])
TAILS = np.array(
    [0.0, 0.5, -0.7, 2.5, 8, -8, 16, -16, 30, -30, 80, -80, 700, -700, 1e20, -1e20, np.inf, -np.inf, np.nan]
)

# Derivatives at zero of the libraries' own functions that are not those of the left-hand piece.
SLOPES = {("jax", "leaky_relu"): 1.0}

# Functions of torch that lack a part of their own, and what torch says.
NO_FORWARD_MODE = {"glu": "derivative for aten::glu_jvp is not implemented"}


def points(case: Case) -> Numbers:
    """Return points without kink or tie, where the function has a value."""
    with np.errstate(invalid="ignore"):
        return GENERIC if np.isfinite(case(GENERIC)).all() else np.abs(GENERIC) / 3


def maps(case: Case) -> Iterator[tuple[str, Callable[[Any], Any]]]:
    """Yield the function and its derivatives as functions of `x` alone."""
    yield "value", case
    if case in ELEMENTWISE:
        yield "grad", case.grad
    yield "vjp", lambda x: case.vjp(x, case(x))


def has_formula(name: str, case: Case) -> bool:
    """Tell whether no function of the library's own serves this case."""
    return case.function.__name__ not in {"torch": delegation._torch, "jax": delegation._jax}[name]()


def autograd(library: Library, function: Callable[[Any], Any], x: Numbers) -> Numbers:
    """Let the library differentiate an elementwise function."""
    if library.name == "torch":
        leaf = library.asarray(x).requires_grad_()
        function(leaf).sum().backward()
        return asnumpy(library, leaf.grad)
    slopes = jax_module().grad(lambda x: function(x).sum())
    return np.asarray(jax_module().jit(slopes)(library.asarray(x)))


# Accuracy, and kinks.


@both
@elementwise
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_autograd_is_as_accurate_as_grad(name: str, case: Case, dtype: str) -> None:
    """Where the formula computes, at every number; the libraries' own functions lose tails and infinities."""
    library, info = load(name), np.finfo(dtype)
    x, atol = TAILS.astype(dtype), 1000 * info.tiny
    if not has_formula(name, case):
        x, atol = x[np.abs(x) <= 30], 64 * info.eps
    with np.errstate(all="ignore"):
        expected = case.grad(x)
    if (name, repr(case)) in SLOPES:
        expected[x == 0] = SLOPES[name, repr(case)]
    rtol = (40 if repr(case) in ROUNDED_ARGUMENT else 8) * info.eps
    np.testing.assert_allclose(autograd(library, case, x), expected, rtol=rtol, atol=atol)


@activation
def clipped_relu(x: Any, top: float = 6) -> Any:
    return minimum(maximum(x, 0), top)


@activation
def triangle(x: Any) -> Any:
    return maximum(1 - absolute(x), 0)


@both
@pytest.mark.parametrize("function", [clipped_relu, triangle], ids=lambda function: function.__name__)
def test_autograd_of_own_activation_at_kink(name: str, function: actufunc.Activation) -> None:
    x = np.array([-2.0, -1.0, 0.0, 0.5, 1.0, 6.0, 7.0])
    np.testing.assert_array_equal(autograd(load(name), function, x), function.grad(x))


@both
@with_hyperparameters
def test_autograd_of_formula_at_kink(name: str, case: Case) -> None:
    library = load(name)
    x = np.array([-1.0, 0.0, 1.0])
    given = {key: np.full(3, 0.75) for key in case.function.definition.hyperparameters}
    arrays = {key: library.asarray(value) for key, value in given.items()}
    slopes = autograd(library, lambda x: case.function(x, **arrays), x)
    np.testing.assert_allclose(slopes, case.function.grad(x, **given), rtol=1e-14)


@both
def test_custom_derivative_is_taken(name: str) -> None:
    """Also where the function is part of another; its own derivative is that of the custom derivative."""

    @activation
    def custom(x: Any, alpha: float = 2) -> Any:
        return alpha * x

    custom.derivative(lambda x, alpha: 10 * alpha * x)
    custom.derivative(lambda x, alpha: exp(x), wrt="alpha")

    @activation
    def outer(x: Any) -> Any:
        return custom(3 * x) + x

    library, x = load(name), np.array([-1.5, 0.25])
    np.testing.assert_allclose(autograd(library, custom, x), 20 * x)
    np.testing.assert_allclose(autograd(library, outer, x), 3 * 20 * 3 * x + 1)
    np.testing.assert_allclose(autograd(library, custom.grad, x), [20, 20])
    by_alpha = autograd(library, lambda alpha: custom(library.asarray(x), alpha), np.array([2.0, 2.0]))
    np.testing.assert_allclose(by_alpha, np.exp(x))


@both
@pytest.mark.parametrize(("shape", "axis"), [((2, 1), 1), ((4,), 0), ((), (0, 1)), ((1, 2, 1), 2)], ids=str)
def test_gradient_by_a_hyperparameter_has_its_shape(name: str, shape: tuple[int, ...], axis: Any) -> None:
    library, alpha = load(name), np.full(shape, 0.25)
    slopes = autograd(library, lambda alpha: actufunc.prelu(library.asarray(GENERIC), alpha), alpha)
    expected = actufunc.prelu.grad(GENERIC, alpha, wrt="alpha").sum(axis).reshape(shape)
    np.testing.assert_allclose(slopes, expected, rtol=1e-15)


@both
@pytest.mark.parametrize("case", [case for case in ALL if case.function.definition.over_axis], ids=repr)
@pytest.mark.parametrize("axis", [-1, 0, None], ids=str)
def test_gradient_of_what_takes_part(name: str, case: Case, axis: Any) -> None:
    library, mask = load(name), GENERIC > -1
    mask[1] &= axis is None  # else nothing of this row takes part
    x = np.where(mask, GENERIC, np.nan)
    g = np.cos(np.arange(case(x, axis=axis, where=mask).size)).reshape(case(x, axis=axis).shape)

    def weighted(x: Any) -> Any:
        return case(x, axis=axis, where=library.asarray(mask)) * library.asarray(g)

    expected = case.vjp(x, g, axis=axis, where=mask)
    np.testing.assert_allclose(autograd(library, weighted, x), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("name", "case"),
    [*(("torch", case) for case in ALL), *(("jax", case) for case in representatives(ALL))],
    ids=str,
)
@pytest.mark.parametrize("shape", [(0, 4), (2, 0)], ids=str)
def test_empty_arrays_keep_the_graph(name: str, case: Case, shape: tuple[int, ...]) -> None:
    """Also an empty array has a gradient, which is empty, and so has the vjp by both of its arrays."""
    library, kind = load(name), case.function.definition.kind
    for axis in [-1, 0, None] if "axis" in kind or kind == "reducing" else [-1, 0] if kind == "gated" else [None]:
        keywords = {} if axis is None and kind == "elementwise" else {"axis": axis}
        function, vjp = (functools.partial(each, **keywords) for each in (case, case.vjp))
        expected = function(np.zeros(shape))
        np.testing.assert_array_equal(asnumpy(library, function(library.asarray(np.zeros(shape)))), expected)
        assert autograd(library, function, np.zeros(shape)).shape == shape
        x, g = library.asarray(np.zeros(shape)), library.asarray(np.zeros(expected.shape))
        assert autograd(library, lambda x, g=g, vjp=vjp: vjp(x, g), np.zeros(shape)).shape == shape
        assert autograd(library, lambda g, x=x, vjp=vjp: vjp(x, g), np.zeros(expected.shape)).shape == expected.shape


# torch.


@every_function
def test_torch_gradcheck(case: Case) -> None:
    torch = load("torch").module
    x = torch.tensor(points(case)[:, :2], requires_grad=True)
    for _, function in maps(case):
        assert torch.autograd.gradcheck(function, (x,), check_forward_ad=True)
        assert torch.autograd.gradgradcheck(function, (x,))


@with_hyperparameters
def test_torch_gradcheck_by_hyperparameters(case: Case) -> None:
    torch = load("torch").module
    x = torch.tensor(GENERIC, requires_grad=True)
    for name in case.function.definition.hyperparameters:
        value = torch.tensor([[0.75], [1.25]], dtype=torch.float64, requires_grad=True)

        def function(x: Any, value: Any, name: str = name) -> Any:
            return case.function(x, **{**dict(case.keywords), name: value})

        assert torch.autograd.gradcheck(function, (x, value), check_forward_ad=True)
        assert torch.autograd.gradgradcheck(function, (x, value))


@every_function
def test_torch_func(case: Case) -> None:
    func = load("torch").module.func
    x = load("torch").asarray(points(case))
    close = functools.partial(np.testing.assert_allclose, rtol=1e-12, atol=1e-14)
    for _, function in maps(case):
        close(func.vmap(function)(x), function(x))
    ones = np.ones(case(x).shape)
    close(func.vmap(func.grad(lambda row: case(row).sum()))(x), case.vjp(points(case), ones))
    jacobian = func.jacrev(case)(x[0])
    close(func.jacfwd(case)(x[0]), jacobian)
    close(func.jvp(case, (x[0],), (x[1],))[1], jacobian @ x[1])
    hessian = func.jacrev(func.jacrev(case))(x[0])
    if repr(case) in NO_FORWARD_MODE:
        with pytest.raises(RuntimeError, match=NO_FORWARD_MODE[repr(case)]):
            func.jacrev(func.jacfwd(case))(x[0])
    else:
        close(func.jacrev(func.jacfwd(case))(x[0]), hessian)
        close(func.jacfwd(func.jacrev(case))(x[0]), hessian)


@elementwise
def test_torch_stores_only_the_arguments(case: Case) -> None:
    """No formula leaves autograd an intermediate to keep; the library's own functions may keep their results."""
    torch = load("torch").module
    for what, function in maps(case):
        if what == "value" and not has_formula("torch", case):
            continue
        x = torch.tensor(points(case), requires_grad=True)
        g = torch.ones_like(x, requires_grad=True)
        addresses = set()

        def pack(stored: Any, addresses: set[int] = addresses) -> Any:
            if stored.numel() > 1:  # a number may have become an array
                addresses.add(stored.data_ptr())
            return stored

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda stored: stored):
            result = case.vjp(x, g) if what == "vjp" else function(x)
        assert result.requires_grad
        assert {x.data_ptr()} <= addresses <= {x.data_ptr(), g.data_ptr()}, what


@every_function
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_torch_half_types_are_rounded_once(case: Case, dtype: str) -> None:
    torch = load("torch").module
    x = torch.tensor(points(case), dtype=getattr(torch, dtype), requires_grad=True)
    g = torch.cos(case(x)).detach()
    case(x).backward(g)
    assert dtype_name(x.grad) == dtype
    eps, is_formula = torch.finfo(x.dtype).eps, case in ELEMENTWISE and has_formula("torch", case)
    rtol, atol = (0.51 * eps, 0) if is_formula else (2 * eps, eps)
    torch.testing.assert_close(x.grad.double(), case.vjp(x.detach().double(), g.double()), rtol=rtol, atol=atol)


def test_torch_parameter() -> None:
    torch = load("torch").module
    x, slopes = torch.tensor(GENERIC), torch.nn.Parameter(torch.full((4,), 0.25, dtype=torch.float64))
    actufunc.prelu(x, slopes).sum().backward()
    torch.testing.assert_close(slopes.grad, actufunc.prelu.grad(x, slopes.detach(), wrt="alpha").sum(0))


# torch.compile: one graph, and no call of ours is left in it.


@pytest.mark.parametrize(
    ("case", "backend"),
    [(case, "eager") for case in ALL] + [(case, "aot_eager") for case in representatives(ALL)],
    ids=str,
)
def test_torch_compile(dynamo: Any, case: Case, backend: str) -> None:
    torch = load("torch").module

    def function(x: Any) -> Any:
        results = [result(x) for _, result in maps(case)]
        return sum((result * result).sum() for result in results), results

    x = torch.tensor(points(case), requires_grad=True)
    total, results = dynamo(function, backend=backend)(x)
    expected_total, expected = function(x)
    close = functools.partial(torch.testing.assert_close, rtol=1e-12, atol=1e-14)
    close(results, expected)
    close(*(torch.autograd.grad(each, x) for each in (total, expected_total)))


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_torch_compile_reads_an_activation_it_meets_first(dynamo: Any, backend: str) -> None:
    """With its derivatives, its hyperparameters as numbers that change, and transformations around it."""
    torch = load("torch").module

    @activation
    def bump(x: Any, width: float = 1) -> Any:
        return exp(-x * x / width)

    def function(x: Any, width: float) -> Any:
        inner = torch.func.vmap(torch.func.grad(lambda row: bump(row).sum()))(x)
        return bump(x, width) + bump.grad(x, width=width) * bump.vjp(x, x, wrt="width") + inner

    compiled = dynamo(function, backend=backend)
    x = torch.tensor(GENERIC)
    with torch._dynamo.config.patch(recompile_limit=4):  # fewer than there are widths
        for width in (1.5, 2.5, 3.5, 4.5, 5.5, 6.5):
            torch.testing.assert_close(compiled(x, width), function(x, width), rtol=1e-12, atol=1e-14)


def test_torch_compile_a_model_of_several_kinds(dynamo: Any) -> None:
    torch = load("torch").module

    def function(x: Any, slopes: Any) -> Any:
        over_axes = actufunc.softmax(x, axis=(0, 1)) * actufunc.sparsemax(x, where=x > 0, axis=0)
        halved = actufunc.swiglu(x, axis=0) * actufunc.logsumexp(x, axis=None)
        return over_axes.sum() + halved.sum() + (actufunc.silu(x, beta=1.5) * actufunc.prelu(x, slopes)).sum()

    arguments = [torch.tensor(values, requires_grad=True) for values in (GENERIC, [[0.5], [0.25]])]
    results = [compute(*arguments) for compute in (function, dynamo(function))]
    torch.testing.assert_close(*results, rtol=1e-12, atol=0)
    torch.testing.assert_close(*(torch.autograd.grad(r, arguments) for r in results), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("case", [Case(actufunc.softmax), Case(actufunc.silu)], ids=repr)
def test_torch_compile_after_calls_on_numpy_arrays(dynamo: Any, case: Case) -> None:
    """What is kept of those it must not look at: keys with -1 and -2 have the same hash, and dtypes no comparison."""
    torch = load("torch").module
    hyperparameter = "axis" if case.function.definition.over_axis else "beta"
    for value in (-1, -2):
        case(np.ones((2, 3)), **{hyperparameter: value})
    x = torch.tensor(GENERIC)
    torch.testing.assert_close(dynamo(case.function.__call__, backend="eager")(x), case(x), rtol=1e-12, atol=1e-14)


def test_torch_compile_tells_activations_apart(dynamo: Any) -> None:
    """One layer is compiled once for each activation that it is given, with gradients and without."""
    torch = load("torch").module
    compiled = dynamo(lambda function, x: function(x), backend="eager")
    for function in (actufunc.sigmoid, actufunc.mish, actufunc.mish.grad):
        for requires_grad in (False, True):
            x = torch.tensor(GENERIC, requires_grad=requires_grad)
            torch.testing.assert_close(compiled(function, x), function(x), rtol=1e-12, atol=1e-14)


@pytest.mark.filterwarnings("ignore:Dynamo detected a call to:UserWarning")
def test_torch_compile_leaves_other_arguments_to_python(dynamo: Any) -> None:
    compiled = dynamo(lambda x: x * actufunc.sigmoid(0.0), fullgraph=False)
    assert compiled(load("torch").asarray(GENERIC)).tolist() == (GENERIC / 2).tolist()


# JAX.


@pytest.fixture
def jax() -> Iterator[Any]:
    """Yield JAX, which compiles in half the time."""
    module = jax_module()
    module.config.update("jax_disable_most_optimizations", val=True)
    yield module
    module.config.update("jax_disable_most_optimizations", val=False)


@every_function
def test_jax_transformations(jax: Any, case: Case) -> None:
    values = points(case)

    @jax.jit
    def transformed(x: Any) -> dict[str, Any]:
        def total(x: Any) -> Any:
            return case(x).sum()

        return {
            "vmap": jax.vmap(case)(x),
            "maps": [function(x) for _, function in maps(case)],
            "grad": jax.grad(total)(x),
            "forward": jax.jvp(case, (x[0],), (x[1],))[1],
            "jacobians": (jax.jacfwd(case)(x[0]), jax.jacrev(case)(x[0])),
            "reverse over reverse": jax.grad(lambda x: (jax.grad(total)(x) * COTANGENT).sum())(x),
            "forward over reverse": jax.jvp(jax.grad(total), (x,), (jax.numpy.asarray(COTANGENT),))[1],
        }

    results = jax.tree.map(np.asarray, transformed(jax.numpy.asarray(values)))
    close = functools.partial(np.testing.assert_allclose, rtol=1e-11, atol=1e-13)
    close(results["vmap"], case(values))
    for result, (what, function) in zip(results["maps"], maps(case), strict=True):
        close(result, function(values), err_msg=what)
    close(results["grad"], case.vjp(values, np.ones(case(values).shape)))
    forward, reverse = results["jacobians"]
    close(forward, reverse)
    close(forward @ values[1], results["forward"])
    close(results["reverse over reverse"], results["forward over reverse"])
    if case in ELEMENTWISE:
        close(results["reverse over reverse"], Case(case.function.grad, case.keywords).vjp(values, COTANGENT))


@with_hyperparameters
def test_jax_traced_hyperparameters(jax: Any, case: Case) -> None:
    for name in case.function.definition.hyperparameters:

        def function(value: Any, x: Any = GENERIC, name: str = name) -> Any:
            return case.function(jax.numpy.asarray(x), **{**dict(case.keywords), name: value})

        single = functools.partial(function, x=GENERIC.astype("float32"))
        assert jax.eval_shape(single, 0.75).dtype == "float32", "a scalar never promotes"
        result, slope = jax.jit(lambda value: (function(value), jax.jacfwd(function)(value)))(0.75)
        given = {**dict(case.keywords), name: 0.75}
        np.testing.assert_allclose(result, case.function(GENERIC, **given), rtol=1e-13, atol=1e-15)
        np.testing.assert_allclose(slope, case.function.grad(GENERIC, **given, wrt=name), rtol=1e-12, atol=1e-15)

"""Activations as modules of torch: parameters, state, graphs that are traced, compiled and exported."""

from __future__ import annotations

import copy
import functools
import importlib
import io
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import Case, cases, mostly_slow, representatives
from test_autodiff import GENERIC, points
from test_namespaces import WITH_HYPERPARAMETERS

import actufunc
from actufunc import activation, gelu, logsumexp, prelu, relu, sigmoid, silu, softmax, swiglu
from actufunc.formula import exp

pytestmark = [  # what torch says of itself
    pytest.mark.needs_library("torch"),
    pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec.:FutureWarning"),
]

torch = pytest.importorskip("torch")
layers = importlib.import_module("actufunc.layers.torch")

ALL = cases()
every_function = pytest.mark.parametrize("case", ALL, ids=repr)


def operations(case: Case) -> set[str]:
    definition = case.function.definition
    return {node.operation for node in definition.formula(definition.options).nodes()}


# What compiles or exports takes its time: one function of every kind, and those that sort, do.
SORTING = [case for case in ALL if "axis_threshold" in operations(case)]
QUICK = [*representatives(ALL), *SORTING]
FIRST = [*{case.function.definition.kind: case for case in reversed(ALL)}.values(), *SORTING]
close = functools.partial(torch.testing.assert_close, rtol=1e-12, atol=1e-14)


@activation
def bent(x: Any, slope: float = 1, shift: float = 0) -> Any:
    """Sigmoid with a slope and a shift."""
    return sigmoid(slope * (x - shift))


def layer(case: Case, **keywords: Any) -> Any:
    return layers.Activation(case.function, **dict(case.keywords), **keywords).eval()


def learning(case: Case) -> Any:
    """Return a layer that learns all of its hyperparameters."""
    return layer(case, learn=tuple(case.function.definition.hyperparameters))


def model() -> Any:
    """Return one that has parameters, buffers, numbers and options of activations."""
    return torch.nn.Sequential(
        torch.nn.Linear(4, 4),
        layers.Activation(silu, beta=1.5, learn="beta"),
        layers.Activation(prelu, alpha=torch.linspace(-0.5, 1, 4), learn=["alpha"]),
        layers.Activation(prelu, alpha=torch.linspace(0.25, 1, 4)),
        layers.Activation(bent, slope=2, learn="shift"),
        layers.Activation(gelu, approximate="tanh"),
        layers.Activation(softmax, axis=0),
    ).eval()


# Values, and derivatives.


@every_function
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_computes_what_the_function_does(case: Case, dtype: Any) -> None:
    x = torch.tensor(points(case), dtype=dtype)
    for module in (layer(case), learning(case).to(dtype)):
        result = module(x)
        assert result.dtype == dtype
        given = {name: getattr(module, name) for name in case.function.definition.hyperparameters if module._parameters}
        torch.testing.assert_close(result, case.function(x, **{**dict(case.keywords), **given}), rtol=0, atol=0)


@pytest.mark.parametrize("case", WITH_HYPERPARAMETERS, ids=repr)
@pytest.mark.parametrize("shape", [(), (4,), (2, 1)], ids=str)
def test_learns_by_the_derivatives_of_hyperparameters(case: Case, shape: tuple[int, ...]) -> None:
    numbers = {**case.function.definition.hyperparameters, **dict(case.keywords)}
    names = tuple(numbers)
    given = {name: torch.full(shape, value, dtype=torch.float64) for name, value in numbers.items()}
    module = layers.Activation(case.function, learn=names, **given)
    assert [*dict(module.named_parameters())] == [*names]
    x = torch.tensor(GENERIC, requires_grad=True)
    module(x).sum().backward()
    for name, value in module.named_parameters():
        slopes = torch.tensor(case.function.grad(GENERIC, **numbers, wrt=name))
        close(value.grad, slopes.sum_to_size(shape))

    def function(x: Any, *values: Any) -> Any:
        return torch.func.functional_call(module, dict(zip(names, values, strict=True)), x)

    arguments = (x, *module.parameters())
    assert torch.autograd.gradcheck(function, arguments)
    assert torch.autograd.gradgradcheck(function, arguments)


def test_function_transforms() -> None:
    """Jacobians by parameters, in both modes, and an ensemble of models."""
    func, x = torch.func, torch.tensor(GENERIC)
    models = [model().double() for _ in range(2)]
    parameters, buffers = func.stack_module_state(models)
    results = func.vmap(lambda p, b: func.functional_call(models[0], (p, b), x))(parameters, buffers)
    close(results, torch.stack([each(x) for each in models]))

    def by_parameters(values: Any) -> Any:
        return func.functional_call(models[0], values, x)

    given = dict(models[0].named_parameters())
    close(func.jacrev(by_parameters)(given), func.jacfwd(by_parameters)(given))


def test_finds_slope_and_shift() -> None:
    x = torch.linspace(-3, 3, 50, dtype=torch.float64)
    module = layers.Activation(bent, learn=("slope", "shift")).double()
    optimizer = torch.optim.LBFGS(module.parameters(), max_iter=100, tolerance_change=0, line_search_fn="strong_wolfe")

    def closure() -> Any:
        optimizer.zero_grad()
        loss = ((module(x) - bent(x, slope=2.5, shift=-0.5)) ** 2).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert module.slope.item() == pytest.approx(2.5, rel=1e-6)
    assert module.shift.item() == pytest.approx(-0.5, rel=1e-6)


def test_readme() -> None:
    text = (Path(__file__).parents[2] / "README.md").read_text()
    (code,) = re.findall(r"^```python\n([^`]*actufunc.layers.torch.*?)^```$", text, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {"__name__": __name__}
    exec(code, names)  # noqa: S102
    assert all(value.grad is not None for value in names["model"].parameters())
    assert "1.beta" in names["model"].state_dict()


# State.


def test_repr() -> None:
    assert str(model()).splitlines()[2:-1] == [
        "  (1): Activation(silu, beta=1.5, learn='beta')",
        "  (2): Activation(prelu, alpha=<shape (4,)>, learn='alpha')",
        "  (3): Activation(prelu, alpha=<shape (4,)>)",
        "  (4): Activation(bent, shift=0, slope=2, learn='shift')",
        "  (5): Activation(gelu, approximate='tanh')",
        "  (6): Activation(softmax, axis=0)",
    ]
    assert repr(layers.Activation(relu)) == "Activation(relu)"
    assert repr(layers.Activation(bent, learn=("slope", "shift")).to("meta")) == (
        "Activation(bent, slope=<shape ()>, shift=<shape ()>, learn=('slope', 'shift'))"
    )


def test_state_dict() -> None:
    one, other, x = model(), model(), torch.randn(3, 4)
    names = ["0.weight", "0.bias", "1.beta", "2.alpha", "3.alpha", "4.shift"]
    assert [*one.state_dict()] == names
    assert [name for name, _ in one.named_buffers()] == ["3.alpha"]
    with torch.no_grad():
        for value in one.parameters():
            value.add_(0.25)
    assert not torch.equal(one(x), other(x))
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(x), other(x))


def saved(module: Any) -> Any:
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m)), saved])  # noqa: S301
def test_copies(duplicate: Any) -> None:
    one, x = model(), torch.randn(3, 4)
    other = duplicate(one)
    assert torch.equal(one(x), other(x))
    with torch.no_grad():
        other[1].beta += 1
        other[3].alpha += 1
    assert one[1].beta == 1.5
    assert one[3].alpha[0] == 0.25


@pytest.mark.parametrize("target", [torch.float64, torch.bfloat16, torch.device("meta")], ids=str)
def test_moves(target: Any) -> None:
    module = model().to(target)
    for value in module.state_dict().values():
        assert target in (value.dtype, value.device)
    x = torch.ones(3, 4).to(target)
    assert target in (module(x).dtype, module(x).device)


def test_a_parameter_may_be_shared_and_a_tensor_is_not() -> None:
    shared, values = torch.nn.Parameter(torch.ones(4)), torch.ones(4)
    assert layers.Activation(prelu, alpha=shared).alpha is layers.Activation(prelu, alpha=shared, learn="alpha").alpha
    one, other = (layers.Activation(prelu, alpha=values, learn="alpha") for _ in range(2))
    with torch.no_grad():
        one.alpha += 1
    assert torch.equal(other.alpha, values)
    assert torch.equal(values, torch.ones(4))


# Graphs.


@every_function
def test_fx(case: Case) -> None:
    """Each is one node, with parameters as those of the graph; the code of the graph imports it."""
    x = torch.tensor(points(case))
    for module in (layer(case), learning(case).double()):
        traced = torch.fx.symbolic_trace(module)
        assert [node.target for node in traced.graph.nodes if node.op == "call_function"] == [case.function]
        again = pickle.loads(pickle.dumps(traced))  # noqa: S301
        assert dict(again.named_parameters()).keys() == dict(module.named_parameters()).keys()
        for graph in (traced, again, copy.deepcopy(traced)):
            assert torch.equal(graph(x), module(x))


@every_function
def test_fx_of_derivatives(case: Case) -> None:
    x = torch.tensor(points(case))
    g = torch.cos(case(x))
    assert torch.equal(torch.fx.symbolic_trace(lambda x, g: case.vjp(x, g))(x, g), case.vjp(x, g))  # noqa: PLW0108
    if case.function.definition.kind == "elementwise":
        assert torch.equal(torch.fx.symbolic_trace(lambda x: case.grad(x))(x), case.grad(x))  # noqa: PLW0108


def test_fx_of_several_arrays() -> None:
    def function(x: Any, y: Any) -> Any:
        slopes = silu.vjp(x, y, beta=y, wrt=("x", "beta"))
        return swiglu(x, y) + silu(1.0, beta=x) + logsumexp(x, 0, where=y > 0) + slopes[0] * slopes[1]

    x, y = torch.tensor(GENERIC), torch.tensor(np.abs(GENERIC[::-1]))
    assert torch.equal(torch.fx.symbolic_trace(function)(x, y), function(x, y))


def test_stand_ins_for_tensors() -> None:
    """What takes torch's functions itself is handed the activation, as torch hands it its own."""

    class Recorded:
        @classmethod
        def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return function, types, args, kwargs

    class Refusing:
        @classmethod
        def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return NotImplemented

    x = Recorded()
    assert silu(x, 2.0) == (silu, (Recorded,), (x, 2.0), {})
    assert softmax(x, 0) == (softmax, (Recorded,), (x,), {"axis": 0})
    with pytest.raises(TypeError, match="silu is not supported by Refusing; convert to a tensor first"):
        silu(Refusing())


@pytest.mark.parametrize("case", QUICK, ids=repr)
def test_compile(dynamo: Any, case: Case) -> None:
    x = torch.tensor(points(case), requires_grad=True)
    for module in (layer(case), learning(case).double()):
        leaves = [x, *module.parameters()]
        results = [compute(x) for compute in (module, dynamo(module))]
        close(*results)
        close(*(torch.autograd.grad(result.square().sum(), leaves) for result in results))


@pytest.mark.parametrize("case", QUICK, ids=repr)  # of the others, ONNX makes the same export
def test_export(case: Case) -> None:
    x, module = torch.tensor(points(case)), learning(case).double()
    exported = torch.export.export(module, (x,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    longer = torch.cat([x, x])
    close(exported.module()(longer), module(longer))


@pytest.mark.parametrize("case", mostly_slow(ALL, FIRST), ids=repr)
@pytest.mark.needs_library("onnxscript", "onnxruntime")
def test_onnx(case: Case) -> None:
    import onnxruntime as runtime

    x = torch.tensor(points(case), dtype=torch.float32)
    longer, module = torch.cat([x, x + 0.125]), learning(case)
    program = torch.onnx.export(module, (x,), dynamo=True, verbose=False, dynamic_shapes=({0: "batch"},))
    session = runtime.InferenceSession(program.model_proto.SerializeToString())
    (result,) = session.run(None, {session.get_inputs()[0].name: longer.numpy()})
    expected = module(longer).detach().numpy()
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)  # onnxruntime is as accurate as that


# Mistakes.


@activation
def named_like_a_method(x: Any, half: float = 1) -> Any:
    return exp(x) * half


@pytest.mark.parametrize(
    ("function", "keywords", "message"),
    [
        (torch.relu, {}, "a layer applies an activation of one array, such as actufunc.silu, not <built-in"),
        ("relu", {}, "a layer applies an activation of one array"),
        (silu.vjp, {}, "a layer applies an activation of one array"),
        (silu, {"alpha": 1}, "a layer of silu has no 'alpha'; it has beta"),
        (relu, {"axis": 1}, "a layer of relu has no 'axis'; it has no hyperparameters"),
        (softmax, {"where": None}, "a layer of softmax has no 'where'; it has axis"),
        (prelu, {}, "prelu needs 'alpha'"),
        (prelu, {"learn": "alpha"}, "prelu needs 'alpha'"),
        (silu, {"learn": "alpha"}, "silu has no hyperparameter 'alpha' to learn; it has beta"),
        (gelu, {"learn": "approximate"}, "gelu has no hyperparameter 'approximate' to learn; it has none"),
        (softmax, {"learn": ["axis"]}, "softmax has no hyperparameter 'axis' to learn; it has none"),
        (silu, {"learn": 2.0}, "learn takes the names of hyperparameters, not 2.0"),
        (silu, {"beta": "1"}, "silu takes beta as a number or a tensor, not str"),
        (silu, {"beta": [1.0]}, "silu takes beta as a number or a tensor, not list"),
        (silu, {"beta": 1j, "learn": "beta"}, "silu takes beta as a number or a tensor, not complex"),
        (silu, {"beta": torch.ones(2, dtype=int), "learn": "beta"}, "silu can learn beta from a real floating-point"),
        (gelu, {"approximate": 1.0}, "gelu takes approximate= as a string or the like, not 1.0"),
        (named_like_a_method, {}, None),
        (named_like_a_method, {"half": 2}, "torch's modules have an attribute 'half'; rename that of named_like"),
    ],
)
def test_mistakes(function: Any, keywords: dict[str, Any], message: str | None) -> None:
    if message is None:
        assert layers.Activation(function)(torch.zeros(1)) == 1
        return
    with pytest.raises(TypeError, match=message):
        layers.Activation(function, **keywords)


def test_option_without_a_formula() -> None:
    with pytest.raises(ValueError, match="approximate must be 'none' or 'tanh', not 'quick'"):
        layers.Activation(gelu, approximate="quick")


def test_is_the_layer_of_the_framework() -> None:
    assert issubclass(layers.Activation, torch.nn.Module)
    assert not issubclass(layers.Activation, actufunc.Activation)

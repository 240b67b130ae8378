"""The inputs with which torch tests its own functions, and its checks of first and second derivatives."""

from __future__ import annotations

import importlib
import inspect
from typing import TYPE_CHECKING, Any

import pytest

import actufunc

if TYPE_CHECKING:
    from collections.abc import Iterator

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest")  # which torch.testing needs
pytestmark = pytest.mark.needs_library("torch", "expecttest")
OPERATORS = importlib.import_module("torch.testing._internal.common_methods_invocations").op_db

# What torch calls otherwise: functions and arguments.
FUNCTIONS = {
    "hardsigmoid": "hard_sigmoid",
    "hardswish": "hard_silu",
    "hardtanh": "hard_tanh",
    "hardshrink": "hard_shrink",
    "softshrink": "soft_shrink",
    "tanhshrink": "tanh_shrink",
    "logsigmoid": "log_sigmoid",
}
ARGUMENTS = {"dim": "axis", "keepdim": "keepdims", "weight": "alpha"}
LARGEST = 10_000
FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def ours(operator: Any) -> Any:
    """Return our function of the same name; None if there is none."""
    name = operator.name.removeprefix("nn.functional.")
    found = getattr(actufunc, FUNCTIONS.get(name, name), None)
    return found if isinstance(found, actufunc.Activation) and operator.variant_test_name != "complex" else None


@pytest.fixture(params=[each for each in OPERATORS if ours(each)], ids=lambda each: each.formatted_name)
def operator(request: pytest.FixtureRequest) -> Any:
    """Each of torch's functions that is one of ours too."""
    return request.param


def calls(operator: Any, samples: Iterator[Any]) -> Iterator[tuple[Any, Any, list[Any]]]:
    """Yield our function and torch's, of what both take, and the tensors to call them with."""
    function = ours(operator)
    taken = [*function.definition.hyperparameters, *function.definition.options, "axis", "keepdims"]
    names = [name for name in taken if name in inspect.signature(function).parameters]
    for sample in samples:
        keywords = {ARGUMENTS.get(name, name): value for name, value in sample.kwargs.items()}
        keywords |= zip(names, sample.args, strict=False)
        keywords = {name: value for name, value in keywords.items() if name in names}
        tensors = {name: value for name, value in keywords.items() if isinstance(value, torch.Tensor)}
        if sample.input.ndim == 0 and "axis" in names:  # torch takes 0 for an axis of a scalar
            continue
        if "alpha" in tensors and tensors["alpha"].ndim and sample.input.ndim != 1:  # torch's is one for each channel
            continue
        scalars = {name: value for name, value in keywords.items() if name not in tensors}
        of_torch = {name: value for name, value in sample.kwargs.items() if ARGUMENTS.get(name, name) in keywords}
        args = sample.args[: len(names)]

        def call(x: Any, *others: Any, scalars: Any = scalars, names: Any = tuple(tensors)) -> Any:
            return function(x, **scalars, **dict(zip(names, others, strict=True)))

        def expected(x: Any, dtype: Any, args: Any = args, of_torch: Any = of_torch) -> Any:
            given = {k: v.to(dtype) if isinstance(v, torch.Tensor) else v for k, v in of_torch.items()}
            return operator.op(x.to(dtype), *args, **given).to(x.dtype)

        yield call, expected, [sample.input, *tensors.values()]


def is_close(found: Any, right: Any, x: Any) -> bool:
    """Compare, but for limits at infinity, where torch's function may be NaN."""
    if found.shape != right.shape or found.dtype != right.dtype:
        return False
    if right.shape == x.shape:
        right = torch.where(right.isnan() & x.isinf(), found, right)
    rtol, atol = torch.testing._comparison.default_tolerances(right)
    return torch.allclose(found, right, rtol, atol, equal_nan=True)


def test_values(operator: Any) -> None:
    """They are what torch's function gives in that dtype, or in float64."""
    for dtype in FLOATS:
        if dtype in operator.supported_dtypes("cpu"):
            for call, expected, tensors in calls(operator, operator.reference_inputs("cpu", dtype)):
                x = tensors[0]
                if x.numel() <= LARGEST:
                    found = call(*tensors)
                    assert any(is_close(found, expected(x, work), x) for work in (dtype, torch.float64))


def test_derivatives(operator: Any) -> None:
    samples = operator.sample_inputs("cpu", torch.float64, requires_grad=True)
    for call, _, tensors in calls(operator, samples):
        assert torch.autograd.gradcheck(call, tensors, fast_mode=True)
        assert torch.autograd.gradgradcheck(call, tensors, fast_mode=True, gen_non_contig_grad_outputs=True)

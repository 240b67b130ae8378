"""Masked and nested tensors of torch: computed elementwise, or refused by name."""

from __future__ import annotations

from typing import Any

import pytest
from cases import Case, cases, representatives

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.needs_library("torch")


def masked() -> Any:
    x = torch.arange(4.0).reshape(2, 2)
    return torch.masked.masked_tensor(x, x > 0)


def nested() -> Any:
    return torch.nested.nested_tensor_from_jagged(torch.arange(6.0), torch.tensor([0, 2, 6]))


@pytest.mark.filterwarnings("ignore:The PyTorch API of MaskedTensors is in prototype stage:UserWarning")
@pytest.mark.parametrize("case", representatives(cases()), ids=repr)
def test_masked_and_nested(case: Case) -> None:
    with pytest.raises(TypeError, match=r"does not support masked tensors of torch for x; pass x\.to_tensor"):
        case(masked())
    if case.function.definition.kind == "elementwise":
        values = torch.arange(6.0)
        torch.testing.assert_close(case(nested()).values(), case(values))
    else:
        with pytest.raises(TypeError, match=r"does not support nested tensors of torch for x; pass .*to_padded_tensor"):
            case(nested())

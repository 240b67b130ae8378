"""Whose arrays are these, and which backend serves them."""

from __future__ import annotations

import functools
import importlib
from typing import TYPE_CHECKING, Any

import numpy as np

from ._calling.array_kinds import overrides_torch, overrides_ufuncs, owner, root
from ._calling.conversion import converted, described, has_unit
from ._calling.plans import SCALARS
from ._containers import serve
from .backends.forks import starting
from .backends.gated import evaluate_halves

if TYPE_CHECKING:
    from ._calling.call import Call


def evaluate(call: Call) -> Any:
    """Serve a call by the backend of its arrays.

    Parameters
    ----------
    call : Call
        What to compute.

    Returns
    -------
    array
        Of the kind that came in.

    Raises
    ------
    TypeError
        If arrays of several libraries meet, or nobody knows an argument.
    """
    owners: dict[str, Any] = {}
    overriding: list[Any] = []
    others = False
    for value in call.values():
        if type(value) is np.ndarray:
            owners["numpy"] = value
        elif (name := owner(value)) is not None:
            owners[name] = value
        elif overrides_ufuncs(value):
            overriding.append(value)
        elif overrides_torch(value):
            return hand_over_to_torch(call, value)
        elif not isinstance(value, SCALARS):
            others = True
    if overriding:
        return serve(call, overriding)
    if framework := next((name for name in _FRAMEWORKS if name in owners), None):
        return _backend(_FRAMEWORKS[framework]).evaluate(call)
    check_arrays(call)
    if others and owners.keys() <= {"numpy"}:
        call = converted(call)
    if len(owners) > 1:
        from .backends.mixed import of_one_library  # noqa: PLC0415

        return evaluate(of_one_library(call, owners))
    if call.definition.gated:
        return evaluate_halves(call)
    return _backend(_BACKENDS.get(next(iter(owners), "numpy"), "array_api")).evaluate(call)


_BACKENDS = {"numpy": "numpy.call", "cupy": "cupy.call", "dask": "dask"}
_FRAMEWORKS = {"keras": "keras", "tensorflow": "tensorflow.call"}
"""Those of no array API: they say themselves what they take beside their tensors, and how those are halved."""


@functools.cache
def _backend(name: str) -> Any:
    """Import a backend at its first use."""
    with starting:
        return importlib.import_module(f".backends.{name}", __package__)


def check_arrays(call: Call) -> None:
    """Raise TypeError if an array has a unit, which its class would give the result, too, or is not whole."""
    name, kind = call.definition.name, call.definition.kind
    for key, value in call.items():
        if type(value) is np.ndarray:
            continue
        if isinstance(value, np.ndarray) and has_unit(value):
            raise TypeError(f"{name} does not know the unit of {described(value)} for {key}; pass its numbers")
        if type(value).__name__ == "MaskedTensor":
            raise TypeError(f"{name} does not support masked tensors of torch for {key}; pass {key}.to_tensor(value)")
        if kind != "elementwise" and root(value) == "torch" and getattr(value, "is_nested", False):
            raise TypeError(
                f"{name} does not support nested tensors of torch for {key}; "
                f"pass torch.nested.to_padded_tensor({key}, padding)"
            )


def hand_over_to_torch(call: Call, value: Any) -> Any:
    """Let an operand that stands for a tensor take the activation itself, as `torch.fx` does into its graph."""
    inputs, keywords = call.as_typed()
    result = type(value).__torch_function__(call.function, (type(value),), tuple(inputs), keywords)
    if result is NotImplemented:
        raise TypeError(f"{call.definition.name} is not supported by {type(value).__name__}; convert to a tensor first")
    return result

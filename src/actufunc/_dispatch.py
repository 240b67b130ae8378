"""From a call to the backend of its arrays, which plans how to compute it."""

from __future__ import annotations

import functools
import importlib
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ._calling.array_kinds import SCALARS, overrides_torch, overrides_ufuncs, owner, root
from ._calling.conversion import converted, described, has_unit
from ._calling.plans import once
from ._containers import evaluate as evaluate_containers
from .backends.forks import startup_lock

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._calling.call import Call
    from ._calling.plans import Plan

_BACKENDS = {
    "keras": "keras",
    "tensorflow": "tensorflow.call",
    "numpy": "numpy.call",
    "cupy": "cupy.call",
    "dask": "dask",
}
"""Modules that plan calls, by the library that owns the arrays; `array_api` serves every other."""

_FRAMEWORKS = ("keras", "tensorflow")
"""Libraries without an array API: their backends check what stands beside tensors, and split axes of gated units."""


def plan(call: Call) -> Plan:
    """Return how to compute a call, by the backend of its arrays.

    Raises
    ------
    TypeError
        If arrays of several libraries meet, or no backend serves an argument.
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
            return once(partial(_hand_over_to_torch, call, value))
        elif not isinstance(value, SCALARS):
            others = True
    if overriding:
        return once(partial(evaluate_containers, call, overriding))
    for name in _FRAMEWORKS:
        if name in owners:
            return _backend(name)(call)
    _check_arrays(call)
    if others and owners.keys() <= {"numpy"} and (plain := converted(call)) is not call:
        return once(lambda: _backend_of(plain, "numpy")(plain).run(plain))
    if len(owners) > 1:
        from .backends.mixed import of_one_library  # noqa: PLC0415

        alike = of_one_library(call, owners)
        return once(lambda: plan(alike).run(alike))
    return _backend_of(call, next(iter(owners), "numpy"))(call)


def _backend_of(call: Call, library: str) -> Callable[[Call], Plan]:
    if call.definition.gated:
        from .backends.gated import plan as plan_gated  # noqa: PLC0415

        return plan_gated
    return _backend(library)


@functools.cache
def _backend(library: str) -> Callable[[Call], Plan]:
    """Import the backend of a library at its first use."""
    with startup_lock:
        planning: Callable[[Call], Plan] = importlib.import_module(
            f".backends.{_BACKENDS.get(library, 'array_api')}", __package__
        ).plan
        return planning


def _check_arrays(call: Call) -> None:
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


def _hand_over_to_torch(call: Call, value: Any) -> Any:
    """Let an operand that stands for a tensor take the activation itself, as `torch.fx` does into its graph."""
    inputs, keywords = call.as_typed()
    result = type(value).__torch_function__(call.function, (type(value),), tuple(inputs), keywords)
    if result is NotImplemented:
        raise TypeError(f"{call.definition.name} is not supported by {type(value).__name__}; convert to a tensor first")
    return result

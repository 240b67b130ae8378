"""Dispatch of a call to the backend of its arrays, which returns a plan."""

from __future__ import annotations

import functools
import importlib
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ._calling.array_kinds import FRAMEWORKS, SCALARS, overrides_torch, overrides_ufuncs, owner, root
from ._calling.conversion import has_unit, objects_to_arrays, type_name
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
"""Backend modules by the library that owns the arrays; for every other library it is `array_api`."""


def plan(call: Call) -> Plan:
    """Return the plan of the backend of a call's arrays.

    TypeError is raised for arrays of several libraries and for arguments that no backend supports.
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
    for name in FRAMEWORKS:
        if name in owners:
            return _backend(name)(call)
    _check_arrays(call)
    if others and owners.keys() <= {"numpy"} and (converted := objects_to_arrays(call)) is not call:
        return once(lambda: _backend_of(converted, "numpy")(converted).run(converted))
    if len(owners) > 1:
        from .backends.mixed import to_one_library  # noqa: PLC0415

        unmixed = to_one_library(call, owners)
        return once(lambda: plan(unmixed).run(unmixed))
    return _backend_of(call, next(iter(owners), "numpy"))(call)


def _backend_of(call: Call, library: str) -> Callable[[Call], Plan]:
    if call.definition.gated:
        from .backends.gated import plan as plan_gated  # noqa: PLC0415

        return plan_gated
    return _backend(library)


@functools.cache
def _backend(library: str) -> Callable[[Call], Plan]:
    """Import the backend of a library at its first use, and return its function `plan`."""
    with startup_lock:
        module = importlib.import_module(f".backends.{_BACKENDS.get(library, 'array_api')}", __package__)
    return module.plan  # type: ignore[no-any-return]


def _check_arrays(call: Call) -> None:
    """Raise TypeError if an array has a unit, which its class would pass on to the result, or is masked or nested."""
    name, kind = call.definition.name, call.definition.kind
    for key, value in call.items():
        if type(value) is np.ndarray:
            continue
        if isinstance(value, np.ndarray) and has_unit(value):
            raise TypeError(f"{name} does not know the unit of {type_name(value)} for {key}; pass its numbers")
        if type(value).__name__ == "MaskedTensor":
            raise TypeError(f"{name} does not support masked tensors of torch for {key}; pass {key}.to_tensor(value)")
        if kind != "elementwise" and root(value) == "torch" and getattr(value, "is_nested", False):
            raise TypeError(
                f"{name} does not support nested tensors of torch for {key}; "
                f"pass torch.nested.to_padded_tensor({key}, padding)"
            )


def _hand_over_to_torch(call: Call, value: Any) -> Any:
    """Return what ``__torch_function__`` of an operand returns for the activation, such as a node of `torch.fx`."""
    inputs, keywords = call.as_arguments()
    result = type(value).__torch_function__(call.function, (type(value),), tuple(inputs), keywords)
    if result is NotImplemented:
        raise TypeError(f"{call.definition.name} is not supported by {type(value).__name__}; convert to a tensor first")
    return result

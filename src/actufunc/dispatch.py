"""Whose arrays are these, and which backend serves them."""

from __future__ import annotations

import functools
import importlib
from typing import TYPE_CHECKING, Any

import numpy as np

from .backends.forks import starting
from .gated import evaluate_halves
from .protocol import overrides_torch, overrides_ufuncs, owner

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .protocol import Call


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
    for value in call.values():
        if type(value) is np.ndarray:
            owners["numpy"] = value
        elif (name := owner(value)) is not None:
            owners[name] = value
        elif overrides_ufuncs(value):
            overriding.append(value)
        elif overrides_torch(value):
            return hand_over_to_torch(call, value)
    if overriding:
        refuse_opted_out(call.definition.name, overriding)
        if call.definition.gated or call.definition.reduces:
            kinds = " and ".join(sorted({type(value).__name__ for value in overriding}))
            raise TypeError(f"{call.definition.name} changes shapes, which {kinds} cannot follow; pass it plain arrays")
        inputs, keywords = call.as_typed()
        if call.out is not None:
            keywords["out"] = (call.out,)
        return hand_over(call.function, "__call__", inputs, keywords, overriding)
    if len(owners) > 1:
        from .backends.mixed import of_one_library  # noqa: PLC0415

        return evaluate(of_one_library(call, owners))
    if call.definition.gated:
        return evaluate_halves(call)
    return _backend(_BACKENDS.get(next(iter(owners), "numpy"), "array_api")).evaluate(call)


_BACKENDS = {"numpy": "numpy.call", "cupy": "cupy.call", "dask": "dask"}


@functools.cache
def _backend(name: str) -> Any:
    """Import a backend at its first use."""
    with starting:
        return importlib.import_module(f".backends.{name}", __package__)


def refuse_opted_out(name: str, overriding: Sequence[Any]) -> None:
    """Raise TypeError if an operand has ``__array_ufunc__ = None``: as with NumPy, nobody may compute then."""
    for value in overriding:
        if type(value).__array_ufunc__ is None:
            raise TypeError(
                f"operand {type(value).__name__!r} does not support ufuncs (__array_ufunc__=None), "
                f"so {name} cannot take it; convert it to an array first"
            )


def hand_over_to_torch(call: Call, value: Any) -> Any:
    """Let an operand that stands for a tensor take the activation itself, as `torch.fx` does into its graph."""
    inputs, keywords = call.as_typed()
    result = type(value).__torch_function__(call.function, (type(value),), tuple(inputs), keywords)
    if result is NotImplemented:
        raise TypeError(f"{call.definition.name} is not supported by {type(value).__name__}; convert to a tensor first")
    return result


def hand_over(
    function: Any, method: str, inputs: Sequence[Any], keywords: dict[str, Any], overriding: Sequence[Any]
) -> Any:
    """Let the operands compute, as NumPy does (NEP 13): subclasses first, then from left to right."""
    candidates: list[Any] = []
    for value in overriding:
        if any(type(value) is type(other) for other in candidates):
            continue
        place = next((i for i, other in enumerate(candidates) if issubclass(type(value), type(other))), len(candidates))
        candidates.insert(place, value)
    for value in candidates:
        result = type(value).__array_ufunc__(value, function, method, *inputs, **keywords)
        if result is not NotImplemented:
            return result
    names = " and ".join(type(value).__name__ for value in candidates)
    raise TypeError(f"{function.__name__} is not supported by {names}; convert to an array first")

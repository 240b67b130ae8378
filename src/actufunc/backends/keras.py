"""Keras's symbolic tensors, calls on which become layers, and its variables, which are arrays of its own backend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras

from actufunc._calling.array_kinds import owner
from actufunc._calling.plans import Plan, once

if TYPE_CHECKING:
    from collections.abc import Callable

    from actufunc._calling.call import Call

make_layer: Callable[..., Any] | None = None
"""The class of layers, set by `actufunc.layers.keras`, which is imported with Keras: layers import backends."""


def plan(call: Call) -> Plan:
    """Return the plan of a call on variables or symbolic tensors of Keras."""
    return once(lambda: _evaluate(call))


def _evaluate(call: Call) -> Any:
    """Compute a call on variables by the backend that Keras runs on, or make a layer of a call on a symbolic tensor."""
    if any(isinstance(value, keras.KerasTensor) for value in call.values()):
        return _symbolic(call)
    for key, value in {**call.operands, **call.keywords}.items():
        if owner(value) == "keras" and not isinstance(value, keras.Variable):
            raise TypeError(f"{call.definition.name} got {type(value).__name__} for {key}, which is no array")
    operands, keywords = (
        {key: value.value if isinstance(value, keras.Variable) else value for key, value in given.items()}
        for given in (call.operands, call.keywords)
    )
    arrays = [operands.pop(key) for key in call.definition.arrays]
    return call.function(*arrays, **operands, **call.options, **keywords)


def is_array(value: Any) -> bool:
    """Return True if a value is a variable of Keras or an array of the backend that it runs on."""
    return isinstance(value, keras.Variable) or keras.ops.is_tensor(value)


def _symbolic(call: Call) -> Any:
    name, x = call.definition.name, call.operands["x"]
    others = {key: value for key, value in {**call.operands, **call.keywords}.items() if key != "x"}
    if strange := [key for key, value in others.items() if isinstance(value, keras.KerasTensor)]:
        raise TypeError(f"{name} takes a symbolic tensor of Keras for x alone, not for {strange[0]}; write a layer")
    if variables := [key for key, value in others.items() if is_array(value)]:
        raise TypeError(
            f"{name} would no longer learn {variables[0]} in a graph of Keras; add actufunc.layers.keras.Activation "
            f"with learn={variables[0]!r}, or give a number or an array of NumPy"
        )
    if call.keywords.get("dtype") is not None:
        raise TypeError(f"{name} takes no dtype= with a symbolic tensor of Keras; use keras.ops.cast")
    if call.definition.arrays != ("x",) or not isinstance(x, keras.KerasTensor):
        raise TypeError(f"{name} takes a symbolic tensor of Keras for x alone; write a layer")
    if make_layer is None:
        raise TypeError(f"{name} makes a layer of a symbolic tensor of Keras; import actufunc.layers.keras first")
    is_float = keras.backend.is_float_dtype(x.dtype)
    layer = make_layer(call.function, **others, **call.options, dtype=x.dtype if is_float else None)
    return layer(x)

"""Calls on tensors and variables of TensorFlow: eagerly, in a tf.function, compiled by XLA, under a tape."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from actufunc._calling.array_kinds import owner
from actufunc._calling.call import refuse_numpy_keywords
from actufunc._calling.plans import Plan, once
from actufunc.backends.array_api_ops import compute, covers
from actufunc.backends.autodiff import formula_of
from actufunc.backends.axis import Reduced, normalise_axis, split_axis
from actufunc.backends.delegation import find
from actufunc.backends.masking import fill_left_out, value_left_out
from actufunc.backends.promotion import asked_dtype, call_keeps_integers, integers_fit

from . import namespace as xp
from .autodiff import apply

if TYPE_CHECKING:
    from actufunc._calling.call import Call

Operands = dict[str, Any]
"""Tensors of one dtype, and hyperparameters that are Python numbers."""


def plan(call: Call) -> Plan:
    """Return the plan of a call on tensors; arrays of NumPy beside them take their dtype."""
    refuse_numpy_keywords(call, "tensorflow")
    given = {key: _operand(call, key, value) for key, value in call.operands.items()}
    if call.definition.gated:
        return once(functools.partial(_gated, call, given))
    dtype = _dtype(call, given)
    arrays = call.definition.arrays
    operands = {
        key: _tensor(call, key, value, dtype) if key in arrays or not _is_number(value) else value
        for key, value in given.items()
    }
    if call.definition.over_axis:
        return once(functools.partial(_over_axis, call, operands))
    if call.keywords.get("where", True) is not True:
        raise TypeError(f"{call.definition.name} takes where= with NumPy arrays only; use tf.where on its result")
    return _elementwise(call, operands)


# Arguments.


def _operand(call: Call, key: str, value: Any) -> Any:
    """Return an operand as a tensor, an array of NumPy or a Python number."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, tf.Variable):
        return tf.convert_to_tensor(value)
    if _is_number(value) or isinstance(value, tf.Tensor):
        return value
    if isinstance(value, np.ndarray) and not isinstance(value, np.ma.MaskedArray):
        if value.dtype.kind in "biuf" or value.dtype.name == "bfloat16":
            return value
        raise TypeError(f"{call.definition.name} got {value.dtype} for {key}, which tensorflow does not take")
    raise TypeError(f"{call.definition.name} got {type(value).__name__} for {key} beside {_KINDS}; convert it first")


_KINDS = "tf.Tensor, tf.Variable, numbers and NumPy arrays"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)


def _dtype(call: Call, given: Operands) -> Any:
    """Return the dtype of the result: the common dtype of the tensors, or that of ``dtype=``."""
    name, asked = call.definition.name, call.keywords.get("dtype")
    if asked is not None:
        dtype = asked if isinstance(asked, tf.DType) else getattr(tf, asked_dtype(name, asked).name)
        if not xp.isdtype(dtype, "real floating"):
            raise TypeError(f"{name} can be asked for a real floating dtype only, not for {dtype.name}")
        return dtype
    dtypes = {value.dtype for value in given.values() if isinstance(value, tf.Tensor)}
    if len(dtypes) > 1:
        names = " and ".join(sorted(dtype.name for dtype in dtypes))
        raise TypeError(f"{name} got tensors of {names}, which TensorFlow does not mix; tf.cast one of them first")
    if not dtypes:  # only where= is a tensor
        raise TypeError(f"{name} got a tensor for where, but none to compute; tf.convert_to_tensor(x) first")
    (dtype,) = dtypes
    if xp.isdtype(dtype, "real floating"):
        return dtype
    if not xp.isdtype(dtype, "integral") and not xp.isdtype(dtype, "bool"):
        raise TypeError(f"{name} does not support {dtype.name}; it takes real floats, integers and booleans")
    return dtype if _keeps_integers(call, given, dtype) else tf.float32


def _keeps_integers(call: Call, given: Operands, dtype: Any) -> bool:
    if not xp.isdtype(dtype, "integral"):
        return False
    kept = np.dtype(dtype.as_numpy_dtype)
    if not all(np.can_cast(value.dtype, kept) for value in given.values() if isinstance(value, np.ndarray)):
        return False
    numbers = filter(_is_number, (given[key] for key in call.definition.arrays))
    return integers_fit(numbers, kept) and call_keeps_integers(call, kept)


def _tensor(call: Call, key: str, value: Any, dtype: Any) -> Any:
    if isinstance(value, tf.Tensor):
        return xp.astype(value, dtype)
    try:
        return tf.convert_to_tensor(np.asarray(value).astype(dtype.as_numpy_dtype))
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(f"{call.definition.name} cannot make a tensor of {dtype.name} of {key}") from error


# Elementwise functions.


def _elementwise(call: Call, operands: Operands) -> Plan:
    if not xp.isdtype(operands["x"].dtype, "real floating"):
        numbers = {key: value for key, value in operands.items() if _is_number(value)}
        tensors = {key: value for key, value in operands.items() if key not in numbers}
        return once(functools.partial(compute, xp, call.specialised(numbers), tensors))
    hyperparameters = [operands[key] for key in call.definition.hyperparameters]
    function = find(xp, call, operands, None)
    if function is None:
        formula = formula_of(call.definition, tuple(call.options.items()))

        def function(*arrays: Any) -> Any:
            return apply(formula, *arrays, *hyperparameters)

    names = call.definition.arrays
    is_as_given = all(call.operands[key] is operands[key] for key in names)
    if is_as_given and all(map(_is_number, hyperparameters)):
        return Plan(names, functools.partial(_execute, function))
    return once(functools.partial(function, *(operands[key] for key in names)))


def _execute(function: Any, arrays: tuple[Any, ...], out: Any, _where: Any) -> Any:
    """Compute tensors of one dtype; see `actufunc._calling.plans.Plan`."""
    x = arrays[0]
    if out is not None or any(not isinstance(y, tf.Tensor) or y.dtype != x.dtype for y in arrays):
        return NotImplemented
    return function(*arrays)


# Gated units.


def _gated(call: Call, given: Operands) -> Any:
    name = call.definition.name
    x = given["x"]
    if not isinstance(x, tf.Tensor):
        x = _tensor(call, "x", x, _dtype(call, given))
    axis = split_axis(name, call.keywords.get("axis", -1), _shape(name, x))
    keywords = {key: value for key, value in call.keywords.items() if key != "axis"}
    split = dict(zip(("x", "gate"), tf.split(x, 2, axis), strict=True))
    parts = []
    for function in call.function.halves:
        operands = {**given, **split}
        arrays = [operands.pop(key) for key in function.definition.arrays]
        parts.append(function(*arrays, **operands, **call.options, **keywords))
    return parts[0] if len(parts) == 1 else tf.concat(parts, axis)


def _shape(name: str, x: Any) -> tuple[Any, ...]:
    """Return the static shape of a tensor, in which None is an unknown length."""
    if x.shape.rank is None:
        raise ValueError(f"{name} needs the number of dimensions of x to know its axis; give it by tf.ensure_shape")
    return tuple(x.shape)


# Functions over an axis.


def _over_axis(call: Call, operands: Operands) -> Any:
    name, definition = call.definition.name, call.definition
    x = operands["x"]
    shape = _shape(name, x)
    axes = normalise_axis(name, call.keywords.get("axis", -1), len(shape))
    keepdims = bool(call.keywords.get("keepdims", False))
    if not shape:
        rows = operands | {key: tf.reshape(operands[key], (1,)) for key in definition.arrays}
        return tf.reshape(_computed(call, rows, Reduced((1,), (0,), keepdims=True)), ())
    shapes = Reduced(shape, axes, keepdims)
    others = definition.arrays[1:]
    operands = operands | {key: _broadcast(call, key, operands[key], x, shapes) for key in others}
    result = _computed(call, operands, shapes)
    return tf.squeeze(result, axes) if definition.reduces and axes and not keepdims else result


def _computed(call: Call, operands: Operands, shapes: Reduced) -> Any:
    """Compute a function over axes that are kept, with elements that a mask excludes filled."""
    mask = call.keywords.get("where", True)
    if mask is not True:
        mask = _mask(call, mask, operands["x"], shapes)
        fill = fill_left_out(call)
        filled = {key: operands[key] for key in call.definition.arrays if key not in call.definition.without_axis}
        operands = operands | {k: tf.where(mask, v, tf.constant(fill[k], v.dtype)) for k, v in filled.items()}
    axis = shapes.axes[0] if len(shapes.axes) == 1 else shapes.axes
    function = find(xp, call, operands, axis)
    result = _formula(call, operands, shapes) if function is None else function(operands["x"])
    if mask is True or call.definition.reduces:
        return result
    return tf.where(mask, result, tf.constant(value_left_out(call), result.dtype))


def _formula(call: Call, operands: Operands, shapes: Reduced) -> Any:
    """Compute the formula, moving the axes to the end if it sorts."""
    numbers = {key: value for key, value in operands.items() if _is_number(value)}
    tensors = {key: value for key, value in operands.items() if key not in numbers}
    formula, rank = call.specialised(numbers), len(shapes.of_x)
    if shapes.axes == (rank - 1,) or all(node.operation != "axis_threshold" for node in formula.nodes()):
        return compute(xp, formula, tensors, shapes)
    others = [axis for axis in range(rank) if axis not in shapes.axes]
    order, last = [*others, *shapes.axes], len(others)
    moved = {key: tf.transpose(tensors[key], order) for key in call.definition.arrays}
    shape = tf.shape(moved["x"])
    rows = {key: tf.reshape(value, tf.concat([shape[:last], [-1]], 0)) for key, value in moved.items()}
    result = compute(xp, formula, tensors | rows, Reduced(tuple(rows["x"].shape), (last,), keepdims=True))
    return tf.transpose(tf.reshape(result, shape), np.argsort(order))


def _broadcast(call: Call, key: str, array: Any, x: Any, shapes: Reduced) -> Any:
    """Broadcast a cotangent to the shape of x, or to one element for each row, with axes of length one."""
    name, of_row = call.definition.name, key in call.definition.without_axis
    given, what = (shapes.given, "the result") if of_row else (shapes.of_x, "x")
    _check_fits(name, key, array, given, what)
    if array.shape != given or None in given:
        into = tf.shape(x)
        if of_row:
            others = [axis for axis in range(len(shapes.of_x)) if axis not in shapes.axes]
            is_kept = np.isin(np.arange(len(shapes.of_x)), others)
            into = tf.where(is_kept, into, 1) if shapes.keepdims else tf.gather(into, np.array(others, np.int32))
        array = tf.broadcast_to(array, into)
    if of_row and not shapes.keepdims:
        for axis in sorted(shapes.axes):
            array = tf.expand_dims(array, axis)
    return array


def _mask(call: Call, mask: Any, x: Any, shapes: Reduced) -> Any:
    """Return a mask broadcast to the shape of x."""
    name = call.definition.name
    if not isinstance(mask, tf.Tensor | tf.Variable | np.ndarray) and owner(mask) is not None:
        raise TypeError(f"{name} got {type(mask).__name__} for where beside {_KINDS}; convert it first")
    mask = tf.convert_to_tensor(mask)
    if mask.dtype != tf.bool:
        raise TypeError(f"{name} takes where= as a tensor of booleans, not of {mask.dtype.name}")
    _check_fits(name, "where", mask, shapes.of_x, "x")
    return tf.broadcast_to(mask, tf.shape(x))


def _check_fits(name: str, key: str, array: Any, shape: tuple[Any, ...], what: str) -> None:
    """Raise ValueError if a tensor cannot broadcast to a shape; TensorFlow itself checks unknown lengths."""
    if array.shape.rank is None:
        return
    given = tuple(array.shape)
    into = shape[len(shape) - len(given) :] if len(given) <= len(shape) else given
    known = tuple(1 if None in pair else pair[0] for pair in zip(given, into, strict=True))
    if not covers(shape, known):
        raise ValueError(f"{name} cannot broadcast {key} of shape {given} to that of {what}, {shape}")

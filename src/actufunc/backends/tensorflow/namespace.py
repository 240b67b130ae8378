"""TensorFlow's operations under the names of the array API standard, as far as formulas need them."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

bfloat16, float16, float32, float64 = tf.bfloat16, tf.float16, tf.float32, tf.float64

abs = tf.abs  # noqa: A001
any = tf.reduce_any  # noqa: A001
cumulative_sum = tf.cumsum
exp = tf.exp
expm1 = tf.math.expm1
isnan = tf.math.is_nan
log = tf.math.log
log1p = tf.math.log1p
max = tf.reduce_max  # noqa: A001
ones_like = tf.ones_like
reshape = tf.reshape
round = tf.round  # noqa: A001
sort = tf.sort
sqrt = tf.sqrt
sum = tf.reduce_sum  # noqa: A001
tanh = tf.tanh
where = tf.where
zeros_like = tf.zeros_like

_FLOATS = frozenset({bfloat16, float16, float32, float64})


def isdtype(dtype: Any, kind: str) -> bool:
    """Return True if a dtype is of a kind; TensorFlow's 8-bit floats are of none."""
    if kind == "real floating":
        return dtype in _FLOATS
    if kind == "integral":
        return bool(dtype.is_integer and not dtype.is_quantized)
    return bool(dtype == tf.bool)


def astype(x: Any, dtype: Any, *, copy: bool = False) -> Any:  # noqa: ARG001 -- tensors are immutable
    """Return a tensor in a dtype."""
    return x if x.dtype == dtype else tf.cast(x, dtype)


def full(shape: tuple[int, ...], value: float, *, dtype: Any, device: Any = None) -> Any:  # noqa: ARG001
    """Return a tensor filled with a number; TensorFlow moves it to the device of other operands."""
    return tf.constant(value, dtype, shape)


def full_like(x: Any, value: float) -> Any:
    """Return a tensor filled with a number, in the shape of another."""
    return tf.fill(tf.shape(x), tf.constant(value, x.dtype))


def clip(x: Any, low: float | None, high: float | None) -> Any:
    """Clip to two bounds, either of which may be None."""
    x = x if low is None else tf.maximum(x, low)
    return x if high is None else tf.minimum(x, high)


def broadcast_arrays(*arrays: Any) -> list[Any]:
    """Broadcast tensors against one another."""
    shape = tf.shape(arrays[0])
    for array in arrays[1:]:
        shape = tf.broadcast_dynamic_shape(shape, tf.shape(array))
    return [tf.broadcast_to(array, shape) for array in arrays]


def summed_like(x: Any, like: Any) -> Any:
    """Sum `x` over the axes along which `like` was broadcast to its shape."""
    if x.shape.is_fully_defined() and x.shape == like.shape:
        return x
    axes, _ = tf.raw_ops.BroadcastGradientArgs(s0=tf.shape(like), s1=tf.shape(x))
    return tf.reshape(tf.reduce_sum(x, axes), tf.shape(like))

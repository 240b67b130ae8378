"""Delegation: functions of torch, JAX and TensorFlow that are called instead of formulas.

The library's autograd, compiler and sharding then see one operation that they know. The results have the library's
rounding errors, lost tails, signs of zeros, derivatives at a kink (JAX's leaky_relu has slope 1 at 0) and at NaN. For
silu, gelu, mish and hard_silu of infinity PyTorch and JAX return NaN, where our formula gives the limit.

Some functions of the libraries are not used. torch and JAX: tanhshrink, logit and squareplus, which cancel; softsign,
which is composed of operations, so that autograd stores intermediates; torch's hardsigmoid, whose derivative in float64
has 1/6 in float32's digits; JAX's hard_tanh and sparse_sigmoid, with other derivatives at both bounds. TensorFlow: all
that have no kernel; elu and selu, which cancel; leaky_relu and gelu, whose constants have float32's digits in float64;
softsign, which has no second derivative; the softmaxes, which give zeros beside a NaN with oneDNN, and lose digits in
float16.

The tables map names of activations to functions of the hyperparameters, options and axis of a call, which return the
library's function of the arrays, or None if the library has none for these values.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from array_api_compat import is_jax_namespace, is_torch_namespace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from actufunc._calling.call import Call

    Table = Mapping[str, Callable[..., Any]]


def find(xp: Any, call: Call, operands: Mapping[str, Any], axis: Any) -> Callable[[Any], Any] | None:
    """Return the library's function that computes the result of a call from `x`, or None if there is none.

    `operands` are arrays in the dtype of the result and hyperparameters; `axis` is used by functions over an axis.
    """
    table = _table(xp)
    # Parts of gated units, and activations of users, may have the same name.
    is_of_catalogue = call.function.__module__.startswith("actufunc.activations.")
    function = table.get(call.definition.name) if is_of_catalogue else None
    if function is None or not xp.isdtype(operands["x"].dtype, "real floating"):
        return None
    hyperparameters = [value for key, value in operands.items() if key != "x"]
    if not all(isinstance(value, bool | int | float) and abs(value) <= _LARGEST for value in hyperparameters):
        return None
    arguments = [*hyperparameters, *call.options.values()]
    if call.definition.over_axis or call.definition.gated:
        if isinstance(axis, tuple):
            return None
        arguments.append(axis)
    found: Callable[[Any], Any] | None = function(*arguments)
    return found


def delegated_operations(xp: Any) -> Table:
    """Return the functions of a library that are used for operations of formulas."""
    table = _table(xp)
    return {"logistic": table["sigmoid"](), "softplus": table["softplus"](1)} if table else {}


def _table(xp: Any) -> Table:
    """Return the table of a library; empty for other libraries than torch, JAX and TensorFlow."""
    if is_torch_namespace(xp):
        return _torch()
    if is_jax_namespace(xp):
        return _jax()
    return _tensorflow() if xp.__name__.endswith("backends.tensorflow.namespace") else {}


# Largest number of float16, beyond which torch refuses hyperparameters. Infinite ones give NaN in the libraries.
_LARGEST = 65504


def torch_function(activation: Any, arguments: list[Any]) -> Callable[..., Any] | None:
    """Return torch's function for an activation of the catalogue with these hyperparameters, options and axis."""
    maker = _torch().get(activation.__name__)
    return None if maker is None else maker(*arguments)


@functools.cache
def _torch() -> Table:
    import torch  # noqa: PLC0415
    from torch.nn import functional  # noqa: PLC0415

    partial = functools.partial
    return {
        "sigmoid": lambda: torch.sigmoid,
        "log_sigmoid": lambda: functional.logsigmoid,
        "tanh": lambda: torch.tanh,
        # torch leaves the formula at beta*x > threshold; at 40 the two agree to the last bit of float64.
        "softplus": lambda beta: partial(functional.softplus, beta=beta, threshold=40),
        "relu": lambda: torch.relu,
        "relu6": lambda: functional.relu6,
        "leaky_relu": lambda slope: partial(functional.leaky_relu, negative_slope=slope),
        "threshold": lambda threshold, value: partial(functional.threshold, threshold=threshold, value=value),
        "elu": lambda alpha: partial(functional.elu, alpha=alpha),
        "celu": lambda alpha: partial(functional.celu, alpha=alpha) if alpha else None,
        "selu": lambda: functional.selu,
        "silu": lambda beta: functional.silu if beta == 1 else None,
        "gelu": lambda approximate: partial(functional.gelu, approximate=approximate),
        "mish": lambda: functional.mish,
        "hard_tanh": lambda low, high: partial(functional.hardtanh, min_val=low, max_val=high) if low <= high else None,
        "hard_silu": lambda: functional.hardswish,
        "hard_shrink": lambda lambd: partial(functional.hardshrink, lambd=lambd),
        "soft_shrink": lambda lambd: partial(functional.softshrink, lambd=lambd) if lambd >= 0 else None,
        "glu": lambda axis: partial(functional.glu, dim=axis),
        "softmax": lambda axis: partial(torch.softmax, dim=axis),
        "log_softmax": lambda axis: partial(torch.log_softmax, dim=axis),
        "softmin": lambda axis: partial(functional.softmin, dim=axis),
        "logsumexp": lambda axis: partial(torch.logsumexp, dim=axis, keepdim=True),
    }


@functools.cache
def _jax() -> Table:
    import jax  # noqa: PLC0415

    partial = functools.partial
    return {
        "sigmoid": lambda: jax.nn.sigmoid,
        "log_sigmoid": lambda: jax.nn.log_sigmoid,
        "tanh": lambda: jax.numpy.tanh,
        "softplus": lambda beta: jax.nn.softplus if beta == 1 else None,
        "sparse_plus": lambda: jax.nn.sparse_plus,
        "relu": lambda: jax.nn.relu,
        "relu6": lambda: jax.nn.relu6,
        "leaky_relu": lambda slope: partial(jax.nn.leaky_relu, negative_slope=slope),
        "elu": lambda alpha: partial(jax.nn.elu, alpha=alpha),
        "celu": lambda alpha: partial(jax.nn.celu, alpha=alpha) if alpha else None,
        "selu": lambda: jax.nn.selu,
        "silu": lambda beta: jax.nn.silu if beta == 1 else None,
        "gelu": lambda approximate: partial(jax.nn.gelu, approximate=approximate == "tanh"),
        "mish": lambda: jax.nn.mish,
        "hard_sigmoid": lambda: jax.nn.hard_sigmoid,
        "hard_silu": lambda: jax.nn.hard_silu,
        "glu": lambda axis: partial(jax.nn.glu, axis=axis),
        "softmax": lambda axis: partial(jax.nn.softmax, axis=axis),
        "log_softmax": lambda axis: partial(jax.nn.log_softmax, axis=axis),
        "softmin": lambda axis: lambda x: jax.nn.softmax(-x, axis=axis),
        "logsumexp": lambda axis: partial(jax.nn.logsumexp, axis=axis, keepdims=True),
    }


@functools.cache
def _tensorflow() -> Table:
    import tensorflow as tf  # noqa: PLC0415

    partial = functools.partial
    return {
        "sigmoid": lambda: tf.sigmoid,
        "log_sigmoid": lambda: tf.math.log_sigmoid,
        "tanh": lambda: tf.tanh,
        "softplus": lambda beta: tf.math.softplus if beta == 1 else None,
        "relu": lambda: tf.nn.relu,
        "relu6": lambda: tf.nn.relu6,
        "logsumexp": lambda axis: partial(tf.reduce_logsumexp, axis=axis, keepdims=True),
    }

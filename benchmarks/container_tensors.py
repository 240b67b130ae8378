"""Rows of the table of containers: tensors of frameworks, with gradients."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from container_trials import Container, NotHereError, row


def _within(transform: Any) -> Any:
    """Apply functions within a transformation, which takes a function of operands."""
    return lambda function, *operands, **keywords: transform(lambda *given: function(*given, **keywords))(*operands)


# torch


def _torch_gradient(torch: Any) -> Any:
    def gradient(call: Any, x: Any, g: Any) -> Any:
        leaf = torch.tensor(x, requires_grad=True)
        call(leaf).backward(torch.tensor(g))
        return None if leaf.grad is None else leaf.grad.numpy()

    return gradient


def _torch(torch: Any, **more: Any) -> Container:
    return Container(torch.tensor, lambda found: found.detach().numpy(), gradient=_torch_gradient(torch), **more)


@row("torch Tensor", "torch", process="torch")
def _(torch: Any) -> Container:
    return _torch(torch)


@row("torch.compile", "torch", process="torch")
def _(torch: Any) -> Container:
    def transform(function: Any) -> Any:
        torch.compiler.reset()  # which forgets the calls before, of which it keeps few
        return torch.compile(function, backend="eager", fullgraph=True)

    return _torch(torch, apply=_within(transform))


@row("torch.func.vmap", "torch", process="torch")
def _(torch: Any) -> Container:
    """Over an outer axis of one."""

    def transform(function: Any) -> Any:
        return lambda *operands: torch.func.vmap(function)(*(operand[None] for operand in operands))[0]

    return _torch(torch, apply=_within(transform))


@row("torch sparse tensor", "torch", process="torch")
def _(torch: Any) -> Container:
    return Container(lambda values: torch.tensor(values).to_sparse(), lambda found: found.to_dense().numpy())


@row("torch masked tensor", "torch", process="torch")
def _(torch: Any) -> Container:
    def make(values: Any) -> Any:
        held = torch.tensor(np.nan_to_num(values, nan=7.0))
        return torch.masked.masked_tensor(held, torch.tensor(~np.isnan(values)))

    return Container(make, lambda found: found.to_tensor(float("nan")).numpy(), missing=True)


@row("torch nested tensor", "torch", process="torch")
def _(torch: Any) -> Container:
    """All have the same offsets, without which torch takes their lengths for different ones."""
    offsets = torch.tensor([0, 4, 8, 12])
    return Container(
        lambda values: torch.nested.nested_tensor_from_jagged(torch.tensor(values.reshape(-1)), offsets),
        lambda found: torch.stack(list(found.unbind())).numpy(),
    )


# JAX


def _jax(jax: Any, jnp: Any, **more: Any) -> Container:
    jax.config.update("jax_enable_x64", True)  # noqa: FBT003

    def gradient(call: Any, x: Any, g: Any) -> Any:
        return jax.jit(lambda x, g: jax.vjp(call, x)[1](g)[0])(x, g)  # which is faster than operation by operation

    return Container(jnp.asarray, gradient=gradient, **more)


@row("JAX array", "jax", "jax.numpy", process="jax")
def _(jax: Any, jnp: Any) -> Container:
    return _jax(jax, jnp)


@row("jax.jit", "jax", "jax.numpy", process="jax")
def _(jax: Any, jnp: Any) -> Container:
    return _jax(jax, jnp, apply=_within(jax.jit))


@row("jax.vmap", "jax", "jax.numpy", process="jax")
def _(jax: Any, jnp: Any) -> Container:
    """Over an outer axis of one."""

    def transform(function: Any) -> Any:
        return jax.jit(lambda *operands: jax.vmap(function)(*(operand[None] for operand in operands))[0])

    return _jax(jax, jnp, apply=_within(transform))


# TensorFlow


def _tensorflow(tf: Any, make: Any, **more: Any) -> Container:
    def gradient(call: Any, x: Any, g: Any) -> Any:
        leaf = tf.constant(x)
        with tf.GradientTape() as tape:
            tape.watch(leaf)
            result = tf.convert_to_tensor(call(leaf))
        return tape.gradient(result, leaf, tf.constant(g))

    return Container(make, gradient=gradient, **more)


@row("TensorFlow Tensor", "tensorflow", process="tensorflow")
def _(tf: Any) -> Container:
    return _tensorflow(tf, tf.constant)


@row("TensorFlow Variable", "tensorflow", process="tensorflow")
def _(tf: Any) -> Container:
    return _tensorflow(tf, tf.Variable, kind=lambda found: "tensor" if tf.is_tensor(found) else type(found))


@row("tf.function", "tensorflow", process="tensorflow")
def _(tf: Any) -> Container:
    return _tensorflow(tf, tf.constant, apply=_within(tf.function))


@row("TensorFlow RaggedTensor", "tensorflow", process="tensorflow")
def _(tf: Any) -> Container:
    """Rows end where the values are NaN."""

    def make(values: Any) -> Any:
        return tf.ragged.constant([[v for v in row if not np.isnan(v)] for row in values], dtype=tf.float64)

    return Container(
        make,
        lambda found: found.to_tensor(default_value=np.nan) if hasattr(found, "to_tensor") else found,
        missing=True,
    )


# Keras


def _keras(backend: str) -> None:
    """Enter layers of one backend, on which Keras settles when it is imported."""

    @row(f"Keras on {backend}", "keras", backend.lower(), process=f"keras-{backend.lower()}")
    def _(keras: Any, _: Any) -> Container:
        assert keras.backend.backend() == backend.lower(), os.environ["KERAS_BACKEND"]

        def apply(function: Any, *operands: Any, **keywords: Any) -> Any:
            if len(operands) > 1 or keywords:
                return function(*operands, **keywords)
            inputs = keras.Input(batch_shape=operands[0].shape, dtype="float64")
            outputs = keras.layers.Activation(function, dtype="float64")(inputs)
            return keras.Model(inputs, outputs)(operands[0])

        return Container(
            lambda values: keras.ops.convert_to_tensor(values, dtype="float64"),
            keras.ops.convert_to_numpy,
            apply=apply,
            gradient=_training(keras),
        )


def _training(keras: Any) -> Any:
    """Return what reads a gradient from the step of a training that it makes: of size 1, against the gradient."""

    class Held(keras.layers.Layer):  # type: ignore[misc]
        def __init__(self, function: Any, x: Any) -> None:
            super().__init__(dtype="float64")
            self.function = function
            self.x = self.add_weight(shape=x.shape, initializer=lambda *_, **__: keras.ops.convert_to_tensor(x))
            self.offset = self.add_weight(initializer="zeros")  # Keras refuses to train only if all gradients are lost

        def call(self, g: Any) -> Any:
            return keras.ops.add(self.offset, self.function(keras.ops.convert_to_tensor(self.x))) * g

    def gradient(call: Any, x: Any, g: Any) -> Any:
        held = Held(call, x)
        model = keras.Sequential([held])
        model.compile(keras.optimizers.SGD(1.0), loss=lambda _, found: keras.ops.sum(found), run_eagerly=True)
        model.train_on_batch(g, g)
        return x - keras.ops.convert_to_numpy(held.x)

    return gradient


for _name in ("TensorFlow", "torch", "JAX"):
    _keras(_name)


@row("Keras symbolic tensor", "keras", process="keras-tensorflow")
def _(keras: Any) -> Container:
    """Make inputs of a model, which is called with the values afterwards."""
    given: dict[int, Any] = {}

    def make(values: Any) -> Any:
        symbol = keras.Input(batch_shape=values.shape, dtype="float64")
        given[id(symbol)] = symbol, values
        return symbol

    def read(found: Any) -> Any:
        symbols, values = zip(*given.values(), strict=True)
        return keras.ops.convert_to_numpy(keras.Model(list(symbols), found)(list(values)))

    return Container(make, read)


# Others


@row("MLX", "mlx.core", process="mlx")
def _(mx: Any) -> Container:
    def gradient(call: Any, x: Any, g: Any) -> Any:
        cotangent = mx.array(g)
        return np.asarray(mx.grad(lambda given: (call(given) * cotangent).sum())(mx.array(x)))

    return Container(mx.array, rtol=1e-5, gradient=gradient)


@row("autograd", "autograd", "autograd.numpy")
def _(autograd: Any, xp: Any) -> Container:
    def gradient(call: Any, x: Any, g: Any) -> Any:
        return autograd.grad(lambda given: xp.sum(call(given) * g))(x)

    return Container(xp.array, gradient=gradient)


@row("CuPy", "cupy", process="cupy")
def _(cupy: Any) -> Container:
    try:
        cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise NotHereError("no GPU") from error
    return Container(cupy.asarray, lambda found: found.get())

"""Activations as layers of Keras 3, on all of its backends, whose hyperparameters may be learned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

import actufunc
from actufunc.backends import keras as backend

from ._arguments import check_arguments, check_attributes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Activation"]

_LAYER_ARGUMENTS = frozenset({"name", "dtype", "trainable", "activity_regularizer", "autocast"})

keras.saving.register_keras_serializable("actufunc")(actufunc.Activation)


@keras.saving.register_keras_serializable("actufunc.layers")
class Activation(keras.layers.Layer):  # type: ignore[misc]
    """A layer that applies an activation.

    Each hyperparameter that is learned is a weight, an attribute of the layer.

    Parameters
    ----------
    function : actufunc.Activation
        The function that the layer applies, of the catalogue or user-defined.
    learn : str or iterable of str, default ()
        Names of hyperparameters to learn. Those without a given value start from their defaults.
    **hyperparameters
        Numbers, or arrays that broadcast with the input; options such as ``approximate="tanh"``; `axis` and `keepdims`
        of a function that has them. A value that is learned becomes a weight of its shape. Also the arguments of every
        layer of Keras: `name`, `dtype`, `trainable`.

    Raises
    ------
    TypeError
        If `function` is not an activation of one array, a hyperparameter is unknown or missing, or `learn` names
        something else than hyperparameters.

    Examples
    --------
    >>> import keras
    >>> from actufunc import silu
    >>> from actufunc.layers.keras import Activation
    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4), Activation(silu, beta=1.5, learn="beta")])
    >>> float(model.layers[-1].beta.numpy())
    1.5
    """

    def __init__(
        self, function: actufunc.Activation, *, learn: str | Iterable[str] = (), **hyperparameters: Any
    ) -> None:
        super().__init__(**{key: hyperparameters.pop(key) for key in _LAYER_ARGUMENTS & hyperparameters.keys()})
        given = {key: _as_numpy(value) for key, value in hyperparameters.items()}
        values, learned = check_arguments(function, given, learn, (np.ndarray, list, tuple))
        self.function, self._learned = function, tuple(learned)
        check_attributes(self, values, "layers of Keras", reserved=("learn",))
        numeric = function.definition.hyperparameters
        self._given = {key: _value(value) if key in numeric else _axes(value) for key, value in values.items()}
        for key in learned:
            start = keras.initializers.Constant(self._given[key])
            setattr(self, key, self.add_weight(shape=np.shape(self._given[key]), initializer=start, name=key))
        self.supports_masking = not function.definition.reduces
        self.built = True

    def call(self, inputs: Any) -> Any:
        """Compute the activation."""
        given = self._given | {key: getattr(self, key) for key in self._learned}
        arrays = {key: value for key, value in given.items() if key in self._learned or isinstance(value, np.ndarray)}
        if arrays:  # these and the inputs must have one dtype
            tensors = {key: keras.ops.convert_to_tensor(value, self.compute_dtype) for key, value in arrays.items()}
            inputs, given = keras.ops.convert_to_tensor(inputs, self.compute_dtype), given | tensors
        return self.function(inputs, **given)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that create an equal layer, without its weights."""
        given = {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in self._given.items()}
        return {**super().get_config(), "function": self.function.get_config(), "learn": list(self._learned), **given}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Activation:
        """Return the layer that a config describes."""
        function = actufunc.Activation.from_config(config["function"])
        layer: Activation = super().from_config({**config, "function": function})
        return layer


backend.make_layer = Activation


def _as_numpy(value: Any) -> Any:
    return keras.ops.convert_to_numpy(value) if backend.is_array(value) else value


def _value(value: Any) -> Any:
    """Return a hyperparameter as a Python number or an array."""
    if isinstance(value, bool | int | float):
        return value
    array = np.asarray(value, np.float64)
    return array.item() if array.ndim == 0 else array


def _axes(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value  # a config is JSON, which has no tuples

"""Activations as layers of Keras 3, on all of its backends, whose hyperparameters may be learned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

import actufunc
from actufunc.binding import bind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_OF_LAYERS = frozenset({"name", "dtype", "trainable", "activity_regularizer", "autocast"})


class Activation(keras.layers.Layer):  # type: ignore[misc]
    """A layer that applies an activation.

    What is learned is an attribute of the layer, a weight.

    Parameters
    ----------
    function : actufunc.Activation
        What it computes, of the catalogue or one's own.
    learn : str or iterable of str, default ()
        Hyperparameters to learn. Those that are not given start from their defaults.
    **hyperparameters
        Numbers, or arrays that broadcast with the input; options such as ``approximate="tanh"``; `axis`, and
        `keepdims`, of a function that has it. A value that is learned becomes a weight of its shape. Also what every
        layer of Keras takes: `name`, `dtype`, `trainable`.

    Raises
    ------
    TypeError
        If `function` is no activation of one array, does not know a hyperparameter or lacks one; or if what is to be
        learned is none.

    Examples
    --------
    >>> import keras
    >>> from actufunc import silu
    >>> from actufunc.layers.keras import Activation
    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4), Activation(silu, beta=1.5, learn="beta")])
    >>> model.layers[-1].beta.shape
    ()
    """

    def __init__(
        self, function: actufunc.Activation, *, learn: str | Iterable[str] = (), **hyperparameters: Any
    ) -> None:
        super().__init__(**{key: hyperparameters.pop(key) for key in _OF_LAYERS & hyperparameters.keys()})
        if not isinstance(function, actufunc.Activation) or function.definition.arrays != ("x",):
            raise TypeError(f"a layer applies an activation of one array, such as actufunc.silu, not {function!r}")
        self.function = function
        self._learn = (learn,) if isinstance(learn, str) else tuple(learn)
        self._given = _values(function, hyperparameters, self._learn)
        for key in self._learn:
            if hasattr(self, key):
                raise TypeError(f"layers of Keras have an attribute {key!r}; rename that of {function.__name__}")
            value = self._given[key]
            start = keras.initializers.Constant(value)
            setattr(self, key, self.add_weight(shape=np.shape(value), initializer=start, name=key))
        self.supports_masking = not function.definition.reduces
        self.built = True

    def call(self, inputs: Any) -> Any:
        """Compute the activation."""
        given = self._given | {key: getattr(self, key) for key in self._learn}
        arrays = {key: value for key, value in given.items() if key in self._learn or isinstance(value, np.ndarray)}
        if arrays:  # then all are of one dtype
            tensors = {key: keras.ops.convert_to_tensor(value, self.compute_dtype) for key, value in arrays.items()}
            inputs, given = keras.ops.convert_to_tensor(inputs, self.compute_dtype), given | tensors
        return self.function(inputs, **given)

    def get_config(self) -> dict[str, Any]:
        """Return what makes the layer anew; weights are kept apart."""
        given = {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in self._given.items()}
        return {**super().get_config(), "function": self.function.get_config(), "learn": list(self._learn), **given}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Activation:
        """Return the layer of a config."""
        function = actufunc.Activation.from_config(config["function"])
        layer: Activation = super().from_config({**config, "function": function})
        return layer


def _values(function: actufunc.Activation, given: Mapping[str, Any], learned: tuple[str, ...]) -> dict[str, Any]:
    """Return what a layer passes by name: what was given, and what is learned from its default."""
    name, definition = function.__name__, function.definition
    if taken := {*definition.hyperparameters, *definition.options} & (_OF_LAYERS | {"function", "learn"}):
        raise TypeError(f"layers of Keras take {', '.join(sorted(taken))} themselves; rename that of {name}")
    call = bind(function, None, **given)
    for key in given.keys() & call.keywords.keys() - {"axis", "keepdims"}:
        raise TypeError(f"a layer decides on no {key}; call {name} itself")
    for key in learned:
        if key not in definition.hyperparameters:
            raise TypeError(f"{name} can learn {' and '.join(definition.hyperparameters) or 'nothing'}, not {key!r}")
    _ = call.expression  # an option without a formula is told here
    values = {key: call.operands[key] for key in learned} | dict(given)
    return {key: _value(name, key, value) if key in call.operands else _axes(value) for key, value in values.items()}


def _value(name: str, key: str, value: Any) -> Any:
    """Return a hyperparameter as a Python number or an array."""
    if isinstance(value, bool | int | float):
        return value
    if keras.ops.is_tensor(value) or isinstance(value, keras.Variable):
        value = keras.ops.convert_to_numpy(value)
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} takes {key} as a number or an array of numbers, not {type(value).__name__}")
    return array.item() if array.ndim == 0 else array.astype(np.float64)


def _axes(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value  # JSON has no tuples

"""Activations as modules of torch, whose hyperparameters may be learned."""

from collections.abc import Iterable
from typing import Any

import torch

import actufunc

from ._arguments import check_arguments, check_attributes

__all__ = ["Activation"]


class Activation(torch.nn.Module):  # type: ignore[misc]
    """A layer that applies an activation.

    Each given value is an attribute of the module: a parameter if it is learned, a buffer if it is another tensor.

    Parameters
    ----------
    function : actufunc.Activation
        The function that the layer applies, of the catalogue or user-defined.
    learn : str or iterable of str, default ()
        Names of hyperparameters to learn. Those without a given value start from their defaults.
    **hyperparameters
        Numbers, or tensors that broadcast with the input (shape ``(C, 1, 1)`` for one value per channel of images);
        options such as ``approximate="tanh"``; `axis` and `keepdims` of a function that has them. A number that is
        learned becomes a 0-dimensional parameter of torch's default dtype, a tensor is copied to a parameter, and a
        `torch.nn.Parameter` is used as it is and always learned.

    Raises
    ------
    TypeError
        If `function` is not an activation of one array, a hyperparameter is unknown or missing, `learn` names
        something else than hyperparameters, or a tensor to learn is not real floating-point.

    Examples
    --------
    >>> import torch
    >>> from actufunc import prelu, silu
    >>> from actufunc.layers.torch import Activation
    >>> model = torch.nn.Sequential(torch.nn.Linear(8, 4), Activation(silu, beta=1.5, learn="beta"))
    >>> model[1]
    Activation(silu, beta=1.5, learn='beta')
    >>> model[1].beta
    Parameter containing:
    tensor(1.5000, requires_grad=True)
    >>> Activation(prelu, alpha=torch.full((4,), 0.25), learn="alpha")(-torch.ones(2, 4)).shape
    torch.Size([2, 4])
    """

    def __init__(
        self, function: actufunc.Activation, /, *, learn: str | Iterable[str] = (), **hyperparameters: Any
    ) -> None:
        super().__init__()
        values, learned = check_arguments(function, hyperparameters, learn, torch.Tensor)
        self.function = function
        self._given = tuple(values)
        check_attributes(self, values, "torch's modules")
        for name, value in values.items():
            if name in learned:
                setattr(self, name, _parameter(function.__name__, name, value))
            elif isinstance(value, torch.Tensor) and not isinstance(value, torch.nn.Parameter):
                self.register_buffer(name, value)
            else:
                setattr(self, name, value)

    # torch.fx copies these annotations into its graphs, and needs types there: no `from __future__ import annotations`.
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the activation."""
        return self.function(x, **{name: getattr(self, name) for name in self._given})

    def extra_repr(self) -> str:
        """Return the text between the parentheses of the module's repr."""
        parts = [self.function.__name__, *(f"{name}={_text(getattr(self, name))}" for name in self._given)]
        learned = tuple(name for name in self._given if name in self._parameters)
        if learned:
            parts.append(f"learn={learned[0]!r}" if len(learned) == 1 else f"learn={learned!r}")
        return ", ".join(parts)


def _parameter(name: str, key: str, value: Any) -> torch.nn.Parameter:
    """Return a parameter with an initial value."""
    if isinstance(value, torch.nn.Parameter):
        return value
    if not isinstance(value, torch.Tensor):
        value = torch.tensor(float(value))
    elif not value.is_floating_point():
        raise TypeError(f"{name} can learn {key} from a real floating-point tensor, not from {value.dtype}")
    return torch.nn.Parameter(value.detach().clone())


def _text(value: Any) -> str:
    if not isinstance(value, torch.Tensor):
        return repr(value)
    return f"{value.item():.6g}" if value.ndim == 0 and not value.is_meta else f"<shape {tuple(value.shape)}>"

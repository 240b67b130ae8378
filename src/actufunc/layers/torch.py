"""Activations as modules of torch, whose hyperparameters may be learned."""

from collections.abc import Iterable
from typing import Any

import torch

import actufunc

from ._arguments import checked

__all__ = ["Activation"]


class Activation(torch.nn.Module):  # type: ignore[misc]
    """A layer that applies an activation.

    What is given by name is an attribute of the module: a parameter if it is learned, a buffer if it is another tensor.

    Parameters
    ----------
    function : actufunc.Activation
        What it computes, of the catalogue or one's own.
    learn : str or iterable of str, default ()
        Hyperparameters to learn. Those that are not given start from their defaults.
    **hyperparameters
        Numbers or tensors, which broadcast with the input (of shape ``(C, 1, 1)`` for each channel of images); options
        such as ``approximate="tanh"``; `axis`, and `keepdims`, of a function that has it. A number that is learned
        becomes a parameter of no dimensions and torch's default dtype, a tensor is copied to one; a
        `torch.nn.Parameter` is taken as it is, and learned in any case.

    Raises
    ------
    TypeError
        If `function` is no activation of one array, does not know a hyperparameter or lacks one; or if what is to be
        learned is an option, or no real floating-point number.

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
        values, learned = checked(function, hyperparameters, learn, torch.Tensor)
        self.function = function
        self._given = tuple(values)
        for name, value in values.items():
            if hasattr(self, name):
                raise TypeError(f"torch's modules have an attribute {name!r}; rename that of {function.__name__}")
            if name in learned:
                setattr(self, name, _started(function.__name__, name, value))
            elif isinstance(value, torch.Tensor) and not isinstance(value, torch.nn.Parameter):
                self.register_buffer(name, value)
            else:
                setattr(self, name, value)

    # These annotations, which are no strings, torch.fx writes into graphs.
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the activation."""
        return self.function(x, **{name: getattr(self, name) for name in self._given})

    def extra_repr(self) -> str:
        """Return what stands between the parentheses of the module's repr."""
        parts = [self.function.__name__, *(f"{name}={_text(getattr(self, name))}" for name in self._given)]
        learned = tuple(name for name in self._given if name in self._parameters)
        if learned:
            parts.append(f"learn={learned[0]!r}" if len(learned) == 1 else f"learn={learned!r}")
        return ", ".join(parts)


def _started(name: str, key: str, value: Any) -> torch.nn.Parameter:
    """Return a parameter that starts from a value."""
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

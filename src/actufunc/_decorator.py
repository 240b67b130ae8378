"""The decorator `activation`, which makes an activation of a formula."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._activation import Activation
from .formula.definition import trace

if TYPE_CHECKING:
    from collections.abc import Callable


def activation(function: Callable[..., Any], /) -> Activation:
    """Make an activation of a formula.

    Parameters
    ----------
    function : callable
        Function of ``x`` and of hyperparameters with defaults that returns the formula, written with Python's
        operators, the functions of `actufunc.formula` and other activations. It is called once, with symbols instead
        of arrays.

    Returns
    -------
    Activation
        Activation with the name and docstring of the function.

    Raises
    ------
    TypeError
        If the function branches on an argument, calls a function of another library, or returns anything but one
        expression.

    Examples
    --------
    >>> import numpy as np
    >>> from actufunc import activation, sigmoid
    >>> @activation
    ... def scaled_sigmoid(x, temperature=2.0):
    ...     return sigmoid(x / temperature)
    >>> scaled_sigmoid(np.array([-2.0, 0.0, 2.0]))
    array([0.26894142, 0.5       , 0.73105858])
    >>> scaled_sigmoid.grad(np.array([0.0]), temperature=1)
    array([0.25])
    """
    made = Activation(trace(function))
    made.__doc__ = function.__doc__
    made.__module__ = function.__module__
    made.__qualname__ = function.__qualname__
    return made

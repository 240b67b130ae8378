"""Support of torch.compile, whose graph contains each call of an activation as one node.

Its front end, Dynamo, interprets Python code and cannot handle a lock, a lazy import or a registry. The next stage
traces a node by running it on fake tensors.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_Method = TypeVar("_Method", bound="Callable[..., Any]")


def is_compiling() -> bool:
    """Return True if Dynamo interprets this code."""
    torch = sys.modules.get("torch")
    return torch is not None and bool(torch.compiler.is_dynamo_compiling())


def has_tensor(*values: Any) -> bool:
    """Return True if one of the values is a tensor of torch."""
    return any(isinstance(value, sys.modules["torch"].Tensor) for value in values)


def constant_result(method: _Method) -> _Method:
    """Mark a method that Dynamo runs instead of interpreting it, and whose result is a constant in the graph."""
    # torch.compiler.assume_constant_result does the same, but torch would have to be imported.
    method._dynamo_marked_constant = True  # type: ignore[attr-defined]  # noqa: SLF001
    return method


class cached_activation:  # noqa: N801 -- named as functools.cached_property
    """`functools.cached_property` that Dynamo supports, for activations that `make` derives from another."""

    def __init__(self, make: Callable[[Any], Any]) -> None:
        self._make, self._name, self.__doc__ = make, make.__name__, make.__doc__

    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return self
        self._prepare(instance)
        made = getattr(instance, f"_{self._name}")
        if not is_compiling():  # Dynamo guards on the absence of the attribute
            instance.__dict__[self._name] = made
        return made

    @constant_result
    def _prepare(self, instance: Any) -> None:
        if f"_{self._name}" not in instance.__dict__:
            instance.__dict__.setdefault(f"_{self._name}", self._make(instance))  # the first thread wins

    def clear(self, instance: Any) -> None:
        """Remove the cached activation."""
        for name in (self._name, f"_{self._name}"):
            instance.__dict__.pop(name, None)

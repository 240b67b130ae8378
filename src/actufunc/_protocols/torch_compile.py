"""How torch.compile takes calls: as nodes of its graph, without a look inside.

Dynamo, its front end, follows Python code, and stops at a lock, a lazy import or a registry. The next stage traces what
a node computes, by running it on stand-ins for tensors.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_Method = TypeVar("_Method", bound="Callable[..., Any]")


def is_compiling() -> bool:
    """Tell whether Dynamo follows this code, rather than that Python runs it."""
    torch = sys.modules.get("torch")
    return torch is not None and bool(torch.compiler.is_dynamo_compiling())


def has_tensor(*values: Any) -> bool:
    """Tell whether a tensor of torch is among the arguments of a call."""
    return any(isinstance(value, sys.modules["torch"].Tensor) for value in values)


def constant_result(method: _Method) -> _Method:
    """Mark a method whose result is a constant to Dynamo, which runs the method instead of following it."""
    # As torch.compiler.assume_constant_result does, for which torch would have to be imported.
    method._dynamo_marked_constant = True  # type: ignore[attr-defined]  # noqa: SLF001
    return method


class cached_property:  # noqa: N801 -- as functools calls it
    """`functools.cached_property` for an activation that is derived from another, which does not stop Dynamo.

    Parameters
    ----------
    make : callable
        Takes the other activation and returns the derived one.
    """

    def __init__(self, make: Callable[[Any], Any]) -> None:
        self._make, self._name, self.__doc__ = make, make.__name__, make.__doc__

    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return self
        self._prepare(instance)
        made = getattr(instance, f"_{self._name}")
        if not is_compiling():  # Dynamo has seen that there is no such attribute, and must not find one afterwards
            instance.__dict__[self._name] = made
        return made

    @constant_result
    def _prepare(self, instance: Any) -> None:
        if f"_{self._name}" not in instance.__dict__:
            instance.__dict__.setdefault(f"_{self._name}", self._make(instance))  # of threads the first prevails

    def clear(self, instance: Any) -> None:
        """Let the derived activation be made anew."""
        for name in (self._name, f"_{self._name}"):
            instance.__dict__.pop(name, None)

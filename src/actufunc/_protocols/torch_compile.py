"""What torch.compile does not read of a call: it takes the call into its graph as it stands.

Its front end, Dynamo, follows Python code, and stops at a lock, a lazy import or a registry. What it takes into the
graph unread, the next stage traces by running it on stand-ins for tensors.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from actufunc._activation import Activation

_Method = TypeVar("_Method", bound="Callable[..., Any]")


def is_read() -> bool:
    """Tell whether Dynamo reads this function, rather than that Python runs it."""
    torch = sys.modules.get("torch")
    return torch is not None and bool(torch.compiler.is_dynamo_compiling())


def has_tensor(*values: Any) -> bool:
    """Tell whether a tensor of torch is among the arguments of a call."""
    return any(isinstance(value, sys.modules["torch"].Tensor) for value in values)


def unread(method: _Method) -> _Method:
    """Mark a method that Dynamo runs when it comes across it, instead of reading it."""
    # As torch.compiler.assume_constant_result does, for which torch would have to be imported.
    method._dynamo_marked_constant = True  # type: ignore[attr-defined]  # noqa: SLF001
    return method


class Derived:
    """An activation that is made when it is first looked up, as by `functools.cached_property`, which stops Dynamo.

    Parameters
    ----------
    make : callable
        Makes it for an activation.
    """

    def __init__(self, make: Callable[[Activation], Activation]) -> None:
        self._make, self._name, self.__doc__ = make, make.__name__, make.__doc__

    def __get__(self, instance: Activation | None, owner: type) -> Any:
        if instance is None:
            return self
        self._prepare(instance)
        made = getattr(instance, f"_{self._name}")
        if not is_read():  # Dynamo has seen that there is no such attribute, and must not find one afterwards
            instance.__dict__[self._name] = made
        return made

    @unread
    def _prepare(self, instance: Activation) -> None:
        if f"_{self._name}" not in instance.__dict__:
            instance.__dict__.setdefault(f"_{self._name}", self._make(instance))  # of threads the first prevails

    def forget(self, instance: Activation) -> None:
        """Let it be made anew."""
        for name in (self._name, f"_{self._name}"):
            instance.__dict__.pop(name, None)

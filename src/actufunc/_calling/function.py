"""The type of activations for the modules below `actufunc._activation`, which defines them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from actufunc.formula.definition import Definition

    from .binding import Positions


class Function(Protocol):
    """An activation; see `actufunc.Activation`.

    Attributes
    ----------
    definition : Definition
        Formula, arguments and options.
    positions : Positions
        Arguments that may be given by position.
    call_keywords : dict
        Keywords of every call, such as `out`, with their defaults.
    origin : tuple, or None
        For a derivative, the activation and the name of its attribute; for a part of a gated unit, the unit and an
        index.
    custom_vjp : callable, or None
        Formula of the vjp over an axis, if it is not derived.
    halves : tuple of activations
        Elementwise functions that make up a gated unit.
    """

    __name__: str
    __qualname__: str
    definition: Definition
    positions: Positions
    origin: tuple[Any, str | int] | None
    custom_vjp: Callable[..., Any] | None

    @property
    def call_keywords(self) -> dict[str, Any]: ...

    @property
    def halves(self) -> tuple[Any, ...]: ...

    @property
    def vjp(self) -> Any: ...

    def __hash__(self) -> int: ...

    def __call__(self, x: Any, /, *args: Any, **keywords: Any) -> Any: ...

    def run(self, x: Any, args: tuple[Any, ...], keywords: dict[str, Any], out: Any, key: Hashable = None) -> Any: ...

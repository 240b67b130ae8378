"""The type of activations for the modules that `actufunc._activation` imports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from actufunc.formula.definition import Definition

NOT_GIVEN: Any = type("NotGiven", (), {"__repr__": lambda _: "<not given>", "__slots__": ()})()
"""Default of `x` and `out`. It differs from ``out=None``, which asks for no warning about `where` without an output."""


@dataclass(frozen=True, slots=True)
class Positions:
    """Arguments that may be given by position.

    Attributes
    ----------
    names : tuple of str
        Arguments and options, `x` first.
    follows : str or None
        Keyword that may be given by position after them: "axis", or "out" as in a NumPy ufunc if all arguments are
        arrays.
    """

    names: tuple[str, ...]
    follows: str | None

    @classmethod
    def of(cls, definition: Definition) -> Positions:
        """Return the positional arguments of a definition."""
        names = (*definition.arguments, *(name for name in definition.options if name != "wrt"))
        if definition.over_axis or definition.gated:
            return cls(names, "axis")
        return cls(names, "out" if names == definition.arrays else None)

    def split(
        self, name: str, args: tuple[Any, ...], keywords: dict[str, Any], out: Any
    ) -> tuple[tuple[Any, ...], dict[str, Any], Any]:
        """Return the arguments after `x`, the keywords and the output, with `follows` taken from the arguments."""
        room = len(self.names) - 1
        if len(args) <= room or self.follows is None:
            return args, keywords, out
        if len(args) > room + 1:
            raise TypeError(f"{name} takes at most {room + 2} positional arguments, not {len(args) + 1}")
        if (self.follows == "out" and out is not NOT_GIVEN) or self.follows in keywords:
            raise TypeError(f"{name} got {self.follows!r} by position and by keyword")
        if self.follows == "out":
            return args[:room], keywords, args[room]
        return args[:room], {**keywords, "axis": args[room]}, out


class Function(Protocol):
    """An activation; see `actufunc.Activation`.

    Attributes
    ----------
    definition : Definition
        Formula, arguments and options.
    positions : Positions
        Arguments that may be given by position.
    call_keywords : dict
        Keywords of a call that are no hyperparameters or options, such as `out`, with their defaults.
    origin : tuple, or None
        Activation and attribute name that a derivative comes from, or gated unit and index that a part comes from.
    custom_vjp : callable, or None
        Formula of the vjp over an axis, if the definition has one.
    halves : tuple of activations
        Elementwise functions of both parts of `x` that make up a gated unit; empty for others.
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

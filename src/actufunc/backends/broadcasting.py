"""Broadcasting of shapes, and the memory order of results."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actufunc._calling.call import Call


ORDERS = ("K", "A", "C", "F")


def order_of(call: Call) -> Any:
    """Return the memory order of a new result; raise ValueError if there is no such order."""
    order = call.keywords.get("order", "K")
    if order not in ORDERS:
        raise ValueError(f"order must be one of {', '.join(map(repr, ORDERS))}, not {order!r}")
    return order


def broadcast_shapes(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape to which shapes broadcast, as `numpy.broadcast_shapes`, but for any number of dimensions."""
    result: list[int] = []
    for lengths in itertools.zip_longest(*map(reversed, shapes), fillvalue=1):
        others = {length for length in lengths if length != 1}
        if len(others) > 1:
            raise ValueError("these shapes do not broadcast")
        result.insert(0, others.pop() if others else 1)
    return tuple(result)


def broadcast_arguments(name: str, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    """Return the shape to which the arguments of a call broadcast; raise ValueError, which names them, if none."""
    try:
        return broadcast_shapes(*shapes.values())
    except ValueError:
        text = ", ".join(f"{key} {shape}" for key, shape in shapes.items())
        raise ValueError(f"{name} cannot broadcast these shapes together: {text}") from None


def check_fits(name: str, shape: tuple[int, ...], into: tuple[int, ...], *, exactly: bool = False) -> None:
    """Raise ValueError unless `shape` broadcasts to the shape `into` of an output, or with `exactly` equals it."""
    try:
        fits = shape == into or (not exactly and broadcast_shapes(shape, into) == into)
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"{name} has a result of shape {shape}, which does not fit out of shape {into}")

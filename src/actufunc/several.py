"""Calls with several results: derivatives by several arguments, a gated unit whose halves are apart."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from .binding import NOT_GIVEN
from .protocol import may_overlap

if TYPE_CHECKING:
    from .ufunc import Activation


def by_several(
    function: Activation, names: tuple[Any, ...], /, *args: Any, out: Any = None, **keywords: Any
) -> tuple[Any, ...]:
    """Differentiate by several arguments."""
    outputs = _outputs(function, f"wrt={names}", len(names), out, (*args, *keywords.values()))
    given = zip(names, outputs, strict=True)
    return tuple(function(*args, **(keywords | {"wrt": name, "out": each})) for name, each in given)


def of_halves(function: Activation, x: Any, args: tuple[Any, ...], keywords: dict[str, Any], out: Any) -> Any:
    """Compute a gated unit of two halves, or its vjp by each of them."""
    halves = function.halves
    if "gate" in keywords:
        keywords = dict(keywords)
        args = (keywords.pop("gate"), *args)
    if len(halves) == 1:
        return halves[0](x, *args, out=out, **keywords)
    out = None if out is NOT_GIVEN else out
    outputs = _outputs(function, "two halves", len(halves), out, (x, *args))
    return tuple([half(x, *args, out=each, **keywords) for half, each in zip(halves, outputs, strict=True)])


def _outputs(function: Activation, what: str, count: int, out: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return as many outputs as there are results, which must not be written over before all are computed."""
    name, outputs = function.__name__, (None,) * count if out is None else out
    if not isinstance(outputs, tuple) or len(outputs) != count:
        raise ValueError(f"{name} has {count} results for {what}: out must be a tuple of as many arrays")
    if any(may_overlap(value, output) for output in outputs for value in inputs):
        raise ValueError(f"{name} cannot write several results over its inputs; give it other outputs")
    if any(may_overlap(*pair) for pair in itertools.combinations(outputs, 2)):
        raise ValueError(f"{name} cannot write several results to the same memory; give it other outputs")
    return outputs

"""Calls with multiple outputs: derivatives by several arguments, the vjp of a gated unit with separate parts."""

from __future__ import annotations

import itertools
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from actufunc._calling.array_kinds import may_share_memory
from actufunc._calling.function import NOT_GIVEN
from actufunc.backends.broadcasting import check_fits
from actufunc.backends.promotion import check_cast

if TYPE_CHECKING:
    from actufunc._calling.function import Function


def partial_derivatives(
    function: Function, names: tuple[Any, ...], /, *args: Any, out: Any = None, **keywords: Any
) -> tuple[Any, ...]:
    """Return the derivatives by several arguments, `names`."""
    outputs = _outputs(function, f"wrt={names}", len(names), out)
    results = tuple(function(*args, **(keywords | {"wrt": name, "out": None})) for name in names)
    return _written(function, results, outputs, keywords)


def call_on_parts(function: Function, x: Any, args: tuple[Any, ...], keywords: dict[str, Any], out: Any) -> Any:
    """Compute a gated unit of separate parts `x` and `gate`, or its vjp by each of them."""
    parts = function.halves
    if "gate" in keywords:
        keywords = dict(keywords)
        args = (keywords.pop("gate"), *args)
    if len(parts) == 1:
        return parts[0](x, *args, out=out, **keywords)
    outputs = _outputs(function, "two halves", len(parts), None if out is NOT_GIVEN else out)
    results = tuple([part(x, *args, out=None, **keywords) for part in parts])
    return _written(function, results, outputs, keywords)


def _outputs(function: Function, what: str, count: int, out: Any) -> tuple[Any, ...]:
    """Return the outputs as a tuple of None and arrays; raise ValueError for a wrong number or shared memory."""
    name, outputs = function.__name__, (None,) * count if out is None else out
    if not isinstance(outputs, tuple) or len(outputs) != count:
        raise ValueError(f"{name} has {count} results for {what}: out must be a tuple of as many arrays")
    if any(may_share_memory(*pair) for pair in itertools.combinations(outputs, 2)):
        raise ValueError(f"{name} cannot write several results to the same memory; give it other outputs")
    return outputs


def _written(
    function: Function, results: tuple[Any, ...], outputs: tuple[Any, ...], keywords: dict[str, Any]
) -> tuple[Any, ...]:
    """Write results to the outputs given, after checks of all of them; return outputs and other results."""
    name, casting = function.__name__, keywords.get("casting", "same_kind")
    pairs = [(result, out) for result, out in zip(results, outputs, strict=True) if out is not None]
    for result, out in pairs:
        if not hasattr(out, "flags"):
            raise TypeError(f"{name} can write its output to an array only, not to {type(out).__name__}")
        if not getattr(out.flags, "writeable", True):
            raise ValueError(f"{name} cannot write to out, which is read-only")
        check_fits(name, np.shape(result), out.shape)
        check_cast(name, "its result", result.dtype, out.dtype, casting)
    for result, out in pairs:
        place = keywords.get("where", True)
        if isinstance(out, np.ndarray):
            np.copyto(out, result, casting=casting, where=place)
        else:
            sys.modules["cupy"].copyto(out, result, casting=casting, where=None if place is True else place)
    return tuple([result if out is None else out for result, out in zip(results, outputs, strict=True)])

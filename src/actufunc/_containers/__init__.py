"""Containers: what takes over a call by ``__array_ufunc__`` (NEP 13), and which of them follow over an axis.

An elementwise function is handed to any container: whatever part of its elements it computes at a time, the results are
the same. Over an axis they are not, where a container computes chunk by chunk, group by group, or on a buffer in which
missing values have a number, too. So only kinds in the table below get such a call, each of which is tested with the
library itself (``tests/containers``); all others are refused, whether anybody knows them or not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from actufunc._calling.array_kinds import overrides_ufuncs, owner, root
from actufunc._calling.conversion import described, refuse_framework

from . import checks as fitness
from . import polars as expressions
from . import units
from . import xarray as named

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actufunc._calling.call import Call
    from actufunc.formula.definition import Definition

KEPT, REDUCED, HALVED = "kept", "reduced", "halved"
"""What a function makes of the length of an axis."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of container that follows over an axis.

    Attributes
    ----------
    follows : tuple of str
        Functions that it follows, by what they make of the length of the axis.
    problem : callable
        Takes a container, and whether the call is over an axis; tells what stands in the way, or nothing.
    serve : callable, or None
        Computes a call; None if the container does.
    everywhere : bool
        Whether that serves elementwise functions as well.
    where, out : bool
        Whether it takes such containers for ``where=`` over an axis, and any ``out=``.
    all_inputs : bool
        Whether it needs as many inputs as the function has, also hyperparameters that have their default.
    """

    follows: tuple[str, ...]
    problem: Callable[[Any, bool], str] = fitness.of_anything
    serve: Callable[[Call], Any] | None = None
    everywhere: bool = False
    where: bool = False
    out: bool = False
    all_inputs: bool = False


_ANY = (KEPT, REDUCED, HALVED)
_NAMED = Kind(_ANY, serve=named.over_dimensions, where=True, all_inputs=True)

KINDS = {
    ("pandas", "Series"): Kind((KEPT, REDUCED), fitness.of_pandas, out=True),
    ("pandas", "DataFrame"): Kind((KEPT,), fitness.of_pandas, out=True),
    ("polars", "Series"): Kind((KEPT, REDUCED), fitness.of_polars),
    ("polars", "Expr"): Kind((KEPT, REDUCED), serve=expressions.over_rows),
    ("xarray", "DataArray"): _NAMED,
    ("xarray", "Dataset"): _NAMED,
    ("xarray", "Variable"): _NAMED,
    ("pint", "Quantity"): Kind(_ANY, serve=units.without, everywhere=True, out=True),
    ("astropy", "Quantity"): Kind(_ANY, out=True),
}
"""The kinds that follow, by their library and the name of their class; subclasses do that leave the call to it."""


_DIFFERENTIATE = ("torch", "jax", "tensorflow", "keras")
"""Libraries whose arrays a container would convert, and lose their gradients."""


def serve(call: Call, overriding: Sequence[Any]) -> Any:
    """Compute a call that containers take over.

    Parameters
    ----------
    call : Call
        What to compute.
    overriding : sequence
        Its containers.

    Raises
    ------
    TypeError
        If one of them refuses, or does not follow over an axis.
    """
    name, over_axis = call.definition.name, call.definition.kind != "elementwise"
    for key, value in call.items():
        refuse_framework(name, key, value)
        if owner(value) in _DIFFERENTIATE:
            both = f"{described(overriding[0])} and {described(value)}"
            raise TypeError(f"{name} got {both}; convert them to one library first")
    refuse_opted_out(name, overriding)
    kinds = [_kind(type(value)) for value in overriding]
    for value, kind in zip(overriding, kinds, strict=True):
        if over_axis and kind is None:
            raise TypeError(
                f"{name} needs whole rows, which {described(value)} is not known to give; pass {_as_array(call, value)}"
            )
        if over_axis and kind is not None and _change(call.definition) not in kind.follows:
            raise TypeError(
                f"{name} changes shapes, which {described(value)} cannot follow; pass {_as_array(call, value)}"
            )
        if kind is not None and (problem := kind.problem(value, over_axis)):
            raise TypeError(f"{name} does not support {problem}")
        if call.out is not None and kind is not None and not kind.out:
            raise TypeError(f"{name} takes no out= with {described(value)}; omit it")
    first = kinds[0]
    where = call.keywords.get("where", True)
    if overrides_ufuncs(where) and (mask := _kind(type(where))) is not None and not (over_axis and mask.where):
        raise TypeError(f"{name} takes where= as an array, not as {described(where)}; pass {_as_array(call, where)}")
    if over_axis and first is not None:
        _check_beside(call, overriding)
    alike = len({root(value) for value in overriding}) == 1
    if first is not None and first.serve is not None and (over_axis or (first.everywhere and alike)):
        return first.serve(call)
    inputs, keywords = call.as_typed()
    if any(kind is not None and kind.all_inputs for kind in kinds):
        inputs = list(call.operands.values())
    if call.out is not None:
        keywords["out"] = (call.out,)
    return hand_over(call.function, "__call__", inputs, keywords, overriding)


def _check_beside(call: Call, overriding: Sequence[Any]) -> None:
    """Raise TypeError if containers of several libraries meet over an axis."""
    name = call.definition.name
    if len({root(value) for value in overriding}) > 1:
        kinds = " and ".join(described(value) for value in overriding)
        raise TypeError(f"{name} got {kinds}; convert them to one kind first")


def _change(definition: Definition) -> str:
    """Tell what a function makes of the length of an axis; the vjp of one that reduces it has such a cotangent."""
    if definition.gated:
        return HALVED
    return REDUCED if definition.reduces or definition.of_rows else KEPT


def _kind(container: type) -> Kind | None:
    """Return the kind of a class that leaves calls to one in the table."""
    for base in container.__mro__:
        kind = KINDS.get((base.__module__.partition(".")[0], base.__name__))
        if kind is not None:
            beside = (each for each in container.__mro__ if each not in base.__mro__)
            return None if any("__array_ufunc__" in vars(each) for each in beside) else kind
    return None


def _as_array(call: Call, container: Any) -> str:
    """Tell how a container becomes an array."""
    key = next(key for key, value in call.items() if value is container)
    ways = ("to_dask_array(lengths=True)", "to_numpy()", "toarray()")
    way = next((way for way in ways if hasattr(type(container), way.partition("(")[0])), None)
    return f"numpy.asarray({key})" if way is None else f"{key}.{way}"


def refuse_opted_out(name: str, overriding: Sequence[Any]) -> None:
    """Raise TypeError if an operand has ``__array_ufunc__ = None``: as with NumPy, nobody may compute then."""
    for value in overriding:
        if type(value).__array_ufunc__ is None:
            raise TypeError(
                f"operand {type(value).__name__!r} does not support ufuncs (__array_ufunc__=None), "
                f"so {name} cannot take it; convert it to an array first"
            )


def hand_over(
    function: Any, method: str, inputs: Sequence[Any], keywords: dict[str, Any], overriding: Sequence[Any]
) -> Any:
    """Let the operands compute, as NumPy does (NEP 13): subclasses first, then from left to right."""
    candidates: list[Any] = []
    for value in overriding:
        if any(type(value) is type(other) for other in candidates):
            continue
        place = next((i for i, other in enumerate(candidates) if issubclass(type(value), type(other))), len(candidates))
        candidates.insert(place, value)
    if any(root(value) == "astropy" for value in candidates):
        units.register(function)
    for value in candidates:
        result = type(value).__array_ufunc__(value, function, method, *inputs, **keywords)
        if result is not NotImplemented:
            return result
    names = " and ".join(type(value).__name__ for value in candidates)
    raise TypeError(f"{function.__name__} is not supported by {names}; convert to an array first")

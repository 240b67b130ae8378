"""Containers: objects that override calls by ``__array_ufunc__`` (NEP 13), and which of them may do so over an axis.

An elementwise call is dispatched to any container: the results do not depend on which part of the elements it computes
at a time. Over an axis they do, if a container computes chunk by chunk, group by group, or on a buffer in which missing
values have numbers too. So only the containers of the table below get such calls, each tested with its library
(``tests/containers``); all others are refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from actufunc._calling.array_kinds import overrides_ufuncs, owner, root
from actufunc._calling.conversion import refuse_framework, type_name

from . import checks, polars, units, xarray

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actufunc._calling.call import Call
    from actufunc.formula.definition import Definition

KEPT, REDUCED, GATED = "kept", "reduced", "gated"
"""Kinds of functions over an axis, by the length of the axis in the result: the same, none or 1, and half of it."""


@dataclass(frozen=True, slots=True)
class Support:
    """Support of a class of containers for functions over an axis.

    Attributes
    ----------
    kinds : tuple of str
        Kinds of functions that are supported.
    check : callable
        Takes a container and whether the call is over an axis; returns the reason for a refusal, or "".
    evaluate : callable, or None
        Computes a call; None if the container itself does, by ``__array_ufunc__``.
    elementwise : bool
        True if `evaluate` also computes elementwise functions.
    where, out : bool
        True if such a container is supported for ``where=`` over an axis, and any ``out=``.
    all_inputs : bool
        True if the container needs all inputs of the function, also hyperparameters that have their defaults.
    """

    kinds: tuple[str, ...]
    check: Callable[[Any, bool], str] = checks.accept
    evaluate: Callable[[Call], Any] | None = None
    elementwise: bool = False
    where: bool = False
    out: bool = False
    all_inputs: bool = False


_ANY = (KEPT, REDUCED, GATED)
_XARRAY = Support(_ANY, evaluate=xarray.over_dimensions, where=True, all_inputs=True)

SUPPORTED = {
    ("pandas", "Series"): Support((KEPT, REDUCED), checks.pandas, out=True),
    ("pandas", "DataFrame"): Support((KEPT,), checks.pandas, out=True),
    ("polars", "Series"): Support((KEPT, REDUCED), checks.polars),
    ("polars", "Expr"): Support((KEPT, REDUCED), evaluate=polars.map_columns),
    ("xarray", "DataArray"): _XARRAY,
    ("xarray", "Dataset"): _XARRAY,
    ("xarray", "Variable"): _XARRAY,
    ("pint", "Quantity"): Support(_ANY, evaluate=units.on_magnitudes, elementwise=True, out=True),
    ("astropy", "Quantity"): Support(_ANY, out=True),
}
"""The supported classes by library and name; their subclasses too, unless these override ``__array_ufunc__``."""


_DIFFERENTIABLE = ("torch", "jax", "tensorflow", "keras")
"""Libraries whose arrays would lose their gradients, as a container would convert them."""


def evaluate(call: Call, overriding: Sequence[Any]) -> Any:
    """Compute a call with operands that are containers, those in `overriding`.

    TypeError is raised if one of them refuses the call, or is not supported over an axis.
    """
    name, over_axis = call.definition.name, call.definition.kind != "elementwise"
    for key, value in call.items():
        refuse_framework(name, key, value)
        if owner(value) in _DIFFERENTIABLE:
            both = f"{type_name(overriding[0])} and {type_name(value)}"
            raise TypeError(f"{name} got {both}; convert them to one library first")
    refuse_opted_out(name, overriding)
    supports = [_support(type(value)) for value in overriding]
    for value, support in zip(overriding, supports, strict=True):
        if over_axis and support is None:
            raise TypeError(
                f"{name} needs whole rows, which {type_name(value)} is not known to give; pass {_as_array(call, value)}"
            )
        if over_axis and support is not None and _kind(call.definition) not in support.kinds:
            raise TypeError(
                f"{name} changes shapes, which {type_name(value)} cannot follow; pass {_as_array(call, value)}"
            )
        if support is not None and (problem := support.check(value, over_axis)):
            raise TypeError(f"{name} does not support {problem}")
        if call.out is not None and support is not None and not support.out:
            raise TypeError(f"{name} takes no out= with {type_name(value)}; omit it")
    first = supports[0]
    where = call.keywords.get("where", True)
    if overrides_ufuncs(where) and (mask := _support(type(where))) is not None and not (over_axis and mask.where):
        raise TypeError(f"{name} takes where= as an array, not as {type_name(where)}; pass {_as_array(call, where)}")
    of_one_library = len({root(value) for value in overriding}) == 1
    if over_axis and first is not None and not of_one_library:
        kinds = " and ".join(type_name(value) for value in overriding)
        raise TypeError(f"{name} got {kinds}; convert them to one kind first")
    if first is not None and first.evaluate is not None and (over_axis or (first.elementwise and of_one_library)):
        return first.evaluate(call)
    inputs, keywords = call.as_arguments()
    if any(support is not None and support.all_inputs for support in supports):
        inputs = list(call.operands.values())
    if call.out is not None:
        keywords["out"] = (call.out,)
    return dispatch_override(call.function, "__call__", inputs, keywords, overriding)


def _kind(definition: Definition) -> str:
    """Return the kind of a function over an axis; the vjp of a reducing one takes a reduced cotangent."""
    if definition.gated:
        return GATED
    return REDUCED if definition.reduces or definition.without_axis else KEPT


def _support(container: type) -> Support | None:
    """Return the support of a class: that of a base in the table, unless the class overrides ``__array_ufunc__``."""
    for base in container.__mro__:
        support = SUPPORTED.get((base.__module__.partition(".")[0], base.__name__))
        if support is not None:
            added = (each for each in container.__mro__ if each not in base.__mro__)
            return None if any("__array_ufunc__" in vars(each) for each in added) else support
    return None


def _as_array(call: Call, container: Any) -> str:
    """Return the expression that converts a container to an array."""
    key = next(key for key, value in call.items() if value is container)
    ways = ("to_dask_array(lengths=True)", "to_numpy()", "toarray()")
    way = next((way for way in ways if hasattr(type(container), way.partition("(")[0])), None)
    return f"numpy.asarray({key})" if way is None else f"{key}.{way}"


def refuse_opted_out(name: str, overriding: Sequence[Any]) -> None:
    """Raise TypeError if an operand has ``__array_ufunc__ = None``, by which it refuses all ufuncs, as in NumPy."""
    for value in overriding:
        if type(value).__array_ufunc__ is None:
            raise TypeError(
                f"operand {type(value).__name__!r} does not support ufuncs (__array_ufunc__=None), "
                f"so {name} cannot take it; convert it to an array first"
            )


def dispatch_override(
    function: Any, method: str, inputs: Sequence[Any], keywords: dict[str, Any], overriding: Sequence[Any]
) -> Any:
    """Let the operands compute a call, in the order of NEP 13: subclasses first, then from left to right."""
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

"""The arguments of calls on NumPy arrays: conversion, checks, scalar hyperparameters, and how results are wrapped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from actufunc._calling.conversion import of_objects, to_array
from actufunc._calling.plans import SCALARS
from actufunc.backends.masking import as_mask
from actufunc.backends.promotion import (
    rounded,
    scalars_of,
    unsupported,
    working_dtype,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    Array = np.ndarray[Any, Any]

    from actufunc._calling.call import Call
    from actufunc.formula.definition import Definition
    from actufunc.formula.expression import Expression


# Different values of a hyperparameter that a function gets a kernel of its own for. Any further value is spread over an
# array and goes through the general kernel: no endless compilation where a hyperparameter is trained.
_SPECIALISATIONS = 8


_specialised: WeakKeyDictionary[Definition, dict[tuple[Any, ...], set[str]]] = WeakKeyDictionary()


def as_array(name: str, key: str, value: Any) -> Array:
    """Make an array of the argument `key`, of anything that NumPy can."""
    array = to_array(name, key, value)
    if working_dtype(array.dtype) is None:
        raise of_objects(name, key, array) if array.dtype == object else unsupported(name, array.dtype, key)
    return array


def mask_of(call: Call) -> Any:
    """Return the mask of a call, or True if all elements are selected."""
    where = call.keywords.get("where", True)
    return True if where is True else as_mask(call.definition.name, where)


def put_scalars_in(call: Call, arrays: dict[str, Array], work: np.dtype[Any]) -> tuple[Expression, dict[str, Array]]:
    """Return the expression with scalar hyperparameters put in, and the arrays that its kernel takes.

    Values past the number that get a kernel of their own become arrays instead.
    """
    scalars = scalars_of(call)
    values = {key: rounded(value, work) for key, value in scalars.items()}
    of_function = _specialised.setdefault(call.definition, {})
    seen = of_function.setdefault((*call.options.items(), work), set())
    if len(seen) < _SPECIALISATIONS or scalars == call.definition.hyperparameters:
        seen.add(repr(values))
    if repr(values) in seen:
        return call.specialised(values), arrays
    spread = {key: arrays[key] if key in arrays else np.asarray(values[key], work) for key in call.operands}
    return call.expression, spread


def operands_of(call: Call, arrays: dict[str, Array], operands: dict[str, Array]) -> Operands:
    """Return the operands of a kernel, given the arrays of a call and all that the kernel takes."""
    scalars = {key for key in arrays if isinstance(call.operands[key], SCALARS)}
    return Operands({key: array.dtype for key, array in arrays.items()}, scalars, operands, tuple(operands))


def is_plain(call: Call) -> bool:
    """Tell whether all arguments are NumPy arrays of no subclass, or scalars."""
    return all(map(_is_plain, call.values()))


def _is_plain(value: Any) -> bool:
    return type(value) is np.ndarray or isinstance(value, SCALARS) or value is Ellipsis


def wrap(call: Call, result: Any) -> Any:
    """Return a result as NumPy's ufuncs do: as the output wants it, or else the input with the highest priority."""
    out, keywords = call.out, call.keywords
    if out is not None and out is not Ellipsis:
        wrapping = None if type(out) is np.ndarray else out
        inputs = (*call.operands.values(), out)
    else:
        inputs = tuple(call.operands.values())
        wrappers = [each for each in inputs if not _is_plain(each) and hasattr(type(each), "__array_wrap__")]
        wrappers = wrappers if keywords.get("subok", True) else []
        wrapping = max(wrappers, key=lambda each: getattr(each, "__array_priority__", 0.0), default=None)
    if wrapping is None:
        return result
    array, context = np.asanyarray(result), (call.function, inputs, 0)
    to_scalar = array.ndim == 0 and out is None
    try:
        return wrapping.__array_wrap__(array, context, to_scalar)
    except TypeError:  # written for NumPy 1
        return wrapping.__array_wrap__(array, context)


class Operands:
    """The operands of a kernel, and where a call has them.

    Parameters
    ----------
    given : mapping
        Dtypes of the operands of a call, by their names.
    scalars : collection of str
        Those of them that are scalars in the place of arrays.
    fixed : mapping
        Operands of the kernel that are none of a call: hyperparameters as 0-d arrays, by their names.
    names : tuple of str
        All operands in the order of the kernel.

    Attributes
    ----------
    are_arrays : bool
        Whether those of a call are those of the kernel, and arrays.
    """

    def __init__(
        self,
        given: Mapping[str, np.dtype[Any]],
        scalars: Collection[str],
        fixed: Mapping[str, Array],
        names: tuple[str, ...],
    ) -> None:
        self.given, self.names = given, names
        self.fixed = {place: fixed[key] for place, key in enumerate(names) if key not in given}
        self._scalars = [(place, key) for place, key in enumerate(given) if key in scalars]
        self.are_arrays = not self._scalars and not self.fixed

    def as_arrays(self, name: str, operands: tuple[Any, ...]) -> tuple[Array, ...]:
        """Put arrays in the places of scalars, and add those that the call does not have."""
        arrays = list(operands)
        for place, key in self._scalars:
            arrays[place] = np.asarray(operands[place])
            if arrays[place].dtype.kind == "O":  # an integer that no dtype holds
                raise unsupported(name, arrays[place].dtype, key)
        for place, array in self.fixed.items():
            arrays.insert(place, array)
        return tuple(arrays)


def check_out(name: str, out: Any) -> None:
    """Raise unless a result may be written to `out`."""
    if not isinstance(out, np.ndarray):
        raise TypeError(f"{name} can write its output to a NumPy array only, not to {type(out).__name__}")
    if not out.flags.writeable:
        raise ValueError(f"{name} cannot write to out, which is read-only")


def same_memory(a: Array, b: Array) -> bool:
    """Tell whether two arrays of one shape and dtype are the same elements in the same places."""
    return a.__array_interface__["data"][0] == b.__array_interface__["data"][0] and a.strides == b.strides

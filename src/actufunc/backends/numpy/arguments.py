"""The arguments of calls on NumPy arrays: conversion, checks, scalar hyperparameters, and how results are wrapped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from actufunc._calling.array_kinds import SCALARS
from actufunc._calling.conversion import object_dtype_error, to_array
from actufunc.backends.masking import as_mask
from actufunc.backends.promotion import (
    check_casts,
    result_dtype,
    rounded,
    scalars_of,
    unsupported,
    working_dtype,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    Array = np.ndarray[Any, Any]

    from actufunc._calling.call import Call
    from actufunc.formula.definition import Definition
    from actufunc.formula.expression import Expression


# Different values of a hyperparameter that a function gets a kernel of its own for. Any further value is spread over an
# array and goes through the general kernel: no endless compilation where a hyperparameter is trained.
_SPECIALISATIONS = 8
_specialised: WeakKeyDictionary[Definition, dict[tuple[Any, ...], set[str]]] = WeakKeyDictionary()


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
        self.fixed = {place: fixed[key] for place, key in enumerate(names) if key in fixed}
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


@dataclass(frozen=True)
class Arguments:
    """The arguments of a call on NumPy arrays, converted and checked.

    Attributes
    ----------
    call : Call
        The call.
    inputs : dict
        Its operands as arrays, subclasses among them, but for scalar hyperparameters.
    mask : numpy.ndarray or True
        Elements to compute.
    dtype, work : numpy.dtype
        dtype of the result, and the one in which the formula is computed.
    out_dtype : numpy.dtype or None
        dtype of the output, if one is given.
    expression : Expression
        Formula, with scalar hyperparameters put in.
    operands : Operands
        Arrays that the kernel takes.
    """

    call: Call
    inputs: dict[str, Array]
    mask: Any
    dtype: np.dtype[Any]
    work: np.dtype[Any]
    out_dtype: np.dtype[Any] | None
    expression: Expression
    operands: Operands

    @classmethod
    def of(cls, call: Call) -> Arguments:
        """Convert and check the arguments of a call.

        Raises
        ------
        TypeError, ValueError
            If there is no such call.
        """
        name, scalars = call.definition.name, scalars_of(call)
        where = call.keywords.get("where", True)
        mask = True if where is True else as_mask(name, where)
        inputs = {key: as_array(name, key, value) for key, value in call.operands.items() if key not in scalars}
        dtype = result_dtype(call, inputs)
        out = None if call.out is Ellipsis else call.out
        if out is not None:
            check_out(name, out)
        check_casts(call, inputs, dtype, out)
        work = working_dtype(dtype) or dtype
        expression, operands = _put_scalars_in(call, inputs, work)
        out_dtype = None if out is None else out.dtype
        return cls(call, inputs, mask, dtype, work, out_dtype, expression, operands)

    def arrays(self) -> tuple[Array, ...]:
        """Return the operands as arrays of no subclass."""
        return tuple(map(np.asarray, self.inputs.values()))

    @property
    def are_plain(self) -> bool:
        """Whether all arguments are NumPy arrays of no subclass, or scalars, so that later calls may be like this."""
        return all(map(_is_plain, self.call.values()))


def _is_plain(value: Any) -> bool:
    return type(value) is np.ndarray or isinstance(value, SCALARS) or value is Ellipsis


def as_array(name: str, key: str, value: Any) -> Array:
    """Make an array of the argument `key`, of anything that NumPy can."""
    array = to_array(name, key, value)
    if working_dtype(array.dtype) is None:
        raise object_dtype_error(name, key, array) if array.dtype == object else unsupported(name, array.dtype, key)
    return array


def _put_scalars_in(call: Call, arrays: Mapping[str, Array], work: np.dtype[Any]) -> tuple[Expression, Operands]:
    """Return the expression with scalar hyperparameters put in, and the operands that its kernel takes.

    Values past the number that get a kernel of their own become arrays instead.
    """
    scalars = scalars_of(call)
    given = {key: array.dtype for key, array in arrays.items()}
    in_place = {key for key in arrays if isinstance(call.operands[key], SCALARS)}
    values = {key: rounded(value, work) for key, value in scalars.items()}
    of_function = _specialised.setdefault(call.definition, {})
    seen = of_function.setdefault((*call.options.items(), work), set())
    if len(seen) < _SPECIALISATIONS or scalars == call.definition.hyperparameters:
        seen.add(repr(values))
    if repr(values) in seen:
        return call.specialised(values), Operands(given, in_place, {}, tuple(arrays))
    fixed = {key: np.asarray(value, work) for key, value in values.items()}
    return call.expression, Operands(given, in_place, fixed, tuple(call.operands))


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


def check_out(name: str, out: Any) -> None:
    """Raise unless a result may be written to `out`."""
    if not isinstance(out, np.ndarray):
        raise TypeError(f"{name} can write its output to a NumPy array only, not to {type(out).__name__}")
    if not out.flags.writeable:
        raise ValueError(f"{name} cannot write to out, which is read-only")


def same_memory(a: Array, b: Array) -> bool:
    """Tell whether two arrays of one shape and dtype are the same elements in the same places."""
    return a.__array_interface__["data"][0] == b.__array_interface__["data"][0] and a.strides == b.strides


def overlaps(array: Array, out: Array) -> bool:
    """Tell whether writing to `out` could change elements of `array` that are still to be read."""
    return not same_memory(array, out) and bool(np.may_share_memory(array, out))


def are_alike(arrays: tuple[Any, ...]) -> bool:
    """Tell whether arrays have one shape."""
    shape = arrays[0].shape
    return all([each.shape == shape for each in arrays[1:]])  # noqa: C419 -- faster


def are_contiguous(arrays: Sequence[Any]) -> bool:
    """Tell whether arrays of one shape are contiguous, in the same order."""
    for each in arrays:
        if not each.flags.c_contiguous:
            return all(each.flags.f_contiguous for each in arrays)
    return True

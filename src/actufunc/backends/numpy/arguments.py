"""Arguments of calls on NumPy arrays: conversion, checks, scalar hyperparameters, and wrapping of results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from actufunc._calling.array_kinds import SCALARS
from actufunc._calling.conversion import object_dtype_error, to_array
from actufunc.backends.broadcasting import order_of
from actufunc.backends.masking import as_mask
from actufunc.backends.promotion import check_casts, result_dtype, rounded, scalars_of, unsupported, working_dtype

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    Array = np.ndarray[Any, Any]
    DType = np.dtype[Any]

    from actufunc._calling.call import Call
    from actufunc.formula.definition import Definition
    from actufunc.formula.expression import Expression


# Number of values of hyperparameters for which a function has a specialised kernel. Further values are operands of the
# general kernel, so that compilations end where a hyperparameter is trained.
_SPECIALISATIONS = 8
_specialised: WeakKeyDictionary[Definition, dict[tuple[Any, ...], set[str]]] = WeakKeyDictionary()


class Operands:
    """Operands of a kernel, of which a call gives some.

    Parameters
    ----------
    given : mapping
        dtypes of the operands that a call gives, by name.
    scalars : collection of str
        Names of given operands that are scalars.
    fixed : mapping
        Other operands: hyperparameters as 0-d arrays, by name.
    names : tuple of str
        Names of all operands in the order of the kernel.

    Attributes
    ----------
    are_arrays : bool
        True if a call gives all operands as arrays.
    """

    def __init__(
        self,
        given: Mapping[str, DType],
        scalars: Collection[str],
        fixed: Mapping[str, Array],
        names: tuple[str, ...],
    ) -> None:
        self.given, self.names = given, names
        self.fixed = {place: fixed[key] for place, key in enumerate(names) if key in fixed}
        self._scalars = [(place, key) for place, key in enumerate(given) if key in scalars]
        self.are_arrays = not self._scalars and not self.fixed

    def as_arrays(self, name: str, operands: tuple[Any, ...]) -> tuple[Array, ...]:
        """Return all operands as arrays: given scalars are converted, fixed operands inserted."""
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
    """Arguments of a call on NumPy arrays, converted and checked.

    Attributes
    ----------
    call : Call
        Call with these arguments.
    inputs : dict
        Operands, except scalar hyperparameters, as arrays or instances of subclasses.
    mask : numpy.ndarray or True
        Elements to compute.
    dtype, work : numpy.dtype
        dtypes of the result and of the computation.
    out_dtype : numpy.dtype or None
        dtype of the output, if one is given.
    expression : Expression
        Formula, with scalar hyperparameters substituted.
    operands : Operands
        Operands of the kernel.
    order : {"K", "A", "C", "F"}
        Memory order of a fresh result.
    """

    call: Call
    inputs: dict[str, Array]
    mask: Any
    dtype: DType
    work: DType
    out_dtype: DType | None
    expression: Expression
    operands: Operands
    order: Any

    @classmethod
    def of(cls, call: Call) -> Arguments:
        """Convert and check the arguments of a call; raise TypeError or ValueError if they are not valid."""
        name, scalars = call.definition.name, scalars_of(call)
        where = call.keywords.get("where", True)
        mask = True if where is True else as_mask(name, where)
        order = order_of(call)
        inputs = {key: as_array(name, key, value) for key, value in call.operands.items() if key not in scalars}
        dtype = result_dtype(call, inputs)
        out = None if call.out is Ellipsis else call.out
        if out is not None:
            check_out(name, out)
        check_casts(call, inputs, dtype, out)
        work = working_dtype(dtype) or dtype
        expression, operands = _substitute_scalars(call, inputs, work)
        out_dtype = None if out is None else out.dtype
        return cls(call, inputs, mask, dtype, work, out_dtype, expression, operands, order)

    def arrays(self) -> tuple[Array, ...]:
        """Return the operands as base-class arrays."""
        return tuple(map(np.asarray, self.inputs.values()))

    @property
    def are_base_arrays(self) -> bool:
        """True if all arguments are base-class arrays or scalars, so that the plan can be cached."""
        return all(map(_is_base_array, self.call.values()))


def _is_base_array(value: Any) -> bool:
    return type(value) is np.ndarray or isinstance(value, SCALARS) or value is Ellipsis


def as_array(name: str, key: str, value: Any) -> Array:
    """Return the argument `key` as an array of a supported dtype, or raise TypeError."""
    array = to_array(name, key, value)
    if working_dtype(array.dtype) is None:
        raise object_dtype_error(name, key, array) if array.dtype == object else unsupported(name, array.dtype, key)
    return array


def _substitute_scalars(call: Call, arrays: Mapping[str, Array], work: DType) -> tuple[Expression, Operands]:
    """Return the formula with scalar hyperparameters substituted, and the operands of its kernel.

    Beyond `_SPECIALISATIONS` values the hyperparameters are operands instead.
    """
    scalars = scalars_of(call)
    given = {key: array.dtype for key, array in arrays.items()}
    given_scalars = {key for key in arrays if isinstance(call.operands[key], SCALARS)}
    values = {key: rounded(value, work) for key, value in scalars.items()}
    of_function = _specialised.setdefault(call.definition, {})
    seen = of_function.setdefault((*call.options.items(), work), set())
    if len(seen) < _SPECIALISATIONS or scalars == call.definition.hyperparameters:
        seen.add(repr(values))
    if repr(values) in seen:
        return call.specialised(values), Operands(given, given_scalars, {}, tuple(arrays))
    fixed = {key: np.asarray(value, work) for key, value in values.items()}
    return call.expression, Operands(given, given_scalars, fixed, tuple(call.operands))


def wrap(call: Call, result: Any) -> Any:
    """Wrap a result as NumPy's ufuncs do, by ``__array_wrap__`` of the output, or of the input of highest priority."""
    out, keywords = call.out, call.keywords
    if out is not None and out is not Ellipsis:
        wrapping = None if type(out) is np.ndarray else out
        inputs = (*call.operands.values(), out)
    else:
        inputs = tuple(call.operands.values())
        wrappers = [each for each in inputs if not _is_base_array(each) and hasattr(type(each), "__array_wrap__")]
        wrappers = wrappers if keywords.get("subok", True) else []
        wrapping = max(wrappers, key=lambda each: getattr(each, "__array_priority__", 0.0), default=None)
    if wrapping is None:
        return result
    array, context = np.asanyarray(result), (call.function, inputs, 0)
    to_scalar = array.ndim == 0 and out is None
    try:
        return wrapping.__array_wrap__(array, context, to_scalar)
    except TypeError:  # signature of NumPy 1
        return wrapping.__array_wrap__(array, context)


def check_out(name: str, out: Any) -> None:
    """Raise TypeError unless `out` is a NumPy array, ValueError if it is read-only."""
    if not isinstance(out, np.ndarray):
        raise TypeError(f"{name} can write its output to a NumPy array only, not to {type(out).__name__}")
    if not out.flags.writeable:
        raise ValueError(f"{name} cannot write to out, which is read-only")


def same_memory(a: Array, b: Array) -> bool:
    """Return True if two arrays of one shape and dtype are views of the same elements in the same order."""
    return a.__array_interface__["data"][0] == b.__array_interface__["data"][0] and a.strides == b.strides


def overlaps(array: Array, out: Array) -> bool:
    """Return True if elementwise writes to `out` could change elements of `array` before they are read."""
    return not same_memory(array, out) and bool(np.may_share_memory(array, out))


def same_shape(arrays: tuple[Any, ...]) -> bool:
    """Return True if arrays have one shape."""
    shape = arrays[0].shape
    return all([each.shape == shape for each in arrays[1:]])  # noqa: C419 -- faster


def are_contiguous(arrays: Sequence[Any]) -> bool:
    """Return True if arrays of one shape are contiguous in the same order."""
    for each in arrays:
        if not each.flags.c_contiguous:
            return all(each.flags.f_contiguous for each in arrays)
    return True

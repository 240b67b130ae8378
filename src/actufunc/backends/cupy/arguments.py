"""Arguments of calls on CuPy arrays: conversion, checks, and memory that a kernel may write to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cupy
import numpy as np

from actufunc.backends.masking import as_mask
from actufunc.backends.promotion import keeps_integers, rounded, scalars_of, unsupported, working_dtype

from . import kernels
from .codegen.elementwise import VECTOR

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actufunc._calling.call import Call
    from actufunc.formula.expression import Expression

    Array = Any  # CuPy comes without types


def array_operands(call: Call) -> dict[str, Array]:
    """Return the operands but scalar hyperparameters; scalars among them become 0-d NumPy arrays."""
    name = call.definition.name
    scalars = scalars_of(call)
    operands = {key: value for key, value in call.operands.items() if key not in scalars}
    for key, value in operands.items():
        if not isinstance(value, cupy.ndarray):
            operands[key] = array = np.asarray(value)
            if array.ndim:
                raise TypeError(f"{name} got {type(value).__name__} for {key} beside a CuPy array; convert it first")
        if working_dtype(operands[key].dtype) is None:
            raise unsupported(name, operands[key].dtype, key)
    return operands


def have_dtype(operands: Iterable[Any], dtype: np.dtype[Any]) -> bool:
    """Return True if all operands are base-class arrays of a dtype."""
    return all(type(each) is cupy.ndarray and each.dtype == dtype for each in operands)


def check_devices(name: str, values: Iterable[Any]) -> None:
    """Raise TypeError if an array is not on the current device."""
    current = cupy.cuda.runtime.getDevice()
    for value in values:
        if isinstance(value, cupy.ndarray) and value.data.device_id != current:
            raise TypeError(
                f"{name} got an array on CUDA device {value.data.device_id} while device {current} is current; "
                f"call it under `with cupy.cuda.Device({value.data.device_id}):`, or move the array"
            )


def check_out(name: str, out: Any) -> None:
    """Raise TypeError unless `out` is a CuPy array, ValueError if it is broadcast."""
    if not isinstance(out, cupy.ndarray):
        raise TypeError(f"{name} can write its output to a CuPy array only, not to {type(out).__name__}")
    if out.size and any(stride == 0 and size > 1 for stride, size in zip(out.strides, out.shape, strict=True)):
        raise ValueError(f"{name} cannot write to out, which is read-only as it is broadcast")


def check_where(name: str, where: Any) -> Array | None:
    """Return the mask as an array of booleans, or None if it is True."""
    if where is True:
        return None
    mask = as_mask(name, where, cupy.ndarray)
    if mask.ndim and mask is not where:
        raise TypeError(f"{name} takes where= as an array of CuPy beside others, not as {type(where).__name__}")
    return mask


def substitute_scalars(call: Call, work: np.dtype[Any]) -> tuple[Expression, dict[str, Any]]:
    """Return the formula, and the scalar hyperparameters that are arguments of its kernel.

    Defaults are compiled as constants. Other values are arguments, so that nothing is compiled where a hyperparameter
    is trained, except where a formula is exact on integers for some values only.
    """
    scalars = scalars_of(call)
    values = {key: rounded(value, work) for key, value in scalars.items()}
    defaults = {key: call.definition.hyperparameters[key] for key in scalars}
    if scalars == defaults or (work.kind != "f" and not keeps_integers(call.expression)):
        return call.specialised(values), {}
    return call.expression, values


def copy(array: Array, out: Array) -> Array:
    """Copy an array to `out`, which may have another dtype and strides; return `out`."""
    kernels.copy()(array, out)
    return out


def no_overlap(inputs: Iterable[Any], out: Array) -> bool:
    """Return True if elementwise writes to `out` change no element of an input before it is read."""
    arrays = (value for value in inputs if isinstance(value, cupy.ndarray))
    return all(same_memory(array, out) or not cupy.may_share_memory(array, out) for array in arrays)


def same_memory(a: Array, b: Array) -> bool:
    """Return True if two arrays are views of the same elements in the same order."""
    return bool(a.data.ptr == b.data.ptr and a.strides == b.strides and a.dtype == b.dtype and a.shape == b.shape)


_ndarray = cupy.ndarray
_runtime = cupy.cuda.runtime


def direct_output(inputs: tuple[Array, ...], out: Any, dtype: np.dtype[Any]) -> Any:
    """Return a new array, or `out`, if a kernel of vectors can compute it from these inputs, else NotImplemented.

    It can if all arrays have this dtype and one shape, are C-contiguous, aligned and on the current device, and `out`
    is one of the inputs or shares no memory with them.
    """
    # Each attribute lookup here counts: a call of CuPy's own kernel takes a few microseconds.
    x, device = inputs[0], _runtime.getDevice()
    shape = x.shape
    for array in inputs if out is None else (out, *inputs):
        if type(array) is not _ndarray or array.dtype != dtype or array.shape != shape:
            return NotImplemented
        memory = array.data
        if memory.device_id != device or memory.ptr % VECTOR or not array.flags.c_contiguous:
            return NotImplemented
        if out is not None and memory.ptr != out.data.ptr and cupy.may_share_memory(array, out):
            return NotImplemented
    if not shape or 0 in shape:
        return NotImplemented
    return _ndarray(shape, dtype) if out is None else out

"""The arguments of calls on CuPy arrays: conversion, checks, and which memory a kernel may write to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cupy
import numpy as np

from actufunc.backends.masking import as_mask
from actufunc.backends.promotion import (
    keeps_integers,
    rounded,
    scalars_of,
    unsupported,
    working_dtype,
)

from . import kernels
from .codegen.elementwise import VECTOR

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actufunc._calling.call import Call
    from actufunc.formula.expression import Expression

    Array = Any  # CuPy comes without types


def operands_of(call: Call) -> dict[str, Array]:
    """Return the operands that are arrays, or scalars in the place of arrays."""
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
    """Raise unless a result may be written to `out`."""
    if not isinstance(out, cupy.ndarray):
        raise TypeError(f"{name} can write its output to a CuPy array only, not to {type(out).__name__}")
    if out.size and any(stride == 0 and size > 1 for stride, size in zip(out.strides, out.shape, strict=True)):
        raise ValueError(f"{name} cannot write to out, which is read-only as it is broadcast")


def check_where(name: str, where: Any) -> Array | None:
    """Return the mask, an array of booleans, or None if all elements are selected."""
    if where is True:
        return None
    mask = as_mask(name, where, cupy.ndarray)
    if mask.ndim and mask is not where:
        raise TypeError(f"{name} takes where= as an array of CuPy beside others, not as {type(where).__name__}")
    return mask


def put_scalars_in(call: Call, work: np.dtype[Any]) -> tuple[Expression, dict[str, Any]]:
    """Return the expression, and the scalar hyperparameters that its kernel takes.

    The defaults have a kernel of their own, in which they cost nothing; other values are arguments of the kernel, so
    that nothing is compiled where one is trained. But some formulas are exact on integers for some values only.
    """
    scalars = scalars_of(call)
    values = {key: rounded(value, work) for key, value in scalars.items()}
    defaults = {key: call.definition.hyperparameters[key] for key in scalars}
    if scalars == defaults or (work.kind != "f" and not keeps_integers(call.expression)):
        return call.specialised(values), {}
    return call.expression, values


def copy(array: Array, out: Array) -> Array:
    """Copy an array to another, of any dtype and strides."""
    kernels.copy()(array, out)
    return out


def is_apart(inputs: Iterable[Any], out: Array) -> bool:
    """Tell whether no element of an array among the inputs can be written to before it is read."""
    arrays = (value for value in inputs if isinstance(value, cupy.ndarray))
    return all(same_memory(array, out) or not cupy.may_share_memory(array, out) for array in arrays)


def same_memory(a: Array, b: Array) -> bool:
    """Tell whether two arrays are the same elements in the same places."""
    return bool(a.data.ptr == b.data.ptr and a.strides == b.strides and a.dtype == b.dtype and a.shape == b.shape)


_ndarray = cupy.ndarray


_runtime = cupy.cuda.runtime


def direct_output(inputs: tuple[Array, ...], out: Any, dtype: np.dtype[Any]) -> Any:
    """Return where a kernel may write its result, without looking any further; NotImplemented if one must look.

    That is a fresh array, or `out`, if all arrays are of this dtype, alike, C-contiguous, aligned, on the current
    device, and `out` is one of the inputs or apart from them.
    """
    # Every attribute looked up here shows: a call of CuPy's own kernel takes a few microseconds.
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

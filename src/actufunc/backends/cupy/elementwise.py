"""Plans of elementwise calls on CuPy arrays.

CuPy's ElementwiseKernel handles strides and broadcasting, and its source text dtypes, without temporary arrays.
Contiguous arrays of one dtype are computed by kernels that load and store 16 bytes at a time. All work is queued on the
current stream of the current device, as by CuPy, and memory is from CuPy's pool.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import cupy

from actufunc._calling.plans import Plan, once
from actufunc.backends.broadcasting import broadcast_arguments, check_fits, order_of
from actufunc.backends.promotion import check_cast, check_casts, result_dtype, rounded, working_dtype

from . import kernels
from .arguments import (
    array_operands,
    check_devices,
    check_out,
    check_where,
    copy,
    direct_output,
    have_dtype,
    no_overlap,
    substitute_scalars,
)
from .codegen.elementwise import VECTOR, KernelSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from actufunc._calling.call import Call

    Array = Any  # CuPy comes without types


def plan_elementwise(call: Call) -> Plan:
    """Return the plan of an elementwise call on CuPy arrays."""
    made = ElementwisePlan(call)
    operands = [call.operands[key] for key in made.names]
    if have_dtype(operands, made.dtype) and made.names == call.definition.arrays and call.keywords.keys() <= {"out"}:
        return Plan(made.names, made.execute)
    return once(partial(made.compute, operands, call.out, call.keywords.get("where", True)))


class ElementwisePlan:
    """Plan of an elementwise call on CuPy arrays, for their dtypes.

    `names` are the operands that are arrays, `dtype` is the dtype of the result.
    """

    def __init__(self, call: Call) -> None:
        self._name, self._order = call.definition.name, order_of(call)
        operands = array_operands(call)
        self.dtype = dtype = result_dtype(call, operands)
        check_casts(call, operands, dtype, None)
        self._casting = call.keywords.get("casting", "same_kind")
        work = working_dtype(dtype) or dtype
        expression, scalars = substitute_scalars(call, work)
        self.names = tuple(key for key, value in operands.items() if isinstance(value, cupy.ndarray))
        numbers = {key: rounded(v.item(), work) for key, v in operands.items() if key not in self.names} | scalars
        self._spec = KernelSpec(call.definition.identifier, expression, self.names, tuple(numbers), dtype)
        self._numbers = tuple(numbers.values())

    def execute(self, inputs: tuple[Array, ...], out: Any, where: Any) -> Array:
        """Compute on arrays of the result's dtype; see `actufunc._calling.plans.Plan`."""
        result = direct_output(inputs, out, self.dtype)
        if result is NotImplemented:
            return self.compute(inputs, out, where)
        self._run_vectors((*inputs, result))
        return result

    def compute(self, inputs: Sequence[Array], out: Any, where: Any) -> Array:
        """Compute on arrays of any dtypes, shapes and strides."""
        name, dtype = self._name, self.dtype
        mask = check_where(name, where)
        out = None if out is Ellipsis else out
        check_devices(name, (*inputs, out, mask))
        if out is not None:
            check_out(name, out)
            check_cast(name, "its result", dtype, out.dtype, self._casting)
        shapes = {key: array.shape for key, array in zip(self.names, inputs, strict=True)}
        shape = broadcast_arguments(name, shapes if mask is None else {**shapes, "where": mask.shape})
        if out is None:
            out = _allocate(inputs, shape, dtype, self._order, zeros=mask is not None)
        check_fits(name, shape, out.shape)
        if out.size == 0:
            return out
        target = out if no_overlap((*inputs, mask), out) else cupy.empty_like(out)
        if target is not out and mask is not None:
            copy(out, target)
        if inputs and mask is None and dtype == out.dtype and all(_can_vectorise(value, target) for value in inputs):
            self._run_vectors([each if each.flags.c_contiguous else each.T for each in (*inputs, target)])
        else:
            masks = [] if mask is None else [mask if isinstance(mask, cupy.ndarray) else bool(mask)]
            kernels.elementwise(self._spec, masked=mask is not None)(*inputs, *self._numbers, *masks, target)
        return out if target is out else copy(target, out)

    def _run_vectors(self, operands: Sequence[Array]) -> None:
        """Run the kernel of vectors on C-contiguous inputs and output."""
        *inputs, out = operands
        threads = kernels.vector_threads(self.dtype)(out.size)
        kernels.vectors(self._spec)(*inputs, *self._numbers, out, size=threads, block_size=kernels.THREADS)


def _allocate(
    inputs: Sequence[Array], shape: tuple[int, ...], dtype: np.dtype[Any], order: str, *, zeros: bool
) -> Array:
    """Allocate a result, in the memory order of the first input if that has its shape."""
    if inputs and inputs[0].shape == shape:
        return (cupy.zeros_like if zeros else cupy.empty_like)(inputs[0], dtype=dtype, order=order)
    return (cupy.zeros if zeros else cupy.empty)(shape, dtype, order="F" if order == "F" else "C")


def _can_vectorise(array: Array, out: Array) -> bool:
    """Return True if arrays have one dtype, shape and memory order, and are contiguous and aligned to vectors."""
    a, b = array.flags, out.flags
    return bool(
        out.ndim  # CuPy's raw arguments of no dimension cannot be indexed
        and array.dtype == out.dtype
        and array.shape == out.shape
        and array.data.ptr % VECTOR == 0
        and out.data.ptr % VECTOR == 0
        and ((a.c_contiguous and b.c_contiguous) or (a.f_contiguous and b.f_contiguous))
    )

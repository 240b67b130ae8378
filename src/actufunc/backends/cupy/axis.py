"""Plans of calls over an axis on CuPy arrays.

Kernels take views of shape (blocks, n, inner) of arrays of one dtype, which contiguous arrays have if the axes are
adjacent. Other arrays are copied, and cast, first.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from functools import partial
from typing import TYPE_CHECKING, Any

import cupy
import numpy as np

from actufunc._calling.call import Call
from actufunc._calling.plans import Plan, once
from actufunc.backends.axis import Reduced, as_blocks, broadcast_to_x, normalise_axis
from actufunc.backends.broadcasting import check_fits
from actufunc.backends.masking import fill_left_out, value_left_out
from actufunc.backends.promotion import check_cast, result_dtype, scalars_of, working_dtype

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
from .codegen.axis import axis_source, kernel_name
from .codegen.elementwise import VECTOR, KernelSpec
from .codegen.row_schedule import schedule_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .codegen.row_schedule import RowSchedule

    Array = Any  # CuPy comes without types


def plan_axis(call: Call) -> Plan:
    """Return the plan of a call over an axis on CuPy arrays."""
    operands = array_operands(call)
    made = AxisPlan(call, operands)
    exact = have_dtype(operands.values(), made.dtype)
    last_axis = call.keywords.keys() <= {"out", "axis"} and call.keywords.get("axis", -1) == -1
    if exact and last_axis and not call.definition.reduces and tuple(operands) == call.definition.arrays:
        return Plan(call.definition.arrays, made.execute)
    return once(partial(made.compute, tuple(operands.values()), call.out, call.keywords.get("where", True)))


class AxisPlan:
    """Plan of a call over an axis on CuPy arrays, for their dtypes; `dtype` is the dtype of the result."""

    def __init__(self, call: Call, operands: dict[str, Array]) -> None:
        definition = call.definition
        self._definition, self._names = definition, tuple(operands)
        self._axis, self._keepdims = call.keywords.get("axis", -1), bool(call.keywords.get("keepdims", False))
        self.dtype = result_dtype(call, operands)
        # dtype of copies and their results, where a half type is not rounded to.
        self._work = working_dtype(self.dtype) or self.dtype
        expression, scalars = substitute_scalars(call, self._work)
        self._numbers, of_scalars = tuple(scalars.values()), tuple(scalars)
        self._spec = KernelSpec(definition.identifier, expression, self._names, of_scalars, self.dtype)
        self._left_out = Call(call.function, scalars_of(call), call.options, {})

    def execute(self, inputs: tuple[Array, ...], out: Any, where: Any) -> Array:
        """Compute on arrays of the result's dtype along their last axis; see `actufunc._calling.plans.Plan`."""
        result = direct_output(inputs, out, self.dtype)
        if result is NotImplemented:
            return self.compute(inputs, out, where)
        rows = (-1, result.shape[-1], 1)
        self._run(self._spec, [each.reshape(rows) for each in inputs], result.reshape(rows))
        return result

    def compute(self, inputs: tuple[Array, ...], out: Any, where: Any) -> Array:
        """Compute on arrays of any dtypes, shapes and strides."""
        name, dtype, reduces = self._definition.name, self.dtype, self._definition.reduces
        mask = check_where(name, where)
        check_devices(name, (*inputs, out, mask))
        of_x = inputs[0].shape
        shapes = Reduced(of_x, normalise_axis(name, self._axis, len(of_x)), self._keepdims)
        axes = shapes.axes
        arrays = [self._broadcast(*each, shapes) for each in zip(self._names, inputs, strict=True)]
        if mask is not None:
            mask = self._broadcast("where", mask, shapes)
        result = self._output(out, shapes.given if reduces else of_x)
        if result is None:
            result = cupy.empty(shapes.given, dtype) if reduces else cupy.empty_like(arrays[0], dtype)
        if not result.size:
            return result
        if not arrays[0].size:
            result.fill(value_left_out(self._left_out))
            return result
        target = result if result.ndim == len(of_x) else cupy.expand_dims(result, axes)
        alike = all(each.dtype == dtype for each in (*arrays, target))
        operands = [*arrays, target] if mask is None else [*arrays, target, mask]
        views = as_blocks(operands, axes) if alike and no_overlap([*arrays, mask], target) else None
        spec = self._spec if alike else dataclasses.replace(self._spec, dtype=self._work)
        if views is not None:
            self._run(spec, views[: len(arrays)], *views[len(arrays) :])
            return result
        rows = [_as_rows(each, axes, spec.dtype) for each in arrays]
        masks = [] if mask is None else [_as_rows(mask, axes, mask.dtype)]
        scratch = cupy.empty((len(rows[0]), 1, 1) if reduces else rows[0].shape, spec.dtype)
        self._run(spec, rows, scratch, *masks)
        moved = cupy.moveaxis(target, axes, range(-len(axes), 0))
        copy(scratch.reshape(moved.shape), moved)
        return result

    def _run(self, spec: KernelSpec, inputs: Sequence[Array], out: Array, mask: Array = None) -> None:
        """Run the kernel on arrays of shape (blocks, n, inner); the output of a reducing function has n = 1."""
        blocks, n, inner = inputs[0].shape
        masked, dtype = mask is not None, spec.dtype
        lanes = VECTOR // dtype.itemsize
        operands = [*inputs, out]
        if inner > 1 or masked or n % lanes or any(o.data.ptr % VECTOR for o in operands):
            lanes = 1
        how = schedule_rows(n, dtype, len(inputs), inner=inner, lanes=lanes)
        kernel = _compiled(spec, how, masked=masked)
        number = (working_dtype(dtype) or dtype).type
        operands += [number(value) for value in self._numbers]
        operands += [np.int64(count) for count in (blocks * inner, n, inner)]
        if masked:
            left_out = fill_left_out(self._left_out)["x"], value_left_out(self._left_out)
            operands += [mask, *map(number, left_out)]
        kernel((how.grid(blocks, inner),), (how.block,), tuple(operands))

    def _output(self, out: Any, shape: tuple[int, ...]) -> Any:
        """Check the output and return it, or None if none is given."""
        if out is None or out is Ellipsis:
            return None
        name = self._definition.name
        check_out(name, out)
        check_fits(name, shape, out.shape, exactly=True)
        check_cast(name, "its result", self.dtype, out.dtype, "same_kind")
        return out

    def _broadcast(self, key: str, value: Any, shapes: Reduced) -> Array:
        """Return an operand, array or scalar, broadcast to the shape of x."""
        if not isinstance(value, cupy.ndarray):
            value = cupy.full((), value.item(), value.dtype)
        return broadcast_to_x(self._definition, key, value, shapes, cupy.broadcast_to)


@functools.cache
def _compiled(spec: KernelSpec, how: RowSchedule, *, masked: bool) -> Any:
    return cupy.RawKernel(axis_source(spec, how, masked=masked), kernel_name(spec.name))


def _as_rows(array: Array, axes: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return a copy of an array, cast to `dtype`, of shape (rows, n, 1)."""
    moved = cupy.moveaxis(array, axes, range(-len(axes), 0))
    n = math.prod(array.shape[axis] for axis in axes)
    return copy(moved, cupy.empty(moved.shape, dtype)).reshape(-1, n, 1)

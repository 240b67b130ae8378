"""Calls over an axis on CuPy arrays.

Kernels take arrays of one dtype that are seen as (blocks, n, inner) without a copy: contiguous ones, whatever axes they
reduce over, as long as these lie side by side. Everything else is brought into that form by a copy, which casts too.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

import cupy
import numpy as np

from actufunc._calling import plans
from actufunc.backends.axis import as_blocks, broadcast_to_x, output_over_axis, shapes_of
from actufunc.backends.masking import fill_left_out, value_left_out
from actufunc.backends.promotion import result_dtype, working_dtype

from .arguments import check_out, check_where, copy, is_apart, operands_of, put_scalars_in, straight_output
from .codegen.axis import axis_source, kernel_name
from .codegen.elementwise import VECTOR, Formula
from .codegen.row_schedule import plan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actufunc._calling.call import Call
    from actufunc.backends.axis import Reduced

    from .codegen.row_schedule import Plan

    Array = Any  # CuPy comes without types


def evaluate_axis(call: Call) -> Array:
    """Compute an activation over an axis of CuPy arrays."""
    name = call.definition.name
    given = operands_of(call)
    mask = check_where(name, call.keywords.get("where", True))
    dtype = result_dtype(call, given)
    shapes, reduces = shapes_of(call, given["x"].shape), call.definition.reduces
    axes = shapes.axes
    expression, scalars = put_scalars_in(call, working_dtype(dtype) or dtype)
    inputs = [_broadcast(call, key, value, shapes) for key, value in given.items()]
    left_out = None
    if mask is not None:
        mask, left_out = _broadcast(call, "where", mask, shapes), (fill_left_out(call)["x"], value_left_out(call))
    out = output_over_axis(call, shapes.given if reduces else shapes.of_x, dtype, check_out)
    seen = out
    if seen is None:
        seen = cupy.empty(shapes.given, dtype) if reduces else cupy.empty_like(inputs[0], dtype)
    if not seen.size:
        return seen
    if not inputs[0].size:
        seen.fill(value_left_out(call))
        return seen
    result = seen if seen.ndim == len(shapes.of_x) else cupy.expand_dims(seen, axes)
    alike = all(each.dtype == dtype for each in (*inputs, result))
    # Else it is computed, and kept meanwhile, in the dtype that half types are computed in.
    kept = dtype if alike else working_dtype(dtype) or dtype
    formula = Formula(call.definition.identifier, expression, tuple(given), tuple(scalars), kept)
    kernel = _Kernel(formula, tuple(scalars.values()))
    operands = [*inputs, result] if mask is None else [*inputs, result, mask]
    views = as_blocks(operands, axes) if alike and is_apart([*inputs, mask], result) else None
    if views is not None:
        *of_inputs, of_result = views[: len(inputs) + 1]
        kernel(of_inputs, of_result, *views[len(inputs) + 1 :], left_out=left_out)
        exact = all(type(each) is cupy.ndarray for each in given.values())
        plain = not reduces and call.keywords.keys() <= {"out", "axis"} and call.keywords.get("axis", -1) == -1
        if exact and plain and tuple(given) == call.definition.arrays:
            call.plan = plans.Plan(call.definition.arrays, _straight(kernel))
        return seen
    rows = [_as_rows(each, axes, kept) for each in inputs]
    masks = [] if mask is None else [_as_rows(mask, axes, mask.dtype)]
    scratch = cupy.empty((len(rows[0]), 1, 1) if reduces else rows[0].shape, kept)
    kernel(rows, scratch, *masks, left_out=left_out)
    moved = cupy.moveaxis(result, axes, range(-len(axes), 0))
    copy(scratch.reshape(moved.shape), moved)
    return seen


def _straight(kernel: _Kernel) -> Callable[..., Array]:
    """Return what serves contiguous arrays along their last axis, and looks at little else."""

    def compute(inputs: tuple[Array, ...], out: Any, _where: Any) -> Array:
        result = straight_output(inputs, out, kernel.dtype)
        if result is not NotImplemented:
            rows = (-1, result.shape[-1], 1)
            kernel([each.reshape(rows) for each in inputs], result.reshape(rows), left_out=None)
        return result

    return compute


class _Kernel:
    """What computes a formula along an axis, for rows of any length."""

    def __init__(self, formula: Formula, scalars: tuple[Any, ...]) -> None:
        self.formula, self.scalars, self.dtype = formula, scalars, formula.dtype

    def __call__(self, inputs: Sequence[Array], out: Array, mask: Array = None, *, left_out: Any) -> None:
        """Compute on arrays of shape (blocks, n, inner); the output of a function that reduces has n = 1."""
        blocks, n, inner = inputs[0].shape
        masked = mask is not None
        lanes = VECTOR // self.dtype.itemsize
        operands = [*inputs, out]
        if inner > 1 or masked or n % lanes or any(o.data.ptr % VECTOR for o in operands):
            lanes = 1
        how = plan(n, self.dtype, len(inputs), inner=inner, lanes=lanes)
        kernel = _compiled(self.formula, how, masked=masked)
        number = (working_dtype(self.dtype) or self.dtype).type
        operands += [number(value) for value in self.scalars]
        operands += [np.int64(count) for count in (blocks * inner, n, inner)]
        if masked:
            operands += [mask, *map(number, left_out)]
        kernel((how.grid(blocks, inner),), (how.block,), tuple(operands))


@functools.cache
def _compiled(formula: Formula, how: Plan, *, masked: bool) -> Any:
    return cupy.RawKernel(axis_source(formula, how, masked=masked), kernel_name(formula.name))


def _broadcast(call: Call, key: str, value: Any, shapes: Reduced) -> Array:
    """Return an operand in the shape of x; a scalar becomes an array."""
    if not isinstance(value, cupy.ndarray):
        value = cupy.full((), value.item(), value.dtype)
    return broadcast_to_x(call.definition, key, value, shapes, cupy.broadcast_to)


def _as_rows(array: Array, axes: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Copy an array so that it can be seen as (rows, n, 1)."""
    moved = cupy.moveaxis(array, axes, range(-len(axes), 0))
    n = math.prod(array.shape[axis] for axis in axes)
    return copy(moved, cupy.empty(moved.shape, dtype)).reshape(-1, n, 1)

"""Calls on NumPy arrays, scalars and lists: from arguments to a plan.

Half types are computed in float64 and rounded once, with scalar hyperparameters of float32 as everywhere: a product
with one is exact then, so that no tie is missed. Arrays of nothing but one half type are seen as the bits of their
elements, for which there are kernels; beside other dtypes the kernel in float64 computes.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from actufunc._calling.plans import Plan, alone
from actufunc.backends.broadcasting import order_of
from actufunc.backends.masking import fill_left_out, value_left_out
from actufunc.backends.promotion import (
    check_cast,
    check_casts,
    is_half,
    result_dtype,
    scalars_of,
    working_dtype,
)

from .arguments import as_array, check_out, is_plain, mask_of, operands_of, put_scalars_in, wrap
from .axis import AxisPlan
from .codegen.half import HALVES_IN
from .elementwise import BITS, ElementwisePlan
from .jit.kernels import axis as axis_kernel
from .jit.kernels import elementwise

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]

    from actufunc._calling.call import Call


def evaluate(call: Call) -> Any:
    """Compute an activation on NumPy arrays, scalars and lists."""
    if call.definition.over_axis:
        return evaluate_axis(call)
    return _elementwise(call)


def _elementwise(call: Call) -> Any:
    """Make a plan and execute it."""
    name, scalars = call.definition.name, scalars_of(call)
    mask = mask_of(call)
    order = order_of(call)
    inputs = {key: as_array(name, key, value) for key, value in call.operands.items() if key not in scalars}
    dtype = result_dtype(call, inputs)
    out = None if call.out is Ellipsis else call.out
    if out is not None:
        check_out(name, out)
    check_casts(call, inputs, dtype, out)
    work = working_dtype(dtype) or dtype
    arrays = {key: np.asarray(array) for key, array in inputs.items()}
    expression, operands = put_scalars_in(call, arrays, work)
    on_bits = is_half(dtype) and all(
        each.dtype == dtype for each in [*operands.values(), *([] if out is None else [out])]
    )
    of_kernel = dtype if on_bits else HALVES_IN if is_half(dtype) else work
    plan = ElementwisePlan(
        name,
        elementwise(name, expression, tuple(operands), of_kernel),
        operands_of(call, arrays, operands),
        BITS if on_bits else of_kernel,
        dtype,
        None if out is None else out.dtype,
        order,
    )
    if is_plain(call):
        call.plan = Plan(tuple(arrays), plan.execute, plan.ufunc)
    return wrap(call, plan.execute(tuple(arrays.values()), call.out, mask))


def evaluate_axis(call: Call) -> Any:
    """Compute an activation over an axis of NumPy arrays."""
    definition, keywords = call.definition, call.keywords
    name, scalars = definition.name, scalars_of(call)
    mask = mask_of(call)
    inputs = {key: as_array(name, key, value) for key, value in call.operands.items() if key not in scalars}
    dtype = result_dtype(call, inputs)
    out = None if call.out is Ellipsis else call.out
    if out is not None:
        check_out(name, out)
        check_cast(name, "its result", dtype, out.dtype, "same_kind")
    work = working_dtype(dtype) or dtype
    arrays = {key: np.asarray(array) for key, array in inputs.items()}
    expression, operands = put_scalars_in(call, arrays, work)
    masks = [np.ma.getmaskarray(array) for array in inputs.values() if isinstance(array, np.ma.MaskedArray)]
    for masked in masks:  # what a masked array masks takes no part
        mask = ~masked if mask is True else mask & ~masked
    plan = AxisPlan(
        definition,
        partial(axis_kernel, name, expression, tuple(operands), work),
        operands_of(call, arrays, operands),
        work,
        dtype,
        None if out is None else out.dtype,
        keywords.get("axis", -1),
        keepdims=bool(keywords.get("keepdims", False)),
        left_out=None if mask is True else (fill_left_out(call), value_left_out(call)),
    )
    if is_plain(call):
        # An output of the dtype of x is no place for the result where that is of another one.
        is_alike = len(arrays) == 1 and arrays["x"].dtype == dtype
        call.plan = Plan(tuple(arrays), plan.execute, alone(plan.execute) if is_alike else None)
    result = plan.execute(tuple(arrays.values()), call.out, mask)
    if masks and definition.reduces and out is None:  # what has no element is masked
        axes = plan.axes_of(arrays["x"].ndim).axes
        taken = np.broadcast_to(mask, arrays["x"].shape).any(axis=axes)
        return np.ma.masked_array(result, ~taken.reshape(np.shape(result)))
    return result if definition.reduces else wrap(call, result)

"""Calls over an axis on NumPy arrays, scalars and lists: from arguments to a plan."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from actufunc.backends.array_api import fill_left_out, value_left_out
from actufunc.backends.rules import check_cast, result_dtype, scalars_of, working_dtype
from actufunc.plans import Plan, alone

from .call import as_array, is_plain, mask_of, operands_of, put_scalars_in, wrap
from .kernels import axis as axis_kernel
from .plan import check_out
from .plan_axis import AxisPlan

if TYPE_CHECKING:
    from actufunc.protocol import Call


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

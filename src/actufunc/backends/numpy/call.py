"""Plans of calls on NumPy arrays, scalars and lists.

Once a plan with a kernel is cached, `Activation.__call__` calls the kernel directly, within the limits of `fast_path`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from actufunc._calling.plans import Plan, once

from .arguments import Arguments, wrap
from .axis import AxisPlan
from .elementwise import ElementwisePlan

if TYPE_CHECKING:
    from actufunc._calling.call import Call


def plan(call: Call) -> Plan:
    """Return the plan of a call on NumPy arrays, scalars and lists."""
    arguments = Arguments.of(call)
    if call.definition.over_axis and any(isinstance(each, np.ma.MaskedArray) for each in arguments.inputs.values()):
        return once(partial(_masked, arguments))
    made = AxisPlan(arguments, arguments.mask) if call.definition.over_axis else ElementwisePlan(arguments)
    if arguments.are_base_arrays:
        return Plan(tuple(arguments.inputs), made.execute, made.kernel)
    return once(lambda: _wrapped(arguments, made.execute(arguments.arrays(), call.out, arguments.mask)))


def _masked(arguments: Arguments) -> Any:
    """Compute over an axis of masked arrays; masked elements are excluded as by `where`."""
    call, mask = arguments.call, arguments.mask
    for array in arguments.inputs.values():
        if isinstance(array, np.ma.MaskedArray):
            masked = np.ma.getmaskarray(array)
            mask = ~masked if mask is True else mask & ~masked
    made = AxisPlan(arguments, mask)
    result = made.execute(arguments.arrays(), call.out, mask)
    if call.definition.reduces and (call.out is None or call.out is Ellipsis):  # results of no element are masked
        x = arguments.inputs["x"]
        taken = np.broadcast_to(mask, x.shape).any(axis=made.axes_of(x.ndim).axes)
        return np.ma.masked_array(result, ~taken.reshape(np.shape(result)))
    return _wrapped(arguments, result)


def _wrapped(arguments: Arguments, result: Any) -> Any:
    return result if arguments.call.definition.reduces else wrap(arguments.call, result)

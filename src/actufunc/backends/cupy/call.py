"""Plans of calls on CuPy arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .axis import plan_axis
from .elementwise import plan_elementwise

if TYPE_CHECKING:
    from actufunc._calling.call import Call
    from actufunc._calling.plans import Plan


def plan(call: Call) -> Plan:
    """Return the plan of a call on CuPy arrays."""
    return (plan_axis if call.definition.over_axis else plan_elementwise)(call)

"""Plans of gated units on NumPy arrays, which compute elementwise functions of both parts of an axis."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from actufunc._calling.array_kinds import may_share_memory
from actufunc._calling.plans import Plan, UncacheableError, as_kernel, key_of
from actufunc._memory import empty_like
from actufunc.backends.axis import check_part, split_axis, split_indices
from actufunc.backends.broadcasting import check_fits
from actufunc.backends.promotion import check_cast, is_half, is_scalar, part_dtype

from .arguments import check_out
from .fast_path import LARGE

if TYPE_CHECKING:
    from actufunc._calling.call import Call


def plan(call: Call) -> Plan:
    """Return the plan of a gated unit, or its vjp, on base-class NumPy arrays and scalars."""
    made = GatedPlan(call)
    return Plan(made.names, made.execute, as_kernel(made.execute) if made.names == ("x",) else None)


class GatedPlan:
    """Plan of a gated unit, or its vjp, on NumPy arrays, for the dtypes of a call; `names` names its operands."""

    def __init__(self, call: Call) -> None:
        definition, operands = call.definition, call.operands
        self._name, self._functions = definition.name, call.function.halves
        self._axis = call.keywords.get("axis", -1)
        self.names = tuple(n for n in definition.arguments if n in definition.arrays or not is_scalar(operands[n]))
        numbers = {name: value for name, value in operands.items() if name not in self.names}
        keywords = {key: value for key, value in call.keywords.items() if key not in {"axis", "out"}}
        self._keywords = call.options | numbers | keywords
        # Arrays of the definition, for which scalars may be given, are passed by position, hyperparameters by keyword.
        self._positional = sum(name in definition.arrays for name in self.names)
        # The last shape with the indices of its parts, and the key of the calls of the elementwise functions.
        self._split: tuple[tuple[int, ...], Any, Any] | None = None
        self._key: Any = None
        self._dtype: Any = None
        if len(self._functions) > 1:
            self._dtype = part_dtype(call, {"gate": operands["x"], **operands})
            if any(operands[name].dtype != self._dtype for name in self.names if not is_scalar(operands[name])):
                self._keywords |= {"dtype": self._dtype}

    def execute(self, operands: tuple[Any, ...], out: Any, _where: Any) -> Any:
        """Compute; see `actufunc._calling.plans.Plan`."""
        x, *others = operands
        if self._dtype is not None:
            if out is None or out is Ellipsis:
                result = empty_like(x, self._dtype)
            elif self._copies(x, out):
                np.copyto(out, self.execute(operands, None, _where), casting="unsafe")
                return out
            else:
                # The second part of the result is computed from elements that the first would overwrite.
                result = out
                x, *others = (each.copy() if may_share_memory(each, out) else each for each in operands)
        shape = x.shape
        known = self._split
        if known is None or known[0] != shape:
            known = self._split = (shape, *split_indices(shape, split_axis(self._name, self._axis, shape)))
        _, first, second = known
        args = (x[second], *others[: self._positional - 1])
        named = self._keywords
        if len(operands) > self._positional:
            named = dict(zip(self.names[self._positional :], others[self._positional - 1 :], strict=True)) | named
        x_part = x[first]
        if self._dtype is None:
            check_part(self._name, x_part, out)
            return self._compute_part(0, x_part, args, named, out)
        self._compute_part(0, x_part, args, named, result[first])
        self._compute_part(1, x_part, args, named, result[second])
        return result

    def _compute_part(self, number: int, x: Any, args: tuple[Any, ...], keywords: dict[str, Any], out: Any) -> Any:
        """Compute one of the elementwise functions; all of its calls have the same key."""
        function = self._functions[number]
        if self._key is None:
            with suppress(UncacheableError):
                self._key = key_of(x, args, keywords, len(function.definition.arrays) - 1)
        return function.run(x, args, keywords, out, self._key)

    def _copies(self, x: Any, out: Any) -> bool:
        """Check an output, and return True if the result is to be computed in a new array and copied to it."""
        check_out(self._name, out)
        check_fits(self._name, x.shape, out.shape, exactly=True)
        if out.dtype == self._dtype:
            return bool(x.size < LARGE)
        check_cast(self._name, "its result", self._dtype, out.dtype, "same_kind")
        return x.size < LARGE and not is_half(out.dtype)  # the elementwise functions round to half types

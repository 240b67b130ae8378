"""Calls on arrays of any array API namespace, by a function of the library or by the formula in its operations."""

from __future__ import annotations

import functools
import operator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import array_api_compat as compat
import numpy as np

from actufunc._calling.array_kinds import owner
from actufunc._calling.call import Call, refuse_numpy_keywords
from actufunc._calling.plans import Plan, once

from .array_api_ops import as_array, compute, compute_dtype, covers, dtype_name
from .axis import shapes_of
from .delegation import find
from .masking import fill_left_out, value_left_out
from .mixed import takes_numpy
from .promotion import asked_dtype, call_keeps_integers, integers_fit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def plan(call: Call) -> Plan:
    """Return the plan of a call on the arrays of one namespace."""
    name = call.definition.name
    refuse_numpy_keywords(call, _library(call))
    operands = {key: _scalar_or_array(call, key, value) for key, value in call.operands.items()}
    for key, value in operands.items():
        if not _is_number(value) and not compat.is_array_api_obj(value):
            raise TypeError(f"{name} got {type(value).__name__} for {key} beside an array of {_library(call)}")
    arrays = [value for value in operands.values() if not _is_number(value)]
    xp = compat.array_namespace(*arrays)
    if len(arrays) > 1:
        _check_devices(name, arrays)
    with _missing_functions_named(xp, call):
        made = _NamespaceCall(xp, call, operands).plan()
    return made if made.is_cacheable else once(functools.partial(_run_once, made, xp, call))


def _run_once(made: Plan, xp: Any, call: Call) -> Any:
    with _missing_functions_named(xp, call):
        return made.run(call)


@contextmanager
def _missing_functions_named(xp: Any, call: Call) -> Iterator[None]:
    """Name, in an error, the functions of the standard that a formula needs and the namespace does not have."""
    try:
        yield
    except (AttributeError, TypeError, ValueError, NotImplementedError) as error:
        lacking = error.name if isinstance(error, AttributeError) and error.obj is xp else None
        if lacking is None and _conforms(xp):
            raise
        raise TypeError(
            f"{call.definition.name} needs {lacking or 'functions'} of the array API standard, which {_library(call)} "
            "lacks; convert to NumPy first"
        ) from error


@functools.cache
def _conforms(xp: Any) -> bool:
    """Return True if a namespace has the functions of the array API standard that formulas need."""
    try:
        x = xp.asarray([0.5, 2.0])
        x = xp.astype(xp.asarray(x), x.dtype, copy=False)
        row = xp.where(x > 1, xp.exp(x), xp.asarray(0.5, dtype=x.dtype)) / xp.sum(x, axis=0, keepdims=True)
        like = xp.full_like(xp.broadcast_to(xp.max(row, axis=-1, keepdims=True), row.shape), 1.0)
        return bool(xp.isdtype(xp.result_type(row, like), "real floating")) and type(row) is type(x)
    except Exception:  # noqa: BLE001  # any error means no
        return False


def _scalar_or_array(call: Call, key: str, value: Any) -> Any:
    """Return an operand: a NumPy scalar becomes a Python number, which never promotes, or an array if `takes_numpy`."""
    if isinstance(value, np.generic):
        if key in call.definition.arrays and takes_numpy(xp := compat.array_namespace(*_owned(call))):
            return xp.asarray(value)
        value = value.item()
    return int(value) if isinstance(value, bool) else value


def _owned(call: Call) -> list[Any]:
    return [value for value in call.values() if owner(value) is not None]


def _is_number(value: object) -> bool:
    return isinstance(value, bool | int | float) or _is_symbolic(value)


def _is_symbolic(value: object) -> bool:
    """Return True if a value is a symbolic number of torch.compile."""
    return type(value).__name__ in {"SymFloat", "SymInt"}


def _library(call: Call) -> str:
    return str(owner(_owned(call)[0]))


def _check_devices(name: str, arrays: list[Any]) -> None:
    # Arrays that jax.jit traces have no device. JAX moves arrays that are not committed to a device.
    found = [(compat.device(array), array) for array in arrays]
    devices = {_name(device) for device, array in found if device is not None and getattr(array, "committed", True)}
    if len(devices) > 1:
        raise TypeError(f"{name} got arrays on {' and '.join(sorted(devices))}; move them to one device first")


def _name(device: Any) -> str:
    """Return the name of a device; for a sharding of JAX, the names of its devices, however they share the array."""
    return ", ".join(sorted(map(str, device.device_set))) if hasattr(device, "device_set") else str(device)


class _NamespaceCall:
    """A call on arrays of a namespace, which are cast to the dtype of the result."""

    def __init__(self, xp: Any, call: Call, operands: dict[str, Any]) -> None:
        self.xp, self.call = xp, call
        self.name = call.definition.name
        self.operands = self._cast(operands)
        self.like = self.operands["x"]  # array that gives constants their dtype and device
        self.shapes = shapes_of(call, tuple(self.operands["x"].shape))
        self.axis = self.shapes.axes[0] if len(self.shapes.axes) == 1 else self.shapes.axes

    def _cast(self, operands: dict[str, Any]) -> dict[str, Any]:
        """Cast the arrays to the dtype of the result."""
        xp = self.xp
        arrays = {key: value for key, value in operands.items() if not _is_number(value)}
        asked = self.call.keywords.get("dtype")
        if isinstance(asked, str | type | np.dtype):  # dtypes of NumPy
            asked = getattr(xp, asked_dtype(self.name, asked).name)
        dtype = asked if asked is not None else xp.result_type(*arrays.values())
        if asked is None and not xp.isdtype(dtype, "real floating"):
            if xp.isdtype(dtype, ("integral", "bool")):
                if not self._keeps_integers(operands, dtype):
                    dtype = _default_dtype(xp, next(iter(arrays.values())))
            else:
                raise TypeError(f"{self.name} does not support {dtype}; it takes real floats, integers and booleans")
        if asked is not None and not xp.isdtype(dtype, "real floating"):
            raise TypeError(f"{self.name} can be asked for a real floating dtype only, not for {dtype}")
        self.dtype = dtype
        if numbers := [key for key in self.call.definition.arrays if key not in arrays]:
            like = next(iter(arrays.values()))
            arrays |= {key: as_array(xp, operands[key], like, dtype) for key in numbers}
            operands = operands | {key: arrays[key] for key in numbers}
        return {key: xp.astype(value, dtype, copy=False) if key in arrays else value for key, value in operands.items()}

    def _keeps_integers(self, operands: dict[str, Any], dtype: Any) -> bool:
        if not self.xp.isdtype(dtype, "integral") or any(map(_is_symbolic, operands.values())):
            return False
        kept, numbers = np.dtype(dtype_name(dtype)), [operands[key] for key in self.call.definition.arrays]
        return integers_fit(filter(_is_number, numbers), kept) and call_keeps_integers(self.call, kept)

    def plan(self) -> Plan:
        """Return the plan of the call."""
        call, names = self.call, self.call.definition.arrays
        if call.definition.over_axis:
            return once(self._over_axis)
        if call.keywords.get("where", True) is not True:
            raise TypeError(f"{self.name} takes where= with NumPy arrays only; use xp.where on its result")
        function = self._function(self.operands)
        if function is None:
            return once(lambda: self._formula(self.operands))
        given = tuple(call.operands[key] for key in names)
        if not _is_number(given[0]) and given[0].dtype == self.dtype and _same_kind(given):
            return Plan(names, functools.partial(_execute, function))
        return once(lambda: function(*(self.operands[key] for key in names)))

    def _over_axis(self) -> Any:
        """Compute a function over an axis."""
        if 0 in self.operands["x"].shape or self.operands["x"].ndim == 0:
            return self._without_axis()
        xp, mask, definition = self.xp, self.call.keywords.get("where", True), self.call.definition
        operands = self.operands | {key: self._beside_x(key, self.operands[key]) for key in definition.arrays[1:]}
        if mask is not True:
            if not covers(self.shapes.of_x, tuple(mask.shape)):
                raise ValueError(
                    f"{self.name} cannot broadcast where of shape {tuple(mask.shape)} to that of x, {self.shapes.of_x}"
                )
            fill = fill_left_out(self.call)
            operands |= {key: xp.where(mask, operands[key], self._constant(fill[key])) for key in definition.arrays}
        function = self._function(operands)
        if function is None:
            result = self._formula(operands)
        else:
            result = function(*(operands[key] for key in definition.arrays))
        if definition.reduces:
            return xp.reshape(result, self.shapes.given)
        if mask is True:
            return result
        self.like = result
        return xp.where(mask, result, self._constant(value_left_out(self.call)))

    def _beside_x(self, key: str, array: Any) -> Any:
        """Broadcast a cotangent to the shape of x; one without the axis keeps the axes, with length one."""
        of_row = key in self.call.definition.without_axis
        given, what = (self.shapes.given, "the result") if of_row else (self.shapes.of_x, "x")
        shape = tuple(array.shape)
        if shape != given:
            if not covers(given, shape):
                raise ValueError(f"{self.name} cannot broadcast {key} of shape {shape} to that of {what}, {given}")
            array = self.xp.broadcast_to(array, given)
        return self.xp.reshape(array, self.shapes.kept) if of_row else array

    def _without_axis(self) -> Any:
        """Compute on an empty array, or on a 0-d array, which is one row of one element."""
        xp, x = self.xp, self.operands["x"]
        if x.ndim:
            # The sum of all arrays is empty, too, and part of the graph of a library that differentiates.
            given = {key: value for key, value in self.operands.items() if not _is_number(value)}
            for key in given.keys() & self.call.definition.without_axis:
                given[key] = xp.reshape(xp.broadcast_to(given[key], self.shapes.given), self.shapes.kept)
            empty = functools.reduce(operator.add, given.values())
            if not self.call.definition.reduces:
                return empty + 0
            return xp.reshape(xp.sum(empty, axis=self.shapes.axes) + value_left_out(self.call), self.shapes.given)
        keywords = {key: value for key, value in self.call.keywords.items() if key == "where"}
        rows = {key: value if _is_number(value) else xp.reshape(value, (1,)) for key, value in self.operands.items()}
        if self.call.definition.without_axis:
            keywords["keepdims"] = True
        arrays = [rows.pop(key) for key in self.call.definition.arrays]
        return xp.reshape(self.call.function(*arrays, **rows, **self.call.options, **keywords), ())

    # The formula.

    def _function(self, operands: dict[str, Any]) -> Callable[..., Any] | None:
        """Return a function of the arrays: the library's, or a formula that it can differentiate; None if neither."""
        xp, definition = self.xp, self.call.definition
        if (delegated := find(xp, self.call, operands, self.axis)) is not None:
            return delegated
        if definition.over_axis or not xp.isdtype(self.dtype, "real floating"):
            return None
        if not compat.is_torch_namespace(xp) and not compat.is_jax_namespace(xp):
            return None
        from .autodiff import differentiable_apply, formula_of  # noqa: PLC0415

        formula = formula_of(definition, tuple(self.call.options.items()))
        hyperparameters = [operands[key] for key in definition.hyperparameters]

        def apply(x: Any, *arrays: Any) -> Any:
            work = compute_dtype(xp, x.dtype)
            others = (as_array(xp, value, x, work) if _is_number(value) else value for value in hyperparameters)
            return differentiable_apply(xp)(formula, x, *arrays, *others)

        return apply

    def _formula(self, operands: dict[str, Any]) -> Any:
        """Evaluate the expression."""
        values = {key: value for key, value in operands.items() if _is_number(value)}
        arrays = {key: value for key, value in operands.items() if key not in values}
        shapes = self.shapes if self.call.definition.over_axis else None
        return compute(self.xp, self.call.specialised(values), arrays, shapes)

    def _constant(self, value: float) -> Any:
        return as_array(self.xp, value, self.like, self.like.dtype)


def _execute(function: Callable[..., Any], arrays: tuple[Any, ...], out: Any, _where: Any) -> Any:
    """Compute arrays of one dtype by a function of the library; see `actufunc._calling.plans.Plan`."""
    return function(*arrays) if out is None and _same_kind(arrays) else NotImplemented


def _same_kind(arrays: tuple[Any, ...]) -> bool:
    """Return True if arrays have one class, dtype and device."""
    x, *others = arrays
    if any(type(y) is not type(x) or y.dtype != x.dtype for y in others):
        return False
    return all(compat.device(y) == compat.device(x) for y in others)


def _default_dtype(xp: Any, array: Any) -> Any:
    """Return the default real dtype of the namespace."""
    info = xp.__array_namespace_info__()
    return info.default_dtypes(device=compat.device(array))["real floating"]

"""Calls on CuPy arrays.

CuPy's own elementwise kernel takes what NumPy's ufuncs take: dtypes, strides and broadcasting are settled by it or in
its text, without temporary arrays. Contiguous arrays of one dtype go through kernels that move 16 bytes at a time. All
work is queued on the current stream of the current device, as CuPy does, and memory comes from CuPy's pool.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cupy
import numpy as np

from actufunc.backends.rules import (
    as_mask,
    check_casts,
    check_fits,
    keeps_integers,
    order_of,
    result_dtype,
    rounded,
    scalars_of,
    shape_of_all,
    unsupported,
    working_dtype,
)
from actufunc.plans import Plan

from . import kernels
from .lower import VECTOR, Formula

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from actufunc.formula.expression import Expression
    from actufunc.protocol import Call

    Array = Any  # CuPy comes without types


def evaluate(call: Call) -> Array:
    """Compute an activation on CuPy arrays."""
    if call.definition.over_axis:
        from .call_axis import evaluate_axis  # noqa: PLC0415

        return evaluate_axis(call)
    return _elementwise(call)


def operands_of(call: Call) -> dict[str, Array]:
    """Return the operands that are arrays, or scalars in the place of arrays, after a check of their devices."""
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
    current = cupy.cuda.runtime.getDevice()
    for value in call.values():
        if isinstance(value, cupy.ndarray) and value.data.device_id != current:
            raise TypeError(
                f"{name} got an array on CUDA device {value.data.device_id} while device {current} is current; "
                f"call it under `with cupy.cuda.Device({value.data.device_id}):`, or move the array"
            )
    return operands


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


def _elementwise(call: Call) -> Array:
    """Compute an elementwise activation."""
    name, operands = call.definition.name, operands_of(call)
    mask = check_where(name, call.keywords.get("where", True))
    order = order_of(call)
    dtype = result_dtype(call, operands)
    work = working_dtype(dtype) or dtype
    out = None if call.out is Ellipsis else call.out
    if out is not None:
        check_out(name, out)
    check_casts(call, operands, dtype, out)
    shapes = {key: array.shape for key, array in operands.items()}
    shape = shape_of_all(name, shapes if mask is None else {**shapes, "where": mask.shape})
    if out is not None:
        check_fits(name, shape, out.shape)
    expression, scalars = put_scalars_in(call, work)
    arrays = {key: value for key, value in operands.items() if isinstance(value, cupy.ndarray)}
    numbers = {key: rounded(v.item(), work) for key, v in operands.items() if key not in arrays} | scalars
    formula = Formula(call.definition.identifier, expression, tuple(arrays), tuple(numbers), dtype)
    inputs = list(arrays.values())
    if out is None:
        out = _allocate(inputs, shape, dtype, order, zeros=mask is not None)
    if out.size == 0:
        return out
    target = out if is_apart([*inputs, mask], out) else cupy.empty_like(out)
    if target is not out and mask is not None:
        copy(out, target)
    if inputs and mask is None and dtype == out.dtype and all(_goes_straight(value, target) for value in inputs):
        _run_vectors(kernels.vectors(formula), inputs, numbers.values(), target)
    else:
        masks = [] if mask is None else [mask if isinstance(mask, cupy.ndarray) else bool(mask)]
        kernels.elementwise(formula, masked=mask is not None)(*inputs, *numbers.values(), *masks, target)
    exact = all(type(array) is cupy.ndarray and array.dtype == dtype for array in inputs)
    if exact and tuple(arrays) == call.definition.arrays and call.keywords.keys() <= {"out"}:
        call.plan = Plan(tuple(arrays), _straight(kernels.vectors(formula), tuple(numbers.values()), dtype))
    return out if target is out else copy(target, out)


def _allocate(inputs: list[Array], shape: tuple[int, ...], dtype: np.dtype[Any], order: str, *, zeros: bool) -> Array:
    """Make an array for a result, in the order of the first input where that has its shape."""
    if inputs and inputs[0].shape == shape:
        return (cupy.zeros_like if zeros else cupy.empty_like)(inputs[0], dtype=dtype, order=order)
    return (cupy.zeros if zeros else cupy.empty)(shape, dtype, order="F" if order == "F" else "C")


def _goes_straight(array: Array, out: Array) -> bool:
    """Tell whether a vector kernel may read `array` and write to `out`: alike, contiguous and aligned."""
    a, b = array.flags, out.flags
    return bool(
        out.ndim  # CuPy's raw arguments have no element to point at otherwise
        and array.dtype == out.dtype
        and array.shape == out.shape
        and array.data.ptr % VECTOR == 0
        and out.data.ptr % VECTOR == 0
        and ((a.c_contiguous and b.c_contiguous) or (a.f_contiguous and b.f_contiguous))
    )


def _run_vectors(kernel: Any, inputs: Sequence[Array], scalars: Iterable[Any], out: Array) -> None:
    """Run a vector kernel on arrays that go straight."""
    operands = [o if o.flags.c_contiguous else o.T for o in (*inputs, out)]
    threads = kernels.vector_threads(out.dtype)(out.size)
    kernel(*operands[:-1], *scalars, operands[-1], size=threads, block_size=kernels.THREADS)


def _straight(kernel: Any, scalars: tuple[Any, ...], dtype: np.dtype[Any]) -> Callable[..., Array]:
    """Return what serves arrays of this dtype with the same arguments if they go straight, and else says so."""
    threads_for = kernels.vector_threads(dtype)

    def compute(inputs: tuple[Array, ...], out: Any, _where: Any) -> Array:
        result = straight_output(inputs, out, dtype)
        if result is not NotImplemented:
            kernel(*inputs, *scalars, result, size=threads_for(result.size), block_size=kernels.THREADS)
        return result

    return compute


_ndarray, _runtime = cupy.ndarray, cupy.cuda.runtime


def straight_output(inputs: tuple[Array, ...], out: Any, dtype: np.dtype[Any]) -> Any:
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

"""Elementwise calls on CuPy arrays.

CuPy's own elementwise kernel takes what NumPy's ufuncs take: dtypes, strides and broadcasting are settled by it or in
its text, without temporary arrays. Contiguous arrays of one dtype go through kernels that move 16 bytes at a time. All
work is queued on the current stream of the current device, as CuPy does, and memory comes from CuPy's pool.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cupy

from actufunc._calling.plans import Plan
from actufunc.backends.broadcasting import check_fits, order_of, shape_of_all
from actufunc.backends.promotion import (
    check_casts,
    result_dtype,
    rounded,
    working_dtype,
)

from . import kernels
from .arguments import check_out, check_where, copy, is_apart, operands_of, put_scalars_in, straight_output
from .codegen.elementwise import VECTOR, Formula

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import numpy as np

    from actufunc._calling.call import Call

    Array = Any  # CuPy comes without types


def evaluate_elementwise(call: Call) -> Array:
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

"""Calls over an axis on NumPy arrays.

Kernels take C-contiguous operands of shape (rows, n) or (blocks, n, columns). Contiguous arrays are seen that way
without a copy. Any other layout, dtype or mask goes block by block through a small scratch array, in which the kernel
works in place, so that no call takes more memory than its result.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from actufunc.backends.array_api import fill_left_out, value_left_out
from actufunc.backends.rules import (
    as_blocks,
    broadcast_to_x,
    output_over_axis,
    result_dtype,
    scalars_of,
    shapes_of,
    working_dtype,
)
from actufunc.memory import empty_like
from actufunc.plans import LARGE, Plan

from . import parallel
from .call import as_array, as_mask, put_scalars_in, wrap
from .kernels import axis as axis_kernel
from .layout import Layout
from .plan import check_out, same_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from actufunc.protocol import Call

    from .kernels import OverAxis

    Array = np.ndarray[Any, Any]

_FEW_COLUMNS = 16  # below, vectors across the axis would be mostly empty: such arrays go through a scratch array
_SHORT_ROWS = 32  # below, vectors along the row would be: the rows are turned into columns
_LONGEST_KEPT = 1 << 14  # elements of a row of float64 numbers that stays in the cache beside the operands
_BLOCK = 1 << 16  # elements of a scratch array, in the second-level cache


def evaluate_axis(call: Call) -> Any:
    """Compute an activation over an axis of NumPy arrays."""
    name, reduces = call.definition.name, call.definition.reduces
    mask = as_mask(name, call.keywords.get("where", True))
    mask = None if mask is True else mask
    scalars = scalars_of(call)
    given = {key: as_array(name, key, v) for key, v in call.operands.items() if key not in scalars}
    dtype = result_dtype(call, given)
    work = working_dtype(dtype) or dtype
    shapes = shapes_of(call, given["x"].shape)
    expression, given = put_scalars_in(call, given, work)
    masks = [np.ma.getmaskarray(array) for array in given.values() if isinstance(array, np.ma.MaskedArray)]
    broadcast = partial(np.broadcast_to, subok=True)
    inputs = [broadcast_to_x(call, key, np.asarray(array), shapes, broadcast) for key, array in given.items()]
    for masked in masks:  # what a masked array masks takes no part
        mask = ~masked if mask is None else mask & ~masked
    mask = None if mask is None else broadcast_to_x(call, "where", mask, shapes, broadcast)
    out = output_over_axis(call, shapes.given if reduces else shapes.of_x, dtype, check_out)
    if out is not None:
        inputs = [np.array(i) if _overlaps(i, out) else i for i in inputs]
        result = np.asarray(out)
    else:
        result = empty_like(inputs[0], dtype, shape=shapes.kept if reduces else shapes.of_x)
    target = result if result.ndim == len(shapes.of_x) else np.expand_dims(result, shapes.axes)

    identifier, names = call.definition.identifier, tuple(given)

    def kernel_of(layout: Layout, n: int) -> OverAxis:
        keep = not layout.columns and n <= _LONGEST_KEPT
        return axis_kernel(identifier, expression, names, work, layout, keep=keep)

    kernel = partial(kernel_of, n=math.prod(shapes.of_x[axis] for axis in shapes.axes))

    if target.size and not inputs[0].size:
        of_nothing = np.empty((1, 1), work)
        kernel(Layout.ROWS)(*[np.empty((1, 0), work)] * len(inputs), of_nothing, begin=0, end=1)
        target[...] = of_nothing[0, 0]
    elif target.size:
        views = _views([*inputs, target], shapes.axes, work) if mask is None else None
        if views is None:
            taken = None if mask is None else (mask, fill_left_out(call), value_left_out(call))
            _block_by_block(kernel, tuple(given), inputs, taken, target, shapes.axes, work, reduces=reduces)
        else:
            layout = Layout.COLUMNS if views[0].ndim == Layout.COLUMNS.ndim else Layout.ROWS
            parallel.over_axis(kernel(layout), views)
            exact = all(type(call.operands[key]) is np.ndarray for key in call.definition.arrays)
            axis = call.keywords.get("axis", -1)
            plain = call.keywords.keys() <= {"axis", "keepdims", "out"} and type(axis) is int
            if exact and plain and tuple(given) == call.definition.arrays and not call.definition.of_rows:
                execute = _straight(kernel_of, axis, keepdims=shapes.keepdims, reduces=reduces)
                call.plan = Plan(call.definition.arrays, execute)
    if out is not None:
        return wrap(call, out)
    if not reduces:
        return wrap(call, target if target.ndim or call.out is Ellipsis else target[()])
    values = target.reshape(shapes.given)
    if masks and mask is not None:  # what has no element is masked
        return np.ma.masked_array(values, ~mask.any(axis=shapes.axes).reshape(values.shape))
    return values[()] if values.ndim == 0 and call.out is not Ellipsis else values


def _straight(kernel_of: Callable[..., OverAxis], axis: int, *, keepdims: bool, reduces: bool) -> Callable[..., Any]:
    """Return what serves contiguous arrays of this dtype over one axis, and looks at little else."""
    kernels: dict[tuple[bool, bool], OverAxis] = {}

    def compute(arrays: tuple[Any, ...], out: Any, _where: Any) -> Any:
        # Every attribute looked up here shows.
        x = arrays[0]
        dtype, shape, size = x.dtype, x.shape, x.size
        ndim = len(shape)
        if not (size and _are_alike(arrays) and -ndim <= axis < ndim):
            return NotImplemented
        place = axis % ndim
        before, n, after = shape[:place], shape[place], shape[place + 1 :]
        columns = math.prod(after) if after else 1
        if not (_pays_along_rows(n, size) if columns == 1 else columns >= _FEW_COLUMNS):
            return NotImplemented
        of_result = (*before, *((1,) if keepdims else ()), *after) if reduces else shape
        if out is None:
            given = arrays
        elif type(out) is np.ndarray and out.dtype is dtype and out.shape == of_result and out.flags.writeable:
            given = (*arrays, out)
            # NumPy resolves overlap for its ufuncs, but this is none.
            if any(np.may_share_memory(each, out) for each in arrays):
                return NotImplemented
        else:
            return NotImplemented
        for each in given:
            flags = each.flags
            if not (flags.c_contiguous and flags.aligned):
                return NotImplemented
        result = out
        if out is None:
            result = np.empty(of_result, dtype) if size < LARGE else empty_like(x, dtype, "C", of_result)
        kind = columns == 1, n <= _LONGEST_KEPT
        kernel = kernels.get(kind)
        if kernel is None:
            kernel = kernels[kind] = kernel_of(Layout.ROWS if columns == 1 else Layout.COLUMNS, n)
        seen = (size // n, n) if columns == 1 else (size // (n * columns), n, columns)
        inputs = arrays if shape == seen else [each.reshape(seen) for each in arrays]
        target = result.reshape(seen[0], 1, *seen[2:]) if reduces else result.reshape(seen)
        parallel.over_axis(kernel, (*inputs, target))
        return result if of_result or out is not None else result[()]

    return compute


def _are_alike(arrays: tuple[Any, ...]) -> bool:
    x = arrays[0]
    return all(type(each) is np.ndarray and each.dtype is x.dtype and each.shape == x.shape for each in arrays[1:])


def _pays_along_rows(n: int, size: int) -> bool:
    """Tell whether rows are long enough to work along, or too few for anything else."""
    return n >= _SHORT_ROWS or size < _SHORT_ROWS * _FEW_COLUMNS


def _overlaps(array: Array, out: Array) -> bool:
    """Tell whether writing to `out` could change elements of `array` that are still to be read."""
    return not same_memory(array, out) and bool(np.may_share_memory(array, out))


def _views(operands: list[Array], axes: tuple[int, ...], work: np.dtype[Any]) -> list[Array] | None:
    """See contiguous arrays as (rows, n) or (blocks, n, columns); None where they are not contiguous and alike."""
    *inputs, out = operands
    if not all(o.dtype == work and o.flags.aligned for o in operands) or any(
        np.may_share_memory(i, out) for i in inputs
    ):
        return None
    views = as_blocks(operands, axes)
    if views is None:
        return None
    _, n, columns = views[0].shape
    if columns == 1:
        rows = [view.reshape(view.shape[:2]) for view in views]
        return rows if _pays_along_rows(n, inputs[0].size) else None
    return views if columns >= _FEW_COLUMNS else None


def _block_by_block(
    kernel: Callable[[Layout], OverAxis],
    names: Iterable[str],
    inputs: list[Array],
    mask: tuple[Array, Mapping[str, float], float] | None,
    out: Array,
    axes: tuple[int, ...],
    work: np.dtype[Any],
    *,
    reduces: bool,
) -> None:
    """Run a kernel over contiguous copies of some rows at a time; short rows stand side by side there, as columns.

    A mask comes with what stands for excluded elements of the inputs, and with the value that they get.
    """
    n = math.prod(inputs[0].shape[axis] for axis in axes)
    as_columns = not _pays_along_rows(n, inputs[0].size)
    transform = kernel(Layout.COLUMNS if as_columns else Layout.ROWS if reduces else Layout.ROWS_IN_PLACE)
    last = range(-len(axes), 0)
    size = inputs[0].size * out.itemsize
    *inputs, out = (np.moveaxis(o, axes, last) for o in (*inputs, out))
    taken = None if mask is None else np.moveaxis(mask[0], axes, last)

    def compute(block: tuple[Any, ...]) -> None:
        rows = [np.array(i[block], work, order="C").reshape(-1, n) for i in inputs]
        if mask is not None and taken is not None:
            for key, each in zip(names, rows, strict=True):
                if key in mask[1]:
                    each[~taken[block].reshape(-1, n)] = mask[1][key]
        result = np.empty((len(rows[0]), 1), work) if reduces else rows[0]
        if as_columns:
            columns = [np.ascontiguousarray(each.T)[np.newaxis] for each in rows]
            result_columns = np.empty((1, *result.T.shape), work)
            transform(*columns, result_columns, begin=0, end=transform.layout.tasks(result_columns.shape))
            result[:] = result_columns[0].T
        else:
            transform(*(rows if reduces else rows[1:]), result, begin=0, end=len(result))
        if mask is not None and taken is not None and not reduces:
            result[~taken[block].reshape(-1, n)] = mask[2]
        np.copyto(out[block], result.reshape(out[block].shape), casting="unsafe")

    parallel.blocks(compute, _blocks(out.shape[: out.ndim - len(axes)], max(1, _BLOCK // n)), size)


def _blocks(shape: tuple[int, ...], rows: int) -> Iterator[tuple[Any, ...]]:
    """Cut an index space into blocks of at most `rows` elements: whole trailing dimensions, slices, single indices."""
    if not shape:
        yield (...,)
        return
    below = math.prod(shape[1:])
    if below <= rows:
        step = max(1, rows // max(1, below))
        for start in range(0, shape[0], step):
            yield (slice(start, start + step), ...)
        return
    for index in range(shape[0]):
        for rest in _blocks(shape[1:], rows):
            yield (index, *rest)

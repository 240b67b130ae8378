"""Plans of calls over an axis on NumPy arrays.

Kernels take C-contiguous operands of shape (rows, n) or (blocks, n, columns). Contiguous arrays are passed as views of
these shapes. Small arrays of another layout or dtype, or with a mask, are copied first; large ones are copied block by
block to a small scratch array, in which the kernel works in place, so that no call takes more memory than its result.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from actufunc._calling.plans import as_kernel
from actufunc._memory import empty_like
from actufunc.backends.axis import Reduced, as_blocks, broadcast_to_x, normalise_axis
from actufunc.backends.broadcasting import check_fits
from actufunc.backends.masking import fill_left_out, value_left_out

from .arguments import check_out, overlaps
from .codegen.layout import Layout
from .fast_path import LARGE
from .jit.kernels import axis as axis_kernel
from .threading import schedule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .arguments import Arguments
    from .jit.kernels import OverAxis

    Array = np.ndarray[Any, Any]

_FEW_COLUMNS = 16  # with fewer columns vectors across the axis are mostly empty: such arrays use a scratch array
_SHORT_ROWS = 32  # with shorter rows vectors along the row are mostly empty: rows are transposed to columns
_LONGEST_KEPT = 1 << 14  # elements of a row of float64 numbers that fits in the cache beside the operands
_BLOCK = 1 << 16  # elements of a scratch array, in the second-level cache

_ndarray = np.ndarray


@dataclass(frozen=True, slots=True)
class Axes:
    """Axes of a call on arrays of some number of dimensions.

    Attributes
    ----------
    axes, others : tuple of int
        Axes to reduce over, and the other axes.
    last, first : tuple of int, or None
        Permutations of the axes that move `axes` to the end, or to the beginning; None for the identity.
    expand : tuple
        Index that inserts `axes`, of length one, in an array without them.
    """

    axes: tuple[int, ...]
    others: tuple[int, ...]
    last: tuple[int, ...] | None
    first: tuple[int, ...] | None
    expand: tuple[Any, ...]

    def kept(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return a shape with `axes` of length one."""
        return tuple([1 if axis in self.axes else length for axis, length in enumerate(shape)])

    def without(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return a shape without `axes`."""
        return tuple([shape[axis] for axis in self.others])


class AxisPlan:
    """Plan of a call over an axis on NumPy arrays, for the dtypes of `arguments`.

    `mask`, of `where` and masked arrays, is True if no element is excluded.
    """

    def __init__(self, arguments: Arguments, mask: Any) -> None:
        call, operands, work, dtype = arguments.call, arguments.operands, arguments.work, arguments.dtype
        self._definition, self.name, self.operands = call.definition, call.definition.name, operands
        self._kernel_of = partial(axis_kernel, self.name, arguments.expression, operands.names, work)
        self._work, self._dtype, self._axis = work, dtype, call.keywords.get("axis", -1)
        self._reduces, self._keepdims = call.definition.reduces, bool(call.keywords.get("keepdims", False))
        # Fill values of the operands for elements that the mask excludes, and the result at these.
        self._left_out = None if mask is True else (fill_left_out(call), value_left_out(call))
        types = (*operands.given.values(), dtype, arguments.out_dtype or dtype)
        self._is_exact = all(each == work for each in types) and type(self._axis) is int and operands.are_arrays
        self._is_exact = self._is_exact and not call.definition.without_axis
        self._kernels: dict[tuple[str, bool], OverAxis] = {}
        self._axes: dict[int, Axes] = {}

    @property
    def kernel(self) -> Callable[..., Any] | None:
        """Function of one array and an optional output; see `Plan.kernel`."""
        # A kernel is called with outputs of the dtype of x, which must be that of the result.
        is_exact = len(self.operands.names) == 1 and self.operands.given["x"] == self._dtype
        return as_kernel(self.execute) if is_exact else None

    def execute(self, operands: tuple[Any, ...], out: Any, where: Any = True) -> Any:  # noqa: FBT002
        """Compute; see `actufunc._calling.plans.Plan`."""
        if self._is_exact and where is True:
            result = self._execute_exact(operands, out)
            if result is not NotImplemented:
                return result
        arrays = operands if self.operands.are_arrays else self.operands.as_arrays(self.name, operands)
        x = arrays[0]
        axes = self.axes_of(x.ndim)
        shape = kept = of_result = x.shape
        is_small = x.size < LARGE
        if self._reduces:
            kept = axes.kept(shape)
            of_result = kept if self._keepdims else axes.without(shape)
        if len(arrays) > 1 or self._definition.without_axis:
            arrays = tuple(
                [self._expanded(*each, x.shape, axes) for each in zip(self.operands.names, arrays, strict=True)]
            )
        mask = None if where is True else self._expanded("where", np.asarray(where, np.bool_), x.shape, axes)
        if out is None or out is Ellipsis:
            target = (
                np.empty(kept, self._dtype)
                if is_small and x.flags.c_contiguous
                else empty_like(x, self._dtype, shape=kept)
            )
            result = target.reshape(of_result) if self._reduces else target
        else:
            check_out(self.name, out)
            check_fits(self.name, of_result, out.shape, exactly=True)
            result, target = out, np.asarray(out)
            target = target if target.ndim == x.ndim else np.expand_dims(target, axes.axes)
        if target.size:
            if not x.size:
                self._compute_of_nothing(len(arrays), target)
            elif is_small:
                self._compute_small(arrays, target, mask, axes, is_fresh=out is None)
            else:
                self._compute(arrays, target, mask, axes)
        return result[()] if out is None and not result.ndim else result

    def _kernel(self, layout: Layout, n: int) -> OverAxis:
        keep = not layout.columns and n <= _LONGEST_KEPT
        kernel = self._kernels.get((layout.value, keep))
        if kernel is None:
            kernel = self._kernels[layout.value, keep] = self._kernel_of(layout, keep=keep)
        return kernel

    def axes_of(self, ndim: int) -> Axes:
        """Return the axes of arrays with `ndim` dimensions."""
        known = self._axes.get(ndim)
        if known is None:
            axes = normalise_axis(self.name, self._axis, ndim)
            others = tuple(axis for axis in range(ndim) if axis not in axes)
            last, first = ((*others, *axes), (*axes, *others))
            known = self._axes[ndim] = Axes(
                axes,
                others,
                None if last == tuple(range(ndim)) else last,
                None if first == tuple(range(ndim)) else first,
                tuple(np.newaxis if axis in axes else slice(None) for axis in range(ndim)),
            )
        return known

    def _expanded(self, key: str, array: Array, of_x: tuple[int, ...], axes: Axes) -> Array:
        """Return an operand with the number of dimensions of x, to whose shape it broadcasts."""
        of_row = key in self._definition.without_axis
        if not of_row and array.shape == of_x:
            return array
        expanded, into = array, of_x
        if not array.ndim:
            expanded = array.reshape((1,) * len(of_x))
        elif of_row:
            expanded, into = (
                array if self._keepdims or array.ndim != len(axes.others) else array[axes.expand],
                axes.kept(of_x),
            )
        elif array.ndim < len(of_x):
            expanded = array.reshape((*(1,) * (len(of_x) - array.ndim), *array.shape))
        if expanded.ndim == len(of_x) and all([a in (1, b) for a, b in zip(expanded.shape, into, strict=True)]):  # noqa: C419 -- faster
            return expanded
        shapes = Reduced(of_x, axes.axes, self._keepdims)
        full: Array = broadcast_to_x(self._definition, key, array, shapes, np.broadcast_to)
        return full

    def _execute_exact(self, arrays: tuple[Any, ...], out: Any) -> Any:
        """Compute on contiguous arrays of the kernel's dtype over one axis; return NotImplemented for others."""
        # Each attribute lookup here counts.
        x, axis = arrays[0], self._axis
        shape, size = x.shape, x.size
        ndim = len(shape)
        if not (size and -ndim <= axis < ndim):
            return NotImplemented
        place = axis % ndim
        before, n, after = shape[:place], shape[place], shape[place + 1 :]
        columns = math.prod(after) if after else 1
        if not (_pays_along_rows(n, size) if columns == 1 else columns >= _FEW_COLUMNS):
            return NotImplemented
        of_result = (*before, *((1,) if self._keepdims else ()), *after) if self._reduces else shape
        given = arrays
        if out is not None:
            if type(out) is not _ndarray or out.shape != of_result or not out.flags.writeable:
                return NotImplemented
            # The kernel is no ufunc, for which NumPy would resolve overlap.
            if any(np.may_share_memory(each, out) for each in arrays):
                return NotImplemented
            given = (*arrays, out)
        for each in given:
            flags = each.flags
            if not (flags.c_contiguous and flags.aligned) or (each is not out and each.shape != shape):
                return NotImplemented
        result = out
        if out is None:
            dtype = self._dtype
            result = np.empty(of_result, dtype) if size < LARGE else empty_like(x, dtype, "C", of_result)
        kernel = self._kernel(Layout.ROWS if columns == 1 else Layout.COLUMNS, n)
        seen = (size // n, n) if columns == 1 else (size // (n * columns), n, columns)
        inputs = arrays if shape == seen else [each.reshape(seen) for each in arrays]
        target = result.reshape(seen[0], 1, *seen[2:]) if self._reduces else result.reshape(seen)
        schedule.over_axis(kernel, (*inputs, target))
        return result if of_result or out is not None else result[()]

    def _compute_of_nothing(self, inputs: int, target: Array) -> None:
        """Reduce axes of length zero."""
        result = np.empty((1, 1), self._work)
        self._kernel(Layout.ROWS, 0)(*[np.empty((1, 0), self._work)] * inputs, result, begin=0, end=1)
        target[...] = result[0, 0]

    def _compute_small(
        self, inputs: Sequence[Array], target: Array, mask: Array | None, axes: Axes, *, is_fresh: bool
    ) -> None:
        """Compute on small arrays by contiguous copies, in which short rows are transposed to columns."""
        x, work = inputs[0], self._work
        shape = x.shape
        n = shape[axes.axes[0]] if len(axes.axes) == 1 else math.prod([shape[axis] for axis in axes.axes])
        rows = x.size // n
        as_columns = not _pays_along_rows(n, x.size)
        order, seen = (axes.first, (1, n, rows)) if as_columns else (axes.last, (rows, n))
        without = fill = None
        if mask is not None and self._left_out is not None:
            without, fill = ~_moved(mask, order), self._left_out[0]
        operands = []
        for key, each in zip(self.operands.names, inputs, strict=True):
            moved = _moved(each, order)
            if each.shape == shape:
                is_filled = without is not None and fill is not None and key in fill
                # A new result shares no memory with the operands, of which only those to be filled need a copy.
                copy = moved.astype(work, "C", copy=is_filled or not is_fresh)
            else:
                copy = np.empty(_moved(x, order).shape, work)
                np.copyto(copy, moved, casting="unsafe")
            if without is not None and fill is not None and key in fill:
                np.copyto(copy, fill[key], where=without)
            operands.append(copy.reshape(seen))
        moved = _moved(target, order)
        is_scratch = moved.dtype != work or not ((flags := moved.flags).c_contiguous and flags.aligned)
        result = np.empty(moved.shape, work) if is_scratch else moved
        kernel = self._kernel(Layout.COLUMNS if as_columns else Layout.ROWS, n)
        one = ((1, 1, rows) if as_columns else (rows, 1)) if self._reduces else seen
        kernel(*operands, result.reshape(one), begin=0, end=kernel.layout.tasks(seen))
        if without is not None and self._left_out is not None and not self._reduces:
            np.copyto(result, self._left_out[1], where=without)
        if is_scratch:
            np.copyto(moved, result, casting="unsafe")

    def _compute(self, inputs: Sequence[Array], target: Array, mask: Array | None, axes: Axes) -> None:
        """Compute on large arrays: by views in the shape of the kernel's operands if possible, else block by block."""
        shape = inputs[0].shape
        inputs = [each if each.shape == shape else np.broadcast_to(each, shape) for each in inputs]
        views = _views([*inputs, target], axes.axes, self._work) if mask is None else None
        if views is not None:
            n = views[0].shape[1]
            layout = Layout.COLUMNS if views[0].ndim == Layout.COLUMNS.ndim else Layout.ROWS
            schedule.over_axis(self._kernel(layout, n), views)
            return
        # Blocks that have been written must not be read afterwards.
        inputs = [np.array(each) if overlaps(each, target) else each for each in inputs]
        mask = None if mask is None else np.broadcast_to(mask, shape)
        self._block_by_block(inputs, target, mask, axes)

    def _block_by_block(self, inputs: Sequence[Array], out: Array, mask: Array | None, axes: Axes) -> None:
        """Run a kernel over contiguous copies of some rows at a time; short rows are transposed to columns."""
        work, reduces, left_out = self._work, self._reduces, self._left_out
        n = math.prod(inputs[0].shape[axis] for axis in axes.axes)
        as_columns = not _pays_along_rows(n, inputs[0].size)
        layout = Layout.COLUMNS if as_columns else Layout.ROWS if reduces else Layout.ROWS_IN_PLACE
        kernel = self._kernel(layout, n)
        size = inputs[0].size * out.itemsize
        *inputs, out = (_moved(each, axes.last) for each in (*inputs, out))
        taken = None if mask is None else _moved(mask, axes.last)

        def compute(block: tuple[Any, ...]) -> None:
            rows = [np.array(each[block], work, order="C").reshape(-1, n) for each in inputs]
            without = None if taken is None else ~taken[block].reshape(-1, n)
            if without is not None and left_out is not None:
                for key, each in zip(self.operands.names, rows, strict=True):
                    if key in left_out[0]:
                        each[without] = left_out[0][key]
            result = np.empty((len(rows[0]), 1), work) if reduces else rows[0]
            if as_columns:
                columns = [np.ascontiguousarray(each.T)[np.newaxis] for each in rows]
                of_columns = np.empty((1, *result.T.shape), work)
                kernel(*columns, of_columns, begin=0, end=kernel.layout.tasks(of_columns.shape))
                result[:] = of_columns[0].T
            else:
                kernel(*(rows if reduces else rows[1:]), result, begin=0, end=len(result))
            if without is not None and left_out is not None and not reduces:
                result[without] = left_out[1]
            np.copyto(out[block], result.reshape(out[block].shape), casting="unsafe")

        schedule.blocks(compute, _blocks(out.shape[: len(axes.others)], max(1, _BLOCK // n)), size)


def _moved(array: Array, order: tuple[int, ...] | None) -> Array:
    """Return an array with its axes permuted; None is the identity."""
    return array if order is None else array.transpose(order)


def _pays_along_rows(n: int, size: int) -> bool:
    """Return True if vectors along rows of length n pay, or if there are too few rows for vectors across them."""
    return n >= _SHORT_ROWS or size < _SHORT_ROWS * _FEW_COLUMNS


def _views(operands: list[Array], axes: tuple[int, ...], work: np.dtype[Any]) -> list[Array] | None:
    """Return views of shape (rows, n) or (blocks, n, columns) for the kernel; None if copies are needed or pay."""
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


def _blocks(shape: tuple[int, ...], rows: int) -> Iterator[tuple[Any, ...]]:
    """Yield indices that split an array of a shape into blocks of at most `rows` elements, each a range of one axis."""
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

"""Plans of elementwise calls on NumPy arrays.

Numba's ufuncs raise on `where`, support one dtype, and use the vectorised loop only for contiguous operands. So small
arrays are passed to the ufunc directly if it accepts them, else copied to contiguous arrays of the kernel's dtype.
Large arrays are passed to it if they, or their rows, are contiguous, of one shape and of the kernel's dtype, else in
contiguous chunks of `numpy.nditer`, which casts, broadcasts and resolves overlap.

Half types are computed in float64 and rounded once, with scalar hyperparameters of float32 as everywhere: a product
with one is exact then, so that no tie is missed. If all arrays have one half type, kernels take the bits of their
elements; beside other dtypes the kernel for float64 is used.
"""

from __future__ import annotations

import functools
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from actufunc._memory import empty_like
from actufunc.backends.broadcasting import broadcast_arguments, check_fits
from actufunc.backends.promotion import is_half

from .arguments import Arguments, are_contiguous, check_out, overlaps, same_shape
from .codegen.half import HALF_COMPUTE_DTYPE
from .fast_path import LARGE, TINY
from .jit.kernels import HalfElementwise, elementwise, to_bits
from .threading import schedule

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Array = np.ndarray[Any, Any]

BITS = np.dtype(np.uint16)

_LEAST_ROW = 32  # elements of the shortest row for which a call of the vectorised loop pays

_ndarray = np.ndarray
_as_integer = struct.Struct("=H").unpack  # bits of a scalar or 0-d array, five times as fast as a view


class ElementwisePlan:
    """Plan of an elementwise call on NumPy arrays, for the dtypes of `arguments`."""

    def __init__(self, arguments: Arguments) -> None:
        self.name, self.operands = arguments.call.definition.name, arguments.operands
        self._dtype, self._order = arguments.dtype, arguments.order
        names, fixed = self.operands.names, self.operands.fixed.values()
        types = [*self.operands.given.values(), *(array.dtype for array in fixed)]
        dtype, work, written = arguments.dtype, arguments.work, arguments.out_dtype or arguments.dtype
        if is_half(dtype):
            work = dtype if all(each == dtype for each in (*types, written)) else HALF_COMPUTE_DTYPE
        self._kernel = kernel = elementwise(self.name, arguments.expression, names, work)
        self._work = BITS if isinstance(kernel, HalfElementwise) else work
        self._on_bits = isinstance(kernel, HalfElementwise)
        self._results: Any = getattr(kernel, "results", None)
        self._round = to_bits(written) if is_half(written) and written.isnative and not self._on_bits else None
        # The ufunc, if it can be called directly: its casts are exact and its results have the dtype of the output.
        self._direct: Callable[..., Any] | None = None
        if isinstance(kernel, HalfElementwise) or not kernel.is_safe or not work == dtype == written:
            return
        if all(np.can_cast(each, work, "safe") for each in types):
            self._direct = kernel.serial if self._order == "K" else functools.partial(kernel.serial, order=self._order)

    @property
    def kernel(self) -> Callable[..., Any] | None:
        """Function of one small array, or scalar, and an optional output; see `Plan.kernel`."""
        if len(self.operands.names) > 1 or self._order != "K":
            return None
        return self._look_up if self._on_bits else self._direct

    def _look_up(self, x: Any, out: Any = None) -> Any:
        if out is None and not x.ndim:
            return self._results[_as_integer(x)[0]]
        return self.execute((x,), out)

    def execute(self, operands: tuple[Any, ...], out: Any, where: Any = True) -> Any:  # noqa: FBT002
        """Compute; see `actufunc._calling.plans.Plan`."""
        # Each attribute lookup here counts.
        arrays = operands if self.operands.are_arrays else self.operands.as_arrays(self.name, operands)
        if self._direct is not None and where is True and (len(arrays) == 1 or same_shape(arrays)):
            x = arrays[0]
            if out is None:
                # A ufunc allocates its output in the memory order of the first array, as `_allocate` does.
                if ((size := x.size) < TINY and (len(arrays) == 1 or 0 not in x.strides)) or (
                    size < LARGE and are_contiguous(arrays)
                ):
                    return self._direct(*arrays)
            elif (
                type(out) is _ndarray
                and out.ndim == x.ndim
                and ((size := out.size) < TINY or (size < LARGE and are_contiguous((*arrays, out))))
            ):
                try:
                    return self._direct(*arrays, out)
                except (TypeError, ValueError):  # clearer errors are raised below
                    pass
        if self._on_bits and where is True:
            result = self._execute_bits(arrays, out)
            if result is not NotImplemented:
                return result
        return self._execute(arrays, out, None if where is True else np.asarray(where, np.bool_))

    def _execute_bits(self, arrays: tuple[Array, ...], out: Any) -> Any:
        """Compute on small arrays of one half type and shape, copied if not contiguous; else return NotImplemented."""
        x = arrays[0]
        shape = x.shape
        given = arrays if out is None else (*arrays, out)
        if not shape or (size := x.size) >= LARGE or not (len(given) == 1 or same_shape(given)):
            return NotImplemented
        if out is not None and not (type(out) is _ndarray and out.flags.writeable):
            return NotImplemented
        for each in given:
            if not each.flags.c_contiguous:
                if size >= TINY:
                    return NotImplemented
                result = self._allocate(arrays, shape, zeros=False) if out is None else out
                operands = [np.ascontiguousarray(each.view(BITS)).reshape(-1) for each in arrays]
                target = result.view(BITS)
                if target.flags.c_contiguous:
                    self._kernel.serial(*operands, target.reshape(-1))
                else:
                    target[...] = self._kernel.serial(*operands).reshape(shape)
                return result
        result = np.empty(shape, self._dtype) if out is None else out
        operands = [each.view(BITS) for each in (*arrays, result)]
        self._kernel.serial(*(operands if len(shape) == 1 else [each.reshape(-1) for each in operands]))
        return result

    def _execute(self, arrays: tuple[Array, ...], out: Any, mask: Array | None) -> Any:
        """Compute on any arrays: large ones, and such as the ufunc does not accept."""
        x = arrays[0]
        shape = x.shape if len(arrays) == 1 and mask is None else self._shape(arrays, mask)
        if out is None or out is Ellipsis:
            result = self._allocate(arrays, shape, zeros=mask is not None)
        else:
            check_out(self.name, out)
            check_fits(self.name, shape, out.shape)
            result = out
        target = np.asarray(result)  # matrices and masked arrays override assignment
        if self._on_bits:
            arrays, target = tuple([each.view(BITS) for each in arrays]), target.view(BITS)
        (self._compute_small if target.size < LARGE else self._compute)(arrays, target, mask)
        return result[()] if out is None and not result.ndim else result

    def _shape(self, arrays: tuple[Array, ...], mask: Array | None) -> tuple[int, ...]:
        shape: tuple[int, ...] = arrays[0].shape
        if (mask is None or mask.shape == shape) and same_shape(arrays):
            return shape
        try:
            return np.broadcast(*arrays, *([] if mask is None else [mask])).shape
        except (ValueError, RuntimeError):  # RuntimeError beyond 32 dimensions
            shapes = {key: each.shape for key, each in zip(self.operands.names, arrays, strict=True) if each.ndim}
            return broadcast_arguments(self.name, shapes if mask is None else {**shapes, "where": mask.shape})

    def _allocate(self, arrays: tuple[Array, ...], shape: tuple[int, ...], *, zeros: bool) -> Array:
        """Allocate a result in the memory order of a ufunc's."""
        x, order = arrays[0], self._order
        if order == "K":
            flags = [each.flags for each in arrays]
            if x.shape == shape and all([each.c_contiguous for each in flags]):  # noqa: C419 -- faster
                order = "C"
            elif x.shape != shape or 0 in x.strides or (len(arrays) > 1 and not all(f.f_contiguous for f in flags)):
                # numpy.empty_like chooses another order than a ufunc.
                access = [["readonly"]] * len(arrays) + [["writeonly", "allocate"]]
                dtypes = [*(each.dtype for each in arrays), self._dtype]
                nditer: Any = np.nditer  # NumPy types the flags as literals
                result: Array = nditer([*arrays, None], ["zerosize_ok"], access, dtypes, itershape=shape).operands[-1]
                if zeros:
                    result[...] = 0
                return result
        elif x.shape != shape and order == "A":
            order = "C"
        if zeros:
            return np.zeros_like(x, self._dtype, order, subok=False, shape=shape)
        return empty_like(x, self._dtype, order, shape)

    def _compute_small(self, arrays: tuple[Array, ...], target: Array, mask: Array | None) -> None:
        """Compute on small arrays; operands that the kernel does not accept are copied."""
        work = self._work
        if mask is not None:  # excluded elements must raise no floating-point error
            shape = target.shape
            mask = mask if mask.shape == shape else np.broadcast_to(mask, shape)
            chosen = [each if each.shape == shape else np.broadcast_to(each, shape) for each in arrays]
            values = self._kernel.serial(*[each[mask].astype(work, copy=False) for each in chosen])
            if self._round is not None:
                values, target = self._round(values), target.view(BITS)
            target[mask] = values
            return
        if all([each.flags.f_contiguous and each.ndim == target.ndim for each in (*arrays, target)]):  # noqa: C419 -- faster
            arrays, target = tuple([each.T for each in arrays]), target.T
        shape = target.shape
        scratch = target.dtype != work or not target.flags.c_contiguous
        result = np.empty(shape, work) if scratch else target
        operands = [
            each
            if each.dtype == work and each.shape == shape and each.flags.c_contiguous
            else _copied(each, shape, work)
            for each in arrays
        ]
        operands.append(result)
        self._kernel.serial(*([each.reshape(-1) for each in operands] if self._on_bits else operands))
        if scratch:
            self._write(result, target, where=True)

    def _write(self, values: Array, target: Array, where: Any) -> None:
        """Cast results of the kernel to the output at elements that `where` selects."""
        if self._round is not None:
            values, target = self._round(values), target.view(BITS)
        np.copyto(target, values, where=where, casting="unsafe")  # checked before

    def _compute(self, arrays: tuple[Array, ...], target: Array, mask: Array | None) -> None:
        """Compute on large arrays."""
        operands = [*arrays, target]
        sharing = [each for each in arrays if np.may_share_memory(each, target)]
        if mask is None and all(
            each.dtype == self._work and each.shape == target.shape and each.flags.aligned for each in operands
        ):
            if are_contiguous(operands) and not any(overlaps(each, target) for each in sharing):
                schedule.elementwise(self._kernel, operands)
                return
            if not sharing and (rows := _as_rows(operands)) is not None:
                schedule.elementwise_rows(self._kernel, rows)
                return
        # The kernel writes to a scratch chunk if the output is masked, shares memory with an input, or is rounded to.
        self._chunk_by_chunk(arrays, target, mask, scratch=mask is not None or bool(sharing) or self._round is not None)

    def _chunk_by_chunk(self, arrays: tuple[Array, ...], out: Array, mask: Array | None, *, scratch: bool) -> None:
        """Run the kernel over chunks in which every operand is contiguous."""
        # NumPy before 2.3 casts a broadcast operand of one element to garbage here.
        operands: list[Any] = [each.astype(self._work) if each.size == 1 else each for each in arrays]
        operands.append(out)
        access = "writeonly" if mask is None else "readwrite"
        contiguous = ["contig", "aligned", "nbo", "overlap_assume_elementwise"]
        flags = [["readonly", *contiguous]] * len(arrays) + [[access, "no_broadcast", *contiguous]]
        dtypes = [self._work] * len(operands)
        if scratch:  # excluded elements must not be cast
            dtypes[-1] = out.dtype
        if mask is not None:
            operands.append(mask)
            flags.append(["readonly"])
            dtypes.append(np.dtype(np.bool_))
        nditer: Any = np.nditer  # NumPy types the flags as literals
        iterator = nditer(
            operands,
            flags=["external_loop", "buffered", "zerosize_ok", "copy_if_overlap", *([] if scratch else ["growinner"])],
            op_flags=flags,
            op_dtypes=dtypes,
            order="K",
            casting="unsafe",  # checked before
            buffersize=schedule.CHUNK,
        )
        with iterator:
            for chunk in iterator:
                *inputs, output = chunk[: len(arrays) + 1]
                if mask is not None:
                    inputs = [each.copy() for each in inputs]
                    if not _fill_excluded(inputs, chunk[-1]):
                        continue
                if scratch:
                    self._write(self._kernel.serial(*inputs), output, True if mask is None else chunk[-1])
                else:
                    self._kernel.serial(*inputs, output)


def _copied(array: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    copy = np.empty(shape, dtype)
    np.copyto(copy, array, casting="unsafe")
    return copy


def _fill_excluded(operands: list[Array], mask: Array) -> bool:
    """Replace excluded elements by a selected one, to raise no floating-point error; return False if there is none."""
    selected = mask.reshape(-1)
    if not selected.size or not selected[first := selected.argmax()]:
        return False
    without = ~mask
    for each in operands:
        np.copyto(each, each.reshape(-1)[first], where=without)
    return True


def _as_rows(operands: Sequence[Array]) -> list[Array] | None:
    """Return operands as views of shape (rows, n) with contiguous rows; None if a copy is needed or rows are short."""
    shape = operands[0].shape
    n = shape[-1] if shape else 0
    if n < _LEAST_ROW or any(o.strides[-1] != o.itemsize for o in operands):
        return None
    if any(o.strides[i] != o.strides[i + 1] * shape[i + 1] for o in operands for i in range(len(shape) - 2)):
        return None
    return [o.reshape(-1, n) for o in operands]

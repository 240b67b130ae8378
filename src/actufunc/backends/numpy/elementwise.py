"""Elementwise calls on NumPy arrays whose dtypes, hyperparameters and keywords are settled.

This is the guard in front of Numba's ufuncs, which raise on `where`, know no other dtypes, and leave the vectorised
loop where an operand is not contiguous. Small arrays that the ufunc can take as they are go to it directly; what else
is small is copied to contiguous arrays of the kernel's dtype first. Larger arrays go to it where they, or their rows,
are contiguous and alike, else through `numpy.nditer`, which hands out contiguous chunks, casting, broadcasting and
resolving overlap on the way.

Half types are computed in float64 and rounded once, with scalar hyperparameters of float32 as everywhere: a product
with one is exact then, so that no tie is missed. Arrays of nothing but one half type are seen as the bits of their
elements, for which there are kernels; beside other dtypes the kernel in float64 computes.
"""

from __future__ import annotations

import functools
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from actufunc._memory import empty_like
from actufunc.backends.broadcasting import broadcast_arguments, check_fits, order_of
from actufunc.backends.promotion import is_half

from .arguments import Arguments, are_alike, are_contiguous, check_out, overlaps
from .codegen.half import HALF_COMPUTE_DTYPE
from .fast_path import LARGE, TINY
from .jit.kernels import HalfElementwise, elementwise, to_bits
from .threading import schedule

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Array = np.ndarray[Any, Any]

BITS = np.dtype(np.uint16)

_LEAST_ROW = 32  # elements of a row that the vectorised loop is worth entering for

_ndarray = np.ndarray
_as_integer = struct.Struct("=H").unpack  # of a scalar or 0-d array, five times as fast as a view


class ElementwisePlan:
    """How to compute an elementwise activation of NumPy arrays of given dtypes.

    Parameters
    ----------
    arguments : Arguments
        A call with such arrays.
    """

    def __init__(self, arguments: Arguments) -> None:
        self.name, self.operands = arguments.call.definition.name, arguments.operands
        self._dtype, self._order = arguments.dtype, order_of(arguments.call)
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
        # A ufunc may be called directly that casts nothing but what is exact, and writes what is asked for.
        self._direct: Callable[..., Any] | None = None
        if isinstance(kernel, HalfElementwise) or not kernel.is_safe or not work == dtype == written:
            return
        if all(np.can_cast(each, work, "safe") for each in types):
            self._direct = kernel.serial if self._order == "K" else functools.partial(kernel.serial, order=self._order)

    @property
    def kernel(self) -> Callable[..., Any] | None:
        """What computes the same for one small array, or scalar, and an output, if it writes the kernel's dtype."""
        if len(self.operands.names) > 1 or self._order != "K":
            return None
        return self._look_up if self._on_bits else self._direct

    def _look_up(self, x: Any, out: Any = None) -> Any:
        if out is None and not x.ndim:
            return self._results[_as_integer(x)[0]]
        return self.execute((x,), out)

    def execute(self, operands: tuple[Any, ...], out: Any, where: Any = True) -> Any:  # noqa: FBT002
        """Compute; see `actufunc._calling.plans.Plan`."""
        # Every attribute looked up here shows.
        arrays = operands if self.operands.are_arrays else self.operands.as_arrays(self.name, operands)
        if self._direct is not None and where is True and (len(arrays) == 1 or are_alike(arrays)):
            x = arrays[0]
            if out is None:
                # A ufunc makes its output in the order of the first array, as we do, if that has one.
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
                except (TypeError, ValueError):  # said better below
                    pass
        if self._on_bits and where is True:
            result = self._execute_bits(arrays, out)
            if result is not NotImplemented:
                return result
        return self._execute(arrays, out, None if where is True else np.asarray(where, np.bool_))

    def _execute_bits(self, arrays: tuple[Array, ...], out: Any) -> Any:
        """Compute on small arrays of half types, looking at little else; those that are not contiguous are copied."""
        x = arrays[0]
        shape = x.shape
        given = arrays if out is None else (*arrays, out)
        if not shape or (size := x.size) >= LARGE or not (len(given) == 1 or are_alike(given)):
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
        """Compute where an operand is not as the kernel takes it, or large."""
        x = arrays[0]
        shape = x.shape if len(arrays) == 1 and mask is None else self._shape(arrays, mask)
        if out is None or out is Ellipsis:
            result = self._allocate(arrays, shape, zeros=mask is not None)
        else:
            check_out(self.name, out)
            check_fits(self.name, shape, out.shape)
            result = out
        target = np.asarray(result)  # matrices and masked arrays have ideas of their own about assignment
        if self._on_bits:
            arrays, target = tuple([each.view(BITS) for each in arrays]), target.view(BITS)
        (self._compute_small if target.size < LARGE else self._compute)(arrays, target, mask)
        return result[()] if out is None and not result.ndim else result

    def _shape(self, arrays: tuple[Array, ...], mask: Array | None) -> tuple[int, ...]:
        shape: tuple[int, ...] = arrays[0].shape
        if (mask is None or mask.shape == shape) and are_alike(arrays):
            return shape
        try:
            return np.broadcast(*arrays, *([] if mask is None else [mask])).shape
        except (ValueError, RuntimeError):  # which it is beyond 32 dimensions
            shapes = {key: each.shape for key, each in zip(self.operands.names, arrays, strict=True) if each.ndim}
            return broadcast_arguments(self.name, shapes if mask is None else {**shapes, "where": mask.shape})

    def _allocate(self, arrays: tuple[Array, ...], shape: tuple[int, ...], *, zeros: bool) -> Array:
        """Make an array for a result, which lies in memory as that of a ufunc."""
        x, order = arrays[0], self._order
        if order == "K":
            flags = [each.flags for each in arrays]
            if x.shape == shape and all([each.c_contiguous for each in flags]):  # noqa: C419 -- faster
                order = "C"
            elif x.shape != shape or 0 in x.strides or (len(arrays) > 1 and not all(f.f_contiguous for f in flags)):
                # NumPy's empty_like differs.
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
        """Compute on contiguous copies of what the kernel cannot take."""
        work = self._work
        if mask is not None:  # what is left out must raise no floating-point error
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
        aside = target.dtype != work or not target.flags.c_contiguous
        result = np.empty(shape, work) if aside else target
        operands = [
            each
            if each.dtype == work and each.shape == shape and each.flags.c_contiguous
            else _copied(each, shape, work)
            for each in arrays
        ]
        operands.append(result)
        self._kernel.serial(*([each.reshape(-1) for each in operands] if self._on_bits else operands))
        if aside:
            self._deliver(result, target, where=True)

    def _deliver(self, values: Array, target: Array, where: Any) -> None:
        """Cast results of the kernel to the output, where they are selected."""
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
        # A scratch chunk where the output cannot be written to directly: masked, also an input, or to be rounded.
        self._chunk_by_chunk(arrays, target, mask, aside=mask is not None or bool(sharing) or self._round is not None)

    def _chunk_by_chunk(self, arrays: tuple[Array, ...], out: Array, mask: Array | None, *, aside: bool) -> None:
        """Run the kernel over chunks in which every operand is contiguous."""
        # NumPy before 2.3 casts a broadcast operand of one element to garbage here.
        operands: list[Any] = [each.astype(self._work) if each.size == 1 else each for each in arrays]
        operands.append(out)
        access = "writeonly" if mask is None else "readwrite"
        contiguous = ["contig", "aligned", "nbo", "overlap_assume_elementwise"]
        flags = [["readonly", *contiguous]] * len(arrays) + [[access, "no_broadcast", *contiguous]]
        dtypes = [self._work] * len(operands)
        if aside:  # what is not selected must not even be cast to and fro
            dtypes[-1] = out.dtype
        if mask is not None:
            operands.append(mask)
            flags.append(["readonly"])
            dtypes.append(np.dtype(np.bool_))
        nditer: Any = np.nditer  # NumPy types the flags as literals
        iterator = nditer(
            operands,
            flags=["external_loop", "buffered", "zerosize_ok", "copy_if_overlap", *([] if aside else ["growinner"])],
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
                    if not _leave_out(inputs, chunk[-1]):
                        continue
                if aside:
                    self._deliver(self._kernel.serial(*inputs), output, True if mask is None else chunk[-1])
                else:
                    self._kernel.serial(*inputs, output)


def _copied(array: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    copy = np.empty(shape, dtype)
    np.copyto(copy, array, casting="unsafe")
    return copy


def _leave_out(operands: list[Array], mask: Array) -> bool:
    """Put a selected element in the places of others, lest these raise a floating-point error; tell if there is one."""
    selected = mask.reshape(-1)
    if not selected.size or not selected[first := selected.argmax()]:
        return False
    without = ~mask
    for each in operands:
        np.copyto(each, each.reshape(-1)[first], where=without)
    return True


def _as_rows(operands: Sequence[Array]) -> list[Array] | None:
    """See operands as contiguous rows that are not too short, as those of half a matrix; None if they are none."""
    shape = operands[0].shape
    n = shape[-1] if shape else 0
    if n < _LEAST_ROW or any(o.strides[-1] != o.itemsize for o in operands):
        return None
    if any(o.strides[i] != o.strides[i + 1] * shape[i + 1] for o in operands for i in range(len(shape) - 2)):
        return None  # to see these as rows would take a copy
    return [o.reshape(-1, n) for o in operands]

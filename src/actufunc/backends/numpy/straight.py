"""Elementwise calls on arrays that need no guard: small, or contiguous and the output apart from the inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from actufunc.memory import empty_like
from actufunc.straight import LARGE, SMALL, TINY

from . import parallel
from .kernels import Halves

if TYPE_CHECKING:
    from actufunc.straight import Straight

    from .kernels import Elementwise

BITS = np.dtype(np.uint16)

_ndarray = np.ndarray


def elementwise(kernel: Elementwise) -> Straight:
    """Return what serves arrays of the dtype of a safe kernel; see `actufunc.straight`."""
    serial, large = kernel.serial, contiguous(kernel)

    def compute(arrays: tuple[Any, ...], out: Any) -> Any:
        # Every attribute looked up here shows.
        x = arrays[0]
        if len(arrays) > 1 and not are_alike(arrays):
            return NotImplemented
        if out is None:
            size = x.size
            # A ufunc makes its output in the order of the first array, as we do, if that has one.
            if size < TINY and (len(arrays) == 1 or 0 not in x.strides):
                return serial(*arrays)
            if size < LARGE and _are_contiguous(arrays):
                return serial(*arrays)
        elif type(out) is _ndarray and out.dtype is x.dtype and out.ndim == x.ndim:
            size = out.size
            if size < TINY or (size < (SMALL if out is x else LARGE) and _are_contiguous((*arrays, out))):
                try:
                    return serial(*arrays, out)
                except (TypeError, ValueError):  # said better elsewhere
                    return NotImplemented
        return large(arrays, out)

    return compute


def contiguous(kernel: Elementwise | Halves) -> Straight:
    """Return what serves contiguous arrays of the dtype of any kernel, also large ones."""
    on_bits = isinstance(kernel, Halves)

    def compute(arrays: tuple[Any, ...], out: Any) -> Any:
        given = arrays if out is None else (*arrays, out)
        if not (are_alike(given) and _are_contiguous(given)):
            return NotImplemented
        if out is not None and (not out.flags.writeable or any(np.may_share_memory(each, out) for each in arrays)):
            return NotImplemented
        result = empty_like(arrays[0]) if out is None else out
        operands = (*arrays, result)
        parallel.elementwise(kernel, [each.view(BITS) for each in operands] if on_bits else operands)
        return result if result.ndim or out is not None else result[()]

    return compute


def are_alike(arrays: tuple[Any, ...]) -> bool:
    """Tell whether arrays are of NumPy's own type, one dtype and one shape, as the first is."""
    x = arrays[0]
    dtype, shape = x.dtype, x.shape
    for each in arrays[1:]:
        if type(each) is not _ndarray or each.dtype is not dtype or each.shape != shape:
            return False
    return True


def _are_contiguous(arrays: tuple[Any, ...]) -> bool:
    for each in arrays:
        if not each.flags.c_contiguous:
            return all(each.flags.f_contiguous for each in arrays)
    return True

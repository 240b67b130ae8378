"""Elementwise kernels: one for arrays of any dtypes and strides, one that loads and stores 16 bytes at a time."""

from __future__ import annotations

import functools
from string import Template
from typing import TYPE_CHECKING, Any

from actufunc.backends.codegen import identifier
from actufunc.backends.promotion import working_dtype

from .codegen.elementwise import VECTOR, c_type, source, stored_type, symbol
from .codegen.mathematics import functions_called

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from .codegen.elementwise import KernelSpec

# PyTorch's choice for its elementwise kernels: accesses of 16 bytes, blocks of 128 threads, 8 elements for each thread
# (or as many as fit into one access). The accesses of a block are adjacent, so that they coalesce.
THREADS = 128
_ELEMENTS = 8

# CuPy's type placeholders are single letters. T is the dtype of the result; CuPy reserves the letters that lack here.
_LETTERS = "ABCDEFGHIJKLMNOPQRSUVWXYZabcdefhklmoqrstuvwz"


@functools.cache
def elementwise(spec: KernelSpec, *, masked: bool = False) -> Any:
    """Return the ElementwiseKernel for arrays of any dtypes, shapes that broadcast, and strides.

    The output may have another dtype than `spec`. With `masked` the last input is a mask of the elements to write.
    """
    name, arrays, scalars, dtype = spec.name, spec.arrays, spec.scalars, spec.dtype
    stored, work = stored_type(dtype), working_dtype(dtype)
    if len(arrays) > len(_LETTERS):
        raise TypeError(f"{name} takes at most {len(_LETTERS)} arrays on a GPU, not {len(arrays)}")
    parameters = [f"{letter} {identifier(key)}" for letter, key in zip(_LETTERS, arrays, strict=False)]
    parameters += [f"{work} {identifier(key)}" for key in scalars] + ["bool where_"] * masked
    converted = "static_cast" if dtype.kind in "iu" else "converted"
    values = ", ".join(f"{converted}<{stored}>({identifier(key)})" for key in (*arrays, *scalars))
    operation = f"y = {converted}<T>(static_cast<{stored}>({symbol(name)}({values})));"
    return _kernel(
        ", ".join(parameters),
        "T y",
        f"if (where_) {operation}" if masked else operation,
        f"{symbol(name)}_elementwise",
        source(name, spec.expression, (*arrays, *scalars), dtype, caller=operation),
    )


_PACK = f"""\
template <typename T> struct alignas({VECTOR}) pack_of {{ T lanes[{VECTOR} / sizeof(T)]; }};
"""

_OPERATION = Template("""\
const ptrdiff_t tile = i / $threads * $tile, first = tile + i % $threads * $lanes;
if (tile + $tile <= y.size()) {
    pack_of<T> $packs, pack_of_y;
    #pragma unroll
    for (int p = 0; p < $count; p++) {
        $loads
    }
    #pragma unroll
    for (int p = 0; p < $count; p++) {
        #pragma unroll
        for (int k = 0; k < $lanes; k++) pack_of_y.lanes[k] = static_cast<T>($of_lanes);
        reinterpret_cast<pack_of<T>*>(&y[first])[p * $threads] = pack_of_y;
    }
} else {
    #pragma unroll 1
    for (int k = 0; k < $each; k++) {
        const ptrdiff_t at = first + k / $lanes * ($threads * $lanes) + k % $lanes;
        if (at < y.size()) y[at] = static_cast<T>($of_elements);
    }
}
""")


@functools.cache
def vectors(spec: KernelSpec) -> Any:
    """Return the ElementwiseKernel for contiguous arrays of one shape and dtype, aligned to `VECTOR` bytes.

    Its `size` is the number of threads, from `vector_threads`.
    """
    name, arrays, scalars, dtype = spec.name, spec.arrays, spec.scalars, spec.dtype
    real, work = c_type(dtype), working_dtype(dtype)
    names, numbers = list(map(identifier, arrays)), list(map(identifier, scalars))
    lanes, each = VECTOR // dtype.itemsize, _elements(dtype)
    in_lanes = [f"static_cast<{real}>(pack_of_{key}[p].lanes[k])" for key in names]
    in_elements = [f"static_cast<{real}>({key}[at])" for key in names]
    loads = [f"pack_of_{k}[p] = reinterpret_cast<const pack_of<T>*>(&{k}[first])[p * {THREADS}];" for k in names]
    operation = _OPERATION.substitute(
        threads=THREADS,
        lanes=lanes,
        each=each,
        tile=THREADS * each,
        count=each // lanes,
        packs=", ".join(f"pack_of_{key}[{each // lanes}]" for key in names),
        loads="\n        ".join(loads),
        of_lanes=f"{symbol(name)}({', '.join(in_lanes + numbers)})",
        of_elements=f"{symbol(name)}({', '.join(in_elements + numbers)})",
    )
    return _kernel(
        ", ".join([f"raw T {key}" for key in names] + [f"{work} {key}" for key in numbers]),
        "raw T y",
        operation,
        f"{symbol(name)}_vectors",
        _PACK + source(name, spec.expression, (*arrays, *scalars), dtype),
    )


def vector_threads(dtype: np.dtype[Any]) -> Callable[[int], int]:
    """Return a function from the number of elements to the number of threads of a vector kernel, in whole blocks."""
    tile = THREADS * _elements(dtype)
    return lambda size: -(-size // tile) * THREADS


def _elements(dtype: np.dtype[Any]) -> int:
    """Return the number of elements that a thread of a vector kernel computes."""
    return max(_ELEMENTS, VECTOR // dtype.itemsize)


def _kernel(inputs: str, output: str, operation: str, name: str, preamble: str) -> Any:
    import cupy  # noqa: PLC0415

    return cupy.ElementwiseKernel(inputs, output, operation, name, preamble=preamble)


@functools.cache
def copy() -> Any:
    """Return the kernel that copies an array to another, of any dtype and strides."""
    operation = "y = converted<T>(x);"
    return _kernel("X x", "T y", operation, "actufunc_copy", functions_called(operation, "float64"))

"""CuPy on a machine without a GPU: its arrays in the host's memory, its kernels compiled for the host.

CuPy itself is the real one, and so are the arrays, with all they know of shapes, strides and dtypes; only their memory
is the host's. A kernel is the text that CuPy would hand to NVRTC. What has no place here is replaced: the launch, the
few functions of CuPy that our backend calls and that launch kernels of CuPy's own, and the device's number.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import hashlib
import importlib
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

COMPILER = next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))), None)
HEADERS = Path(__file__).parent / "cuda_on_host"
OPTIONS = ["-std=c++17", "-O1", "-ffp-contract=off", "-shared", "-fPIC"]
if shutil.which("ld.gold"):
    OPTIONS.append("-fuse-ld=gold")  # a fifth faster
_FOLDER = "ACTUFUNC_CUDA_ON_HOST"


def compile_text(text: str, options: tuple[str, ...] = ()) -> ctypes.CDLL:
    """Compile C++ with the headers that stand in for CUDA's, and load it."""
    if COMPILER is None:
        pytest.skip("no C++ compiler")
    text = re.sub(r"(?<!\w)::(?=(?:expf|expm1f|logf|log|log1pf|tanhf)\()", "flushing::", text)
    key = hashlib.sha256("\0".join([text, *options]).encode()).hexdigest()
    with _lock:
        folder = _folder_with_header()
        library = folder / f"{key}.so"
        source = folder / f"{key}-{os.getpid()}.cpp"
        source.write_text(f'#include "host.h"\n{text}')
        _compile(library, [f"-I{folder}", f"-I{HEADERS}", *options, str(source), str(folder / "host.o"), "-lm"])
        return ctypes.CDLL(str(library))


_lock = threading.RLock()


def _compile(target: Path, arguments: list[str]) -> None:
    """Run the compiler, unless its output is there; another process may do the same at the same time."""
    if target.exists():
        return
    part = target.with_name(f"{os.getpid()}-{target.name}")
    command = [str(COMPILER), *OPTIONS, *arguments, "-o", str(part)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603
    assert done.returncode == 0, done.stderr
    part.replace(target)


def shared_folder() -> Path:
    """Return the folder for what is compiled, which processes that this one starts share with it."""
    if _FOLDER not in os.environ:
        os.environ[_FOLDER] = tempfile.mkdtemp(prefix="actufunc-cuda-on-host-")
        atexit.register(shutil.rmtree, os.environ[_FOLDER], ignore_errors=True)
    return Path(os.environ[_FOLDER])


@functools.cache
def _folder_with_header() -> Path:
    """Compile the header and what all libraries share: each is compiled twice as fast then."""
    folder = shared_folder()
    _compile(folder / "host.h.gch", ["-w", "-x", "c++-header", str(HEADERS / "host.h")])
    _compile(folder / "host.o", ["-c", str(HEADERS / "host.cpp")])
    return folder


# Arrays.


def allocate(size: int) -> Any:
    """Give an array of CuPy memory of the host, aligned like a GPU's; it is full of NaN."""
    import cupy

    memory = np.full(size + 512, 255, np.uint8)
    start = memory.ctypes.data + -memory.ctypes.data % 512
    return cupy.cuda.MemoryPointer(cupy.cuda.UnownedMemory(start, size, memory, 0), 0)


def host_view(array: Any) -> np.ndarray[Any, Any]:
    """See the memory of such an array through NumPy."""
    memory = array.data.mem
    buffer = (ctypes.c_char * max(1, memory.size)).from_address(memory.ptr)
    return np.ndarray(array.shape, array.dtype, buffer, array.data.ptr - memory.ptr, array.strides)


def to_device(values: Any, dtype: Any = None, **_: Any) -> Any:
    """Make an array of CuPy of anything, in its layout if it is an array."""
    import cupy

    if isinstance(values, cupy.ndarray):
        return values
    values = np.asarray(values, dtype)
    array = cupy.ndarray(values.shape, values.dtype, order="F" if values.flags.fnc else "C")
    host_view(array)[...] = values
    return array


def _filled(value: Any) -> Any:
    def make(shape: Any, dtype: Any = float, order: str = "C") -> Any:
        import cupy

        array = cupy.ndarray(shape, dtype, order=order)
        host_view(array)[...] = value
        return array

    return make


def _zeros_like(array: Any, **keywords: Any) -> Any:
    import cupy

    made = cupy.empty_like(array, **keywords)
    host_view(made)[...] = 0
    return made


# Kernels.


def elementwise_text(kernel: Any, arguments: list[Any]) -> str:
    """Return what CuPy would compile for such arguments: arrays, or the dtypes of scalars."""
    import cupy

    module = importlib.import_module("cupy._core._kernel")
    scalar = importlib.import_module("cupy._core._scalar").CScalar
    indexer = importlib.import_module("cupy._core._carray").Indexer
    info = module._ArgInfo
    infos, types = [], []
    for value in arguments:
        if isinstance(value, cupy.ndarray):
            infos.append(info(1, cupy.ndarray, value.dtype, value.ndim, value.flags.c_contiguous, True))
        else:
            infos.append(info(3, scalar, value, 0, True, True))
        types.append(value.dtype if isinstance(value, cupy.ndarray) else None)
    ndim = next(
        (v.ndim for v, p in zip(arguments, kernel.in_params + kernel.out_params, strict=True) if _is_looped(v, p)),
        1,
    )
    infos.append(info(2, indexer, None, ndim, True, True))
    type_map = kernel._decide_params_type(tuple(types[: kernel.nin]), tuple(types[kernel.nin :]))[2]
    text: str = module._get_elementwise_kernel_code(
        tuple(infos), type_map, kernel.params, kernel.operation, kernel.name, kernel.preamble, **kernel.kwargs
    )
    return text


def _is_looped(value: Any, parameter: Any) -> bool:
    import cupy

    return isinstance(value, cupy.ndarray) and not parameter.raw


@functools.cache
def _loaded(text: str) -> ctypes.CDLL:
    return compile_text(text, (f"-I{importlib.import_module('cupy').__path__[0]}/_core/include",))


def _words(*numbers: int) -> Any:
    return (ctypes.c_int64 * len(numbers))(*numbers)


def _pointers(blocks: list[Any]) -> Any:
    return (ctypes.c_void_p * len(blocks))(*(ctypes.addressof(block) for block in blocks))


def _scalar_block(value: Any, dtype: np.dtype[Any]) -> Any:
    return ctypes.create_string_buffer(np.asarray(value, dtype).tobytes(), 16)


@functools.cache
def _double() -> tuple[type, type]:
    import cupy

    class ElementwiseKernel(cupy.ElementwiseKernel):
        """As CuPy's, but run here."""

        def __call__(self, *args: Any, size: int = -1, block_size: int = 128) -> Any:
            assert len(args) == self.nargs
            parameters = self.in_params + self.out_params
            looped = [v for v, p in zip(args, parameters, strict=True) if _is_looped(v, p)]
            outputs = args[self.nin :]
            shape = np.broadcast_shapes(*(value.shape for value in looped)) if size < 0 else (size,)
            assert all(v.shape == shape for v, p in zip(outputs, self.out_params, strict=True) if not p.raw)
            assert size < 0 or not looped
            if len({value.shape for value in looped}) == 1 and all(value.flags.c_contiguous for value in looped):
                shape, flat = (int(np.prod(shape)),), True
            else:
                flat = False
            arguments: list[Any] = []
            blocks: list[Any] = []
            for value, parameter in zip(args, parameters, strict=True):
                if not isinstance(value, cupy.ndarray):
                    assert isinstance(value, bool | int | float), f"CuPy would not take {type(value)}"
                    assert parameter.dtype is not None, "CuPy could not tell the type of a scalar"
                    arguments.append(parameter.dtype)
                    blocks.append(_scalar_block(value, parameter.dtype))
                    continue
                array = value
                if not parameter.raw:
                    array = array.reshape(-1) if flat else cupy.broadcast_to(array, shape)
                arguments.append(array)
                blocks.append(_words(array.data.ptr, array.size, *array.shape, *array.strides))
            text = elementwise_text(self, arguments)
            blocks.append(_words(int(np.prod(shape)), *shape, *[0] * len(shape)))
            library = _loaded(f'#include "cupy/carray.cuh"\n{text}\nRUN_ALONE({self.name})\n')
            library.run_alone(_pointers(blocks))
            return outputs[0]

    class RawKernel:
        """As CuPy's, but run here."""

        def __init__(self, code: str, name: str) -> None:
            self.code, self.name = code, name

        def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], args: tuple[Any, ...]) -> None:
            library = _loaded(f"{self.code}\nRUN_BLOCKS({self.name})\n")
            library.run_blocks.restype = ctypes.c_bool
            assert block[0] <= 1024
            blocks = []
            for value in args:
                if isinstance(value, cupy.ndarray):
                    blocks.append(_words(value.data.ptr))
                else:
                    assert isinstance(value, np.generic), "CUDA would get a number of another size"
                    blocks.append(_scalar_block(value, value.dtype))
            with _lock:  # what threads of a block share is shared by all here
                done = library.run_blocks(ctypes.c_uint(grid[0]), ctypes.c_uint(block[0]), _pointers(blocks))
            assert done, "threads of a block wait in vain"

    return ElementwiseKernel, RawKernel


# Everything.


def has_gpu() -> bool:
    """Tell whether CuPy is there and finds a GPU."""
    if importlib.util.find_spec("cupy") is None:
        return False
    import cupy

    try:
        return bool(cupy.cuda.runtime.getDeviceCount() > 0)
    except cupy.cuda.runtime.CUDARuntimeError:
        return False


@contextlib.contextmanager
def gpu_on_host() -> Iterator[None]:
    """Let CuPy compute on the host."""
    import cupy

    elementwise, raw = _double()
    replaced = {
        "ElementwiseKernel": elementwise,
        "RawKernel": raw,
        "zeros": _filled(0),
        "zeros_like": _zeros_like,
        "full": lambda shape, value, dtype: _filled(value)(shape, dtype),
        "asarray": to_device,
    }
    with contextlib.ExitStack() as stack:
        for name, value in replaced.items():
            stack.enter_context(mock.patch.object(cupy, name, value))
        stack.enter_context(mock.patch.object(cupy.ndarray, "get", lambda self: host_view(self).copy()))
        stack.enter_context(mock.patch.object(cupy.cuda.runtime, "getDevice", int))
        stack.callback(cupy.cuda.set_allocator, cupy.cuda.get_allocator())
        cupy.cuda.set_allocator(allocate)
        yield

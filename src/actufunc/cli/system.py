"""Versions, processor, threads and accelerator of this system, in words."""

from __future__ import annotations

import importlib.util
import platform
from typing import Any

import numpy as np

import actufunc

# Widest vector registers by the feature that brings them, widest first, in LLVM's names.
_VECTORS = {
    "avx512f": ("AVX-512", 512),
    "avx2": ("AVX2", 256),
    "avx": ("AVX", 256),
    "sse2": ("SSE2", 128),
    "neon": ("Neon", 128),
    "altivec": ("AltiVec", 128),
    "vx": ("z/Architecture vectors", 128),
}


def system_info() -> dict[str, str]:
    """Return versions, processor, threads and accelerator, each in one line, by heading."""
    return {**versions(), "CPU": processor(), "Threads": threads(), "GPU": accelerator()}


def versions() -> dict[str, str]:
    """Return the versions of this package, Python, NumPy and Numba."""
    import numba  # noqa: PLC0415

    return {
        "actufunc": actufunc.__version__,
        "Python": platform.python_version(),
        "NumPy": np.__version__,
        "Numba": numba.__version__,
    }


def processor() -> str:
    """Return the name of the processor and its widest vectors, as LLVM detects them."""
    from llvmlite import binding  # noqa: PLC0415

    name = binding.get_host_cpu_name()
    try:
        present = binding.get_host_cpu_features()
    except RuntimeError:  # LLVM does not detect features on every platform
        return f"{name}, vectors unknown"
    for feature, (title, bits) in _VECTORS.items():
        if present.get(feature):
            return f"{name}, vectors of {bits} bits ({title})"
    return f"{name}, no vectors that are known here"


def threads() -> str:
    """Return the number of threads for large arrays, the library that runs them, and the least size of a result."""
    from actufunc.backends.numpy.threading import schedule, tbb  # noqa: PLC0415

    count = actufunc.get_num_threads()
    if count == 1:
        return "1"
    sizes = {kind: f"{size >> 10:,} KiB" for kind, size in schedule.thresholds().items()}
    return (
        f"{count}, by {tbb.description()}, from {sizes['costly']} of output on"
        f" ({sizes['cheap']} for relu and the like, {sizes['over an axis']} over an axis)"
    )


def accelerator() -> str:
    """Return the GPUs that CuPy finds, or the reason why there is none."""
    if importlib.util.find_spec("cupy") is None:
        return "none: CuPy is not installed"
    try:
        import cupy  # noqa: PLC0415

        count = cupy.cuda.runtime.getDeviceCount()
        names = [_device_name(cupy, i) for i in range(count)]
    except Exception as error:  # noqa: BLE001 -- a broken driver may raise anything, and this only reports it
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        return f"none: CuPy is installed, but {reason}"
    return f"{', '.join(names) or 'none'} (CuPy {cupy.__version__})"


def _device_name(cupy: Any, index: int) -> str:
    name: str = cupy.cuda.runtime.getDeviceProperties(index)["name"].decode()
    return name

"""Flush-to-zero, as a library built with ``-ffast-math`` leaves it on in the processor."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import mmap
import platform
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

IS_KNOWN = platform.machine() in {"x86_64", "AMD64"} and platform.system() != "Windows"
_ZERO = 0x8040  # of MXCSR: subnormal results, and operands, are zero
_STORE, _LOAD = b"\x0f\xae\x1f\xc3", b"\x0f\xae\x17\xc3"  # stmxcsr [rdi], ldmxcsr [rdi], each with a return


@functools.cache
def _function(code: bytes) -> Any:
    memory = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    memory.write(code)
    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(ctypes.addressof(ctypes.c_char.from_buffer(memory)))
    return memory, function


def _register(value: int | None = None) -> int:
    """Return MXCSR, or write it."""
    place = ctypes.c_uint32(value or 0)
    _function(_STORE if value is None else _LOAD)[1](ctypes.addressof(place))
    return place.value


@contextlib.contextmanager
def flushing() -> Iterator[None]:
    """Let this thread take subnormal numbers for zero meanwhile."""
    before = _register()
    _register(before | _ZERO)
    try:
        yield
    finally:
        _register(before)

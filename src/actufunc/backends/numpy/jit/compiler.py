"""Compilation of generated source, once per process, with machine code that is kept on disk.

Numba is imported inside the functions here, not at ``import actufunc``.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from actufunc.backends.forks import startup_lock

from . import environment, store
from .signals import defer_signals

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    from .machine_code import MachineCode

_Key = TypeVar("_Key", bound="Hashable")
_Made = TypeVar("_Made")

_DTYPES = ("float32", "float64", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))

_LONGEST_NAME = 100  # characters of a name in a cache: file systems have limits


def get_or_create(table: dict[_Key, _Made], key: _Key, make: Callable[[], _Made]) -> _Made:
    """Return the entry of a table for a key; create it if there is none yet, in one thread for all that ask at once.

    The lock is Numba's own, so that there is no second one to be taken in the wrong order; forks take it as well.
    Signals wait, for an exception of their handlers would leave Numba's registries half filled.
    """
    if key in table:
        return table[key]

    def look_up_or_create() -> _Made:
        with _compiler_lock():
            if key not in table:
                table[key] = make()
            return table[key]

    return defer_signals(look_up_or_create)


@functools.cache
def _compiler_lock() -> Any:
    with startup_lock:
        from .numba_patches import lock  # noqa: PLC0415

        return lock()


_made: dict[str, tuple[int | None, Any]] = {}  # addresses of kernels, and callables of those that have none


def kernel(
    text: str, form: str, build: Callable[[Any], tuple[Any, MachineCode | None]], make: Callable[[int], Any]
) -> Any:
    """Return a callable kernel: an equal one of this process, one from its file on disk, or a new one.

    Its key is `text`, the source of a function called ``kernel``, with `form`, its types and target. `build` compiles
    the function, and returns a callable (a ufunc or a function of Python) and its machine code, or None if Numba does
    not hand that out; `make` makes such a callable of the address of a kernel.
    """
    digest = _digest(form, text)
    if digest not in _made:
        _made[digest] = _load_or_build(digest, text, build)
    address, built = _made[digest]
    return built if address is None else make(address)


def _load_or_build(
    digest: str, text: str, build: Callable[[Any], tuple[Any, MachineCode | None]]
) -> tuple[int | None, Any]:
    code = store.load(digest)
    address = None if code is None else code.address()
    if address is not None:
        return address, None
    with jit_enabled():
        built, code = build(function("kernel", text))
    address = None if code is None else code.address()
    if code is not None and address is not None:
        store.save(digest, code)
    return address, built


def _digest(*texts: str) -> str:
    return hashlib.blake2b(repr(texts).encode(), key=environment.digest(), digest_size=16).hexdigest()


def function(name: str, text: str) -> Any:
    """Execute the source of a function in the namespace of the intrinsics, and return the function, not compiled yet.

    Numba's cache on disk, which has the functions that users' functions call, identifies a function by its file, line
    and name, not by its constants and callees. Hence its name gets a digest of all that its machine code depends on.
    The file must exist; it is this one.
    """
    from .intrinsics import NAMES  # noqa: PLC0415

    unique = f"{name[:_LONGEST_NAME]}_{_digest(text)[:12]}"
    text = text.replace(f"def {name}(", f"def {unique}(", 1)
    namespace = NAMES | {dtype: np.dtype(dtype).type for dtype in _DTYPES} | {"np": np, "__name__": __name__}
    exec(compile(text, __file__, "exec"), namespace)  # noqa: S102
    return namespace[unique]


@contextlib.contextmanager
def jit_enabled() -> Iterator[None]:
    """Compile also under ``NUMBA_DISABLE_JIT``, which is for debugging: kernels have no Python form."""
    from numba import config  # noqa: PLC0415

    before = config.DISABLE_JIT
    config.DISABLE_JIT = 0
    try:
        yield
    finally:
        config.DISABLE_JIT = before

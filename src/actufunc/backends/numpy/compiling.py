"""From generated source to compiled functions, with Numba's cache on disk.

Numba is imported here, inside the functions, and nowhere at ``import actufunc``.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from .forks import hold
from .interrupts import uninterrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

_Key = TypeVar("_Key", bound="Hashable")
_Made = TypeVar("_Made")

_DTYPES = ("float32", "float64", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))

_cache_works = True


def once(table: dict[_Key, _Made], key: _Key, make: Callable[[], _Made]) -> _Made:
    """Return what a table has for a key; make it if it has nothing yet, one thread for all that ask at once.

    The lock is Numba's own, so that there is no second one to be taken in the wrong order, and it is held at forks: a
    child of a process in which another thread was compiling could compile nothing any more. An interrupt waits, for it
    would leave Numba's registries half filled.

    Parameters
    ----------
    table : dict
        Where to look and where to put.
    key : hashable
        In the table.
    make : callable
        Compiles.

    Returns
    -------
    object
        The entry.
    """

    def look_up_or_make() -> _Made:
        from numba.core.compiler_lock import global_compiler_lock  # noqa: PLC0415

        _hold_at_forks()
        with global_compiler_lock:
            if key not in table:
                table[key] = make()
            return table[key]

    if key in table:
        return table[key]
    # Who compiles already, and calls us in between, holds the lock; another thread would wait for it for ever.
    return look_up_or_make() if _is_compiling() else uninterrupted(look_up_or_make)


def _is_compiling() -> bool:
    """Tell whether this thread holds Numba's lock."""
    module = sys.modules.get("numba.core.compiler_lock")
    lock = getattr(getattr(module, "global_compiler_lock", None), "_lock", None)
    return lock is not None and bool(lock._is_owned())  # noqa: SLF001 -- as of threading.Condition


@functools.cache
def _hold_at_forks() -> None:
    from numba.core.compiler_lock import global_compiler_lock  # noqa: PLC0415

    hold(global_compiler_lock)


def function(name: str, text: str) -> Any:
    """Execute the generated source of a function in the namespace of the intrinsics.

    Numba's cache on disk knows a function by its file, line and name, and looks neither at its constants nor at what it
    calls. Hence it gets a name that says what its machine code depends on. The file must exist; it is this one.

    Parameters
    ----------
    name : str
        Of the function in the text.
    text : str
        Its source.

    Returns
    -------
    function
        Not compiled yet.
    """
    from .intrinsics import NAMES  # noqa: PLC0415

    digest = hashlib.blake2b(text.encode(), key=_digest_of_surroundings(), digest_size=6).hexdigest()
    text = text.replace(f"def {name}(", f"def {name}_{digest}(", 1)
    namespace = NAMES | {dtype: np.dtype(dtype).type for dtype in _DTYPES} | {"np": np, "__name__": __name__}
    exec(compile(text, __file__, "exec"), namespace)  # noqa: S102
    return namespace[f"{name}_{digest}"]


@functools.cache
def _digest_of_surroundings() -> bytes:
    """Digest of all that a kernel's machine code depends on besides its own text.

    Numba looks at version and processor itself, but keeps all variants of a function in files of the same name. Where
    machines share a directory (a home on a cluster), two that write at once could each find the other's code under its
    own entry. With the processor in the name they never share a file.
    """
    import numba  # noqa: PLC0415
    from llvmlite import binding  # noqa: PLC0415

    here = Path(__file__).parent
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted([*here.glob("simd/*.py"), here / "intrinsics.py", here / "vectors.py"]):
        digest.update(path.read_bytes())
    features = numba.config.CPU_FEATURES
    if features is None:
        with contextlib.suppress(RuntimeError):  # LLVM cannot tell on every platform
            features = binding.get_host_cpu_features().flatten()
    digest.update(repr((numba.__version__, numba.config.CPU_NAME or binding.get_host_cpu_name(), features)).encode())
    return digest.digest()


def compiled(build: Callable[..., Any], source: Any) -> Any:
    """Compile with the cache on disk, or without where it cannot be written or what it holds is broken.

    Parameters
    ----------
    build : callable
        Compiles; takes ``cache`` as a keyword.
    source : function
        What `build` compiles.

    Returns
    -------
    object
        What `build` returns.
    """
    global _cache_works  # noqa: PLW0603 -- a directory that is full for one kernel is full for the next
    with _jit_enabled():
        if _cache_works:
            # Numba raises OSError for a full directory, RuntimeError for none, and what unpickling raises, which may
            # be anything, for a file that is cut short. A mistake of ours fails without the cache as well.
            with contextlib.suppress(Exception):
                return build(cache=True)
            with contextlib.suppress(Exception):
                from numba.core.caching import FunctionCache  # noqa: PLC0415

                FunctionCache(source).flush()
                return build(cache=True)
        result = build(cache=False)
        _cache_works = False
    return result


@contextlib.contextmanager
def _jit_enabled() -> Iterator[None]:
    """Compile also under ``NUMBA_DISABLE_JIT``, which is for debugging one's own code: ours has no Python form."""
    from numba import config  # noqa: PLC0415

    before = config.DISABLE_JIT
    config.DISABLE_JIT = 0
    try:
        yield
    finally:
        config.DISABLE_JIT = before

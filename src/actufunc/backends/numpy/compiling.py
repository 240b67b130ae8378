"""From generated source to compiled functions, with Numba's cache on disk.

Numba is imported here, inside the functions, and nowhere at ``import actufunc``.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from actufunc.backends.forks import starting

from .interrupts import uninterrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

_Key = TypeVar("_Key", bound="Hashable")
_Made = TypeVar("_Made")

_DTYPES = ("float32", "float64", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))

# Modules, besides those of `simd`, that make machine code what it is.
_CODE = ("intrinsics", "vectors", "flags", "kernels", "loops", "extension")

_LONGEST_NAME = 100  # characters of a name in a cache: file systems have limits

# What a whole directory suffers from, not a file.
_OF_DIRECTORIES = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}

_cache_works = True


def once(table: dict[_Key, _Made], key: _Key, make: Callable[[], _Made]) -> _Made:
    """Return what a table has for a key; make it if it has nothing yet, one thread for all that ask at once.

    The lock is Numba's own, so that there is no second one to be taken in the wrong order; forks take it as well.
    Interrupts wait, for they would leave Numba's registries half filled.

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
    if key in table:
        return table[key]

    def look_up_or_make() -> _Made:
        with _compiler_lock():
            if key not in table:
                table[key] = make()
            return table[key]

    return uninterrupted(look_up_or_make)


@functools.cache
def _compiler_lock() -> Any:
    with starting:
        from numba.core.compiler_lock import global_compiler_lock  # noqa: PLC0415

        return global_compiler_lock


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
    unique = f"{name[:_LONGEST_NAME]}_{digest}"
    text = text.replace(f"def {name}(", f"def {unique}(", 1)
    namespace = NAMES | {dtype: np.dtype(dtype).type for dtype in _DTYPES} | {"np": np, "__name__": __name__}
    exec(compile(text, __file__, "exec"), namespace)  # noqa: S102
    return namespace[unique]


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
    for path in sorted([*here.glob("simd/*.py"), *(here / f"{name}.py" for name in _CODE)]):
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
    from numba.core.errors import NumbaError  # noqa: PLC0415

    with _jit_enabled():
        if _cache_works:
            try:
                return build(cache=True)
            except (NumbaError, MemoryError):  # not of the cache
                raise
            except OSError as error:
                _cache_works = error.errno not in _OF_DIRECTORIES
            except RuntimeError as error:
                if "locator" not in str(error):  # for a directory that could be written
                    raise
                _cache_works = False
            except Exception:  # noqa: BLE001 -- unpickling a file that is cut short raises whatever it likes
                from numba.core.caching import FunctionCache  # noqa: PLC0415

                with contextlib.suppress(OSError):
                    FunctionCache(source).flush()
                    return build(cache=True)
        return build(cache=False)


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

"""Numba's own cache on disk, for what is no kernel: functions that Numba links into others, and loops of our tools.

Each is in one file there with what it calls.
"""

from __future__ import annotations

import contextlib
import errno
from typing import TYPE_CHECKING, Any

from .compiler import jit_enabled
from .numba_patches import FUNCTION_CACHE

if TYPE_CHECKING:
    from collections.abc import Callable

# What a whole directory suffers from, not a file.
_OF_DIRECTORIES = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}

_cache_works = True


def compile_cached(build: Callable[..., Any], source: Any) -> Any:
    """Compile with Numba's cache on disk, or without where it cannot be written or what it holds is broken.

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

    with jit_enabled():
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
                cache = FUNCTION_CACHE.get()
                with contextlib.suppress(OSError):
                    if cache is not None:
                        cache(source).flush()
                        return build(cache=True)
        return build(cache=False)

"""Numba's own cache on disk, for what is no kernel: functions that Numba links into others, and loops of tools.

Each is in one file there with its callees.
"""

from __future__ import annotations

import contextlib
import errno
from typing import TYPE_CHECKING, Any

from .compiler import jit_enabled
from .numba_patches import FUNCTION_CACHE

if TYPE_CHECKING:
    from collections.abc import Callable

# Errors that concern a whole directory.
_DIRECTORY_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}

_cache_works = True


def compile_cached(build: Callable[..., Any], source: Any) -> Any:
    """Compile with Numba's cache on disk, or without it where it cannot be written or a file is broken.

    `build` compiles the function `source`, takes ``cache`` as a keyword, and its result is returned.
    """
    global _cache_works  # noqa: PLW0603 -- a directory that is full for one kernel is full for the next
    from numba.core.errors import NumbaError  # noqa: PLC0415

    with jit_enabled():
        if _cache_works:
            try:
                return build(cache=True)
            except (NumbaError, MemoryError):  # from compiling, not from the cache
                raise
            except OSError as error:
                _cache_works = error.errno not in _DIRECTORY_ERRORS
            except RuntimeError as error:
                if "locator" not in str(error):  # which Numba wants for a directory that it can write
                    raise
                _cache_works = False
            except Exception:  # noqa: BLE001 -- unpickling a file that is cut short may raise any exception
                cache = FUNCTION_CACHE.get()
                with contextlib.suppress(OSError):
                    if cache is not None:
                        cache(source).flush()
                        return build(cache=True)
        return build(cache=False)

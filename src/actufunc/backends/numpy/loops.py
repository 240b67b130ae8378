"""The loops of ufuncs on disk: Numba keeps the scalar functions that they are made of, and compiles loops every time.

To compile a loop, which is vectorised, takes most of the time of a function's first call in a process.
"""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, Any

from numba.core.caching import make_library_cache
from numba.np.ufunc import ufuncbuilder, wrappers

if TYPE_CHECKING:
    from collections.abc import Iterator


@functools.cache
def _cache_class() -> Any:
    return make_library_cache("loop")  # Numba's own for this purpose, which takes each prefix once


@contextlib.contextmanager
def kept_loops(source: Any) -> Iterator[None]:
    """Let the loop that Numba compiles around a function meanwhile be kept beside the function.

    Where Numba has changed so much that there is nothing to change here, it is compiled every time.

    Parameters
    ----------
    source : function
        What the loop calls.
    """
    build = getattr(ufuncbuilder, "build_ufunc_wrapper", None)
    described = getattr(wrappers, "_wrapper_info", None)
    if build is None or described is None:
        yield
        return

    def build_or_load(library: Any, context: Any, name: str, signature: Any, objmode: Any, cres: Any) -> Any:
        cache = _cache_class()(py_func=source)
        loop = f"__ufunc__.{name}"
        kept = None
        try:
            kept = cache.load_overload(signature, context)
        except Exception:  # noqa: BLE001 -- unpickling a file that is cut short raises whatever it likes
            cache.flush()
        # Names are counted in each process: the function may come from another one than the loop.
        if kept is not None and kept.get_pointer_to_function(loop):
            return described(library=kept, env=cres.environment, name=loop)
        built = build(library, context, name, signature, objmode, cres)
        built.library.enable_object_caching()
        cache.save_overload(signature, built.library)
        return built

    ufuncbuilder.build_ufunc_wrapper = build_or_load
    try:
        yield
    finally:
        ufuncbuilder.build_ufunc_wrapper = build

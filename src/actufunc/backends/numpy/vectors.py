"""Vectors as wide as the processor's registers.

On several processors with AVX-512 LLVM prefers vectors of 256 bits, because on the first of them 512 bits slowed the
clock. For kernels as dense as ours the wide ones are 15 to 35 % faster (measured on Sapphire Rapids; NumPy uses them
too). The attribute that says so must stand at the function with the loop. That is ours in kernels over an axis; around
an elementwise kernel it is `numba.vectorize` that writes it, hence the detour here.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from numba.core.compiler_lock import global_compiler_lock
from numba.np.ufunc import ufuncbuilder

if TYPE_CHECKING:
    from collections.abc import Iterator

_ATTRIBUTE = '"prefer-vector-width"="512"'


def prefer_wide(function: Any) -> None:
    """Ask for wide vectors in an `llvmlite.ir.Function`."""
    set.add(function.attributes, _ATTRIBUTE)  # llvmlite's own `add` knows no attributes with a value


@contextlib.contextmanager
def wide_ufuncs() -> Iterator[None]:
    """Let `numba.vectorize` ask for wide vectors in the loops that it writes meanwhile.

    Where Numba has changed so much that this finds nothing to change, loops are as wide as LLVM likes.
    """
    build: Any = getattr(ufuncbuilder, "build_ufunc_wrapper", None)

    def build_wide(library: Any, context: Any, *arguments: Any, **keywords: Any) -> Any:
        wide = _Substitute(context, codegen=lambda: _codegen(context.codegen()))
        return build(library, wide, *arguments, **keywords)

    if build is None:
        yield
        return
    with global_compiler_lock:
        ufuncbuilder.build_ufunc_wrapper = build_wide
        try:
            yield
        finally:
            ufuncbuilder.build_ufunc_wrapper = build


class _Substitute:
    """An object with some attributes replaced."""

    def __init__(self, original: Any, **replaced: Any) -> None:
        self._original = original
        self.__dict__.update(replaced)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)


def _codegen(codegen: Any) -> _Substitute:
    """Return a code generator whose libraries ask for wide vectors in every module they take."""

    def create_library(*arguments: Any, **keywords: Any) -> Any:
        library = codegen.create_library(*arguments, **keywords)
        add = library.add_ir_module

        def add_ir_module(module: Any) -> None:
            for function in module.functions:
                if not function.is_declaration:
                    prefer_wide(function)
            add(module)

        library.add_ir_module = add_ir_module
        return library

    return _Substitute(codegen, create_library=create_library)

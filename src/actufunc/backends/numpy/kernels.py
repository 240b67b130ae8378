"""Compiled kernels: built at first use, kept for the process, and cached on disk by Numba.

Numba is imported here, inside the functions, and nowhere at ``import actufunc``.
"""

from __future__ import annotations

import functools
import hashlib
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .lower import source
from .lower_axis import axis_source

if TYPE_CHECKING:
    from collections.abc import Callable

    from actufunc.formula.expression import Expression

    from .lower_axis import Layout

_lock = threading.RLock()
_elementwise: dict[tuple[Expression, tuple[str, ...], np.dtype[Any]], np.ufunc] = {}
_axis: dict[tuple[Expression, tuple[str, ...], np.dtype[Any], Layout], Callable[..., None]] = {}


@functools.cache
def _digest_of_simd() -> bytes:
    """Digest of all that a kernel's machine code depends on besides its own text."""
    here = Path(__file__).parent
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted([*here.glob("simd/*.py"), here / "intrinsics.py", here / "vectors.py"]):
        digest.update(path.read_bytes())
    return digest.digest()


def _function(name: str, text: str) -> Any:
    """Execute the generated source of a function in the namespace of the intrinsics.

    Numba's cache on disk knows a function by its file, line and name, and looks neither at its constants nor at what it
    calls. Hence it gets a name that says which text and SIMD layer it stands for. The file must exist; it is this one.
    """
    from .intrinsics import NAMES  # noqa: PLC0415

    digest = hashlib.blake2b(text.encode(), key=_digest_of_simd(), digest_size=6).hexdigest()
    text = text.replace(f"def {name}(", f"def {name}_{digest}(", 1)
    namespace = NAMES | {dtype: np.dtype(dtype).type for dtype in _DTYPES} | {"np": np, "__name__": __name__}
    exec(compile(text, __file__, "exec"), namespace)  # noqa: S102
    return namespace[f"{name}_{digest}"]


_DTYPES = ("float32", "float64", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))


def _compiled(compile_function: Callable[..., Any]) -> Any:
    """Compile with the cache on disk, or without one where no directory for it can be written."""
    try:
        return compile_function(cache=True)
    except RuntimeError as error:
        if "locator" not in str(error):
            raise
        return compile_function(cache=False)


def elementwise(name: str, expression: Expression, arguments: tuple[str, ...], dtype: np.dtype[Any]) -> np.ufunc:
    """Return the NumPy ufunc of an elementwise expression.

    The ufunc is safe only where all its operands are contiguous or the output is its own: Numba's loop looks at the
    strides of the inputs and ignores those of the output. Call it through :mod:`~actufunc.backends.numpy.call`.

    Parameters
    ----------
    name : str
        Name for tracebacks and cache files.
    expression : Expression
        What to compute, with all scalar hyperparameters put in.
    arguments : tuple of str
        Its arguments, in the order of the operands.
    dtype : numpy.dtype
        Of all operands: float32, float64 or, for formulas that keep them, an integer dtype.

    Returns
    -------
    numpy.ufunc
        One loop, target ``cpu``.
    """
    key = (expression, arguments, dtype)
    kernel = _elementwise.get(key)
    if kernel is not None:
        return kernel
    with _lock:
        if key not in _elementwise:
            import numba  # noqa: PLC0415

            from .vectors import wide_ufuncs  # noqa: PLC0415

            name = f"{name}_{dtype.name}"
            function = _function(name, source(name, expression, arguments, dtype))
            number = getattr(numba.types, dtype.name)
            signature = number(*[number] * len(arguments))
            with wide_ufuncs():
                built = _compiled(lambda cache: numba.vectorize([signature], cache=cache)(function))
            _elementwise[key] = built.ufunc
        return _elementwise[key]


def axis(
    name: str, expression: Expression, arguments: tuple[str, ...], dtype: np.dtype[Any], layout: Layout
) -> Callable[..., None]:
    """Return the compiled function of an expression that reduces over an axis.

    Parameters
    ----------
    name : str
        Name for tracebacks and cache files.
    expression : Expression
        What to compute, with all hyperparameters put in.
    arguments : tuple of str
        Its arguments, in the order of the operands.
    dtype : numpy.dtype
        Of all operands: float32 or float64.
    layout : Layout
        How the operands lie in memory.

    Returns
    -------
    callable
        Takes the operands and then the output, all C-contiguous of one shape.
    """
    key = (expression, arguments, dtype, layout)
    kernel = _axis.get(key)
    if kernel is not None:
        return kernel
    with _lock:
        if key not in _axis:
            import numba  # noqa: PLC0415

            name = f"{name}_{dtype.name}_{layout.value}"
            text, count = axis_source(name, expression, arguments, dtype, layout)
            function = _function(name, text)
            number = getattr(numba.types, dtype.name)
            array, cells = (numba.types.Array(number, ndim, "C") for ndim in (layout.ndim, 1))
            inputs = [array.copy(readonly=True)] * (len(arguments) - layout.in_place)
            signature = numba.void(*inputs, *[cells] * count, array)
            built = _compiled(
                lambda cache: numba.njit([signature], cache=cache, nogil=True, error_model="numpy")(function)
            )
            shape = (count, layout.cells)
            _axis[key] = lambda *operands: built(*operands[:-1], *np.empty(shape, dtype), operands[-1])
        return _axis[key]

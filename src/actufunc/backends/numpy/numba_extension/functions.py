"""The function that is compiled for a call of an activation inside a function of the user.

A call on scalars becomes one of the scalar function that our ufuncs have in their loops, and is always inlined. A call
on arrays becomes one of a function with a loop around the same statements.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba

from actufunc.backends.codegen import identifier
from actufunc.backends.numpy.codegen.elementwise import elementwise_source, statements
from actufunc.backends.numpy.jit.compiler import function, get_or_create
from actufunc.backends.numpy.jit.numba_cache import compile_cached

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np

    from actufunc.formula.expression import Expression

_results: dict[tuple[Expression, np.dtype[Any], tuple[Any, ...]], Any] = {}


def result_type(dtype: np.dtype[Any], kinds: Mapping[str, Any]) -> Any:
    """Return the type of what the function of `compile_result` returns: a scalar, or a contiguous array.

    The array is in Fortran order where all arrays of its dimensions are.
    """
    number = getattr(numba.types, dtype.name)
    arrays = _arrays_among(kinds).values()
    if not arrays:
        return number
    ndim = max(kind.ndim for kind in arrays)
    order = "F" if all(kind.layout == "F" and kind.ndim == ndim for kind in arrays) else "C"
    return numba.types.Array(number, ndim, order)


def compile_result(name: str, expression: Expression, dtype: np.dtype[Any], kinds: Mapping[str, Any]) -> Any:
    """Compile an expression as a function that others can call, and return Numba's `CompileResult`.

    `name` is that of the activation; all hyperparameters whose values are known are put into the expression. `dtype` is
    that of scalar arguments and of the result. `kinds` has the types of the arguments, in order: with an array among
    them it is a function over arrays, else a scalar function, which raises nothing and is inlined whatever it costs.
    """
    key = (expression, dtype, tuple(kinds.items()))
    return get_or_create(_results, key, lambda: _compile(f"{name}_{dtype.name}", expression, dtype, kinds))


def _compile(name: str, expression: Expression, dtype: np.dtype[Any], kinds: Mapping[str, Any]) -> Any:
    arrays = _arrays_among(kinds)
    name += "_arrays" if arrays else "_inline"  # the cache must not take it for the function of a ufunc
    generate: Callable[..., str] = _array_source if arrays else elementwise_source
    text = generate(name, expression, kinds, dtype)
    source = function(name, text)
    signature = result_type(dtype, kinds)(*kinds.values())

    def build(*, cache: bool) -> Any:
        # Options that are not given here Numba takes from the function around the call.
        own = {"error_model": "numpy", "fastmath": False, "debug": False, "boundscheck": False}
        lean = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "forceinline": not arrays}
        return numba.njit(signature, cache=cache, **own, **lean)(source)

    return compile_cached(build, source).overloads[signature.args]


def _arrays_among(kinds: Mapping[str, Any]) -> dict[str, Any]:
    return {key: kind for key, kind in kinds.items() if isinstance(kind, numba.types.Array)}


def _array_source(name: str, expression: Expression, kinds: Mapping[str, Any], dtype: np.dtype[Any]) -> str:
    """Return the text of a function over arrays: it copies those of another layout, and then has one loop."""
    arrays = {key: f"{identifier(key)}_array" for key in _arrays_among(kinds)}
    like = result_type(dtype, kinds)
    transpose = ".T" if like.layout == "F" else ""
    lines = [f"{array} = {array}.T" for array in arrays.values() if transpose]
    lines += _shape({array: kinds[key].ndim for key, array in arrays.items()}, " and ".join(arrays))
    out = f"np.empty(shape, {dtype.name})"
    for key, array in arrays.items():
        wide = f"np.broadcast_to({array}, shape)" if like.ndim else array  # which Numba cannot do to no dimension
        copy = f"{wide}.astype({dtype.name})"
        if kinds[key].copy(readonly=False) != like:
            lines.append(f"{array} = {copy}")
            out = array
        elif len(arrays) > 1:
            lines.append(f"{array} = {array} if {array}.size == size else {copy}")
    lines.append(f"out = {out}")
    body, result = statements(expression, dtype)
    loads = [f"{identifier(key)} = load({array}, i)" for key, array in arrays.items()]
    loop = [f"    {line}" for line in [*loads, *body, f"store(out, i, {result})"]]
    lines += ["for i in range(out.size):", *loop, f"return out{transpose}"]
    parameters = ", ".join(arrays.get(key, identifier(key)) for key in kinds)
    return f"def {name}({parameters}):\n" + "".join(f"    {line}\n" for line in lines)


def _shape(arrays: Mapping[str, int], names: str) -> list[str]:
    """Return lines that compute the shape of a result; Numba takes seconds to compile `numpy.broadcast_shapes`."""
    if len(arrays) == 1:
        return [f"shape = {array}.shape" for array in arrays]
    ndim = max(arrays.values())
    lines = []
    for axis in range(ndim):
        lines.append(f"n{axis} = 1")
        for array, dimensions in arrays.items():
            if (own := axis - ndim + dimensions) >= 0:
                lines += [
                    f"if n{axis} == 1:",
                    f"    n{axis} = {array}.shape[{own}]",
                    f"elif {array}.shape[{own}] != 1 and {array}.shape[{own}] != n{axis}:",
                    f"    raise ValueError('the shapes of {names} cannot be broadcast together')",
                ]
    lengths = [f"n{axis}" for axis in range(ndim)]
    shape = "".join(f"{length}, " for length in lengths)
    return [*lines, f"shape = ({shape})", f"size = {' * '.join(['1', *lengths])}"]

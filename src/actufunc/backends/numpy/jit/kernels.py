"""Compiled kernels: built at first use, kept for the process, and cached on disk."""

from __future__ import annotations

import functools
import re
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np

from actufunc._formats import FORMATS
from actufunc.backends.numpy.codegen.axis import axis_source
from actufunc.backends.numpy.codegen.elementwise import source
from actufunc.backends.numpy.codegen.half import HALF_COMPUTE_DTYPE, LOOK_UP, REPLACE, half_source
from actufunc.backends.numpy.simd import LANES
from actufunc.backends.promotion import is_half
from actufunc.formula.operations import COSTLY

from . import machine_code
from .compiler import get_or_create, kernel

if TYPE_CHECKING:
    from actufunc.backends.numpy.codegen.layout import Layout
    from actufunc.formula.expression import Expression

    Array = np.ndarray[Any, Any]

_elementwise: dict[tuple[str, Expression, tuple[str, ...], np.dtype[Any]], Elementwise | HalfElementwise] = {}
_BITS = np.dtype(np.uint16)
_FUNCTION = "kernel"  # name of functions in their texts: those of the same text are one kernel

_kept: list[Any] = []  # objects of Numba that must live as long as the process
_scalar: dict[tuple[str, str], Any] = {}  # compiled scalar functions of ufuncs, by text and types
_parallel: dict[Elementwise, np.ufunc] = {}
_of_bits: dict[tuple[str, str], np.ufunc] = {}
_axis: dict[tuple[Expression, tuple[str, ...], np.dtype[Any], Layout, bool], OverAxis] = {}


class Elementwise:
    """The kernels of an elementwise expression in which all scalar hyperparameters are put in.

    `arguments` are in the order of the operands, and `dtype` is that of all operands: float32, float64 or, for formulas
    that keep them, an integer dtype. `serial` is the ufunc of target ``cpu``; `is_safe` is True if that may write to an
    output that is not contiguous, see `vectors`; `is_costly` if computing takes longer than moving the data. Warnings
    mention `name`.
    """

    def __init__(self, name: str, expression: Expression, arguments: tuple[str, ...], dtype: np.dtype[Any]) -> None:
        self._name, self._dtype, self._arity = name, dtype, len(arguments)
        self._text = source(_FUNCTION, expression, arguments, dtype)
        self.is_costly = any(node.operation in COSTLY for node in expression.nodes())
        self.serial = self._compile("cpu")
        self.is_safe = self._checks_strides_of_output()

    def _checks_strides_of_output(self) -> bool:
        gaps = np.full(4 * self._dtype.itemsize, 0xA5, np.uint8).view(self._dtype)  # wide enough for the wrong loop
        before = gaps.copy()
        with np.errstate(all="ignore"):
            self.serial(*[np.ones(2, self._dtype)] * self._arity, gaps[::2])
        return gaps[1::2].tobytes() == before[1::2].tobytes()

    @property
    def parallel(self) -> np.ufunc:
        """Target ``parallel``: the same scalar function in a loop that Numba's threading layer runs.

        To be called only where :func:`~actufunc.backends.numpy.threading.tbb.is_usable`, and only with one-dimensional
        operands: NumPy would go through others row by row, and each row would launch threads.
        """
        return get_or_create(_parallel, self, lambda: self._compile("parallel"))

    def _compile(self, target: str) -> np.ufunc:
        return _vectorized(self._name, self._text, [self._dtype] * (self._arity + 1), target)


def _vectorized(name: str, text: str, dtypes: list[np.dtype[Any]], target: str = "cpu") -> np.ufunc:
    """Compile a scalar function as a ufunc."""

    def build(function: Any) -> tuple[np.ufunc, machine_code.MachineCode | None]:
        import numba  # noqa: PLC0415

        from . import numba_patches  # noqa: PLC0415
        from .vectors import wide_loops  # noqa: PLC0415

        *inputs, result = map(numba.from_dtype, dtypes)
        loop = numba_patches.UFUNC_LOOP if target == "cpu" else numba_patches.PARALLEL_LOOP
        function.__name__ = name
        alike = dtypes[0] if len(set(dtypes)) == 1 else None
        with (
            wide_loops(alike, len(inputs)),
            numba_patches.remembered(_scalar, (text, str(dtypes)), reuse=target != "cpu"),
            numba_patches.captured(loop) as found,
        ):
            made = numba.vectorize([result(*inputs)], target=target)(function)
        return getattr(made, "ufunc", made), numba_patches.machine_code(*found)

    make = functools.partial(machine_code.ufunc, name=name, dtypes=dtypes)
    made: np.ufunc = kernel(text, f"{target} {dtypes}", build, make)
    return made


# Half of a subnormal number of bfloat16, 2**-133 to 2**-126, may be a tie. A curve that has the slope 1/2 at zero, as
# x*sigmoid(x), passes it on one side, by so little that float64 does not see it: x*(1/2 + x/4). As f(s*x)/s it bends s
# times as much, x*(1/2 + s*x/4), to the same side. Here s*x is 2**-23 to 2**-15, enough to be seen in float64 and too
# little for higher terms; and a result that differs by more than `_BEND` from the other is not that of such a curve.
_TINY, _MAGNIFIED, _BEND = 2.0**-125, 2.0**110, 2.0**-10


class HalfElementwise:
    """The kernel of an elementwise expression of half-precision arrays, on their bits; parameters as for `Elementwise`.

    `serial` takes arrays of uint16 whose last axis is contiguous. `results` are those of a function of one array, in
    the half type, by the bits of its argument; None for a function of several.

    All results of one array are looked up, which takes 0.19 to 0.21 ns per element on one thread from 100,000 elements
    on (Zen 5). In the same run relu took 0.45 ns where it is computed in registers, and in float32 on as many elements
    relu took 0.08 to 0.16 ns, sigmoid 0.37 and gelu 0.67. So there is no kernel but the table.
    """

    is_costly = True  # a lookup takes as long per byte as a sigmoid, too, and does not wait for memory

    def __init__(self, name: str, expression: Expression, arguments: tuple[str, ...], dtype: np.dtype[Any]) -> None:
        numbers = _all_numbers(dtype)

        def compute(part: Expression, argument: str, scale: float = 1.0) -> Array:
            in_wide = elementwise(name, part, (argument,), HALF_COMPUTE_DTYPE)
            result: Array = in_wide.serial(scale * numbers) / scale
            return result

        if len(arguments) == 1:
            with np.errstate(all="ignore"):
                values, magnified = (compute(expression, *arguments, scale) for scale in (1.0, _MAGNIFIED))
                bits = to_bits(dtype)
                is_tie = bits(np.nextafter(values, -np.inf)) != bits(np.nextafter(values, np.inf))
                is_tie &= abs(numbers) < _TINY
                is_tie &= abs(magnified - values) < _BEND * abs(values)
                tables = [bits(np.where(is_tie, magnified, values))]
            made = _bits_kernel(name, LOOK_UP, tables, 1)
        else:
            text, parts = half_source(_FUNCTION, expression, arguments, dtype)
            with np.errstate(all="ignore"):
                tables = [compute(*part) for part in parts]
            made = _bits_kernel(name, text, tables, len(arguments))
        self.results = tables[0].view(dtype) if len(arguments) == 1 else None
        self.serial = functools.partial(made, *tables)
        self._tables = tables
        self._replace: Any = None

    def replace(self, bits: Array) -> None:
        """Look up the results of a function of one array in place, which NumPy permits no generalised ufunc."""
        if self._replace is None:
            text = _as_builtin(REPLACE, _BITS, 1, 0)

            def make() -> Any:
                return kernel(
                    text, "in place", _compile_builtin, functools.partial(machine_code.builtin, name="replace")
                )

            self._replace = get_or_create(_of_bits, ("in place", text), make)
        self._replace(*self._tables, bits, 0, bits.size)


def _all_numbers(dtype: np.dtype[Any]) -> Array:
    """Return all numbers of a half type in float64, in the order of their bits.

    From integers: a processor that flushes subnormal numbers to zero takes those of bfloat16, which float32 shares,
    for zero where it converts them, and the tables would stay so.
    """
    half = FORMATS[dtype.name]
    bits = np.arange(1 << 15)
    exponent, fraction = np.divmod(bits, 1 << half.mantissa_bits)
    significand = fraction + (exponent > 0) * (1 << half.mantissa_bits)
    numbers = np.ldexp(significand.astype(np.float64), np.maximum(exponent, 1) - half.bias - half.mantissa_bits)
    numbers[half.infinity_bits] = np.inf
    numbers[half.infinity_bits + 1 :] = np.nan
    return np.concatenate([numbers, -numbers])


def _bits_kernel(name: str, text: str, tables: list[Array], arity: int) -> np.ufunc:
    """Compile a function of tables, of arrays of bits and of the output as a generalised ufunc."""
    layout = ",".join(["(m)"] * len(tables) + ["(n)"] * arity) + "->(n)"
    dtypes = [*(table.dtype for table in tables), *[_BITS] * (arity + 1)]

    def build(function: Any) -> tuple[np.ufunc, machine_code.MachineCode | None]:
        import numba  # noqa: PLC0415

        from . import numba_patches  # noqa: PLC0415
        from .vectors import without_exceptions  # noqa: PLC0415

        signature = numba.types.void(*(numba.from_dtype(dtype)[::1] for dtype in dtypes))
        function.__name__ = name
        with without_exceptions(), numba_patches.captured(numba_patches.GUFUNC_LOOP) as found:
            made = numba.guvectorize([signature], layout)(function)
        return made.ufunc, numba_patches.machine_code(*found)

    def make() -> np.ufunc:
        of_address = functools.partial(machine_code.ufunc, name=name, dtypes=dtypes, signature=layout)
        made: np.ufunc = kernel(text, f"{layout} {dtypes}", build, of_address)
        return made

    return get_or_create(_of_bits, (name, text), make)


def to_bits(dtype: np.dtype[Any]) -> np.ufunc:
    """Return the ufunc that rounds float64 to the bits of a half type; ml_dtypes rounds to float32 first."""

    def make() -> np.ufunc:
        return _vectorized("cast", f"def {_FUNCTION}(x):\n    return to_{dtype.name}(x)\n", [HALF_COMPUTE_DTYPE, _BITS])

    return get_or_create(_of_bits, ("cast", dtype.name), make)


def elementwise(
    name: str, expression: Expression, arguments: tuple[str, ...], dtype: np.dtype[Any]
) -> Elementwise | HalfElementwise:
    """Return the kernels of an elementwise expression; see `Elementwise` and `HalfElementwise`."""
    make = HalfElementwise if is_half(dtype) else Elementwise
    key = (name, expression, arguments, dtype)
    return get_or_create(_elementwise, key, lambda: make(name, expression, arguments, dtype))


def _as_builtin(text: str, dtype: np.dtype[Any], ndim: int, scratches: int) -> str:
    """Rewrite a function of operands, scratch arrays and two bounds as a function of Python's C interface.

    It takes the addresses of the arguments, and returns that of a number.
    """
    first, *body = text.splitlines()
    _, name, *operands, out, begin, end = re.findall(r"\w+", first)
    inputs = len(operands) - scratches
    lines = [f"def {name}(self, arguments, number):"]
    for place, operand in enumerate([*operands, out]):
        kind = "float64, 1" if inputs <= place < len(operands) else f"{dtype.name}, {ndim}"
        lines.append(f"    {operand} = array_among(arguments, {place}, {kind})")
    for place, bound in enumerate((begin, end), len(operands) + 1):
        lines.append(f"    {bound} = integer_among(arguments, {place})")
    lines += ["    thread = released()", *body, "    return reacquired(thread)", ""]
    return "\n".join(lines)


def _compile_builtin(function: Any) -> tuple[Any, machine_code.MachineCode | None]:
    """Compile a function that `_as_builtin` has rewritten."""
    import numba  # noqa: PLC0415

    from . import numba_patches  # noqa: PLC0415
    from .vectors import wide_loops, without_exceptions  # noqa: PLC0415

    pointer, number = numba.types.voidptr, numba.types.intp
    with wide_loops(), without_exceptions():
        made = numba.cfunc(pointer(pointer, pointer, number), error_model="numpy")(function)
    _kept.append(made)
    found = numba_patches.CALLBACK_LIBRARY.of(made), numba_patches.CALLBACK_NAME.of(made)
    return machine_code.builtin(made.address, function.__name__), numba_patches.machine_code(*found)


_SCRATCHES = 16  # sets of scratch arrays that are kept, for threads that use a kernel at once


class OverAxis:
    """The kernel of an expression that reduces over an axis, for float32 or float64; parameters as for `Elementwise`.

    `layout` is that of the operands in memory, and `keep` True if rows are so short that one more of them stays in the
    cache.
    """

    def __init__(
        self,
        name: str,
        expression: Expression,
        arguments: tuple[str, ...],
        dtype: np.dtype[Any],
        layout: Layout,
        *,
        keep: bool,
    ) -> None:
        text, self._lengths = axis_source(_FUNCTION, expression, arguments, dtype, layout, keep=keep)
        text = _as_builtin(text, dtype, layout.ndim, len(self._lengths))

        make = functools.partial(machine_code.builtin, name=name)
        self._compiled = kernel(text, "over an axis", _compile_builtin, make)
        self._of_row = [place for place, length in enumerate(self._lengths) if length is None]
        self._idle: deque[list[Array]] = deque(maxlen=_SCRATCHES)  # scratch arrays that no call uses now
        self.layout = layout

    def __call__(self, *operands: Array, begin: int, end: int) -> None:
        """Compute the tasks from `begin` to `end`, in the order of :meth:`Layout.tasks`.

        Operands and, last, the output are C-contiguous and of one shape.
        """
        of_row = -(-operands[-1].shape[1] // LANES) * LANES
        try:
            scratch = self._idle.pop()
        except IndexError:
            scratch = [np.empty(of_row if length is None else length) for length in self._lengths]
        for place in self._of_row:
            if scratch[place].size < of_row:
                scratch[place] = np.empty(of_row)
        self._compiled(*operands[:-1], *scratch, operands[-1], begin, end)
        self._idle.append(scratch)


def axis(
    name: str, expression: Expression, arguments: tuple[str, ...], dtype: np.dtype[Any], layout: Layout, *, keep: bool
) -> OverAxis:
    """Return the kernel of an expression that reduces over an axis; see `OverAxis`."""
    key = (expression, arguments, dtype, layout, keep)
    return get_or_create(_axis, key, lambda: OverAxis(name, expression, arguments, dtype, layout, keep=keep))

"""Compiled kernels: built at first use, kept for the process, and cached on disk by Numba."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from actufunc.backends.writer import PRIMITIVES

from .compiling import compiled, function, once
from .lower import source
from .lower_axis import axis_source

if TYPE_CHECKING:
    from actufunc.formula.expression import Expression

    from .lower_axis import Layout

    Array = np.ndarray[Any, Any]

_elementwise: dict[tuple[Expression, tuple[str, ...], np.dtype[Any]], Elementwise] = {}
_parallel: dict[Elementwise, np.ufunc] = {}
_axis: dict[tuple[Expression, tuple[str, ...], np.dtype[Any], Layout, bool], OverAxis] = {}


class Elementwise:
    """The kernels of an elementwise expression.

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

    Attributes
    ----------
    serial : numpy.ufunc
        Target ``cpu``. It is safe only where all its operands are contiguous or the output is its own: Numba's loop
        looks at the strides of the inputs and ignores those of the output.
    is_costly : bool
        Whether computing takes longer than moving the data.
    """

    def __init__(self, name: str, expression: Expression, arguments: tuple[str, ...], dtype: np.dtype[Any]) -> None:
        self._name, self._dtype, self._arity = f"{name}_{dtype.name}", dtype, len(arguments)
        self._function = function(self._name, source(self._name, expression, arguments, dtype))
        self.is_costly = any(node.operation in PRIMITIVES for node in expression.nodes())
        self.serial: np.ufunc = self._compile("cpu").ufunc

    @property
    def parallel(self) -> np.ufunc:
        """Target ``parallel``: the same scalar function in a loop that Numba's threading layer runs.

        To be called only where :func:`layer.is_usable <actufunc.backends.numpy.layer.is_usable>`, and only with
        one-dimensional operands: NumPy would walk others row by row, and each row would launch threads.
        """
        return once(_parallel, self, lambda: self._compile("parallel"))

    def _compile(self, target: str) -> Any:
        import numba  # noqa: PLC0415

        from .vectors import wide_loops  # noqa: PLC0415

        number = getattr(numba.types, self._dtype.name)
        signature = number(*[number] * self._arity)

        def build(*, cache: bool) -> Any:
            return numba.vectorize([signature], target=target, cache=cache)(self._function)

        with wide_loops():
            return compiled(build, self._function)


def elementwise(name: str, expression: Expression, arguments: tuple[str, ...], dtype: np.dtype[Any]) -> Elementwise:
    """Return the kernels of an elementwise expression; see `Elementwise`."""
    key = (expression, arguments, dtype)
    return once(_elementwise, key, lambda: Elementwise(name, expression, arguments, dtype))


class OverAxis:
    """The kernel of an expression that reduces over an axis.

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
    keep : bool
        Whether rows are so short that one more of them stays in the cache.
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
        import numba  # noqa: PLC0415

        from .vectors import wide_loops  # noqa: PLC0415

        name = f"{name}_{dtype.name}_{layout.value}"
        text, count, keeps = axis_source(name, expression, arguments, dtype, layout, keep=keep)
        written = function(name, text)
        number = getattr(numba.types, dtype.name)
        array, scratch = numba.types.Array(number, layout.ndim, "C"), numba.types.Array(numba.types.float64, 1, "C")
        inputs = [array.copy(readonly=True)] * (len(arguments) - layout.in_place)
        bounds = [numba.types.intp] * 2
        signature = numba.void(*inputs, *[scratch] * (count + keeps), array, *bounds)

        def build(*, cache: bool) -> Any:
            return numba.njit([signature], cache=cache, nogil=True, error_model="numpy")(written)

        with wide_loops():
            self._compiled = compiled(build, written)
        self._cells, self._keeps = (count, layout.cells), keeps
        self.layout = layout

    def __call__(self, *operands: Array, begin: int, end: int) -> None:
        """Compute the tasks from `begin` to `end`, which :meth:`Layout.tasks` counts.

        Operands and, last, the output are C-contiguous and of one shape.
        """
        kept = [np.empty(operands[-1].shape[1])] if self._keeps else []
        self._compiled(*operands[:-1], *np.empty(self._cells), *kept, operands[-1], begin, end)


def axis(
    name: str, expression: Expression, arguments: tuple[str, ...], dtype: np.dtype[Any], layout: Layout, *, keep: bool
) -> OverAxis:
    """Return the kernel of an expression that reduces over an axis; see `OverAxis`."""
    key = (expression, arguments, dtype, layout, keep)
    return once(_axis, key, lambda: OverAxis(name, expression, arguments, dtype, layout, keep=keep))

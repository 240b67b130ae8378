"""From an expression to the text that Numba compiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actufunc.backends.rules import is_half, working_dtype
from actufunc.backends.writer import Writer, identifier

from .lower_axis import Layout, axis_source
from .lower_half import HALVES_IN

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from actufunc.formula.expression import Expression


def elementwise_source(name: str, expression: Expression, arguments: Sequence[str], dtype: np.dtype[Any]) -> str:
    """Write the scalar function of an elementwise expression.

    Parameters
    ----------
    name : str
        Name of the function.
    expression : Expression
        What it computes.
    arguments : sequence of str
        Its parameters, in order.
    dtype : numpy.dtype
        Of all parameters and of the result.

    Returns
    -------
    str
        Python source of one function.
    """
    arguments = list(map(identifier, arguments))
    known = {node: identifier(node.value) for node in expression.nodes() if node.operation == "argument"}
    writer = Writer(dtype, known)
    result = writer.value(expression)
    body = "".join(f"    {line}\n" for line in [*writer.lines, f"return {result}"])
    return f"def {name}({', '.join(arguments)}):\n{body}"


def source(
    name: str,
    expression: Expression,
    arguments: Sequence[str],
    dtype: np.dtype[Any],
    layout: Layout | None = None,
) -> str:
    """Write the function that a kernel is compiled from.

    Parameters
    ----------
    name : str
        Name of the function.
    expression : Expression
        What it computes.
    arguments : sequence of str
        Its array parameters, in order.
    dtype : numpy.dtype
        Of all arrays; half types are computed in float64, over an axis in float32.
    layout : Layout, optional
        How the arrays of an expression that reduces over an axis lie in memory.

    Returns
    -------
    str
        Python source of one function.
    """
    if layout is None:
        return elementwise_source(name, expression, arguments, HALVES_IN if is_half(dtype) else dtype)
    return axis_source(name, expression, arguments, working_dtype(dtype) or dtype, layout)[0]

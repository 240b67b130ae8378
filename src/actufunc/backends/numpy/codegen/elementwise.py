"""From an elementwise expression to a scalar function, and the entry for all kernels of arrays as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actufunc.backends.codegen import Codegen, Float32Codegen, identifier, is_rounded_once
from actufunc.backends.promotion import is_half, working_dtype
from actufunc.formula.lowering import lowered

from .axis import axis_source
from .half import HALF_COMPUTE_DTYPE
from .primitives import PRIMITIVES

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from actufunc.formula.expression import Expression

    from .layout import Layout


def elementwise_source(name: str, expression: Expression, arguments: Sequence[str], dtype: np.dtype[Any]) -> str:
    """Write the function of numbers of a dtype that computes an elementwise expression; see `source`."""
    lines, result = statements(expression, dtype)
    body = "".join(f"    {line}\n" for line in [*lines, f"return {result}"])
    return f"def {name}({', '.join(map(identifier, arguments))}):\n{body}"


def statements(expression: Expression, dtype: np.dtype[Any]) -> tuple[list[str], str]:
    """Write the statements that compute an elementwise expression in a dtype, and the text of the result."""
    expression = lowered(expression, PRIMITIVES)
    known = {node: identifier(node.value) for node in expression.nodes() if node.operation == "argument"}
    if dtype.name != "float32" or is_rounded_once(expression):
        codegen = Codegen(dtype, known)
        result = codegen.value(expression)
        return codegen.lines, result
    in_float64 = Float32Codegen({node: f"{text}_in_float64" for node, text in known.items()})
    in_float64.lines += [f"{text}_in_float64 = float64({text})" for text in known.values()]
    result = in_float64.value(expression)
    return in_float64.lines, f"float32({result})"


def source(
    name: str,
    expression: Expression,
    arguments: Sequence[str],
    dtype: np.dtype[Any],
    layout: Layout | None = None,
) -> str:
    """Write the function that a kernel is compiled from; its array parameters are the `arguments`, in order.

    The dtype is that of all arrays; half types are computed in float64, over an axis in float32. `layout` tells how the
    arrays of an expression that reduces over an axis lie in memory; None for other expressions.
    """
    if layout is None:
        return elementwise_source(name, expression, arguments, HALF_COMPUTE_DTYPE if is_half(dtype) else dtype)
    return axis_source(name, expression, arguments, working_dtype(dtype) or dtype, layout, keep=True)[0]

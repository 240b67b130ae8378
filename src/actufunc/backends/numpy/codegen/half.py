"""From an expression of half-precision arrays to the text of a kernel on their bits.

A half type has only 65,536 numbers. What depends on a single array is computed for all of them beforehand, and looked
up: the whole expression, or in one of several arrays its costly parts, as the sigmoid in ``x*sigmoid(gate)``. The rest
is computed in float64, from the bits and back to them in registers, and rounded once.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from actufunc.backends.codegen import Codegen, identifier
from actufunc.formula.expression import apply, argument
from actufunc.formula.lowering import lowered
from actufunc.formula.operations import COMPARISONS, COSTLY

from .primitives import PRIMITIVES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from actufunc.formula.expression import Expression

HALF_COMPUTE_DTYPE = np.dtype(np.float64)
"""dtype in which elementwise functions of half types are computed."""

_SLOWER_THAN_LOOKUP = COSTLY | {"divide", "sqrt"}

# Elements between two loops: what is looked up, one by one, stays in the first-level cache for the vectors after it.
_BLOCK = 256

LOOK_UP = """\
def kernel(table, x, out):
    for i in range(out.size):
        store(out, i, look_up(table, load(x, i)))
"""
"""The kernel of every function of one array: the bits of its result by those of its argument."""

REPLACE = """\
def kernel(table, bits, begin, end):
    for i in range(begin, end):
        store(bits, i, look_up(table, load(bits, i)))
"""
"""The same in place."""


class Table(NamedTuple):
    """A part of an expression, which is computed in float64 for every number of a half type."""

    part: Expression
    argument: str


def tabulated(expression: Expression) -> tuple[Expression, dict[Expression, Table]]:
    """Replace the largest parts of an expression that are costly and depend on one argument.

    Return the rest, in which arguments whose names no formula can have stand for the parts, and the parts by these.
    """
    tables: dict[Expression, Table] = {}

    @functools.cache
    def take_out(node: Expression) -> Expression:
        if not node.operands:
            return node
        names = node.arguments()
        is_number = node.operation not in COMPARISONS
        if is_number and len(names) == 1 and any(each.operation in _SLOWER_THAN_LOOKUP for each in node.nodes()):
            found = argument(f"table {len(tables)}")
            tables[found] = Table(node, *names)
            return found
        return apply(node.operation, *map(take_out, node.operands))

    return take_out(expression), tables


def half_source(
    name: str, expression: Expression, arguments: Sequence[str], dtype: np.dtype[Any]
) -> tuple[str, list[Table]]:
    """Write the kernel of an elementwise expression of several arrays of a half type, which are given as their bits.

    Parameters are as in `elementwise.source`. The function takes the tables that it looks up, which are returned as
    well, the arrays and, last, the output. All are contiguous.
    """
    rest, parts = tabulated(lowered(expression, PRIMITIVES))
    codegen = Codegen(HALF_COMPUTE_DTYPE, {})
    lookups = []
    for number, (node, table) in enumerate(parts.items()):
        bits = f"load({identifier(table.argument)}, i)"
        lookups.append(f"store(found{number}, i - start, look_up(table{number}, {bits}))")
        codegen.declare(node, f"load(found{number}, i - start)")
    for node in rest.nodes():
        if node.operation == "argument" and node not in parts:
            codegen.declare(node, f"from_{dtype.name}(load({identifier(node.value)}, i))")
    codegen.lines.append(f"store(out, i, to_{dtype.name}({codegen.value(rest)}))")
    tables = [f"table{number}" for number in range(len(parts))]
    lines = [f"def {name}({', '.join([*tables, *map(identifier, arguments), 'out'])}):"]
    lines += ["    flags = raised_flags()"]
    lines += [f"    found{number} = on_stack({_BLOCK})" for number in range(len(parts))]
    lines += [f"    for start in range(0, out.size, {_BLOCK}):", f"        stop = min(start + {_BLOCK}, out.size)"]
    for loop in (lookups, codegen.lines):
        lines += ["        for i in range(start, stop):", *(f"            {line}" for line in loop)] if loop else []
    lines += [f"    settle_{dtype.name}(flags, ({', '.join([*map(identifier, arguments), 'out'])}))"]
    return "\n".join([*lines, ""]), list(parts.values())

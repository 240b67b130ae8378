"""From an expression that reduces over an axis to the text of a function over rows.

The loops are those of :mod:`~actufunc.backends.passes`. What is dear to compute is kept in between, with all its
bits, in memory for one row; where that would leave the cache, and where loops run across rows, it is computed again.

All is computed in float64. Sums keep their rounding errors in a second word (Neumaier 1974), so that a row of any
length is summed to half an ulp, and hence to the same bits whatever its layout.
"""

from __future__ import annotations

import enum
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from actufunc.backends.passes import Passes, threshold_step
from actufunc.backends.writer import ARITHMETIC, SingleWriter, Writer, identifier

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actufunc.formula.expression import Expression


class Layout(enum.Enum):
    """How the operands of a kernel lie in memory, all C-contiguous."""

    ROWS = "rows"  # (rows, n): along the last axis
    ROWS_IN_PLACE = "rows_in_place"  # the first operand is the output
    COLUMNS = "columns"  # (blocks, n, columns): along the middle axis

    @property
    def in_place(self) -> bool:
        """Whether the first operand is overwritten by the result."""
        return self is Layout.ROWS_IN_PLACE

    @property
    def columns(self) -> bool:
        """Whether vectors run across the axis instead of along it."""
        return self is Layout.COLUMNS

    @property
    def cells(self) -> int:
        """Sums that are taken side by side: over columns, or over lanes of a row (a power of two, some vectors)."""
        return 256 if self.columns else 32

    @property
    def ndim(self) -> int:
        """Dimensions of every operand."""
        return 3 if self.columns else 2

    def tasks(self, shape: tuple[int, ...]) -> int:
        """Count what a kernel can do independently: rows, or in each block some columns at a time."""
        return shape[0] * -(-shape[2] // self.cells) if self.columns else shape[0]


class _RowWriter(Writer):
    """Computes primitives to one word, as much as is kept of them, so that it makes no difference whether they are."""

    wide_operations = ARITHMETIC


class _AxisWriter:
    """Writes the loops of one kernel.

    Sums have one cell per column, or per lane of a row: there a lane adds up every 32nd element, and at the end of the
    row the lanes are folded pairwise. The cells lie in arrays that the caller provides.
    """

    def __init__(
        self, expression: Expression, arguments: Sequence[str], dtype: np.dtype[Any], layout: Layout, *, keep: bool
    ) -> None:
        self.passes = Passes(expression, keep=keep)
        self.names = {node: f"r{number}" for number, node in enumerate(self.passes.reductions)}
        self.arguments, self.dtype, self.layout = list(map(identifier, arguments)), dtype, layout
        self.single = dtype.name == "float32"
        self.of_row: dict[Expression, str] = {}  # text of what is constant along the row
        self.cells: list[str] = []
        self.lines: list[str] = []
        self.depth = 0  # of the loops around

    def writer(self) -> Writer:
        """Return a writer of formulas in float64, as exact as the dtype asks for."""
        return SingleWriter({}) if self.single else _RowWriter(np.dtype(np.float64), {})

    def loaded(self, array: str) -> str:
        """Text of an element of an operand, in float64."""
        return f"float64(load({array}, at + c))" if self.single else f"load({array}, at + c)"

    def stored(self, place: str, value: str) -> str:
        """Text that stores a result."""
        return f"store(out, {place}, {self.dtype.name}({value}))"

    def put(self, depth: int, *lines: str) -> None:
        """Write lines, indented."""
        self.lines += ["    " * (self.depth + depth) + line for line in lines]

    @property
    def like(self) -> str:
        """Name of an operand of the shape of x."""
        return self.arguments[0] if self.passes.reduces else "out"

    # Cells.

    def place(self, name: str, cell: str = "c") -> str:
        """Text of the place of a cell."""
        if name not in self.cells:
            self.cells.append(name)
        return f"{name}, {cell}"

    def cell(self, name: str, cell: str = "c") -> str:
        """Text of the value of a cell."""
        return f"load({self.place(name, cell)})"

    # Loops.

    def per_element(self, lines: list[str], *, in_lanes: bool = False) -> None:
        """Do something for each element, in the lanes of a row where there are sums to take."""
        if self.layout.columns:
            self.put(2, "for i in range(n):")
            self.put(3, "at = (block * n + i) * columns + first", "for c in range(width):")
            self.put(4, *lines)
        elif in_lanes:
            # Most of a row in loops whose length is known, so that LLVM need not provide for remainders.
            self.put(2, "at = row * n", "first = 0")
            self.put(2, f"while first + {self.layout.cells} <= n:", f"    for c in range({self.layout.cells}):")
            self.put(4, *lines)
            self.put(3, f"at += {self.layout.cells}", f"first += {self.layout.cells}")
            self.put(2, "for c in range(n - first):")
            self.put(3, *lines)
        else:
            self.put(2, "at = row * n", "for c in range(n):")
            self.put(3, *lines)

    def per_cell(self, depth: int, count: str, lines: list[str]) -> None:
        """Do something for some cells."""
        if lines:
            self.put(depth, f"for c in range({count}):")
            self.put(depth + 1, *lines)

    def per_row(self, lines: list[str]) -> None:
        """Do something once per row or column."""
        if self.layout.columns:
            self.per_cell(2, "width", lines)
        else:
            self.put(2, *lines)

    # What the loops do.

    def element_writer(self, number: int, *, kept_at: str = "c") -> Writer:
        """Return a writer of the body of a loop, which has loaded what the loop needs.

        `kept_at` is where it finds what is kept; "" in the loop that computes it.
        """
        writer = self.writer()
        for node, name in self.of_row.items():
            text = self.cell if self.layout.columns else str
            writer.know(node, text(name))
            if node.operation == "axis_sum":
                writer.know_divisor(node, *map(text, (name, f"{name}_low", f"{name}_inverse")))
        kept = self.passes.kept
        nodes = self.passes.per_element(number)
        if kept is not None and kept in nodes and kept_at:
            writer.declare(kept, f"load(kept, {kept_at})")
            nodes = self.passes.per_element(number, without=kept)
        for node in nodes:
            if node.operation == "argument":
                name = identifier(node.value)
                in_out = self.layout.in_place and name == self.arguments[0]
                writer.declare(node, self.loaded("out" if in_out else name))
        return writer

    def write_stage(self, number: int) -> None:
        """Write one loop, which takes all reductions of a depth."""
        if self.passes.kept is not None and number == self.passes.kept_by:
            writer = self.element_writer(number, kept_at="")
            value = writer.value(self.passes.kept)
            self.per_element([*writer.lines, f"store(kept, c, {value})"])
        nodes = self.passes.stages[number]
        at_once = [node for node in nodes if node.operation != "axis_threshold"]
        if at_once:
            self.reduce(number, at_once)
        for node in nodes:
            if node.operation == "axis_threshold":
                self.write_threshold(number, node)

    def reduce(self, number: int, nodes: Sequence[Expression]) -> None:
        """Write a loop that takes some reductions."""
        start_row: list[str] = []
        start: list[str] = []
        sums: list[str] = []
        in_lanes = not self.layout.columns and any(node.operation != "axis_max" for node in nodes)
        writer = self.element_writer(number, kept_at="first + c" if in_lanes else "c")
        for node in nodes:
            name, operand = self.names[node], writer.value(node.operands[0])
            if node.operation == "axis_max" and not self.layout.columns:
                # A maximum of elements as they are needs no wider numbers.
                kind = self.dtype.name if node.operands[0].operation == "argument" else "float64"
                operand = f"{kind}({operand})"
                start_row.append(f"{name} = order_key({kind}({writer.literal(-math.inf)}))")
                writer.lines.append(f"{name} = max({name}, order_key({operand}))")
            elif node.operation == "axis_max":
                start.append(f"store({self.place(name)}, {writer.literal(-math.inf)})")
                writer.lines.append(f"store({self.place(name)}, maximum({self.cell(name)}, {operand}))")
            else:
                start += [f"store({self.place(each)}, {writer.literal(0.0)})" for each in self.words(name)]
                writer.lines += self._add(name, operand)
                sums.append(name)
        self.put(2, *start_row)
        self.per_cell(2, "width" if self.layout.columns else str(self.layout.cells), start)
        self.per_element(writer.lines, in_lanes=in_lanes)
        if in_lanes:
            self.fold(sums)

    def fold(self, sums: Sequence[str]) -> None:
        """Add up the lanes of sums, one half to the other, each time in a loop whose length LLVM knows."""
        half = self.layout.cells // 2
        while half:
            other = f"{half} + c"
            lines = [self._add(name, *(self.cell(each, other) for each in self.words(name))) for name in sums]
            self.per_cell(2, str(half), [line for of_sum in lines for line in of_sum])
            half //= 2

    def write_threshold(self, number: int, node: Expression) -> None:
        """Write the loops that find a threshold, as `threshold_step` says: until it rises no more."""
        name = self.of_row[node] = self.names[node]
        total, count = (self.names.setdefault(each, f"{name}_{i}") for i, each in enumerate(threshold_step(node)))
        cell = "c" if self.layout.columns else "0"
        above, parts = (f"({self._sum(each, cell)})" for each in (total, count))
        higher = f"higher = ({above} - 1.0) / {parts}"
        if self.layout.columns:
            self.per_cell(2, "width", [f"store({self.place(name)}, -1.0)"])
        else:
            self.put(2, f"{name} = -1.0")
        self.put(2, "rises = True", "while rises:")
        self.depth += 1
        self.reduce(number, threshold_step(node))
        self.put(2, "rises = False")
        # Nothing is above -1 where nothing is zero: in a row with infinity or NaN.
        there, set_to = (
            (f"{name}", f"{name} = {{}}")
            if not self.layout.columns
            else (self.cell(name), f"store({self.place(name)}, {{}})")
        )
        step = [higher, f"if higher > {there}:", f"    {set_to.format('higher')}", "    rises = True"]
        step += [f"elif {parts} == 0.0:", f"    {set_to.format('np.nan')}"]
        self.per_row(step)
        self.depth -= 1

    def words(self, name: str) -> list[str]:
        """Names of the cells of both words of a sum."""
        return [name, f"low_{name}"]

    def _sum(self, name: str, cell: str) -> str:
        """Text of a sum, rounded."""
        high, low = (self.cell(each, cell) for each in self.words(name))
        return f"{high} + low_word({high}, {low})"

    def _add(self, name: str, term: str, low_term: str = "") -> list[str]:
        """Add a term to the sum in a cell, and its rounding error to the cell beside it."""
        low = f"low_{name}"
        return [
            f"total, error = two_sum({self.cell(name)}, {term})",
            f"store({self.place(low)}, {self.cell(low)} + error{low_term and f' + {low_term}'})",
            f"store({self.place(name)}, total)",
        ]

    def write_row_values(self, number: int) -> None:
        """Write what a loop needs that is computed once per row, in float64, from the reductions so far."""
        columns = self.layout.columns
        cell = "c" if self.layout.columns else "0"
        writer = self.writer()
        for node in (node for stage in self.passes.stages[:number] for node in stage):
            name = self.names[node]
            if node.operation == "axis_sum":
                writer.know(node, f"({self._sum(name, cell)})")
            elif columns:
                writer.know(node, self.cell(name))
            else:
                writer.know(node, f"float64(from_order_key({name}))" if node.operation == "axis_max" else name)
        lines: list[str] = []
        for node in self.passes.per_row(number):
            if node not in self.of_row:
                name = self.of_row[node] = f"s{len(self.of_row)}"
                if node.operation == "axis_sum":
                    high, low = (self.cell(each, cell) for each in self.words(self.names[node]))
                    lines.append(f"total, error = two_sum({high}, low_word({high}, {low}))")
                    values = {name: "total", f"{name}_low": "error", f"{name}_inverse": "1.0 / total"}
                else:
                    values = {name: writer.value(node)}
                    lines += writer.lines
                    writer.lines.clear()
                for each, value in values.items():
                    lines.append(f"store({self.place(each)}, {value})" if columns else f"{each} = {value}")
        self.per_row(lines)

    def write(self, name: str) -> str:
        """Write the whole kernel."""
        if self.layout.columns:
            self.put(1, f"columns = {self.like}.shape[2]")
            self.put(1, f"tiles = (columns + {self.layout.cells - 1}) // {self.layout.cells}")
            self.put(1, "for task in range(begin, end):")
            self.put(2, "block = task // tiles")
            self.put(2, f"first = task % tiles * {self.layout.cells}")
            self.put(2, f"width = min({self.layout.cells}, columns - first)")
        else:
            self.put(1, "for row in range(begin, end):")
        for number in range(len(self.passes.stages)):
            self.write_row_values(number)
            self.write_stage(number)
        self.write_row_values(len(self.passes.stages))
        result = self.passes.loops[-1][0]
        if self.passes.reduces:
            text = self.of_row[result]
            place, value = ("block * columns + first + c", self.cell(text)) if self.layout.columns else ("row", text)
            self.per_row([self.stored(place, value)])
        else:
            writer = self.element_writer(len(self.passes.stages))
            value = writer.value(result)
            self.per_element([*writer.lines, self.stored("at + c", value)])
        kept = [] if self.passes.kept is None else ["kept"]
        parameters = ", ".join([*self.arguments[self.layout.in_place :], *self.cells, *kept, "out", "begin", "end"])
        return "\n".join([f"def {name}({parameters}):", f"    n = {self.like}.shape[1]", *self.lines]) + "\n"


def axis_source(
    name: str, expression: Expression, arguments: Sequence[str], dtype: np.dtype[Any], layout: Layout, *, keep: bool
) -> tuple[str, int, bool]:
    """Write the function that applies an expression along an axis.

    Parameters
    ----------
    name : str
        Name of the function.
    expression : Expression
        What it computes; at least one node reduces over the axis.
    arguments : sequence of str
        Its array parameters, in order.
    dtype : numpy.dtype
        Of all arrays, float32 or float64.
    layout : Layout
        How the arrays lie in memory.
    keep : bool
        Whether there is memory to keep one number for each element of a row.

    Returns
    -------
    source : str
        Python source of one function of the arrays, some arrays of ``layout.cells`` float64 numbers, if something is
        kept one as long as the rows, the output, and the first task and the last (exclusive) to do.
    cells : int
        Number of the arrays of cells.
    keeps : bool
        Whether something is kept.
    """
    writer = _AxisWriter(expression, arguments, dtype, layout, keep=keep and not layout.columns)
    return writer.write(name), len(writer.cells), writer.passes.kept is not None

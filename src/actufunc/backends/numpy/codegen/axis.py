"""From an expression that reduces over an axis to the text of a function over rows.

The loops are those of :mod:`~actufunc.backends.loop_schedule`. A costly value that several need is kept in between,
with all its bits, in memory for one row; where that would leave the cache, and where loops run across rows, it is
computed again.

All is computed in float64. There sums keep their rounding errors in a second word (Neumaier 1974), so that a row of any
length is summed to half an ulp, and hence to the same bits whatever its layout, unless its terms cancel almost wholly.
For float32 one word is enough, and both layouts add in one order, that of
:mod:`~actufunc.backends.numpy.simd.sums`, for the same bits.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from actufunc.backends.codegen import Float32Codegen, identifier
from actufunc.backends.loop_schedule import LoopSchedule, threshold_step
from actufunc.backends.numpy.simd import LANES
from actufunc.formula.lowering import lowered

from .layout import COLUMNS, Layout
from .primitives import PRIMITIVES
from .rows import RowCodegen, is_count, is_sum, is_wide

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actufunc.backends.codegen import Codegen
    from actufunc.formula.expression import Expression


_ADD_UP = {(1, 1): "add_up", (2, 1): "add_up_in_words", (2, 2): "add_up_words"}  # by words of a sum and of its terms
_BLOCK = 2048  # terms of a row that are computed before they are added up, a multiple of LANES


class _AxisCodegen:
    """Writes the loops of one kernel, in arrays that the caller provides.

    Along rows, the terms of a sum are written to an array, and added up from there; numbers per row are variables.
    Across rows everything has a cell per column; sums for float32 have `LANES` times as many.
    """

    def __init__(
        self, expression: Expression, arguments: Sequence[str], dtype: np.dtype[Any], layout: Layout, *, keep: bool
    ) -> None:
        self.schedule = LoopSchedule(expression, keep=keep)
        self.names = {node: f"r{number}" for number, node in enumerate(self.schedule.reductions)}
        self.arguments, self.dtype, self.layout = list(map(identifier, arguments)), dtype, layout
        self.is_float32 = dtype.name == "float32"
        self.of_row: dict[Expression, list[str]] = {}  # names of the words of what is constant along the row
        self.scratch: dict[str, int | None] = {}  # arrays that the caller provides, and their lengths
        if self.schedule.kept is not None:
            self.scratch |= dict.fromkeys(self.kept, None)
        self.lines: list[str] = []
        self.depth = 0  # of the loops around

    def new_codegen(self) -> Codegen:
        """Return a code generator for formulas in float64, as exact as the dtype asks for."""
        return Float32Codegen({}) if self.is_float32 else RowCodegen(np.dtype(np.float64), {})

    def loaded(self, array: str) -> str:
        """Text of an element of an operand, in float64."""
        return f"float64(load({array}, at + c))" if self.is_float32 else f"load({array}, at + c)"

    def stored(self, place: str, value: str) -> str:
        """Text that stores a result."""
        return f"store(out, {place}, {self.dtype.name}({value}))"

    def put(self, depth: int, *lines: str) -> None:
        """Write lines, indented."""
        self.lines += ["    " * (self.depth + depth) + line for line in lines]

    @property
    def like(self) -> str:
        """Name of an operand of the shape of x."""
        return self.arguments[0] if self.schedule.reduces else "out"

    # Cells of columns.

    def place(self, name: str, cell: str = "c", lanes: int = 1) -> str:
        """Text of the place of a cell."""
        self.scratch.setdefault(name, lanes * COLUMNS)
        return f"{name}, {cell}"

    def cell(self, name: str, cell: str = "c") -> str:
        """Text of the value of a cell."""
        return f"load({self.place(name, cell)})"

    def number(self, name: str) -> str:
        """Text of a number per row."""
        return self.cell(name) if self.layout.columns else name

    def set(self, name: str, value: str) -> str:
        """Text that sets a number per row."""
        return f"store({self.place(name)}, {value})" if self.layout.columns else f"{name} = {value}"

    # Loops.

    def per_element(self, lines: list[str]) -> None:
        """Do something for each element."""
        if self.layout.columns:
            self.put(2, "for i in range(n):")
            self.put(3, "at = (block * n + i) * columns + first", "for c in range(width):")
            self.put(4, *lines)
        else:
            self.put(2, "at = row * n", "for c in range(n):")
            self.put(3, *lines)

    def per_row(self, lines: list[str]) -> None:
        """Do something once per row or column."""
        if self.layout.columns and lines:
            self.put(2, "for c in range(width):")
            self.put(3, *lines)
        else:
            self.put(2, *lines)

    # What the loops do.

    def element_codegen(self, number: int, *, kept_at: str = "c") -> Codegen:
        """Return a code generator for the body of a loop, which has loaded what the loop needs.

        `kept_at` is where it finds what is kept; "" in the loop that computes it.
        """
        codegen = self.new_codegen()
        for node, names in self.of_row.items():
            words = list(map(self.number, names))
            codegen.know(node, words[0])
            if node.operation == "axis_sum":
                codegen.know_divisor(node, *words, self.number(f"{names[0]}_inverse"))
            elif len(words) > 1 and isinstance(codegen, RowCodegen):
                codegen.know_words(node, f"({', '.join(words)})")
        kept = self.schedule.kept
        nodes = self.schedule.per_element(number)
        if kept is not None and kept in nodes and kept_at:
            loaded = [f"load({name}, {kept_at})" for name in self.kept]
            if isinstance(codegen, RowCodegen) and len(loaded) > 1:
                codegen.declare_words(kept, f"({', '.join(loaded)})")
            else:
                codegen.declare(kept, *loaded)
            nodes = self.schedule.per_element(number, without=kept)
        for node in nodes:
            if node.operation == "argument":
                name = identifier(node.value)
                in_out = self.layout.in_place and name == self.arguments[0]
                codegen.declare(node, self.loaded("out" if in_out else name))
        return codegen

    def write_stage(self, number: int) -> None:
        """Write one loop, which takes all reductions of a depth."""
        if self.schedule.kept is not None and number == self.schedule.kept_by:
            codegen = self.element_codegen(number, kept_at="")
            stores = self.store_words(codegen, self.kept, self.schedule.kept)
            self.per_element([*codegen.lines, *stores])
        nodes = self.schedule.stages[number]
        at_once = [node for node in nodes if node.operation != "axis_threshold"]
        if at_once:
            self.reduce(number, at_once)
        for node in nodes:
            if node.operation == "axis_threshold":
                self.write_threshold(number, node)

    def reduce(self, number: int, nodes: Sequence[Expression]) -> None:
        """Write what takes some reductions."""
        if self.layout.columns:
            self.reduce_columns(number, nodes)
        else:
            self.reduce_row(number, nodes)

    def reduce_row(self, number: int, nodes: Sequence[Expression]) -> None:
        """Write a loop along a row: maxima and counts are taken in it, terms of sums written down and then added up."""
        kept = self.schedule.kept
        in_blocks = any(is_sum(node) and node.operands[0] is not kept for node in nodes)
        codegen = self.element_codegen(number, kept_at="first + c" if in_blocks else "c")
        body: list[str] = []
        adding: list[str] = []  # in each block
        folding: list[str] = []  # at the end
        for node in nodes:
            name, operand = self.names[node], node.operands[0]
            if node.operation == "axis_max":
                # A maximum of elements as they are needs no wider numbers.
                kind = self.dtype.name if operand.operation == "argument" else "float64"
                self.put(2, f"{name} = order_key({kind}({codegen.literal(-math.inf)}))")
                body.append(f"{name} = max({name}, order_key({kind}({codegen.value(operand)})))")
            elif is_count(node):
                self.put(2, f"{name} = 0")
                body.append(f"{name} += {codegen.value(operand.operands[0])}")
            else:
                terms = self.kept
                if operand is not kept:
                    terms = [f"terms_{word}" for word in self.words(node)[: 1 + is_wide(operand)]]
                    self.scratch |= dict.fromkeys(terms, _BLOCK)
                    body += self.store_words(codegen, terms, operand)
                words, lanes = self.words(node), f"lanes_{name}"
                self.scratch[lanes] = LANES * len(words)
                self.put(2, f"for c in range({LANES * len(words)}):", f"    store({lanes}, c, 0.0)")
                is_there = operand is kept  # the whole row of it
                add_up, count = _ADD_UP[len(words), len(terms)], "n" if is_there else "width"
                (folding if is_there else adding).append(f"{add_up}({', '.join(terms)}, {count}, {lanes})")
                folding.append(f"{', '.join(words)} = {'folded_words' if len(words) > 1 else 'folded'}({lanes})")
        if in_blocks:
            self.put(2, f"for first in range(0, n, {_BLOCK}):")
            self.put(3, f"width = min({_BLOCK}, n - first)", "at = row * n + first", "for c in range(width):")
            self.put(4, *codegen.lines, *body)
            self.put(3, *adding)
        elif body:
            self.per_element([*codegen.lines, *body])
        self.put(2, *folding)

    def reduce_columns(self, number: int, nodes: Sequence[Expression]) -> None:
        """Write a loop across rows."""
        codegen = self.element_codegen(number)
        start: list[str] = []
        body: list[str] = []
        in_lanes = [self.names[node] for node in nodes if self.is_float32 and is_sum(node)]
        for node in nodes:
            name, operand = self.names[node], node.operands[0]
            start += [
                self.set(each, codegen.literal(-math.inf if node.operation == "axis_max" else 0.0))
                for each in self.words(node)
                if each not in in_lanes
            ]
            if node.operation == "axis_max":
                body.append(self.set(name, f"maximum({self.cell(name)}, {codegen.value(operand)})"))
            elif name in in_lanes:
                place = self.place(name, f"i % {LANES} * {COLUMNS} + c", LANES)
                body.append(f"store({place}, load({place}) + {codegen.value(operand)})")
            elif is_count(node):
                body.append(self.set(name, f"{self.cell(name)} + {codegen.value(operand)}"))
            else:
                _, low = self.words(node)
                if is_wide(operand):
                    body.append(f"term, low_term = {codegen.wide(operand)}")
                    term, error = "term", "(error + low_term)"
                else:
                    term, error = codegen.value(operand), "error"
                body.append(f"total, error = two_sum({self.cell(name)}, {term})")
                body += [self.set(low, f"{self.cell(low)} + {error}"), self.set(name, "total")]
        self.per_row(start)
        if in_lanes:
            self.put(2, f"for c in range({LANES * COLUMNS}):", *[f"    store({name}, c, 0.0)" for name in in_lanes])
        self.per_element([*codegen.lines, *body])
        distance = LANES // 2
        while distance and in_lanes:
            self.put(2, f"for lane in range(min({distance}, n - {distance})):", "    for c in range(width):")
            for name in in_lanes:
                here, there = (f"load({name}, {lane} * {COLUMNS} + c)" for lane in ("lane", f"({distance} + lane)"))
                self.put(4, f"store({name}, lane * {COLUMNS} + c, {here} + {there})")
            distance //= 2

    def write_threshold(self, number: int, node: Expression) -> None:
        """Write the loops that find a threshold, as `threshold_step` says: until it rises no more."""
        name = self.names[node]
        self.of_row[node] = [name]
        parts = threshold_step(node)
        for i, each in enumerate(parts):
            self.names.setdefault(each, f"{name}_{i}")
        self.per_row([self.set(name, "-1.0")])
        self.put(2, "rises = True", "while rises:")
        self.depth += 1
        self.reduce(number, parts)
        above, count = map(self.total, parts)
        self.put(2, "rises = False")
        # Nothing is above -1 where nothing is zero: in a row with infinity or NaN.
        step = [f"higher = ({above} - 1.0) / {count}", f"if higher > {self.number(name)}:"]
        step += [f"    {self.set(name, 'higher')}", "    rises = True"]
        step += [f"elif {count} == 0.0:", f"    {self.set(name, 'np.nan')}"]
        self.per_row(step)
        self.depth -= 1

    @property
    def kept(self) -> list[str]:
        """Names of the arrays of what is kept, one for each word."""
        one_word = self.is_float32 or self.schedule.kept is None or not is_wide(self.schedule.kept)
        return ["kept"] if one_word else ["kept", "low_kept"]

    def store_words(self, codegen: Codegen, arrays: Sequence[str], node: Expression) -> list[str]:
        """Lines that store one word of a node or both, each in an array, for each element."""
        if len(arrays) == 1:
            return [f"store({arrays[0]}, c, {codegen.value(node)})"]
        return [
            f"term, low_term = {codegen.wide(node)}",
            *[f"store({a}, c, {t})" for a, t in zip(arrays, ("term", "low_term"), strict=True)],
        ]

    def words(self, node: Expression) -> list[str]:
        """Names of the words of a reduction."""
        name = self.names[node]
        return [name, f"low_{name}"] if is_sum(node) and not self.is_float32 else [name]

    def total(self, node: Expression) -> str:
        """Text of a sum, rounded."""
        high, *low = map(self.number, self.words(node))
        return f"({high} + low_word({high}, {low[0]}))" if low else f"float64({high})"

    def write_row_values(self, number: int) -> None:
        """Write what a loop needs that is computed once per row, in float64, from the reductions so far."""
        columns = self.layout.columns
        codegen = self.new_codegen()
        for node in (node for stage in self.schedule.stages[:number] for node in stage):
            name = self.names[node]
            if node.operation == "axis_sum":
                codegen.know(node, self.total(node))
                if isinstance(codegen, RowCodegen):
                    high, low = [*map(self.number, self.words(node)), "0.0"][:2]
                    codegen.know_words(node, f"two_sum(float64({high}), low_word(float64({high}), {low}))")
            elif columns:
                codegen.know(node, self.cell(name))
            else:
                codegen.know(node, f"float64(from_order_key({name}))" if node.operation == "axis_max" else name)
        lines: list[str] = []
        for node in self.schedule.per_row(number):
            if node in self.of_row:
                continue
            name = f"s{len(self.of_row)}"
            if isinstance(codegen, RowCodegen) and (node.operation == "axis_sum" or codegen.rounds(node)):
                names, values = [name, f"{name}_low"], ["total", "error"]
                text = codegen.wide(node)
                words = [f"high, low = {text}", "total, error = two_sum(high, low_word(high, low))"]
                lines += [*codegen.lines, *words]
            else:
                names, values = [name], [codegen.value(node)]
                lines += codegen.lines
            codegen.lines.clear()
            self.of_row[node] = names
            lines += [self.set(each, value) for each, value in zip(names, values, strict=True)]
            if node.operation == "axis_sum":
                lines.append(self.set(f"{name}_inverse", f"1.0 / {values[0]}"))
        self.per_row(lines)

    def write(self, name: str) -> str:
        """Write the whole kernel."""
        if self.layout.columns:
            self.put(1, f"columns = {self.like}.shape[2]")
            self.put(1, f"tiles = (columns + {COLUMNS - 1}) // {COLUMNS}")
            self.put(1, "for task in range(begin, end):")
            self.put(2, "block = task // tiles")
            self.put(2, f"first = task % tiles * {COLUMNS}")
            self.put(2, f"width = min({COLUMNS}, columns - first)")
        else:
            self.put(1, "for row in range(begin, end):")
        for number in range(len(self.schedule.stages)):
            self.write_row_values(number)
            self.write_stage(number)
        self.write_row_values(len(self.schedule.stages))
        result = self.schedule.loops[-1][0]
        if self.schedule.reduces:
            place = "block * columns + first + c" if self.layout.columns else "row"
            self.per_row([self.stored(place, self.number(self.of_row[result][0]))])
        else:
            codegen = self.element_codegen(len(self.schedule.stages))
            value = codegen.value(result)
            self.per_element([*codegen.lines, self.stored("at + c", value)])
        parameters = ", ".join([*self.arguments[self.layout.in_place :], *self.scratch, "out", "begin", "end"])
        return "\n".join([f"def {name}({parameters}):", f"    n = {self.like}.shape[1]", *self.lines]) + "\n"


def axis_source(
    name: str, expression: Expression, arguments: Sequence[str], dtype: np.dtype[Any], layout: Layout, *, keep: bool
) -> tuple[str, list[int | None]]:
    """Write the function that applies an expression, which has a reduction, along an axis.

    Parameters are as in `elementwise.source`, for float32 or float64. `keep` is True if there is memory to keep one
    number for each element of a row.

    The function takes the arrays, some arrays of float64 numbers to work in, the output, and the first task and the
    last (exclusive) to do. The second result has the lengths of the arrays to work in; None stands for the length of a
    row, rounded up to a multiple of `LANES`.
    """
    expression = lowered(expression, PRIMITIVES)
    codegen = _AxisCodegen(expression, arguments, dtype, layout, keep=keep and not layout.columns)
    return codegen.write(name), list(codegen.scratch.values())

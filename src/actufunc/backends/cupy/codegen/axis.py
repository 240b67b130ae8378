"""From an expression that reduces over an axis to a CUDA kernel.

The loops over a row are those of `actufunc.backends.loop_schedule`. The threads that share a row hold its elements in
registers from the first loop to the last, so that memory is read once and written once; rows that do not fit are read
again in each loop, from the second-level cache where they fit there. Reductions go from thread to thread, and sums keep
their rounding errors in a second word, so that the result hardly depends on how a row is shared.
"""

from __future__ import annotations

import functools
from string import Template
from typing import TYPE_CHECKING, Any

from actufunc.backends.codegen import identifier
from actufunc.backends.loop_schedule import LoopSchedule, threshold_step
from actufunc.formula.expression import argument
from actufunc.formula.lowering import lowered

from .elementwise import (
    VECTOR,
    CudaCodegen,
    KernelSpec,
    c_type,
    functions_of,
    no_integers,
    primitives,
    stored_type,
    symbol,
)
from .row_schedule import WARP, schedule_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from actufunc.formula.expression import Expression

    from .row_schedule import RowSchedule

_HALF_TYPES = {"float16": "__half", "bfloat16": "__nv_bfloat16"}
_HEADERS = {"float16": "#include <cuda_fp16.h>\n", "bfloat16": "#include <cuda_bf16.h>\n"}

_KERNEL = Template("""\
${headers}typedef $storage storage;
template <int lanes> struct alignas(lanes * sizeof(storage)) pack_of { storage lane[lanes]; };
${functions}\
extern "C" __global__ void __launch_bounds__($launch_bounds) $name($parameters) {
    $position
    const bool is_row = row < rows;
$body}
""")

# Element `at` of a row lies at `start + at*step`; `row` is its number and `thread` that of a thread in the row.
_IN_ROWS = Template("""\
const int thread = threadIdx.x % $threads;
    const long long row = (long long)blockIdx.x * $groups + threadIdx.x / $threads, start = row * n, step = 1;""")
_SIDE_BY_SIDE = Template("""\
const int thread = threadIdx.x / $width % $threads;
    const long long tiles = (inner + $width - 1) / $width, step = inner;
    const long long tile = (long long)blockIdx.x * $groups + threadIdx.x / ($width * $threads);
    const long long column = tile % tiles * $width + threadIdx.x % $width, start = tile / tiles * n * inner + column;
    const long long row = column < inner ? tile / tiles * inner + column : rows;
    __shared__ $real shared[$block], shared_low[$block];""")


@functools.cache
def axis_source(spec: KernelSpec, rows: RowSchedule, *, masked: bool) -> str:
    """Write the kernel, called `kernel_name`, that applies a formula along an axis of arrays of the dtype of `spec`.

    Its parameters are the arrays, the output, the scalars, the numbers of rows, of elements in a row and of rows that
    lie side by side. If `masked`, an array that tells which elements take part follows, with the value of x and the
    result for those that take no part.
    """
    return _AxisCodegen(spec, rows, masked=masked).write(kernel_name(spec.name))


def example(name: str, expression: Expression, arguments: Sequence[str], dtype: np.dtype[Any]) -> str:
    """Write the kernel for rows of 1024 elements that lie one after the other."""
    if dtype.kind in "iub":
        raise no_integers(dtype)
    arrays = tuple(key for key in arguments if key in {"x", "g"})
    scalars = tuple(key for key in arguments if key not in arrays)
    how = schedule_rows(1024, dtype, len(arrays), inner=1, lanes=VECTOR // dtype.itemsize)
    return axis_source(KernelSpec(name, expression, arrays, scalars, dtype), how, masked=False)


def kernel_name(name: str) -> str:
    """Return what the kernel of a function is called."""
    return f"{symbol(name)}_over_axis"


class _AxisCodegen:
    """Writes the loops of one kernel."""

    def __init__(self, spec: KernelSpec, rows: RowSchedule, *, masked: bool) -> None:
        self.arrays, self.scalars, self.dtype = spec.arrays, spec.scalars, spec.dtype
        self.schedule = LoopSchedule(lowered(spec.expression, primitives(spec.dtype)))
        self.rows, self.masked = rows, masked
        # What is kept is a float, for which there is no room beside a row that is packed: it is computed again.
        self.kept = self.schedule.kept if self.fits and not rows.packed else None
        self.real = c_type(self.dtype)
        self.names = {node: f"r{number}" for number, node in enumerate(self.schedule.reductions)}
        self.of_row: dict[Expression, str] = {argument(key): identifier(key) for key in self.scalars}
        self.lines: list[str] = []
        self.row_codegen = CudaCodegen(self.dtype, {})  # of what is computed once per row, outside of all loops
        self.depth = 0  # of the loops around

    @property
    def fits(self) -> bool:
        """True if the elements of a row stay in registers."""
        return self.rows.accesses > 0

    def put(self, depth: int, *lines: str) -> None:
        """Write lines, indented."""
        self.lines += ["    " * (self.depth + depth) + line for line in lines]

    # Loops.

    def loop(self, lines: list[str], *, load: Sequence[str] = (), store: bool = False) -> None:
        """Do something for each element that a thread has of its row, with packs loaded before or stored after."""
        lanes = self.rows.lanes
        if self.fits:
            self.put(1, "#pragma unroll", f"for (int p = 0; p < {self.rows.accesses}; p++) {{")
            self.put(2, f"const long long at = (p * {self.rows.threads} + thread) * {lanes}LL;")
        else:
            stride = self.rows.threads * lanes
            self.put(1, f"for (long long at = thread * {lanes}; at < n; at += {stride}) {{")
        self.put(2, "if (is_row && at < n) {")
        for name in map(identifier, load):
            self.put(3, f"const pack_of<{lanes}> pack_of_{name} = {self.pack(f'const_{name}', 'const ')};")
        if store:
            self.put(3, f"pack_of<{lanes}> pack_of_out;")
        self.put(3, "#pragma unroll", f"for (int k = 0; k < {lanes}; k++) {{")
        self.put(4, *lines)
        self.put(3, "}")
        if store:
            self.put(3, f"{self.pack('out', '')} = pack_of_out;")
        self.put(2, "}")
        self.put(1, "}")

    def pack(self, pointer: str, const: str) -> str:
        """Text of the pack at a thread's place in a row."""
        return f"*reinterpret_cast<{const}pack_of<{self.rows.lanes}>*>({pointer} + start + at * step)"

    def item(self, name: str) -> str:
        """Text of an element that is held in a register."""
        return f"{name}_items[p * {self.rows.lanes} + k]"

    def from_pack(self, key: str) -> str:
        """Text of an element of an array that has been loaded, or of what stands for one that takes no part."""
        name = identifier(key)
        value = f"pack_of_{name}.lane[k]"
        if self.rows.packed:
            return value
        value = f"static_cast<{self.real}>({value})"
        if not self.masked or key not in {"x", "g"}:
            return value
        fill = "fill" if key == "x" else CudaCodegen(self.dtype, {}).literal(0.0)
        return f"mask[start + at * step] ? {value} : {fill}"

    def element_codegen(self, number: int) -> tuple[CudaCodegen, list[str], list[str]]:
        """Return a code generator for a loop, the lines that bring the elements it needs, and what to load."""
        codegen = CudaCodegen(self.dtype, {})
        for node, name in self.of_row.items():
            codegen.know(node, name)
            if node.operation == "axis_sum":
                codegen.know_divisor(node, f"{name}, {name}_low, {name}_inverse")
        nodes = self.schedule.per_element(number)
        if self.kept is not None and self.kept in nodes and number > self.schedule.kept_by:
            codegen.know(self.kept, self.item("kept"))
            nodes = self.schedule.per_element(number, without=self.kept)
        needed = [key for key in self.arrays if argument(key) in nodes]
        lines = []
        for key in needed:
            name = identifier(key)
            codegen.know(argument(key), name)
            value = self.item(name) if self.fits else self.from_pack(key)
            lines.append(f"const {self.real} {name} = static_cast<{self.real}>({value});")
        return codegen, lines, [] if self.fits else needed

    # Stages.

    def write_stage(self, number: int) -> None:
        """Write one loop, which takes all reductions of a depth."""
        nodes = self.schedule.stages[number]
        at_once = [node for node in nodes if node.operation != "axis_threshold"]
        keep = number == self.schedule.kept_by and self.kept is not None
        if at_once or keep:
            self.reduce(number, at_once, keep=keep)
        for node in nodes:
            if node.operation == "axis_threshold":
                self.write_threshold(number, node)

    def reduce(self, number: int, nodes: Sequence[Expression], *, keep: bool = False) -> None:
        """Write a loop that takes some reductions, and their exchange between threads."""
        codegen, lines, load = self.element_codegen(number)
        for node in nodes:
            name = self.names[node]
            is_max = node.operation == "axis_max"
            self.put(1, f"{self.real} {name} = {codegen.literal(float('-inf') if is_max else 0.0)};")
            if not is_max:
                self.put(1, f"{self.real} {name}_low = {codegen.literal(0.0)};")
            codegen.lines.append(f"{self.merged(node, codegen.value(node.operands[0]), codegen.literal(0.0))};")
        if keep and self.kept is not None:
            codegen.lines.append(f"{self.item('kept')} = {codegen.value(self.kept)};")
        self.loop([*lines, *codegen.lines], load=load)
        for node in nodes:
            self.exchange_in_row(node) if self.rows.width == 1 else self.exchange_side_by_side(node)
            if node.operation == "axis_sum":
                self.put(1, f"settle({self.names[node]}, {self.names[node]}_low);")

    def write_threshold(self, number: int, node: Expression) -> None:
        """Write the loops that find a threshold, as `threshold_step` says: until none of the block rises any more."""
        name = self.of_row[node] = self.names[node]
        step = threshold_step(node)
        total, count = (self.names.setdefault(each, f"{name}_{i}") for i, each in enumerate(step))
        one = CudaCodegen(self.dtype, {}).literal(1.0)
        self.put(1, f"{self.real} {name} = -{one};", "bool rises;", "do {")
        self.depth += 1
        self.reduce(number, step)
        self.put(1, f"const {self.real} higher = ({total} - {one} + {total}_low) / {count};")
        self.put(1, f"rises = higher > {name};", f"if (rises) {name} = higher;")
        # Nothing is above -1 where nothing is zero: in a row with infinity or NaN.
        self.put(1, f"if ({count} == 0) {name} = {CudaCodegen(self.dtype, {}).literal(float('nan'))};")
        self.depth -= 1
        self.put(1, "} while (__syncthreads_or(rises));")

    def merged(self, node: Expression, value: str, low: str) -> str:
        """Text that takes a value into a reduction."""
        name = self.names[node]
        if node.operation == "axis_max":
            return f"{name} = maximum({name}, {value})"
        return f"accumulate({name}, {name}_low, {value}, {low})"

    def words(self, node: Expression) -> list[str]:
        """Names of the variables of a reduction."""
        name = self.names[node]
        return [name] if node.operation == "axis_max" else [name, f"{name}_low"]

    def exchange_in_row(self, node: Expression) -> None:
        """Reduce over the threads of a row by shuffles, and over the warps through shared memory."""
        shuffled = [f"__shfl_xor_sync(0xffffffff, {word}, d)" for word in self.words(node)]

        def butterfly(threads: int) -> None:
            if threads > 1:
                self.put(1, "#pragma unroll", f"for (int d = {threads // 2}; d > 0; d /= 2) {{")
                self.put(2, *(f"const {self.real} other{i} = {each};" for i, each in enumerate(shuffled)))
                self.put(2, f"{self.merged(node, 'other0', 'other1')};")
                self.put(1, "}")

        butterfly(min(WARP, self.rows.threads))
        warps = self.rows.threads // WARP
        if warps > 1:
            for word in self.words(node):
                self.put(1, f"__shared__ {self.real} shared_{word}[{warps}];")
                self.put(1, f"if (thread % {WARP} == 0) shared_{word}[thread / {WARP}] = {word};")
            self.put(1, "__syncthreads();")
            self.put(1, *(f"{word} = shared_{word}[thread % {warps}];" for word in self.words(node)))
            butterfly(warps)

    def exchange_side_by_side(self, node: Expression) -> None:
        """Reduce over the threads of rows that lie side by side, through shared memory."""
        if self.rows.threads == 1:
            return
        words = dict(zip(self.words(node), ("shared", "shared_low"), strict=False))
        others = [f"{place}[threadIdx.x + d * {self.rows.width}]" for place in words.values()]
        store = [f"{place}[threadIdx.x] = {word};" for word, place in words.items()]
        self.put(1, "__syncthreads();", *store)
        self.put(1, f"for (int d = {self.rows.threads // 2}; d > 0; d /= 2) {{")
        self.put(2, "__syncthreads();", "if (thread < d) {")
        self.put(3, f"{self.merged(node, *(others * 2)[:2])};", *store)
        self.put(2, "}")
        self.put(1, "}", "__syncthreads();")
        first = f"[threadIdx.x - thread * {self.rows.width}]"
        self.put(1, *(f"{word} = {place}{first};" for word, place in words.items()))

    def write_row_values(self, number: int) -> None:
        """Write what a loop needs that is computed once per row, from the reductions so far."""
        codegen = self.row_codegen
        for node, name in (*self.of_row.items(), *self.names.items()):
            codegen.know(node, name)
        for node in self.schedule.per_row(number):
            if node in self.of_row:
                continue
            if node.operation == "axis_sum":
                name = self.names[node]
                self.put(1, f"const {self.real} {name}_inverse = {codegen.literal(1.0)} / {name};")
            elif node.operation == "axis_max":
                name = self.names[node]
            else:
                value = codegen.value(node)
                self.put(1, *codegen.lines)
                codegen.lines.clear()
                name = f"s{len(self.of_row)}"
                self.put(1, f"const {self.real} {name} = {value};")
            self.of_row[node] = name

    def write(self, name: str) -> str:
        """Write the whole kernel."""
        rows, real, arrays = self.rows, self.real, list(map(identifier, self.arrays))
        items = rows.accesses * rows.lanes
        if self.fits:
            held = arrays + ["kept"] * (self.kept is not None)
            kind = "storage" if rows.packed else real
            self.put(1, f"{kind} {', '.join(f'{each}_items[{items}]' for each in held)};")
            self.loop(
                [f"{self.item(identifier(key))} = {self.from_pack(key)};" for key in self.arrays], load=self.arrays
            )
        for number in range(len(self.schedule.stages)):
            self.write_row_values(number)
            self.write_stage(number)
        last = len(self.schedule.stages)
        self.write_row_values(last)
        if self.schedule.reduces:
            result = self.of_row[self.schedule.loops[-1][0]]
            self.put(1, f"if (is_row && thread == 0) out[row] = static_cast<storage>({result});")
        else:
            codegen, lines, load = self.element_codegen(last)
            result = codegen.value(self.schedule.loops[-1][0])
            if self.masked:
                result = f"mask[start + at * step] ? {result} : left_out"
            codegen.lines.append(f"pack_of_out.lane[k] = static_cast<storage>({result});")
            self.loop([*lines, *codegen.lines], load=load, store=True)
        parameters = [f"const storage *const_{key}" for key in arrays] + ["storage *out"]
        parameters += [f"{real} {identifier(key)}" for key in self.scalars]
        parameters += [f"long long {key}" for key in ("rows", "n", "inner")]
        parameters += ["const bool *mask", f"{real} fill", f"{real} left_out"] if self.masked else []
        position = _IN_ROWS if rows.width == 1 else _SIDE_BY_SIDE
        place = {key: getattr(rows, key) for key in ("width", "threads", "groups", "block")}
        body = "".join(f"{line}\n" for line in self.lines)
        return _KERNEL.substitute(
            headers=_HEADERS.get(self.dtype.name, ""),
            storage=_HALF_TYPES.get(self.dtype.name, stored_type(self.dtype)),
            functions=functions_of(body, self.dtype),
            launch_bounds=rows.block,
            name=name,
            parameters=", ".join(parameters),
            position=position.substitute(place, real=real),
            body=body,
        )

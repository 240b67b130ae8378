"""The machine code of the kernels: packed instructions, and no call in a loop.

Read on x86-64; other processors skip it.
"""

from __future__ import annotations

import platform
import re
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from cases import ELEMENTWISE, OVER_AXIS, Case, mostly_slow, representatives
from numba import njit, types, vectorize
from numba.core.compiler_lock import global_compiler_lock
from numba.np.ufunc.wrappers import build_ufunc_wrapper

from actufunc import gelu
from actufunc.backends.numpy.codegen import elementwise as lower
from actufunc.backends.numpy.codegen.axis import axis_source
from actufunc.backends.numpy.codegen.half import LOOK_UP, half_source
from actufunc.backends.numpy.codegen.layout import Layout
from actufunc.backends.numpy.jit import compiler
from actufunc.backends.numpy.jit.vectors import wide_loops

pytestmark = pytest.mark.skipif(platform.machine() not in {"x86_64", "AMD64"}, reason="reads x86-64 assembly")

# Nothing of what is compiled here comes from the cache on disk.
FUNCTIONS = [
    *mostly_slow(ELEMENTWISE),
    *mostly_slow([case.grad for case in ELEMENTWISE]),
    *mostly_slow([case.vjp for case in ELEMENTWISE]),
]


def loop_of(function: Any, dtype: np.dtype[Any], arguments: int) -> tuple[str, str]:
    """Compile a scalar function as `numba.vectorize` does; return LLVM IR and assembly of the loop around it."""
    number = getattr(types, dtype.name)
    built = vectorize([number(*[number] * arguments)])(function)
    (result,) = built._dispatcher.overloads.values()
    with wide_loops(), global_compiler_lock:
        info = build_ufunc_wrapper(
            result.library,
            result.target_context,
            result.fndesc.llvm_func_name,
            result.signature,
            objmode=False,
            cres=result,
        )
        info.library.get_pointer_to_function(info.name)
        return info.library.get_llvm_str(), info.library.get_asm_str()


VECTORS = {"float32": r"<(?:4|8|16) x float>", "float64": r"<(?:2|4|8) x double>"}
CALLS = re.compile(r"^\s+callq?\s+(.*)$", re.MULTILINE)


@pytest.mark.parametrize("dtype", [np.dtype("float32"), np.dtype("float64")], ids=str)
@pytest.mark.parametrize("case", FUNCTIONS, ids=repr)
def test_elementwise(case: Case, dtype: np.dtype[Any]) -> None:
    definition = case.function.definition
    options = {name: dict(case.keywords).get(name, default) for name, default in definition.options.items()}
    scalars = {**definition.hyperparameters, **dict(case.keywords)}
    scalars = {name: scalars[name] for name in definition.hyperparameters}
    expression = definition.computed(options).substitute(scalars)
    names = tuple(name for name in definition.arguments if name not in scalars)
    function = compiler.function("probe", lower.source("probe", expression, names, dtype))
    ir, assembly = loop_of(function, dtype, len(names))
    assert CALLS.findall(assembly) == []
    assert re.search(rf"store {VECTORS[dtype.name]}", ir), "the loop is not vectorised"
    assert "memcheck" not in ir, "the loop is not vectorised in place"
    assert not re.search(r"vmovup[sd].*zmm.*%rsp|vmovup[sd].*%rsp.*zmm", assembly), (
        "what is spilled straddles cache lines"
    )
    amplifying = any(node.record.amplifies for node in expression.nodes())
    if amplifying:
        assert len(re.findall(rf"call {VECTORS['float64']} @llvm\.fma", ir)) >= 8  # float32 is computed in float64
        assert len(re.findall(r"\bvfn?m(?:add|sub)\d+p[sd]", assembly)) >= 8 or "vfmadd" not in assembly


@pytest.mark.parametrize("layout", list(Layout), ids=lambda layout: layout.value)
@pytest.mark.parametrize("dtype", [np.dtype("float32"), np.dtype("float64")], ids=str)
@pytest.mark.parametrize("case", [*mostly_slow(OVER_AXIS), *mostly_slow([case.vjp for case in OVER_AXIS])], ids=repr)
def test_over_axis(case: Case, dtype: np.dtype[Any], layout: Layout) -> None:
    definition = case.function.definition
    expression, names = definition.computed(definition.options), definition.arguments
    source, scratch = axis_source("probe", expression, names, dtype, layout, keep=True)
    function = compiler.function("probe", source)
    number = getattr(types, dtype.name)
    arrays = [types.Array(number, layout.ndim, "C")] * (len(names) - layout.in_place)
    working, out = [types.Array(types.float64, 1, "C")] * len(scratch), types.Array(number, layout.ndim, "C")
    signature = types.void(*arrays, *working, out, types.intp, types.intp)
    compiled = njit([signature], error_model="numpy")(function)
    (assembly,) = compiled.inspect_asm().values()
    (ir,) = compiled.inspect_llvm().values()
    has_exponential = any(node.record.amplifies for node in expression.nodes())
    assert re.search(rf"store {VECTORS[dtype.name]}", ir), "the loop is not vectorised"
    if has_exponential:
        assert len(re.findall(rf"call {VECTORS['float64']} @llvm\.fma", ir)) >= 8, "the exponential is not vectorised"
    assert not re.search(r"@(?:exp|log|tanh|pow|fma)f?\b", assembly), "a call into the C library"
    if None in scratch:  # a row of what is kept
        found = re.findall(r"exp(?:_words)?\(", source)
        assert len(found) == has_exponential, "the exponential is computed once per element"


LIBRARY = re.compile(r"call.*@(?:exp|log|tanh|pow|fma|__\w*hf\w*|__\w*bf\w*)\b")
BITS = types.uint16[::1]


@pytest.mark.parametrize("case", [*representatives(ELEMENTWISE), Case(gelu)], ids=repr)
def test_halves(case: Case) -> None:
    """A vjp: the gradient is looked up one by one where it is costly, the rest is in vectors from bits to bits."""
    dtype = np.dtype(np.float16 if case.function is gelu else ml_dtypes.bfloat16)
    definition = case.function.vjp.definition
    expression = definition.computed(definition.options).substitute(dict(case.keywords))
    names = [name for name in definition.arguments if name not in dict(case.keywords)]
    source, parts = half_source("probe", expression, names, dtype)
    signature = types.void(*[types.float64[::1]] * len(parts), *[BITS] * (len(names) + 1))
    compiled = njit([signature], error_model="numpy")(compiler.function("probe", source))
    (ir,), (assembly,) = compiled.inspect_llvm().values(), compiled.inspect_asm().values()
    assert re.search(r"store <(?:2|4|8|16|32) x i16>", ir), "the loop is not vectorised"
    assert "memcheck" not in ir, "the loop is not vectorised in place"
    assert re.search(rf"f(?:add|mul|sub) {VECTORS['float64']}", ir), "the loop is not vectorised"
    assert "memcheck" not in ir, "the loop is not vectorised in place"
    assert not LIBRARY.search(ir), "a call into a library"
    assert len(re.findall(r"load atomic", ir)) >= len(parts)
    assert "gather" not in assembly


def test_look_up() -> None:
    function = compiler.function("kernel", LOOK_UP)
    (assembly,) = njit([types.void(BITS, BITS, BITS)])(function).inspect_asm().values()
    assert "gather" not in assembly
    assert not re.search(r"call.*NRT", assembly), "a bound or an index is checked"


def test_strided_input_leaves_the_vectorised_loop() -> None:
    """Numba has one loop for contiguous inputs and one for all others, which is not vectorised.

    That is why the guard hands out contiguous chunks. Where this fails, Numba has mended it.
    """
    ir, _ = loop_of(lambda x, y: x * y + x, np.dtype("float64"), 2)
    loops = re.split(r"!llvm\.loop", ir)
    assert any(re.search(r"fmul <\d+ x double>", loop) for loop in loops)
    assert any(re.search(r"fmul double", loop) and not re.search(r"fmul <", loop) for loop in loops)
    assert len(re.findall(r"fmul double", ir)) >= 2, "the remainder of the vectorised loop, and the loop for strides"

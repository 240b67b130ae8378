"""Every CUDA kernel of the catalogue, as CuPy hands it to NVRTC: it compiles, and moves 16 bytes at a time."""

from __future__ import annotations

import importlib
import itertools
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest
from array_libraries import load
from cases import ELEMENTWISE, OVER_AXIS, REDUCING, Case, cases, representatives
from host_gpu import elementwise_text, to_device

from actufunc import relu, sparsemax
from actufunc.backends.cupy import kernels
from actufunc.backends.cupy.codegen.axis import axis_source, kernel_name
from actufunc.backends.cupy.codegen.elementwise import KernelSpec
from actufunc.backends.cupy.codegen.row_schedule import RowSchedule, schedule_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

DTYPES = [np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16), np.dtype(np.float32), np.dtype(np.float64)]
ARCHITECTURES = (70, 80, 90, 100)  # V100, A100, H100, B200
REPRESENTATIVES = representatives(cases())


@dataclass
class Compiled:
    """What NVRTC made of a text for one architecture."""

    ptx: str
    log: str

    @property
    def spilled(self) -> int:
        """Bytes of registers that do not fit, in the worst kernel."""
        return max(map(int, re.findall(r"(\d+) bytes spill stores", self.log)))

    def of(self, name: str) -> str:
        """PTX of one kernel."""
        found = re.search(rf"\.entry {name}\(.*?^}}", self.ptx, re.DOTALL | re.MULTILINE)
        assert found is not None, f"no kernel {name}"
        return found.group()


@pytest.fixture(scope="module")
def nvrtc() -> Any:
    """CuPy's binding of NVRTC, which needs no GPU."""
    load("cupy")
    module = importlib.import_module("cupy_backends.cuda.libs.nvrtc")
    try:
        module.getVersion()
    except RuntimeError as error:
        pytest.skip(f"could not import NVRTC: {error}")
    return module


def architectures(nvrtc: Any) -> list[int]:
    """Return those that NVRTC knows of the ones above."""
    known = [each for each in ARCHITECTURES if each in nvrtc.getSupportedArchs()]
    assert len(known) > 1
    return known


def options() -> list[str]:
    """Return the options that CuPy compiles with, but warnings are left out."""
    core = importlib.import_module("cupy._core.core")
    return [*core.assemble_cupy_compiler_options(()), "-ftz=true", "-w"]


def compile_all(nvrtc: Any, text: str, case: Case | None = None) -> dict[int, Compiled]:
    """Compile a text for every architecture that NVRTC knows of those above.

    What is of a case that is no representative must do with the last: four compilers go through the same statements.
    """
    known = architectures(nvrtc)
    if case is not None and case not in REPRESENTATIVES:
        known = known[-1:]

    def compile_for(architecture: int) -> Compiled:
        return compile_one(nvrtc, text, [*options(), "--ptxas-options=-v", f"-arch=sm_{architecture}"])

    with ThreadPoolExecutor() as pool:
        return dict(zip(known, pool.map(compile_for, known), strict=True))


def compile_one(nvrtc: Any, text: str, options: list[str]) -> Compiled:
    """Compile a text."""
    program = nvrtc.createProgram(text, "kernel.cu", (), ())
    try:
        nvrtc.compileProgram(program, options)
        return Compiled(nvrtc.getPTX(program).decode(), nvrtc.getProgramLog(program))
    except nvrtc.NVRTCError:
        pytest.fail(f"{nvrtc.getProgramLog(program)}\n{text}")
    finally:
        nvrtc.destroyProgram(program)


OF_CUDA = ("expf", "expm1f", "logf", "log1pf", "tanhf")
"""Functions that flush subnormal numbers, wherever they are compiled as CuPy does."""


def flushing(nvrtc: Any, text: str) -> set[str]:
    """Return the instructions that flush subnormal numbers, with the options of CuPy's, outside of CUDA's functions."""
    apart = [f"__device__ __noinline__ float apart_{name}(float x) {{ return {name}(x); }}\n" for name in OF_CUDA]
    text = "".join([*apart, re.sub(rf"::(?=(?:{'|'.join(OF_CUDA)})\()", "::apart_", text)])
    ptx = compile_one(nvrtc, text, [*options(), f"-arch=compute_{architectures(nvrtc)[-1]}"]).ptx
    kernels = re.findall(r"\.entry \w+\(.*?^}", ptx, re.DOTALL | re.MULTILINE)
    assert kernels
    return {instruction for kernel in kernels for instruction in re.findall(r"[\w.]+\.ftz\b[\w.]*", kernel)}


def together(texts: list[str]) -> str:
    """Put texts into one, each in a namespace of its own, below CuPy's headers and their own."""
    headers = [f"#include <{each}>\n" for each in importlib.import_module("cupy._core.core")._cupy_header_list]
    own = {line for text in texts for line in re.findall(r"^ *#include .*\n", text, re.MULTILINE)}
    bodies = [re.sub(r"^ *#include .*\n", "", text, flags=re.MULTILINE) for text in texts]
    spaces = [f"namespace text{number} {{\n{body}\n}}\n" for number, body in enumerate(bodies)]
    return "".join([*headers, *sorted(own), *spaces])


def elementwise_kernels(case: Case, dtype: np.dtype[Any]) -> Iterator[tuple[Any, int]]:
    """Yield the kernels of a function and its derivatives, and how many arrays they take.

    All hyperparameters are numbers that are compiled in, if they have defaults, or arguments of the kernel.
    """
    for function in (case.function, case.function.grad, case.function.vjp):
        definition = function.definition
        options = definition.options | {k: v for k, v in case.keywords if k in definition.options}
        hyperparameters = definition.hyperparameters
        defaults = {k: v for k, v in hyperparameters.items() if isinstance(v, int | float)}
        for given in [{}, *([defaults] if defaults else [])]:
            scalars = tuple(key for key in hyperparameters if key not in given)
            name = f"{definition.identifier}_{'special' if given else 'general'}"
            formula = KernelSpec(name, definition.specialised(options, given), definition.arrays, scalars, dtype)
            yield kernels.vectors(formula), len(definition.arrays)
        yield kernels.elementwise(formula), len(definition.arrays)
        yield kernels.elementwise(formula, masked=True), len(definition.arrays)


# The half types differ in what reads and writes them, which is the same for all functions.
@pytest.mark.parametrize(
    ("case", "dtype"),
    [
        *itertools.product(ELEMENTWISE, [each for each in DTYPES if each != ml_dtypes.bfloat16]),
        *((case, np.dtype(ml_dtypes.bfloat16)) for case in representatives(ELEMENTWISE)),
    ],
    ids=str,
)
def test_elementwise(case: Case, dtype: np.dtype[Any], nvrtc: Any) -> None:
    array = to_device(np.zeros(4, dtype))
    texts: dict[str, str] = {}
    arrays_of: dict[str, int] = {}
    for kernel, arrays in elementwise_kernels(case, dtype):
        scalars = [parameter.dtype for parameter in kernel.in_params[arrays:]]
        name = kernel.name if kernel.name not in texts else f"{kernel.name}_masked"
        arrays_of[name] = arrays
        texts[name] = elementwise_text(kernel, [*[array] * arrays, *scalars, array]).replace(
            f"{kernel.name}(", f"{name}("
        )
    text = together(list(texts.values()))
    assert dtype == np.float64 or not flushing(nvrtc, text)
    for architecture, compiled in compile_all(nvrtc, text, case).items():
        assert compiled.spilled == 0, architecture
        for name in texts:
            each = max(1, 8 * dtype.itemsize // 16) if name.endswith("_vectors") else 0
            found = wide_accesses(compiled.of(name))
            assert found["ld"] == each * arrays_of[name], (name, architecture)
            assert found["st"] >= each if each else not found["st"], (
                name,
                architecture,
            )  # some on either side of a branch


def test_dtypes_are_mixed_without_flushing(nvrtc: Any) -> None:
    """Between float and double, as arguments, results and copies, and where the test itself would see it."""
    definition = relu.definition
    arrays = {dtype: to_device(np.zeros(4, dtype)) for dtype in DTYPES}
    for computed in map(np.dtype, ("float32", "float64")):
        formula = KernelSpec("relu", definition.computed({}), definition.arrays, (), computed)
        for kernel, kept in ((kernels.elementwise(formula), computed), (kernels.copy(), None)):
            for given, wanted in itertools.product(DTYPES, repeat=2):
                if (kept or given) == np.float64 and wanted.itemsize == 2:
                    continue  # CuPy's own conversion
                text = elementwise_text(kernel, [arrays[given], arrays[wanted]])
                assert not flushing(nvrtc, together([text])), (kernel.name, given, wanted)
    plain = importlib.import_module("cupy").ElementwiseKernel("X x", "Y y", "y = static_cast<Y>(x)", "plain")
    assert flushing(nvrtc, together([elementwise_text(plain, [arrays[DTYPES[2]], arrays[DTYPES[3]]])]))


def wide_accesses(ptx: str) -> dict[str, int]:
    """Count the instructions that read and write memory 16 bytes at a time."""
    found = re.findall(r"\b(ld|st)\.global(?:\.nc)?\.v(\d)\.\w(\d\d)", ptx)
    wide = [kind for kind, number, bits in found if int(number) * int(bits) == 128]
    return {kind: wide.count(kind) for kind in ("ld", "st")}


# Rows that fit into a warp, into a block, only as halves, or not; unaligned, masked, and side by side.
LAYOUTS = {
    "short": {"n": 8, "inner": 1, "aligned": True, "masked": False},
    "warp": {"n": 512, "inner": 1, "aligned": True, "masked": False},
    "block": {"n": 8192, "inner": 1, "aligned": True, "masked": False},
    "unaligned": {"n": 8191, "inner": 1, "aligned": False, "masked": False},
    "packed": {"n": 65536, "inner": 1, "aligned": True, "masked": False},
    "packed with cotangents": {"n": 32768, "inner": 1, "aligned": True, "masked": False},
    "long": {"n": 1_000_000, "inner": 1, "aligned": True, "masked": False},
    "masked": {"n": 500, "inner": 1, "aligned": False, "masked": True},
    "columns": {"n": 100, "inner": 100, "aligned": False, "masked": False},
    "long columns": {"n": 100_000, "inner": 3, "aligned": False, "masked": True},
}


# The most bytes of registers that may spill, of a thread that holds 128: a few around the calls that double precision
# makes to divide, where bfloat16 is packed, and a pointer or two in masked columns.
SPILLED = {"float16": 16, "bfloat16": 112, "float32": 16, "float64": 192}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", [*OVER_AXIS, *REDUCING], ids=repr)
def test_over_axis(case: Case, dtype: np.dtype[Any], nvrtc: Any) -> None:
    texts: dict[str, str] = {}
    plans: dict[str, tuple[RowSchedule, bool]] = {}
    for function in (case.function, case.function.vjp):
        definition = function.definition
        expression = definition.computed(dict(definition.options))
        for name, layout in LAYOUTS.items():
            lanes = 16 // dtype.itemsize if layout["aligned"] else 1
            how = schedule_rows(layout["n"], dtype, len(definition.arrays), inner=layout["inner"], lanes=lanes)
            assert how.packed == (dtype.itemsize == 2 and layout["n"] == 65536 // len(definition.arrays))
            own = f"{definition.identifier}_{name.replace(' ', '_')}"
            formula = KernelSpec(own, expression, definition.arrays, tuple(definition.hyperparameters), dtype)
            texts[kernel_name(own)] = axis_source(formula, how, masked=layout["masked"])
            plans[kernel_name(own)] = how, definition.reduces
    # The search for a threshold holds a row and the two sums of a step.
    spilled = SPILLED[dtype.name] if case.function is not sparsemax else 512
    text = together(list(texts.values()))
    assert dtype == np.float64 or not flushing(nvrtc, text)
    for architecture, compiled in compile_all(nvrtc, text, case).items():
        assert compiled.spilled <= spilled, architecture
        for name, (how, reduces) in plans.items():
            wide = how.lanes * dtype.itemsize == 16
            found = wide_accesses(compiled.of(name))
            assert (found["ld"] > 0, found["st"] > 0) == (wide, wide and not reduces), (name, architecture)
            if wide and how.accesses:
                arrays = 2 if ".vjp" in name or "_vjp_" in name else 1
                assert found["ld"] == how.accesses * arrays, (name, architecture)
                assert reduces or found["st"] >= how.accesses, (name, architecture)

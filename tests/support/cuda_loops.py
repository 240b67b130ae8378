"""The CUDA text of every elementwise function, in loops that run on the host."""

from __future__ import annotations

import ctypes
import itertools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from cases import ELEMENTWISE

from actufunc._catalogue import choices
from actufunc.backends.codegen import identifier

if TYPE_CHECKING:
    from actufunc import Activation
    from actufunc.formula.expression import Expression

DTYPES = ("float32", "float64")

# A double among floats is an error.
STRICT = ("-Wall", "-Wextra", "-Werror", "-Wdouble-promotion", "-Wfloat-conversion", "-Wno-unused")
# CUDA's compiler fuses a product and a sum into one operation where it likes, so this must do no harm.
FUSED = ("-ffp-contract=fast", "-mfma")


def can_fuse() -> bool:
    """Tell whether this processor has a fused multiply-add."""
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    return bool(re.search(r"^flags.*\bfma\b", flags, re.MULTILINE))


@dataclass(frozen=True)
class Kernel:
    """A function of the catalogue, or a derivative, for one set of options and one dtype."""

    function: Activation
    options: tuple[tuple[str, Any], ...]
    dtype: str

    def __repr__(self) -> str:
        return "-".join([self.function.__name__, *(str(value) for _, value in self.options), self.dtype])

    @property
    def symbol(self) -> str:
        return re.sub(r"\W", "_", repr(self))

    @property
    def expression(self) -> Expression:
        return self.function.definition.computed(dict(self.options))

    def source(self) -> str:
        return self.function.source("cuda", self.dtype, **dict(self.options))


def kernels() -> list[Kernel]:
    """Return every elementwise function, its derivatives by every argument, and their products with a cotangent."""
    found = []
    for activation_ in dict.fromkeys(case.function for case in ELEMENTWISE):
        values = choices(activation_)
        for function in (activation_, activation_.grad, activation_.vjp):
            given = values if function is activation_ else {**values, "wrt": activation_.definition.arguments}
            for chosen in itertools.product(*given.values()):
                found += [Kernel(function, tuple(zip(given, chosen, strict=True)), dtype) for dtype in DTYPES]
    return found


KERNELS = kernels()


def loop(kernel: Kernel) -> str:
    """Write the text in a namespace of its own, and a loop over it."""
    arguments = kernel.function.definition.arguments
    real = "double" if kernel.dtype == "float64" else "float"
    pointers = ", ".join(f"const {real} *{identifier(name)}" for name in arguments)
    elements = ", ".join(f"{identifier(name)}[k]" for name in arguments)
    name = f"actufunc_{kernel.function.__name__.replace('.', '_')}"
    return (
        f"namespace {kernel.symbol} {{\n{kernel.source()}}}\n"
        f'extern "C" void loop_{kernel.symbol}({pointers}, {real} *out, long size) {{\n'
        f"    for (long k = 0; k < size; k++) out[k] = static_cast<{real}>({kernel.symbol}::{name}({elements}));\n}}\n"
    )


def call(loop: Any, values: dict[str, np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    """Run a loop over arrays."""
    x = values["x"]
    out = np.empty_like(x)
    pointers = [ctypes.c_void_p(array.ctypes.data) for array in (*values.values(), out)]
    loop(*pointers, ctypes.c_long(x.size))
    return out

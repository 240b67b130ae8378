"""Results have the same bits on every instruction set, and in every layout."""

from __future__ import annotations

import functools
import json
import platform
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from cases import ELEMENTWISE, Case, representatives
from digests import DTYPES, bits, digests
from hypothesis import settings
from programs import run

from actufunc.accuracy import sample

if TYPE_CHECKING:
    from collections.abc import Callable

Array = np.ndarray[Any, Any]

# LLVM's names, and what a CPU needs to run such code. The first has no fused multiply-add: llvm.fma becomes a call of
# libm's fma, which rounds once as well, and takes 20 times as long or more.
INSTRUCTION_SETS = {
    "x86-64": ("sse2",),
    "x86-64-v3": ("avx2", "fma", "bmi2", "f16c"),
    "x86-64-v4": ("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"),
}
EVERYTHING = settings.get_current_profile_name() == "long"
WIDER = ["x86-64-v3", "x86-64-v4"] if EVERYTHING else ["x86-64-v3"]


@functools.cache
def here() -> dict[str, str]:
    """Digests on the CPU as it is."""
    return digests(DTYPES, everything=EVERYTHING)


@pytest.mark.skipif(platform.machine() not in {"x86_64", "AMD64"}, reason="names of x86")
@pytest.mark.parametrize("name", ["x86-64", *(pytest.param(each, marks=pytest.mark.slow) for each in WIDER)])
def test_same_bits_on_every_instruction_set(name: str) -> None:
    """Beside this CPU's own, values of functions that meet every operation.

    With ``--hypothesis-profile=long`` of all functions, their derivatives too, and one more name for AVX-512.
    """
    from llvmlite import binding

    present = binding.get_host_cpu_features()
    if missing := [feature for feature in INSTRUCTION_SETS[name] if not present.get(feature)]:
        pytest.skip(f"this CPU has no {', '.join(missing)}")
    found: dict[str, str] = {}
    for dtypes in [[dtype] for dtype in DTYPES] if EVERYTHING else [DTYPES]:  # a program has two minutes
        code = f"import json, digests; print(json.dumps(digests.digests({dtypes!r}, everything={EVERYTHING})))"
        found |= json.loads(run(code, NUMBA_CPU_NAME=name, NUMBA_CPU_FEATURES="", NUMBA_NUM_THREADS="1"))
    assert found.keys() == here().keys()
    assert [key for key, value in found.items() if value != here()[key]] == []


def spread(x: Array, step: int) -> Array:
    """Return a copy whose elements are so many places apart."""
    copy = np.zeros(x.size * abs(step), x.dtype)[::step]
    copy[...] = x
    return copy


def shifted(x: Array, by: int) -> Array:
    """Return a copy that starts so many bytes after a multiple of 64."""
    memory = np.zeros(x.nbytes + 128, np.uint8)
    start = -memory.ctypes.data % 64 + by
    copy = memory[start : start + x.nbytes].view(x.dtype)
    copy[...] = x
    return copy


def into(out: Array, case: Case, x: Array) -> Array:
    assert case(x, out=out) is out
    return out


WAYS: dict[str, Callable[[Case, Array], Array]] = {
    "strided": lambda case, x: case(spread(x, 3)),
    "reversed": lambda case, x: case(spread(x, -1)),
    "aligned": lambda case, x: case(shifted(x, 0)),
    "an element further": lambda case, x: case(shifted(x, x.itemsize)),
    "between the elements": lambda case, x: case(shifted(x, 1)),
    "into an array": lambda case, x: into(np.zeros_like(x), case, x),
    "into an array an element further": lambda case, x: into(shifted(x, x.itemsize), case, x),
    "into an array between the elements": lambda case, x: into(shifted(x, 1), case, x),
    "into a strided array": lambda case, x: into(spread(x, 3), case, x),
    "into a reversed array": lambda case, x: into(spread(x, -1), case, x),
    "in place": lambda case, x: into(y := x.copy(), case, y),
    "in pieces": lambda case, x: np.concatenate([case(piece) for piece in np.split(x, [1, 8, 31, 33, 100, 357, 870])]),
    "in columns": lambda case, x: case(np.asfortranarray(x.reshape(-1, 7))).ravel(),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", [*ELEMENTWISE, *(case.grad for case in representatives(ELEMENTWISE))], ids=repr)
def test_same_bits_however_elements_lie(case: Case, dtype: str) -> None:
    x = sample(dtype, 7 * 145)
    with np.errstate(all="ignore"):
        expected = bits(case(x))
        differ = [way for way, call in WAYS.items() if not np.array_equal(bits(call(case, x)), expected)]
    assert differ == []

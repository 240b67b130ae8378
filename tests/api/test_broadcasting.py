"""Operands of different dtypes that broadcast, down to 0-d arrays: the result on contiguous arrays of one dtype."""

from __future__ import annotations

import itertools
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from cases import ELEMENTWISE, Case

Array = np.ndarray[Any, Any]

DTYPES = [np.dtype(d) for d in ("?", "u1", "i1", "f2", ">f2", ml_dtypes.bfloat16, "f4", ">f4", "f8", ">f8")]
SHAPES: list[tuple[int, ...]] = [(), (1,), (1, 1), (2, 1), (3,), (2, 3)]

# One function for each number of operands and hyperparameters.
_OF_KINDS = {(len(c.function.definition.arrays), c.function.nin): c for e in ELEMENTWISE for c in (e.vjp, e)}
CASES = list(_OF_KINDS.values())


def numbers(rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Draw numbers that every dtype holds."""
    return np.asarray(rng.integers(0, 2, shape)).astype(dtype)


def as_if_alike(case: Case, arrays: list[Array], dtype: np.dtype[Any]) -> Array:
    """Compute the same on contiguous arrays of one dtype, so that nothing is cast or broadcast."""
    shape = np.broadcast_shapes(*(a.shape for a in arrays))
    alike = [np.broadcast_to(a.astype(dtype), shape).reshape(-1).copy() for a in arrays]
    return np.asarray(case(*alike)).reshape(shape)


def check(result: Any, expected: Array, message: str) -> None:
    """Compare, as float64: bfloat16 has no NaN that is equal to itself."""
    np.testing.assert_array_equal(np.asarray(result, np.float64), expected.astype(np.float64), err_msg=message)


def have_common(*dtypes: np.dtype[Any]) -> bool:
    """Tell whether dtypes promote to one."""
    try:
        return np.result_type(*dtypes) is not None
    except TypeError:
        return False


@pytest.mark.parametrize("case", CASES, ids=repr)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_operands(case: Case, dtype: np.dtype[Any]) -> None:
    """The first operand has one dtype and shape, the others have another, and so has an output."""
    rng = np.random.default_rng(0)
    others = case.function.nin - 1
    # Hyperparameters are arrays here.
    case = Case(case.function, tuple((key, value) for key, value in case.keywords if isinstance(value, str)))
    dtypes = [each for each in DTYPES if have_common(dtype, each)] if others else [dtype]
    for of_others, *shapes in itertools.product(dtypes, SHAPES, SHAPES if others else [()]):
        arrays = [numbers(rng, shapes[0], dtype), *(numbers(rng, shapes[1], of_others) for _ in range(others))]
        message = f"{dtype} {shapes[0]} beside {of_others} {shapes[1]}"
        with np.errstate(all="ignore"):  # hyperparameters of zero
            result = case(*arrays)
            expected = as_if_alike(case, arrays, result.dtype)
            check(result, expected, message)
            swapped = result.dtype if result.dtype == ml_dtypes.bfloat16 else result.dtype.newbyteorder()
            for mask in (np.array(True), np.array(False)):
                out = numbers(rng, result.shape, swapped)
                kept = out.copy()
                case(*arrays, out=out, where=mask)
                check(out, expected if mask else kept, f"{message}, masked by {mask}")

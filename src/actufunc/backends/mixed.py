"""NumPy arrays beside arrays of another library, which are converted if functions of that library accept them.

JAX's and dask's do; CuPy's, array-api-strict's and torch's do not: ``tensor * array`` is computed by NumPy, which
converts the tensor, and raises if the tensor requires a gradient.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import numpy as np
from array_api_compat import array_namespace

if TYPE_CHECKING:
    from actufunc._calling.call import Call


def to_one_library(call: Call, owners: dict[str, Any]) -> Call:
    """Return a call with the NumPy arrays of `call` converted to the other library of `owners`.

    `owners` has an array of each library of the call by the library's name. TypeError is raised if these libraries
    cannot be mixed.
    """
    name = call.definition.name
    if (array := _beside_numpy(owners)) is None or call.out is not None or _has_masked(call):
        names = " and ".join(sorted(owners))
        how = " (cupy.asarray brings one to the GPU, .get() back)" if owners.keys() == {"numpy", "cupy"} else ""
        raise TypeError(f"{name} got arrays of {names}; convert them to one library first{how}")
    asarray = array_namespace(array).asarray

    def converted(key: str, value: Any) -> Any:
        if not isinstance(value, np.ndarray):
            return value
        try:
            return asarray(value.astype(value.dtype.newbyteorder("="), copy=False))
        except (TypeError, ValueError, NotImplementedError) as error:
            library = next(iter(owners.keys() - {"numpy"}))
            raise TypeError(f"{name} got {value.dtype} for {key}, which {library} does not take") from error

    operands = {key: converted(key, value) for key, value in call.operands.items()}
    keywords = {key: converted(key, value) for key, value in call.keywords.items()}
    return dataclasses.replace(call, operands=operands, keywords=keywords)


def _beside_numpy(owners: dict[str, Any]) -> Any:
    """Return an array of the single library that is not NumPy if its functions accept NumPy's arrays, else None."""
    others = [array for name, array in owners.items() if name != "numpy"]
    return others[0] if len(others) == 1 and takes_numpy(array_namespace(others[0])) else None


def _has_masked(call: Call) -> bool:
    """Return True if an argument is a masked array, whose mask a conversion would lose."""
    return any(isinstance(value, np.ma.MaskedArray) for value in call.values())


@functools.cache
def takes_numpy(xp: Any) -> bool:
    """Return True if functions of a namespace accept NumPy's arrays beside its own."""
    try:
        own = xp.ones(1)
        return type(xp.multiply(own, np.ones(1, np.float32))) is type(own)
    except Exception:  # noqa: BLE001  # any error means no
        return False

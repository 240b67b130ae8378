"""Contracts of the functions of the vocabulary: what each of them promises, as data at its definition.

Formats are float64, or float32 in the module of that name. The errors are the largest that ``test_contracts.py``, run
as a program, has seen, 5 % added: it compares with mpmath at 100,000 points for each function, on all scales and around
every constant at which a function changes its method, and as many around the worst of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_Function = TypeVar("_Function", bound="Callable[..., Any]")

CONTRACTS: dict[Callable[..., Any], Contract] = {}


@dataclass(frozen=True)
class Contract:
    """Accuracy, domain and flags of a function, also with double words and a factor `times` below 2**700.

    Parameters
    ----------
    ulp : float
        Largest error in units of the last place of the result, or of the high word where the result is a double word.
        It holds for double words above 2**-860; below, the low word may be missing.
    flags : str
        Floating-point flags that finite arguments raise.
    in_vain : str
        Those of them that are raised even where the result is a normal number; see `actufunc.backends.numpy.jit.flags`.
    least : float
        Smallest argument that has a result; those below give NaN.
    """

    ulp: float
    flags: str = ""
    in_vain: str = ""
    least: float = -math.inf

    def __call__(self, function: _Function) -> _Function:
        """Note what a function promises: a contract is its decorator."""
        CONTRACTS[function] = self
        return function

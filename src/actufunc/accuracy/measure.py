"""Measurement of a function over all inputs: errors, correct rounding, documented properties.

float16, bfloat16 and float32 are compared with the same formula in float64, and with mpmath where that does not decide
whether a result is correctly rounded; float64 is compared with mpmath on a sample, which also bounds the error of the
reference of the other dtypes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from actufunc._docstrings import properties
from actufunc._threads import num_threads

from . import beside, ulp_error
from ._breakpoints import moved, neighbourhood, stratified
from ._exact import reference
from ._sample import sample, sample_rows
from .compare import RIGHT, UNDECIDED, WRONG, compare
from .findings import Findings
from .target import NEAR_ROOT, OF_TERMS, Target

if TYPE_CHECKING:
    from actufunc import Activation

    Array = np.ndarray[Any, Any]

__all__ = ["MAGNITUDES", "blocks", "float32", "float64", "half", "rows"]

MAGNITUDES = 1 << 31
"""Number of bit patterns of float32 without the sign, NaN included."""

_BLOCK = 1 << 24  # magnitudes after which a measurement can be resumed
_CHUNK = 1 << 16  # magnitudes whose arrays fit the second-level cache
_HALVES = 1 << 15  # magnitudes of the half types
_CORRECT = 0.5  # ulp
_TOLERANCE = 0.01  # of an error, between the reference in float64 and mpmath
_ASKED = {"float16": 1 << 12, "bfloat16": 1 << 12, "float32": 1 << 8}  # most undecided results that mpmath decides
_CLIMBERS, _CHILDREN = 50, 4  # worst cases from which worse ones are looked for, and tries from each at a time
_SHARE = 4  # of the size of the sample that the search may take
_LENGTHS = (2, 10, 130)  # of rows
_ORDINARY, _GATES = 1e30, 5.0


def blocks(stride: int) -> int:
    """Return the number of blocks of float32 numbers when one bit pattern in `stride` is tried."""
    return -(-MAGNITUDES // (stride * _BLOCK))


def float32(target: Target, block: int = 0, stride: int = 1) -> Findings:
    """Measure over float32 numbers, in one of the `blocks`: multiples of `stride`, as bit patterns, with both signs.

    Where the stride is not 1, the first block also has the neighbourhood of breakpoints.
    """
    # Freed at once: from then on glibc keeps as much for the arrays of the chunks, instead of handing their memory back
    # to the operating system and taking it again at each of them.
    np.empty(_BLOCK, np.uint8)
    tally = _Tally(target, np.dtype(np.float32))
    with num_threads(1), np.errstate(all="ignore"):
        end = min((block + 1) * _BLOCK, -(-MAGNITUDES // stride))
        for start in range(block * _BLOCK, end, _CHUNK):
            numbers = np.arange(start - 1, min(start + _CHUNK, end))
            tally.add(numbers * stride)
        if not block:
            target.check_special_values(tally.dtype, tally.found)
            if stride > 1:
                near = np.unique(np.abs(neighbourhood(target.breakpoints, np.float32)).view(np.int32))
                tally.add(np.concatenate([[-1], near]))
        return tally.finish()


def half(target: Target, dtype: np.dtype[Any]) -> Findings:
    """Measure over all numbers of float16 or bfloat16.

    Results that are not correctly rounded are violations of "rounding".
    """
    tally = _Tally(target, dtype)
    with num_threads(1), np.errstate(all="ignore"):
        tally.add(np.arange(-1, _HALVES))
        target.check_special_values(dtype, tally.found)
        return tally.finish()


class _Tally:
    """Comparison of results, chunk by chunk, with the formula in float64."""

    def __init__(self, target: Target, dtype: np.dtype[Any]) -> None:
        self.target, self.dtype = target, dtype
        self.found = Findings()
        self._asked = _ASKED[dtype.name]
        self._undecided: list[Array] = []

    def add(self, magnitudes: Array) -> None:
        """Add ascending bit patterns, with both signs. The first is only the neighbour of the second; -1 precedes 0."""
        word = np.dtype(f"u{self.dtype.itemsize}").type
        sign = word(1 << (8 * self.dtype.itemsize - 1))
        bits = magnitudes.astype(word)
        bits[:1] = np.where(magnitudes[:1] < 0, sign, bits[:1])  # a zero is preceded by that of the other sign
        up, down = (self._compare((bits ^ flipped).view(self.dtype)) for flipped in (word(0), sign))
        self.target.check_properties(up, down, self.found)

    def _compare(self, x: Array) -> tuple[Array, Array]:
        target, found = self.target, self.found
        y = target(x).astype(np.float32, copy=False)
        exact = target.in_float64(x.astype(np.float64))
        cut = 1 + int(np.searchsorted(np.abs(x[1:]).astype(np.float32), NEAR_ROOT, "right")) if target.has_root else 1
        for part, terms in ((slice(1, cut), OF_TERMS), (slice(cut, None), 0.0)):
            inputs, verdicts = x[part], np.empty(y[part].size, np.uint8)
            if not inputs.size:
                continue
            errors = compare(y[part], exact[part], self.dtype.name, verdicts, beside=terms)
            found.see(errors.ulp, float(inputs[errors.place]))
            found.see_plain(errors.plain_ulp, float(inputs[errors.plain_place]))
            found.inputs += inputs.size
            found.right += int(np.count_nonzero(verdicts == RIGHT))
            if (undecided := verdicts == UNDECIDED).any():
                found.undecided += int(np.count_nonzero(undecided))
                if found.undecided <= self._asked:
                    self._undecided.append(inputs[undecided])
            self._check_rounding(inputs, verdicts == WRONG)
        return x, y

    def _check_rounding(self, x: Array, wrong: Array) -> None:
        if self.dtype.name != "float32":
            self.found.violate_at("rounding", x[wrong])

    def finish(self) -> Findings:
        """Decide with mpmath what is undecided, and check the largest errors."""
        found, target = self.found, self.target
        if 0 < found.undecided <= self._asked:
            x = np.concatenate(self._undecided)
            wrong = target.errors(x)[1] > _CORRECT
            found.right += int(np.count_nonzero(~wrong))
            found.undecided = 0
            self._check_rounding(x, wrong)
        errors = target.errors(np.array([found.at, found.plain_at], self.dtype))
        judged, plain = errors[0][0], errors[1][1]
        for seen, shown, at in ((found.ulp, judged, found.at), (found.plain_ulp, plain, found.plain_at)):
            if seen != shown and not abs(seen - shown) <= _TOLERANCE * (1 + shown):
                found.violate("reference", 1, [at])
        found.ulp, found.plain_ulp = float(judged), float(plain)
        return found


def float64(target: Target, points: int) -> Findings:
    """Measure over a sample of float64: of all binades, next to breakpoints, and a search for worst cases.

    `points` is the size of the sample; the search tries about a quarter as many more. From 16,500 on it has every
    binade.
    """
    x = stratified(target.breakpoints, points)
    judged, plain = target.errors(x)
    random = np.random.default_rng(0)
    for _ in range(max(1, points // (_SHARE * _CLIMBERS * _CHILDREN))):
        best = np.argsort(judged)[-_CLIMBERS:]
        further = np.unique(moved(random, np.repeat(x[best], _CHILDREN)))
        errors = target.errors(further)
        x, judged, plain = map(np.concatenate, zip((x, judged, plain), (further, *errors), strict=True))
    found = _found(x, judged, plain)
    magnitudes = np.concatenate([[-0.0], np.unique(np.abs(x[~np.isnan(x)]))])
    with num_threads(1), np.errstate(all="ignore"):
        up, down = ((each, target(each)) for each in (magnitudes, -magnitudes))
        target.check_properties(up, down, found)
        target.check_special_values(x.dtype, found)
    return found


def rows(function: Activation, dtype: str, points: int, **keywords: Any) -> Findings:
    """Measure a function over an axis, or a gated unit, over a sample of `points` elements against mpmath.

    `dtype` is float32 or float64. A gated unit is measured as a function of the two parts, where neither the activation
    of the gate nor the product is subnormal.
    """
    if function.halves:
        x = sample(dtype, points)
        x = x[np.abs(x) <= _ORDINARY]
        gate = np.random.default_rng(0).uniform(-_GATES, _GATES, x.size).astype(dtype)
        return _of_rows(function.halves[0], x, {**keywords, "gate": gate})
    found = Findings()
    for length in _LENGTHS:
        count = max(1, points // (len(_LENGTHS) * length))
        found.add(_of_rows(function, sample_rows(dtype, count, length), keywords))
    return found


def _of_rows(function: Activation, x: Array, keywords: dict[str, Any]) -> Findings:
    inputs = x[:, 0] if function.definition.reduces else x.ravel()
    with np.errstate(all="ignore"):
        values = function(x, **keywords)
    exact = reference(function, x, **keywords)
    judged, plain = (ulp_error(values, exact, beside=terms).ravel() for terms in (beside(function), 0.0))
    found = _found(inputs, judged, plain)
    documented = properties(function, **keywords)
    outside = ((values < documented.low) | (values > documented.high)).ravel()
    found.violate_at("range", inputs[outside])
    return found


def _found(x: Array, judged: Array, plain: Array) -> Findings:
    worst, plain_worst = int(np.argmax(judged)), int(np.argmax(plain))
    return Findings(
        inputs=x.size,
        right=int(np.count_nonzero(plain <= _CORRECT)),
        ulp=float(judged[worst]),
        at=float(x[worst]),
        plain_ulp=float(plain[plain_worst]),
        plain_at=float(x[plain_worst]),
    )

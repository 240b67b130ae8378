"""Containers, and the outcome of calls on them: the cells of the table of `containers.py`.

A container is described by how it is made of values and how these are read back. All get the same calls, and the right
results are those of NumPy arrays of the values.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import re
import warnings
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import actufunc

if TYPE_CHECKING:
    from collections.abc import Callable

Array = np.ndarray[Any, Any]


class Verdict(Enum):
    """Verdicts on calls, the best first."""

    SAME = "same kind back"
    CONVERTED = "converted"
    REFUSED = "clear error"
    UNCLEAR = "unclear error"
    WRONG = "wrong"

    def __lt__(self, other: Verdict) -> bool:
        order = list(Verdict)
        return order.index(self) < order.index(other)


class Outcome(NamedTuple):
    """A verdict, with the type of the result or the message of the error."""

    verdict: Verdict
    detail: str
    differs: bool = False  # True if other calls of the column are not refused


@dataclass(frozen=True)
class Container:
    """A kind of container: how to make, call and read one.

    Attributes
    ----------
    make : callable
        Makes a container of a NumPy array.
    read : callable
        Returns its values as a NumPy array, with NaN for missing values.
    make_out : callable, or None
        Makes a container for ``out=``, if `make` does not.
    shape : tuple
        Shape of the values.
    axes : tuple
        Axes that are tried; only the last if rows are groups.
    kind : callable
        Returns the property of a container that its results must share.
    missing : bool
        True if NaN means a missing value, which a result may skip or propagate.
    has_meaning : bool
        False if all functions must refuse it, such as a quantity in metres.
    apply : callable
        Calls a function with operands and keywords, for instance within a transformation.
    gradient : callable, or None
        Returns the gradient of a call at `x` for the cotangent `g`, by the differentiation of the library; None if it
        has none, or has lost it.
    rtol : float
        Relative tolerance.
    """

    make: Callable[[Array], Any]
    read: Callable[[Any], Any] = np.asarray
    make_out: Callable[[Array], Any] | None = None
    shape: tuple[int, ...] = (3, 4)
    axes: tuple[int, ...] = (-1, 0)
    kind: Callable[[Any], Any] = type
    missing: bool = False
    has_meaning: bool = True
    apply: Callable[..., Any] = lambda function, *operands, **keywords: function(*operands, **keywords)
    gradient: Callable[[Callable[[Any], Any], Any, Any], Any] | None = None
    rtol: float = 1e-6

    def values(self, seed: int) -> Array:
        """Return values of a container, rounded as it holds them."""
        values = np.random.default_rng(seed).normal(scale=2.0, size=self.shape)
        if self.missing:  # at the end of the first row
            values.reshape(-1)[self.shape[-1] - 1] = np.nan
        held = np.asarray(self.read(self.make(values)), np.float64)
        assert held.shape == values.shape, f"{held.shape}, not {values.shape}"
        np.testing.assert_allclose(held, values, atol=0.51, rtol=0)  # integers are rounded
        return held


@dataclass(frozen=True)
class TableRow:
    """A row of the table: the libraries that it needs, and the function that makes its container."""

    name: str
    needs: tuple[str, ...]
    process: str
    build: Callable[..., Container]

    @property
    def is_installed(self) -> bool:
        """True if all its libraries are installed."""
        return all(map(_is_found, self.needs))


def _is_found(module: str) -> bool:
    return importlib.util.find_spec(module.partition(".")[0]) is not None


class NotHereError(Exception):
    """A library is installed, but cannot be used on this machine."""


ROWS: dict[str, TableRow] = {}


def row(name: str, *needs: str, process: str = "") -> Callable[[Callable[..., Container]], Callable[..., Container]]:
    """Register a function that takes the modules `needs` and returns a container as a row.

    Rows of the same `process` are tried in one process.
    """

    def register(build: Callable[..., Container]) -> Callable[..., Container]:
        ROWS[name] = TableRow(name, needs, process or "light", build)
        return build

    return register


@dataclass(frozen=True)
class Trial:
    """A call of a function: the operands are containers of values, the keywords go to the function."""

    function: Any
    operands: int = 1
    keywords: tuple[tuple[str, Any], ...] = ()
    into: bool = False
    by_name: str = ""

    def __str__(self) -> str:
        more = [f"{key}={value!r}" for key, value in self.keywords]
        names = ["x", "g" if self.function.__name__.endswith("vjp") else self.by_name or "y"][: self.operands]
        return f"{self.function.__name__}({', '.join([*names, *more, *(['out=out'] if self.into else [])])})"

    def call(self, *operands: Any, **more: Any) -> Any:
        """Call the function."""
        keywords = dict(self.keywords) | more
        if self.by_name:
            keywords[self.by_name], operands = operands[1], operands[:1]
        return self.function(*operands, **keywords)


def _trial(function: Any, operands: int = 1, *, into: bool = False, by_name: str = "", **keywords: Any) -> Trial:
    return Trial(function, operands, tuple(keywords.items()), into, by_name)


_AXES = (-1, 0)
COLUMNS: dict[str, tuple[Trial, ...]] = {
    "elementwise": (
        _trial(actufunc.sigmoid),
        _trial(actufunc.gelu),
        _trial(actufunc.mish),
        _trial(actufunc.silu, beta=2.0),
    ),
    "array hyperparameter": (
        _trial(actufunc.prelu, 2),
        _trial(actufunc.silu, 2, by_name="beta"),
    ),
    "axis": (
        *(_trial(f, axis=axis) for f in (actufunc.softmax, actufunc.log_softmax, actufunc.sparsemax) for axis in _AXES),
        _trial(actufunc.softmax),
        _trial(actufunc.softmax.vjp, 2, axis=-1),
    ),
    "reducing": tuple(_trial(actufunc.logsumexp, axis=axis) for axis in _AXES),
    "gated": (
        *(_trial(f, axis=-1) for f in (actufunc.glu, actufunc.swiglu)),
        _trial(actufunc.swiglu),
    ),
    "grad": (
        _trial(actufunc.sigmoid.grad),
        _trial(actufunc.mish.grad),
        _trial(actufunc.silu.grad, wrt="beta"),
    ),
    "vjp": (_trial(actufunc.sigmoid.vjp, 2), _trial(actufunc.gelu.vjp, 2)),
    "out=": (_trial(actufunc.sigmoid, into=True), _trial(actufunc.gelu, into=True)),
}


def try_row(container: Container) -> dict[str, Outcome | None]:
    """Return the worst outcome of each column; None if no call is possible."""
    found: dict[str, Outcome | None] = {}
    for column, trials in COLUMNS.items():
        outcomes = [outcome for trial in trials if (outcome := try_call(container, trial)) is not None]
        found[column] = _worst(outcomes) if outcomes else None
    return found


def _worst(outcomes: list[Outcome]) -> Outcome:
    worst = max(outcomes, key=lambda outcome: list(Verdict).index(outcome.verdict))
    return worst._replace(differs=any(outcome.verdict < Verdict.REFUSED for outcome in outcomes))


def try_call(container: Container, trial: Trial) -> Outcome | None:
    """Return the outcome of a call, and of its gradient; None if NumPy cannot compute the call."""
    if dict(trial.keywords).get("axis", -1) not in container.axes:
        return None
    values = [container.values(seed) for seed in range(trial.operands)]
    try:
        expected = [np.asarray(trial.call(*values))]
    except (TypeError, ValueError):  # a scalar cannot be split
        return None
    if container.missing:
        with contextlib.suppress(TypeError):  # halves of masked arrays
            skipped = trial.call(*map(np.ma.masked_invalid, values))
            expected.append(np.ma.filled(skipped, np.nan))
    outcomes = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outcomes.append(_judge(container, trial, values, expected))
        if container.gradient is not None and not trial.into and hasattr(trial.function, "vjp"):
            outcomes.append(_judge_gradient(container, trial, values, expected[0]))
    worst = _worst(outcomes)
    return worst._replace(differs=False, detail=f"{trial}: {worst.detail}")


def _judge(container: Container, trial: Trial, values: list[Array], expected: list[Array]) -> Outcome:
    operands = [container.make(value) for value in values]
    call, more = trial.call, {}
    if trial.into:
        more["out"] = (container.make_out or container.make)(before := np.zeros(container.shape))
    try:
        result = container.apply(call, *operands, **more)
        if trial.into and result is None:  # some libraries return nothing then, as from NumPy's functions
            result = more["out"]
        found = _values(container, result)
    except Exception as error:  # noqa: BLE001 -- any is judged
        if trial.into and not np.array_equal(_values(container, more["out"]), before):
            return Outcome(Verdict.WRONG, f"wrote before it said {error}")
        return refusal(trial.function.__name__, error, operands[0])
    if not container.has_meaning:
        return Outcome(Verdict.WRONG, f"gave {found.reshape(-1)[:4]}")
    if not any(_agree(found, each, container.rtol) for each in expected):
        return Outcome(Verdict.WRONG, f"gave {found.shape} {found.reshape(-1)[:4]}, not {expected[0].reshape(-1)[:4]}")
    if trial.into and not _agree(_values(container, more["out"]), expected[0], container.rtol):
        return Outcome(Verdict.WRONG, "did not write to out")
    kind, came = container.kind(operands[0]), container.kind(result) if _is_of(result, operands[0]) else type(result)
    return Outcome(Verdict.SAME if came == kind else Verdict.CONVERTED, type(result).__name__)


def _is_of(result: Any, operand: Any) -> bool:
    return isinstance(result, type(operand))


def _judge_gradient(container: Container, trial: Trial, values: list[Array], result: Array) -> Outcome:
    cotangent = np.random.default_rng(9).normal(size=result.shape)
    others = [container.make(value) for value in values[1:]]
    assert container.gradient is not None
    if trial.by_name:
        expected = trial.function.vjp(values[0], cotangent, **{trial.by_name: values[1]}, **dict(trial.keywords))
    else:
        expected = trial.function.vjp(values[0], cotangent, *values[1:], **dict(trial.keywords))
    try:
        found = container.gradient(lambda x: container.apply(trial.call, x, *others), values[0], cotangent)
    except Exception as error:  # noqa: BLE001
        return refusal(trial.function.__name__, error, others)
    if found is None:
        return Outcome(Verdict.WRONG, "the gradient is lost")
    found = np.asarray(found)
    if not _agree(found, expected, container.rtol):
        return Outcome(Verdict.WRONG, f"its gradient is {found.reshape(-1)[:4]}, not {expected.reshape(-1)[:4]}")
    return Outcome(Verdict.SAME, "gradient")


def _values(container: Container, result: Any) -> Array:
    """Read a result, whatever it has become."""
    plain = isinstance(result, float | np.number) or (type(result) is np.ndarray and result.dtype.kind in "biuf")
    return np.asarray(result if plain else container.read(result), np.float64)


def _agree(found: Array, expected: Array, rtol: float) -> bool:
    return found.shape == expected.shape and np.allclose(found, expected, rtol=rtol, atol=rtol, equal_nan=True)


_ADVICE = re.compile(
    r"\b(convert\w*|pass|use|call|give|fill|drop|compute|supports?|supported|takes?|must|needs?|expected?|only|instead|first"
    r"|dimensionless|immutable|mutable|read-only|cannot)\b",
    re.IGNORECASE,
)
_INSIDE = re.compile(
    r"has no attribute|incompatible function|unexpected keyword|NoneType|issue on|bug report|recursion|unhashable"
)
_LONGEST = 400
_OBJECT = re.compile(r"\bobject for\b")


def refusal(name: str, error: BaseException, operand: Any) -> Outcome:
    """Judge an error: clear is a TypeError or ValueError that says what to do, also where the library quotes it."""
    text = str(error)
    quoted = re.search(rf"(Type|Value)Error\b.*\b{re.escape(name)}\b", text, re.DOTALL) is not None
    clear = (isinstance(error, TypeError | ValueError | NotImplementedError) or quoted) and _ADVICE.search(text)
    if _INSIDE.search(text) or (_OBJECT.search(text) and not isinstance(operand, np.ndarray)):  # no dtype of theirs
        clear = False
    detail = f"{type(error).__name__}: {' '.join(text.split())}"
    return Outcome(Verdict.REFUSED if clear else Verdict.UNCLEAR, detail[:_LONGEST])


def build(name: str) -> Container:
    """Import what a row needs, and return its container."""
    entered = ROWS[name]
    return entered.build(*map(importlib.import_module, entered.needs))

"""The cost of the second and later calls on a small NumPy array, in microseconds, for all kinds of arguments.

``python benchmarks/overhead.py [function ...]`` times all combinations of ways to call (value, derivatives, options,
masks, axes), dtypes, layouts and keywords on arrays of eight elements, the kernel included, beside `np.exp` of such an
array, and shows the slowest ten. By default that is one function of every kind, which takes a few minutes.
"""

from __future__ import annotations

import inspect
import itertools
import sys
import time
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

import actufunc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

X = np.array([[-2.0, -0.5, 0.25, 1.5], [3.0, -1.0, 0.5, 0.125]])

DTYPES: dict[str, Any] = {
    "bool": np.bool_,
    "int8": np.int8,
    "uint64": np.uint64,
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
    "float32": np.float32,
    "float64": np.float64,
    "big-endian float32": np.dtype(">f4"),
    "big-endian float64": np.dtype(">f8"),
}

LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "C": lambda x: x,
    "F": np.asfortranarray,
    "reversed": lambda x: x[::-1],
    "gaps": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
    "broadcast": lambda x: np.broadcast_to(x[:1], x.shape),
    "scalar": lambda x: x[0, 0],
    "0-d": lambda x: x[0, :1].reshape(()),
    "unaligned": lambda x: np.frombuffer(b" " + x.tobytes(), np.uint8)[1:].view(x.dtype).reshape(x.shape),
}

KEYWORDS: dict[str, dict[str, Any]] = {
    "": {},
    "out": {"out": "like"},
    "in place": {"out": "in place"},
    "out of float64": {"out": "float64"},
    "out and where": {"out": "float64", "where": X > 0},
    "dtype": {"dtype": np.float32, "casting": "unsafe"},
    "dtype and order": {"dtype": "float64", "order": "F"},
    "subok and order": {"subok": False, "order": "C"},
}

_COTANGENTS: dict[str, Callable[[Any], Any]] = {
    "over an axis": lambda x: x,
    "reducing": lambda x: x.flat[0],
    "gated": lambda x: x[..., : x.shape[-1] // 2],
}
"""Cotangents of a vjp, which take little time to make."""

_REPEATS, _CALLS = 7, 30


@dataclass(frozen=True)
class Combination:
    """A way to call a function, with its arguments."""

    function: str
    way: str
    dtype: str
    layout: str
    keywords: str
    call: Callable[..., Any]

    def arguments(self) -> tuple[Any, dict[str, Any]]:
        """Return a new array and keywords."""
        x = LAYOUTS[self.layout](X.astype(DTYPES[self.dtype]))
        keywords = dict(KEYWORDS[self.keywords])
        if keywords.get("out") == "like":
            keywords["out"] = np.empty(np.shape(x), x.dtype)
        elif keywords.get("out") == "in place":
            x = keywords["out"] = np.array(x)
        elif keywords.get("out") == "float64":
            keywords["out"] = np.zeros(X.shape)
        return x, keywords


def ways(function: Any) -> dict[str, Callable[..., Any]]:
    """Return ways to call an activation with an array and keywords."""
    definition = function.definition
    missing = {name: 0.5 for name, default in definition.hyperparameters.items() if default is inspect.Parameter.empty}
    found: dict[str, Callable[..., Any]] = {"value": lambda x, **k: function(x, **missing, **k)}
    if definition.kind == "elementwise":
        found["grad"] = lambda x, **k: function.grad(x, **missing, **k)
        found["vjp"] = lambda x, **k: function.vjp(x, x, **missing, **k)
        found["vjp of a row of float32"] = lambda x, **k: function.vjp(x, X.astype("f")[0], **missing, **k)
        if definition.hyperparameters:
            first, *rest = definition.hyperparameters
            others = dict.fromkeys(rest, 0.5)
            for name, value in {"number": 0.25, "NumPy number": np.float32(0.25), "array": X}.items():
                found[name] = lambda x, given=value, **k: function(x, **{first: given}, **others, **k)
    else:
        cotangent = _COTANGENTS["reducing" if definition.reduces else definition.kind]
        found["axis 0"] = lambda x, **k: function(x, 0, **k)
        found["vjp"] = lambda x, **k: function.vjp(x, cotangent(x), **k)
    if definition.kind == "gated":
        found["x and gate"] = lambda x, **k: function(x, gate=x, **k)
    elif definition.kind != "elementwise":
        found["all axes"] = lambda x, **k: function(x, axis=(0, 1), **k)
        found["mask"] = lambda x, **k: function(x, where=X > -1, **k)
    return found


def combinations(functions: list[Any]) -> Iterator[Combination]:
    """Yield all combinations, some of which are errors."""
    for function in functions:
        for way, call in ways(function).items():
            for dtype, layout, keywords in itertools.product(DTYPES, LAYOUTS, KEYWORDS):
                yield Combination(function.__name__, way, dtype, layout, keywords, call)


def seconds(call: Callable[[], object]) -> float:
    """Return the shortest time of a call, the first two left out."""
    call()
    call()
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        for _ in range(_CALLS):
            call()
        times.append((time.perf_counter() - start) / _CALLS)
    return min(times)


def main() -> int:
    """Measure and print.

    Returns
    -------
    int
        Exit status.
    """
    names = sys.argv[1:] or ["sigmoid", "gelu", "relu", "elu", "prelu", "softmax", "logsumexp", "glu"]
    console = Console(highlight=False)
    found: list[tuple[float, Combination]] = []
    every = list(combinations([getattr(actufunc, name) for name in names]))
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for each in track(every, console=console, transient=True, disable=not console.is_terminal):
            x, keywords = each.arguments()
            try:
                found.append((seconds(lambda: each.call(x, **keywords)), each))  # noqa: B023 -- called at once
            except (TypeError, ValueError, IndexError):
                continue
        base = seconds(lambda: np.exp(X))
    times = sorted(taken for taken, _ in found)
    title = (
        f"{len(found):,} ways to call {', '.join(names)} on eight elements, in microseconds; np.exp: {base * 1e6:.2f}"
    )
    table = Table("function", "call", "dtype", "layout", "keywords", "us", title=title, box=box.SIMPLE_HEAD)
    for taken, each in sorted(found, key=lambda pair: -pair[0])[:10]:
        table.add_row(each.function, each.way, each.dtype, each.layout, each.keywords, f"{taken * 1e6:.2f}")
    console.print(table)
    shares = {f"{share:.0%}": times[int(share * (len(times) - 1))] for share in (0.5, 0.9, 0.99, 1.0)}
    console.print("; ".join(f"{share} take at most {taken * 1e6:.2f}" for share, taken in shares.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())

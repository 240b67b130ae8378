"""Curves of functions and their derivatives, in one panel for each function."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from actufunc.cli._errors import stop

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actufunc import Activation

    Array = np.ndarray[Any, Any]
    Curve = Callable[[Array], Array]
    Chosen = tuple[Activation, dict[str, Any]]

_NEAR, _FAR = 5, 8  # largest |x|; the larger for functions with a jump between
_STEPS = 160  # per unit of x; a power of two times 5, so that 0, 0.5 and other kinks are sampled exactly
_HALVINGS = 60
_JUMP = 1e-6  # relative to the largest value
_HUGE = 1e100  # larger values would overflow in Matplotlib's arithmetic
_GAP = 0.1  # on both sides of a point where a derivative does not exist
_SLOPES = 3  # the least range by which derivatives may exceed that of the value
_MARGIN = 0.06
_LEGEND = 4.2  # inches, the width of the legend

# Blue, vermilion and green of Okabe and Ito, which the colour-blind distinguish; thinner lines do not hide others.
_LINES: tuple[dict[str, Any], ...] = (
    {"label": "value", "color": "#0072b2", "linewidth": 1.6},
    {"label": "first derivative", "color": "#d55e00", "linewidth": 0.8},
    {"label": "second derivative", "color": "#009e73", "linewidth": 0.7, "linestyle": (0, (3, 1.5))},
)


@dataclass(frozen=True)
class _Layout:
    """Layout of a figure, in inches and points."""

    columns: int
    width: float
    height: float
    font: float
    line: float
    curves: int
    letters: int


_LARGE = _Layout(columns=3, width=3.2, height=2.5, font=9, line=1.4, curves=3, letters=50)
_SMALL = _Layout(columns=6, width=1.5, height=1.2, font=6.5, line=1.1, curves=2, letters=24)


def takes_rows(function: Activation) -> bool:
    """Return True if a function takes rows of numbers instead of one number."""
    return function.definition.over_axis or function.definition.gated


def title(function: Activation, keywords: dict[str, Any]) -> str:
    """Return the name of a function with its hyperparameters."""
    settings = ", ".join(f"{name}={value}" for name, value in keywords.items())
    return f"{function.__name__}({settings})" if settings else function.__name__


def curves(function: Activation, keywords: dict[str, Any]) -> tuple[str, list[Curve]]:
    """Return a title, and value and derivatives as functions of a one-dimensional array.

    An elementwise function has two derivatives. A function over an axis is shown by its first result for ``[x, 0]``, a
    gated unit by its result for ``[1, x]``, both with the first derivative only.
    """
    if not takes_rows(function):
        of = (function, function.grad, function.grad.grad)
        return title(function, keywords), [partial(each, **keywords) for each in of]
    varied, other = (1, 1.0) if function.definition.gated else (0, 0.0)

    def rows(x: Array) -> Array:
        filled = np.full((x.size, 2), other)
        filled[:, varied] = x
        return filled

    def value(x: Array) -> Array:
        return _first(function(rows(x), **keywords))

    def slope(x: Array) -> Array:
        g = np.zeros_like(function(rows(x), **keywords))
        _first(g)[...] = 1
        result: Array = function.vjp(rows(x), g, **keywords)
        return result[:, varied]

    row = "([1, x])" if varied else "([x, 0])"
    chosen = "" if function(rows(np.zeros(1)), **keywords).size == 1 else "[0]"
    return f"{title(function, keywords)}{row}{chosen}", [value, slope]


def _first(result: Array) -> Array:
    """Return the first result of each row, also if it is the only one, with or without its axis."""
    return result if result.ndim == 1 else result[:, 0]


def sample(curve: Curve, x: Array) -> tuple[Array, Array, Array]:
    """Return increasing `x` and the values of a curve, with three more points at each jump, and the jumps.

    The points are on the left of the jump, NaN, and on its right. A jump is a point around which values differ at any
    distance.
    """

    def compute(x: Array) -> Array:
        with np.errstate(all="ignore"):
            y = curve(x)
        return np.where(np.abs(y) < _HUGE, y, np.nan)

    y = compute(x)
    left, right, below, above = x[:-1], x[1:], y[:-1], y[1:]
    for _ in range(_HALVINGS):
        middle = (left + right) / 2
        between = compute(middle)
        in_left = np.abs(between - below) > np.abs(above - between)
        left, below = np.where(in_left, left, middle), np.where(in_left, below, between)
        right, above = np.where(in_left, middle, right), np.where(in_left, between, above)
    (at,) = np.nonzero(np.abs(above - below) > _JUMP * np.abs(y[np.isfinite(y)]).max(initial=0))
    places = np.repeat(at + 1, 3)
    more_x = np.column_stack([left, right, right])[at].ravel()
    more_y = np.column_stack([below, np.full_like(below, np.nan), above])[at].ravel()
    return np.insert(x, places, more_x), np.insert(y, places, more_y), right[at]


def draw(chosen: Sequence[Chosen], *, small: bool) -> Any:
    """Return a figure with a panel for each function, `small` ones without second derivatives."""
    from matplotlib import rc_context  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    layout = _SMALL if small else _LARGE
    columns = 2 if len(chosen) == 4 else min(layout.columns, len(chosen))  # noqa: PLR2004 -- rather than three and one
    rows = math.ceil(len(chosen) / columns)
    with rc_context({"font.size": layout.font}):
        size = max(_LEGEND, columns * layout.width), rows * layout.height + 0.3
        figure = Figure(size, layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        lines = [_panel(axes, *each, layout) for axes, each in zip(grid, chosen, strict=False)]
        for axes in grid[len(chosen) :]:
            axes.set_axis_off()
        figure.legend(handles=max(lines, key=len), loc="outside upper center", ncols=layout.curves)
    return figure


def _panel(axes: Any, function: Activation, keywords: dict[str, Any], layout: _Layout) -> list[Any]:
    """Draw one panel, and return the lines for the legend."""
    name, of = curves(function, keywords)
    sampled, jumps = _sampled(of[: layout.curves])
    start, end = _range(*sampled[0], jumps)
    shown = [(x[within], y[within]) for x, y in sampled for within in [(x >= start) & (x <= end)]]
    low, high = _limits([y for _, y in shown])
    if not low <= high:
        stop(f"{name} has no value to draw: it is not finite for any x from {start:g} to {end:g}")
    for zero in (axes.axhline, axes.axvline):
        zero(0, color="0.85", linewidth=0.6, zorder=1)
    margin = _MARGIN * (high - low) or 1
    axes.set_title(name if len(name) <= layout.letters else name.replace("(", "\n(", 1))
    axes.set(xlim=(start, end), ylim=(low - margin, high + margin), xticks=(start, (start + end) / 2, end))
    axes.locator_params(axis="y", nbins=4)
    axes.tick_params(length=2, pad=2)
    styles = [{**line, "linewidth": line["linewidth"] * layout.line} for line in _LINES]
    return [axes.plot(x, y, **style)[0] for (x, y), style in zip(shown, styles, strict=False)]


def _sampled(of: Sequence[Curve]) -> tuple[list[tuple[Array, Array]], Array]:
    """Sample a value and its derivatives; where one of them jumps, the next does not exist."""
    grid = np.arange(-_FAR * _STEPS, _FAR * _STEPS + 1) / _STEPS
    found, jumps = [], np.empty(0)
    for curve in of:
        x, y, more = sample(curve, grid)
        gap = np.abs(x[:, None] - jumps).min(axis=1, initial=np.inf) < _GAP
        found.append((x, np.where(gap, np.nan, y)))
        jumps = np.append(jumps, more)
    return found, jumps


def _range(x: Array, y: Array, jumps: Array) -> tuple[float, float]:
    """Choose a range of x that includes the jumps and excludes infinite values."""
    reach = _FAR if np.any(np.abs(jumps) > _NEAR) else _NEAR
    domain = x[np.isfinite(y) & (np.abs(x) <= reach)]
    return (math.floor(domain[0]), math.ceil(domain[-1])) if domain.size > 1 else (-reach, reach)


def _limits(values: Sequence[Array]) -> tuple[float, float]:
    """Choose a range of y: that of the value, and for derivatives, which may have poles, at most three times that."""
    value, *derivatives = (y[np.isfinite(y)] for y in values)
    if not value.size:
        return math.inf, -math.inf
    low, high = value.min(), value.max()
    span = max(_SLOPES, high - low)
    every = np.concatenate([value, *derivatives]).clip(low - span, high + span)
    return every.min(), every.max()

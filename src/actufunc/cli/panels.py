"""One panel per function: its value and its derivatives."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from .problem import stop

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actufunc import Activation

    Array = np.ndarray[Any, Any]
    Curve = Callable[[Array], Array]
    Chosen = tuple[Activation, dict[str, Any]]

_NEAR, _FAR = 5, 8  # half of the range of x; the larger for who has a kink between
_STEPS = 160  # per unit of x; a power of two times 5, so that 0, 0.5 and other places of kinks are hit exactly
_HALVINGS = 60
_JUMP = 1e-6  # over the largest of the values
_HUGE = 1e100  # beyond which Matplotlib's arithmetic would overflow
_GAP = 0.1  # on both sides of where a derivative does not exist
_SLOPES = 3  # by which a derivative may leave the range of the value in any panel
_MARGIN = 0.06
_LEGEND = 4.2  # inches that it is wide

# Blue, vermilion and green of Okabe and Ito, which the colour-blind tell apart; thinner, lest one hide another.
_LINES: tuple[dict[str, Any], ...] = (
    {"label": "value", "color": "#0072b2", "linewidth": 1.6},
    {"label": "first derivative", "color": "#d55e00", "linewidth": 0.8},
    {"label": "second derivative", "color": "#009e73", "linewidth": 0.7, "linestyle": (0, (3, 1.5))},
)


@dataclass(frozen=True)
class _Look:
    """Sizes in inches and points."""

    columns: int
    width: float
    height: float
    font: float
    line: float
    curves: int
    letters: int


_LARGE = _Look(columns=3, width=3.2, height=2.5, font=9, line=1.4, curves=3, letters=50)
_SMALL = _Look(columns=6, width=1.5, height=1.2, font=6.5, line=1.1, curves=2, letters=24)


def of_rows(function: Activation) -> bool:
    """Tell whether a function takes rows of numbers rather than one number."""
    return function.definition.over_axis or function.definition.gated


def title(function: Activation, keywords: dict[str, Any]) -> str:
    """Name a function and what is set."""
    settings = ", ".join(f"{name}={value}" for name, value in keywords.items())
    return f"{function.__name__}({settings})" if settings else function.__name__


def curves(function: Activation, keywords: dict[str, Any]) -> tuple[str, list[Curve]]:
    """Return a title, and value and derivatives as functions of one number.

    Parameters
    ----------
    function : Activation
        Elementwise: itself, with its first and second derivative. Over an axis: its first result for ``[x, 0]``.
        Gated: its result for ``[1, x]``. Of the last two there is no second derivative.
    keywords : dict
        Hyperparameters.

    Returns
    -------
    tuple of str and list of callable
        Each takes and returns a one-dimensional array.
    """
    if not of_rows(function):
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
    """Return the first result of each row; there may be one only, with its axis or without."""
    return result if result.ndim == 1 else result[:, 0]


def sample(curve: Curve, x: Array) -> tuple[Array, Array, Array]:
    """Compute a curve, with NaN where it jumps.

    Parameters
    ----------
    curve : callable
        Of an array.
    x : array
        Increasing.

    Returns
    -------
    x, y, jumps : array
        `x` and its values, with three points more at each jump: on its left, NaN, on its right. A jump is where
        neighbours remain apart however close they come.
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
    """Draw functions, each in its panel.

    Parameters
    ----------
    chosen : sequence of Activation and dict
        What to draw, with its hyperparameters.
    small : bool
        Whether there are many: small panels, without second derivatives.

    Returns
    -------
    matplotlib.figure.Figure
        The picture.
    """
    from matplotlib import rc_context  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    look = _SMALL if small else _LARGE
    columns = 2 if len(chosen) == 4 else min(look.columns, len(chosen))  # noqa: PLR2004 -- rather than three and one
    rows = math.ceil(len(chosen) / columns)
    with rc_context({"font.size": look.font}):
        size = max(_LEGEND, columns * look.width), rows * look.height + 0.3
        figure = Figure(size, layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        lines = [_panel(axes, *each, look) for axes, each in zip(grid, chosen, strict=False)]
        for axes in grid[len(chosen) :]:
            axes.set_axis_off()
        figure.legend(handles=max(lines, key=len), loc="outside upper center", ncols=look.curves)
    return figure


def _panel(axes: Any, function: Activation, keywords: dict[str, Any], look: _Look) -> list[Any]:
    """Draw one function, and return the lines for the legend."""
    name, of = curves(function, keywords)
    sampled, jumps = _sampled(of[: look.curves])
    start, end = _range(*sampled[0], jumps)
    shown = [(x[within], y[within]) for x, y in sampled for within in [(x >= start) & (x <= end)]]
    low, high = _limits([y for _, y in shown])
    if not low <= high:
        stop(f"{name} has no value to draw: it is not finite for any x from {start:g} to {end:g}")
    for zero in (axes.axhline, axes.axvline):
        zero(0, color="0.85", linewidth=0.6, zorder=1)
    margin = _MARGIN * (high - low) or 1
    axes.set_title(name if len(name) <= look.letters else name.replace("(", "\n(", 1))
    axes.set(xlim=(start, end), ylim=(low - margin, high + margin), xticks=(start, (start + end) / 2, end))
    axes.locator_params(axis="y", nbins=4)
    axes.tick_params(length=2, pad=2)
    styles = [{**line, "linewidth": line["linewidth"] * look.line} for line in _LINES]
    return [axes.plot(x, y, **style)[0] for (x, y), style in zip(shown, styles, strict=False)]


def _sampled(of: Sequence[Curve]) -> tuple[list[tuple[Array, Array]], Array]:
    """Sample value and derivatives; where one of them jumps, the next does not exist."""
    grid = np.arange(-_FAR * _STEPS, _FAR * _STEPS + 1) / _STEPS
    found, jumps = [], np.empty(0)
    for curve in of:
        x, y, more = sample(curve, grid)
        gap = np.abs(x[:, None] - jumps).min(axis=1, initial=np.inf) < _GAP
        found.append((x, np.where(gap, np.nan, y)))
        jumps = np.append(jumps, more)
    return found, jumps


def _range(x: Array, y: Array, jumps: Array) -> tuple[float, float]:
    """Choose a range of x that shows the jumps, and not more than has values."""
    half = _FAR if np.any(np.abs(jumps) > _NEAR) else _NEAR
    domain = x[np.isfinite(y) & (np.abs(x) <= half)]
    return (math.floor(domain[0]), math.ceil(domain[-1])) if domain.size > 1 else (-half, half)


def _limits(values: Sequence[Array]) -> tuple[float, float]:
    """Choose a range of y: that of the value, and for its derivatives, which may have poles, at most thrice that."""
    value, *derivatives = (y[np.isfinite(y)] for y in values)
    if not value.size:
        return math.inf, -math.inf
    low, high = value.min(), value.max()
    span = max(_SLOPES, high - low)
    every = np.concatenate([value, *derivatives]).clip(low - span, high + span)
    return every.min(), every.max()

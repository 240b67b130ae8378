"""The norm of the gradient through the layers of a network."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from actufunc.cli._errors import stop

from .curves import takes_rows, title

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .curves import Chosen

    Array = np.ndarray[Any, Any]

_DEEPEST = 500  # layers, whose weights take 260 MB
_WIDTH = 256
_SEEDS = 17
_QUARTILES = (4, 8, 12)  # their places among 17 sorted values

_DECADES = 3  # for a larger range, ticks at powers of ten are enough
_WIDE, _HEIGHT, _AROUND, _LABEL = 7.0, 3.2, 1.2, 0.17  # inches: figure, axes, space above and below, label
_BESIDE = 1.04  # position of labels, in widths of the axes
_LEADER = {"arrowstyle": "-", "relpos": (0, 0.5), "patchA": None, "shrinkA": 3, "shrinkB": 2, "linewidth": 1.2}

# The colours of Okabe and Ito without yellow, which is too bright on white.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_DASHES = ("-", (0, (4, 1.5)), (0, (1, 1.2)))


def check(chosen: Sequence[Chosen], layers: int) -> None:
    """Raise `CommandError` if the number of layers or a function is not possible."""
    if not 1 <= layers <= _DEEPEST:
        stop(f"--depth must be a number of layers from 1 to {_DEEPEST}, not {layers}")
    for function, _ in chosen:
        if takes_rows(function):
            stop(f"--depth takes functions of one number, between two layers; {function.__name__} is not one")


def norms(chosen: Sequence[Chosen], layers: int, seed: int) -> Array:
    """Propagate a random vector through a random network with each activation, and a random gradient back.

    The layers multiply by matrices of Gaussian weights of variance 1 / width; weights and vectors are determined by
    `seed`, the same for all functions. Return an array of shape (functions, layers + 1): logarithms to base ten of the
    norm of the gradient with respect to the output of each layer (the input for layer 0), over that with respect to the
    output of the last layer. Raise `CommandError` if the values overflow.
    """
    random = np.random.default_rng(seed)
    weights = random.standard_normal((layers, _WIDTH, _WIDTH)) / np.sqrt(_WIDTH)
    start, end = random.standard_normal((2, _WIDTH))
    with np.errstate(all="ignore"):
        return np.array([_norms(each, weights, start, end) for each in chosen])


def _norms(each: Chosen, weights: Array, h: Array, g: Array) -> Array:
    function, keywords = each
    before = []
    for number, weight in enumerate(weights, 1):
        before.append(weight @ h)
        h = function(before[-1], **keywords)
        if not np.isfinite(h).all():
            stop(f"{title(*each)} is not finite in layer {number} of the network; a smaller --depth may do")
    g = g / np.linalg.norm(g)
    steps = np.zeros(len(weights) + 1)
    for layer in reversed(range(len(weights))):
        g = weights[layer].T @ function.vjp(before[layer], g, **keywords)
        norm = np.linalg.norm(g)
        if not np.isfinite(norm):
            stop(f"the gradient of {title(*each)} is not finite in layer {layer} of the network")
        steps[layer] = np.log10(norm)
        g = g / (norm or 1)  # the product of the norms of hundreds of layers could underflow
    return np.cumsum(steps[::-1])[::-1]


def draw(chosen: Sequence[Chosen], layers: int) -> Any:
    """Return a figure of the norm of the gradient by layer: median and quartiles of several networks."""
    from matplotlib.figure import Figure  # noqa: PLC0415
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415

    every = np.array([norms(chosen, layers, seed) for seed in range(_SEEDS)])
    quartiles = np.sort(every, axis=0)[list(_QUARTILES)]
    finite = quartiles[np.isfinite(quartiles)]
    margin = 0.05 * (finite.max() - finite.min()) or 1
    low, high = finite.min() - margin, finite.max() + margin
    height = max(_HEIGHT, _LABEL * (len(chosen) + 1))
    figure = Figure((_WIDE, height + _AROUND), layout="constrained")
    axes = figure.subplots()
    axes.set_xlim(layers, 0)
    texts, ends = zip(*(_line(axes, each, quartiles[:, i], low, i) for i, each in enumerate(chosen)), strict=True)
    places = spread(ends, _LABEL / height * (high - low))
    axes.set_ylim(min(low, *places), max(high, *places))
    for i, (text, end, place) in enumerate(zip(texts, ends, places, strict=True)):
        axes.annotate(
            text,
            (0, end),
            (_BESIDE, place),
            textcoords=axes.get_yaxis_transform(),
            verticalalignment="center",
            annotation_clip=False,
            arrowprops={**_LEADER, **_style(i)} if end > low else None,
        )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _label_powers(axes.yaxis, low, high)
    axes.grid(axis="y", color="0.92", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel(f"layer, from the output ({layers}) back to the input (0)")
    axes.set_ylabel("norm of the gradient, over that at the output")
    figure.suptitle(
        f"Gradient through {layers} fully connected layer{'' if layers == 1 else 's'} of width {_WIDTH}\n"
        f"Gaussian weights of variance 1/{_WIDTH}, no biases; median and quartiles of {_SEEDS} networks",
        fontsize="medium",
    )
    return figure


def _line(axes: Any, each: Chosen, quartiles: Array, low: float, number: int) -> tuple[str, float]:
    """Draw one function, and return its label and the end of its line.

    A gradient of 0 cannot be drawn on a logarithmic axis: the line ends with a cross, and the label is at the bottom.
    """
    lower, median, upper = np.maximum(quartiles, low)
    layers = np.arange(len(median))
    style = _style(number)
    axes.fill_between(layers, lower, upper, color=style["color"], alpha=0.15, linewidth=0)
    alive = layers[np.isfinite(quartiles[1])]
    axes.plot(alive, median[alive], **style, linewidth=1.6)
    if alive[0] == 0:
        return title(*each), median[0]
    axes.plot(alive[0], median[alive[0]], "x", color=style["color"], clip_on=False, zorder=4)
    return f"{title(*each)}: 0 below layer {alive[0]}", low


def _style(number: int) -> dict[str, Any]:
    turn, colour = divmod(number, len(_COLOURS))
    return {"color": _COLOURS[colour], "linestyle": _DASHES[turn % len(_DASHES)]}


def _label_powers(axis: Any, low: float, high: float) -> None:
    """Label an axis of logarithms by the numbers."""
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415

    if high - low > _DECADES:
        axis.set_major_locator(MaxNLocator(8, integer=True))
        axis.set_major_formatter(lambda power, _: f"$10^{{{power:g}}}$")
        return
    leading = (1, 2, 5) if high - low > 1 else range(1, 10)
    numbers = [digit * 10.0**power for power in range(math.floor(low), math.ceil(high)) for digit in leading]
    shown = [number for number in numbers if low <= math.log10(number) <= high]
    axis.set_ticks(np.log10(shown), labels=[f"{number:g}" for number in shown])


def spread(places: Sequence[float], gap: float) -> Array:
    """Move labels apart to distances of at least `gap`, as little as possible, without changing their order."""
    order = np.argsort(places, kind="stable")
    steps = gap * np.arange(len(order))
    groups: list[list[float]] = []  # of labels that touch, centred on their mean
    for place in np.asarray(places)[order] - steps:
        groups.append([place])
        while len(groups) > 1 and np.mean(groups[-2]) >= np.mean(groups[-1]):
            last = groups.pop()
            groups[-1] += last
    moved = np.empty(len(order))
    moved[order] = np.concatenate([np.full(len(group), np.mean(group)) for group in groups]) + steps
    return moved

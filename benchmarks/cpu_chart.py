"""The chart of the comparison with the CPU libraries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cpu_results import CLEAR, CpuResults, CpuRow, mean, names

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_COLOURS = {"float32": "#0072b2", "float64": "#d55e00"}
_LANES = {"float32": -0.2, "float64": 0.2}  # beside the middle of a row
_LEAST, _MOST, _INK = 12, 80, "#333333"


_TICKS = (0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 7, 10, 20, 30, 50)


def draw(results: CpuResults, file: Path) -> None:
    """Draw one dot for each case: how many times as fast as the fastest peer we are, by function.

    Parameters
    ----------
    results : CpuResults
        The results.
    file : Path
        The PNG file, which depends on the results only.
    """
    import matplotlib as mpl  # noqa: PLC0415

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    rows = results.compared
    functions = list(dict.fromkeys(row.function for row in rows))
    figure, axes = plt.subplots(figsize=(8, 1.7 + 0.42 * len(functions)), layout="constrained")
    left, right = min([0.7, *(row.ratio for row in rows)]) / 1.1, max([2.0, *(row.ratio for row in rows)]) * 1.1
    axes.axvspan(left, 1, color="#faeeee", linewidth=0, zorder=0)
    axes.axvline(1, color=_INK, linewidth=1, zorder=1)
    dots = _Dots.of(rows)
    for place, function in enumerate(functions):
        of = [row for row in rows if row.function == function]
        for row in of:
            axes.scatter(row.ratio, place + _LANES[row.dtype], zorder=3, **dots.style(row))
        axes.axhline(place - 0.5, color="#dddddd", linewidth=0.6, zorder=0)
        middle = mean(row.ratio for row in of)
        axes.plot([middle, middle], [place - 0.4, place + 0.4], color=_INK, linewidth=2, zorder=4)
        axes.annotate(
            f"{middle:.2f}",
            (1, place),
            xycoords=("axes fraction", "data"),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            color=_INK if round(middle, 2) >= 1 else "#b00020",
        )
    axes.annotate("mean", (1, 1), xycoords="axes fraction", xytext=(6, 4), textcoords="offset points", color=_INK)
    axes.set_xscale("log")
    axes.set_xlim(left, right)
    ticks = [tick for tick in _TICKS if left < tick < right]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_yticks(range(len(functions)), [function.replace("gelu_tanh", "gelu (tanh)") for function in functions])
    axes.set_ylim(len(functions) - 0.5, -0.5)
    axes.tick_params(length=0)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6, zorder=0)
    axes.spines[:].set_visible(False)
    won = sum(row.ratio >= 1 / CLEAR for row in rows)
    axes.set_xlabel(
        f"← a peer is faster      {won} of {len(rows)} ahead, or level within {CLEAR - 1:.0%}      actufunc is faster →"
    )
    peers = ", ".join(names(row.times for row in rows)[1:])
    figure.suptitle(f"Times as fast as the fastest of\n{peers}", fontsize="large", weight="bold", color=_INK)
    figure.legend(
        handles=dots.legend(),
        loc="outside lower center",
        ncols=8,
        fontsize="small",
        frameon=False,
        columnspacing=1,
        handletextpad=0.2,
    )
    figure.savefig(file, dpi=200, format="png", metadata={"Software": None})
    plt.close(figure)


@dataclass(frozen=True)
class _Dots:
    """Styles of the dots: colours for dtypes, areas for sizes, and rings for several threads."""

    areas: dict[int, float]
    threads: tuple[int, ...]

    @classmethod
    def of(cls, rows: Iterable[CpuRow]) -> _Dots:
        sizes = sorted({row.size for row in rows})
        step = (_MOST - _LEAST) / max(len(sizes) - 1, 1)
        return cls(
            {size: _LEAST + step * i for i, size in enumerate(sizes)}, tuple(sorted({row.threads for row in rows}))
        )

    def style(self, row: CpuRow) -> dict[str, Any]:
        colour, is_filled = _COLOURS[row.dtype], row.threads == self.threads[0]
        return {
            "s": self.areas[row.size],
            "facecolors": colour if is_filled else "none",
            "edgecolors": colour,
            "alpha": 0.6 if is_filled else 0.9,
            "linewidths": 1,
        }

    def legend(self) -> list[Any]:
        from matplotlib.lines import Line2D  # noqa: PLC0415

        def mark(label: str, colour: str = "#777777", area: float = 40, *, is_filled: bool = True) -> Any:
            face = colour if is_filled else "none"
            return Line2D([], [], marker="o", linestyle="", markersize=area**0.5, mfc=face, mec=colour, label=label)

        return [
            *(mark(dtype, colour) for dtype, colour in _COLOURS.items()),
            *(mark(_power(size), area=area) for size, area in self.areas.items()),
            *(mark(f"{n} thread{'s' * (n > 1)}", is_filled=n == self.threads[0]) for n in self.threads),
            Line2D([], [], marker="|", linestyle="", markersize=10, mew=2, color=_INK, label="geometric mean"),
        ]


def _power(size: int) -> str:
    exponent = len(str(size)) - 1
    return f"$10^{exponent}$" if size == 10**exponent else f"{size:,}"

"""Pictures that the command line draws, and what they show."""

from __future__ import annotations

import errno
import itertools
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from command import names, problem

import actufunc
from actufunc import _catalogue as catalogue
from actufunc import activation
from actufunc.cli import _files as files
from actufunc.cli import main
from actufunc.cli._errors import CommandError
from actufunc.cli._plot import command, gradient_norms
from actufunc.cli._plot import curves as panels
from actufunc.formula import where

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from actufunc import Activation
    from actufunc.cli._plot.curves import Chosen

from matplotlib import style
from matplotlib.text import Text
from PIL import Image

Array = np.ndarray[Any, Any]

GRID = np.linspace(-4, 4, 801)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    with style.context(["default", command._STYLE]):
        yield


def chosen(functions: Sequence[Activation]) -> list[Chosen]:
    return list(zip(functions, command._hyperparameters(functions, []), strict=True))


@pytest.fixture(scope="module")
def gallery() -> tuple[list[Chosen], Any]:
    every = chosen(sorted(catalogue.ACTIVATIONS.values(), key=panels.takes_rows))
    with style.context(["default", command._STYLE]):
        return every, panels.draw(every, small=True)


def curves(axes: Any) -> list[Any]:
    """Return the lines but for those at zero."""
    return [line for line in axes.get_lines() if not line.get_label().startswith("_")]


def is_apart(figure: Any, texts: Sequence[Any]) -> bool:
    """Tell whether texts are all inside a figure, and no two overlap."""
    figure.draw_without_rendering()
    boxes = [Text.get_window_extent(text) for text in texts]  # without the leader of a label
    inside = all(figure.bbox.count_contains(box.corners()) == 4 for box in boxes)
    return inside and not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


# Curves.


def same(line: Any, curve: Any) -> None:
    """Compare what is drawn with a function, where there is a value."""
    x, y = line.get_data()
    there = np.isfinite(y)
    assert there.sum() > 100
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(y[there], curve(x[there]), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", ["silu", "relu", "prelu", "elu"])
def test_panel_shows_value_and_derivatives(name: str) -> None:
    [(function, keywords)] = each = chosen([catalogue.find(name)])
    value, first, second = curves(panels.draw(each, small=False).axes[0])
    same(value, lambda x: function(x, **keywords))
    same(first, lambda x: function.grad(x, **keywords))
    same(second, lambda x: function.grad.grad(x, **keywords))


def test_gallery_shows_the_catalogue(gallery: tuple[list[Chosen], Any]) -> None:
    every, figure = gallery
    assert {function.__name__ for function, _ in every} == catalogue.ACTIVATIONS.keys()
    for axes, (function, keywords) in zip(figure.axes, every, strict=False):
        assert axes.get_title().startswith(function.__name__)
        value, first = curves(axes)
        if not panels.takes_rows(function):
            same(value, lambda x: function(x, **keywords))  # noqa: B023
            same(first, lambda x: function.grad(x, **keywords))  # noqa: B023
        low, high = axes.get_ylim()
        y = value.get_ydata()[np.isfinite(value.get_ydata())]
        assert low < y.min() <= y.max() < high


def test_titles_of_the_gallery_are_apart(gallery: tuple[list[Chosen], Any]) -> None:
    _, figure = gallery
    assert is_apart(figure, [axes.title for axes in figure.axes if axes.get_title()])


def test_jump_is_broken() -> None:
    _, first, second = curves(panels.draw(chosen([actufunc.relu]), small=False).axes[0])
    x, y = first.get_data()
    (at,) = np.nonzero(np.isnan(y))
    assert len(at) == 1
    assert y[at - 1] == 0
    assert y[at + 1] == 1
    assert np.abs(x[at]) < 1e-15
    x, y = second.get_data()
    assert np.isnan(y[np.abs(x) < 0.01]).all()  # where the first derivative jumps there is none
    assert (y[np.abs(x) > 0.2] == 0).all()


@pytest.mark.parametrize(
    ("curve", "jumps"),
    [
        (np.floor, np.arange(-3, 5)),
        (lambda x: np.where(x > 1 / 3, x, -x), [1 / 3]),
        (lambda x: np.tanh(1e6 * (x - 0.3)), []),
        (np.abs, []),
        (lambda x: np.full_like(x, 7), []),
        (lambda x: np.full_like(x, np.nan), []),
        (np.log, []),
    ],
    ids=["steps", "jump between points", "steep", "kink", "constant", "NaN", "pole"],
)
def test_jumps_are_told_from_slopes(curve: Any, jumps: Any) -> None:
    x, y, found = panels.sample(curve, GRID)
    np.testing.assert_allclose(found, jumps, rtol=1e-12, atol=1e-12)
    assert len(x) == len(GRID) + 3 * len(jumps)
    assert (np.diff(x) >= 0).all()
    with np.errstate(all="ignore"):
        at_points = curve(GRID)
    assert np.isnan(y).sum() == len(jumps) + np.sum(~np.isfinite(at_points))


def test_point_on_its_own_is_in_neither_line() -> None:
    x, y, found = panels.sample(np.sign, GRID)
    np.testing.assert_allclose(found, [0, 0], atol=1e-12)
    lone = np.nonzero(x == 0)[0]
    assert set(y[lone][np.isfinite(y[lone])]) == {0}
    assert np.isnan(y[lone[0] - 1 : lone[-1] + 2]).sum() == 2


@pytest.mark.parametrize(
    ("name", "title", "as_one"),
    [
        ("softmax", "softmax([x, 0])[0]", "sigmoid"),
        ("log_softmax", "log_softmax([x, 0])[0]", "log_sigmoid"),
        ("logsumexp", "logsumexp([x, 0])", "softplus"),
        ("glu", "glu([1, x])", "sigmoid"),
        ("swiglu", "swiglu([1, x])", "silu"),
    ],
)
def test_functions_of_rows(name: str, title: str, as_one: str) -> None:
    found, (value, slope) = panels.curves(catalogue.find(name), {})
    assert found == title
    np.testing.assert_allclose(value(GRID), catalogue.find(as_one)(GRID), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(slope(GRID), catalogue.find(as_one).grad(GRID), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    ("name", "limits"), [("silu", (-5, 5)), ("hard_sigmoid", (-5, 5)), ("relu6", (-8, 8)), ("logit", (0, 1))]
)
def test_range_shows_kinks_and_the_domain(name: str, limits: tuple[float, float]) -> None:
    axes = panels.draw(chosen([catalogue.find(name)]), small=True).axes[0]
    assert axes.get_xlim() == limits


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7])
def test_large_panels_with_their_legend_fit(count: int) -> None:
    figure = panels.draw(chosen([actufunc.softmax, actufunc.tanh] * 4)[:count], small=False)
    (legend,) = figure.legends
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts == ["value", "first derivative", "second derivative"][: 2 if count == 1 else 3]
    titles = [axes.title for axes in figure.axes if axes.get_title()]
    assert len(titles) == count
    assert is_apart(figure, [*titles, *legend.get_texts()])


# Files.


@pytest.mark.parametrize(
    ("file", "magic"), [("o.png", b"\x89PNG\r\n"), ("o.PNG", b"\x89PNG\r\n"), ("o.svg", b"<?xml"), ("o.pdf", b"%PDF-")]
)
@pytest.mark.parametrize("arguments", [["softplus"], ["--depth", "2", "tanh"]], ids=["panels", "depth"])
def test_the_same_file_each_time(
    capsys: pytest.CaptureFixture[str], arguments: list[str], file: str, magic: bytes
) -> None:
    assert main(["plot", *arguments, "-o", file]) == 0
    assert capsys.readouterr().out.startswith(f"{arguments[-1]}: ")
    data = Path(file).read_bytes()
    assert data.startswith(magic)
    assert main(["plot", *arguments, "-o", file, "--force"]) == 0
    assert Path(file).read_bytes() == data
    assert names() == [file]


def test_gallery_is_small() -> None:
    assert main(["plot", "--all", "-o", "gallery.png"]) == 0
    assert Path("gallery.png").stat().st_size < 300_000
    with Image.open("gallery.png") as image:
        assert image.width < 1500
        assert image.mode == "P"


def test_force_replaces_and_follows_links() -> None:
    Path("real.png").write_bytes(b"old")
    Path("link.png").symlink_to("real.png")
    assert main(["plot", "relu", "-o", "link.png", "--force"]) == 0
    assert Path("link.png").is_symlink()
    assert Path("real.png").read_bytes().startswith(b"\x89PNG")


def test_existing_output_stays(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    Path("o.png").write_bytes(b"precious")
    assert "--force" in problem(capsys, "plot", "relu", "-o", "o.png")

    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", fail)
    assert "no space" in problem(capsys, "plot", "relu", "-o", "o.png", "--force")
    assert Path("o.png").read_bytes() == b"precious"


def test_output_that_appears_meanwhile_stays(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files.os, "fsync", lambda _: Path("o.png").write_bytes(b"precious"))
    assert main(["plot", "relu", "-o", "o.png"]) == 2
    assert "meanwhile" in capsys.readouterr().err
    assert Path("o.png").read_bytes() == b"precious"


# Arguments.


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["relu"], ["-o"]),
        (["-o", "o.png"], ["names of functions", "--all"]),
        (["--all", "relu", "-o", "o.png"], ["--all", "names"]),
        (["softmaxx", "-o", "o.png"], ["softmaxx", "did you mean 'softmax'"]),
        (["relu", "-o", "o.jpg"], ["o.jpg", ".png, .svg or .pdf"]),
        (["relu", "-o", "png"], [".png, .svg or .pdf"]),
        (["relu", "-o", "no/o.png"], ["no does not exist"]),
        (["relu", "-o", "a\nb/o\udcff.png"], ["does not exist"]),
        (["relu", "-o", "o" * 300 + ".png"], ["name too long"]),
        (["relu", "-o", "o.png", "--set", "a=1"], ["relu", "'a'", "none"]),
        (["relu", "tanh", "-o", "o.png", "--set", "a=1"], ["none of these functions", "'a'"]),
        (["relu", "elu", "-o", "o.png", "--set", "alpha"], ["NAME=VALUE"]),
        (["elu", "-o", "o.png", "--set", "alpha=x"], ["a number", "'x'"]),
        (["silu", "-o", "o.png", "--set", "beta=nan"], ["silu(beta=nan)", "not finite"]),
        (["gelu", "-o", "o.png", "--set", "approximate=x"], ["'tanh'", "'x'"]),
        (["relu", "-o", "o.png", "--depth", "0"], ["--depth", "1 to", "not 0"]),
        (["relu", "-o", "o.png", "--depth", "-3"], ["--depth"]),
        (["relu", "-o", "o.png", "--depth", "100000"], ["--depth", "100000"]),
        (["relu", "-o", "o.png", "--depth", "2.5"], ["--depth", "'2.5'"]),
        (["relu", "softmax", "-o", "o.png", "--depth", "5"], ["softmax", "one number"]),
        (["glu", "-o", "o.png", "--depth", "5"], ["glu", "one number"]),
        (["--all", "-o", "o.png", "--depth", "5"], ["--depth", "--all"]),
        (["elu", "-o", "o.png", "--depth", "3", "--set", "alpha=1e200"], ["elu(alpha=1e+200)", "not finite"]),
    ],
    ids=lambda value: " ".join(value)[:60],
)
def test_bad_arguments(capsys: pytest.CaptureFixture[str], arguments: list[str], words: list[str]) -> None:
    message = problem(capsys, "plot", *arguments)
    assert message.startswith("actufunc")
    for word in words:
        assert word in message


def test_who_gets_which_hyperparameter(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Chosen] = []
    draw = panels.draw
    monkeypatch.setattr(panels, "draw", lambda each, small: [seen.extend(each), draw(each, small=small)][1])
    assert main(["plot", "elu", "swish", "silu", "gelu", "-o", "o.svg", "--set", "alpha=2", "--set", "beta=3"]) == 0
    assert seen == [(actufunc.elu, {"alpha": 2}), (actufunc.silu, {"beta": 3}), (actufunc.gelu, {})]


def test_without_matplotlib() -> None:
    code = "import sys; sys.modules['matplotlib'] = None; from actufunc.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "plot", "relu", "-o", "o.png"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 2
    assert done.stderr == "actufunc: this needs matplotlib: pip install matplotlib\n"
    assert names() == []


# Depth.


def slopes(function: Activation, layers: int, **keywords: float) -> Array:
    """Median change of the logarithm per layer, from the input on."""
    every = [gradient_norms.norms([(function, keywords)], layers, seed)[0] for seed in range(5)]
    return np.diff(np.median(every, axis=0))


def test_gradient_of_well_known_functions() -> None:
    # The identity keeps the norm; of relu, half the units pass it on.
    np.testing.assert_allclose(slopes(actufunc.leaky_relu, 8, negative_slope=1), 0, atol=0.05)
    np.testing.assert_allclose(slopes(actufunc.relu, 8), np.log10(2) / 2, atol=0.05)
    assert (slopes(actufunc.sigmoid, 8) > np.log10(4)).all()


def test_gradient_is_that_of_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradient_norms, "_WIDTH", 5)
    layers, step = 4, 1e-6
    random = np.random.default_rng(3)
    weights = random.standard_normal((layers, 5, 5)) / np.sqrt(5)
    start, end = random.standard_normal((2, 5))

    def loss(h: Array, first: int) -> float:
        for weight in weights[first:]:
            h = actufunc.tanh(weight @ h)
        return float(end @ h)

    expected, h = [], start
    for layer in range(layers + 1):
        sides = [[loss(h + sign * step * unit, layer) for unit in np.eye(5)] for sign in (1, -1)]
        expected.append(np.linalg.norm(np.subtract(*sides) / (2 * step)) / np.linalg.norm(end))
        h = actufunc.tanh(weights[layer] @ h) if layer < layers else h
    found = gradient_norms.norms([(actufunc.tanh, {})], layers, seed=3)
    np.testing.assert_allclose(10 ** found[0], expected, rtol=1e-6)


def test_networks_are_the_same_each_time_and_for_each_function() -> None:
    both = [(actufunc.relu, {}), (actufunc.tanh, {})]
    a, b = gradient_norms.norms(both, 3, 0), gradient_norms.norms(both[::-1], 3, 0)
    np.testing.assert_array_equal(a, b[::-1])
    assert (a[:, :-1] != gradient_norms.norms(both, 3, 1)[:, :-1]).all()
    assert (a[:, -1] == 0).all()


def test_tiny_gradients_do_not_become_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradient_norms, "_WIDTH", 16)
    (found,) = gradient_norms.norms([(actufunc.sigmoid, {})], 1000, 0)
    assert np.isfinite(found).all()
    assert found[0] < -500


@activation
def step(x: Any) -> Any:
    """One or zero."""
    return where(x > 0, 1, 0)


def test_gradient_of_zero_ends_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradient_norms, "_WIDTH", 16)
    figure = gradient_norms.draw([(step, {}), (actufunc.tanh, {})], 6)
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.texts] == ["step: 0 below layer 6", "tanh"]
    line, cross, other = axes.get_lines()
    assert line.get_xdata().tolist() == cross.get_xdata().tolist() == [6]
    assert other.get_xdata().tolist() == list(range(7))
    assert np.isfinite(axes.get_ylim()).all()
    assert is_apart(figure, axes.texts)


@pytest.mark.parametrize("layers", [1, 4, 40])
def test_lines_are_medians_with_labels_apart(monkeypatch: pytest.MonkeyPatch, layers: int) -> None:
    monkeypatch.setattr(gradient_norms, "_WIDTH", 16)
    functions = [f for f in catalogue.ACTIVATIONS.values() if f.__name__ in SHOWN]
    every = chosen(functions)
    figure = gradient_norms.draw(every, layers)
    (axes,) = figure.axes
    median = np.median([gradient_norms.norms(every, layers, seed) for seed in range(gradient_norms._SEEDS)], axis=0)
    for line, expected in zip(axes.get_lines(), median, strict=True):
        np.testing.assert_allclose(line.get_ydata(), expected, rtol=1e-12)
    assert axes.get_xlim() == (layers, 0)
    assert is_apart(figure, [*axes.texts, figure._suptitle])
    assert len({(line.get_color(), line.get_linestyle()) for line in axes.get_lines()}) == len(SHOWN)
    labels = [text.get_text() for text in axes.get_yticklabels()]
    assert any(labels)


SHOWN = ("sigmoid", "tanh", "relu", "gelu", "silu", "elu", "softplus", "leaky_relu", "prelu", "log_sigmoid")


def test_overflow_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradient_norms, "_WIDTH", 16)
    with pytest.raises(CommandError, match=r"leaky_relu\(negative_slope=1e\+100\) is not finite in layer 4"):
        gradient_norms.norms([(actufunc.leaky_relu, {"negative_slope": 1e100})], 9, 0)


@pytest.mark.parametrize("places", [[0.0], [0, 0, 0], [3, 1, 2], [5, 0, 0.1, 5.2, 0.05], [0, 10, 20]])
def test_labels_move_no_more_than_they_must(places: list[float]) -> None:
    moved = gradient_norms.spread(places, 1)
    order = np.argsort(places, kind="stable")
    assert (np.diff(moved[order]) > 1 - 1e-9).all()
    assert np.mean(moved) == pytest.approx(np.mean(places))
    if (np.diff(np.sort(places)) >= 1).all():
        np.testing.assert_allclose(moved, places)

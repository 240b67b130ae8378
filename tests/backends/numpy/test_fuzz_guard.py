"""Random views as inputs and outputs: nothing outside an output is written, and each element is right.

Random views of a buffer serve as inputs and outputs. Around every output element that the view does not own stands a
canary that must survive.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from cases import ELEMENTWISE, OVER_AXIS, Case, mostly_slow
from hypothesis import given, settings
from hypothesis import strategies as st

from actufunc import prelu, sigmoid, softmax

CANARY = 7.25  # exact in every dtype, and no value of any function at the inputs below
DTYPES = ("float16", "float32", "float64")


@st.composite
def views(draw: st.DrawFn, shape: tuple[int, ...], dtype: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Draw a view of a shape, and the buffer full of canaries behind it."""
    steps = [draw(st.sampled_from([1, 1, 1, 2, 3, -1, -2])) for _ in shape]
    permutation = draw(st.permutations(range(len(shape))))
    margins = [draw(st.integers(0, 2)) for _ in shape]
    extents = [max(n, 1) * abs(step) + 2 * margin for n, step, margin in zip(shape, steps, margins, strict=True)]
    unaligned = draw(st.sampled_from([0, 0, 0, 1]))
    itemsize = np.dtype(dtype).itemsize
    raw = np.zeros(math.prod(extents) * itemsize + itemsize, np.uint8)
    buffer = raw[unaligned : unaligned + math.prod(extents) * itemsize].view(dtype)
    buffer[:] = CANARY
    array = buffer.reshape([extents[axis] for axis in permutation]).transpose(np.argsort(permutation))
    index = []
    for n, step, margin in zip(shape, steps, margins, strict=True):
        start = margin if step > 0 else margin + (n - 1) * -step
        stop: int | None = start + n * step
        index.append(slice(start, stop if stop is not None and stop >= 0 else None, step) if n else slice(0, 0))
    view = array[(*index, ...)]
    assert view.shape == shape
    return view, buffer


@st.composite
def calls(draw: st.DrawFn) -> dict[str, Any]:
    """Draw the layout of one call."""
    shape = tuple(draw(st.lists(st.sampled_from([0, 1, 1, 2, 3, 5, 17, 40]), max_size=4)))
    if math.prod(shape) > 20_000:
        shape = shape[:2]
    dtype, out_dtype = draw(st.sampled_from(DTYPES)), draw(st.sampled_from(DTYPES))
    narrow = tuple(draw(st.sampled_from([n, n, 1])) for n in shape)[draw(st.integers(0, len(shape))) :]
    return {
        "x": draw(views(narrow, dtype)),
        "g": draw(views(shape, dtype)),
        "out": draw(views(shape, out_dtype)),
        "mask": draw(st.sampled_from(["none", "full", "row", "false"])),
        "seed": draw(st.integers(0, 1000)),
    }


def fill(view: np.ndarray[Any, Any], rng: np.random.Generator) -> None:
    """Write numbers to a view, leaving the canaries around it alone."""
    view[...] = rng.normal(size=view.shape) * 4


def owned(view: np.ndarray[Any, Any], buffer: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Mark the elements of a buffer that belong to a view."""
    marks = np.zeros(buffer.shape, bool)
    offset = view.__array_interface__["data"][0] - buffer.__array_interface__["data"][0]
    strides = [stride // buffer.itemsize for stride in view.strides]
    index = sum(
        (np.arange(n).reshape([-1 if a == axis else 1 for a in range(view.ndim)]) * stride)
        for axis, (n, stride) in enumerate(zip(view.shape, strides, strict=True))
    )
    if view.size:
        marks[offset // buffer.itemsize + np.asarray(index).ravel()] = True
    return marks


@pytest.mark.parametrize("case", [*mostly_slow(ELEMENTWISE), *mostly_slow([c.vjp for c in ELEMENTWISE])], ids=repr)
@settings(max_examples=40)
@given(drawn=calls())
def test_elementwise(case: Case, drawn: dict[str, Any]) -> None:
    rng = np.random.default_rng(drawn["seed"])
    (x, _), (g, _), (out, buffer) = drawn["x"], drawn["g"], drawn["out"]
    fill(x, rng)
    fill(g, rng)
    arrays = (x, g) if len(case.function.definition.arrays) > 1 else (x,)
    common = np.result_type(*arrays)
    mask: Any = {"none": True, "full": rng.random(out.shape) < 0.5, "row": rng.random(out.shape[-1:]) < 0.5}.get(
        drawn["mask"], False
    )
    # Element by element, on arrays of the kernel's own dtype and of one element each.
    work = np.float32 if common == np.float32 else np.float64
    exact = case.of_halves if common == np.float16 else case
    broadcast = [np.broadcast_to(a, out.shape).astype(work) for a in arrays]
    expected = np.full(out.shape, CANARY)
    selected = np.broadcast_to(mask, out.shape)
    for index in np.ndindex(out.shape):
        if selected[index]:
            expected[index] = exact(*(np.array([a[index]]) for a in broadcast))[0]
    marks = owned(out, buffer)
    result = case(*arrays, out=out, where=mask)
    assert result is out
    np.testing.assert_array_equal(out, expected.astype(out.dtype))
    np.testing.assert_array_equal(buffer[~marks], CANARY)


@pytest.mark.parametrize("case", [*mostly_slow(OVER_AXIS), *mostly_slow([c.vjp for c in OVER_AXIS])], ids=repr)
@settings(max_examples=150)
@given(drawn=calls(), data=st.data())
def test_over_axis(case: Case, drawn: dict[str, Any], data: st.DataObject) -> None:
    rng = np.random.default_rng(drawn["seed"])
    (g, _), (out, buffer) = drawn["g"], drawn["out"]
    x, _ = data.draw(views(out.shape, g.dtype.name))
    axes = data.draw(st.sets(st.sampled_from(range(out.ndim)), max_size=out.ndim)) if out.ndim else set()
    axis: Any = data.draw(st.sampled_from([tuple(axes), *axes, *((None,) if len(axes) == out.ndim else ())]))
    fill(x, rng)
    fill(g, rng)
    arrays = (x, g) if len(case.function.definition.arrays) > 1 else (x,)
    # One row at a time, contiguous.
    along = tuple(range(out.ndim)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    last = range(-len(along), 0)
    moved = [np.moveaxis(a, along, last) for a in arrays]
    work = np.float64 if x.dtype == np.float64 else np.float32
    expected = np.zeros(out.shape, work)
    target = np.moveaxis(expected, along, last)
    for index in np.ndindex(target.shape[: out.ndim - len(along)]):
        rows = [np.ascontiguousarray(a[index], work).ravel() for a in moved]
        if rows[0].size:
            target[index] = case(*rows).reshape(target[index].shape)
    marks = owned(out, buffer)
    assert case(*arrays, axis=axis, out=out) is out
    np.testing.assert_array_equal(out, expected.astype(out.dtype))
    np.testing.assert_array_equal(buffer[~marks], CANARY)
    np.testing.assert_array_equal(case(*arrays, axis=axis), expected.astype(x.dtype))


@pytest.mark.parametrize("case", mostly_slow([*ELEMENTWISE, *OVER_AXIS]), ids=repr)
@settings(max_examples=60)
@given(data=st.data())
def test_overlap(case: Case, data: st.DataObject) -> None:
    """Input and output are views of one buffer, at any distance and direction."""
    n = data.draw(st.sampled_from([1, 5, 100, 5000]))
    buffer = np.random.default_rng(0).normal(size=3 * n + 8)
    step_in, step_out = data.draw(st.sampled_from([1, 2, -1])), data.draw(st.sampled_from([1, 2, -1]))
    start_in, start_out = data.draw(st.integers(0, n)), data.draw(st.integers(0, n))
    x = buffer[start_in:][: n * abs(step_in)][::step_in]
    out = buffer[start_out:][: n * abs(step_out)][::step_out]
    size = min(x.size, out.size)
    x, out = x[:size], out[:size]
    before, expected = buffer.copy(), case(x.copy())
    marks = owned(out, buffer)
    case(x, out=out)
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(buffer[~marks], before[~marks])


def test_nothing_is_written_when_a_call_fails() -> None:
    out = np.full((3, 4), CANARY)
    x = np.ones((3, 4))
    for call in (
        lambda: sigmoid(x[:2], out=out),
        lambda: sigmoid(x, out=out, where=np.ones(3)),
        lambda: sigmoid(x, out=out, where=np.ones((2, 5), bool)),
        lambda: sigmoid(x.astype(complex), out=out),
        lambda: sigmoid(x, out=out, casting="never"),
        lambda: sigmoid(x, out=out, dtype="int8"),
        lambda: prelu(x, np.ones(3), out=out),
        lambda: softmax(x, axis=2, out=out),
        lambda: softmax(x, axis=(0, 0), out=out),
        lambda: softmax(x, axis=0.5, out=out),
        lambda: softmax.vjp(x, x[:2], out=out),
    ):
        with pytest.raises((TypeError, ValueError)) as caught:
            call()
        assert "\n" not in str(caught.value)
        np.testing.assert_array_equal(out, CANARY)

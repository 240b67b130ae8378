"""Random sequences of calls on guarded memory, one after the other and four at once, as Hypothesis draws them.

Inputs and outputs of a call are views of the same memory, with any strides, so that they overlap in every way. After
each call every byte of the memory is what it was or what the function, applied element by element, makes of it; and
the memory lies between pages that end the process when they are touched. Thresholds are lowered so that threads share
even a few elements.

By default there are 300 runs of some calls each, of the slow tests 2,000;
``pytest tests/backends/numpy/test_fuzz_sequences.py -m slow --hypothesis-profile=long`` makes a million.
"""

from __future__ import annotations

import math
import mmap
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import ELEMENTWISE, OVER_AXIS, Case
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from memory import Array, Memory, owned

import actufunc
from actufunc import _activation as ufunc
from actufunc.backends.numpy import axis as plan_axis
from actufunc.backends.numpy import elementwise as plan
from actufunc.backends.numpy.threading import schedule, tbb

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="mprotect")

CASES = [*ELEMENTWISE, *(case.vjp for case in ELEMENTWISE), *OVER_AXIS, *(case.vjp for case in OVER_AXIS)]
DTYPES = ("float32", "float32", "float64", "float64", "float16")
AT_ONCE = 4
LIMIT = 200  # elements of a result


@dataclass
class Layout:
    """Where a view lies in a memory, as :meth:`Memory.view` takes it."""

    shape: tuple[int, ...]
    dtype: str
    strides: tuple[int, ...]
    place: float
    shift: int

    def of(self, memory: Memory) -> Array:
        """Make the view."""
        return memory.view(self.shape, self.dtype, self.strides, self.place, self.shift)


@dataclass
class Plan:
    """One call."""

    case: Case
    inputs: list[Layout]
    hyperparameter: tuple[str, Layout] | None  # one that is an array
    out: Layout | None
    in_place: bool
    mask: Layout | None
    keywords: dict[str, Any]
    threads: int


def packed(shape: tuple[int, ...], itemsize: int, order: list[int]) -> list[int]:
    """Return strides in which the axes follow each other in an order, without gaps."""
    strides, step = [0] * len(shape), itemsize
    for axis in order:
        strides[axis] = step
        step *= max(1, shape[axis])
    return strides


@st.composite
def layouts(draw: st.DrawFn, shape: tuple[int, ...], dtype: str, *, output: bool) -> Layout:
    """Draw where a view lies: contiguous in any order of axes, with gaps, reversed, unaligned, broadcast."""
    itemsize = np.dtype(dtype).itemsize
    ndim = len(shape)
    order = draw(st.sampled_from([list(range(ndim))[::-1], list(range(ndim))]))
    if ndim > 2 and draw(st.booleans()):
        order = list(draw(st.permutations(range(ndim))))
    strides = packed(shape, itemsize, order)
    if ndim and draw(st.booleans()):
        gap = draw(st.sampled_from([1, 2, 3, 1.5]))  # one and a half: a field of a record
        strides = [int(stride * gap) for stride in strides]
        strides = [stride * draw(st.sampled_from([1, 1, -1])) for stride in strides]
        if not output:
            strides = [stride * draw(st.sampled_from([1, 1, 1, 0])) for stride in strides]
    # Few places and small shifts, so that views overlap by all but some elements.
    elements = draw(st.sampled_from([0, 0, 0, 1, -1, 2, -3, 0.25, 7, -20]))
    return Layout(shape, dtype, tuple(strides), draw(st.sampled_from([0.0, 1.0, 0.5])), int(elements * itemsize))


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Draw a call."""
    case = draw(st.sampled_from(CASES))
    over_axis = case.function.definition.over_axis
    shape = tuple(draw(st.lists(st.sampled_from([1, 2, 3, 5, 17, 40, 0]), min_size=over_axis, max_size=5)))
    while math.prod(max(1, n) for n in shape) > LIMIT:
        shape = shape[1:]
    dtype = draw(st.sampled_from(DTYPES))

    def draw_narrow() -> tuple[int, ...]:
        return tuple(draw(st.sampled_from([n, 1])) for n in shape)[draw(st.integers(0, len(shape))) :]

    def draw_input() -> Layout:
        other = draw(st.sampled_from(DTYPES)) if draw(st.integers(0, 7)) == 0 else dtype
        narrow = draw_narrow() if not over_axis and draw(st.integers(0, 3)) == 0 else shape
        return draw(layouts(narrow, other, output=False))

    inputs = [draw_input() for _ in case.function.definition.arrays]
    names = list(case.function.definition.hyperparameters)
    hyperparameter = (draw(st.sampled_from(names)), draw_input()) if names and draw(st.booleans()) else None
    in_place = draw(st.integers(0, 3)) == 0
    out = mask = None
    keywords: dict[str, Any] = {}
    if in_place:
        inputs[0] = draw(layouts(shape, dtype, output=True))
    elif draw(st.integers(0, 4)):
        other = draw(st.sampled_from(DTYPES)) if draw(st.integers(0, 5)) == 0 else dtype
        out = draw(layouts(shape, other, output=True))
    if over_axis:
        keywords["axis"] = draw(st.integers(-len(shape), len(shape) - 1))
    else:
        if (in_place or out) and draw(st.integers(0, 3)) == 0:
            mask = draw(layouts(draw_narrow(), "bool", output=False))
        if draw(st.integers(0, 5)) == 0:
            keywords["dtype"] = draw(st.sampled_from(DTYPES))
        if draw(st.integers(0, 5)) == 0:
            keywords["casting"] = draw(st.sampled_from(["no", "equiv", "safe", "same_kind", "unsafe"]))
        if draw(st.integers(0, 7)) == 0:
            keywords["order"] = draw(st.sampled_from("CFAK"))
    return Plan(case, inputs, hyperparameter, out, in_place, mask, keywords, draw(st.sampled_from([8, 8, 1])))


class Attempt:
    """A call, before it is made, and what it should do.

    Parameters
    ----------
    plan : Plan
        What to call.
    memory : Memory
        In which all arrays of the call lie.
    """

    def __init__(self, plan: Plan, memory: Memory) -> None:
        self.plan, self.memory = plan, memory
        self.arrays = [layout.of(memory) for layout in plan.inputs]
        self.out = self.arrays[0] if plan.in_place else None if plan.out is None else plan.out.of(memory)
        self.inputs = list(self.arrays)  # those and the hyperparameter
        self.keywords = dict(plan.keywords)
        if plan.hyperparameter is not None:
            name, layout = plan.hyperparameter
            self.keywords[name] = layout.of(memory)
            self.inputs.append(self.keywords[name])
        if self.out is not None:
            self.keywords["out"] = self.out
        mask: Any = True
        if plan.mask is not None:  # in memory of its own: bytes of numbers are no booleans
            bits = Memory()
            bits.bytes[:] = np.random.default_rng(1).integers(0, 2, bits.bytes.nbytes)
            mask = self.keywords["where"] = plan.mask.of(bits)
        shape = self.out.shape if self.out is not None else np.broadcast_shapes(*(i.shape for i in self.inputs))
        self.selected = np.broadcast_to(mask, shape)
        self.dtype = np.dtype(plan.keywords.get("dtype", np.result_type(*self.inputs)))
        self.before = memory.bytes.copy()
        self.permitted = self._is_permitted()
        self.expected = self._expected() if self.permitted else None

    def call(self) -> Any:
        """Make the call, and nothing else."""
        case, keywords = self.plan.case, self.keywords
        if self.plan.hyperparameter is not None:  # instead of the value that the case has for it
            kept = tuple(pair for pair in case.keywords if pair[0] not in keywords)
            case = Case(case.function, kept)
        with actufunc.num_threads(self.plan.threads), np.errstate(all="ignore"):
            return case(*self.arrays, **keywords)

    def _is_permitted(self) -> bool:
        """Ask NumPy whether it would cast so."""
        if "axis" in self.keywords:
            return self.out is None or np.can_cast(self.dtype, self.out.dtype, "same_kind")
        out = {} if self.out is None else {"out": np.empty((), self.out.dtype)}
        casting = {key: value for key, value in self.keywords.items() if key in {"dtype", "casting"}}
        first, *others = (np.ones((), array.dtype) for array in self.inputs)
        try:
            for other in others or [first]:
                np.hypot(first, other, **casting, **out)
        except TypeError:
            return False
        return True

    def _expected(self) -> Array:
        """Apply the function element by element, or row by row, to contiguous arrays of the kernel's dtype."""
        in_float32 = (np.float32, np.float16) if "axis" in self.keywords else (np.float32,)
        work = np.dtype(np.float32 if self.dtype in in_float32 else np.float64)
        is_half = self.dtype == np.float16 and "axis" not in self.keywords
        keywords = dict((self.plan.case.of_halves if is_half else self.plan.case).keywords)
        with np.errstate(all="ignore"), actufunc.num_threads(1):
            inputs = [np.broadcast_to(i.astype(work), self.selected.shape) for i in self.inputs]
            result = np.zeros(self.selected.shape, work)
            if "axis" in self.keywords:
                *rows, results = (np.moveaxis(a, self.keywords["axis"], -1) for a in (*inputs, result))
                for index in np.ndindex(results.shape[:-1]):
                    if results.shape[-1]:
                        results[index] = self.plan.case(*(np.ascontiguousarray(r[index]) for r in rows))
                return result
            flat = [a.ravel() for a in inputs]
            for i in range(result.size):
                one = [a[i : i + 1] for a in flat]
                if self.plan.hyperparameter is not None:
                    keywords[self.plan.hyperparameter[0]] = one.pop()
                result.flat[i] = self.plan.case.function(*one, **keywords)[0]
            return result

    def make(self) -> None:
        """Make the call and compare every byte."""
        if not self.permitted:
            with pytest.raises(TypeError):
                self.call()
            np.testing.assert_array_equal(self.memory.bytes, self.before)
            return
        result = self.call()
        assert self.expected is not None
        with np.errstate(all="ignore"):
            expected = self.expected.astype(self.dtype if self.out is None else self.out.dtype)
        if self.out is None:
            assert result.dtype == self.dtype
            np.testing.assert_array_equal(result, expected)
            np.testing.assert_array_equal(self.memory.bytes, self.before)
            return
        assert result is self.out
        np.testing.assert_array_equal(self.out[self.selected], expected[self.selected])
        written = owned(self.out, self.memory)
        np.testing.assert_array_equal(self.memory.bytes[~written], self.before[~written])
        excluded = (self.plan.out or self.plan.inputs[0]).of(copy_of(self.before))[~self.selected]
        assert self.out[~self.selected].tobytes() == excluded.tobytes()


def copy_of(content: Array) -> Memory:
    """Return memory of the same content."""
    memory = Memory(content.nbytes // mmap.PAGESIZE)
    memory.bytes[:] = content
    return memory


class Machine(RuleBasedStateMachine):
    """Calls on the same memory, one after the other; what one writes the next reads."""

    @initialize(seed=st.integers(0, 1000), mapped=st.sampled_from([False, False, False, True]))
    def fill(self, seed: int, mapped: bool) -> None:
        """Start with numbers of all sizes, laid out for float32."""
        self.memories = [MAPPED if mapped else MEMORIES[0], *MEMORIES[1:]]
        rng = np.random.default_rng(seed)
        for memory in self.memories:
            for dtype, part in zip(("float32", "float64"), np.split(memory.bytes, 2), strict=True):
                numbers = part.view(dtype)
                numbers[:] = rng.normal(size=numbers.size) * 4
                numbers[rng.integers(0, numbers.size, 5)] = [0.0, -np.inf, np.inf, np.nan, 1e-40]

    @rule(plan=plans())
    def call(self, plan: Plan) -> None:
        """Make one call."""
        Attempt(plan, self.memories[0]).make()

    @rule(plan=plans())
    def write_to_read_only(self, plan: Plan) -> None:
        """Refuse an output that is read-only, whatever else is true of the call."""
        attempt = Attempt(plan, self.memories[0])
        if attempt.out is not None:
            attempt.out.flags.writeable = False
            with pytest.raises((TypeError, ValueError)):
                attempt.call()
            np.testing.assert_array_equal(self.memories[0].bytes, attempt.before)

    @rule(chosen=st.lists(plans(), min_size=AT_ONCE, max_size=AT_ONCE))
    def call_at_once(self, chosen: list[Plan]) -> None:
        """Make a call in each of several threads at the same time, each in a memory of its own."""
        attempts = [Attempt(plan, memory) for plan, memory in zip(chosen, self.memories, strict=True)]
        for done in [THREADS.submit(attempt.make) for attempt in attempts]:
            done.result()


MEMORIES = [Memory(2) for _ in range(AT_ONCE)]
MAPPED = Memory(2, Path(tempfile.mkdtemp()) / "mapped")
THREADS = ThreadPoolExecutor(AT_ONCE)


@pytest.fixture
def lowered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lower all thresholds, so that threads share even a few elements and loops over parts have several."""
    for key in schedule.GRAINS:
        monkeypatch.setitem(schedule.GRAINS, key, 8)
    monkeypatch.setattr(schedule, "_LINE", 2)
    monkeypatch.setattr(schedule, "CHUNK", 8)
    monkeypatch.setattr(plan_axis, "_BLOCK", 16)
    for module in (ufunc, plan, plan_axis):
        monkeypatch.setattr(module, "LARGE", 4)
    for module in (ufunc, plan):
        monkeypatch.setattr(module, "TINY", 2)


@pytest.mark.parametrize("runs", [300, pytest.param(1_200, marks=pytest.mark.slow)])
@pytest.mark.parametrize("runner", ["TBB", "pool"])
def test_sequences(runner: str, runs: int, lowered: None, monkeypatch: pytest.MonkeyPatch) -> None:
    if runner == "pool":
        monkeypatch.setattr(tbb, "is_usable", lambda: False)
    elif not tbb.is_usable():
        pytest.skip(tbb.description())
    runs *= 500 if settings.get_current_profile_name() == "long" else 1
    run_state_machine_as_test(Machine, settings=settings(max_examples=runs // 2, stateful_step_count=3))

"""The cases of the CPU benchmark: functions and arrays, and the calls of all libraries in each case."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from cpu_results import BASELINE, COPY, OURS
from libraries import Array, ArrayLibrary, Function, Library, TimedCall, optional
from peers import peers
from thread_settings import threads

from actufunc._catalogue import ACTIVATIONS, examples
from actufunc.activations import gelu

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGE = 10**6  # elements, from which on memory is measured
_CHECKED = 10**5  # elements that are compared with ours
_TOLERANCES = {"float32": (1e-4, 1e-5), "float64": (1e-9, 1e-12)}


def _functions() -> dict[str, Function]:
    """Return the functions by name: the catalogue with its defaults, a variant and the compositions."""
    functions: dict[str, Function] = {}
    for name, function in ACTIVATIONS.items():
        given = examples(function)
        functions[name] = partial(function, **given) if given else function
    functions["gelu_tanh"] = partial(gelu, approximate="tanh")
    return dict(sorted(functions.items()))


FUNCTIONS = _functions()


@dataclass(frozen=True)
class CpuCase:
    """A comparison of libraries: one function on one array.

    Attributes
    ----------
    function : str
        Name in `FUNCTIONS`.
    dtype : str
        Name of the dtype.
    size : int
        Number of elements.
    output : {"fresh", "out"}
        Whether the result is a new array or written to a given one.
    """

    function: str
    dtype: str
    size: int
    output: str

    @property
    def kind(self) -> str:
        """Kind of the function; elementwise if it is not in the catalogue."""
        function = ACTIVATIONS.get(self.function)
        return "elementwise" if function is None else str(function.definition.kind)

    @property
    def keeps_shape(self) -> bool:
        """Whether the result has the shape of the input."""
        return self.kind in {"elementwise", "over an axis"}

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array: rows of 100 or 1000 for a function over an axis, if the size allows."""
        if self.kind == "elementwise":
            return (self.size,)
        row = max(min(self.size, 100 if self.size < LARGE else 1000), 2)
        return max(self.size // row, 1), row

    @property
    def nbytes(self) -> int:
        """Size of the input."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    @property
    def variant(self) -> str:
        """Dtype, size and output, as in the names of the rows: ``float32-1e6-out``."""
        return f"{self.dtype}-{self.size:.0e}-{self.output}".replace("e+0", "e")

    def __str__(self) -> str:
        return f"{self.function}-{self.variant}"


@dataclass(frozen=True)
class Selection:
    """A set of cases, and how long to measure them.

    Attributes
    ----------
    sizes, functions, threads : tuple
        The cases are those of all combinations, with each dtype, and output given or not.
    peers : tuple of str or None
        Peers that are timed; None for all.
    peers_from : int
        Least number of elements with peers; below it only ours and the baseline are timed.
    baselines : bool
        Whether `np.exp` is timed on one element, and a copy of large arrays.
    turns, seconds, least_rounds : numbers
        Schedule of one library in one case: number of turns, approximate seconds of each, and its least rounds.
    memory : bool
        Whether the extra memory of large calls is measured.
    """

    sizes: tuple[int, ...]
    functions: tuple[str, ...] = tuple(FUNCTIONS)
    threads: tuple[int, ...] = (1,)
    peers: tuple[str, ...] | None = None
    peers_from: int = 1
    baselines: bool = True
    turns: int = 4
    seconds: float = 0.02
    least_rounds: int = 2
    memory: bool = True

    def cases(self) -> Iterator[CpuCase]:
        """Yield the cases of this process, for its number of threads."""
        for function, dtype, size, output in product(self.functions, _TOLERANCES, self.sizes, ("fresh", "out")):
            if size >= self.peers_from or threads() == 1:
                yield CpuCase(function, dtype, size, output)

    def libraries(self, case: CpuCase) -> Iterator[str]:
        """Yield the names of the libraries that are timed in a case."""
        for name, library in libraries().items():
            if name == BASELINE:
                takes_part = self.baselines and case.size == 1 and case.keeps_shape
            elif name == COPY:
                takes_part = self.baselines and case.size >= LARGE and case.keeps_shape
            else:
                is_chosen = self.peers is None or name in self.peers
                takes_part = name == OURS or (is_chosen and case.size >= self.peers_from)
            if takes_part and library.has(case.function, case.output):
                yield name


SELECTIONS = {
    # The default of `pytest benchmarks`: about a minute.
    "main": Selection(
        (10**4, 10**6),
        ("sigmoid", "tanh", "softplus", "silu", "gelu", "mish", "relu", "leaky_relu", "softmax", "log_softmax"),
        peers=("NumPy", "SciPy", "torch", "JAX", "ONNX Runtime", "numexpr"),
        baselines=False,
    ),
    "full": Selection((1, 100, 10**4, 10**6, 10**7)),
    "quick": Selection((1, 10**4, 10**6), turns=3, seconds=0.005, least_rounds=3),
    # What benchmarks/results/cpu.md shows.
    "cpu": Selection(
        (1, 10**4, 10**6, 10**7),
        (
            *("sigmoid", "log_sigmoid", "tanh", "softplus", "silu", "gelu", "gelu_tanh", "mish"),
            *("relu", "leaky_relu", "elu", "softmax", "log_softmax"),
        ),
        threads=(1, 2),
        peers=("NumPy", "SciPy", "torch", "JAX", "ONNX Runtime", "numexpr"),
        peers_from=10**4,
        memory=False,
    ),
}


@cache
def libraries() -> dict[str, Library]:
    """Return our library, the peers and the baselines, by name."""
    found: dict[str, Library] = {OURS: ArrayLibrary(FUNCTIONS, FUNCTIONS), **peers()}
    found[BASELINE] = ArrayLibrary(dict.fromkeys(FUNCTIONS, np.exp), dict.fromkeys(FUNCTIONS, np.exp))
    if torch := optional("torch"):
        fresh, into = (lambda x: x.clone()), (lambda x, out: out.copy_(x))
        found[COPY] = ArrayLibrary(
            dict.fromkeys(FUNCTIONS, fresh), dict.fromkeys(FUNCTIONS, into), torch.from_numpy, traced=False
        )
    return found


def short_name(library: str) -> str:
    """Return the name of a library in the names of rows: ``onnxruntime``."""
    return library.replace(" ", "").lower()


@lru_cache(maxsize=2)
def _numbers(size: int) -> Array:
    return 4 * np.random.default_rng(0).standard_normal(size)


@lru_cache(maxsize=2)
def _data(function: str, dtype: str, shape: tuple[int, ...]) -> Array:
    x = _numbers(math.prod(shape))
    if function == "logit":  # of probabilities, none of which rounds to 1
        x = 1 / (1 + np.exp(-x / 4))
    return x.reshape(shape).astype(dtype)


@lru_cache(maxsize=1)
def _arrays(case: CpuCase) -> tuple[Array, Array, Array | None]:
    """Return the arrays that all libraries of a case share: input, our result, and output if it is given."""
    x = _data(case.function, case.dtype, case.shape)
    expected = np.asarray(FUNCTIONS[case.function](x))
    return x, expected, None if case.output == "fresh" else np.empty_like(expected)


def prepare(case: CpuCase, name: str) -> TimedCall | None:
    """Compile and warm up a call of one library, and check that its result is ours.

    Parameters
    ----------
    case : CpuCase
        The case. The arrays of the last one are cached.
    name : str
        Name of the library.

    Returns
    -------
    TimedCall or None
        None if the library has no kernel for the dtype.

    Raises
    ------
    AssertionError
        If it disagrees with ours.
    """
    x, expected, out = _arrays(case)
    call = libraries()[name].call(case.function, x, out)
    if call is None:
        return None
    if out is not None:
        out.fill(np.nan)
    returned = call()
    if name not in (BASELINE, COPY):
        # ONNX Runtime returns a list of one.
        result = np.asarray(returned).reshape(expected.shape) if out is None else out
        _check(result, expected, f"{name} differs from {OURS} in {case}")
    return call


def _check(result: Array, expected: Array, message: str) -> None:
    assert result.dtype == expected.dtype, message
    relative, absolute_ = _TOLERANCES[str(expected.dtype)]
    some = slice(None, None, expected.size // _CHECKED | 1)  # odd, so that it meets vector bodies at all lanes
    np.testing.assert_allclose(result.ravel()[some], expected.ravel()[some], relative, absolute_, err_msg=message)

"""Values of other libraries that differ from the catalogue's, or are less exact."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from peers_table import Twin

    Array = np.ndarray[Any, Any]


def _never(values: Array) -> Array:
    return np.zeros(values.shape, bool)


class Where(NamedTuple):
    """Elements whose inputs, or our results, are so and so."""

    words: str
    x: Callable[[Array], Array] = _never
    y: Callable[[Array], Array] = _never


def at(*points: float) -> Where:
    words = " and ".join(f"{point:g}" for point in points)
    return Where(f"at {words}", lambda x: np.isin(x, points) | (np.isnan(x) & np.isnan(points).any()))


def next_to(*points: float) -> Where:
    def near(x: Array) -> Array:
        return np.any([abs(x - point) <= 4 * np.finfo(x.dtype).eps for point in points], axis=0)

    return Where(f"next to {' and '.join(f'{point:g}' for point in points)}", near)


def between(low: float, high: float) -> Where:
    return Where(f"from {low:g} to {high:g}", lambda x: np.isfinite(x) & (x >= low) & (x <= high))


def _beyond(limit: Callable[[Any], float]) -> Callable[[Array], Array]:
    return lambda x: np.isfinite(x) & (abs(x) > limit(np.finfo(x.dtype)))


INF, NAN = np.inf, np.nan
EVERYWHERE = Where("everywhere", lambda x: np.ones(x.shape, bool))
OUTSIDE = Where("outside of 0 and 1", lambda x: (x < 0) | (x > 1))
FLOAT64 = Where("in float64", lambda x: np.full(x.shape, x.dtype == np.float64))
FAR_LEFT = Where("where exp(x) is subnormal", lambda x: np.isfinite(x) & (x < np.log(np.finfo(x.dtype).tiny)))
SUBNORMAL = Where(
    "at subnormal numbers and where the result is one",
    lambda x: (x != 0) & (abs(x) < np.finfo(x.dtype).tiny),
    lambda y: (y != 0) & (abs(y) < np.finfo(y.dtype).tiny),
)
SQUARE_OVERFLOWS = Where("where x*x overflows", _beyond(lambda info: 0.99 * info.max**0.5))
LARGEST = Where("where six times x overflows", _beyond(lambda info: info.max / 6.1))
TINY = Where("where x is nearly subnormal", lambda x: (x != 0) & (abs(x) < 2 * np.finfo(x.dtype).tiny))
SHARES = Where("where the result is between 0 and 1", y=lambda y: (y > 0) & (y < 1))
SMALL = Where("where the result is next to zero", y=lambda y: abs(y) < 0.1)


@dataclass(frozen=True, eq=False)
class Difference:
    """Something that a peer computes otherwise, or less exactly."""

    peer: str
    of: str  # "value" or "derivative"
    ours: str  # names, or a star for whichever
    where: Where
    reason: str
    within: float | None = None  # of each other all the same, in multiples of the machine epsilon
    call: str = "*"  # pattern of a twin

    def __repr__(self) -> str:
        return f"{self.peer} {self.of} of {self.ours} {self.where.words}"

    def concerns(self, twin: Twin, of: str) -> bool:
        names = self.ours.split()
        return (self.peer, self.of) == (twin.peer, of) and (
            (twin.ours in names or names == ["*"]) and fnmatch.fnmatchcase(repr(twin), self.call)
        )


# What differs, by peer and by what of it.
_INF_BY_INF = "infinity over infinity; ours is the limit"
_INF_BY_ZERO = "infinity times a factor of zero; ours is the limit"
_BRANCH = "at NaN the derivative of a branch, or another factor; ours is NaN"
_CANCELS = "terms cancel, and few digits or none are right; ours are"
_TAIL = "the end of the tail is lost; ours goes on to the smallest number"
_DEFAULT = "the default is another"
_ALL = "the default is over all axes, ours over the last"
_OVERFLOWS = "a term overflows before the result does"

_DIFFERENCES: dict[tuple[str, str], list[tuple[Any, ...]]] = {
    ("torch", "value"): [
        ("softsign", at(-INF, INF), _INF_BY_INF),
        ("silu mish hard_silu quick_gelu glu geglu swiglu", at(-INF), _INF_BY_ZERO),
        ("gelu", at(-INF, INF), _INF_BY_ZERO),
        ("sigmoid expit silu mish", FAR_LEFT, _TAIL),
        ("tanh_offset quick_gelu", between(-INF, -43), _TAIL),
        ("gelu geglu", between(-INF, -2), _CANCELS, 16),
        ("gelu hard_silu", LARGEST, _OVERFLOWS),
        ("softplus", between(6, INF), "it is x where beta*x exceeds a threshold of 20; ours has none", 1e8),
        ("tanh_shrink", between(-0.5, 0.5), _CANCELS, 4),
        ("log_softmax", SMALL, _CANCELS, 16),
    ],
    ("torch", "derivative"): [
        ("hard_sigmoid hard_tanh hard_silu hard_shrink soft_shrink threshold", at(NAN), _BRANCH),
        ("relu relu6 leaky_relu prelu elu celu selu identity glu reglu geglu swiglu", at(NAN), _BRANCH),
        ("softsign silu mish gelu quick_gelu gaussian glu geglu swiglu", at(-INF, INF), _INF_BY_ZERO),
        ("reglu", at(-INF, INF), "0 by a closed gate; ours is infinity times zero, NaN as the value"),
        ("gelu", SQUARE_OVERFLOWS, _OVERFLOWS, None, "gelu(approximate=tanh)*"),
        ("hard_sigmoid", FLOAT64, "1/6 is rounded to float32", 1e8),
        ("sparsemax", at(-INF, INF, NAN), _BRANCH),
        ("softplus", between(6, INF), "it is x where beta*x exceeds a threshold of 20; ours has none", 1e8),
    ],
    ("jax", "value"): [
        ("*", SUBNORMAL, "flushed to zero"),
        ("softsign", at(-INF, INF), _INF_BY_INF),
        ("silu swish mish gelu hard_silu hard_swish squareplus glu", at(-INF), _INF_BY_ZERO),
        ("silu swish mish", FAR_LEFT, _TAIL),
        ("gelu", EVERYWHERE, _DEFAULT + ': approximate="tanh"', None, "gelu() *"),
        ("gelu", between(-INF, -2), _CANCELS, 16, "gelu(approximate=tanh)*"),
        ("gelu", between(-INF, -12), _TAIL, None, "gelu(approximate=none)*"),
        ("squareplus", between(-INF, -2), _CANCELS, 16),
        ("squareplus", SQUARE_OVERFLOWS, _OVERFLOWS),
        ("log_softmax", SMALL, _CANCELS, 16),
        ("softmax log_softmax", EVERYWHERE, _ALL, None, "*() by jax scipy*"),
        ("logsumexp", EVERYWHERE, _ALL, None, "*() *"),
    ],
    ("jax", "derivative"): [
        ("*", SUBNORMAL, "flushed to zero"),
        ("hard_sigmoid hard_tanh relu relu6 leaky_relu prelu sparse_sigmoid identity glu", at(NAN), _BRANCH),
        ("softsign silu swish mish gelu squareplus sparse_plus glu", at(-INF, INF), _INF_BY_ZERO),
        ("mish gelu", EVERYWHERE, _CANCELS, 256),
        ("glu", LARGEST, _OVERFLOWS),
        ("gelu", SQUARE_OVERFLOWS, _OVERFLOWS),
        ("squareplus sparse_plus", SQUARE_OVERFLOWS, _OVERFLOWS),
        ("logit", OUTSIDE, "the derivative goes on where there is no function; ours is NaN"),
        ("hard_sigmoid hard_silu hard_swish", next_to(3), "x + 3 is rounded to the kink"),
        ("hard_tanh", at(-1, 1), "1 at the kinks; ours is 0, as torch's"),
        ("leaky_relu prelu", at(0), "1 at the kink; ours is the slope, as torch's"),
        ("sparse_sigmoid", next_to(-1, 1), "1/4 at the kinks, half of the slope; ours is 0"),
        ("gelu", EVERYWHERE, _DEFAULT + ': approximate="tanh"', None, "gelu() *"),
        ("softmax log_softmax", EVERYWHERE, _ALL, None, "*() by jax scipy*"),
        ("logsumexp", EVERYWHERE, _ALL, None, "*() *"),
    ],
    ("keras", "value"): [
        ("softsign", at(-INF, INF), _INF_BY_INF),
        ("silu swish mish gelu hard_silu hard_swish squareplus glu", at(-INF), _INF_BY_ZERO),
        ("sigmoid silu swish mish", FAR_LEFT, _TAIL),
        ("threshold hard_shrink soft_shrink", at(NAN), "NaN counts as small; ours stays NaN"),
        ("leaky_relu", between(-INF, 0), f"{_DEFAULT}: a slope of 0.2", None, "leaky_relu() *"),
        ("gelu", EVERYWHERE, f'{_DEFAULT} in keras.ops: approximate="tanh"', None, "gelu() by keras ops*"),
        ("gelu squareplus", between(-INF, -2), _CANCELS, 16),
        ("gelu sparsemax", LARGEST, _OVERFLOWS),
        ("squareplus", SQUARE_OVERFLOWS, _OVERFLOWS),
        ("tanh_shrink", between(-0.5, 0.5), _CANCELS, 4),
        ("log_softmax", SMALL, _CANCELS, 16),
        ("logsumexp", EVERYWHERE, _ALL, None, "*() *"),
        ("sparsemax", SHARES, "the shares do not add up to one where there are several (Keras issue 23425)"),
        ("sparsemax", at(-INF, INF, NAN), "only some of a row with infinity or NaN become NaN; of ours all"),
    ],
    ("scipy", "value"): [
        ("expit", FAR_LEFT, _TAIL),
        ("log_softmax", SMALL, _CANCELS, 16),
        ("softmax log_softmax logsumexp", EVERYWHERE, _ALL, None, "*() *"),
    ],
    ("onnx", "value"): [
        ("softsign", at(-INF, INF), _INF_BY_INF),
        ("silu hard_swish mish gelu quick_gelu", at(-INF), _INF_BY_ZERO),
        ("threshold hard_shrink soft_shrink", at(NAN), "NaN counts as small; ours stays NaN"),
        ("hard_sigmoid", EVERYWHERE, f"{_DEFAULT}: 0.2*x + 0.5", None, "* by onnx y = HardSigmoid(x)"),
        ("sigmoid silu quick_gelu", between(-INF, -1), "a rational fit, few digits of whose tail are right", 32),
        ("tanh", TINY, "a rational fit, which is not quite x where x is tiny"),
        ("elu celu selu", between(-0.01, 0), _CANCELS, 4),
        ("gelu", between(-INF, -2), _CANCELS, 16),
        ("mish", FAR_LEFT, _TAIL),
        ("quick_gelu", FLOAT64, "1.702 is rounded to float32", 1e9),
        ("hard_shrink soft_shrink", FLOAT64, "computed in float32"),
        ("log_softmax", SMALL, _CANCELS, 16),
        ("log_softmax", at(INF, NAN), "in float64 only some of a row with infinity or NaN become NaN; of ours all"),
        ("logsumexp", EVERYWHERE, _ALL, None, "* by onnx y = ReduceLogSumExp<keepdims = 0>(x)"),
    ],
}
DIFFERENCES = [Difference(peer, of, *each) for (peer, of), differences in _DIFFERENCES.items() for each in differences]

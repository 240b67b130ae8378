"""What the docstring of an activation states: special values, range, symmetry, monotonicity.

It is read from the docstring, so that what users are told is what is verified.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from actufunc import Activation

_POINT = r"(\S+) at ((?:-inf|-0 and \+0|-0|\+0|\+inf|NaN))"
_RANGE = re.compile(r"Range [\[(]([^,]+), ([^\])]+)[\])](.*?)\.(?: |$)")


@dataclass(frozen=True)
class Laws:
    """What holds for all inputs.

    Attributes
    ----------
    low, high : float
        Bounds of the results. Rounding may reach those that the function does not.
    parity : int
        1 for an even function, -1 for an odd one, 0 for others.
    increasing : bool
        Whether no result is below that of a smaller input.
    """

    low: float = -math.inf
    high: float = math.inf
    parity: int = 0
    increasing: bool = False

    def of_derivative(self) -> Laws:
        """Return what follows for the derivative."""
        return Laws(low=0.0 if self.increasing else -math.inf, parity=-self.parity)


def laws(function: Activation, **keywords: Any) -> Laws:
    """Read what holds for all inputs, from a sentence like "Range [low, high), odd, increasing".

    Parameters
    ----------
    function : Activation
        Whose docstring to read.
    **keywords
        Hyperparameters, which the bounds may name.

    Returns
    -------
    Laws
        What is stated; without the sentence nothing is.

    Examples
    --------
    >>> from actufunc import tanh
    >>> from actufunc.accuracy.properties import laws
    >>> laws(tanh)
    Laws(low=-1, high=1, parity=-1, increasing=True)
    """
    found = _RANGE.search(_text(function))
    if found is None:
        return Laws()
    names = _names(function, keywords)
    low, high = (_evaluated(bound, names) for bound in found.group(1, 2))
    words = re.findall(r"\w+", found[3])
    return Laws(low, high, ("even" in words) - ("odd" in words), "increasing" in words)


def special_values(function: Activation, **keywords: Any) -> list[tuple[float, float]]:
    """Read the values at infinities, zeros and NaN, from a sentence like "Values: a at -inf, ..., NaN at NaN".

    Parameters
    ----------
    function : Activation
        Whose docstring to read.
    **keywords
        Hyperparameters, which the values may name.

    Returns
    -------
    list of pairs of float
        Points and values; none without the sentence.

    Examples
    --------
    >>> from actufunc import relu
    >>> from actufunc.accuracy.properties import special_values
    >>> special_values(relu)
    [(-inf, 0), (-0.0, 0), (0.0, 0), (inf, inf), (nan, nan)]
    """
    sentence = re.search(r"Values[^:]*: (.*?NaN at NaN)", _text(function))
    if sentence is None:
        return []
    names = _names(function, keywords)
    found = []
    for value, points in re.findall(_POINT, sentence[1]):
        result = _evaluated(value.replace("-0", "-0.0"), names)
        found += [(float(point), result) for point in points.split(" and ")]
    return found


def _text(function: Activation) -> str:
    return " ".join((function.__doc__ or "").split())


def _names(function: Activation, keywords: dict[str, Any]) -> dict[str, Any]:
    of_numbers = {"inf": math.inf, "NaN": math.nan, "log": math.log}
    return {**function.definition.hyperparameters, **keywords, **of_numbers}


def _evaluated(text: str, names: dict[str, Any]) -> Any:
    return eval(text, {"__builtins__": {}}, names)  # noqa: S307 -- the docstring of code that runs anyway

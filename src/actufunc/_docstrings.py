"""Docstrings of activations: shared sections, and documented properties.

A docstring of the catalogue has numpydoc's sections without `x`, the keywords of a call, the result and the imports of
the examples, which are the same for all activations; `complete` adds them.

In "Parameters", ``name : {"a", "b"}, default "a"`` lists the values of an option. "Notes" begins with fields of
reStructuredText, ``:NAME: VALUE`` or ``:NAME if CONDITION: VALUE``, continued on indented lines:

``:Range: [LOW, HIGH), WORD, WORD``
    Interval of the results, with a round bracket at a bound that they only approach. Optional words: ``even`` or
    ``odd``; ``increasing``, which allows for steps; ``smooth`` or ``smooth but at 0``.
``:Values: VALUE at POINT, VALUE at POINT and POINT``
    Results at -inf, -0, +0, +inf and NaN, all required, and at other points. Zeros have signs: ``-0 at -inf``.
``:Special values:``, ``:Derivative:``, ``:vjp:``, ``:Integers:``, ``:Defaults elsewhere:``
    Prose. The first is for functions over an axis and gated units, the fourth for functions that keep integers.

Bounds, values and conditions are Python expressions of hyperparameters, ``inf``, ``NaN`` and ``log``, without a comma.
A field is ignored if its condition is false. ``actufunc verify`` and the tests check the fields Range and Values.
"""

from __future__ import annotations

import inspect
import math
import re
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from ._activation import Activation

_HEADING = re.compile(r"\n\n([A-Z][A-Za-z ]+)\n-{3,}\n")
_NAMES = ("Range", "Values", "Special values", "Derivative", "vjp", "Integers", "Defaults elsewhere")
_FIELD = re.compile(rf":({'|'.join(_NAMES)})(?: if ([^:]+))?: +(\S.*)")
_ROLE = re.compile(r":\w+:`")
_POINT = r"[-+]?(?:inf|[\d.]+)|NaN"
_VALUE = re.compile(rf"([^,]+) at ({_POINT})(?: and ({_POINT}))?")
_POINTS = {"-inf", "-0", "+0", "+inf", "NaN"}
_RANGE = re.compile(r"[\[(]([^,]+), ([^,]+)[\])](, (?:even|odd))?(, increasing)?(?:, (smooth(?: but at 0)?))?")

_DTYPES = "float16, bfloat16, float32 or float64; integers and booleans become the default float."
_DTYPES_WITH_INTEGERS = "float16, bfloat16, float32, float64 or integers; booleans become the default float."
_AXIS = """axis : int, tuple of int or None, default -1
    Axis or axes to compute over; None is the whole array."""
_WHERE = """where : array of bool, optional
    Elements that take part."""
_KEYWORDS = {
    "elementwise": """out, where, dtype, casting, order, subok : optional
    As for a `numpy.ufunc`.""",
    "over an axis": f"""{_AXIS}
{_WHERE}
out, dtype : optional
    As for `numpy.cumsum`.""",
    "reducing": f"""{_AXIS}
keepdims : bool, default False
    True if the result keeps the axis, with length one.
{_WHERE}
out, dtype : optional
    As for `numpy.sum`.""",
    "gated": """axis : int, default -1
    Axis of even length, which is split in halves: the first is the value :math:`a`, the second the gate :math:`b`.
out, dtype : optional
    As for a `numpy.ufunc`.""",
}
_RESULTS = {
    "elementwise": """Array of the kind, shape and dtype of `x`; arrays as hyperparameters broadcast and promote.
    Infinities give the limit, where there is one.""",
    "over an axis": "Array of the kind, shape and dtype of `x`.",
    "reducing": "Array of the kind and dtype of `x`, without the axis.",
    "gated": """Array of the kind and dtype of `x`, half as long along the axis: that is the shape of the cotangent that
    ``vjp(x, g)`` takes.""",
}

_IMPORTS = """>>> import numpy as np
>>> from actufunc import {}"""


def complete(function: Activation) -> str:
    """Return the docstring of an activation with the shared entries and sections added.

    `x` is inserted before the documented parameters, the keywords of a call after them, then "Returns" and the imports
    of the examples. A documented parameter replaces the shared entry of the same name.
    """
    summary, sections = _sections(function)
    kind = function.definition.kind
    dtypes = _DTYPES_WITH_INTEGERS if ":Integers" in sections.get("Notes", "") else _DTYPES
    own = _entries(sections.pop("Parameters", ""))
    shared = {name: entry for name, entry in _entries(_KEYWORDS[kind]).items() if name not in own}
    entries = [f"x : array, any shape\n    {dtypes}", *own.values(), *shared.values()]
    first = {"Parameters": "\n".join(entries), "Returns": f"array\n    {_RESULTS[kind]}"}
    if "Examples" in sections:
        sections["Examples"] = f"{_IMPORTS.format(function.__name__)}\n{sections['Examples']}"
    texts = [f"{name}\n{'-' * len(name)}\n{text}" for name, text in {**first, **sections}.items()]
    return "\n\n".join([summary, *texts]) + "\n"


def choices(function: Activation) -> dict[str, list[str]]:
    """Return the values of the options of an activation, which stand in braces in the section "Parameters"."""
    entries = _entries(_sections(function)[1].get("Parameters", ""))
    heads = {name: entries.get(name, "").partition("\n")[0] for name in function.definition.options}
    return {name: re.findall(r'"(.*?)"', head.partition("}")[0]) for name, head in heads.items() if "{" in head}


class Properties(NamedTuple):
    """Documented properties of an elementwise function, or of its derivative.

    Attributes
    ----------
    low, high : float
        Bounds of the results. Rounded results may reach bounds that the function only approaches.
    parity : int
        Sign of the parity: 1 for an even function, -1 for an odd one, 0 for others.
    increasing : bool
        True if no result is below that of a smaller input.
    smooth : str
        "smooth", "smooth but at 0", or "".
    values : tuple of pairs of float
        Points and the results at these.
    """

    low: float = -math.inf
    high: float = math.inf
    parity: int = 0
    increasing: bool = False
    smooth: str = ""
    values: tuple[tuple[float, float], ...] = ()

    def of_derivative(self) -> Properties:
        """Return the properties that follow for the derivative."""
        return Properties(low=0.0 if self.increasing else -math.inf, parity=-self.parity)


def properties(function: Activation, **hyperparameters: Any) -> Properties:
    """Return the documented properties of an activation, for hyperparameters at their defaults or as given.

    ValueError is raised if a field does not follow the grammar above.

    Examples
    --------
    >>> from actufunc import tanh
    >>> from actufunc._docstrings import properties
    >>> properties(tanh)[:4]
    (-1, 1, -1, True)
    """
    defaults = function.definition.hyperparameters.items()
    known = {name: value for name, value in defaults if value is not inspect.Parameter.empty}
    known = {**known, **hyperparameters, "inf": math.inf, "NaN": math.nan, "log": math.log, "__builtins__": {}}
    found: dict[str, Any] = {}
    documented = fields(function)
    for name in documented.keys() & _PARSERS.keys():
        condition, text = documented[name]
        try:
            if _evaluated(condition, known):
                found |= _PARSERS[name](text, known)
        except Exception as error:
            raise ValueError(f"the docstring of {function.__name__} has :{name}: {text}, but {error}") from error
    return Properties(**found)


def _range(text: str, known: dict[str, Any]) -> dict[str, Any]:
    match = _RANGE.fullmatch(text)
    if match is None:
        raise ValueError("it must be [LOW, HIGH], then any of even or odd, increasing, smooth or smooth but at 0")
    low, high, parity, increasing, smooth = match.groups()
    return {
        "low": _evaluated(low, known),
        "high": _evaluated(high, known),
        "parity": {None: 0, ", even": 1, ", odd": -1}[parity],
        "increasing": increasing is not None,
        "smooth": smooth or "",
    }


def _values(text: str, known: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part in text.split(", "):
        match = _VALUE.fullmatch(part)
        if match is None:
            raise ValueError(f"{part!r} must be VALUE at POINT, or VALUE at POINT and POINT")
        found |= dict.fromkeys(filter(None, match.groups()[1:]), _evaluated(match[1], known))
    if missing := sorted(_POINTS - found.keys()):
        raise ValueError(f"it has no value at {' and '.join(missing)}")
    return {"values": tuple((float(point), value) for point, value in found.items())}


_PARSERS = {"Range": _range, "Values": _values}


def _evaluated(text: str, known: dict[str, Any]) -> Any:
    # The integer 0 has no sign. Docstrings are trusted like the code beside them.
    return -0.0 if text == "-0" else eval(text, known)  # noqa: S307


def fields(function: Activation) -> dict[str, tuple[str, str]]:
    """Return the fields in the notes by their names, as pairs of condition and value."""
    found = {}
    for line in re.sub(r"\n +", " ", _sections(function)[1].get("Notes", "")).splitlines():
        if not line.startswith(":") or _ROLE.match(line):
            continue
        match = _FIELD.fullmatch(line)
        if match is None:
            names = ", ".join(_NAMES)
            raise ValueError(
                f"the docstring of {function.__name__} has {line!r}, not :NAME: VALUE by a name of {names}"
            )
        if match[1] in found:
            raise ValueError(f"the docstring of {function.__name__} has :{match[1]}: twice")
        found[match[1]] = match[2] or "True", match[3]
    return found


def _entries(text: str) -> dict[str, str]:
    """Return the entries of a section of parameters by their names."""
    return {entry.partition(" : ")[0]: entry for entry in re.split(r"\n(?=\S)", text) if entry}


def _sections(function: Activation) -> tuple[str, dict[str, str]]:
    """Return the text before the sections of a docstring, and their texts by their headings."""
    first, *rest = _HEADING.split(inspect.cleandoc(function.__doc__ or ""))
    return first, dict(zip(rest[::2], rest[1::2], strict=True))

"""What an activation tells about itself, as a NumPy ufunc does, and the formula that it computes."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

import numpy as np

from actufunc.backends.promotion import as_python, holds_integers, is_scalar
from actufunc.formula.expression import constant, to_text

if TYPE_CHECKING:
    from actufunc._calling.binding import Positions
    from actufunc.formula.definition import Definition

_KEYWORDS = {
    "out": None,
    "where": True,
    "dtype": None,
    "casting": "same_kind",
    "order": "K",
    "subok": True,
    "signature": None,
}
_INTEGERS = "bBhHiIlLqQ"  # in the order of NumPy

_AXIS_KEYWORDS = {"axis": -1, "out": None, "where": True, "dtype": None}
_REDUCING_KEYWORDS = {**_AXIS_KEYWORDS, "keepdims": False}
_GATED_KEYWORDS = {"axis": -1, "out": None, "dtype": None}

_LINE = 80  # characters of what stands for an activation in tables and at the prompt


class Described:
    """What follows from the definition of an activation.

    Attributes
    ----------
    definition : Definition
        What it computes.
    positions : Positions
        What may be given by position.
    """

    __slots__ = ()

    nout = 1
    identity = None

    definition: Definition
    positions: Positions
    __name__: str

    @property
    def nin(self) -> int:
        """Number of arrays it can take: x and the numeric hyperparameters."""
        return len(self.definition.arguments)

    @property
    def nargs(self) -> int:
        """Number of inputs and outputs."""
        return self.nin + self.nout

    @property
    def signature(self) -> str | None:
        """Dimensions that each element is computed from, as of a generalised `numpy.ufunc`; None if elementwise."""
        definition = self.definition
        if definition.kind == "elementwise":
            return None
        other = "(m)" if definition.gated else "()" if definition.reduces or definition.of_rows else "(n)"
        inputs = ["(n)", *(other for _ in definition.arrays[1:]), *("()" for _ in definition.hyperparameters)]
        return f"{','.join(inputs)}->{'(n)' if definition.arrays[1:] else other}"

    @property
    def types(self) -> list[str]:
        """Signatures by dtype character, as of a `numpy.ufunc`, with the default hyperparameters.

        bfloat16, which is computed as well, has none that NumPy knows.
        """
        definition = self.definition
        scalars = {key: as_python(v) for key, v in definition.hyperparameters.items() if is_scalar(v)}
        formulas = [each.specialised(each.options, scalars) for each in definition.halves or (definition,)]
        integers = (c for c in _INTEGERS if all(holds_integers(formula, np.dtype(c)) for formula in formulas))
        return [f"{character * self.nin}->{character}" for character in (*integers, *"efd")]

    @property
    def ntypes(self) -> int:
        """Number of signatures."""
        return len(self.types)

    @property
    def __signature__(self) -> inspect.Signature:
        definition, kinds = self.definition, inspect.Parameter
        defaults = {**definition.hyperparameters, **definition.options, **self.call_keywords}
        places = [*self.positions.names, *([] if self.positions.follows is None else [self.positions.follows])]
        parameters = [
            kinds(name, kinds.POSITIONAL_OR_KEYWORD, default=defaults.get(name, kinds.empty)) for name in places
        ]
        parameters += [
            kinds(name, kinds.KEYWORD_ONLY, default=default) for name, default in defaults.items() if name not in places
        ]
        return inspect.Signature(parameters)

    @property
    def formula(self) -> str:
        """The formula that all backends compute, for the default options."""
        return to_text(self.definition.formula(self.definition.options))

    def source(self, target: str = "numba", dtype: Any = "float32", **options: Any) -> str:
        """Return the text that is compiled.

        Parameters
        ----------
        target : {"numba", "cuda"}
            Python for Numba, or CUDA C. Over an axis the kernel is that for contiguous rows, in CUDA of 1024 elements.
        dtype : dtype_like, default "float32"
            Of the arrays.
        **options
            Values of options, such as ``approximate="tanh"``, and of scalar hyperparameters, which are compiled in.

        Returns
        -------
        str
            Source text.

        Raises
        ------
        ValueError
            If the target is unknown.

        Examples
        --------
        >>> from actufunc import relu
        >>> print(relu.source("numba"))
        def relu(x):
            t0 = maximum(x, float32(0.0))
            return t0
        <BLANKLINE>
        """
        definition = self.definition
        chosen = {name: options.pop(name, default) for name, default in definition.options.items()}
        unknown = options.keys() - definition.hyperparameters.keys()
        if unknown:
            raise TypeError(f"{self.__name__} has no {' and '.join(map(repr, sorted(unknown)))}")
        values = {name: constant(value) for name, value in options.items()}
        expression = definition.expression(chosen).substitute(values)
        arguments = [name for name in definition.arguments if name not in values]
        name = definition.identifier
        if target == "numba":
            from actufunc.backends.numpy.codegen.elementwise import source as numba_source  # noqa: PLC0415
            from actufunc.backends.numpy.codegen.layout import Layout  # noqa: PLC0415

            layout = Layout.ROWS if definition.over_axis else None
            return numba_source(name, expression, arguments, np.dtype(dtype), layout)
        if target == "cuda":
            from actufunc.backends.cupy.codegen.axis import example  # noqa: PLC0415
            from actufunc.backends.cupy.codegen.elementwise import source as cuda_source  # noqa: PLC0415

            return (example if definition.over_axis else cuda_source)(name, expression, arguments, np.dtype(dtype))
        raise ValueError(f"target must be 'numba' or 'cuda', not {target!r}")

    def __repr__(self) -> str:
        text = f"<activation {self.__name__}({', '.join(self.definition.arguments)}) = {self.formula}>"
        return text if len(text) <= _LINE else f"{text[: _LINE - len('...>')]}...>"

    @functools.cached_property
    def call_keywords(self) -> dict[str, Any]:
        """Keywords of the call protocol, with their defaults."""
        definition = self.definition
        if definition.gated:
            return _GATED_KEYWORDS
        if definition.reduces or definition.of_rows:
            return _REDUCING_KEYWORDS
        return _AXIS_KEYWORDS if definition.over_axis else _KEYWORDS

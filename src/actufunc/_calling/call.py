"""A call of an activation, bound to its arguments, before a backend is chosen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from actufunc.formula.definition import Definition
    from actufunc.formula.expression import Expression

    from .function import Function


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an activation, bound to its arguments.

    Attributes
    ----------
    function : Activation
        Called activation.
    operands : dict
        Arrays and hyperparameters by name, in the order of the definition.
    options : dict
        Values of the definition's options.
    keywords : dict
        Other keywords that were given, such as `out`, `where`, `dtype` and `axis`.
    """

    function: Function
    operands: dict[str, Any]
    options: dict[str, Any]
    keywords: Mapping[str, Any]

    @property
    def definition(self) -> Definition:
        """Definition of the activation."""
        return self.function.definition

    @property
    def expression(self) -> Expression:
        """Formula for the options of this call."""
        return self.definition.computed(self.options)

    def specialised(self, scalars: Mapping[str, Any]) -> Expression:
        """Return the formula for the options, with scalar hyperparameters substituted."""
        return self.definition.specialised(self.options, scalars)

    @property
    def out(self) -> Any:
        """Output array, also if it was given as a tuple of one, or None."""
        out = self.keywords.get("out")
        if isinstance(out, tuple):
            if len(out) != 1:
                raise ValueError(f"{self.definition.name} has one output: out must be one array, not {len(out)}")
            return out[0]
        return out

    def as_arguments(self) -> tuple[list[Any], dict[str, Any]]:
        """Return positional and keyword arguments of this call, without trailing hyperparameters at their default."""
        inputs = dict(self.operands)
        for name, default in reversed(self.definition.hyperparameters.items()):
            if inputs[name] is not default:
                break
            del inputs[name]
        options = {name: value for name, value in self.options.items() if value != self.definition.options[name]}
        axis = {"axis": -1} if self.definition.over_axis else {}
        return list(inputs.values()), {**axis, **options, **self.keywords}

    def items(self) -> Iterator[tuple[str, Any]]:
        """Yield the names and values of operands, output and mask."""
        yield from self.operands.items()
        if (out := self.out) is not None:
            yield "out", out
        if "where" in self.keywords:
            yield "where", self.keywords["where"]

    def values(self) -> Iterator[Any]:
        """Yield operands, output and mask."""
        return (value for _, value in self.items())


def refuse_numpy_keywords(call: Call, library: str) -> None:
    """Raise TypeError if a call on arrays of `library` has a keyword that only NumPy's and CuPy's backends support."""
    defaults = call.function.call_keywords
    for keyword in ("out", "casting", "order", "subok"):
        value = call.keywords.get(keyword)
        if value is not None and (keyword == "out" or value != defaults.get(keyword)):
            raise TypeError(f"{call.definition.name} takes {keyword}= with NumPy arrays only; omit it for {library}")

"""The types of a call of an activation in compiled code."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from numba.core import types as numba_types
from numba.core.errors import TypingError
from numba.np.numpy_support import as_dtype

from actufunc._calling.binding import bind
from actufunc.backends.promotion import is_scalar, result_dtype, rounded, scalars_of

from .functions import compile_result, result_type

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from actufunc._calling.call import Call
    from actufunc._calling.function import Function

types: Any = numba_types

_NUMBERS = types.integer_domain | types.real_domain | {types.boolean}


@dataclass(frozen=True)
class _Operand:
    """An argument that has a value at run time only."""

    kind: Any

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the argument or its elements."""
        dtype: np.dtype[Any] = as_dtype(self.number)
        return dtype

    @property
    def number(self) -> Any:
        """Type of the argument or its elements."""
        return self.kind.dtype if self.is_array else self.kind

    @property
    def is_array(self) -> bool:
        """True for an array."""
        return isinstance(self.kind, types.Array)

    def __repr__(self) -> str:
        return f"a value of type {self.kind} that is not known at compile time"


def _argument(kind: Any, *, has_value: bool) -> Any:
    """Return the value of an argument if it may have one at compile time and does, else an `_Operand`."""
    if isinstance(kind, types.Omitted):  # the default of a parameter of the function around
        return kind.value if has_value else _Operand(numba.typeof(kind.value))
    if has_value and isinstance(kind, types.Literal):
        return kind.literal_value
    return None if isinstance(kind, types.NoneType) else _Operand(types.unliteral(kind))


class CallSite:
    """A call in code that is being compiled, by the types of its arguments.

    `names` has all parameters, `kinds` the types of the arguments that the compiled function takes, by name.
    """

    def __init__(self, activation: Function, args: Sequence[Any], keywords: Mapping[str, Any]) -> None:
        definition = self._definition = activation.definition
        if definition.over_axis or definition.gated:
            raise TypingError(f"{definition.name} works along an axis of an array: call it outside compiled code")
        self.names = (*definition.arguments, *definition.options)
        self._given = {**dict(zip(self.names, args, strict=False)), **keywords}
        arrays = definition.arrays
        positional = [_argument(kind, has_value=place >= len(arrays)) for place, kind in enumerate(args)]
        named = {key: _argument(kind, has_value=key not in arrays) for key, kind in keywords.items()}
        try:
            self._resolve(bind(activation, *positional, **named))
        except (TypeError, ValueError) as error:
            raise TypingError(str(error)) from None

    def _resolve(self, call: Call) -> None:
        """Set the dtype, the types of the arguments and the expression."""
        name = call.definition.name
        if call.keywords:
            raise TypeError(f"inside compiled code {name} takes no {' and no '.join(call.keywords)}; call it outside")
        self._operands = {key: value for key, value in call.operands.items() if isinstance(value, _Operand)}
        for key, value in call.operands.items():
            if not (value.number in _NUMBERS if key in self._operands else is_scalar(value)):
                kind = value.kind if key in self._operands else repr(value)
                raise TypeError(
                    f"inside compiled code {name} takes float32, float64, integers, booleans and arrays of them, not "
                    f"{kind} for {key}; convert it, or call {name} outside"
                )
        # Scalars take the dtype of the arrays beside them, and hyperparameters that of x.
        arrays = {key: operand for key, operand in self._operands.items() if operand.is_array}
        strong = arrays or {key: self._operands[key] for key in call.definition.arrays}
        self.dtype = result_dtype(call, strong)
        if self.dtype.kind != "f" and len(strong) < len(self._operands):
            self.dtype = np.dtype(np.float64)  # the values, which an integer must hold, are not known
        number = getattr(types, self.dtype.name)
        self.kinds = {key: operand.kind if operand.is_array else number for key, operand in self._operands.items()}
        self.expression = call.specialised({key: rounded(v, self.dtype) for key, v in scalars_of(call).items()})

    def signature(self, recvr: Any) -> Any:
        """Return the signature of the call, with types also for arguments that are left out."""
        kinds = inspect.Parameter
        defaults = {**self._definition.hyperparameters, **self._definition.options}
        parameters = [
            kinds(name, kinds.POSITIONAL_OR_KEYWORD, default=defaults.get(name, kinds.empty)) for name in self.names
        ]
        args = [
            self._operands[name].kind
            if name in self._operands
            else self._given.get(name, types.Omitted(defaults[name]))
            for name in self.names
        ]
        return result_type(self.dtype, self.kinds)(*args).replace(recvr=recvr, pysig=inspect.Signature(parameters))

    def compile_result(self) -> Any:
        """Compile the function to call."""
        return compile_result(self._definition.identifier, self.expression, self.dtype, self.kinds)

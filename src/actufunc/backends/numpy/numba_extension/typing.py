"""What Numba learns about activations: their type, the types of calls, and how a call is compiled."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from numba.core import types as numba_types
from numba.core.errors import TypingError
from numba.extending import (
    NativeValue,
    infer_getattr,
    lower_builtin,
    lower_getattr_generic,
    models,
    register_model,
    unbox,
)
from numba.np.numpy_support import as_dtype

from actufunc._calling.binding import bind
from actufunc.backends.numpy.jit.intrinsics import inline
from actufunc.backends.numpy.jit.numba_patches import ATTRIBUTES, CPU_TARGET
from actufunc.backends.promotion import is_scalar, result_dtype, rounded, scalars_of

from .lowering import compile_result, result_type

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from actufunc._calling.call import Call
    from actufunc._calling.function import Function

types: Any = numba_types

cpu_target = CPU_TARGET.get()

_NUMBERS = types.integer_domain | types.real_domain | {types.boolean}


class ActivationType(types.Callable, types.Dummy):  # type: ignore[misc]
    """The type of one activation: to Numba every function has one of its own.

    Parameters
    ----------
    activation : Function
        Which one.
    """

    def __init__(self, activation: Function) -> None:
        self.activation = activation
        super().__init__(f"activation({activation.__name__})")

    @property
    def key(self) -> Function:
        """What tells these types apart."""
        return self.activation

    def get_call_type(self, context: Any, args: Sequence[Any], kws: Mapping[str, Any]) -> Any:
        """Return the signature of a call."""
        if cpu_target is not None and type(context) is not type(cpu_target.typing_context):
            raise TypingError(f"{self.activation.__name__} can be called only in code that is compiled for the CPU")
        return _Site(self.activation, args, kws).signature(self)

    def get_call_signatures(self) -> tuple[list[Any], bool]:
        """Say that there are more signatures than a list can hold."""
        return [], True

    def get_impl_key(self, _: Any) -> Any:
        """Return what `_lower` is registered for."""
        return ActivationType


@dataclass(frozen=True)
class _Operand:
    """An argument that has a value at run time only."""

    kind: Any

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the argument or its elements."""
        dtype: np.dtype[Any] = as_dtype(self.number)
        return dtype

    @property
    def number(self) -> Any:
        """Type of the argument or its elements."""
        return self.kind.dtype if self.is_array else self.kind

    @property
    def is_array(self) -> bool:
        """Whether this is an array."""
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


class _Site:
    """A call in code that is being compiled.

    Parameters
    ----------
    activation : Function
        What is called.
    args, keywords : sequence and mapping
        Types of the arguments.

    Attributes
    ----------
    names : tuple of str
        All parameters that there are.
    kinds : dict
        Types of the arguments that the compiled function takes, by name.
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
            self._settle(bind(activation, *positional, **named))
        except (TypeError, ValueError) as error:
            raise TypingError(str(error)) from None

    def _settle(self, call: Call) -> None:
        """Find out what to compute."""
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
            self.dtype = np.dtype(np.float64)  # nobody knows what integers must hold
        number = getattr(types, self.dtype.name)
        self.kinds = {key: operand.kind if operand.is_array else number for key, operand in self._operands.items()}
        self.expression = call.specialised({key: rounded(v, self.dtype) for key, v in scalars_of(call).items()})

    def signature(self, recvr: ActivationType) -> Any:
        """Return the signature of the call, in which what is left out has a type as well."""
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
        """Return what is to be called."""
        return compile_result(self._definition.identifier, self.expression, self.dtype, self.kinds)


@lower_builtin(ActivationType, types.VarArg(types.Any))  # type: ignore[untyped-decorator]
def _lower(context: Any, builder: Any, signature: Any, values: Any) -> Any:
    """Emit a call."""
    (recvr, *kinds), (_, *values) = signature.args, values
    definition, places = recvr.activation.definition, len(recvr.activation.positions.names)
    names = (*definition.arguments, *definition.options)
    site = _Site(recvr.activation, kinds[:places], dict(zip(names[places:], kinds[places:], strict=True)))
    given = dict(zip(names, zip(values, kinds, strict=True), strict=True))
    arguments = [context.cast(builder, *given[name], kind) for name, kind in site.kinds.items()]
    compiled = site.compile_result()
    context.add_linking_libs([compiled.library])
    if isinstance(signature.return_type, types.Array):
        return context.call_internal(builder, compiled.fndesc, compiled.signature, arguments)
    # It raises nothing: without a look at the status the function around stays without branches, too.
    _, result = context.call_internal_no_propagate(builder, compiled.fndesc, compiled.signature, arguments)
    inline(builder)
    return result


class _Derivatives(ATTRIBUTES.get(object)):  # type: ignore[misc]
    """``f.grad`` and ``f.vjp`` in compiled code."""

    key = ActivationType

    def generic_resolve(self, kind: ActivationType, attribute: str) -> Any:
        if attribute not in {"grad", "vjp"}:
            return None
        try:
            return ActivationType(getattr(kind.activation, attribute))
        except AttributeError as error:
            raise TypingError(str(error)) from None


if ATTRIBUTES.get() is not None:
    infer_getattr(_Derivatives)


@lower_getattr_generic(ActivationType)  # type: ignore[untyped-decorator]
def _lower_derivative(context: Any, *_: Any) -> Any:
    """Emit what stands for a derivative: the type says it all, here as below."""
    return context.get_dummy_value()


register_model(ActivationType)(models.OpaqueModel)


@unbox(ActivationType)  # type: ignore[untyped-decorator]
def _unbox(_kind: Any, _activation: Any, c: Any) -> Any:
    """Hand an activation to a compiled function."""
    return NativeValue(c.context.get_dummy_value())


# Numba does this before each compilation, but the first one that mentions an activation is under way.
if cpu_target is None:
    numba.njit("void()")(lambda: None)
else:
    cpu_target.target_context.refresh()

"""The type of activations for Numba, and how code that it compiles calls them: importing this registers both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba
from numba import extending
from numba.core import types as numba_types
from numba.core.errors import TypingError

from actufunc.backends.numpy.jit.intrinsics import inline
from actufunc.backends.numpy.jit.numba_patches import ATTRIBUTES, CPU_TARGET

from .typing import CallSite

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from actufunc._calling.function import Function

types: Any = numba_types

_cpu_target = CPU_TARGET.get()


class ActivationType(types.Callable, types.Dummy):  # type: ignore[misc]
    """Type of one activation: to Numba every function has its own."""

    def __init__(self, activation: Function) -> None:
        self.activation = activation
        super().__init__(f"activation({activation.__name__})")

    @property
    def key(self) -> Function:
        """The activation, by which these types are equal or not."""
        return self.activation

    def get_call_type(self, context: Any, args: Sequence[Any], kws: Mapping[str, Any]) -> Any:
        """Return the signature of a call."""
        if _cpu_target is not None and type(context) is not type(_cpu_target.typing_context):
            raise TypingError(f"{self.activation.__name__} can be called only in code that is compiled for the CPU")
        return CallSite(self.activation, args, kws).signature(self)

    def get_call_signatures(self) -> tuple[list[Any], bool]:
        """Return no signatures, and that there are others: more than a list can hold."""
        return [], True

    def get_impl_key(self, _: Any) -> Any:
        """Return the key under which calls are registered."""
        return ActivationType


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
    extending.infer_getattr(_Derivatives)


@extending.lower_builtin(ActivationType, types.VarArg(types.Any))  # type: ignore[untyped-decorator]
def _lower(context: Any, builder: Any, signature: Any, values: Any) -> Any:
    """Emit a call of the compiled function."""
    (recvr, *kinds), (_, *values) = signature.args, values
    definition, places = recvr.activation.definition, len(recvr.activation.positions.names)
    names = (*definition.arguments, *definition.options)
    site = CallSite(recvr.activation, kinds[:places], dict(zip(names[places:], kinds[places:], strict=True)))
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


@extending.lower_getattr_generic(ActivationType)  # type: ignore[untyped-decorator]
def _lower_derivative(context: Any, *_: Any) -> Any:
    """Emit a derivative: a placeholder, as for every activation, for the type says which one it is."""
    return context.get_dummy_value()


extending.register_model(ActivationType)(extending.models.OpaqueModel)


@extending.unbox(ActivationType)  # type: ignore[untyped-decorator]
def _unbox(_kind: Any, _activation: Any, c: Any) -> Any:
    """Emit an activation that is an argument of a compiled function."""
    return extending.NativeValue(c.context.get_dummy_value())


# Numba does this before each compilation, but the first one that mentions an activation is under way.
if _cpu_target is None:
    numba.njit("void()")(lambda: None)
else:
    _cpu_target.target_context.refresh()

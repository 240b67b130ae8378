"""Calls on NumPy arrays, scalars and lists: from arguments to a plan.

Half types are computed in float64 and rounded once, with scalar hyperparameters of float32 as everywhere: a product
with one is exact then, so that no tie is missed. Arrays of nothing but one half type are seen as the bits of their
elements, for which there are kernels; beside other dtypes the kernel in float64 computes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from actufunc.backends.rules import (
    as_mask,
    check_casts,
    is_half,
    order_of,
    result_dtype,
    rounded,
    scalars_of,
    unsupported,
    working_dtype,
)
from actufunc.foreign import of_objects, to_array
from actufunc.plans import SCALARS, Plan

from .kernels import elementwise
from .lower_half import HALVES_IN
from .plan import BITS, ElementwisePlan, Operands, check_out

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]

    from actufunc.formula.definition import Definition
    from actufunc.formula.expression import Expression
    from actufunc.protocol import Call

# Different values of a hyperparameter that a function gets a kernel of its own for. Any further value is spread over an
# array and goes through the general kernel: no endless compilation where a hyperparameter is trained.
_SPECIALISATIONS = 8
_specialised: WeakKeyDictionary[Definition, dict[tuple[Any, ...], set[str]]] = WeakKeyDictionary()


def evaluate(call: Call) -> Any:
    """Compute an activation on NumPy arrays, scalars and lists."""
    if call.definition.over_axis:
        from .call_axis import evaluate_axis  # noqa: PLC0415

        return evaluate_axis(call)
    return _elementwise(call)


def as_array(name: str, key: str, value: Any) -> Array:
    """Make an array of the argument `key`, of anything that NumPy can."""
    array = to_array(name, key, value)
    if working_dtype(array.dtype) is None:
        raise of_objects(name, key, array) if array.dtype == object else unsupported(name, array.dtype, key)
    return array


def mask_of(call: Call) -> Any:
    """Return the mask of a call, or True if all elements are selected."""
    where = call.keywords.get("where", True)
    return True if where is True else as_mask(call.definition.name, where)


def put_scalars_in(call: Call, arrays: dict[str, Array], work: np.dtype[Any]) -> tuple[Expression, dict[str, Array]]:
    """Return the expression with scalar hyperparameters put in, and the arrays that its kernel takes.

    Values past the number that get a kernel of their own become arrays instead.
    """
    scalars = scalars_of(call)
    values = {key: rounded(value, work) for key, value in scalars.items()}
    of_function = _specialised.setdefault(call.definition, {})
    seen = of_function.setdefault((*call.options.items(), work), set())
    if len(seen) < _SPECIALISATIONS or scalars == call.definition.hyperparameters:
        seen.add(repr(values))
    if repr(values) in seen:
        return call.specialised(values), arrays
    spread = {key: arrays[key] if key in arrays else np.asarray(values[key], work) for key in call.operands}
    return call.expression, spread


def _elementwise(call: Call) -> Any:
    """Make a plan and execute it."""
    name, scalars = call.definition.name, scalars_of(call)
    mask = mask_of(call)
    order = order_of(call)
    inputs = {key: as_array(name, key, value) for key, value in call.operands.items() if key not in scalars}
    dtype = result_dtype(call, inputs)
    out = None if call.out is Ellipsis else call.out
    if out is not None:
        check_out(name, out)
    check_casts(call, inputs, dtype, out)
    work = working_dtype(dtype) or dtype
    arrays = {key: np.asarray(array) for key, array in inputs.items()}
    expression, operands = put_scalars_in(call, arrays, work)
    on_bits = is_half(dtype) and all(
        each.dtype == dtype for each in [*operands.values(), *([] if out is None else [out])]
    )
    of_kernel = dtype if on_bits else HALVES_IN if is_half(dtype) else work
    plan = ElementwisePlan(
        name,
        elementwise(name, expression, tuple(operands), of_kernel),
        operands_of(call, arrays, operands),
        BITS if on_bits else of_kernel,
        dtype,
        None if out is None else out.dtype,
        order,
    )
    if is_plain(call):
        call.plan = Plan(tuple(arrays), plan.execute, plan.ufunc)
    return wrap(call, plan.execute(tuple(arrays.values()), call.out, mask))


def operands_of(call: Call, arrays: dict[str, Array], operands: dict[str, Array]) -> Operands:
    """Return the operands of a kernel, given the arrays of a call and all that the kernel takes."""
    scalars = {key for key in arrays if isinstance(call.operands[key], SCALARS)}
    return Operands({key: array.dtype for key, array in arrays.items()}, scalars, operands, tuple(operands))


def is_plain(call: Call) -> bool:
    """Tell whether all arguments are NumPy arrays of no subclass, or scalars."""
    return all(map(_is_plain, call.values()))


def _is_plain(value: Any) -> bool:
    return type(value) is np.ndarray or isinstance(value, SCALARS) or value is Ellipsis


def wrap(call: Call, result: Any) -> Any:
    """Return a result as NumPy's ufuncs do: as the output wants it, or else the input with the highest priority."""
    out, keywords = call.out, call.keywords
    if out is not None and out is not Ellipsis:
        wrapping = None if type(out) is np.ndarray else out
        inputs = (*call.operands.values(), out)
    else:
        inputs = tuple(call.operands.values())
        wrappers = [each for each in inputs if not _is_plain(each) and hasattr(type(each), "__array_wrap__")]
        wrappers = wrappers if keywords.get("subok", True) else []
        wrapping = max(wrappers, key=lambda each: getattr(each, "__array_priority__", 0.0), default=None)
    if wrapping is None:
        return result
    array, context = np.asanyarray(result), (call.function, inputs, 0)
    to_scalar = array.ndim == 0 and out is None
    try:
        return wrapping.__array_wrap__(array, context, to_scalar)
    except TypeError:  # written for NumPy 1
        return wrapping.__array_wrap__(array, context)

"""Methods of a ufunc: `at`, `outer`, `resolve_dtypes`, and reductions, which activations refuse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from actufunc._calling.array_kinds import overrides_ufuncs, owner
from actufunc._calling.call import Call
from actufunc._calling.conversion import as_array_like
from actufunc._calling.function import Function  # noqa: TC001 -- for typing.get_type_hints
from actufunc._calling.signature import dtype_from_signature, required
from actufunc._containers import dispatch_override, refuse_opted_out
from actufunc.backends.promotion import CASTINGS, check_casts, is_scalar, result_dtype, unsupported, working_dtype

from .at import apply_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def at(function: Function, a: Any, indices: Any, /, *b: Any, **hyperparameters: Any) -> Any:
    """Compute in place at indices, as `numpy.ufunc.at`.

    An element that the indices name several times is computed several times, each time from its last result.
    Nothing is written if the call fails.

    Parameters
    ----------
    a : numpy.ndarray
        Array to change. Results must be castable to its dtype, as for ``out=``: unlike NumPy's ufuncs, an activation
        refuses to write floats to integers, or to a read-only array.
    indices : array_like, slice or tuple of these
        Indices as in ``a[indices]``.
    b : array_like
        Second operand, which broadcasts to the shape of ``a[indices]``: the cotangent of a vjp, the `gate` of a part
        of a gated unit, or the first hyperparameter.
    **hyperparameters
        Other hyperparameters, and options.

    Raises
    ------
    TypeError
        If `a` is no array of NumPy, or results cannot be cast to its dtype.
    ValueError
        If this is not a function of one or two arrays, or `a` is read-only.

    Examples
    --------
    >>> import numpy as np
    >>> from actufunc import leaky_relu
    >>> a = np.array([-4.0, -4.0, 4.0])
    >>> leaky_relu.at(a, [1, 1, 2], negative_slope=0.5)
    >>> a
    array([-4., -1.,  4.])
    """
    name, definition = function.__name__, function.definition
    overriding = _ufunc_overrides(name, (a, indices, *b, *hyperparameters.values()))
    if overriding:
        return dispatch_override(function, "at", (a, indices, *b), hyperparameters, overriding)
    if owner(a) != "numpy":
        raise TypeError(f"first operand must be array: {name}.at changes one of NumPy, not {type(a).__name__}")
    second = _second_operand(function, "at")
    if len(b) > (second is not None):
        raise ValueError(f"second operand provided: {name}.at has {'one' if second else 'none'}, not {len(b)}")
    if not b and second in required(definition) and second not in hyperparameters:
        raise ValueError(f"second operand needed: {name}.at takes {second!r} after the indices")
    known = [*definition.hyperparameters, *definition.options]
    if unknown := hyperparameters.keys() - known:
        raise TypeError(f"{name}.at takes {', '.join(known) or 'nothing'} by keyword, not {', '.join(unknown)}")
    if b and second in hyperparameters:
        raise TypeError(f"{name}.at got {second!r} by position and by keyword")
    if not a.flags.writeable:
        raise ValueError(f"{name}.at cannot write to its first operand, which is read-only")
    given = {str(second): b[0]} if b else {}
    apply_at(function, np.asarray(a), indices, {**given, **hyperparameters})
    return None


def outer(function: Function, /, *operands: Any, **keywords: Any) -> Any:
    """Compute for all pairs of elements of `A` and `B`, as `numpy.ufunc.outer`.

    ``outer(A, B, **keywords)`` is the function of ``A[..., None, None]``, with as many new axes as `B` has, and
    `B`: the cotangent of a vjp, the `gate` of a part of a gated unit, or the first hyperparameter.

    Parameters
    ----------
    *operands : array_like
        `A` and `B`, arrays of any supported library.
    **keywords
        Keywords of a call.

    Returns
    -------
    array
        Result of shape ``A.shape + B.shape``.

    Raises
    ------
    ValueError
        If this is not a function of two arrays.

    Examples
    --------
    >>> from actufunc import prelu
    >>> prelu.outer([-1.0, 2.0], [0.25, 0.5, 1.0])
    array([[-0.25, -0.5 , -1.  ],
           [ 2.  ,  2.  ,  2.  ]])
    """
    name = function.__name__
    if _second_operand(function, "outer") is None:
        raise ValueError(f"{name}.outer: an outer product is of functions of two arrays only; call {name}(x)")
    if len(operands) != 2:  # noqa: PLR2004
        raise TypeError(f"{name}.outer takes exactly two arrays, not {len(operands)}; give the rest by name")
    out = keywords.get("out")
    outputs = out if isinstance(out, tuple) else (out,)
    overriding = _ufunc_overrides(name, (*operands, *outputs, keywords.get("where", True)))
    if overriding:
        given = keywords if out is None else {**keywords, "out": outputs}
        return dispatch_override(function, "outer", operands, given, overriding)
    first, second = (_as_operand(name, *each) for each in zip(("A", "B"), operands, strict=True))
    if not is_scalar(first):
        first = first[..., *(None,) * getattr(second, "ndim", 0)]
    return function(first, second, **keywords)


def _refusing(method: str) -> Callable[..., NoReturn]:
    def refuse(function: Function, /, *_: Any, **__: Any) -> NoReturn:
        """Raise ValueError: an activation has no such method."""
        raise _no_method_error(function, method)

    refuse.__name__ = refuse.__qualname__ = method
    return refuse


reduce, accumulate, reduceat = map(_refusing, ("reduce", "accumulate", "reduceat"))


def resolve_dtypes(
    function: Function,
    dtypes: tuple[Any, ...],
    *,
    signature: Any = None,
    casting: str | None = None,
    reduction: bool = False,
) -> tuple[np.dtype[Any], ...]:
    """Return the dtypes in which a call on NumPy arrays computes, as `numpy.ufunc.resolve_dtypes`.

    Parameters
    ----------
    dtypes : tuple of numpy.dtype, type and None
        dtypes of the inputs, where optional hyperparameters at the end may be omitted, and of the output. `int`,
        `float` and `complex` stand for Python's scalars, which are weak; None for an output to be allocated.
    signature, casting : optional
        Keywords of a call.
    reduction : bool, default False
        Must be false.

    Returns
    -------
    tuple of numpy.dtype
        dtypes to which the inputs are cast, and dtype of the result.

    Raises
    ------
    TypeError
        If the call would raise it.

    Examples
    --------
    >>> import numpy as np
    >>> from actufunc import relu, sigmoid
    >>> sigmoid.resolve_dtypes((np.dtype("int8"), None))
    (dtype('float64'), dtype('float64'))
    >>> relu.resolve_dtypes((np.dtype("int8"), None))
    (dtype('int8'), dtype('int8'))
    """
    definition, name = function.definition, function.__name__
    if reduction:
        raise _no_method_error(function, "reduce")
    if casting is not None and casting not in CASTINGS:
        raise ValueError(f"casting must be one of {', '.join(map(repr, CASTINGS))}, not {casting!r}")
    least, most = len(required(definition)) + 1, len(definition.arguments) + 1
    if not isinstance(dtypes, tuple) or not least <= len(dtypes) <= most:
        number = most if least == most else f"{least} to {most}"
        raise TypeError(f"{name} takes the dtypes of its inputs and its output as a tuple of {number}, not {dtypes!r}")
    for each in dtypes:
        if not isinstance(each, np.dtype) and each not in (int, float, complex, None):
            raise TypeError(f"{name} takes instances of numpy.dtype, int, float, complex or None, not {each!r}")
    *inputs, output = dtypes
    if any(each is None for each in inputs) or isinstance(output, type):
        raise TypeError(f"{name} needs a dtype for every input, and None or a dtype for the output, not {dtypes!r}")
    asked = None if signature is None else dtype_from_signature(definition, signature)
    dtype = _promote(function, inputs, output, asked, casting)
    return (dtype,) * len(dtypes)


def _second_operand(function: Function, method: str) -> str | None:
    """Return the name of the second operand of a method; None if the function has one argument."""
    definition, name = function.definition, function.__name__
    if definition.kind != "elementwise":
        raise ValueError(f"{name} is {definition.kind}, and {method} is of elementwise functions only; call {name}(x)")
    if len(definition.arrays) > 2:  # noqa: PLR2004
        raise ValueError(f"{name} takes {len(definition.arrays)} arrays, and {method} two at most; call {name} itself")
    return next(iter(definition.arguments[1:]), None)


def _no_method_error(function: Function, method: str) -> ValueError:
    return ValueError(
        f"{function.__name__} has no {method}: that is of functions that join two elements to one, as numpy.add; "
        "call the function, and reduce its result"
    )


def _ufunc_overrides(name: str, values: Iterable[Any]) -> list[Any]:
    """Return the operands that override ufuncs; raise TypeError if one of them refuses all ufuncs."""
    overriding = [value for value in values if owner(value) is None and overrides_ufuncs(value)]
    refuse_opted_out(name, overriding)
    return overriding


def _as_operand(name: str, key: str, value: Any) -> Any:
    """Return an operand of `outer` as an array of its library; scalars are returned as given."""
    if isinstance(value, np.matrix):
        raise TypeError(f"{name}.outer takes no matrix, which has two dimensions always; give it as an array")
    if is_scalar(value) or owner(value) not in {None, "numpy"}:
        return value
    return np.asanyarray(as_array_like(f"{name}.outer", key, value))


def _promote(
    function: Any, inputs: list[Any], output: Any, asked: np.dtype[Any] | None, casting: str | None
) -> np.dtype[Any]:
    """Return the dtype of the result, by type promotion of 0-d operands of these dtypes."""
    definition = function.definition
    if definition.gated:
        function, inputs = function.halves[0], [inputs[0], *inputs]  # x stands for both parts
        definition = function.definition
    given = dict(zip(definition.arguments, inputs, strict=False))
    defaults = definition.hyperparameters
    operands = {
        key: _example(given[key], defaults.get(key)) if key in given else defaults[key] for key in definition.arguments
    }
    call = Call(function, operands, definition.options, {"dtype": asked, "casting": casting or "same_kind"})
    arrays = {key: np.asarray(v) for key, v in operands.items() if key in definition.arrays or not is_scalar(v)}
    for key, array in arrays.items():
        if working_dtype(array.dtype) is None:
            raise unsupported(definition.name, array.dtype, key)
    dtype = result_dtype(call, arrays)
    check_casts(call, arrays, dtype, None if output is None else np.empty((), output))
    return dtype


def _example(kind: Any, default: Any) -> Any:
    """Return a 0-d operand of a dtype, or a Python scalar of a type: the default of that type, or 1."""
    if isinstance(kind, np.dtype):
        return np.empty((), kind)
    return default if type(default) is kind else kind(1)

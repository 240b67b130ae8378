"""The keywords `signature` and `sig` of a ufunc's call, which name the one dtype in which an activation computes."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from actufunc.formula.definition import Definition


def signature_to_dtype(definition: Definition, keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keywords of a call with ``dtype=`` instead of ``signature=`` or ``sig=``.

    TypeError is raised if more than one of the three is given, or if no kernel has such a signature, ValueError if its
    length differs from the number of inputs and outputs.
    """
    name = definition.name
    if keywords.get("signature", "") is None is keywords.get("dtype", ""):  # a tf.function passes all defaults
        return {key: value for key, value in keywords.items() if key not in {"signature", "dtype"}}
    if definition.kind != "elementwise":
        raise TypeError(f"{name} is no elementwise function, so that it takes no signature=; give dtype=")
    given = [key for key in ("signature", "sig", "dtype") if key in keywords]
    if len(given) > 1:
        raise TypeError(f"{name} takes one of {' and '.join(f'{key}=' for key in given)}, not both; leave one away")
    left = {key: value for key, value in keywords.items() if key != given[0]}
    dtype = dtype_from_signature(definition, keywords[given[0]])
    return left if dtype is None else {**left, "dtype": dtype}


def dtype_from_signature(definition: Definition, signature: object) -> np.dtype[Any] | None:
    """Return the dtype that a signature selects, or None if it leaves all dtypes open.

    The signature is one of a `numpy.ufunc`, such as ``"f->f"``, ``("f", "f")`` or ``(None, np.float64)``: an entry for
    each input, where optional hyperparameters at the end may be omitted, and one for the output. "E" is bfloat16.
    """
    name = definition.name
    if isinstance(signature, str):
        before, arrow, after = signature.partition("->")
        entries: list[Any] = [*before, *after]
        if not arrow and len(signature) == 1:
            raise _too_short(name, repr(signature))
        if not arrow or len(after) != 1:
            raise ValueError(f"{name} takes signature= as '{_example(definition)}' or a tuple, not {signature!r}")
    elif isinstance(signature, tuple):
        entries = list(signature)
        if len(entries) == 1:
            raise _too_short(name, " for one dtype")
    else:
        raise TypeError(f"{name} takes signature= as a string or a tuple, not as {type(signature).__name__}")
    needed = len(required(definition))
    if not needed < len(entries) <= len(definition.arguments) + 1:
        raise ValueError(
            f"{name} takes signature= as {_example(definition)!r}, "
            f"of {_number(needed, len(definition.arguments))} before the output, not {signature!r}"
        )
    dtypes = [None if each is None else _as_dtype(name, each, signature) for each in entries]
    return _common(name, dtypes, needed, signature)


def required(definition: Definition) -> list[str]:
    """Return the arguments that have no default."""
    defaults = definition.hyperparameters
    return [key for key in definition.arguments if defaults.get(key, _EMPTY) is _EMPTY]


def _common(name: str, dtypes: Sequence[Any], needed: int, signature: object) -> np.dtype[Any] | None:
    """Return the common dtype of inputs and output, or None if all are None."""
    known = [dtype for dtype in dtypes if dtype is not None]
    if any(dtype != known[0] for dtype in known):
        raise TypeError(f"{name} has no kernel for signature={signature!r}: inputs and output are of one dtype")
    # The dtype of an input that is None follows from the arrays of a call, and may be wider.
    if known and dtypes[-1] is None and any(dtype is None for dtype in dtypes[:needed]):
        raise TypeError(f"{name} takes signature= with the dtype of its output or of all inputs, not {signature!r}")
    return known[0] if known else None


def _as_dtype(name: str, entry: Any, signature: object) -> np.dtype[Any]:
    """Return the dtype that an entry of a signature names."""
    if isinstance(entry, str) and entry == "E":  # NumPy knows bfloat16 by its name only
        try:
            import ml_dtypes  # noqa: PLC0415
        except ImportError:
            raise TypeError(f"{name} needs ml_dtypes for bfloat16, signature={signature!r}; install it") from None
        entry = ml_dtypes.bfloat16
    try:
        dtype: np.dtype[Any] = np.dtype(entry)
    except TypeError:
        kind = ValueError if isinstance(signature, str) else TypeError  # as in NumPy
        raise kind(f"{name} cannot read {entry!r} as a dtype in signature={signature!r}") from None
    return dtype


def _too_short(name: str, dtype: str) -> TypeError:
    return TypeError(f"{name} takes signature= as of one input and one output at least; give dtype={dtype}")


def _example(definition: Definition) -> str:
    return f"{'d' * len(definition.arguments)}->d"


def _number(least: int, most: int) -> str:
    count = f"{least}" if least == most else f"{least} to {most}"
    return f"{count} input{'' if most == 1 else 's'}"


_EMPTY = inspect.Parameter.empty

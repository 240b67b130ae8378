"""What a call of an activation is, before anybody knows who serves it."""

from __future__ import annotations

import functools
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .formula.definition import Definition
    from .formula.expression import Expression
    from .plans import Plan


@dataclass(slots=True)
class Call:
    """One call of an activation, bound to its arguments.

    Attributes
    ----------
    function : Activation
        What is called.
    operands : dict
        Arrays and hyperparameters by name, in the order of the definition.
    options : dict
        Values of the definition's options.
    keywords : dict
        Those of `out`, `where`, `dtype`, `casting`, `order`, `subok` and `axis` that were given.
    plan : Plan, or None
        Set by backends: what serves calls like this one; see `actufunc.plans`.
    """

    function: Any
    operands: dict[str, Any]
    options: dict[str, Any]
    keywords: Mapping[str, Any]
    plan: Plan | None = None

    @property
    def definition(self) -> Definition:
        """What the function computes."""
        definition: Definition = self.function.definition
        return definition

    @property
    def expression(self) -> Expression:
        """What to compute for the options of this call."""
        return self.definition.expression(self.options)

    def specialised(self, scalars: Mapping[str, Any]) -> Expression:
        """Return what to compute, with the values of scalar hyperparameters put in."""
        return self.definition.specialised(self.options, scalars)

    @property
    def out(self) -> Any:
        """The output given, or None; NumPy takes a tuple of one as well."""
        out = self.keywords.get("out")
        if isinstance(out, tuple):
            if len(out) != 1:
                raise ValueError(f"{self.definition.name} has one output: out must be one array, not {len(out)}")
            return out[0]
        return out

    def as_typed(self) -> tuple[list[Any], dict[str, Any]]:
        """Return the inputs, without trailing hyperparameters that have their default, and the keywords."""
        inputs = dict(self.operands)
        for name, default in reversed(self.definition.hyperparameters.items()):
            if inputs[name] is not default:
                break
            del inputs[name]
        options = {name: value for name, value in self.options.items() if value != self.definition.options[name]}
        axis = {"axis": -1} if self.definition.over_axis else {}
        return list(inputs.values()), {**axis, **options, **self.keywords}

    def items(self) -> Iterator[tuple[str, Any]]:
        """Yield everything that may be an array, with its name."""
        yield from self.operands.items()
        if (out := self.out) is not None:
            yield "out", out
        if "where" in self.keywords:
            yield "where", self.keywords["where"]

    def values(self) -> Iterator[Any]:
        """Yield everything that may be an array."""
        return (value for _, value in self.items())


def owner(value: object) -> str | None:
    """Name the library of an array.

    Parameters
    ----------
    value : object
        Anything.

    Returns
    -------
    str or None
        ``"numpy"``, ``"torch"``, ``"jax"``, ``"dask"``, ``"cupy"``, ``"tensorflow"``, ``"keras"`` or the package of any
        other array API object; None for what is no array, among them Python and NumPy scalars, lists, and objects that
        override ufuncs or torch's functions.
    """
    if value is None or isinstance(value, _NEUTRAL):
        return None
    if isinstance(value, np.ndarray):
        return None if overrides_ufuncs(value) else "numpy"
    import array_api_compat as compat  # noqa: PLC0415

    if compat.is_torch_array(value):
        return "torch"
    if compat.is_jax_array(value):
        return "jax"
    if compat.is_dask_array(value):
        return "dask"
    if compat.is_cupy_array(value):
        return "cupy"
    if (framework := _framework(type(value))) is not None:  # type: ignore[arg-type]
        return framework
    # torch.fx's proxies seem to have any attribute
    if compat.is_array_api_obj(value) and not overrides_torch(value) and root(value) not in UNSERVED:
        return root(value)
    return None


UNSERVED = frozenset(
    (
        *("autograd", "mlx", "mxnet", "paddle", "mindspore", "oneflow", "megengine", "jittor"),
        *("tinygrad", "chainer", "nnabla", "pytensor", "theano", "aesara", "casadi", "sympy", "symengine"),
    )
)
"""Packages whose objects carry gradients or are computed later, and whose arrays we do not serve: what else they can be
converted to, they would lose that. One that gets a backend is named by `owner` before this is asked."""


def root(value: object) -> str:
    """Name the package of an object's class."""
    return type(value).__module__.partition(".")[0]


@functools.lru_cache(maxsize=256)
def _framework(kind: type) -> str | None:
    """Name the framework, without an array API, that a type comes from; Keras's variables may be TensorFlow's too."""
    packages = {base.__module__.partition(".")[0] for base in kind.__mro__}
    return next((name for name in ("keras", "tensorflow") if name in packages), None)


def may_overlap(a: Any, b: Any) -> bool:
    """Tell whether two arguments of a call may be arrays in the same memory."""
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return bool(np.may_share_memory(a, b))
    cupy = sys.modules.get("cupy")
    if cupy is None or not (isinstance(a, cupy.ndarray) and isinstance(b, cupy.ndarray)):
        return False
    return bool(cupy.may_share_memory(a, b))


def normalise_axis(name: str, axis: Any, ndim: int) -> tuple[int, ...]:
    """Return the axes as non-negative integers.

    Raises
    ------
    ValueError
        If one is out of range or given twice.
    """
    if axis is None:
        return tuple(range(ndim))
    axes = axis if isinstance(axis, tuple) else (axis,)
    if not all(isinstance(a, int | np.integer) for a in axes):
        raise TypeError(f"{name} takes axis as an integer, a tuple of integers or None, not {axis!r}")
    if ndim == 0 and axes == (-1,):
        return ()
    if not all(-ndim <= a < ndim for a in axes):
        raise ValueError(f"{name} got axis={axis!r} for an array with {ndim} dimensions")
    normal = tuple(int(a) % ndim for a in axes)
    if len(set(normal)) < len(normal):
        raise ValueError(f"{name} got an axis twice: axis={axis!r}")
    return normal


def halved_axis(name: str, axis: Any, shape: Sequence[int | None]) -> int:
    """Return the axis that a gated unit halves as a non-negative integer.

    Raises
    ------
    ValueError
        If it is not one, or of odd length; a length that is None is not known yet.
    """
    axes = normalise_axis(name, axis, len(shape))
    if len(axes) != 1:
        raise ValueError(f"{name} halves one axis: x needs at least one dimension, and axis must be an integer")
    length = shape[axes[0]]
    if length != length:  # noqa: PLR0124 -- as dask has what it does not know
        raise ValueError(f"{name} cannot halve axis {axes[0]} of unknown length; use x.compute_chunk_sizes() first")
    if length is not None and length % 2:
        raise ValueError(f"{name} cannot halve axis {axes[0]}, which has the odd length {length}")
    return axes[0]


_NEUTRAL = (bool, int, float, complex, str, bytes, list, tuple, np.generic)


def overrides_ufuncs(value: object) -> bool:
    """Tell whether an object wants to be handed the activation itself (NEP 13)."""
    return getattr(type(value), "__array_ufunc__", _NUMPYS_OWN) is not _NUMPYS_OWN


def overrides_torch(value: object) -> bool:
    """Tell whether what is no tensor stands for one, and wants to be handed torch's functions themselves."""
    return hasattr(type(value), "__torch_function__")


_NUMPYS_OWN = np.ndarray.__array_ufunc__

"""The cases of the GPU benchmark: every function of the catalogue and its derivatives, and the peers of each."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import cupy
import numpy as np

from actufunc import _catalogue as catalogue
from actufunc.backends.delegation import torch_function
from actufunc.cli.baselines import plain_numpy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from actufunc import Activation

WHATS = ("value", "grad", "vjp")
"""The quantities that are measured of a function, the most important first."""


@dataclass(frozen=True)
class GpuCase:
    """A function or derivative, and its keywords.

    Attributes
    ----------
    name : str
        Name of the function.
    what : str
        ``"value"``, ``"grad"`` or ``"vjp"``.
    function : Activation
        The function or derivative.
    keywords : dict
        Options, and hyperparameters without a default.
    """

    name: str
    what: str
    function: Activation
    keywords: dict[str, Any]

    @property
    def arrays(self) -> int:
        """Number of input arrays."""
        return len(self.function.definition.arrays)

    @property
    def over_axis(self) -> bool:
        """True if it is a function over an axis."""
        return self.function.definition.over_axis

    def __call__(self, *arrays: Any, **keywords: Any) -> Any:
        """Call the function."""
        return self.function(*arrays, **self.keywords, **keywords)

    def __str__(self) -> str:
        return self.name if self.what == "value" else f"{self.name}.{self.what}"


def cases() -> list[GpuCase]:
    """Return the cases of the whole catalogue."""
    found = []
    for name, function in catalogue.ACTIVATIONS.items():
        if function.definition.kind in {"reducing", "gated"}:  # their arrays differ in shape
            continue
        given = catalogue.examples(function)
        for label, chosen in _choices(name, function):
            derived = {"value": function, "vjp": function.vjp}
            if not function.definition.over_axis:
                derived["grad"] = function.grad
            found += [GpuCase(label, what, derived[what], given | chosen) for what in sorted(derived, key=WHATS.index)]
    return found


def _choices(name: str, function: Activation) -> Iterator[tuple[str, dict[str, Any]]]:
    yield name, {}
    if "approximate" in function.definition.options:
        yield f"{name}_tanh", {"approximate": "tanh"}


def dtype_of(name: str) -> np.dtype[Any]:
    """Return a dtype by name; bfloat16 is that of ml_dtypes."""
    return np.dtype(importlib.import_module("ml_dtypes").bfloat16 if name == "bfloat16" else name)


def _usable(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the dtypes that CuPy has here."""
    found = []
    for name in names:
        try:
            cupy.result_type(dtype_of(name))
            cupy.ElementwiseKernel(f"{name} x", f"{name} y", "y = x", "actufunc_usable")
        except (ImportError, TypeError, ValueError):
            continue
        found.append(name)
    return tuple(found)


DTYPES = _usable(("float16", "bfloat16", "float32", "float64"))


def peers(case: GpuCase, inputs: list[Any]) -> dict[str, Callable[..., Any]]:
    """Return functions of other libraries that compute the same from CuPy arrays.

    Parameters
    ----------
    case : GpuCase
        The case.
    inputs : list of cupy.ndarray
        At least two arrays.

    Returns
    -------
    dict
        Functions of the arrays, by the name of the library; those that fail on the inputs are left out.
    """
    special = importlib.import_module("cupyx.scipy.special")
    found: dict[str, Callable[..., Any]] = {}
    if case.what == "value" and not case.keywords:
        for name in (case.name, *catalogue.aliases(case.function)):
            if hasattr(special, name):
                found["cupyx"] = partial(getattr(special, name), **({"axis": -1} if case.over_axis else {}))
    if "approximate" not in case.keywords:
        hyperparameters = {
            key: value for key, value in case.keywords.items() if key in catalogue.examples(case.function)
        }
        plain = plain_numpy(case.function, erf=special.erf, **hyperparameters)
        if plain is not None:
            found["CuPy formula"] = plain
    if importlib.util.find_spec("torch") is not None and (of_torch := _torch(case)) is not None:
        found["torch"] = of_torch
    return {name: function for name, function in found.items() if _works(function, inputs[: case.arrays])}


def _works(function: Callable[..., Any], inputs: list[Any]) -> bool:
    try:
        function(*inputs)
    except Exception:  # noqa: BLE001 -- a library may raise anything
        return False
    return True


def _torch(case: GpuCase) -> Callable[..., Any] | None:
    """Return torch's function on the memory of CuPy arrays, or its backward function for a vjp."""
    torch: Any = importlib.import_module("torch")
    base = catalogue.ACTIVATIONS.get(case.name) or catalogue.ACTIVATIONS[case.name.removesuffix("_tanh")]
    defaults = {**base.definition.hyperparameters, **base.definition.options}
    arguments = [case.keywords.get(name, default) for name, default in defaults.items()]
    if base.definition.over_axis:
        arguments.append(-1)
    function = torch_function(base, arguments)
    if function is None or not torch.cuda.is_available() or case.what == "grad":
        return None
    views: dict[int, Any] = {}

    def view(array: Any) -> Any:
        if array.data.ptr not in views:
            views[array.data.ptr] = torch.from_dlpack(array)
        return views[array.data.ptr]

    if case.what == "value":
        return lambda x: function(view(x))
    results: dict[int, Any] = {}

    def backward(x: Any, g: Any) -> Any:
        if x.data.ptr not in results:
            leaf = view(x).detach().requires_grad_()
            results[x.data.ptr] = leaf, function(leaf)
        leaf, y = results[x.data.ptr]
        return torch.autograd.grad(y, leaf, view(g), retain_graph=True)

    return backward

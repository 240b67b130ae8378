"""Baselines of an activation, to compare speed with: its formula in plain NumPy, and SciPy's function of the same name.

Users have both without this package. They are derived, not listed: the formula from the expression, SciPy's function
from the names of the activation.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from actufunc import _catalogue as catalogue
from actufunc.formula.expression import Expression
from actufunc.formula.lowering import lowered
from actufunc.formula.registry import OPERATIONS

if TYPE_CHECKING:
    from collections.abc import Callable

    from actufunc import Activation

    Array = np.ndarray[Any, Any]

_IN_NUMPY: dict[str, Callable[..., Any]] = {
    **{name: each.operator for name, each in OPERATIONS.items() if each.operator is not None},
    "absolute": np.abs,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "where": np.where,
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "sqrt": np.sqrt,
    "tanh": np.tanh,
    "logistic": lambda x: 1 / (1 + np.exp(-x)),
    "softplus": lambda x: np.log1p(np.exp(x)),
    "normal_pdf": lambda x: np.exp(-x * x / 2) / math.sqrt(2 * math.pi),
    "damped": lambda x, factor: x * factor,
    "first_half": lambda x: x[..., : x.shape[-1] // 2],
    "second_half": lambda x: x[..., x.shape[-1] // 2 :],
    "axis_sum": lambda x: x.sum(axis=-1, keepdims=True),
    "axis_max": lambda x: x.max(axis=-1, keepdims=True),
}


def plain_numpy(activation: Activation, *, erf: Any = None, **hyperparameters: float) -> Callable[..., Any] | None:
    """Return the formula in plain NumPy operations, which also run on CuPy arrays, with default options.

    The result is a function of an array, and of the cotangent for a vjp. `erf` is the error function, which some
    formulas need; that of SciPy by default. None if the formula needs an algorithm, or SciPy, and that is not
    installed. `hyperparameters` are values without defaults, or other values than the defaults.
    """
    definition = activation.definition
    # Not definition.computed(), which may handle NaN in addition.
    formula = lowered(definition.formula(definition.options), _IN_NUMPY)
    if any(node.operation == "axis_threshold" for node in formula.nodes()):
        return None  # an algorithm, not an operation
    operations = dict(_IN_NUMPY)
    if any(node.operation == "normal_cdf" for node in formula.nodes()):
        if erf is None:
            if importlib.util.find_spec("scipy") is None:
                return None
            erf = importlib.import_module("scipy.special").erf
        operations["normal_cdf"] = lambda x: 0.5 * (1 + erf(x / math.sqrt(2)))
    values = {**definition.hyperparameters, **hyperparameters}

    def compute(x: Array, g: Any = None) -> Any:
        def combine(node: Expression, operands: tuple[Any, ...]) -> Any:
            numbers = [_number(o) if isinstance(o, Expression) else o for o in operands]
            if node.operation == "where":
                # np.where of two Python numbers is float64 or int64, which would promote float32.
                numbers[1:] = [x.dtype.type(n) if isinstance(n, bool | int | float) else n for n in numbers[1:]]
            return operations[node.operation](*numbers)

        result = formula.fold(lambda node: {**values, "x": x, "g": g}[node.value], combine)
        if isinstance(result, Expression):  # the formula is a number
            return np.full_like(x, _number(result))
        return result[..., 0] if definition.reduces else result

    return compute


def _number(node: Expression) -> float:
    """Return a constant as a Python number, which does not promote float32."""
    return float(node.value) if isinstance(node.value, Decimal) else node.value


def scipy_function(activation: Activation) -> Callable[[Array, Array], Any] | None:
    """Return SciPy's function of the same name or of an alias; None if there is none, or SciPy is not installed.

    It takes an array and an output, which SciPy's ufuncs write to.
    """
    if importlib.util.find_spec("scipy") is None:
        return None
    from scipy import special  # noqa: PLC0415

    for name in (activation.__name__, *catalogue.aliases(activation)):
        function = getattr(special, name, None)
        if function is not None:
            return partial(_call_scipy, function, over_axis=activation.definition.over_axis)
    return None


def _call_scipy(function: Callable[..., Any], x: Array, out: Array, *, over_axis: bool) -> Any:
    if isinstance(function, np.ufunc):
        return function(x, out=out)
    return function(x, axis=-1) if over_axis else function(x)

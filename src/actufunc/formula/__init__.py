"""The vocabulary of formulas: what the definition of an activation may use.

A formula is differentiated at any order. Where the function that it stands for is smooth, the one-sided derivative of
an `absolute`, `maximum`, `clip` or `where` in its text must not show, so the text says what it means: `bounded` for a
clamp that makes no difference, `where` for pieces, each of which is differentiated as what it is on its side,
`evaluated` for a smooth formula that is computed by another, `with_derivatives` for a part whose derivatives are known
better. They change no value, and backends do not see them.

Examples
--------
>>> from actufunc import activation
>>> from actufunc.formula import exp, where
>>> @activation
... def ricker(x):
...     return (1 - x * x) * exp(-x * x / 2)
>>> ricker([0.0, 1.0])
array([1., 0.])
"""

from .custom_derivative import evaluated, with_derivatives
from .expression import Expression
from .operations import (
    absolute,
    axis_max,
    axis_sum,
    axis_threshold,
    bounded,
    clip,
    damped,
    exp,
    expm1,
    halves,
    log,
    log1p,
    logistic,
    logistic_pdf,
    maximum,
    minimum,
    normal_cdf,
    normal_pdf,
    raised,
    rounded_once,
    softplus,
    sqrt,
    tanh,
    where,
)

__all__ = [
    "Expression",
    "absolute",
    "axis_max",
    "axis_sum",
    "axis_threshold",
    "bounded",
    "clip",
    "damped",
    "evaluated",
    "exp",
    "expm1",
    "halves",
    "log",
    "log1p",
    "logistic",
    "logistic_pdf",
    "maximum",
    "minimum",
    "normal_cdf",
    "normal_pdf",
    "raised",
    "rounded_once",
    "softplus",
    "sqrt",
    "tanh",
    "where",
    "with_derivatives",
]

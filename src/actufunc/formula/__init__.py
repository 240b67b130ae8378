"""The vocabulary of formulas: what the definition of an activation may use.

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
    rounded_once,
    softplus,
    sqrt,
    tanh,
    where,
)
from .partials import evaluated, stated

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
    "rounded_once",
    "softplus",
    "sqrt",
    "stated",
    "tanh",
    "where",
]

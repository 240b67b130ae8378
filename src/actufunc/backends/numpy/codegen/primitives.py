"""The operations that NumPy's kernels compute by functions of their own, by the module of `simd` that has these.

All other operations are computed by their compositions.
"""

from __future__ import annotations

from actufunc.backends.codegen import WRITTEN
from actufunc.formula.operations import COMPARISONS

FUNCTIONS = {
    "elementary": ("where", "maximum", "minimum", "absolute", "sqrt", "damped", *COMPARISONS),
    "exponential": ("exp", "expm1", "logistic", "tanh"),
    "logarithm": ("log", "log1p", "softplus"),
    "normal": ("normal_cdf", "normal_pdf"),
}

PRIMITIVES = WRITTEN.union(*FUNCTIONS.values())
"""Operations that need no composition."""

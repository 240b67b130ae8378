"""Formulas in TensorFlow, which differentiates them by our derivatives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

from actufunc.backends.array_api_ops import compute_dtype

from . import namespace as xp

if TYPE_CHECKING:
    from actufunc.backends.autodiff import Formula


def apply(formula: Formula, *operands: Any) -> Any:
    """Apply a formula to tensors and Python numbers."""
    work = compute_dtype(xp, operands[0].dtype)
    arrays = [o if tf.is_tensor(o) else xp.full((), o, dtype=work) for o in operands]
    places = [i for i, operand in enumerate(operands) if tf.is_tensor(operand)]

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def compute_formula(*tensors: Any) -> Any:
        given = list(arrays)
        for i, tensor in zip(places, tensors, strict=True):
            given[i] = tensor

        def backward(cotangent: Any) -> list[Any]:
            products = ((i, apply(formula.times_derivative(i), *given, cotangent)) for i in places)
            return [xp.summed_like(product, given[i]) for i, product in products]

        # A tape that watches the tensors would keep what the formula computes in between.
        return formula(xp, *map(tf.stop_gradient, given)), backward

    return compute_formula(*(arrays[i] for i in places))

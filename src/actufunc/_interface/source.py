"""Source text that a backend compiles for an activation."""

from __future__ import annotations

from typing import Any

import numpy as np

from actufunc._calling.function import Function  # noqa: TC001 -- for typing.get_type_hints
from actufunc.formula.expression import constant


def source(function: Function, /, target: str = "numba", dtype: Any = "float32", **options: Any) -> str:
    """Return the source text of a kernel.

    Parameters
    ----------
    target : {"numba", "cuda"}
        Python for Numba, or CUDA C. Over an axis it is the kernel for contiguous rows, in CUDA of 1024 elements.
    dtype : dtype_like, default "float32"
        dtype of the arrays.
    **options
        Values of options, such as ``approximate="tanh"``, and of scalar hyperparameters to compile as constants.

    Returns
    -------
    str
        Source text.

    Raises
    ------
    ValueError
        If the target is unknown.

    Examples
    --------
    >>> from actufunc import relu
    >>> print(relu.source("numba"))
    def relu(x):
        t0 = maximum(x, float32(0.0))
        return t0
    <BLANKLINE>
    """
    definition = function.definition
    chosen = {name: options.pop(name, default) for name, default in definition.options.items()}
    unknown = options.keys() - definition.hyperparameters.keys()
    if unknown:
        raise TypeError(f"{function.__name__} has no {' and '.join(map(repr, sorted(unknown)))}")
    values = {name: constant(value) for name, value in options.items()}
    expression = definition.computed(chosen).substitute(values)
    arguments = [name for name in definition.arguments if name not in values]
    name = definition.identifier
    if target == "numba":
        from actufunc.backends.numpy.codegen.elementwise import source as numba_source  # noqa: PLC0415
        from actufunc.backends.numpy.codegen.layout import Layout  # noqa: PLC0415

        layout = Layout.ROWS if definition.over_axis else None
        return numba_source(name, expression, arguments, np.dtype(dtype), layout)
    if target == "cuda":
        from actufunc.backends.cupy.codegen.axis import example  # noqa: PLC0415
        from actufunc.backends.cupy.codegen.elementwise import source as cuda_source  # noqa: PLC0415

        return (example if definition.over_axis else cuda_source)(name, expression, arguments, np.dtype(dtype))
    raise ValueError(f"target must be 'numba' or 'cuda', not {target!r}")

"""dask arrays: the activation is mapped lazily over the blocks, which may be of NumPy, CuPy or any other library."""

from .call import evaluate_gated, plan

__all__ = ["evaluate_gated", "plan"]

"""dask arrays: the activation itself on every block, lazily, so that blocks may be NumPy, CuPy or anything else."""

from .call import evaluate, halve_blocks

__all__ = ["evaluate", "halve_blocks"]

"""dask arrays: the activation itself on every block, lazily, so that blocks may be NumPy, CuPy or anything else."""

from .call import plan, split_blocks

__all__ = ["plan", "split_blocks"]

"""Sizes of NumPy arrays below which a kernel is called directly, without threads or recycled memory.

`actufunc._activation` imports them, so that this module imports nothing.
"""

TINY = 512
"""Elements from which strided arrays are copied to contiguous ones, as Numba's strided loop is not vectorised."""

LARGE = 16384
"""Elements from which a second thread, or recycled memory, pays."""

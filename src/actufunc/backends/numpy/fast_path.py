"""Thresholds below which a call on NumPy arrays is passed to a kernel directly, without a look at threads or buffers.

`Activation.__call__` reads them before anything else, so that this module imports nothing.
"""

TINY = 512
"""Elements of strided arrays that Numba's loop for strides, which is not vectorised, computes before they are worth a
contiguous copy."""

LARGE = 16384
"""Elements below which no array is worth a second thread, nor memory that another has left."""

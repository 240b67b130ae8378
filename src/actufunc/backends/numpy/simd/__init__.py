"""Branch-free mathematics for float32 and float64, emitted as LLVM instructions."""

LANES = 16  # of a sum along a row; here, for what only writes text must not import Numba

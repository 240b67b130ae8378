"""NumPy arrays, by Numba."""

"""Activations inside functions that users compile with Numba."""

"""From expressions to the Python text that Numba compiles."""

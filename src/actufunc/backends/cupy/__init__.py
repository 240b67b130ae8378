"""CuPy arrays: the text of the kernels."""

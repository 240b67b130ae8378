"""From expressions to the Python text that Numba compiles.

- `elementwise`: scalar functions, and `source`, the entry for all kernels but those on bits
- `half`: kernels on the bits of half-precision arrays, with tables of their values
- `axis`: functions over rows or columns, for expressions that reduce over an axis
- `rows`: statements of two words for these
- `layout`: how the operands of these lie in memory
- `primitives`: the operations that kernels have functions for

The statements are written by :mod:`actufunc.backends.codegen`, and compiled by :mod:`actufunc.backends.numpy.jit`.
"""

"""From expressions to CUDA C.

- `elementwise`: a function of one element, and `KernelSpec`, what a kernel computes
- `axis`: kernels that reduce over an axis
- `row_schedule`: how threads share the rows of these
- `mathematics`: the functions that CUDA lacks
- `subnormals`: a type of float whose subnormal values are not flushed to zero
"""

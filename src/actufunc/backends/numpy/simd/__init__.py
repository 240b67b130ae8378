"""Mathematics without branches and calls, emitted as LLVM instructions: the vocabulary of generated kernels.

- `contract`: largest error, domain and flags of each function below that rounds, stated at its definition
- `lanes`: values of a kernel with Python's operators; `fma`, `select`, polynomials, sums and products in two words
- `elementary`: comparisons, selections, extrema, square root, division by a known inverse; float32 and float64
- `double_word`: arithmetic on double words
- `exponential`, `logarithm`, `normal`: functions for float64, of one word or two
- `float32`: the same functions for results of float32, evaluated in float64
- `half`: conversion between half types and float64, exact or rounded once
- `sums`: sums along a row, in `LANES` parts

Each module imports only those above it; `double_word`, `half` and `sums` are used by generated kernels alone.
"""

LANES = 16  # of a sum along a row; here, because modules that only generate text must not import Numba

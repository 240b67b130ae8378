"""From generated text to compiled kernels, with machine code that is kept on disk.

- `machine_code`, `store`: object files in memory, and on disk under the digest of `environment`
- `numba_patches`: all internals of Numba that are used or replaced
- `flags`, `vectors`: changes of the code that Numba hands to LLVM
- `intrinsics`: the names that generated text calls, over `simd`
- `compiler`: compilation once per process, with `signals` deferred; `numba_cache` for all that is no kernel
- `kernels`: elementwise kernels, tables of half types, kernels over an axis
"""

"""NumPy arrays, by Numba.

The way of a first call from its plan to machine code and back; `actufunc.backends` draws what is before and after::

    call                 plan                      elementwise, or over an axis (AxisPlan)
    arguments            Arguments.of              arrays, dtypes, expression with scalar hyperparameters put in
    elementwise          ElementwisePlan           kernel, and whether a call may go to it directly
    jit.kernels          elementwise               kernel of this expression and dtype: there already, or
    codegen.elementwise  source                    lowers (formula.lowering), then writes a Python function
    jit.compiler         kernel                    digest of the text and of jit.environment: known already, or
    jit.store            load                      machine code in the file of that digest, or numba.vectorize and save
    jit.machine_code     ufunc                     a ufunc whose loop is at the address of that code
    elementwise          ElementwisePlan.execute   small and contiguous: kernel.serial(x), a ufunc of that machine code
    elementwise          ElementwisePlan._execute  other layouts: copies; large: threading.schedule, by TBB or the pool

A second call with a small array goes from `Activation.__call__` to ``kernel.serial``; `fast_path` has the thresholds.

Imports run one way: `call` stands on `elementwise` and `axis`, and they and `gated` on `arguments`, `threading` and
`jit`. `threading` stands on `jit`, that on `codegen` and `simd`. `numba_extension`, for Numba's compiled functions of
users, stands beside `call`.
"""

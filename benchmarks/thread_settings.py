"""The number of threads of each library in a process of the benchmarks.

Most libraries read it from the environment when they are imported, so `environment` must be set before that. For the
others `peers.py` and `libraries.py` set the number that `threads` returns.
"""

from __future__ import annotations

import os

_OURS = "NUMBA_NUM_THREADS"
_BY_NAME = (
    _OURS,
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NPROC",  # of XLA
)


def environment(threads: int) -> dict[str, str]:
    """Return the environment variables that set the number of threads of every library."""
    eigen = "true" if threads > 1 else "false"
    return {
        **dict.fromkeys(_BY_NAME, str(threads)),
        "XLA_FLAGS": f"--xla_cpu_multi_thread_eigen={eigen} intra_op_parallelism_threads={threads}",
        "JAX_PLATFORMS": "cpu",
    }


def threads() -> int:
    """Return the number of threads of this process; one if the environment does not set it."""
    return int(os.environ.get(_OURS, "1"))

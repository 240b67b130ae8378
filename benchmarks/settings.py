"""How many threads a process of the benchmarks gives to each library.

Most libraries read it from the environment when they are imported, so `environment` must be set before; the others are
told by `peers.py` and `libraries.py`, which ask `threads`.
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
    """Return the variables that give every library so many threads."""
    eigen = "true" if threads > 1 else "false"
    return {
        **dict.fromkeys(_BY_NAME, str(threads)),
        "XLA_FLAGS": f"--xla_cpu_multi_thread_eigen={eigen} intra_op_parallelism_threads={threads}",
        "JAX_PLATFORMS": "cpu",
    }


def threads() -> int:
    """Return the number that `environment` was given in this process; one if it was not called."""
    return int(os.environ.get(_OURS, "1"))

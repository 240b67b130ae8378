"""JAX's own check of derivatives, to the third order, forwards and backwards."""

from __future__ import annotations

import numpy as np
import pytest
from array_libraries import load
from cases import Case, cases, mostly_slow

POINTS = np.array([[-2.3, -0.7, 0.4, 1.9], [0.9, 2.6, -1.2, 0.3]])


@pytest.mark.parametrize("case", mostly_slow(cases()), ids=repr)
@pytest.mark.needs_library("jax")
def test_check_grads(case: Case) -> None:
    jnp = load("jax").module
    import jax
    from jax import test_util as checks

    x = POINTS / 10 + 0.4 if case.function.__name__ == "logit" else POINTS
    with jax.disable_jit():  # of functions; operations are compiled once for all
        checks.check_grads(lambda x: jnp.sum(case(x) ** 2), (jnp.asarray(x),), order=3, rtol=1e-3, atol=1e-3)

"""Results of JAX's sharded arrays are sharded as their arguments are."""

from __future__ import annotations

import pytest
from array_libraries import load
from programs import run

CODE = """
    import itertools

    import jax
    import jax.numpy as jnp
    import numpy as np
    from cases import ELEMENTWISE, GATED, REDUCING, cases, representatives
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    mesh = Mesh(np.array(jax.devices()), ("device",))
    along, across, nowhere, of_rows = (
        NamedSharding(mesh, PartitionSpec(*spec)) for spec in (("device", None), (None, "device"), (), ("device",))
    )
    values = np.random.default_rng(0).uniform(0.1, 0.9, size=(8, 16)).astype("float32")
    whole, x = jnp.asarray(values), jax.device_put(values, along)
    assert len(x.devices()) == 4


    def check(what, result, sharding, expected):
        assert result.sharding.is_equivalent_to(sharding, result.ndim), (what, result.sharding)
        np.testing.assert_allclose(result, expected, rtol=2e-5, atol=2e-5, err_msg=str(what))


    for case in CHOSEN:
        for axis in (None,) if case in ELEMENTWISE else (0, 1):
            keywords = {} if axis is None else {"axis": axis}
            shared = along if case not in REDUCING else nowhere if axis == 0 else of_rows

            def function(x, case=case, keywords=keywords):
                return case(x, **keywords)

            def vjp(x, g, case=case, keywords=keywords):
                return case.vjp(x, g, **keywords)

            def cotangent(x, function=function):
                return jax.vjp(function, x)[1](function(x))[0]

            result = function(x)
            check((case, axis), result, shared, function(whole))
            expected = vjp(whole, function(whole))
            check((case.vjp, axis), vjp(x, result), along, expected)
            if axis is None:
                check(case.grad, case.grad(x), along, case.grad(whole))
            compiled = jax.jit(function)
            check((case, axis, "jit"), compiled(x), shared, function(whole))
            check((case.vjp, axis, "jit"), jax.jit(vjp)(x, result), along, expected)
            check((case, axis, "differentiated"), jax.jit(cotangent)(x), along, cotangent(whole))
            if axis != 0:  # nobody needs to know what others have
                text = compiled.lower(x).compile().as_text()
                assert not any(f"{word}(" in text for word in ("all-gather", "all-to-all", "all-reduce")), case
                in_shards = jax.shard_map(function, mesh=mesh, in_specs=along.spec, out_specs=shared.spec)
                check((case, axis, "shard_map"), jax.jit(in_shards)(x), shared, function(whole))
"""


@pytest.mark.parametrize(
    "chosen",
    [
        "representatives(cases()) + REDUCING[:1] + GATED[:1]",
        *(pytest.param(f"cases()[{first}::8]", marks=pytest.mark.slow) for first in range(0, 8, 3)),
    ],
)
def test_sharding_is_kept(chosen: str) -> None:
    load("jax")
    run(CODE.replace("CHOSEN", chosen), XLA_FLAGS="--xla_force_host_platform_device_count=4", JAX_PLATFORMS="cpu")

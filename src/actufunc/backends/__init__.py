"""One backend per kind of array; each makes the plan of a call.

The way of a first call ``sigmoid(x)``, and of later ones with the same key, by modules of `actufunc`::

    _activation          Activation.__call__  kernel of an earlier call, and x small enough? then kernel(x), and no more
    _activation          Activation.run       plan of an earlier call with the same key? then its execute, and no more
    _calling.plans       key_of               the key: dtypes of arrays, values of everything else
    _calling.binding     bind                 arguments by their names: a Call
    _dispatch            plan                 library of the arrays: its backend, imported at first use
    backends.numpy.call  plan                 dtypes, expression, kernel: a Plan; here also cupy.call, array_api, ...
    _calling.plans       Plan.run             execute(operands, out, where): the result
    _calling.plans       cache_plan           keeps the plan under the key, its kernel under the dtype

Imports run one way: `_activation` stands on `_dispatch`, that on the backends. These stand on the modules that they
share (`promotion`, `masking`, `axis`, `codegen`, ...), on `_calling` and on `formula`, and import no other backend;
only `gated`, which serves the gated units of every library, uses functions of `numpy`, `cupy` and `dask`.
"""

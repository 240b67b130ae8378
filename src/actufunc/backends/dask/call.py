"""Calls on dask arrays: from arguments to blocks that lie alike."""

from __future__ import annotations

from typing import Any

import numpy as np

from actufunc._calling.call import Call
from actufunc._calling.plans import Plan, once
from actufunc.backends.axis import broadcast_to_x, shapes_of
from actufunc.backends.promotion import is_scalar, result_dtype

from .tree import over_blocks


def plan(call: Call) -> Plan:
    """Return how to compute an activation on dask arrays: lazily, in their graph."""
    return once(lambda: _extend_graph(call))


def _extend_graph(call: Call) -> Any:
    """Add an activation to the graph of dask arrays."""
    import dask.array as da  # noqa: PLC0415

    name, keywords = call.definition.name, dict(call.keywords)
    if refused := [k for k in ("out", "casting", "order", "subok") if keywords.get(k) is not None]:
        raise TypeError(f"{name} takes {refused[0]}= with NumPy arrays only; omit it for dask")
    scalars = {key: value for key, value in call.operands.items() if is_scalar(value)}
    positional = {key: np.asarray(scalars.pop(key)) for key in call.definition.arrays if key in scalars}
    arrays = {key: positional.get(key, value) for key, value in call.operands.items() if key not in scalars}
    for key, value in arrays.items():
        if key not in positional and not isinstance(value, da.Array):
            raise TypeError(f"{name} got {type(value).__name__} for {key} beside a dask array; convert it first")
    dtype = result_dtype(call, arrays)
    arrays |= {key: da.asarray(call.operands[key], dtype=dtype) for key in positional}
    shapes, of_rows = shapes_of(call, arrays["x"].shape), call.definition.of_rows
    if call.definition.over_axis:
        beside = [key for key in call.definition.arrays if key not in of_rows]
        beside = [key for key in beside if not _lie_alike(arrays[key], arrays["x"])]
        arrays |= {key: broadcast_to_x(call.definition, key, arrays[key], shapes, da.broadcast_to) for key in beside}
    alike = [key for key in arrays if key not in of_rows]
    if not all(_lie_alike(arrays[key], arrays["x"]) for key in alike):
        arrays |= dict(zip(alike, da.broadcast_arrays(*(arrays[key] for key in alike)), strict=True))
    if call.definition.over_axis:
        arrays |= {key: da.broadcast_to(arrays[key], shapes.given).reshape(shapes.kept) for key in of_rows}
    chunks = arrays["x"].chunks
    of_row = tuple((1,) if axis in shapes.axes else sizes for axis, sizes in enumerate(chunks))
    arrays = {
        key: value
        if key in alike and _lie_alike(value, arrays["x"])
        else value.rechunk(of_row if key in of_rows else chunks)
        for key, value in arrays.items()
    }
    if call.definition.over_axis:
        mask = keywords.pop("where", True)
        if mask is not True:
            like, mask = arrays["x"], da.asarray(mask)
            arrays["where"] = mask if _lie_alike(mask, like) else da.broadcast_to(mask, like.shape).rechunk(like.chunks)
    elif "where" in keywords:
        raise TypeError(f"{name} takes where= with NumPy arrays only; use dask.array.where on its result")
    token = da.core.tokenize(call.expression.fingerprint(), *call.operands.values(), dict(call.keywords))
    if call.definition.over_axis and any(len(chunks[axis]) > 1 for axis in shapes.axes):
        result = over_blocks(call, arrays, shapes, dtype, token)
    else:
        if call.definition.reduces or of_rows:
            keywords["keepdims"] = True
        result = da.map_blocks(
            _on_block,
            *arrays.values(),
            function=call.function,
            names=tuple(arrays),
            keywords=scalars | call.options | keywords,
            dtype=dtype,
            chunks=of_row if call.definition.reduces else chunks,
            meta=arrays["x"]._meta.astype(dtype),  # noqa: SLF001  # dask's own way to tell what blocks are made of
            name=f"{name}-{token}",
        )
    drops = call.definition.reduces and not shapes.keepdims
    return result.squeeze(axis=shapes.axes) if drops else result


def _lie_alike(array: Any, x: Any) -> bool:
    """Tell whether two arrays have the same blocks, also where their lengths are unknown, which dask has as NaN."""
    return len(array.chunks) == len(x.chunks) and all(
        np.array_equal(sizes, others, equal_nan=True) for sizes, others in zip(array.chunks, x.chunks, strict=True)
    )


def split_blocks(call: Call, axis: int) -> Any:
    """Add a gated unit, or its vjp, to the graph: on whole blocks, each of which holds both halves.

    Parameters
    ----------
    call : Call
        What to compute.
    axis : int
        To halve, not negative.

    Returns
    -------
    dask array, or NotImplemented
        If the axis lies in several blocks, or operands do not lie alike: then halves are cut off.
    """
    import dask.array as da  # noqa: PLC0415

    x, definition = call.operands["x"], call.definition
    others = {key: value for key, value in call.operands.items() if key != "x" and not is_scalar(value)}
    halved = tuple((sum(sizes) // 2,) if place == axis else sizes for place, sizes in enumerate(x.chunks))
    if x.numblocks[axis] > 1 or call.keywords.keys() - {"axis", "dtype"}:
        return NotImplemented
    if any(key != "g" or getattr(value, "chunks", None) != halved for key, value in others.items()):
        return NotImplemented
    scalars = {key: value for key, value in call.operands.items() if key not in others and key != "x"}
    half = Call(call.function.halves[0], {"gate": x, **call.operands}, call.options, call.keywords)
    arrays = {"x": x, "gate": x} | {key: np.asarray(v) if key in scalars else v for key, v in call.operands.items()}
    dtype = result_dtype(half, {key: arrays[key] for key in half.definition.arrays})
    keywords = scalars | call.options | dict(call.keywords) | {"axis": axis}
    places = tuple(range(x.ndim))
    return da.blockwise(
        _on_block,
        places,
        *(part for array in (x, *others.values()) for part in (array, places)),
        function=call.function,
        names=("x", *others),
        keywords=keywords,
        adjust_chunks={axis: x.shape[axis] // (1 if len(call.function.halves) > 1 else 2)},
        align_arrays=False,
        dtype=dtype,
        meta=x._meta.astype(dtype),  # noqa: SLF001
        name=f"{definition.name}-{da.core.tokenize(call.expression.fingerprint(), *call.operands.values(), keywords)}",
    )


def _on_block(*blocks: Any, function: Any, names: tuple[str, ...], keywords: dict[str, Any]) -> Any:
    """Compute one block; only the first arguments of an activation are positional."""
    positional = function.definition.arrays
    named = {name: block for name, block in zip(names, blocks, strict=True) if name not in positional}
    return function(*blocks[: len(positional)], **named, **keywords)

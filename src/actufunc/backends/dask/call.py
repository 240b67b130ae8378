"""Calls on dask arrays: operands get the chunks of x, then the call is mapped over the blocks."""

from __future__ import annotations

from typing import Any

import numpy as np

from actufunc._calling.call import Call, refuse_numpy_keywords
from actufunc._calling.plans import Plan, once
from actufunc.backends.axis import broadcast_to_x, shapes_of
from actufunc.backends.promotion import is_scalar, result_dtype

from .tree import over_blocks


def plan(call: Call) -> Plan:
    """Return the plan of a call on dask arrays, which extends their graph."""
    return once(lambda: _evaluate(call))


def _evaluate(call: Call) -> Any:
    """Return the dask array of a call."""
    import dask.array as da  # noqa: PLC0415

    name, keywords = call.definition.name, dict(call.keywords)
    refuse_numpy_keywords(call, "dask")
    scalars = {key: value for key, value in call.operands.items() if is_scalar(value)}
    positional = {key: np.asarray(scalars.pop(key)) for key in call.definition.arrays if key in scalars}
    arrays = {key: positional.get(key, value) for key, value in call.operands.items() if key not in scalars}
    for key, value in arrays.items():
        if key not in positional and not isinstance(value, da.Array):
            raise TypeError(f"{name} got {type(value).__name__} for {key} beside a dask array; convert it first")
    dtype = result_dtype(call, arrays)
    arrays |= {key: da.asarray(call.operands[key], dtype=dtype) for key in positional}
    shapes, without_axis = shapes_of(call, arrays["x"].shape), call.definition.without_axis
    if call.definition.over_axis:
        others = [key for key in call.definition.arrays if key not in without_axis]
        others = [key for key in others if not _same_chunks(arrays[key], arrays["x"])]
        arrays |= {key: broadcast_to_x(call.definition, key, arrays[key], shapes, da.broadcast_to) for key in others}
    like_x = [key for key in arrays if key not in without_axis]
    if not all(_same_chunks(arrays[key], arrays["x"]) for key in like_x):
        # This also gives them the same chunks.
        arrays |= dict(zip(like_x, da.broadcast_arrays(*(arrays[key] for key in like_x)), strict=True))
    if call.definition.over_axis:
        arrays |= {key: da.broadcast_to(arrays[key], shapes.given).reshape(shapes.kept) for key in without_axis}
    chunks = arrays["x"].chunks
    of_row = tuple((1,) if axis in shapes.axes else sizes for axis, sizes in enumerate(chunks))
    arrays |= {key: arrays[key].rechunk(of_row) for key in without_axis}
    if call.definition.over_axis:
        mask = keywords.pop("where", True)
        if mask is not True:
            mask, x = da.asarray(mask), arrays["x"]
            arrays["where"] = mask if _same_chunks(mask, x) else da.broadcast_to(mask, x.shape).rechunk(chunks)
    elif "where" in keywords:
        raise TypeError(f"{name} takes where= with NumPy arrays only; use dask.array.where on its result")
    token = da.core.tokenize(call.expression.fingerprint(), *call.operands.values(), dict(call.keywords))
    if call.definition.over_axis and any(len(chunks[axis]) > 1 for axis in shapes.axes):
        result = over_blocks(call, arrays, shapes, dtype, token)
    else:
        if call.definition.reduces or without_axis:
            keywords["keepdims"] = True
        result = da.map_blocks(
            _on_block,
            *arrays.values(),
            function=call.function,
            names=tuple(arrays),
            keywords=scalars | call.options | keywords,
            dtype=dtype,
            chunks=of_row if call.definition.reduces else chunks,
            meta=arrays["x"]._meta.astype(dtype),  # noqa: SLF001 -- dask has no public name for the type of the blocks
            name=f"{name}-{token}",
        )
    return result.squeeze(axis=shapes.axes) if call.definition.reduces and not shapes.keepdims else result


def _same_chunks(array: Any, x: Any) -> bool:
    """Return True if two arrays have the same chunks; unknown lengths, which are NaN in dask, count as equal."""
    return len(array.chunks) == len(x.chunks) and all(
        np.array_equal(sizes, others, equal_nan=True) for sizes, others in zip(array.chunks, x.chunks, strict=True)
    )


def evaluate_gated(call: Call, axis: int) -> Any:
    """Return the dask array of a call of a gated unit, or its vjp, whose blocks hold the whole axis.

    `axis`, of x and the gate, is not negative. The result is NotImplemented if the axis has several blocks, or the
    chunks of operands differ.
    """
    import dask.array as da  # noqa: PLC0415

    x, definition = call.operands["x"], call.definition
    others = {key: value for key, value in call.operands.items() if key != "x" and not is_scalar(value)}
    gated = tuple((sum(sizes) // 2,) if i == axis else sizes for i, sizes in enumerate(x.chunks))
    if x.numblocks[axis] > 1 or call.keywords.keys() - {"axis", "dtype"}:
        return NotImplemented
    if any(key != "g" or getattr(value, "chunks", None) != gated for key, value in others.items()):
        return NotImplemented
    scalars = {key: value for key, value in call.operands.items() if key not in others and key != "x"}
    part = Call(call.function.halves[0], {"gate": x, **call.operands}, call.options, call.keywords)
    arrays = {"x": x, "gate": x} | {key: np.asarray(v) if key in scalars else v for key, v in call.operands.items()}
    dtype = result_dtype(part, {key: arrays[key] for key in part.definition.arrays})
    keywords = scalars | call.options | dict(call.keywords) | {"axis": axis}
    axes = tuple(range(x.ndim))
    return da.blockwise(
        _on_block,
        axes,
        *(pair for array in (x, *others.values()) for pair in (array, axes)),
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
    """Compute a call on blocks; only the arrays of a definition are positional arguments."""
    positional = function.definition.arrays
    named = {name: block for name, block in zip(names, blocks, strict=True) if name not in positional}
    return function(*blocks[: len(positional)], **named, **keywords)

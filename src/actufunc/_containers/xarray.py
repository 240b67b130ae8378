"""Functions over dimensions of xarray: `axis` is a dimension of x, by its name or its position."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Hashable

    from actufunc._calling.call import Call


def over_dimensions(call: Call) -> Any:
    """Compute a function over dimensions of xarray's objects, by `xarray.apply_ufunc`.

    ``axis`` may be a name, or a tuple of names and positions. The result has the type of `x`, with its dimensions in
    their order; each variable of a Dataset is computed by itself. TypeError is raised if `x` is not an object of
    xarray, or is a Dataset, whose variables may differ in their dimensions, and the axis is not a name; ValueError if
    `x` has no such dimension, or its labels along it differ from those of a cotangent.
    """
    import xarray as xr  # noqa: PLC0415

    name, x, axis = call.definition.name, call.operands["x"], call.keywords.get("axis", -1)
    if "keepdims" in call.keywords:
        raise TypeError(f"{name} takes no keepdims= with xarray, which broadcasts by names; omit it")
    if isinstance(x, xr.Dataset):
        names = axis if isinstance(axis, tuple) else (axis,)
        if axis is None or any(isinstance(each, int | np.integer) for each in names):
            raise TypeError(
                f"{name} takes axis= as the name of a dimension for a Dataset, whose variables differ, not {axis!r}"
            )
        return x.map(lambda variable: _map_variable(call, x, variable))
    if not isinstance(x, xr.DataArray | xr.Variable):
        raise TypeError(f"{name} got an object of xarray beside {type(x).__name__} for x; convert them to one kind")
    return _apply(call, _dimensions(name, axis, x.dims))


def _map_variable(call: Call, dataset: Any, variable: Any) -> Any:
    """Compute a call on one variable of a Dataset, beside the variables of the same name of other Datasets."""
    inputs, keywords = call.as_arguments()

    def part(value: Any) -> Any:
        return value[variable.name] if isinstance(value, type(dataset)) else value

    return call.function(variable, *map(part, inputs[1:]), **{key: part(value) for key, value in keywords.items()})


def _dimensions(name: str, axis: Any, dims: tuple[Hashable, ...]) -> list[Hashable]:
    """Return the names of the dimensions that `axis` means."""
    if axis is None:
        return list(dims)
    given = [axis] if axis in dims or not isinstance(axis, tuple) else list(axis)
    count = len(dims)
    found = [dims[a] if isinstance(a, int | np.integer) and a not in dims and -count <= a < count else a for a in given]
    if unknown := [each for each in found if each not in dims]:
        raise ValueError(f"{name} got axis={unknown[0]!r} for an array with the dimensions {dims}")
    if len(set(found)) < len(found):
        raise ValueError(f"{name} got an axis twice: axis={axis!r}")
    return found


def _apply(call: Call, dims: list[Hashable]) -> Any:
    """Compute a call over dimensions, which `xarray.apply_ufunc` moves to the end."""
    import xarray as xr  # noqa: PLC0415

    definition, x = call.definition, call.operands["x"]
    keywords = {key: value for key, value in call.keywords.items() if key not in {"axis", "where"}}
    operands = dict(call.operands)
    if (where := call.keywords.get("where", True)) is not True:
        operands["where"] = where
    arrays = {key: value for key, value in operands.items() if np.ndim(value) or hasattr(value, "dims")}
    numbers = {key: value for key, value in operands.items() if key not in arrays}
    core = {}
    for key, value in arrays.items():
        core[key] = [] if key in definition.without_axis else dims
        named = _named(call, key, value, [d for d in x.dims if key not in definition.without_axis or d not in dims])
        missing = [d for d in core[key] if d not in named.dims]
        sizes = {d: 1 if definition.gated else x.sizes[d] for d in missing}
        arrays[key] = named.expand_dims(sizes) if sizes else named
    axis = tuple(range(-len(dims), 0)) if len(dims) > 1 else -1

    def compute(*values: Any) -> Any:
        given = dict(zip(arrays, values, strict=True)) | numbers
        positional = [given.pop(key) for key in definition.arrays]
        return call.function(*positional, **given, **call.options, **keywords, axis=axis)

    kept = xr.get_options()["keep_attrs"]
    result = xr.apply_ufunc(
        compute,
        *arrays.values(),
        input_core_dims=list(core.values()),
        output_core_dims=[[] if definition.reduces else dims],
        exclude_dims=set(dims) if definition.gated else set(),  # their lengths change, so labels are lost
        join="exact",
        dask="allowed",
        keep_attrs=True if kept == "default" else kept,
    )
    ordered = result.transpose(*x.dims, missing_dims="ignore")
    return ordered.variable if isinstance(x, xr.Variable) and isinstance(ordered, xr.DataArray) else ordered


def _named(call: Call, key: str, value: Any, dims: list[Hashable]) -> Any:
    """Return an operand with dimensions: an array gets those it would broadcast to in NumPy, without lengths of 1."""
    import xarray as xr  # noqa: PLC0415

    if isinstance(value, xr.DataArray | xr.Variable):
        return value if isinstance(value, xr.DataArray) or key == "x" else xr.DataArray(value)
    array = value if hasattr(value, "shape") else np.asarray(value)
    if array.ndim > len(dims):
        raise ValueError(f"{call.definition.name} cannot broadcast {key} of shape {array.shape} to dimensions {dims}")
    kept = [length != 1 for length in array.shape]
    names = [name for name, keep in zip(dims[len(dims) - array.ndim :], kept, strict=True) if keep]
    return xr.DataArray(array[tuple(slice(None) if keep else 0 for keep in kept)], dims=names)

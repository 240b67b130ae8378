"""Functions over a chunked axis, by dask's tree reduction; see `stages`.

Partial results are float64, whatever the dtype of the array is, and a result is rounded once.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import array_api_compat
import numpy as np

from actufunc.backends.masking import fill_left_out, value_left_out
from actufunc.backends.promotion import rounded, scalars_of, working_dtype
from actufunc.formula.definition import Definition
from actufunc.formula.expression import argument

from .stages import ROW_PREFIX, Stage, rounded_at_last, stages_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from actufunc._calling.call import Call
    from actufunc.backends.axis import Reduced
    from actufunc.formula.expression import Expression

    from .stages import Partial

    Names = tuple[str | tuple[str, ...], ...]


def over_blocks(call: Call, arrays: Mapping[str, Any], shapes: Reduced, dtype: np.dtype[Any], token: str) -> Any:
    """Return the dask array of a function over a chunked axis; its axes have length one if the function reduces.

    `arrays` are the operands, and the mask as "where", in the chunks of `x`. Operands with one element for each row
    have one block along the axes. The dtype is that of the result, and `token` a suffix of the names in the graph,
    unique to this call.
    """
    import dask.array as da  # noqa: PLC0415

    definition, axes, x = call.definition, shapes.axes, arrays["x"]
    for array in arrays.values():
        _refuse_masked(definition.name, array._meta)  # noqa: SLF001
    blocks = _Blocks(
        definition.name,
        type(call.function),
        dtype,
        axes,
        {key: rounded(value, working_dtype(dtype) or dtype) for key, value in scalars_of(call).items()},
        (fill_left_out(call), value_left_out(call)) if "where" in arrays else None,
    )
    names: Names = tuple(arrays)
    operands = list(arrays.values())
    of_row = tuple((1,) * len(sizes) if axis in axes else sizes for axis, sizes in enumerate(x.chunks))
    meta = x._meta.astype(np.float64)  # noqa: SLF001
    rest = call.expression
    for number, stage in enumerate(stages_of(definition.name, rest, axes)):
        name = f"{definition.name}-{number}-{token}"
        keywords = {"names": names, "stage": stage, "dtype": np.float64, "meta": meta}
        partials = da.map_blocks(blocks.reduced, *operands, **keywords, chunks=of_row, name=name)
        combine = functools.partial(_combined, make=blocks.make, stage=stage)
        keywords = {"axis": axes, "keepdims": True, "concatenate": False, "dtype": np.float64, "meta": meta}
        keywords |= {"split_every": _split_every(x.chunks, axes, len(stage.partials))}
        operands.append(da.reduction(partials, _unchanged, combine, combine=combine, **keywords, name=name))
        names, rest = (*names, tuple(partial.name for partial in stage.partials)), stage.rest
    if dtype == np.float64:
        rest = rounded_at_last(rest)
    if definition.reduces:
        names, operands = names[len(arrays) :], operands[len(arrays) :]
    return da.map_blocks(
        blocks.result,
        *operands,
        names=names,
        stage=Stage((), rest),
        dtype=dtype,
        chunks=operands[0].chunks,
        meta=x._meta.astype(dtype),  # noqa: SLF001
        name=f"{definition.name}-{token}",
    )


_MOST_COMBINED = 32


def _refuse_masked(name: str, array: Any) -> None:
    """Raise TypeError for a masked array: partial results of blocks have no masks."""
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError(
            f"{name} takes masked arrays whose axis lies in one block only; "
            "give it where=~dask.array.ma.getmaskarray(x), and dask.array.ma.getdata(x), instead"
        )


@dataclass(frozen=True)
class _Blocks:
    """A function over an axis on the blocks of its operands at one position.

    Attributes
    ----------
    name : str
        Name of the function.
    make : callable
        Makes an activation from a definition.
    dtype : numpy.dtype
        dtype of the result.
    axes : tuple of int
        The axes of the function.
    scalars : dict
        Hyperparameters that are numbers.
    left_out : pair of mapping and float, or None
        With a mask: the values of operands, and of the result, at masked elements.
    """

    name: str
    make: Any
    dtype: np.dtype[Any]
    axes: tuple[int, ...]
    scalars: dict[str, Any]
    left_out: tuple[dict[str, float], float] | None

    def reduced(self, *blocks: Any, names: Names, stage: Stage) -> tuple[Any, ...]:
        """Return the partial results of a stage."""
        found, across = [], None
        for axis, _, piece in _pieces(blocks, self.axes):
            across = axis
            given = self._given(piece, names)
            for key in given.keys() - self.scalars.keys() - {"where"}:  # once for all partial results
                given[key] = given[key].astype(np.float64, copy=False)
            found.append([self._compute(p.local, given, axis=self.axes, keepdims=True) for p in stage.partials])
        return tuple(
            found[0] if across is None else [np.concatenate(each, across) for each in zip(*found, strict=True)]
        )

    def result(self, *blocks: Any, names: Names, stage: Stage) -> Any:
        """Return the result, the rest of the formula."""
        result = None
        for axis, index, piece in _pieces(blocks, ()):
            computed = self._result(piece, names, stage.rest)
            if axis is None:
                return computed
            if result is None:
                result = np.empty(blocks[0].shape, self.dtype)
            result[index] = computed
        return result

    def _result(self, blocks: tuple[Any, ...], names: Names, rest: Expression) -> Any:
        given = self._given(blocks, names)
        if "x" not in given:  # partial results only
            first = min(rest.arguments())
            given["x"], rest = given[first], rest.substitute({first: argument("x")})
        result = self._compute(rest, given)
        if "where" in given and self.left_out is not None:
            result = _masked(given["where"], result, self.left_out[1])
        with np.errstate(all="ignore"):
            return result.astype(self.dtype, copy=False)

    def _given(self, blocks: tuple[Any, ...], names: Names) -> dict[str, Any]:
        """Return the operands by name, in the dtype of the result, filled where they are masked."""
        given = dict(self.scalars)
        for name, block in zip(names, blocks, strict=True):
            _refuse_masked(self.name, block)
            given |= {name: block} if isinstance(name, str) else dict(zip(name, block, strict=True))
        for key in given.keys() - self.scalars.keys() - {"where"}:
            if given[key].dtype != np.float64:
                given[key] = given[key].astype(self.dtype, copy=False)
        if "where" in given and self.left_out is not None:
            for key, value in self.left_out[0].items():
                if key in given:
                    given[key] = _masked(given["where"], given[key], value)
        return given

    def _compute(self, formula: Expression, given: Mapping[str, Any], **keywords: Any) -> Any:
        return _computed(self.make, self.name, formula, given, tuple(self.scalars), **keywords)


def _pieces(blocks: tuple[Any, ...], axes: tuple[int, ...]) -> Iterator[tuple[int | None, Any, tuple[Any, ...]]]:
    """Cut the blocks at one position along an axis that is not reduced, so that float64 copies need little memory."""
    x = blocks[0]
    others = [axis for axis in range(x.ndim) if axis not in axes] if type(x) is np.ndarray else []
    if not others or x.size <= _PIECE:
        yield None, ..., blocks
        return
    axis = max(others, key=x.shape.__getitem__)
    length = x.shape[axis]
    step = max(1, _PIECE * length // x.size)
    for first in range(0, length, step):
        index = (slice(None),) * axis + (slice(first, first + step),)

        def cut(block: Any, index: Any = index) -> Any:
            if isinstance(block, tuple):
                return tuple(map(cut, block))
            return block[index] if block.shape[axis] == length else block

        yield axis, index, tuple(map(cut, blocks))


_PIECE = 1 << 20  # elements


def _combined(partials: Any, *, make: Any, stage: Stage, axis: tuple[int, ...], keepdims: bool) -> tuple[Any, ...]:  # noqa: ARG001
    """Combine the partial results of several blocks."""
    several = list(_flat(partials))
    names = [partial.name for partial in stage.partials]
    given = [dict(zip(names, each, strict=True)) for each in several]
    total: dict[str, Any] = {}
    xp = array_api_compat.array_namespace(several[0][0])
    with np.errstate(all="ignore"):
        for partial in stage.partials:
            if partial.is_maximum:
                total[partial.name] = functools.reduce(xp.maximum, (each[partial.name] for each in given))
        for partial in stage.partials:
            if not partial.is_maximum:
                shares = [_share(make, partial, each, total) for each in given]
                total[partial.name] = _sum(xp, shares)
    return tuple(total[name] for name in names)


def _split_every(chunks: tuple[tuple[float, ...], ...], axes: tuple[int, ...], partials: int) -> int | None:
    """Return the number of blocks that are combined at once: their partial results have no more elements than a block.

    This is more than dask's default of 4, as partial results are small, and each task costs the scheduler the same.
    """
    import dask  # noqa: PLC0415

    length = math.prod(max(chunks[axis]) for axis in axes)
    if dask.config.get("split_every", None) is not None or math.isnan(length):
        return None
    return max(4, min(_MOST_COMBINED, int(length) // partials))


def _sum(xp: Any, terms: list[Any]) -> Any:
    """Return a compensated sum (Neumaier 1974), as kernels do."""
    total, error = terms[0], xp.zeros_like(terms[0])
    for term in terms[1:]:
        before, total = total, total + term
        back = total - before
        error = error + ((before - (total - back)) + (term - back))
    return xp.where(xp.isfinite(total), total + error, total)


def _share(make: Any, partial: Partial, given: Mapping[str, Any], total: Mapping[str, Any]) -> Any:
    """Return the term of a block in the sum over the blocks."""
    if partial.relative_to is None:
        return given[partial.name]
    operands = {"x": given[partial.name], "own": given[partial.relative_to], "largest": total[partial.relative_to]}
    if partial.elsewhere is not None:
        operands["elsewhere"] = given[partial.elsewhere]
    return _computed(make, "share", partial.share, operands)


def _computed(
    make: Any, name: str, formula: Expression, given: Mapping[str, Any], scalars: tuple[str, ...] = (), **keywords: Any
) -> Any:
    """Compute a formula in float64."""
    used = formula.arguments()
    hyperparameters = tuple(name for name in scalars if name in used)
    arrays = ("x", *sorted(used.difference(("x", *hyperparameters))))
    function = _activation(make, name, formula, arrays, hyperparameters)
    named = {name: given[name] for name in hyperparameters}
    with np.errstate(all="ignore"):  # as all functions over an axis
        return function(*(given[name] for name in arrays), **named, **keywords, dtype=np.float64)


@functools.lru_cache(maxsize=512)
def _activation(
    make: Any, name: str, formula: Expression, arrays: tuple[str, ...], hyperparameters: tuple[str, ...]
) -> Any:
    without_axis = frozenset(name for name in arrays if name.startswith(ROW_PREFIX))
    return make(Definition(name, arrays, dict.fromkeys(hyperparameters, 0.0), {}, lambda: formula, without_axis))


def _masked(mask: Any, array: Any, fill: float) -> Any:
    return array_api_compat.array_namespace(array).where(mask, array, fill)


def _flat(partials: Any) -> Iterator[tuple[Any, ...]]:
    """Yield the partial results of each block from lists that are nested if there are several axes."""
    if isinstance(partials, list):
        for each in partials:
            yield from _flat(each)
    else:
        yield partials


def _unchanged(partials: Any, axis: tuple[int, ...], keepdims: bool) -> Any:  # noqa: ARG001, FBT001
    return partials

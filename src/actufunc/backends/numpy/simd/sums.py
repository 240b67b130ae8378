"""Sums along a row, with vectors written out: LLVM must not reorder the additions of floats, so it vectorises none.

Element i of a row is added to lane i modulo `LANES`, and at the end the second half of the lanes to the first until one
is left. Every sum in this order has the same bits. Each lane has a second word for its rounding errors
(Neumaier 1974), where there are two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llvmlite import ir
from numba.core import cgutils

from actufunc._formats import FLOAT64

from . import LANES
from .lanes import Lane, two_sum

if TYPE_CHECKING:
    from collections.abc import Sequence

_WIDTH = 8  # of a vector: LLVM cuts it in pieces where registers are narrower
_PARTS = LANES // _WIDTH
_INDEX, _VECTOR = ir.IntType(64), ir.VectorType(ir.DoubleType(), _WIDTH)
_ALIGNED = 8  # as a double is


def add_up(builder: ir.IRBuilder, terms: Sequence[ir.Value], count: ir.Value, lanes: ir.Value, words: int) -> None:
    """Add terms to lanes.

    Parameters
    ----------
    builder : llvmlite.ir.IRBuilder
        Builder of the instructions.
    terms : sequence of pointer to double
        Terms, from lane 0 on, in one word or two, if lanes have two. Up to a multiple of `LANES` memory behind them is
        read as well, but not added.
    count : 64-bit integer
        Number of terms.
    lanes : pointer to double
        `LANES` first words and, if there are two, as many second words.
    words : int
        Words of a lane, 1 or 2.
    """
    places = [cgutils.alloca_once(builder, _VECTOR) for _ in range(words * _PARTS)]
    for part, place in enumerate(places):
        builder.store(_vector(builder, lanes, part), place)

    def add(first: ir.Value, below: ir.Value | None = None) -> None:
        for part in range(_PARTS):
            term = [_vector(builder, builder.gep(word, [first]), part) for word in terms]
            if below is not None:
                numbers = ir.Constant(ir.VectorType(_INDEX, _WIDTH), [part * _WIDTH + i for i in range(_WIDTH)])
                is_term = builder.icmp_signed("<", numbers, _splat(builder, below))
                term = [builder.select(is_term, word, ir.Constant(_VECTOR, [0.0] * _WIDTH)) for word in term]
            of_part = places[part::_PARTS]
            for place, value in zip(of_part, _add(builder, [builder.load(p) for p in of_part], term), strict=True):
                builder.store(value, place)

    rest = builder.and_(count, ir.Constant(_INDEX, LANES - 1))
    whole = builder.sub(count, rest)
    with cgutils.for_range_slice(builder, ir.Constant(_INDEX, 0), whole, ir.Constant(_INDEX, LANES)) as (first, _):
        add(first)
    with builder.if_then(builder.icmp_signed(">", rest, ir.Constant(_INDEX, 0))):
        add(whole, rest)
    for part, place in enumerate(places):
        builder.store(builder.load(place), _place(builder, lanes, part), align=_ALIGNED)


def folded(builder: ir.IRBuilder, lanes: ir.Value, words: int) -> list[ir.Value]:
    """Return the sum of all lanes, in as many words as they have; parameters are those of `add_up`."""
    vectors = [[_vector(builder, lanes, word * _PARTS + part) for word in range(words)] for part in range(_PARTS)]
    while len(vectors) > 1:
        half = len(vectors) // 2
        vectors = [_add(builder, vectors[i], vectors[half + i]) for i in range(half)]
    total, width = vectors[0], _WIDTH
    while width > 1:
        width //= 2
        total = _add(builder, *([_piece(builder, word, begin, width) for word in total] for begin in (0, width)))
    return [builder.extract_element(word, ir.Constant(_INDEX, 0)) for word in total]


def _add(builder: ir.IRBuilder, words: Sequence[ir.Value], term: Sequence[ir.Value]) -> list[ir.Value]:
    """Add numbers of one or two words to numbers of one or two words."""
    high, *low = (Lane(builder, value, FLOAT64) for value in words)
    other, *other_low = (Lane(builder, value, FLOAT64) for value in term)
    if not low:
        return [(high + other).value]
    total, error = two_sum(high, other)
    for each in (*low, *other_low):
        error = each + error
    return [total.value, error.value]


def _place(builder: ir.IRBuilder, pointer: ir.Value, part: int) -> ir.Value:
    place = builder.gep(pointer, [ir.Constant(_INDEX, part * _WIDTH)])
    return builder.bitcast(place, _VECTOR.as_pointer())


def _vector(builder: ir.IRBuilder, pointer: ir.Value, part: int) -> ir.Value:
    return builder.load(_place(builder, pointer, part), align=_ALIGNED)


def _splat(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    kind = ir.VectorType(value.type, _WIDTH)
    first = builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(_INDEX, 0))
    return _piece(builder, first, 0, 1, times=_WIDTH)


def _piece(builder: ir.IRBuilder, vector: ir.Value, begin: int, width: int, *, times: int = 1) -> ir.Value:
    """Return some elements of a vector, repeated."""
    chosen = [begin + i for i in range(width)] * times
    mask = ir.Constant(ir.VectorType(ir.IntType(32), len(chosen)), chosen)
    return builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), mask)

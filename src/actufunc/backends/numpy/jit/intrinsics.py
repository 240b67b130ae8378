"""The names that generated kernels call, as Numba intrinsics over the functions of `simd`."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from llvmlite import ir
from numba.core import cgutils
from numba.core import types as numba_types
from numba.extending import intrinsic

from actufunc._formats import FLOAT32, FLOAT64
from actufunc.backends.numpy.codegen.primitives import FUNCTIONS
from actufunc.backends.numpy.simd import double_word, elementary, exponential, float32, half, logarithm, normal, sums
from actufunc.backends.numpy.simd.lanes import DoubleWord, Lane
from actufunc.backends.promotion import HALF_TYPES
from actufunc.formula.registry import OPERATIONS

from . import flags
from .vectors import prefer_wide

if TYPE_CHECKING:
    from collections.abc import Callable

types: Any = numba_types


# Blocks of a function without branches: Numba's entry and the body. Such a function is the scalar function of a ufunc,
# and must be inlined into the loop around it, however long it is, or the loop is not vectorised.
_MOST_BLOCKS = 2


def inline(builder: Any) -> None:
    """Request that the function being built is inlined or, if it has branches, wide vectors in its loops."""
    if len(builder.function.basic_blocks) > _MOST_BLOCKS:
        prefer_wide(builder.function)
    elif "noinline" not in builder.function.attributes:  # as in Numba's debug mode
        builder.function.attributes.add("alwaysinline")


def _intrinsic(function: Callable[..., Any], result: str = "float", *, arity: int | None = None) -> Any:
    """Make a function over lanes callable from code that Numba compiles.

    A float argument becomes a `Lane`, a tuple of two floats a `DoubleWord`. `result` is the kind of the result:
    "float", "wide", "truth" or "integer" of the same width, "half" for 16 bits. `arity` omits optional arguments.
    """

    def typing(_context: Any, *arguments: Any) -> tuple[Any, Any]:
        words = [a.dtype if isinstance(a, types.UniTuple) else a for a in arguments]
        number = next(w for w in words if isinstance(w, types.Float | types.Integer))
        form = FLOAT32 if number.bitwidth == FLOAT32.bits else FLOAT64
        number = types.float32 if form is FLOAT32 else types.float64
        kinds = {
            "float": number,
            "wide": types.UniTuple(number, 2),
            "truth": types.boolean,
            "integer": types.int32 if form is FLOAT32 else types.int64,
            "half": types.uint16,
        }

        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            lanes: list[Lane | DoubleWord] = []
            for kind, value in zip(signature.args, values, strict=True):
                if isinstance(kind, types.UniTuple):
                    high, low = (Lane(builder, builder.extract_value(value, i), form) for i in (0, 1))
                    lanes.append(DoubleWord(high, low))
                else:
                    lanes.append(Lane(builder, value, form))
            answer = function(*lanes)
            inline(builder)
            if result == "wide":
                return context.make_tuple(builder, signature.return_type, (answer.high.value, answer.low.value))
            return answer.value

        return kinds[result](*arguments), generate

    # Numba takes the number of arguments from the signature.
    names = list(inspect.signature(function).parameters)[:arity]
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(name, kind) for name in ("context", *names)]
    typing.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    typing.__name__ = typing.__qualname__ = function.__name__
    return intrinsic(typing)


def _times(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``factor * function(x)``, scaled last, as a function of the factor and `x`."""
    return lambda factor, x: function(x, factor)


def _data(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    """Return the address of the first element of an array."""
    return context.make_array(kind)(context, builder, value).data


# Elements of a C-contiguous array by their flat index. An index of Numba's own may be negative and is corrected if so,
# which keeps LLVM from vectorising the loop.


@intrinsic  # type: ignore[untyped-decorator]
def _load(_context: Any, array: Any, index: Any) -> Any:  # noqa: ARG001
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        data = _data(context, builder, signature.args[0], values[0])
        return builder.load(builder.gep(data, [values[1]]))

    return array.dtype(array, types.intp), generate


@intrinsic  # type: ignore[untyped-decorator]
def _store(_context: Any, array: Any, index: Any, value: Any) -> Any:  # noqa: ARG001
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        data = _data(context, builder, signature.args[0], values[0])
        builder.store(values[2], builder.gep(data, [values[1]]))
        return context.get_dummy_value()

    return types.void(array, types.intp, array.dtype), generate


@intrinsic  # type: ignore[untyped-decorator]
def _look_up(_context: Any, table: Any, bits: Any) -> Any:
    """Load the element of a table at an index of 16 bits.

    The load is atomic, an ordinary one for the processor where it is aligned, so that LLVM does not vectorise it: a
    gather takes four times as long (2.4 ns against 0.6 in a vjp, on Zen 5).
    """

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        data = _data(context, builder, signature.args[0], values[0])
        place = builder.gep(data, [builder.zext(values[1], context.get_value_type(types.intp))])
        return builder.load_atomic(place, "monotonic", signature.return_type.bitwidth // 8)

    return table.dtype(table, bits), generate


@intrinsic  # type: ignore[untyped-decorator]
def _raised_flags(_context: Any) -> Any:
    return types.uint32(), lambda _context, builder, _signature, _values: flags.read(builder)


def _clear_flags(dtype: str) -> Any:
    """Clear the flags that arrays of this dtype, the last of which is the result, do not justify."""

    @intrinsic  # type: ignore[untyped-decorator]
    def settle(_context: Any, before: Any, arrays: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            kind = signature.args[1].dtype
            found = [builder.extract_value(values[1], place) for place in range(len(signature.args[1]))]
            out = context.make_array(kind)(context, builder, found[-1])
            operands = [_data(context, builder, kind, each) for each in found]
            flags.clear_unjustified(builder, dtype, operands, out.nitems, values[0])
            return context.get_dummy_value()

        return types.void(before, arrays), generate

    return settle


def _array(context: Any, builder: Any, kind: Any, data: Any, shape: list[Any]) -> Any:
    """Make a C-contiguous array without a count of references."""
    array = context.make_array(kind)(context, builder)
    integer = context.get_value_type(types.intp)
    step = array.itemsize = ir.Constant(integer, kind.dtype.bitwidth // 8)
    strides: list[Any] = []
    size = ir.Constant(integer, 1)
    for length in reversed(shape):
        strides.insert(0, step)
        step, size = builder.mul(step, length), builder.mul(size, length)
    array.data, array.nitems = data, size
    array.shape, array.strides = cgutils.pack_array(builder, shape), cgutils.pack_array(builder, strides)
    array.meminfo, array.parent = (ir.Constant(each.type, None) for each in (array.meminfo, array.parent))
    return array._getvalue()  # noqa: SLF001


@intrinsic(prefer_literal=True)  # type: ignore[untyped-decorator]
def _on_stack(_context: Any, count: Any) -> Any:
    """Make an array of float64 on the stack, until the function returns."""
    kind = types.Array(types.float64, 1, "C")

    def generate(context: Any, builder: Any, *_: Any) -> Any:
        length = ir.Constant(context.get_value_type(types.intp), count.literal_value)
        data = cgutils.alloca_once(builder, context.get_data_type(types.float64), length)
        return _array(context, builder, kind, data, [length])

    return kind(count), generate


def _add_up(words: int) -> Any:
    """Add the first terms of an array, of one word, to the lanes of a sum of so many words."""

    @intrinsic  # type: ignore[untyped-decorator]
    def add_up(_context: Any, terms: Any, count: Any, lanes: Any) -> Any:  # noqa: ARG001
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            first, last = (_data(context, builder, signature.args[place], values[place]) for place in (0, 2))
            sums.add_up(builder, [first], values[1], last, words)
            return context.get_dummy_value()

        return types.void(terms, types.intp, lanes), generate

    return add_up


@intrinsic  # type: ignore[untyped-decorator]
def _add_up_words(_context: Any, terms: Any, low_terms: Any, count: Any, lanes: Any) -> Any:  # noqa: ARG001
    """Add the first terms of two arrays, of two words, to the lanes of a sum of two words."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        high, low, last = (_data(context, builder, signature.args[place], values[place]) for place in (0, 1, 3))
        sums.add_up(builder, [high, low], values[2], last, 2)
        return context.get_dummy_value()

    return types.void(terms, low_terms, types.intp, lanes), generate


def _folded(words: int) -> Any:
    """Add up the lanes of a sum of so many words."""

    @intrinsic  # type: ignore[untyped-decorator]
    def folded(_context: Any, lanes: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            found = sums.folded(builder, _data(context, builder, signature.args[0], values[0]), words)
            return found[0] if words == 1 else context.make_tuple(builder, signature.return_type, found)

        return (types.float64 if words == 1 else types.UniTuple(types.float64, words))(lanes), generate

    return folded


# Arguments and results of functions of Python, and the lock of the interpreter, which is released meanwhile. The caller
# ensures that arrays are contiguous and of the given dtype and number of dimensions.


def _among(builder: Any, arguments: Any, place: int) -> Any:
    """Return the address of one of the arguments from Python."""
    pointer = ir.PointerType(ir.IntType(8))
    objects = builder.bitcast(arguments, pointer.as_pointer())
    return builder.load(builder.gep(objects, [ir.Constant(ir.IntType(32), place)]))


@intrinsic(prefer_literal=True)  # type: ignore[untyped-decorator]
def _array_among(_context: Any, arguments: Any, place: Any, dtype: Any, ndim: Any) -> Any:
    """Return an argument as an array.

    Its object begins, after what all objects have, with the pointer to its elements, the number of dimensions and the
    pointer to the lengths: ``PyArrayObject`` of NumPy's C interface.
    """
    kind = types.Array(dtype.dtype, ndim.literal_value, "C")

    def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        integer = context.get_value_type(types.intp)
        fields = builder.bitcast(_among(builder, values[0], place.literal_value), integer.as_pointer())
        start = object.__basicsize__ // (integer.width // 8)

        def field(index: int) -> Any:
            return builder.load(builder.gep(fields, [ir.Constant(integer, start + index)]))

        lengths = builder.inttoptr(field(2), integer.as_pointer())
        shape = [builder.load(builder.gep(lengths, [ir.Constant(integer, axis)])) for axis in range(kind.ndim)]
        data = builder.inttoptr(field(0), context.get_data_type(kind.dtype).as_pointer())
        return _array(context, builder, kind, data, shape)

    return kind(arguments, place, dtype, ndim), generate


def _python(builder: Any, name: str, result: Any, *values: Any) -> Any:
    """Call a function of Python's C interface."""
    kind = ir.FunctionType(result, [value.type for value in values])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), values)


@intrinsic(prefer_literal=True)  # type: ignore[untyped-decorator]
def _integer_among(_context: Any, arguments: Any, place: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        number = _among(builder, values[0], place.literal_value)
        return _python(builder, "PyLong_AsSsize_t", context.get_value_type(signature.return_type), number)

    return types.intp(arguments, place), generate


@intrinsic  # type: ignore[untyped-decorator]
def _released(_context: Any) -> Any:
    """Release the lock of the interpreter, and return the state of the thread for `_reacquired`."""

    def generate(context: Any, builder: Any, signature: Any, _values: Any) -> Any:
        return _python(builder, "PyEval_SaveThread", context.get_value_type(signature.return_type))

    return types.voidptr(), generate


@intrinsic  # type: ignore[untyped-decorator]
def _reacquired(_context: Any, thread: Any) -> Any:
    """Acquire the lock of the interpreter, and return a number, because a function of Python must return an object."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        _python(builder, "PyEval_RestoreThread", ir.VoidType(), values[0])
        nothing = ir.Constant(context.get_value_type(types.intp), 0)
        return _python(builder, "PyLong_FromSsize_t", context.get_value_type(signature.return_type), nothing)

    return types.voidptr(thread), generate


def _primitives() -> dict[str, Any]:
    """Return what computes the operations that have functions of their own."""
    made: dict[str, Any] = {}
    # Modules that this file imports by a statement, for a change of one must be seen by the cache.
    modules = {each.__name__.rpartition(".")[2]: each for each in (elementary, exponential, logarithm, normal)}
    for module, names in FUNCTIONS.items():
        for name in names:
            function, operation = getattr(modules[module], name), OPERATIONS[name]
            made[name] = _intrinsic(function, "truth" if operation.condition else "float", arity=operation.arity)
            if operation.scaled_last:
                made[f"times_{name}"] = _intrinsic(_times(function))
            if operation.costly:
                made[f"single_{name}"] = _intrinsic(getattr(float32, name))
    return made


NAMES: dict[str, Any] = {
    **_primitives(),
    **{
        function.__name__: _intrinsic(function)
        for function in (
            *(exponential.scaled_expm1, logarithm.softplus_over, elementary.divided, elementary.from_order_key),
            *(half.from_float16, half.from_bfloat16, double_word.rounded, double_word.low_word),
        )
    },
    **{
        name: _intrinsic(function, "wide")
        for module in (double_word, exponential, logarithm, normal)
        for name, function in vars(module).items()
        if name.startswith(("wide_", "raised_"))
    },
    "exp_words": _intrinsic(exponential.exp_words, "wide"),
    **{function.__name__: _intrinsic(function, "half") for function in (half.to_float16, half.to_bfloat16)},
    "order_key": _intrinsic(elementary.order_key, "integer"),
    "add_up": _add_up(1),
    "add_up_in_words": _add_up(2),
    "add_up_words": _add_up_words,
    "on_stack": _on_stack,
    "array_among": _array_among,
    "integer_among": _integer_among,
    "released": _released,
    "reacquired": _reacquired,
    "folded": _folded(1),
    "folded_words": _folded(2),
    "load": _load,
    "look_up": _look_up,
    "store": _store,
    "raised_flags": _raised_flags,
    **{f"settle_{name}": _clear_flags(name) for name in HALF_TYPES},
    "two_sum": _intrinsic(double_word.two_sum_words, "wide"),
}
"""The functions that generated code calls, by name."""

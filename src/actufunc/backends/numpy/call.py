"""Calls on NumPy arrays: dtypes, `out`, `where`, `order`, strides.

This is the guard in front of Numba's ufuncs, which raise on `where`, know no other dtypes, and leave the vectorised
loop where an operand is not contiguous or an input shares memory with the output. Small arrays of the kernel's dtype go
to it directly, larger ones where they are contiguous and alike. Everything else goes through `numpy.nditer`, which
hands out contiguous chunks, casting, broadcasting and resolving overlap on the way.

Half types are computed in float64 and rounded once, with scalar hyperparameters of float32 as everywhere: a product
with one is exact then, so that no tie is missed. Arrays of nothing but one half type are seen as the bits of their
elements, for which there are kernels; beside other dtypes the kernel in float64 computes, chunk by chunk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from actufunc.backends.rules import is_half, rounded, scalars_of, settle, unsupported, working_dtype
from actufunc.memory import empty_like

from . import parallel, straight
from .kernels import Elementwise, elementwise, to_bits
from .lower_half import HALVES_IN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actufunc.formula.definition import Definition
    from actufunc.formula.expression import Expression
    from actufunc.protocol import Call


# Elements of a row that the vectorised loop is worth entering for.
_LEAST_ROW = 32

# Different values of a hyperparameter that a function gets a kernel of its own for. Any further value is spread over an
# array and goes through the general kernel: no endless compilation where a hyperparameter is trained.
_SPECIALISATIONS = 8
_specialised: WeakKeyDictionary[Definition, dict[tuple[Any, ...], set[str]]] = WeakKeyDictionary()


def evaluate(call: Call) -> Any:
    """Compute an activation on NumPy arrays, scalars and lists."""
    if call.definition.over_axis:
        from .call_axis import evaluate_axis  # noqa: PLC0415

        return evaluate_axis(call)
    return _Elementwise(call).result()


def as_array(name: str, key: str, value: Any) -> np.ndarray[Any, Any]:
    """Make an array of the argument `key`, of anything that NumPy can."""
    array: np.ndarray[Any, Any] = np.asanyarray(value)
    if working_dtype(array.dtype) is None:
        raise unsupported(name, array.dtype, key)
    return array


def check_out(name: str, out: Any) -> None:
    """Raise unless a result may be written to `out`."""
    if not isinstance(out, np.ndarray):
        raise TypeError(f"{name} can write its output to a NumPy array only, not to {type(out).__name__}")
    if not out.flags.writeable:
        raise ValueError(f"{name} cannot write to out, which is read-only")


def check_where(name: str, where: Any) -> np.ndarray[Any, Any] | None:
    """Return the mask as an array of booleans, or None if all elements are selected."""
    if where is True:
        return None
    mask = np.asarray(where)
    if mask.dtype.kind != "b":
        raise TypeError(f"{name} takes where= as an array of booleans, not of {mask.dtype}")
    return mask


def put_scalars_in(
    call: Call, arrays: dict[str, np.ndarray[Any, Any]], work: np.dtype[Any]
) -> tuple[Expression, dict[str, np.ndarray[Any, Any]]]:
    """Return the expression with scalar hyperparameters put in, and the arrays that its kernel takes.

    Values past the number that get a kernel of their own become arrays instead.
    """
    scalars = scalars_of(call)
    values = {key: rounded(value, work) for key, value in scalars.items()}
    of_function = _specialised.setdefault(call.definition, {})
    seen = of_function.setdefault((*call.options.items(), work), set())
    if len(seen) < _SPECIALISATIONS or scalars == call.definition.hyperparameters:
        seen.add(repr(values))
    if repr(values) in seen:
        return call.specialised(values), arrays
    spread = {key: arrays[key] if key in arrays else np.asarray(values[key], work) for key in call.operands}
    return call.expression, spread


class _Elementwise:
    """One call of an elementwise activation on NumPy arrays."""

    def __init__(self, call: Call) -> None:
        name = call.definition.name
        self.call, self.name = call, name
        self.mask = check_where(name, call.keywords.get("where", True))
        scalars = scalars_of(call)
        arrays = {key: as_array(name, key, v) for key, v in call.operands.items() if key not in scalars}
        self.settled = settle(call, arrays, self.mask, check_out)
        self.dtype, self.shape = self.settled.dtype, self.settled.shape
        self.work = HALVES_IN if is_half(self.dtype) else self.settled.work
        self.out = call.out if call.out is not Ellipsis else None
        self.inputs = list(arrays.values())
        arrays = {key: np.asarray(array) for key, array in arrays.items()}
        expression, arrays = put_scalars_in(call, arrays, self.settled.work)
        self.operands = list(arrays.values())
        given = [*self.operands, *([] if self.out is None else [self.out])]
        self.is_of_halves = is_half(self.dtype) and all(o.dtype == self.dtype for o in given)
        kernel_of = self.dtype if self.is_of_halves else self.work
        self.kernel = elementwise(name, expression, tuple(arrays), kernel_of)
        arrays_of_call = [call.operands[key] for key in call.definition.arrays]
        exact = all(type(array) is np.ndarray and array.dtype == kernel_of == self.dtype for array in arrays_of_call)
        if exact and tuple(arrays) == call.definition.arrays and call.keywords.keys() <= {"out"}:
            if not isinstance(self.kernel, Elementwise):
                call.straight = straight.contiguous(self.kernel)
            elif self.kernel.is_safe:
                call.straight, call.kernel = straight.elementwise(self.kernel), self.kernel.serial
        if self.is_of_halves:
            self.work = straight.BITS
            self.operands = [o.view(straight.BITS) for o in self.operands]

    def result(self) -> Any:
        """Compute."""
        result = self._allocate() if self.out is None else self.out
        target = np.asarray(result)  # matrices and masked arrays have ideas of their own about assignment
        target = target.view(straight.BITS) if self.is_of_halves else target
        operands = [*self.operands, target]
        sharing = [o for o in self.operands if np.may_share_memory(o, target)]
        contiguous = self._are_contiguous(operands)
        rows = None if contiguous or sharing else self._as_rows(operands)
        if rows is not None:
            parallel.elementwise_rows(self.kernel, rows)
        elif not contiguous or not all(same_memory(o, target) for o in sharing):
            # A scratch chunk where the output cannot be written to directly: masked, or also an input.
            self._chunk_by_chunk(target, aside=self.mask is not None or bool(sharing))
        elif sharing:
            parallel.elementwise_in_place(self.kernel, operands)
        else:
            parallel.elementwise(self.kernel, operands)
        return wrap(self.call, self.inputs, result) if self.out is None else self.out

    def _are_contiguous(self, operands: list[np.ndarray[Any, Any]]) -> bool:
        """Tell whether all operands are contiguous, alike and of the kernel's dtype, and no mask selects elements."""
        return self._are_alike(operands) and (
            all(o.flags.c_contiguous for o in operands) or all(o.flags.f_contiguous for o in operands)
        )

    def _are_alike(self, operands: list[np.ndarray[Any, Any]]) -> bool:
        return self.mask is None and all(
            o.dtype == self.work and o.shape == self.shape and o.flags.aligned for o in operands
        )

    def _as_rows(self, operands: list[np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]] | None:
        """See operands as contiguous rows that are not too short, as those of half a matrix; None if they are none."""
        n = self.shape[-1] if self.shape else 0
        if n < _LEAST_ROW or not self._are_alike(operands) or any(o.strides[-1] != o.itemsize for o in operands):
            return None
        if any(o.strides[i] != o.strides[i + 1] * o.shape[i + 1] for o in operands for i in range(o.ndim - 2)):
            return None  # to see these as rows would take a copy
        return [o.reshape(-1, n) for o in operands]

    def _allocate(self) -> np.ndarray[Any, Any]:
        x = self.operands[0]
        order = self.settled.order
        if x.shape != self.shape:
            order = "C" if order in {"K", "A"} else order
        if order == "K" and self.mask is None and 0 in x.strides:  # as a ufunc does: NumPy's empty_like differs
            flags = [["readonly"], ["writeonly", "allocate"]]
            iterator = np.nditer([x, None], ["zerosize_ok"], flags, [x.dtype, self.dtype])  # type: ignore[arg-type]
            return iterator.operands[1]
        if self.mask is None:
            return empty_like(x, self.dtype, order, self.shape)
        return np.zeros_like(x, self.dtype, order, subok=False, shape=self.shape)

    def _chunk_by_chunk(self, out: np.ndarray[Any, Any], *, aside: bool) -> None:
        """Run the kernel over chunks in which every operand is contiguous."""
        rounds_to = to_bits(out.dtype) if is_half(out.dtype) and out.dtype.isnative else None
        if rounds_to is not None:
            out, aside = out.view(straight.BITS), True
        operands: list[Any] = [*self.operands, out]
        access = "writeonly" if self.mask is None else "readwrite"
        contiguous = ["contig", "aligned", "nbo", "overlap_assume_elementwise"]
        flags = [["readonly", *contiguous]] * len(self.operands) + [[access, "no_broadcast", *contiguous]]
        dtypes = [self.work] * len(operands)
        if aside:  # what is not selected must not even be cast to and fro
            dtypes[-1] = out.dtype
        if self.mask is not None:
            operands.append(self.mask)
            flags.append(["readonly"])
            dtypes.append(np.dtype(np.bool_))
        nditer: Any = np.nditer  # NumPy types the flags as literals
        iterator = nditer(
            operands,
            flags=["external_loop", "buffered", "zerosize_ok", "copy_if_overlap", *([] if aside else ["growinner"])],
            op_flags=flags,
            op_dtypes=dtypes,
            order="K",
            casting="unsafe",  # checked before
            buffersize=parallel.CHUNK,
        )
        with iterator:
            for chunk in iterator:
                *inputs, output = chunk[: len(self.operands) + 1]
                if aside:
                    selected = True if self.mask is None else chunk[-1]
                    values = self.kernel.serial(*inputs)
                    values = values if rounds_to is None else rounds_to(values)
                    np.copyto(output, values, where=selected, casting="unsafe")
                else:
                    self.kernel.serial(*inputs, output)


def same_memory(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> bool:
    """Tell whether two arrays of one shape and dtype are the same elements in the same places."""
    return a.__array_interface__["data"][0] == b.__array_interface__["data"][0] and a.strides == b.strides


def wrap(call: Call, inputs: Sequence[np.ndarray[Any, Any]], result: np.ndarray[Any, Any]) -> Any:
    """Return a result as NumPy's ufuncs do: a scalar for 0-d, the subclass of an input as it wishes."""
    to_scalar = result.ndim == 0 and call.out is not Ellipsis
    subclasses = [a for a in inputs if type(a) is not np.ndarray]
    if subclasses and call.keywords.get("subok", True):
        first = max(subclasses, key=lambda a: getattr(a, "__array_priority__", 0.0))
        return first.__array_wrap__(result, (call.function, tuple(inputs), 0), to_scalar)
    return result[()] if to_scalar else result

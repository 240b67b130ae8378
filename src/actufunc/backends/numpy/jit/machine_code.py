"""Machine code of kernels: one object file each, and its conversion to something callable.

An object file holds a whole kernel: the function, the loops around it, the code that starts threads. Numba keeps these
in several files, with names that each process counts, so that a process may find a loop of another process that calls a
function under another name. Here an object calls nothing outside but what every process has: the interpreter, the C
library and, where kernels are parallel, Numba's threads.

Each object is loaded by an execution engine of its own. In a common one, functions of the same name would be merged,
and in objects of several processes that need not be the same functions.

Nothing here needs Numba: LLVM loads an object from disk, and NumPy makes it a ufunc.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

_kept: list[Any] = []  # objects to which NumPy and Python only point; a kernel lives as long as the process


@dataclass(frozen=True)
class MachineCode:
    """A compiled kernel: the symbol of its function, those that the process must have, and the object file."""

    entry: str
    needs: tuple[str, ...]
    content: bytes

    def address(self) -> int | None:
        """Load the object, and return the address of the function; None if a symbol is missing."""
        from llvmlite import binding  # noqa: PLC0415

        _initialize()
        # LLVM ends the process where it cannot resolve a symbol.
        if not all(map(_is_there, self.needs)):
            return None
        target = binding.Target.from_triple(binding.get_process_triple())
        engine = binding.create_mcjit_compiler(binding.parse_assembly(""), target.create_target_machine(jit=True))
        engine.add_object_file(binding.ObjectFileRef.from_data(self.content))
        engine.finalize_object()
        _kept.append(engine)
        return engine.get_function_address(self.entry) or None


def _is_there(symbol: str) -> bool:
    """Return True if the process has a symbol, or the C library of mathematics, which is added then."""
    from llvmlite import binding  # noqa: PLC0415

    if binding.address_of_symbol(symbol):
        return True
    with contextlib.suppress(OSError, AttributeError):
        function = getattr(ctypes.CDLL("libm.so.6"), symbol)
        binding.add_symbol(symbol, ctypes.cast(function, ctypes.c_void_p).value)
        return True
    return False


@functools.cache
def _initialize() -> None:
    from llvmlite import binding  # noqa: PLC0415

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()


def undefined(content: bytes) -> tuple[str, ...] | None:
    """Return the undefined symbols of an object file; None unless it is an ELF file for 64 bits.

    LLVM gives the sections of an object. A symbol in them is a name (an offset), kind, visibility, section (0: none),
    value and size; the first symbol is empty.
    """
    from llvmlite import binding  # noqa: PLC0415

    if not content.startswith(b"\x7fELF\x02"):
        return None
    sections = {section.name(): section.data() for section in binding.ObjectFileRef.from_data(content).sections()}
    names, symbols = sections[b".strtab"], struct.iter_unpack("=IBBHQQ", sections[b".symtab"])
    places = [place for place, _, _, section, _, _ in symbols if place and not section]
    return tuple(sorted(names[place : names.index(b"\0", place)].decode() for place in places))


def ufunc(address: int, name: str, dtypes: Sequence[np.dtype[Any]], signature: str | None = None) -> np.ufunc:
    """Make a ufunc of the loop at an address, its only one; the last dtype is that of the output.

    Warnings mention `name`. `signature` is that of a generalised ufunc, None for others.
    """
    loops = (ctypes.c_void_p * 1)(address)
    data = (ctypes.c_void_p * 1)()
    types = ctypes.create_string_buffer(bytes(dtype.num for dtype in dtypes))
    texts = [None if text is None else ctypes.create_string_buffer(text.encode()) for text in (name, "", signature)]
    _kept.extend([loops, data, types, *texts])
    made: np.ufunc = _make_ufunc()(loops, data, types, 1, len(dtypes) - 1, 1, _NO_IDENTITY, *texts[:2], 0, texts[2])
    return made


_NO_IDENTITY = -1
_FROM_FUNC_AND_DATA_AND_SIGNATURE = 31  # index in NumPy's table of functions for compiled modules


@functools.cache
def _make_ufunc() -> Any:
    api = importlib.import_module("numpy._core._multiarray_umath")._UFUNC_API  # noqa: SLF001 -- as compiled modules do
    pointer, number = ctypes.c_void_p, ctypes.c_int
    table = _python_function("PyCapsule_GetPointer", pointer, ctypes.py_object, ctypes.c_char_p)(api, None)
    place = table + _FROM_FUNC_AND_DATA_AND_SIGNATURE * ctypes.sizeof(pointer)
    prototype = ctypes.PYFUNCTYPE(ctypes.py_object, *[pointer] * 3, *[number] * 4, *[pointer] * 2, number, pointer)
    return prototype(pointer.from_address(place).value or 0)


def _python_function(name: str, result: Any, *arguments: Any) -> Any:
    """Return a function of Python's C interface, with types that other users of `ctypes.pythonapi` cannot change."""
    address = ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value or 0
    return ctypes.PYFUNCTYPE(result, *arguments)(address)


class _Method(ctypes.Structure):
    """``PyMethodDef`` of Python's C interface."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


_FASTCALL = 0x80  # METH_FASTCALL: the function takes `self`, an array of arguments and their number


def builtin(address: int, name: str) -> Any:
    """Make a function of Python of machine code that takes ``(self, arguments, number)`` without checks."""
    method = _Method(name.encode(), address, _FASTCALL, None)
    _kept.append(method)
    make = _python_function("PyCFunction_NewEx", ctypes.py_object, *[ctypes.c_void_p] * 3)
    return make(ctypes.addressof(method), None, None)

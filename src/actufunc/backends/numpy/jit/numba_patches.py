"""All names of Numba's internals that this package uses or replaces; Numba does not promise to keep them.

Each has a purpose, a canary (the test that shows the behaviour of Numba for which it is needed) and a consequence where
it is gone: results are the same, and something takes longer. All other modules use Numba's documented interface, to
which the low-level one belongs: types, `numba.extending`, ``make_array`` of a target's context, `numba.core.cgutils`,
`numba.core.errors`. Only `actufunc.backends.forks` reads the lock itself, for it must not import Numba.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .machine_code import MachineCode, undefined

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Internal:
    """A name that is not public: its module, and its name there; that of an attribute follows its class.

    `use` is its purpose, `canary` the name of the test that fails where it is needed no longer, or that shows its
    effect, and `without` the consequence where it is gone.
    """

    module: str
    name: str
    use: str
    canary: str
    without: str

    def get(self, default: Any = None) -> Any:
        """Return the object of this name, or a default where it is gone."""
        try:
            owner, last = self._place()
            return getattr(owner, last)
        except (ImportError, AttributeError):
            return default

    def of(self, instance: Any) -> Any:
        """Return the attribute of this name that an object has; None if it has none."""
        return getattr(instance, self._last, None)

    def set(self, new: Any) -> None:
        """Replace the object of this name, which must not be gone."""
        owner, last = self._place()
        setattr(owner, last, new)

    @contextlib.contextmanager
    def replaced(self, new: Any) -> Iterator[None]:
        """Replace the object of this name, which must not be gone, meanwhile."""
        before = self.get()
        self.set(new)
        try:
            yield
        finally:
            self.set(before)

    @property
    def _last(self) -> str:
        return self.name.rpartition(".")[2]

    def _place(self) -> tuple[Any, str]:
        owner: Any = importlib.import_module(self.module)
        for part in self.name.split(".")[:-1]:
            owner = getattr(owner, part)
        return owner, self._last


_ONE_FILE = "function, loop and the code that starts threads are one object file"
_TWO_FILES = "test_numba_keeps_a_kernel_in_two_files"
_AGAIN = "the kernel is compiled in every process"

LOCK = Internal(
    "numba.core.compiler_lock",
    "global_compiler_lock",
    "kernels are compiled under the lock that Numba takes itself: two locks could be taken in different orders",
    "test_a_fork_while_threads_compile",
    "a lock of this package",
)
ADD_MODULE = Internal(
    "numba.core.codegen",
    "CPUCodeLibrary.add_ir_module",
    "wide vectors are asked for in all that Numba hands to LLVM",
    "test_numba_asks_for_no_wide_vectors",
    "vectors are as wide as LLVM prefers",
)
ARGUMENT, IS_UNIT_STRIDED = (
    Internal(
        "numba.np.ufunc.wrappers",
        name,
        "the loop for contiguous operands is left to those whose output is contiguous, too",
        "test_the_strides_of_the_output_are_ignored",
        "other outputs are computed in contiguous memory and copied",
    )
    for name in ("UArrayArg", "UArrayArg.is_unit_strided")
)
SCALAR = Internal(
    "numba.np.ufunc.ufuncbuilder",
    "_compile_element_wise_function",
    "the loops for one and for several threads are built around the same function",
    "test_a_scalar_function_is_compiled_once",
    "it is compiled for each",
)
UFUNC_LOOP = Internal("numba.np.ufunc.ufuncbuilder", "build_ufunc_wrapper", _ONE_FILE, _TWO_FILES, _AGAIN)
GUFUNC_LOOP = Internal("numba.np.ufunc.ufuncbuilder", "build_gufunc_wrapper", _ONE_FILE, _TWO_FILES, _AGAIN)
PARALLEL_LOOP = Internal("numba.np.ufunc.parallel", "build_gufunc_kernel", _ONE_FILE, _TWO_FILES, _AGAIN)
KEEP_OBJECT, OBJECT, MODULE = (
    Internal("numba.core.codegen", f"CPUCodeLibrary.{name}", _ONE_FILE, _TWO_FILES, _AGAIN)
    for name in ("enable_object_caching", "_get_compiled_object", "_final_module")
)
CALLBACK_LIBRARY, CALLBACK_NAME = (
    Internal("numba.core.ccallback", f"CFunc.{name}", _ONE_FILE, _TWO_FILES, _AGAIN)
    for name in ("_library", "_wrapper_name")
)
PROCESS_LOCK, IS_LAUNCHED = (
    Internal(
        "numba.np.ufunc.parallel",
        name,
        "launching threads leaves the start method of `multiprocessing` open",
        "test_the_start_method_of_multiprocessing_stays_open",
        "it is fixed at the first large call",
    )
    for name in ("_backend_init_process_lock", "_is_initialized")
)
FUNCTION_CACHE = Internal(
    "numba.core.caching",
    "FunctionCache",
    "a broken file of Numba's cache, which has what users' functions call, is replaced",
    "test_a_broken_cache_is_mended",
    "what it held is compiled in every process",
)
CPU_TARGET = Internal(
    "numba.core.registry",
    "cpu_target",
    "activations can be called as soon as compiled code mentions one, and not in code for a GPU",
    "test_first_use_in_many_threads_and_in_a_fork",
    "Numba is asked to compile something else first",
)
ATTRIBUTES = Internal(
    "numba.core.typing.templates",
    "AttributeTemplate",
    "`grad` and `vjp` are attributes of an activation in compiled code",
    "test_functions_of_the_user",
    "compiled code must be given the derivatives themselves",
)

ASK_FOR_LOCK = "numba_gil_ensure"
"""Symbol that code which raises an exception calls first; where it is another one, such kernels are compiled in every
process. Canary: test_numba_asks_for_the_lock_of_the_interpreter."""


@functools.cache
def lock() -> Any:
    """Return the lock under which Numba compiles."""
    return LOCK.get() or threading.RLock()


@contextlib.contextmanager
def captured(loop: Internal) -> Iterator[list[Any]]:
    """Collect the library and the name of the loop that Numba builds meanwhile around a function."""
    build, found = loop.get(), list[Any]()
    if build is None:
        yield [None, None]
        return

    def build_and_keep(*arguments: Any, **keywords: Any) -> Any:
        built = build(*arguments, **keywords)
        library = getattr(built, "library", None)
        keep = KEEP_OBJECT.of(library)
        if keep is not None:
            keep()
        found[:] = library, getattr(built, "name", None)
        return built

    with loop.replaced(build_and_keep):
        yield found


@contextlib.contextmanager
def remembered(table: dict[Any, Any], key: Any, *, reuse: bool) -> Iterator[None]:
    """Put the scalar function of a ufunc that Numba compiles meanwhile into a table, or take it from there."""
    compile_ = SCALAR.get()
    if compile_ is None:
        yield
        return

    def compile_or_reuse(*arguments: Any) -> Any:
        if not (reuse and key in table):
            table[key] = compile_(*arguments)
        return table[key]

    with SCALAR.replaced(compile_or_reuse):
        yield


def machine_code(library: Any, entry: Any) -> MachineCode | None:
    """Return the object file that Numba has compiled from a library; None where it does not hand it out."""
    get, module = OBJECT.of(library), MODULE.of(library)
    if get is None or module is None or entry is None:
        return None
    try:
        content = get()
    except (RuntimeError, ValueError):  # the library has not kept it
        return None
    needs = undefined(content)
    if needs is None:
        declared = [each.name for each in (*module.functions, *module.global_variables) if each.is_declaration]
        needs = tuple(sorted(name for name in declared if not name.startswith("llvm.")))
    return MachineCode(entry, needs, content)

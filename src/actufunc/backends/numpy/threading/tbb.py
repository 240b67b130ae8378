"""TBB, the threading layer of Numba on which kernels of ``target="parallel"`` run.

The other two layers are not used: on OpenMP a parallel ufunc calls its kernel once per element and a forked child is
killed; workqueue aborts the process when two threads enter it at once. A process has one threading layer, that with
which Numba's threads were launched first. So the parallel kernels run only

- where that is TBB, or none is launched yet, TBB can be, and Numba's settings (``NUMBA_THREADING_LAYER``) permit it;
- in the main thread, because at a fork Numba shuts TBB down and up again, which works for the thread that launched it
  and only if no other has used it (else it prints to stdout that children may break);
- in a process that is not forked from one in which TBB ran after this module was imported;
- while floating-point errors are ignored or cause warnings. NumPy never sees the flags of TBB's threads, so that the
  warnings would depend on which thread computed what; under TBB there are none.

Everywhere else :mod:`~actufunc.backends.numpy.threading.pool` does the work, with the same bits.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import threading
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

from actufunc.backends.forks import startup_lock
from actufunc.backends.numpy.jit.numba_patches import IS_LAUNCHED, PROCESS_LOCK

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_LIBRARIES = {"linux": "libtbb.so.12", "win32": "tbb12.dll", "darwin": "libtbb.12.dylib"}
_CHOICES = {"default", "safe", "threadsafe", "forksafe", "tbb"}  # settings of Numba under which it would take TBB
_LEAST_INTERFACE = 12060  # of TBB 2021.6; Numba warns of an earlier one
_UNKNOWN = "not launched yet"

_obstacle: str | None = _UNKNOWN  # None: TBB is there
_numba: Any = None


def is_usable() -> bool:
    """Return True if a parallel kernel may run in this thread now; the first time, launch TBB's threads."""
    global _obstacle  # noqa: PLW0603 -- a process has one threading layer
    if _obstacle is not None and _obstacle is not _UNKNOWN:
        return False
    if threading.get_ident() != threading.main_thread().ident or not _errors_raise_nothing():
        return False
    if _obstacle is _UNKNOWN:
        _obstacle = _launch()
    return _obstacle is None


def _errors_raise_nothing() -> bool:
    settings = np.geterr()
    return settings["under"] == "ignore" and all(action in {"ignore", "warn"} for action in settings.values())


def run(kernel: np.ufunc, operands: Sequence[np.ndarray[Any, Any]], threads: int) -> None:
    """Call a parallel kernel with so many threads, or as many as ``numba.set_num_threads`` permits if that is fewer."""
    before = _numba.get_num_threads()
    try:
        if threads < before:
            _numba.set_num_threads(threads)
        with np.errstate(all="ignore"):
            kernel(*operands)
    finally:
        if threads < before:
            _numba.set_num_threads(before)


def description() -> str:
    """Return one line that tells which threads compute large arrays, and why not those of TBB."""
    return "TBB" if is_usable() else f"threads of Python ({_obstacle or 'TBB is for the main thread'})"


def _launch() -> str | None:
    """Launch TBB; return the reason if that is impossible."""
    global _numba  # noqa: PLW0603 -- for calls while the interpreter shuts down, when nothing can be imported
    import numba  # noqa: PLC0415

    _numba = numba
    launched = _launched()
    if launched is not None:
        return None if launched == "tbb" else f"Numba already runs on {launched}"
    setting = str(numba.config.THREADING_LAYER).lower()
    priority = numba.config.THREADING_LAYER_PRIORITY
    if setting not in _CHOICES or (setting == "default" and priority[0] != "tbb"):
        return "Numba is set to another layer than TBB"
    if not _load_library():
        return "TBB is not installed"
    with startup_lock, _without_process_lock(), _threading_layer_set(numba.config, "tbb"):
        try:
            numba.get_num_threads()  # launches
        except ValueError:  # no threading layer of that name
            return "Numba cannot use the TBB that is installed"
    return None


def _launched() -> str | None:
    """Return the threading layer that is launched already, by this package or another; None if there is none."""
    numba = sys.modules.get("numba")
    try:
        return None if numba is None else str(numba.threading_layer())
    except (ValueError, AttributeError):  # none is launched, or another thread is importing Numba
        return None


def _load_library() -> bool:
    """Load TBB from a wheel, where Numba, which asks for it by its bare name, would not find it."""
    name = _LIBRARIES.get(sys.platform, "")
    candidates: list[str] = []
    with contextlib.suppress(metadata.PackageNotFoundError):
        files = metadata.files("tbb") or []
        candidates += [os.path.realpath(file.locate()) for file in files if file.name.lower() == name]
    for candidate in filter(None, [*candidates, name]):
        with contextlib.suppress(OSError, AttributeError):
            return int(ctypes.CDLL(candidate).TBB_runtime_interface_version()) >= _LEAST_INTERFACE
    return False


@contextlib.contextmanager
def _threading_layer_set(config: Any, name: str) -> Iterator[None]:
    """Set Numba's threading layer, so that Numba fails, and launches no other, if it refuses this TBB."""
    before = config.THREADING_LAYER
    config.THREADING_LAYER = name
    try:
        yield
    finally:
        config.THREADING_LAYER = before


@contextlib.contextmanager
def _without_process_lock() -> Iterator[None]:
    """Keep Numba from making a lock of `multiprocessing` while it launches its threads.

    It would ask for the start method, which fixes it: ``multiprocessing.set_start_method`` fails from then on. The lock
    is for threading layers that cannot be launched in two processes at once; TBB can.
    """
    no_lock = contextlib.nullcontext()
    replaced = PROCESS_LOCK.get(no_lock) is None
    if replaced:
        PROCESS_LOCK.set(no_lock)
    try:
        yield
    finally:
        if replaced and not IS_LAUNCHED.get(default=False):
            PROCESS_LOCK.set(None)


def _exclude_in_child() -> None:
    global _obstacle  # noqa: PLW0603
    if _launched() == "tbb":
        _obstacle = "this process is forked from one that runs TBB"


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_exclude_in_child)

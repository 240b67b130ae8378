"""Locks that a fork of this process takes first.

A child has only the thread that forked. A lock that another thread held at that moment stays locked in it for ever,
and what the lock protects stays unfinished: a child could compile nothing any more, or not import Numba. So a fork
waits until it holds the locks named here, as Python does for its own import lock and logging for its handlers.
"""

from __future__ import annotations

import logging  # noqa: F401 -- so that its hook is older than this one and takes its lock later: importing Numba needs it
import os
import sys
import threading
from typing import Any

startup_lock = threading.RLock()
"""Lock that is held while a backend, or Numba, is imported, and while Numba's threads are launched."""

_PATIENCE = 10  # seconds that a fork waits for a lock, so that hooks which wait for each other's threads do not hang

_held: list[Any] = []


def _acquire() -> None:
    if startup_lock.acquire(timeout=_PATIENCE):
        _held.append(startup_lock)
    # Numba may have been imported while we waited.
    of_numba = getattr(sys.modules.get("numba.core.compiler_lock"), "global_compiler_lock", None)
    lock = getattr(of_numba, "_lock", None)  # the public method cannot wait for a limited time
    if lock is not None and lock.acquire(timeout=_PATIENCE):
        _held.append(lock)


def _release() -> None:
    while _held:
        _held.pop().release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_acquire, after_in_parent=_release, after_in_child=_release)

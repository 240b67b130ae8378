"""What must not be under way in another thread while this process forks.

A child has only the thread that forked. A lock that another thread held at that moment stays locked in it for ever,
and what the lock protects stays as it was, half done: a child could compile nothing any more, or not import Numba. So a
fork waits until nobody holds the locks named here, as Python does for its own import lock and logging for its handlers.
"""

from __future__ import annotations

import logging  # noqa: F401 -- so that its hook is older than ours and takes its lock later: importing Numba needs it
import os
import sys
import threading
from typing import Any

starting = threading.RLock()
"""Held while a backend, or Numba, is imported, and while Numba's threads are launched."""

_PATIENCE = 10  # seconds that a fork waits for a lock: two hooks that wait for each other's threads must not hang

_taken: list[Any] = []


def _take() -> None:
    if starting.acquire(timeout=_PATIENCE):
        _taken.append(starting)
    # Numba may have been imported while we waited.
    numbas = getattr(sys.modules.get("numba.core.compiler_lock"), "global_compiler_lock", None)
    lock = getattr(numbas, "_lock", None)  # the public method cannot wait for a limited time
    if lock is not None and lock.acquire(timeout=_PATIENCE):
        _taken.append(lock)


def _give_back() -> None:
    while _taken:
        _taken.pop().release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_take, after_in_parent=_give_back, after_in_child=_give_back)

"""What must not be under way in another thread while this process forks.

A child has only the thread that forked. A lock that another thread held at that moment stays locked in it for ever, and
what the lock protects stays as it was, half done. So a fork waits until nobody holds the locks named here, as Python
does for its own import lock and logging does for its handlers.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class Lock(Protocol):
    """What can be held."""

    def acquire(self) -> object:
        """Take it."""

    def release(self) -> object:
        """Give it back."""


def hold(lock: Lock, *, before: Callable[[], None] | None = None) -> None:
    """Take a lock whenever this process forks, and give it back in parent and child.

    Parameters
    ----------
    lock : Lock
        Of those named in several calls the last is taken first.
    before : callable, optional
        Called before the fork, with the lock held.
    """

    def prepare() -> None:
        lock.acquire()
        if before is not None:
            before()

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=prepare, after_in_parent=lock.release, after_in_child=lock.release)

"""Locks over what a forked process goes on with as a copy.

Without care, a lock that another thread held at the fork stays taken in the copy for ever, and what it
guards is half changed. So it is the thread that forks that holds the locks meanwhile, on both sides.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import Final

_PATIENCE: Final = 1.0
"""The seconds that a fork waits for a lock: the forking thread itself may have it."""

_locks: Final = weakref.WeakSet[threading.Lock]()
_held: Final[list[threading.Lock]] = []


def guarded_across_forks(lock: threading.Lock) -> threading.Lock:
    """Has a lock held by the thread that forks while it does."""
    _locks.add(lock)
    return lock


def _take() -> None:
    _held.extend([lock for lock in list(_locks) if lock.acquire(timeout=_PATIENCE)])


def _give_back() -> None:
    while _held:
        _held.pop().release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_take, after_in_parent=_give_back, after_in_child=_give_back)

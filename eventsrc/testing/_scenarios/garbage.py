"""Garbage is collected between the runs of a scenario, and not within: a sixth of a run's time.

Nearly all that a run makes lasts as long as it does. To look for garbage in it is in vain, and again
and again.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def without_collecting(function: Callable[P, R]) -> Callable[P, R]:
    """Has no garbage collected as long as a function runs."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        if not gc.isenabled():
            return function(*args, **kwargs)
        gc.disable()
        try:
            return function(*args, **kwargs)
        finally:
            gc.enable()

    return run

"""How much memory a process takes."""

from __future__ import annotations

import contextlib
import gc
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")


class Growth:
    """Watches by how much this process grows from now on."""

    def __init__(self) -> None:
        gc.collect()
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # the peak is now what is used now
        self._before = _peak()

    def most(self) -> float | None:
        """By how many MiB it was larger at its largest; None where that cannot be known."""
        after = _peak()
        return None if after is None or self._before is None else after - self._before


def _peak() -> float | None:
    """The most memory that the process ever took, in MiB."""
    if _STATUS.exists():  # what getrusage says includes the process that started this one
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    if sys.platform == "win32":
        return None
    import resource

    unit = 1024 * 1024 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit

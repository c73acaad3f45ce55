"""Experiments: what the stores survive, each with a broken variant that the experiment must catch.

N scales with the environment variable EVENTSRC_SCALE (1: every commit; 16: the longer tier).
"""

from __future__ import annotations

import os

SCALE = float(os.environ.get("EVENTSRC_SCALE", "1"))


def scaled(number: int, longer: int | None = None) -> int:
    """How many rounds to run: in the longer tier `longer`, or else 16 times as many."""
    longer = 16 * number if longer is None else longer
    return max(1, int(number + (longer - number) * (SCALE - 1) / 15))

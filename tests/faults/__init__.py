"""Experiments: what the stores survive, each with a broken variant that the experiment must catch.

N scales with the environment variable EVENTSRC_SCALE (1: every commit; 16: the longer tier).
"""

from __future__ import annotations

import os

SCALE = float(os.environ.get("EVENTSRC_SCALE", "1"))


def scaled(number: int) -> int:
    """How many rounds to run."""
    return max(1, int(number * SCALE))


def between(usual: int, longer: int) -> int:
    """How many rounds to run: so many for every commit, and so many in the longer tier."""
    return max(1, usual + int((longer - usual) * (SCALE - 1) / 15))

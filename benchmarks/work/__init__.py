"""The works: what the systems do, and how long each took."""

from __future__ import annotations


def scaled(count: int, scale: float, least: int = 1) -> int:
    """A count at a scale, and not less than the least that makes sense."""
    return max(round(count * scale), least)

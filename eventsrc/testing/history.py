"""Checking what concurrent appends to one stream were told against what the stream then holds.

An append at an expected version is a compare-and-set on a counter, and every event has its own
identity. So no search for a linearization is needed: it is enough that versions say the same as the
stream, that nothing is there which was refused, and that real time never contradicts the order of
versions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import attrs


@attrs.frozen
class Attempt:
    """One append of one event: when it began and ended, and what came of it."""

    began: float
    ended: float
    outcome: Literal["stored", "refused", "unknown"]
    version: int
    """The version it was told; 0 if none."""
    event: object
    """What identifies the event."""


def check_history(attempts: Iterable[Attempt], stored: Sequence[object]) -> list[str]:
    """What is wrong, in words; nothing if the history is linearizable.

    stored: the events of the stream, versions 1, 2, 3, …
    """
    attempts = list(attempts)
    wrong: list[str] = []
    place = {event: version for version, event in enumerate(stored, 1)}
    if len(place) < len(stored):
        wrong.append("an event is stored twice")
    for attempt in attempts:
        found = place.get(attempt.event)
        if attempt.outcome == "stored" and found != attempt.version:
            wrong.append(f"{attempt.event} was told version {attempt.version} and is at {found}")
        if attempt.outcome == "refused" and found is not None:
            wrong.append(f"{attempt.event} was refused and is stored, at version {found}")
    known = {attempt.event for attempt in attempts}
    wrong += [f"{event} is stored and nobody appended it" for event in stored if event not in known]
    latest = float("-inf")
    for attempt in sorted((a for a in attempts if a.outcome == "stored"), key=lambda a: a.version):
        if attempt.ended < latest:
            wrong.append(f"{attempt.event} ended before an earlier version began")
        latest = max(latest, attempt.began)
    return wrong

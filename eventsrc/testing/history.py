"""Checkers of histories: what concurrent users of a store were told, against what it then holds.

An append at an expected version is a compare-and-set on a counter, and every event has its own
identity. So no search for a linearization is needed: it is enough that the answers say the same as the
stream, that nothing is there which was refused, and that real time never contradicts the versions.

Each checker answers what is wrong, in words; nothing if all is well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from eventsrc.recorded import Recorded
from eventsrc.store import Appended, NotAppended, Unknown
from eventsrc.stream_id import StreamId


@attrs.frozen
class Attempt:
    """One append to a stream: when it began and ended, what it brought, and the answer."""

    began: float
    ended: float
    brought: tuple[object, ...]
    """What identifies its events: no two events of a history may be alike."""
    answer: Appended | NotAppended


@attrs.frozen
class Look:
    """One reading of a stream's version: when it began and ended, and the version."""

    began: float
    ended: float
    version: int


def check_stream(
    stream: StreamId,
    attempts: Iterable[Attempt],
    final: Sequence[object],
    looks: Iterable[Look] = (),
) -> list[str]:
    """Whether a stream's history is linearizable.

    final: what the stream holds in the end, versions 1, 2, 3, …
    An attempt whose answer is Unknown may have been stored or not, but whole.
    """
    attempts = list(attempts)
    wrong: list[str] = []
    place = {event: version for version, event in enumerate(final, 1)}
    if len(place) < len(final):
        wrong.append(f"{stream} holds an event twice")
    known = {event for attempt in attempts for event in attempt.brought}
    wrong += [f"{event!r} is stored, and nobody appended it" for event in final if event not in known]
    writes: list[tuple[int, float, float]] = []
    for attempt in attempts:
        found = [place.get(event) for event in attempt.brought]
        if isinstance(attempt.answer, Appended):
            last = attempt.answer.token[stream]
            if found != list(range(last - len(found) + 1, last + 1)):
                wrong.append(
                    f"{attempt.brought!r} was said to end at version {last}, and is at {found}"
                )
            writes.append((last, attempt.began, attempt.ended))
        elif isinstance(attempt.answer, Unknown):
            if len({version is None for version in found}) > 1:
                wrong.append(f"{attempt.brought!r} is stored in part, at {found}")
        elif any(version is not None for version in found):
            wrong.append(f"{attempt.brought!r} was refused, and is stored at {found}")
    return wrong + _against_time(writes, looks)


def _against_time(writes: list[tuple[int, float, float]], looks: Iterable[Look]) -> list[str]:
    """Where something ended before something with an earlier version began, or a look saw too much."""
    wrong: list[str] = []
    latest = float("-inf")
    seen = sorted([*writes, *((look.version, look.began, look.ended) for look in looks)])
    for version, began, ended in seen:
        if ended < latest:
            wrong.append(f"version {version} was there before an earlier one had begun to be")
        latest = max(latest, began)
    return wrong


def check_feed(events: Sequence[Recorded[Any]], heads: Mapping[StreamId, tuple[int, int]]) -> list[str]:
    """Whether a pass over the feed had each event once, those of a stream in their order.

    heads: the first and last version that it must have had of each stream; events of other streams are
        not looked at.
    """
    wrong: list[str] = []
    for stream, (first, last) in heads.items():
        versions = [event.version for event in events if event.stream == stream]
        if versions != list(range(first, last + 1)):
            wrong.append(f"the feed had versions {versions} of {stream}, not {first} to {last}")
    positions = [event.position for event in events]
    if positions != sorted(set(positions)):
        wrong.append("the feed went back")
    return wrong


def check_reads(reads: Iterable[Sequence[object]], final: Sequence[object]) -> list[str]:
    """Whether each read of a stream, in the order in which one reader made them, saw it grow.

    final: what the stream holds in the end, of which each read must be a beginning.
    """
    wrong: list[str] = []
    longest = 0
    for read in reads:
        if list(read) != list(final[: len(read)]):
            wrong.append(f"a read of {len(read)} events is no beginning of the stream")
        if len(read) < longest:
            wrong.append(f"a read of {len(read)} events came after one of {longest}")
        longest = max(longest, len(read))
    return wrong

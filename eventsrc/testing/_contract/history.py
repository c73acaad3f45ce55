"""Checkers of histories: what was done to a store from many sides at once, and was it right?

An append that demands an exact version is a compare-and-set on a counter, and every event can be told
from every other; so no search is needed to find out whether a history is linearizable: versions give
the one order that is possible, and it must not contradict real time. (Wing and Gong, Testing and
Verifying Concurrent Objects, 1993, treats the general case, which is NP-complete.)

Each checker answers what is wrong, as sentences; an empty list for a history that is right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import groupby, pairwise
from typing import Any

import attrs

from eventsrc.events.recorded import Recorded
from eventsrc.events.stream_id import StreamId
from eventsrc.stores.operations import Appended, Conflict, NotAppended, Unknown
from eventsrc.stores.tags import BoundaryChanged


@attrs.frozen
class Attempt:
    """An append that somebody made to a stream, and what it was told."""

    began: float
    ended: float
    brought: tuple[Hashable, ...]
    """The mark by which the events are told apart; no other attempt brought the same."""
    answer: Appended | NotAppended


@attrs.frozen
class Look:
    """A read that told somebody a stream's version."""

    began: float
    ended: float
    version: int


def check_stream(
    stream: StreamId,
    attempts: Sequence[Attempt],
    final: Sequence[Hashable],
    looks: Iterable[Look] = (),
) -> list[str]:
    """Whether the appends to a stream are linearizable: as if each was done at once, at a moment
    between its beginning and its end.

    attempts: all that were made. An attempt whose answer is Unknown may have been stored or not.
    final: what is in the stream afterwards, from version 1, told apart as in the attempts.
    looks: reads of the stream's version, which must fit in too.
    """
    wrong: list[str] = []
    places = {event: version for version, event in enumerate(final, 1)}
    wrong += [f"{event} is stored {n} times" for event, n in Counter(final).items() if n > 1]
    brought = {event for attempt in attempts for event in attempt.brought}
    wrong += [f"{event} is stored, and nobody appended it" for event in final if event not in brought]
    spans = [_Span(look.version, False, look.began, look.ended) for look in looks]
    for attempt in attempts:
        answer = attempt.answer
        found = [places[event] for event in attempt.brought if event in places]
        if isinstance(answer, Appended):
            end = answer.token[stream]
            if found != [*range(end - len(attempt.brought) + 1, end + 1)]:
                wrong.append(f"{attempt.brought} were acknowledged up to {end}, and are at {found}")
            else:
                spans.append(_Span(end, True, attempt.began, attempt.ended))
        elif isinstance(answer, Unknown):
            if found and found != [*range(found[0], found[0] + len(attempt.brought))]:
                wrong.append(f"{attempt.brought} are stored in part: {found}")
            elif found:
                spans.append(_Span(found[-1], True, attempt.began, float("inf")))
        else:
            if found:
                wrong.append(f"{attempt.brought} were refused, and are at {found}")
            is_of_boundary = isinstance(answer, BoundaryChanged)  # which tells no stream's version
            if isinstance(answer, Conflict) and not is_of_boundary and answer.stream == stream:
                spans.append(_Span(answer.actual, False, attempt.began, attempt.ended))
    return wrong + _against_time(spans)


def check_feed(
    delivered: Sequence[Recorded[Any]], versions: Mapping[StreamId, tuple[int, int]]
) -> list[str]:
    """Whether one pass over the feed delivered all it should, once, in the order of each stream.

    versions: of each stream, the first and the last version that should have come.
    """
    wrong: list[str] = []
    seen: dict[StreamId, list[int]] = {stream: [] for stream in versions}
    for recorded in delivered:
        seen.setdefault(recorded.stream, []).append(recorded.version)
    for stream, came in seen.items():
        first, last = versions.get(stream, (1, 0))
        due = [*range(first, last + 1)]
        if came != due:
            wrong += [f"{stream}@{version} was skipped" for version in due if version not in came]
            wrong += [f"{stream}@{version} is not due" for version in came if version not in due]
            wrong += [f"{stream}@{version} came {n} times" for version, n in _repeated(came)]
            wrong += [
                f"{stream}@{later} came before {stream}@{earlier}"
                for later, earlier in pairwise(came)
                if later > earlier
            ]
    return wrong


def check_reads(reads: Sequence[Sequence[Hashable]], final: Sequence[Hashable]) -> list[str]:
    """Whether what one reader saw of a stream, read after read, only grew, and grew to `final`."""
    wrong: list[str] = []
    longest = 0
    for number, read in enumerate(reads):
        if list(read) != list(final[: len(read)]):
            wrong.append(f"read {number} saw {read}, which is not how the stream begins")
        if len(read) < longest:
            wrong.append(f"read {number} saw {len(read)} events, after {longest} had been seen")
        longest = max(longest, len(read))
    return wrong


@attrs.frozen
class _Span:
    """When something was done at which the stream came to a version, or was seen to be there."""

    version: int
    is_append: bool
    began: float
    ended: float


def _against_time(spans: Iterable[_Span]) -> list[str]:
    """Finds what ended before something began that must have come before it."""

    def order(span: _Span) -> tuple[int, bool]:
        return span.version, not span.is_append  # a version is seen after it was appended

    wrong: list[str] = []
    latest_beginning = float("-inf")
    for (version, is_seen), group in groupby(sorted(spans, key=order), key=order):
        level = list(group)  # those who see one version may do so in any order
        if min(span.ended for span in level) < latest_beginning:
            came = "seen" if is_seen else "appended"
            wrong.append(f"version {version} was {came} before something began that must precede it")
        latest_beginning = max(latest_beginning, *(span.began for span in level))
    return wrong


def _repeated(versions: Sequence[int]) -> list[tuple[int, int]]:
    return [(version, n) for version, n in Counter(versions).items() if n > 1]

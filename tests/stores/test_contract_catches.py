"""The contract has teeth: stores that are broken on purpose are caught, each by the test for its fault.

They run in a pytest of their own, as a user's store would, with no examples kept and none shrunk.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

import attrs
import pytest
from returns.result import Failure, Success

from eventsrc import MemoryStore, on
from eventsrc.events.codec import Encoded
from eventsrc.events.positions import START, Cursor, Token
from eventsrc.events.record import Record, make_record
from eventsrc.events.stream_id import StreamId
from eventsrc.programs.program import Outcome
from eventsrc.stores.operations import (
    ANY,
    Append,
    AppendAll,
    Appended,
    Condition,
    Conflict,
    Expect,
    Expected,
    FeedPage,
    FindAppend,
    LoadSnapshot,
    NotAppended,
    Page,
    Read,
    ReadFeed,
    SaveSnapshot,
    Snapshot,
    StreamAppend,
    Unknown,
)
from eventsrc.stores.prepare import Part, Prepared, appended, check, page_of, prepare
from eventsrc.testing._contract._shared import but
from eventsrc.testing._contract.history import Attempt, Look, check_feed, check_reads, check_stream
from eventsrc.testing._contract.samples import Noted
from tests.kits.pages import ROOT

Answer = Outcome[Appended, NotAppended]

# --- broken stores --------------------------------------------------------------------------------


class DropsEvents(MemoryStore):
    """At ANY, two appends at once insert the same version, and one insert does nothing.

    (Eventuous #582: ON CONFLICT DO NOTHING, and nobody counted the rows.)
    """

    def _append(self, asked: Prepared) -> Answer:
        heads = [len(self._streams.get(part.stream, ())) for part in asked.parts]
        time.sleep(0.0002)
        answer = super()._append(asked)
        for part, head in zip(asked.parts, heads, strict=True):
            mine = self._appends.get(asked.append_id, [])
            if part.expected is ANY and mine and mine[0].version > head + 1:
                with self._lock:
                    self._streams[part.stream].pop()
                    self._feed.pop()
        return answer


class TakesVersionsForLowerBounds(MemoryStore):
    """Compares with >= instead of ==."""

    def _append(self, asked: Prepared) -> Answer:
        for part in asked.parts:
            if isinstance(part.expected, int) and self._version(part.stream) >= part.expected:
                part.expected = ANY
        return super()._append(asked)


class TakesVersionsForUpperBounds(MemoryStore):
    """Compares with <=, so that a version may be demanded that the stream never had."""

    def _append(self, asked: Prepared) -> Answer:
        for part in asked.parts:
            if isinstance(part.expected, int) and self._version(part.stream) <= part.expected:
                part.expected = ANY
        return super()._append(asked)


class SkipsAnEvent(MemoryStore):
    """Goes on one event too far."""

    @on(ReadFeed)
    def read_feed(self, op: ReadFeed) -> FeedPage[object]:
        """A page of the feed."""
        page = super().read_feed(op)
        return attrs.evolve(page, next=min(_moved(page.next, 1), page.end))


class RepeatsAnEvent(MemoryStore):
    """Goes on with the last event of the page before."""

    @on(ReadFeed)
    def read_feed(self, op: ReadFeed) -> FeedPage[object]:
        """A page of the feed."""
        page = super().read_feed(op)
        is_last = page.next == page.end or len(page.events) == 1
        return page if is_last else attrs.evolve(page, next=_moved(page.next, -1))


class StopsAtTheLastEventOfThePage(MemoryStore):
    """Never gets past events that its filter leaves out."""

    @on(ReadFeed)
    def read_feed(self, op: ReadFeed) -> FeedPage[object]:
        """A page of the feed."""
        page = super().read_feed(op)
        last = page.events[-1].position if page.events else op.after.position
        return attrs.evolve(page, next=Cursor(self.store_id, last))


class _Filters(MemoryStore):
    """A store with a filter of its own; it reads the whole feed in one page."""

    def fits(self, prefix: str, stream: str) -> bool:
        """Whether a stream belongs to a family."""
        raise NotImplementedError

    @on(ReadFeed)
    def read_feed(self, op: ReadFeed) -> FeedPage[object]:
        """A page of the feed."""
        if not op.prefix:
            return super().read_feed(op)
        page = super().read_feed(ReadFeed(op.after, 10_000, "", op.types))
        return attrs.evolve(
            page, events=tuple(e for e in page.events if self.fits(op.prefix, e.stream))
        )


class TakesNamesForFamilies(_Filters):
    """Finds `usersx` for `users/`."""

    def fits(self, prefix: str, stream: str) -> bool:
        """Whether a stream belongs to a family."""
        return stream.startswith(prefix.rstrip("/"))


class MatchesWithLike(_Filters):
    """Takes % and _ in a prefix for wildcards."""

    def fits(self, prefix: str, stream: str) -> bool:
        """Whether a stream belongs to a family."""
        pattern = re.escape(prefix).replace("%", ".*").replace("_", ".")
        return re.match(pattern, stream, re.DOTALL) is not None


class IgnoresCase(_Filters):
    """Compares prefixes as SQLite's LIKE does."""

    def fits(self, prefix: str, stream: str) -> bool:
        """Whether a stream belongs to a family."""
        return stream.lower().startswith(prefix.lower())


class NormalisesNames(MemoryStore):
    """Takes two forms of a letter for one."""

    def _append(self, asked: Prepared) -> Answer:
        for part in asked.parts:
            part.stream = StreamId(unicodedata.normalize("NFC", part.stream))
        return super()._append(asked)


class StripsNames(MemoryStore):
    """Takes names for one that differ in spaces at the end."""

    def _append(self, asked: Prepared) -> Answer:
        for part in asked.parts:
            part.stream = StreamId(part.stream.rstrip(" ") or " ")
        return super()._append(asked)


class IgnoresTypes(MemoryStore):
    """Does not filter by type."""

    @on(ReadFeed)
    def read_feed(self, op: ReadFeed) -> FeedPage[object]:
        """A page of the feed."""
        return super().read_feed(ReadFeed(op.after, op.limit, op.prefix))


class ShowsEverything(MemoryStore):
    """Shows the library's own streams to who does not ask for them."""

    @on(ReadFeed)
    def read_feed(self, op: ReadFeed) -> FeedPage[object]:
        """A page of the feed."""
        return super().read_feed(but(op, all_streams=True))


class HidesFromWhoAsks(MemoryStore):
    """Never shows the library's own streams."""

    @on(ReadFeed)
    def read_feed(self, op: ReadFeed) -> FeedPage[object]:
        """A page of the feed."""
        return super().read_feed(but(op, all_streams=False))


class HidesFromItsPrefix(MemoryStore):
    """Shows the library's own streams to who asks for all, and not to who asks for them."""

    @on(ReadFeed)
    def read_feed(self, op: ReadFeed) -> FeedPage[object]:
        """A page of the feed."""
        page = super().read_feed(op)
        if op.all_streams or not op.prefix.startswith("eventsrc/"):
            return page
        return attrs.evolve(page, events=())


class EndsBeforeWhatIsHidden(MemoryStore):
    """Does not count what it hides."""

    @on(ReadFeed)
    def read_feed(self, op: ReadFeed) -> FeedPage[object]:
        """A page of the feed."""
        page = super().read_feed(op)
        if op.all_streams or page.next != page.end or not page.events:
            return page
        last = Cursor(self.store_id, page.events[-1].position)
        return attrs.evolve(page, next=last, end=last)


class LetsAnybodyIn(MemoryStore):
    """Takes appends to the library's own streams for any others."""

    @on(Append)
    def append(self, op: Append) -> Answer:
        """Appends to one stream."""
        elsewhere = but(op, stream=StreamId("elsewhere"))
        asked = prepare(elsewhere, self.codec, self.store_id)
        asked.parts[0].stream = op.stream
        return self._append(asked)


class IgnoresAppendIds(MemoryStore):
    """Stores a retry once more."""

    def _append(self, asked: Prepared) -> Answer:
        self._appends.pop(asked.append_id, None)
        return super()._append(asked)


class RemembersAThousandIds(MemoryStore):
    """Knows a retry only for a while, as a window of message ids does."""

    def _append(self, asked: Prepared) -> Answer:
        answer = super()._append(asked)
        for append_id in [*self._appends][:-1_000]:
            del self._appends[append_id]
        return answer


class TakesOtherEventsForARetry(MemoryStore):
    """Looks at the append_id only."""

    def _append(self, asked: Prepared) -> Answer:
        stored = self._appends.get(asked.append_id)
        return (
            super()._append(asked)
            if stored is None
            else Success(appended(asked.append_id, stored, self.store_id))
        )


class TakesOtherRequestsForARetry(MemoryStore):
    """Looks at the append_id and the events only."""

    def _append(self, asked: Prepared) -> Answer:
        return super()._append(attrs.evolve(asked, digest=None))


class FindsForAnyRequest(MemoryStore):
    """Does not look at the request where it looks for an append."""

    @on(FindAppend)
    def find_append(self, op: FindAppend) -> Appended | None:
        """Finds an append by its id."""
        check(op)
        return super().find_append(FindAppend(op.append_id))


class ForgetsRequests(MemoryStore):
    """Stores no digest."""

    def _append(self, asked: Prepared) -> Answer:
        asked.metadata = b""
        return super()._append(asked)


class ChecksConditionsOfRetries(MemoryStore):
    """Answers a retry with a Conflict with the very events that it brought."""

    def _append(self, asked: Prepared) -> Answer:
        unmet = asked.unmet(self._version)
        return super()._append(asked) if unmet is None else Failure(self._conflict(*unmet))


class UsesUpIdsOfConflicts(MemoryStore):
    """Keeps the append_id of an append that was refused."""

    def __init__(self) -> None:
        super().__init__()
        self._refused: dict[UUID, Answer] = {}

    def _append(self, asked: Prepared) -> Answer:
        if asked.append_id in self._refused:
            return self._refused[asked.append_id]
        answer = super()._append(asked)
        if isinstance(answer, Failure):
            self._refused[asked.append_id] = answer
        return answer


class AppendsOneByOne(MemoryStore):
    """Stops an append to several streams in the middle."""

    def _append(self, asked: Prepared) -> Answer:
        answers = [super(AppendsOneByOne, self)._append(one) for one in _one_by_one(asked)]
        failed = [answer for answer in answers if isinstance(answer, Failure)]
        if failed:
            return failed[0]
        token = Token(self.store_id, {})
        for answer in answers:
            token |= answer.unwrap().token
        return Success(attrs.evolve(answers[-1].unwrap(), token=token))


class ShowsHalfAnAppend(MemoryStore):
    """Writes to several streams while others read."""

    def _append(self, asked: Prepared) -> Answer:
        answer = super()._append(asked)
        if isinstance(answer, Success) and len(asked.parts) > 1:
            stream = asked.parts[-1].stream
            hidden, self._streams[stream] = self._streams[stream], self._streams[stream][:-1]
            time.sleep(0.0002)
            self._streams[stream] = hidden
        return answer


class IgnoresConditions(MemoryStore):
    """Looks only at the streams that it writes to."""

    def _append(self, asked: Prepared) -> Answer:
        asked.demands = ()
        return super()._append(asked)


class TakesSilenceForVersion0(MemoryStore):
    """Has a token that does not name a stream demand that there is none."""

    @on(Append)
    def append(self, op: Append) -> Answer:
        return super().append(Append(op.stream, op.events, _told(op.expected, op.stream), op.append_id))

    @on(AppendAll)
    def append_all(self, op: AppendAll) -> Answer:
        appends = [StreamAppend(a.stream, a.events, _told(a.expected, a.stream)) for a in op.appends]
        conditions = [Condition(c.stream, _told(c.expected, c.stream)) for c in op.conditions]
        return super().append_all(AppendAll(tuple(appends), tuple(conditions), op.append_id))


def _told(expected: Expected, stream: StreamId) -> Expected:
    return 0 if isinstance(expected, Token) and stream not in expected.versions else expected


class HasNoLock(MemoryStore):
    """Looks at the version, and appends later."""

    def _append(self, asked: Prepared) -> Answer:
        if asked.append_id in self._appends or asked.unmet(self._version) is not None:
            return super()._append(asked)
        time.sleep(0.0002)  # a thread switch
        for part in asked.parts:
            part.expected = ANY
        asked.demands = ()
        return super()._append(asked)


class HasNoLockForIds(MemoryStore):
    """Looks whether an append_id is known, and appends later."""

    def _append(self, asked: Prepared) -> Answer:
        if asked.append_id in self._appends:
            return super()._append(asked)
        time.sleep(0.0002)
        self._appends.pop(asked.append_id, None)
        return super()._append(asked)


class SwallowsConflicts(MemoryStore):
    """Answers an append that conflicts as if it were stored."""

    def _append(self, asked: Prepared) -> Answer:
        answer = super()._append(asked)
        if isinstance(answer, Failure) and isinstance(answer.failure(), Conflict):
            records = asked.records(len(self._feed), self._version, 0)
            return Success(appended(asked.append_id, records, self.store_id))
        return answer


class StoresWhatConflicts(MemoryStore):
    """Answers a Conflict and stores the events all the same."""

    def _append(self, asked: Prepared) -> Answer:
        answer = super()._append(asked)
        if isinstance(answer, Failure):
            for part in asked.parts:
                part.expected = ANY
            super()._append(asked)
        return answer


class TellsTheExpectedVersion(MemoryStore):
    """Puts the wrong version into a Conflict."""

    def _conflict(self, stream: StreamId, expected: int | Expect, actual: int) -> Conflict:
        return attrs.evolve(super()._conflict(stream, expected, actual), actual=actual + 1)


class TellsTheNewestEvents(MemoryStore):
    """Puts the last hundred events into a Conflict, not the first since the expected version."""

    def _conflict(self, stream: StreamId, expected: int | Expect, actual: int) -> Conflict:
        since: Sequence[Record] = ()
        if isinstance(expected, int):
            since = self._streams.get(stream, [])[expected:][-100:]
        return Conflict(stream, expected, actual, self._events(since))


class IgnoresFoldVersions(MemoryStore):
    """Finds the snapshot of another version of the fold."""

    @on(SaveSnapshot)
    def save_snapshot(self, op: SaveSnapshot) -> None:
        """Keeps a snapshot."""
        super().save_snapshot(SaveSnapshot(attrs.evolve(op.snapshot, fold_version=0)))

    @on(LoadSnapshot)
    def load_snapshot(self, op: LoadSnapshot) -> Snapshot | None:
        """The newest snapshot of a stream."""
        found = super().load_snapshot(LoadSnapshot(op.stream, op.fold, 0))
        return None if found is None else attrs.evolve(found, fold_version=op.fold_version)


class KeepsTheLastSnapshot(MemoryStore):
    """Replaces a newer snapshot by an older one."""

    @on(SaveSnapshot)
    def save_snapshot(self, op: SaveSnapshot) -> None:
        """Keeps a snapshot."""
        kept = op.snapshot
        self._snapshots[kept.stream, kept.fold, kept.fold_version] = kept


class HoldsAsMuchAsIsAskedFor(MemoryStore):
    """Has pages of a hundred large events, if so many are asked for."""

    @on(Read)
    def read(self, op: Read) -> Page[object]:
        """A page of a stream."""
        some = self._streams.get(op.stream, [])[op.after : op.after + op.limit]
        page = super().read(op)
        return page if op.backwards else attrs.evolve(page, events=self._events(some), is_last=True)


class HoldsAsMuchOfTheFeed(MemoryStore):
    """Bounds pages of streams, and not those of the feed."""

    @on(ReadFeed)
    def read_feed(self, op: ReadFeed) -> FeedPage[object]:
        """A page of the feed."""
        page = super().read_feed(op)
        while len(page.events) < op.limit and page.next < page.end:
            limit = op.limit - len(page.events)
            more = super().read_feed(ReadFeed(page.next, limit, op.prefix, op.types))
            page = attrs.evolve(page, events=(*page.events, *more.events), next=more.next)
        return page


class TellsAllThatCame(MemoryStore):
    """Puts a hundred events into a Conflict, however large."""

    def _conflict(self, stream: StreamId, expected: int | Expect, actual: int) -> Conflict:
        since: Sequence[Record] = ()
        if isinstance(expected, int):
            since = self._streams.get(stream, [])[expected:][:100]
        return Conflict(stream, expected, actual, self._events(since))


class EndsWithAFullPage(MemoryStore):
    """Takes a page that has fewer events than were asked for to be the last one."""

    @on(Read)
    def read(self, op: Read) -> Page[object]:
        """A page of a stream."""
        page = super().read(op)
        return attrs.evolve(page, is_last=page.is_last or len(page.events) < op.limit)


class NeverEnds(MemoryStore):
    """Says of the last page that more come, if it is full."""

    @on(Read)
    def read(self, op: Read) -> Page[object]:
        """A page of a stream."""
        page = super().read(op)
        return attrs.evolve(page, is_last=len(page.events) < op.limit)


class SkipsWhatHasNoRoom(MemoryStore):
    """Goes on after all that was asked for of the feed, also where not all of it had room."""

    @on(ReadFeed)
    def read_feed(self, op: ReadFeed) -> FeedPage[object]:
        """A page of the feed."""
        page = super().read_feed(op)
        position = min(page.next.position + op.limit - len(page.events), page.end.position)
        return attrs.evolve(page, next=attrs.evolve(page.next, position=position))


class ChecksWhatIsReadTooEarly(MemoryStore):
    """Looks at conditions on streams that are only read, and then appends."""

    def _append(self, asked: Prepared) -> Answer:
        with self._lock:
            stored = asked.append_id in self._appends
            unmet = None if stored else asked.unmet(self._version)
        if unmet is not None:
            return Failure(self._conflict(*unmet))
        time.sleep(0.0002)
        asked.demands = ()
        return super()._append(asked)


class JumpsToALaterEnd(MemoryStore):
    """Looks for the end of the feed once it has found what a filter wants."""

    @on(ReadFeed)
    def read_feed(self, op: ReadFeed) -> FeedPage[object]:
        """A page of the feed."""
        page = super().read_feed(op)
        if (op.prefix or op.types is not None) and page.next == page.end:
            time.sleep(0.0002)
            end = attrs.evolve(page.end, position=len(self._feed))
            return attrs.evolve(page, next=end, end=end)
        return page


class ReadsTheHeadLater(MemoryStore):
    """Looks at the version of a stream after its events, if these alone are wanted."""

    @on(Read)
    def read(self, op: Read) -> Page[object]:
        """A page of a stream."""
        page = super().read(op)
        if op.whole or op.backwards:
            return page
        time.sleep(0.0002)
        return page_of(op, page.events, self.store_id, self._version(op.stream))


class SavesSnapshotsWithoutALock(MemoryStore):
    """Looks whether a snapshot is the newest, and keeps it later."""

    @on(SaveSnapshot)
    def save_snapshot(self, op: SaveSnapshot) -> None:
        """Keeps a snapshot."""
        kept = op.snapshot
        key = kept.stream, kept.fold, kept.fold_version
        before = self._snapshots.get(key)
        if before is None or before.version < kept.version:
            time.sleep(0.0002)
            self._snapshots[key] = kept


class ForgetsIdsOfAppendsToSeveral(MemoryStore):
    """Keeps ids of appends to one stream alone, so that conditions must tell a retry."""

    def _append(self, asked: Prepared) -> Answer:
        stored = self._appends.get(asked.append_id, ())
        is_conditional = any(part.expected is not ANY for part in asked.streams)
        if len({record.stream for record in stored}) > 1 and not is_conditional:
            del self._appends[asked.append_id]
        return super()._append(asked)


class RacesWithARetryOfSeveral(MemoryStore):
    """Looks whether an append to several streams is stored, and stores it later."""

    def _append(self, asked: Prepared) -> Answer:
        if len(asked.parts) > 1 and asked.append_id not in self._appends:
            time.sleep(0.0002)
            with self._lock:
                self._appends.pop(asked.append_id, None)
        return super()._append(asked)


class FindsWhatIsNotThere(MemoryStore):
    """Tells of an append by its id before it can be read."""

    def _append(self, asked: Prepared) -> Answer:
        if asked.is_keyed and asked.append_id not in self._appends:
            records = asked.records(len(self._feed), self._version, 0)
            self._appends[asked.append_id] = records
            time.sleep(0.0002)
            del self._appends[asked.append_id]
        return super()._append(asked)


class TakesCursorsOfOthers(MemoryStore):
    """Does not look at whose cursor it is."""

    @on(ReadFeed)
    def read_feed(self, op: ReadFeed) -> FeedPage[object]:
        """A page of the feed."""
        after = Cursor(self.store_id, op.after.position)
        return super().read_feed(ReadFeed(after, op.limit, op.prefix, op.types))


class ReadsBackwardsFromTheWrongEvent(MemoryStore):
    """Includes the event that it was to go on after."""

    @on(Read)
    def read(self, op: Read) -> Page[object]:
        """A page of a stream."""
        after = op.after + 1 if op.backwards and op.after else op.after
        return super().read(Read(op.stream, after, op.limit, op.backwards))


class ForgetsMetadata(MemoryStore):
    """Keeps the metadata with the first event only."""

    def _append(self, asked: Prepared) -> Answer:
        answer = super()._append(asked)
        for place, record in enumerate(self._feed):
            if record.offset and record.metadata:
                self._feed[place] = make_record(
                    *record[:3],
                    record.append_id,
                    record.offset,
                    Encoded(record.kind, record.data),
                    b"",
                    record.recorded_at,
                )
        for records in self._streams.values():
            records[:] = [self._feed[record.position - 1] for record in records]
        return answer


class StoresTheGoodPart(MemoryStore):
    """Stores the events before the one that is refused."""

    @on(Append)
    def append(self, op: Append) -> Answer:
        """Appends to one stream."""
        try:
            return super().append(op)
        except Exception:
            if isinstance(op.events, tuple) and len(op.events) > 1:
                self.append(Append(op.stream, op.events[:1]))
            raise


class WritesAtOnce(MemoryStore):
    """Lets readers see an append before all of it is there."""

    def _append(self, asked: Prepared) -> Answer:
        before = {part.stream: self._version(part.stream) for part in asked.parts}
        with self._lock:
            stored = asked.append_id in self._appends or asked.unmet(self._version) is not None
            if not stored:
                for part in asked.parts:
                    one = attrs.evolve(asked, parts=(attrs.evolve(part, events=part.events[:1]),))
                    records = one.records(len(self._feed), self._version, 0)
                    self._streams[part.stream] = [*self._streams.get(part.stream, ()), *records]
        if not stored:
            time.sleep(0.0002)
            with self._lock:
                for stream, version in before.items():
                    del self._streams[stream][version:]
        return super()._append(asked)


def _moved(cursor: Cursor, by: int) -> Cursor:
    return Cursor(cursor.store_id, cursor.position + by)


def _one_by_one(asked: Prepared) -> Iterator[Prepared]:
    parts: tuple[Part, ...] = asked.parts
    for number, part in enumerate(parts):
        append_id = asked.append_id if number == len(parts) - 1 else uuid4()
        yield attrs.evolve(asked, parts=(part,), append_id=append_id)


# --- what catches them ----------------------------------------------------------------------------

_REQUESTS: Final = "test_an_append_for_a_request_is_answered_again_for_that_request_alone"

CAUGHT: Final[dict[type[MemoryStore], str]] = {
    DropsEvents: "test_unconditional_appends_from_many_threads_are_all_stored",
    TakesVersionsForLowerBounds: "test_an_append_is_stored_just_if_its_condition_holds",
    TakesVersionsForUpperBounds: "test_a_version_that_is_too_high_leaves_no_hole",
    SkipsAnEvent: "test_the_feed_can_be_resumed_from_every_cursor_at_any_limit",
    RepeatsAnEvent: "test_the_feed_can_be_resumed_from_every_cursor_at_any_limit",
    StopsAtTheLastEventOfThePage: "test_next_goes_on_after_events_that_are_filtered_out",
    TakesNamesForFamilies: "test_a_prefix_is_a_family_and_not_the_beginning_of_a_name",
    MatchesWithLike: "test_families_with_hostile_names_are_kept_apart",
    IgnoresCase: "test_a_prefix_is_a_family_and_not_the_beginning_of_a_name",
    NormalisesNames: "test_streams_with_hostile_names_are_kept_apart",
    StripsNames: "test_streams_with_hostile_names_are_kept_apart",
    IgnoresTypes: "test_the_feed_can_be_filtered",
    ShowsEverything: "test_the_feed_hides_the_librarys_own_streams_from_who_does_not_ask",
    HidesFromWhoAsks: "test_the_feed_hides_the_librarys_own_streams_from_who_does_not_ask",
    HidesFromItsPrefix: "test_a_prefix_of_the_librarys_own_asks_for_them",
    EndsBeforeWhatIsHidden: "test_the_feed_hides_the_librarys_own_streams_from_who_does_not_ask",
    LetsAnybodyIn: "test_nobody_appends_to_a_stream_of_the_librarys_own",
    IgnoresAppendIds: "test_a_retry_with_the_same_append_id_answers_with_the_first_result",
    RemembersAThousandIds: "test_an_append_id_is_remembered_for_longer_than_the_next_thousand",
    TakesOtherEventsForARetry: "test_an_append_id_that_was_used_for_other_events_is_rejected",
    TakesOtherRequestsForARetry: _REQUESTS,
    FindsForAnyRequest: _REQUESTS,
    ForgetsRequests: _REQUESTS,
    ChecksConditionsOfRetries: "test_an_append_to_several_streams_can_be_retried",
    UsesUpIdsOfConflicts: "test_an_append_id_is_not_used_up_by_a_conflict",
    AppendsOneByOne: "test_an_append_to_several_streams_is_stored_in_none_if_one_is_in_conflict",
    ShowsHalfAnAppend: "test_an_append_to_several_streams_is_seen_in_all_or_in_none",
    IgnoresConditions: "test_a_condition_on_a_stream_that_is_only_read_decides_too",
    TakesSilenceForVersion0: (
        "test_a_token_that_does_not_name_a_stream_demands_nothing_of_it_and_is_refused"
    ),
    HasNoLock: "test_appends_to_a_hot_stream_are_linearizable",
    HasNoLockForIds: "test_one_append_id_from_many_threads_is_stored_once",
    SwallowsConflicts: "test_an_append_is_stored_just_if_its_condition_holds",
    StoresWhatConflicts: "test_an_append_is_stored_just_if_its_condition_holds",
    TellsTheExpectedVersion: "test_an_append_is_stored_just_if_its_condition_holds",
    TellsTheNewestEvents: "test_a_conflict_carries_the_oldest_hundred_events_at_most",
    IgnoresFoldVersions: "test_a_snapshot_of_another_stream_fold_or_fold_version_is_ignored",
    KeepsTheLastSnapshot: "test_a_newer_snapshot_replaces_an_older_one_and_not_the_reverse",
    HoldsAsMuchAsIsAskedFor: "test_a_page_holds_8_mib_of_data_at_most_or_one_event",
    HoldsAsMuchOfTheFeed: "test_a_page_holds_8_mib_of_data_at_most_or_one_event",
    TellsAllThatCame: "test_a_page_holds_8_mib_of_data_at_most_or_one_event",
    EndsWithAFullPage: "test_a_page_holds_8_mib_of_data_at_most_or_one_event",
    NeverEnds: "test_a_page_says_whether_it_is_the_last",
    SkipsWhatHasNoRoom: "test_a_page_holds_8_mib_of_data_at_most_or_one_event",
    ChecksWhatIsReadTooEarly: ("test_of_two_that_each_depend_on_what_the_other_appends_one_is_stored"),
    JumpsToALaterEnd: "test_every_reading_of_the_feed_skips_nothing_while_others_append",
    ReadsTheHeadLater: "test_every_read_of_a_stream_sees_one_moment_while_others_append",
    SavesSnapshotsWithoutALock: "test_of_snapshots_that_are_saved_at_once_the_newest_is_kept",
    ForgetsIdsOfAppendsToSeveral: (
        "test_an_append_to_several_streams_is_stored_once_whoever_tries_again"
    ),
    RacesWithARetryOfSeveral: "test_an_append_to_several_streams_is_stored_once_whoever_tries_again",
    FindsWhatIsNotThere: "test_an_append_that_is_found_can_be_read",
    TakesCursorsOfOthers: "test_a_cursor_of_another_store_is_refused",
    ReadsBackwardsFromTheWrongEvent: "test_a_page_is_the_events_after_a_version",
    ForgetsMetadata: "test_every_event_of_an_append_has_its_metadata",
    StoresTheGoodPart: "test_an_object_that_is_no_event_is_refused",
    WritesAtOnce: "test_what_a_reader_sees_of_a_stream_only_grows",
}
"""For each broken store, the test of the contract that is there to catch it."""

DISAGREE: Final = (
    TakesVersionsForLowerBounds,
    SkipsAnEvent,
    TakesNamesForFamilies,
    IgnoresAppendIds,
    TakesOtherEventsForARetry,
    AppendsOneByOne,
    SwallowsConflicts,
    IgnoresFoldVersions,
    ReadsBackwardsFromTheWrongEvent,
)
"""Some of the broken stores, for the state machine to find out."""

SUITE: Final = """
from contextlib import nullcontext
import pytest
from hypothesis import Phase, settings
settings.register_profile(
    "catch",
    database=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    report_multiple_bugs=False,
)
settings.load_profile("catch")
from eventsrc import MemoryStore
from eventsrc.testing import StoreContract, StoreMachine
import tests.stores.test_contract_catches as catches

def contract(kind, tests):
    class Contract:
        concurrent = snapshots = several = finding = True
        threads = StoreContract.threads
        keeps_snapshots = StoreContract.keeps_snapshots
        appends_to_several = StoreContract.appends_to_several
        finds_appends = StoreContract.finds_appends
        claimed = StoreContract.claimed
        @pytest.fixture
        def store(self):
            return kind()
    for test in tests:
        setattr(Contract, test, getattr(StoreContract, test))
    return Contract

def machine(kind):
    case = StoreMachine.for_store(lambda _: nullcontext(kind())).TestCase
    # Each ends with the first fault it finds. What is drawn depends on the constants of all modules.
    case.settings = settings(case.settings, max_examples=1000)
    return case

TestMemoryStore = contract(MemoryStore, set(catches.CAUGHT.values()))
for kind, test in catches.CAUGHT.items():
    globals()[f"Test{kind.__name__}"] = contract(kind, [test])
for kind in catches.DISAGREE:
    globals()[f"TestMachine{kind.__name__}"] = machine(kind)
"""


def failures(folder: Path) -> set[tuple[str, str]]:
    """Which tests fail, of which store: their names, without parameters."""
    file = folder / "test_broken.py"
    file.write_text(SUITE)
    options = [
        "-q",
        "-n0",
        "-rA",
        "--tb=no",
        "--assert=plain",
        "-p",
        "no:cacheprovider",
        "-c",
        str(ROOT / "pyproject.toml"),
    ]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    told = re.findall(r"(?m)^(PASSED|FAILED|ERROR) \S*::(\w+)::(\w+)", ran.stdout)
    assert {(store, test) for _, store, test in told} >= {
        (f"Test{store.__name__}", test) for store, test in CAUGHT.items()
    }, ran.stdout + ran.stderr
    assert "ERROR" not in {outcome for outcome, _, _ in told}, ran.stdout
    return {(store, test) for outcome, store, test in told if outcome == "FAILED"}


def test_each_broken_store_fails_the_test_for_its_fault_and_a_sound_one_fails_none(
    tmp_path: Path,
) -> None:
    failed = failures(tmp_path)
    not_caught = {
        store for store, test in CAUGHT.items() if (f"Test{store.__name__}", test) not in failed
    }
    assert not_caught == set()
    agrees = {store for store in DISAGREE if (f"TestMachine{store.__name__}", "runTest") not in failed}
    assert agrees == set(), "with the store in memory, as the state machine finds"
    assert not [test for store, test in failed if store == "TestMemoryStore"], "the control"


# --- the checkers of histories --------------------------------------------------------------------

HERE: Final = StreamId("here")


def stored(began: float, ended: float, version: int, *brought: str) -> Attempt:
    """An append that was acknowledged."""
    return Attempt(began, ended, brought, Appended(UUID(int=1), Token("s", {HERE: version}), START))


def refused(began: float, ended: float, actual: int, *brought: str) -> Attempt:
    """An append that was told of a conflict."""
    return Attempt(began, ended, brought, Conflict(HERE, 99, actual))


def unknown(*brought: str) -> Attempt:
    """An append whose answer was lost."""
    return Attempt(1, 2, brought, Unknown(UUID(int=2), "lost"))


SOUND: Final = [stored(0, 1, 1, "a"), stored(0.5, 2, 3, "b", "c"), refused(0, 3, 1, "x")]


def test_a_linearizable_history_has_nothing_wrong() -> None:
    assert check_stream(HERE, SOUND, ["a", "b", "c"]) == []
    assert check_stream(HERE, [*SOUND, unknown("d")], ["a", "b", "c", "d"]) == []
    assert check_stream(HERE, [*SOUND, unknown("d")], ["a", "b", "c"]) == []
    looks = [Look(0, 1, 0), Look(0.6, 5, 1), Look(0.7, 0.8, 1), Look(2, 3, 3), Look(1, 4, 3)]
    assert check_stream(HERE, SOUND, ["a", "b", "c"], looks) == []


@pytest.mark.parametrize(
    ("attempts", "final", "looks", "wrong"),
    [
        (SOUND, ["b", "c", "a"], [], "acknowledged up to 1, and are at [3]"),
        (SOUND, ["a"], [], "acknowledged up to 3, and are at []"),
        (SOUND, ["a", "b", "c", "x"], [], "were refused, and are at [4]"),
        (SOUND, ["a", "b", "c", "y"], [], "y is stored, and nobody appended it"),
        (SOUND, ["a", "b", "c", "a"], [], "a is stored 2 times"),
        ([*SOUND, unknown("d", "e")], ["a", "b", "c", "d"], [], "stored in part: [4]"),
        ([*SOUND, unknown("d", "e")], ["d", "a", "e", "b", "c"], [], "stored in part: [1, 3]"),
        ([stored(5, 6, 1, "a"), stored(1, 2, 2, "b")], ["a", "b"], [], "version 2 was appended before"),
        ([stored(5, 6, 1, "a")], ["a"], [Look(0, 1, 1)], "version 1 was seen before"),
        (SOUND, ["a", "b", "c"], [Look(4, 5, 0)], "version 1 was appended before"),
        (SOUND, ["a", "b", "c"], [Look(5, 6, 1)], "version 3 was appended before"),
        ([*SOUND, refused(8, 9, 1, "y")], ["a", "b", "c"], [], "version 3 was appended before"),
        ([stored(0, 1, 1, "a"), refused(2, 3, 2, "y"), stored(4, 5, 2, "b")], ["a", "b"], [], "seen"),
    ],
)
def test_what_is_wrong_with_a_history_is_said(
    attempts: list[Attempt], final: list[str], looks: list[Look], wrong: str
) -> None:
    assert wrong in "; ".join(check_stream(HERE, attempts, final, looks))


def test_reads_that_shrink_or_differ_are_said() -> None:
    assert check_reads([[], ["a"], ["a", "b"]], ["a", "b", "c"]) == []
    assert check_reads([["a", "b"], ["a"]], ["a", "b"]) == [
        "read 1 saw 1 events, after 2 had been seen"
    ]
    (wrong,) = check_reads([["b"]], ["a", "b"])
    assert "not how the stream begins" in wrong


def test_a_pass_over_the_feed_that_skips_repeats_or_goes_back_is_said() -> None:
    store = MemoryStore()
    store.run(Append(HERE, (Noted("1"), Noted("2"), Noted("3"))))
    one, two, three = store.run(ReadFeed()).events
    assert check_feed([one, two, three], {HERE: (1, 3)}) == []
    assert check_feed([one, three], {HERE: (1, 3)}) == ["here@2 was skipped"]
    assert check_feed([], {HERE: (3, 3)}) == ["here@3 was skipped"]
    assert check_feed([one, two, two, three], {HERE: (1, 3)}) == ["here@2 came 2 times"]
    assert check_feed([two, one, three], {HERE: (1, 3)}) == ["here@2 came before here@1"]
    assert check_feed([one], {}) == ["here@1 is not due"]

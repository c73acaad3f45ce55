"""The contract of a store, as tests: what docs/guarantees.md promises of every store, ours or yours.

Subclass it in a test module, say how to get a store, and pytest does the rest::

    class TestMyStore(StoreContract):
        @pytest.fixture
        def store(self) -> Iterator[Interpreter[StoreOp]]:
            with MyStore(...) as store:
                yield store

A store may have events in it, as long as nobody else writes to it. It must know the events that
`@event` registers, which it does with a `Codec()`. Hypothesis tries a quarter of the examples of the
profile that is in force.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Final, TypeAlias, TypeVar
from uuid import UUID, uuid4

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from returns.result import Failure, Success

from eventsrc.events._exact import NotStorable
from eventsrc.events.codec import UnknownEvent
from eventsrc.events.event import EventTypeError, Opaque
from eventsrc.events.positions import START, Cursor, NotInToken, Token, WrongStore
from eventsrc.events.recorded import Recorded
from eventsrc.events.stream_id import BadStreamId, StreamId
from eventsrc.programs.interpreter import Interpreter
from eventsrc.programs.program import Outcome
from eventsrc.stores.operations import (
    ANY,
    CONFLICT_EVENTS,
    EXISTS,
    MAX_PAGE,
    NO_STREAM,
    Append,
    AppendAll,
    Appended,
    Condition,
    Conflict,
    Expected,
    FeedPage,
    FindAppend,
    Head,
    LoadSnapshot,
    NotAppended,
    Read,
    ReadFeed,
    Rejected,
    SaveSnapshot,
    Snapshot,
    StoreOp,
    StreamAppend,
)
from eventsrc.testing.contract.history import Attempt, Look, check_feed, check_reads, check_stream
from eventsrc.testing.contract.samples import (
    HOSTILE_NAMES,
    UNKNOWN,
    Counted,
    Held,
    Noted,
    Renamed,
    renamed_before,
)
from eventsrc.testing.strategies import batches, events, json_values, metadata, unstorable_values

O = TypeVar("O", bound=StoreOp)
Store: TypeAlias = Interpreter[StoreOp]

DEADLINE: Final = 60.0
"""How many seconds the threads of one test may take."""

CONDITIONS: Final[tuple[Expected, ...]] = (ANY, NO_STREAM, EXISTS, 0, 1, 2, 3, 4, 2**63 - 1)

_in_moderation = settings(
    deadline=None,
    max_examples=max(settings().max_examples // 4, 1),
    # The store is the same for all examples, which therefore write to streams of their own.
    suppress_health_check=[
        HealthCheck.differing_executors,
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
    ],
)

_kinds = (Noted, Counted, Held, Renamed)
_histories = st.lists(st.tuples(st.sampled_from("abc"), batches()), max_size=6)
"""Appends, each to one of three streams."""


class StoreContract:
    """The tests that every store must pass: subclass it and give it a `store` fixture.

    concurrent: whether the store may be used from several threads, and tasks, at once.
    snapshots: whether it keeps snapshots; if not, SaveSnapshot does nothing.
    reopen: a fixture, for a store that outlives its process: see there.
    What a store does not claim is skipped, visibly.
    """

    concurrent: ClassVar[bool] = True
    snapshots: ClassVar[bool] = True

    @pytest.fixture
    def store(self) -> Iterator[Store]:
        """The store to be tested."""
        raise NotImplementedError(f"give {type(self).__qualname__} a fixture named `store`")

    @pytest.fixture
    def reopen(self) -> Callable[[], Store]:
        """A function that closes the `store` and opens what it has stored again."""
        pytest.skip("the store is not durable: it has no `reopen` fixture")

    @pytest.fixture
    def threads(self) -> Callable[..., None]:
        """A function that runs others at once, each in a thread of its own."""
        if not self.concurrent:
            pytest.skip("the store is not for several threads: `concurrent` is False")
        return _at_once

    @pytest.fixture
    def keeps_snapshots(self) -> None:
        """For tests of snapshots."""
        if not self.snapshots:
            pytest.skip("the store keeps no snapshots: `snapshots` is False")

    # --- appending on conditions ------------------------------------------------------------------

    @pytest.mark.parametrize("existing", [0, 1, 3])
    @pytest.mark.parametrize("expected", CONDITIONS, ids=repr)
    def test_an_append_is_stored_just_if_its_condition_holds(
        self, store: Store, expected: int, existing: int
    ) -> None:
        stream = _filled(store, existing)
        if _is_met(expected, existing):
            assert _stored(store.run(Append(stream, (Noted("new"),), expected))).version == existing + 1
            assert _texts(store, stream) == [*map(str, range(1, existing + 1)), "new"]
        else:
            with _left_alone(store, stream):
                conflict = _refused(store.run(Append(stream, (Noted("new"),), expected)))
            assert isinstance(conflict, Conflict)
            assert (conflict.stream, conflict.expected) == (stream, expected)
            assert conflict.actual == existing

    def test_a_version_that_is_too_high_leaves_no_hole(self, store: Store) -> None:
        stream = _filled(store, 2)
        with _left_alone(store, stream):
            conflict = _refused(store.run(Append(stream, (Noted("far"),), 7)))
        assert conflict == Conflict(stream, 7, 2)
        assert _append(store, stream, "near").version == 3
        assert _texts(store, stream) == ["1", "2", "near"]

    def test_a_conflict_carries_the_events_since_the_expected_version(self, store: Store) -> None:
        stream = _filled(store, 3)
        for expected in range(3):
            conflict = _refused(store.run(Append(stream, (Noted("late"),), expected)))
            assert isinstance(conflict, Conflict)
            assert conflict.events == tuple(_read(store, stream)[expected:])
            assert [e.data.text for e in conflict.events] == ["1", "2", "3"][expected:]

    def test_a_conflict_carries_the_oldest_hundred_events_at_most(self, store: Store) -> None:
        stream = _filled(store, CONFLICT_EVENTS + 50)
        for expected in (0, 10, 50, 60):
            conflict = _refused(store.run(Append(stream, (Noted("late"),), expected)))
            assert isinstance(conflict, Conflict)
            came = [recorded.version for recorded in conflict.events]
            last = min(expected + CONFLICT_EVENTS, conflict.actual)
            assert came == [*range(expected + 1, last + 1)]
            assert conflict.actual == CONFLICT_EVENTS + 50

    @pytest.mark.parametrize(("expected", "existing"), [(NO_STREAM, 2), (EXISTS, 0)], ids=repr)
    def test_a_conflict_with_no_exact_version_carries_no_events(
        self, store: Store, expected: Expected, existing: int
    ) -> None:
        stream = _filled(store, existing)
        conflict = _refused(store.run(Append(stream, (Noted("no"),), expected)))
        assert conflict == Conflict(stream, expected, existing)  # type: ignore[arg-type]

    def test_a_token_demands_the_version_that_it_has_seen(self, store: Store) -> None:
        stream, other = _filled(store, 2), _fresh()
        token = store.run(Read(stream)).token | store.run(Read(other)).token
        assert _stored(store.run(Append(stream, (Noted("3"),), token))).version == 3
        with _left_alone(store, stream):
            conflict = _refused(store.run(Append(stream, (Noted("again"),), token)))
        assert isinstance(conflict, Conflict)
        assert (conflict.expected, conflict.actual) == (2, 3)
        assert _stored(store.run(Append(other, (Noted("1"),), token))).version == 1
        assert isinstance(_refused(store.run(Append(other, (Noted("1"),), token))), Conflict)

    def test_a_token_that_does_not_name_a_stream_demands_nothing_of_it_and_is_refused(
        self, store: Store
    ) -> None:
        stream, other = _filled(store, 1), _fresh()
        token = store.run(Read(stream)).token
        part = StreamAppend(stream, (Noted("new"),))
        with _left_alone(store, stream, other):
            for asked in (
                Append(other, (Noted("new"),), token),
                AppendAll((part, StreamAppend(other, (Noted("new"),), token))),
                AppendAll((part,), (Condition(other, token),)),
            ):
                with pytest.raises(NotInToken, match=f"not {other}"):
                    store.run(asked)

    # --- what is stored ---------------------------------------------------------------------------

    @_in_moderation
    @given(history=_histories)
    def test_versions_count_from_1_without_a_hole(
        self, store: Store, history: list[tuple[str, tuple[object, ...]]]
    ) -> None:
        family, begin = _family(), _end(store)
        versions: dict[StreamId, int] = {}
        answers: list[Appended] = []
        for name, batch in history:
            stream = StreamId(f"{family}/{name}")
            answers.append(_stored(store.run(Append(stream, batch))))
            versions[stream] = versions.get(stream, 0) + len(batch)
            assert answers[-1].version == versions[stream]
            assert dict(answers[-1].token.versions) == {stream: versions[stream]}
            assert store.run(Head(stream)) == versions[stream]
        for stream, head in versions.items():
            assert [recorded.version for recorded in _read(store, stream)] == [*range(1, head + 1)]
        delivered = _feed(store, begin)
        assert check_feed(delivered, {s: (1, head) for s, head in versions.items()}) == []
        ends = [answer.cursor for answer in answers]
        assert ends == sorted(ends)
        assert len(set(ends)) == len(ends)

    @_in_moderation
    @given(value=json_values())
    def test_an_event_comes_back_as_it_was(self, store: Store, value: Any) -> None:
        stream, begin = _fresh(), _end(store)
        _stored(store.run(Append(stream, (Held(value),))))
        for (recorded,) in (_read(store, stream), _feed(store, begin)):
            assert recorded.data == Held(value)
            assert repr(recorded.data.value) == repr(value)  # 1 is not True, and 0.0 not -0.0

    @_in_moderation
    @given(said=metadata(), batch=batches())
    def test_every_event_of_an_append_has_its_metadata(
        self, store: Store, said: dict[str, Any], batch: tuple[object, ...]
    ) -> None:
        stream, other = _fresh(), _fresh()
        _stored(store.run(Append(stream, batch, metadata=said)))
        parts = (StreamAppend(stream, batch), StreamAppend(other, batch))
        _stored(store.run(AppendAll(parts, metadata=said)))
        for recorded in (*_read(store, stream), *_read(store, other)):
            assert recorded.metadata == said
            assert repr(recorded.metadata) == repr(said)

    def test_a_large_batch_and_a_large_event_are_stored(self, store: Store) -> None:
        stream = _fresh()
        batch = tuple(Counted(number) for number in range(3_000))
        assert _stored(store.run(Append(stream, batch))).version == 3_000
        _append(store, stream, "ä" * 1_000_000)
        *counted, noted = store.run(Read(stream, limit=MAX_PAGE)).events
        assert tuple(recorded.data for recorded in counted) == batch
        assert noted.data == Noted("ä" * 1_000_000)

    def test_every_event_has_an_id_of_its_own_for_ever(self, store: Store) -> None:
        stream, other, begin = _fresh(), _fresh(), _end(store)
        first = _append(store, stream, "a", "b", "c")
        _append(store, stream, "a", "b", "c", append_id=uuid4())
        parts = (StreamAppend(stream, (Noted("a"),)), StreamAppend(other, (Noted("a"), Noted("b"))))
        _stored(store.run(AppendAll(parts)))
        ids = [recorded.id for recorded in _feed(store, begin)]
        assert len(set(ids)) == len(ids) == 9
        assert ids[0] == first.append_id
        assert [e.id for stream in (stream, other) for e in _read(store, stream)] == ids

    def test_the_events_of_an_append_have_its_id(self, store: Store) -> None:
        stream, append_id = _fresh(), uuid4()
        answers = [_append(store, stream, "a", "b"), _append(store, stream, "c", append_id=append_id)]
        came = [recorded.append_id for recorded in _read(store, stream)]
        assert came == [answers[0].append_id, answers[0].append_id, append_id]
        assert answers[1].append_id == append_id

    def test_an_event_says_when_it_was_recorded(self, store: Store) -> None:
        stream = _filled(store, 2)
        for recorded in _read(store, stream):
            assert recorded.recorded_at.tzinfo is UTC
            assert abs(recorded.recorded_at - datetime.now(UTC)) < timedelta(days=1)

    def test_an_event_of_an_unknown_type_is_delivered_undecoded(self, store: Store) -> None:
        stream, begin = _fresh(), _end(store)
        _stored(store.run(Append(stream, (Noted("before"), *UNKNOWN, Noted("after")))))
        for came in (_read(store, stream), _feed(store, begin)):
            assert [recorded.is_known for recorded in came] == [True, *[False] * len(UNKNOWN), True]
            assert (came[0].data, came[-1].data) == (Noted("before"), Noted("after"))
            for recorded, event in zip(came[1:-1], UNKNOWN, strict=True):
                assert recorded.type == event.type
                with pytest.raises(UnknownEvent, match=event.type):
                    _ = recorded.data

    def test_an_event_that_is_passed_on_undecoded_keeps_its_bytes(self, store: Store) -> None:
        stream, copy = _fresh(), _fresh()
        _stored(store.run(Append(stream, (*UNKNOWN, Noted("known"), renamed_before("old")))))
        opaque = tuple(recorded.opaque() for recorded in _read(store, stream))
        assert opaque[: len(UNKNOWN)] == UNKNOWN
        assert opaque[-1] == renamed_before("old")
        _stored(store.run(Append(copy, opaque)))
        assert tuple(recorded.opaque() for recorded in _read(store, copy)) == opaque

    def test_an_event_of_an_older_version_is_brought_forward(self, store: Store) -> None:
        stream = _fresh()
        _stored(store.run(Append(stream, (renamed_before("Homer"), Renamed("Marge", True)))))
        came = _read(store, stream)
        assert [e.data for e in came] == [Renamed("Homer", False), Renamed("Marge", True)]
        assert [e.record.kind.schema for e in came] == [1, 2]

    # --- retries ----------------------------------------------------------------------------------

    @pytest.mark.parametrize("others", [0, 3])
    def test_a_retry_with_the_same_append_id_answers_with_the_first_result(
        self, store: Store, others: int
    ) -> None:
        stream, append_id = _filled(store, 1), uuid4()
        asked = Append(stream, (Noted("a"), Noted("b")), 1, append_id)
        answer = store.run(asked)
        assert _stored(answer).version == 3
        for number in range(others):
            _append(store, stream, f"later {number}")
            _append(store, _fresh(), "elsewhere")
        for retry in (asked, _but(asked, expected=ANY), _but(asked, expected=NO_STREAM)):
            with _left_alone(store, stream):
                assert store.run(retry) == answer

    def test_an_append_id_is_remembered_for_longer_than_the_next_thousand(self, store: Store) -> None:
        stream, other, append_id = _filled(store, 1), _fresh(), uuid4()
        asked = Append(stream, (Noted("a"),), append_id=append_id)
        answer = store.run(asked)
        for _ in range(1_001):
            _append(store, other, "later", append_id=uuid4())
        with _left_alone(store, stream):
            assert store.run(asked) == answer
        assert store.run(FindAppend(append_id)) == _stored(answer)

    def test_an_append_whose_id_the_store_chose_can_be_retried_with_that(self, store: Store) -> None:
        stream = _fresh()
        first, second = _append(store, stream, "a"), _append(store, stream, "a")
        with _left_alone(store, stream):
            assert _append(store, stream, "a", append_id=second.append_id) == second
            assert _append(store, stream, "a", append_id=first.append_id) == first
            other = store.run(Append(stream, (Noted("b"),), append_id=first.append_id))
        assert isinstance(_refused(other), Rejected)

    def test_appends_with_no_chosen_id_are_stored_each_time(self, store: Store) -> None:
        stream = _fresh()
        answers = [_append(store, stream, "the same") for _ in range(3)]
        assert len({answer.append_id for answer in answers}) == 3
        assert _texts(store, stream) == ["the same"] * 3

    @pytest.mark.parametrize(
        "change",
        [
            lambda asked: _but(asked, events=(Noted("a"), Noted("c"))),
            lambda asked: _but(asked, events=(Noted("b"), Noted("a"))),
            lambda asked: _but(asked, events=(Noted("a"),)),
            lambda asked: _but(asked, events=(Noted("a"), Noted("b"), Noted("c"))),
            lambda asked: _but(asked, events=(Noted("a"), Held("b"))),
            lambda asked: _but(asked, stream=StreamId(f"{asked.stream}/b")),
            lambda asked: AppendAll(
                (StreamAppend(asked.stream, asked.events), StreamAppend(_fresh(), asked.events)),
                append_id=asked.append_id,
            ),
        ],
        ids=[
            "other event",
            "other order",
            "fewer",
            "more",
            "other type",
            "other stream",
            "more streams",
        ],
    )
    def test_an_append_id_that_was_used_for_other_events_is_rejected(
        self, store: Store, change: Callable[[Append], Append | AppendAll]
    ) -> None:
        stream = _fresh()
        asked = Append(stream, (Noted("a"), Noted("b")), append_id=uuid4())
        answer = store.run(asked)
        changed = change(asked)
        with _left_alone(store, stream):
            refused = _refused(store.run(changed))
        assert isinstance(refused, Rejected)
        assert str(asked.append_id) in refused.reason
        assert store.run(asked) == answer

    def test_an_append_id_is_the_same_for_one_stream_and_for_several(self, store: Store) -> None:
        stream, other = _fresh(), _fresh()
        batch = (Noted("a"), Noted("b"))
        one, several = uuid4(), uuid4()
        first = store.run(Append(stream, batch, append_id=one))
        second = store.run(AppendAll((StreamAppend(other, batch),), append_id=several))
        with _left_alone(store, stream, other):
            assert store.run(AppendAll((StreamAppend(stream, batch),), append_id=one)) == first
            assert store.run(Append(other, batch, append_id=several)) == second
            mixed = store.run(AppendAll((StreamAppend(other, batch),), append_id=one))
        assert isinstance(_refused(mixed), Rejected)

    def test_an_append_id_is_not_used_up_by_a_conflict(self, store: Store) -> None:
        stream, append_id = _filled(store, 1), uuid4()
        assert isinstance(_refused(store.run(Append(stream, (Noted("a"),), 0, append_id))), Conflict)
        assert store.run(FindAppend(append_id)) is None
        assert _stored(store.run(Append(stream, (Noted("b"),), 1, append_id))).version == 2

    def test_what_became_of_an_append_can_be_found(self, store: Store) -> None:
        stream, other = _fresh(), _fresh()
        parts = (StreamAppend(other, (Noted("c"),)), StreamAppend(stream, (Noted("d"), Noted("e"))))
        answers = [
            _append(store, stream, "a"),
            _append(store, stream, "b", append_id=uuid4()),
            _stored(store.run(AppendAll(parts, append_id=uuid4()))),
            _stored(store.run(AppendAll(parts))),
        ]
        for answer in answers:
            assert store.run(FindAppend(answer.append_id)) == answer
        assert store.run(FindAppend(uuid4())) is None

    # --- several streams at once ------------------------------------------------------------------

    def test_an_append_to_several_streams_is_stored_in_all(self, store: Store) -> None:
        one, two, new, begin = _filled(store, 1), _filled(store, 2), _fresh(), _end(store)
        parts = (
            StreamAppend(two, (Noted("3"),), 2),
            StreamAppend(new, (Noted("1"), Noted("2")), NO_STREAM),
            StreamAppend(one, (Noted("2"),), EXISTS),
        )
        answer = _stored(store.run(AppendAll(parts)))
        assert dict(answer.token.versions) == {one: 2, two: 3, new: 2}
        assert [_texts(store, stream) for stream in (one, two, new)] == [
            ["1", "2"],
            ["1", "2", "3"],
            ["1", "2"],
        ]
        came = [(recorded.stream, recorded.version) for recorded in _feed(store, begin)]
        assert came == [(two, 3), (new, 1), (new, 2), (one, 2)]
        assert _feed(store, answer.cursor) == []

    @pytest.mark.parametrize("place", [0, 1, 2])
    def test_an_append_to_several_streams_is_stored_in_none_if_one_is_in_conflict(
        self, store: Store, place: int
    ) -> None:
        streams = [_filled(store, 1), _filled(store, 1), _filled(store, 1)]
        parts = [StreamAppend(stream, (Noted("2"),), 1) for stream in streams]
        parts[place] = attrs.evolve(parts[place], expected=0)
        append_id = uuid4()
        with _left_alone(store, *streams):
            conflict = _refused(store.run(AppendAll(tuple(parts), append_id=append_id)))
        (first,) = _read(store, streams[place])
        assert conflict == Conflict(streams[place], 0, 1, (first,))
        assert store.run(FindAppend(append_id)) is None

    @pytest.mark.parametrize("existing", [0, 1, 3])
    @pytest.mark.parametrize("expected", CONDITIONS, ids=repr)
    def test_a_condition_on_a_stream_that_is_only_read_decides_too(
        self, store: Store, expected: int, existing: int
    ) -> None:
        read, written = _filled(store, existing), _fresh()
        asked = AppendAll((StreamAppend(written, (Noted("new"),)),), (Condition(read, expected),))
        if _is_met(expected, existing):
            assert dict(_stored(store.run(asked)).token.versions) == {written: 1}
            assert store.run(Head(read)) == existing
        else:
            with _left_alone(store, read, written):
                conflict = _refused(store.run(asked))
            assert isinstance(conflict, Conflict)
            assert (conflict.stream, conflict.expected) == (read, expected)
            assert conflict.actual == existing

    def test_an_append_to_several_streams_can_be_retried(self, store: Store) -> None:
        one, two, read = _fresh(), _fresh(), _filled(store, 1)
        parts = (StreamAppend(one, (Noted("a"),), 0), StreamAppend(two, (Noted("b"),), NO_STREAM))
        asked = AppendAll(parts, (Condition(read, 1),), uuid4())
        answer = store.run(asked)
        _append(store, read, "so that the condition does not hold any more")
        _append(store, one, "nor this one")
        with _left_alone(store, one, two):
            assert store.run(asked) == answer
            changed = _but(asked, appends=(parts[0], StreamAppend(two, (Noted("c"),))))
            assert isinstance(_refused(store.run(changed)), Rejected)
        assert isinstance(answer, Success)

    # --- reading a stream -------------------------------------------------------------------------

    @_in_moderation
    @given(history=st.lists(batches(), max_size=4), limit=st.integers(1, 14), data=st.data())
    def test_a_page_is_the_events_after_a_version(
        self, store: Store, history: list[tuple[object, ...]], limit: int, data: st.DataObject
    ) -> None:
        stream = _fresh()
        for batch in history:
            _stored(store.run(Append(stream, batch)))
        stored = [event for batch in history for event in batch]
        head = len(stored)
        after = data.draw(st.integers(0, head + 1))
        page = store.run(Read(stream, after, limit))
        assert _shown(page.events) == _shown(_read(store, stream))[after : after + limit]
        assert [recorded.stream for recorded in page.events] == [stream] * len(page.events)
        before = after or head + 1
        back = store.run(Read(stream, after, limit, backwards=True))
        assert [e.version for e in back.events] == [*range(before - 1, 0, -1)][:limit]
        for whole, backwards in ((page, False), (back, True)):
            bare = store.run(Read(stream, after, limit, backwards, whole=False))
            assert [e.version for e in bare.events] == [e.version for e in whole.events]
            assert [e.opaque() for e in bare.events] == [e.opaque() for e in whole.events]
            assert (bare.head, bare.token) == (whole.head, whole.token)
        for asked in (page, back):
            assert asked.head == head
            assert asked.token == Token(_store_id(store), {stream: head})
            assert [asked.events[i].record for i in range(len(asked.events))] == [
                _read(store, stream)[e.version - 1].record for e in asked.events
            ]

    @pytest.mark.parametrize("limit", [*range(1, 9), MAX_PAGE])
    def test_a_stream_is_read_page_by_page_at_any_limit(self, store: Store, limit: int) -> None:
        stream = _filled(store, 7)
        forwards: list[str] = []
        backwards: list[str] = []
        for way, seen in ((False, forwards), (True, backwards)):
            after = 0
            while True:
                page = store.run(Read(stream, after, limit, backwards=way))
                seen += [recorded.data.text for recorded in page.events]
                if len(page.events) < limit:
                    break
                after = page.events[-1].version
                if way and after == 1:
                    break
        assert forwards == ["1", "2", "3", "4", "5", "6", "7"]
        assert backwards == forwards[::-1]

    @pytest.mark.parametrize("backwards", [False, True])
    def test_a_stream_that_does_not_exist_is_empty(self, store: Store, backwards: bool) -> None:
        stream = _fresh()
        page = store.run(Read(stream, backwards=backwards))
        assert (page.events, page.head, dict(page.token.versions)) == ((), 0, {stream: 0})
        assert store.run(Head(stream)) == 0

    @pytest.mark.parametrize("after", [4, 5, 6, 1000, 2**63 - 1])
    def test_a_version_beyond_the_head_has_all_events_before_it_and_none_after(
        self, store: Store, after: int
    ) -> None:
        stream = _filled(store, 4)
        assert store.run(Read(stream, after)).events == ()
        came = store.run(Read(stream, after, backwards=True)).events
        assert [recorded.version for recorded in came] == [4, 3, 2, 1][max(5 - after, 0) :]

    # --- reading the feed -------------------------------------------------------------------------

    def test_the_feed_has_all_events_in_the_order_of_their_appends(self, store: Store) -> None:
        family, begin = _family(), _end(store)
        asked = [(StreamId(f"{family}/{n % 3}"), (Noted(f"{n}"), Noted(f"{n}'"))) for n in range(12)]
        cursors = [_stored(store.run(Append(*append))).cursor for append in asked]
        came = _feed(store, begin)
        assert [(e.stream, e.data) for e in came] == [(s, e) for s, both in asked for e in both]
        positions = [recorded.position for recorded in came]
        assert positions == sorted(set(positions))
        for number, cursor in enumerate(cursors, 1):
            assert _feed(store, cursor) == came[2 * number :]

    def test_the_feed_begins_at_start_in_every_store(self, store: Store) -> None:
        stream = _filled(store, 3)
        everything = _feed(store, START)
        assert [recorded.stream for recorded in everything[-3:]] == [stream] * 3
        assert _feed(store, Cursor.parse(str(START))) == everything
        assert store.run(ReadFeed()).events == tuple(everything[:500])

    def test_the_feed_can_be_resumed_from_every_cursor_at_any_limit(self, store: Store) -> None:
        family, begin = _family(), _end(store)
        for number, size in enumerate((1, 3, 1, 2)):
            _append(store, StreamId(f"{family}/{number % 2}"), *"abc"[:size])
        everything = _feed(store, begin)
        assert len(everything) == 7
        cursors = [begin, *(page.next for page in _pages(store, begin, limit=1))]
        assert len(set(cursors)) == 8
        for limit in range(1, 9):
            for place, cursor in enumerate(cursors):
                pages = [*_pages(store, Cursor.parse(str(cursor)), limit)]
                assert [event for page in pages for event in page.events] == everything[place:]
                assert all(len(page.events) == limit for page in pages[:-1])
                assert {page.end for page in pages} == {cursors[-1]} == {pages[-1].next}

    def test_a_feed_whose_data_alone_is_read_has_the_same_events(self, store: Store) -> None:
        begin = _end(store)
        for _ in range(3):
            _filled(store, 2)
        cursor = begin
        for limit in (1, 2, 500):
            whole, bare = (store.run(ReadFeed(cursor, limit, whole=whole)) for whole in (True, False))
            assert bare.data == whole.data
            assert [(e.stream, e.version, e.opaque()) for e in bare.events] == [
                (e.stream, e.version, e.opaque()) for e in whole.events
            ]
            assert (bare.next, bare.end) == (whole.next, whole.end)
            cursor = bare.next
        assert cursor == whole.end

    def test_a_feed_that_was_read_to_its_end_goes_on_with_what_comes_later(self, store: Store) -> None:
        stream, begin = _filled(store, 2), _end(store)
        for cursor in (begin, store.run(ReadFeed(begin)).next, Cursor.parse(str(begin))):
            page = store.run(ReadFeed(cursor))
            assert (page.events, page.next, page.end) == ((), begin, begin)
        answer = _append(store, stream, "later")
        assert [recorded.data.text for recorded in _feed(store, begin)] == ["later"]
        assert _end(store) == answer.cursor

    @_in_moderation
    @given(
        history=_histories,
        limit=st.integers(1, 12),
        under=st.sampled_from(["", "a/", "b/", "ab/", "a/a/", "none/"]),
        types=st.none() | st.frozensets(st.sampled_from(["noted", "counted", "held", "renamed", "x"])),
    )
    def test_the_feed_can_be_filtered(
        self,
        store: Store,
        history: list[tuple[str, tuple[object, ...]]],
        limit: int,
        under: str,
        types: frozenset[str] | None,
    ) -> None:
        family, begin = _family(), _end(store)
        for number, (name, batch) in enumerate(history):
            place = f"{name}/{name}" if number % 2 else f"{name}{'b' * (number % 3)}/x"
            _stored(store.run(Append(StreamId(f"{family}/{place}"), batch)))
        prefix = f"{family}/{under}"
        names = None if types is None else frozenset(f"eventsrc.testing.{name}" for name in types)
        pages = [*_pages(store, begin, limit, prefix, names)]
        wanted = [
            recorded
            for recorded in _feed(store, begin)
            if recorded.stream.startswith(prefix) and (names is None or recorded.type in names)
        ]
        assert [recorded for page in pages for recorded in page.events] == wanted
        assert all(len(page.events) <= limit for page in pages)

    def test_a_prefix_is_a_family_and_not_the_beginning_of_a_name(self, store: Store) -> None:
        family, begin = _family(), _end(store)
        names = ["users", "users/1", "users/1/profile", "users/é", "users0", "usersx/1", "user/s"]
        for name in [*names, "Users/1", "users /1", "users\u0301/1", "users./1", "x/users/1"]:
            _append(store, StreamId(f"{family}/{name}"), name)
        for prefix, wanted in (
            ("users/", ["users/1", "users/1/profile", "users/é"]),
            ("users/1/", ["users/1/profile"]),
            ("users/1/profile/", []),
            ("usersx/", ["usersx/1"]),
            ("Users/", ["Users/1"]),
            ("users /", ["users /1"]),
            ("USERS/", []),
        ):
            came = _feed(store, begin, prefix=f"{family}/{prefix}")
            assert [recorded.data.text for recorded in came] == wanted

    def test_next_goes_on_after_events_that_are_filtered_out(self, store: Store) -> None:
        family, begin = _family(), _end(store)
        wanted, other = StreamId(f"{family}/yes/1"), StreamId(f"{family}/no/1")
        _append(store, wanted, "1")
        _append(store, other, *map(str, range(30)))
        end = _append(store, other, "last").cursor
        none = frozenset[str]()
        for prefix, types in ((f"{family}/yes/", None), ("", none), (f"{family}/none/", none)):
            *_, last = _pages(store, begin, 10, prefix, types)
            assert last.next == last.end == end
        _append(store, wanted, "2")
        assert [e.data.text for e in _feed(store, end, prefix=f"{family}/yes/")] == ["2"]

    def test_a_cursor_of_another_store_is_refused(self, store: Store) -> None:
        _filled(store, 3)
        elsewhere = Cursor(f"not-{_store_id(store)}", 1)
        with pytest.raises(WrongStore, match=str(elsewhere)):
            store.run(ReadFeed(elsewhere))

    def test_a_token_of_another_store_is_refused(self, store: Store) -> None:
        stream, other = _filled(store, 1), _fresh()
        elsewhere = Token(f"not-{_store_id(store)}", {stream: 1})
        part = StreamAppend(other, (Noted("new"),))
        with _left_alone(store, stream, other):
            for asked in (
                Append(stream, (Noted("new"),), elsewhere),
                AppendAll((part, StreamAppend(stream, (Noted("new"),), elsewhere))),
                AppendAll((part,), (Condition(stream, elsewhere),)),
            ):
                with pytest.raises(WrongStore, match=f"not-{_store_id(store)}"):
                    store.run(asked)

    def test_an_append_to_several_streams_can_depend_on_a_token_of_them_all(self, store: Store) -> None:
        one, two, read = _fresh(), _fresh(), _fresh()
        token = _append(store, one, "1").token | _append(store, two, "1", "2").token
        token |= _append(store, read, "1").token

        def asked() -> Outcome[Appended, Any]:
            parts = tuple(StreamAppend(stream, (Noted("new"),), token) for stream in (one, two))
            return store.run(AppendAll(parts, (Condition(read, token),)))

        appended = asked().unwrap()
        assert dict(appended.token.versions) == {one: 2, two: 3}
        token |= appended.token
        _append(store, read, "2")
        match asked():
            case Failure(Conflict(stream=stream, expected=expected, actual=actual)):
                assert (stream, expected, actual) == (read, 1, 2)
            case answer:
                pytest.fail(f"it was appended, or {answer}")
        assert _append(store, one, "3").version == 3

    def test_cursors_and_tokens_survive_as_text(self, store: Store) -> None:
        answer = _append(store, _fresh(), "1", "2")
        assert Cursor.parse(str(answer.cursor)) == answer.cursor
        assert Token.parse(str(answer.token)) == answer.token
        assert answer.cursor.store == answer.token.store == _store_id(store)
        assert _end(store).store == _store_id(store)

    # --- snapshots --------------------------------------------------------------------------------

    @pytest.mark.usefixtures("keeps_snapshots")
    @_in_moderation
    @given(data=st.binary() | st.just(bytes(range(256)) * 400))
    def test_a_snapshot_comes_back_as_it_was(self, store: Store, data: bytes) -> None:
        kept = Snapshot(_fresh(), "total", 1, 5, data)
        assert store.run(LoadSnapshot(kept.stream, "total", 1)) is None
        assert store.run(SaveSnapshot(kept)) is None
        assert store.run(LoadSnapshot(kept.stream, "total", 1)) == kept

    @pytest.mark.usefixtures("keeps_snapshots")
    def test_a_snapshot_of_another_stream_fold_or_fold_version_is_ignored(self, store: Store) -> None:
        stream = _fresh()
        kept = Snapshot(stream, "total", 2, 5, b"kept")
        store.run(SaveSnapshot(kept))
        others = [
            attrs.evolve(kept, stream=StreamId(f"{stream}/x"), data=b"of another stream"),
            attrs.evolve(kept, fold="Total", data=b"of another fold"),
            attrs.evolve(kept, fold_version=1, data=b"of an older fold"),
            attrs.evolve(kept, fold_version=3, data=b"of a newer fold"),
        ]
        for other in others:
            assert store.run(LoadSnapshot(other.stream, other.fold, other.fold_version)) is None
        for other in others:
            store.run(SaveSnapshot(attrs.evolve(other, version=9)))
        assert store.run(LoadSnapshot(stream, "total", 2)) == kept

    @pytest.mark.usefixtures("keeps_snapshots")
    def test_a_newer_snapshot_replaces_an_older_one_and_not_the_reverse(self, store: Store) -> None:
        stream = _fresh()
        newest = 0
        for version in (2, 5, 4, 1, 6, 3, 100, 20):
            store.run(SaveSnapshot(Snapshot(stream, "total", 1, version, b"%d" % version)))
            newest = max(newest, version)
            kept = store.run(LoadSnapshot(stream, "total", 1))
            assert kept == Snapshot(stream, "total", 1, newest, b"%d" % newest)

    @pytest.mark.usefixtures("keeps_snapshots")
    def test_a_snapshot_is_no_event(self, store: Store) -> None:
        stream = _filled(store, 1)
        with _left_alone(store, stream):
            store.run(SaveSnapshot(Snapshot(stream, "total", 1, 1, b"")))

    # --- bad input --------------------------------------------------------------------------------

    @_in_moderation
    @given(bad=unstorable_values(), before=batches(events(Noted)))
    def test_an_event_that_would_not_come_back_equal_is_refused_with_the_path_to_its_value(
        self, store: Store, bad: Any, before: tuple[object, ...]
    ) -> None:
        stream, other = _fresh(), _fresh()
        batch = (*before, Held(bad), Noted("after"))
        parts = (StreamAppend(other, (Noted("good"),)), StreamAppend(stream, batch))
        with _left_alone(store, stream, other):
            for asked in (Append(stream, batch), AppendAll(parts)):
                with pytest.raises(NotStorable) as refused:
                    store.run(asked)
                assert refused.value.path.startswith(f"events[{len(before)}].value")

    @_in_moderation
    @given(bad=unstorable_values())
    def test_metadata_that_would_not_come_back_equal_are_refused(self, store: Store, bad: Any) -> None:
        stream = _fresh()
        with _left_alone(store, stream):
            for said in ({"good": 1, "bad": bad}, {1: "a"}, {"\ud800": 1}):
                with pytest.raises(NotStorable, match="metadata"):
                    store.run(Append(stream, (Noted("good"),), metadata=said))  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        "event",
        [None, "a text", object(), {"text": "x"}, Noted, ANY, b""],
        ids=lambda e: type(e).__name__,
    )
    def test_an_object_that_is_no_event_is_refused(self, store: Store, event: object) -> None:
        stream = _fresh()
        with _left_alone(store, stream), pytest.raises(EventTypeError, match=type(event).__name__):
            store.run(Append(stream, (Noted("good"), event)))

    @pytest.mark.parametrize(
        ("event", "shown"),
        [
            (Opaque("", 1, "json", b""), "''"),
            (Opaque("no name", 1, "json", b""), "'no name'"),
            (Opaque("a", 0, "json", b""), "0"),
            (Opaque("a", 2**63, "json", b""), str(2**63)),
            (Opaque("a", 1, "\ud800", b""), r"'\\ud800'"),
            (Opaque("a", 1, "json", "text"), "'text'"),  # type: ignore[arg-type]
        ],
        ids=repr,
    )
    def test_an_opaque_event_that_never_was_stored_so_is_refused(
        self, store: Store, event: Opaque, shown: str
    ) -> None:
        stream = _fresh()
        with _left_alone(store, stream), pytest.raises(NotStorable, match=shown):
            store.run(Append(stream, (Noted("good"), event)))

    @pytest.mark.parametrize("bad", [-1, 2**63, 2**70, True, 1.0, "1", None, b"1"], ids=repr)
    def test_an_expected_version_that_is_none_is_refused(self, store: Store, bad: Any) -> None:
        stream, other = _filled(store, 1), _fresh()
        part = StreamAppend(other, (Noted("new"),))
        with _left_alone(store, stream, other):
            for asked in (
                Append(stream, (Noted("new"),), bad),
                AppendAll((part, StreamAppend(stream, (Noted("new"),), bad))),
                AppendAll((part,), (Condition(stream, bad),)),
            ):
                with pytest.raises((TypeError, ValueError), match=repr(bad)):
                    store.run(asked)

    @pytest.mark.parametrize(
        ("batch", "shown"),
        [
            ((), "no events"),
            ([], "no events"),
            ([Noted("a list")], "a list"),
            ({Noted("a set")}, "a set"),
            (Noted("itself"), "itself"),
        ],
        ids=repr,
    )
    def test_a_batch_must_be_a_tuple_of_events(self, store: Store, batch: Any, shown: str) -> None:
        stream, other = _fresh(), _fresh()
        parts = (StreamAppend(other, (Noted("good"),)), StreamAppend(stream, batch))
        with _left_alone(store, stream, other):
            for asked in (Append(stream, batch), AppendAll(parts)):
                with pytest.raises((TypeError, ValueError), match=shown):
                    store.run(asked)

    def test_a_stream_is_appended_to_once_in_an_append_to_several(self, store: Store) -> None:
        stream, other = _fresh(), _fresh()
        parts = [StreamAppend(at, (Noted("a"),)) for at in (stream, other, stream)]
        with _left_alone(store, stream, other):
            with pytest.raises(ValueError, match=f"{stream} is appended to twice"):
                store.run(AppendAll(tuple(parts)))
            with pytest.raises(ValueError, match="no events"):
                store.run(AppendAll((), (Condition(stream, 0),)))

    @pytest.mark.parametrize("bad", ["plain-text", b"bytes", 7, None], ids=repr)
    def test_a_stream_is_named_by_a_stream_id(self, store: Store, bad: Any) -> None:
        good = _fresh()
        part = StreamAppend(good, (Noted("good"),))
        with _left_alone(store, good):
            for asked in (
                Append(bad, (Noted("x"),)),
                AppendAll((part, StreamAppend(bad, (Noted("x"),)))),
                AppendAll((part,), (Condition(bad, ANY),)),
                Read(bad),
                Head(bad),
                LoadSnapshot(bad, "total", 1),
            ):
                with pytest.raises(TypeError, match=repr(bad)):
                    store.run(asked)

    @pytest.mark.parametrize("bad", ["", "/", "a/", "/a", "a//b", "a\0b", "\ud800"], ids=ascii)
    def test_a_text_that_is_no_stream_id_cannot_name_a_stream_or_a_family(
        self, store: Store, bad: str
    ) -> None:
        with pytest.raises(BadStreamId):
            StreamId(bad)
        if bad:
            with pytest.raises(BadStreamId):
                store.run(ReadFeed(prefix=bad if bad.endswith("/") and bad != "a/" else f"{bad}//"))

    def test_a_stream_id_may_have_512_bytes_and_not_one_more(self, store: Store) -> None:
        family = _family()
        longest = f"{family}/" + "ä" * ((512 - len(family)) // 2 - 1)
        longest += "x" * (512 - len(longest.encode()))
        begin = _end(store)
        _append(store, StreamId(longest), "1")
        assert _texts(store, StreamId(longest)) == ["1"]
        assert len(_feed(store, begin, prefix=f"{family}/")) == 1
        assert store.run(ReadFeed(begin, prefix=f"{longest}/")).events == ()
        with pytest.raises(BadStreamId, match="513 bytes, and 512 is the most"):
            StreamId(longest + "x")
        with pytest.raises(BadStreamId, match="513 bytes, and 512 is the most"):
            store.run(ReadFeed(prefix=f"{longest}x/"))

    @pytest.mark.parametrize("bad", [0, -1, MAX_PAGE + 1, True, 2.5, "5", None], ids=repr)
    def test_a_limit_is_a_number_from_1_to_10_000(self, store: Store, bad: Any) -> None:
        for asked in (Read(_fresh(), limit=bad), ReadFeed(limit=bad)):
            with pytest.raises((TypeError, ValueError), match=f"limit is {bad!r}"):
                store.run(asked)

    @pytest.mark.parametrize("bad", [-1, 2**63, True, 2.5, "5", None], ids=repr)
    def test_a_stream_is_read_after_a_version(self, store: Store, bad: Any) -> None:
        for backwards in (False, True):
            with pytest.raises((TypeError, ValueError), match=f"after is {bad!r}"):
                store.run(Read(_fresh(), bad, backwards=backwards))

    @pytest.mark.parametrize("bad", ["5", 5, None, "a.5"], ids=repr)
    def test_the_feed_is_read_after_a_cursor(self, store: Store, bad: Any) -> None:
        with pytest.raises(TypeError, match=repr(bad)):
            store.run(ReadFeed(bad))

    @pytest.mark.parametrize("position", [-1, 2**63])
    def test_a_cursor_with_no_place_is_refused(self, store: Store, position: int) -> None:
        with pytest.raises(ValueError, match=str(position)):
            store.run(ReadFeed(Cursor(_store_id(store), position)))

    @pytest.mark.parametrize("bad", ["users", "users/%", "/users/", "/", "a//"], ids=repr)
    def test_a_prefix_ends_with_a_slash(self, store: Store, bad: str) -> None:
        with pytest.raises(BadStreamId, match=bad.strip("/") or "/"):
            store.run(ReadFeed(prefix=bad))

    @pytest.mark.parametrize("bad", ["a.b", ["a.b"], {"a.b"}, 5], ids=repr)
    def test_types_are_a_frozenset(self, store: Store, bad: Any) -> None:
        with pytest.raises(TypeError, match="types is"):
            store.run(ReadFeed(types=bad))

    @pytest.mark.usefixtures("keeps_snapshots")
    @pytest.mark.parametrize(
        ("field", "bad"),
        [
            *[("version", bad) for bad in (-1, 2**63, True, 2.5, "5", None)],
            *[("fold_version", bad) for bad in (-1, 2**63, True, "1")],
            *[("fold", bad) for bad in ("", "a\0b", "\ud800", "x" * 513, 5, None)],
            *[("data", bad) for bad in ("text", None, bytearray(b"x"))],
        ],
        ids=ascii,
    )
    def test_a_snapshot_that_makes_no_sense_is_refused(
        self, store: Store, field: str, bad: Any
    ) -> None:
        stream = _fresh()
        right = Snapshot(stream, "total", 1, 1, b"right")
        store.run(SaveSnapshot(right))
        with pytest.raises((TypeError, ValueError), match=field):
            store.run(SaveSnapshot(attrs.evolve(right, **{field: bad})))
        assert store.run(LoadSnapshot(stream, "total", 1)) == right

    @pytest.mark.usefixtures("keeps_snapshots")
    @pytest.mark.parametrize("bad", [5, None, "snapshot"], ids=repr)
    def test_what_is_no_snapshot_is_refused(self, store: Store, bad: Any) -> None:
        with pytest.raises(TypeError, match=repr(bad)):
            store.run(SaveSnapshot(bad))

    @pytest.mark.parametrize("bad", [5, None, "append"], ids=repr)
    def test_what_is_no_append_to_a_stream_is_refused(self, store: Store, bad: Any) -> None:
        stream = _fresh()
        part = StreamAppend(stream, (Noted("x"),))
        with _left_alone(store, stream):
            for asked in (AppendAll((part, bad)), AppendAll((part,), (bad,))):
                with pytest.raises(TypeError, match=repr(bad)):
                    store.run(asked)

    @pytest.mark.parametrize("bad", ["a", 5, b"0123456789abcdef"], ids=repr)
    def test_an_append_id_is_a_uuid(self, store: Store, bad: Any) -> None:
        stream = _fresh()
        with pytest.raises(TypeError, match=f"append_id is {bad!r}"):
            store.run(FindAppend(bad))
        with _left_alone(store, stream):
            for asked in (
                Append(stream, (Noted("x"),), append_id=bad),
                AppendAll((StreamAppend(stream, (Noted("x"),)),), append_id=bad),
            ):
                with pytest.raises(TypeError, match=f"append_id is {bad!r}"):
                    store.run(asked)

    # --- hostile names ----------------------------------------------------------------------------

    def test_streams_with_hostile_names_are_kept_apart(self, store: Store) -> None:
        family, begin = _family(), _end(store)
        streams = [StreamId(f"{family}/{name}") for name in HOSTILE_NAMES]
        for round in (1, 2):
            for name, stream in zip(HOSTILE_NAMES, streams, strict=True):
                assert _append(store, stream, name).version == round
        for name, stream in zip(HOSTILE_NAMES, streams, strict=True):
            assert _texts(store, stream) == [name, name]
            assert store.run(Head(stream)) == 2
        assert [recorded.stream for recorded in _feed(store, begin)] == streams * 2
        assert len(_feed(store, begin, prefix=f"{family}/")) == len(streams) * 2

    def test_families_with_hostile_names_are_kept_apart(self, store: Store) -> None:
        family, begin = _family(), _end(store)
        for name in HOSTILE_NAMES:
            _append(store, StreamId(f"{family}/{name}/x"), name)
            _append(store, StreamId(f"{family}/{name}"), "not in the family")
        for name in HOSTILE_NAMES:
            came = _feed(store, begin, prefix=f"{family}/{name}/")
            assert [recorded.data.text for recorded in came] == [name]

    @pytest.mark.usefixtures("keeps_snapshots")
    def test_snapshots_with_hostile_names_are_kept_apart(self, store: Store) -> None:
        family = _family()
        kept = [Snapshot(StreamId(f"{family}/{n}"), n, 1, 1, n.encode()) for n in HOSTILE_NAMES]
        for snapshot in kept:
            store.run(SaveSnapshot(snapshot))
        for snapshot in kept:
            assert store.run(LoadSnapshot(snapshot.stream, snapshot.fold, 1)) == snapshot

    @_in_moderation
    @given(names=st.lists(st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1)))
    def test_every_stream_id_is_a_stream_of_its_own(self, store: Store, names: list[str]) -> None:
        family, begin = _family(), _end(store)
        streams = [StreamId(f"{family}/{name}") for name in names if len(name.encode()) < 400]
        for stream in streams:
            _append(store, stream, str(stream))
        for stream in set(streams):
            assert _texts(store, stream) == [str(stream)] * streams.count(stream)
        assert [recorded.stream for recorded in _feed(store, begin)] == streams

    # --- many at once -----------------------------------------------------------------------------

    def test_appends_to_a_hot_stream_are_linearizable(
        self, store: Store, threads: Callable[..., None]
    ) -> None:
        stream = _fresh()
        attempts: list[Attempt] = []
        looks: list[Look] = []

        def write(writer: int) -> None:
            version = 0
            stored = 0
            for attempt in itertools.count():
                batch = tuple(Noted(f"{writer}/{attempt}/{n}") for n in range(1 + attempt % 3))
                answer, began, ended = _timed(store, Append(stream, batch, version))
                told = answer.unwrap() if isinstance(answer, Success) else answer.failure()
                attempts.append(Attempt(began, ended, tuple(e.text for e in batch), told))
                if isinstance(told, Appended):
                    assert told.version == version + len(batch)
                    version, stored = told.version, stored + 1
                else:
                    assert isinstance(told, Conflict)
                    assert told.actual != version
                    version = told.actual
                    assert len(told.events) == min(max(version - told.expected, 0), CONFLICT_EVENTS)  # type: ignore[operator]
                if stored == 15:
                    return

        def look() -> None:
            for _ in range(30):
                head, began, ended = _timed(store, Head(stream))
                looks.append(Look(began, ended, head))

        threads(*[lambda writer=writer: write(writer) for writer in range(8)], look, look)
        final = _texts(store, stream)
        assert check_stream(stream, attempts, final, looks) == []
        acknowledged = [a for a in attempts if isinstance(a.answer, Appended)]
        assert len(final) == sum(len(attempt.brought) for attempt in acknowledged)
        assert [recorded.version for recorded in _read(store, stream)] == [*range(1, len(final) + 1)]

    def test_unconditional_appends_from_many_threads_are_all_stored(
        self, store: Store, threads: Callable[..., None]
    ) -> None:
        streams, begin = [_fresh(), _fresh()], _end(store)
        attempts: dict[StreamId, list[Attempt]] = {stream: [] for stream in streams}

        def write(writer: int) -> None:
            for number in range(20):
                stream = streams[number % 2]
                batch = tuple(Noted(f"{writer}/{number}/{n}") for n in range(1 + number % 3))
                answer, began, ended = _timed(store, Append(stream, batch))
                brought = tuple(event.text for event in batch)
                attempts[stream].append(Attempt(began, ended, brought, _stored(answer)))

        threads(*[lambda writer=writer: write(writer) for writer in range(8)])
        for stream in streams:
            assert check_stream(stream, attempts[stream], _texts(store, stream)) == []
        heads = {stream: (1, store.run(Head(stream))) for stream in streams}
        assert sum(last for _, last in heads.values()) == 8 * (7 * 1 + 7 * 2 + 6 * 3)
        assert check_feed(_feed(store, begin), heads) == []

    def test_one_append_id_from_many_threads_is_stored_once(
        self, store: Store, threads: Callable[..., None]
    ) -> None:
        for _ in range(10):
            stream, append_id = _fresh(), uuid4()
            answers: list[Outcome[Appended, NotAppended]] = []
            asked = Append(stream, (Noted("once"), Noted("only")), append_id=append_id)
            threads(*[lambda asked=asked, to=answers: to.append(store.run(asked))] * 6)
            assert _texts(store, stream) == ["once", "only"]
            assert answers == [Success(store.run(FindAppend(append_id)))] * 6

    def test_an_append_to_several_streams_is_seen_in_all_or_in_none(
        self, store: Store, threads: Callable[..., None]
    ) -> None:
        one, two, done = _fresh(), _fresh(), threading.Event()

        def write() -> None:
            try:
                for n in range(60):
                    parts = (StreamAppend(one, (Counted(n),), n), StreamAppend(two, (Counted(n),), n))
                    _stored(store.run(AppendAll(parts)))
            finally:
                done.set()

        def look(first: StreamId, then: StreamId) -> None:
            while not done.is_set():
                seen = store.run(Head(first))
                assert len(store.run(Read(then)).events) >= seen

        threads(write, lambda: look(one, two), lambda: look(two, one))
        assert store.run(Head(one)) == store.run(Head(two)) == 60

    def test_what_a_reader_sees_of_a_stream_only_grows(
        self, store: Store, threads: Callable[..., None]
    ) -> None:
        stream, done = _fresh(), threading.Event()
        reads: dict[bool, list[list[str]]] = {False: [], True: []}

        def write() -> None:
            try:
                for n in range(60):
                    _append(store, stream, f"{n}", f"{n}'")
            finally:
                done.set()

        def read(backwards: bool) -> None:
            is_last = False
            while not is_last:
                is_last = done.is_set()
                page = store.run(Read(stream, limit=MAX_PAGE, backwards=backwards))
                assert len(page.events) == page.head == page.token[stream]
                assert page.head % 2 == 0, "half of an append was seen"
                texts = [recorded.data.text for recorded in page.events]
                reads[backwards].append(texts[::-1] if backwards else texts)

        threads(write, lambda: read(False), lambda: read(True))
        final = _texts(store, stream)
        for seen in reads.values():
            assert check_reads(seen, final) == []
            assert seen[-1] == final

    def test_the_feed_skips_nothing_while_others_append(
        self, store: Store, threads: Callable[..., None]
    ) -> None:
        family, begin = _family(), _end(store)
        streams = [StreamId(f"{family}/{number}") for number in range(4)]
        writing = [object()] * 4
        delivered: dict[int, list[Recorded[Any]]] = {1: [], 7: [], 500: []}

        def write(writer: int) -> None:
            try:
                for number in range(20):
                    stream, other = streams[(writer + number) % 4], streams[(writer + number + 1) % 4]
                    if number % 4:
                        _append(store, stream, *"abc"[: 1 + number % 3])
                    else:
                        parts = (
                            StreamAppend(stream, (Noted("x"),)),
                            StreamAppend(other, (Noted("y"),)),
                        )
                        _stored(store.run(AppendAll(parts)))
            finally:
                writing.pop()

        def follow(limit: int) -> None:
            cursor, is_last = begin, False
            while not is_last:
                is_last = not writing
                for page in _pages(store, Cursor.parse(str(cursor)), limit):
                    delivered[limit] += page.events
                    cursor = page.next

        threads(
            *[lambda writer=writer: write(writer) for writer in range(4)],
            *[lambda limit=limit: follow(limit) for limit in delivered],
        )
        heads = {stream: (1, store.run(Head(stream))) for stream in streams}
        final = _feed(store, begin)
        for came in delivered.values():
            assert check_feed(came, heads) == []
            assert came == final, "the order has changed"

    @pytest.mark.usefixtures("threads")
    def test_appends_from_many_tasks_are_all_stored(self, store: Store) -> None:
        stream = _fresh()

        async def everybody() -> list[Outcome[Appended, NotAppended]]:
            asked = [Append(stream, (Noted(f"{n}"),)) for n in range(40)]
            return await asyncio.gather(*map(store.run_async, asked))

        answers = asyncio.run(everybody())
        assert sorted(_stored(answer).version for answer in answers) == [*range(1, 41)]
        stored = _texts(store, stream)
        assert [stored[_stored(answer).version - 1] for answer in answers] == [*map(str, range(40))]

    # --- durability -------------------------------------------------------------------------------

    def test_a_store_that_is_opened_again_has_what_was_stored(
        self, store: Store, reopen: Callable[[], Store]
    ) -> None:
        stream = _filled(store, 3)
        asked = Append(stream, (Noted("4"), *UNKNOWN), 3, uuid4(), {"by": "Homer"})
        answers = [_stored(store.run(asked)), _append(store, _fresh(), "elsewhere")]
        snapshot = Snapshot(stream, "total", 1, 3, b"6") if self.snapshots else None
        if snapshot is not None:
            store.run(SaveSnapshot(snapshot))
        store_id, end, feed, page = _store_id(store), _end(store), _feed(store), store.run(Read(stream))

        again = reopen()
        assert (_store_id(again), _end(again), _feed(again)) == (store_id, end, feed)
        assert again.run(Read(stream)) == page
        assert again.run(LoadSnapshot(stream, "total", 1)) == snapshot
        for answer in answers:
            assert again.run(FindAppend(answer.append_id)) == answer
        assert again.run(asked) == Success(answers[0])
        assert isinstance(_refused(again.run(Append(stream, (Noted("late"),), 3))), Conflict)
        assert _stored(again.run(Append(stream, (Noted("new"),), page.token))).version == page.head + 1
        assert [e.data for e in _feed(again, answers[-1].cursor)] == [Noted("new")]


# --- what the tests share -------------------------------------------------------------------------


def _family() -> str:
    """A prefix, less its `/`, that no stream has yet."""
    return f"contract/{uuid4().hex}"


def _fresh() -> StreamId:
    """A stream that does not exist."""
    return StreamId(_family())


def _filled(store: Store, count: int) -> StreamId:
    """A stream with so many events: Noted("1"), Noted("2"), ..."""
    stream = _fresh()
    if count:
        _append(store, stream, *map(str, range(1, count + 1)))
    return stream


def _append(store: Store, stream: StreamId, *texts: str, append_id: UUID | None = None) -> Appended:
    return _stored(store.run(Append(stream, tuple(map(Noted, texts)), append_id=append_id)))


def _stored(outcome: Outcome[Appended, NotAppended]) -> Appended:
    assert isinstance(outcome, Success), f"it was not stored: {outcome}"
    return outcome.unwrap()


def _refused(outcome: Outcome[Appended, NotAppended]) -> NotAppended:
    assert isinstance(outcome, Failure), f"it was stored: {outcome}"
    return outcome.failure()


def _but(op: O, **changes: Any) -> O:
    """The operation with something changed."""
    return attrs.evolve(op, **changes)  # type: ignore[misc]


def _is_met(expected: Expected, version: int) -> bool:
    """Whether a stream at this version fulfils a condition; written down here again on purpose."""
    met: dict[Expected, bool] = {ANY: True, NO_STREAM: version == 0, EXISTS: version >= 1}
    return met.get(expected, expected == version)


def _store_id(store: Store) -> str:
    return store.run(Read(_fresh())).token.store


def _read(store: Store, stream: StreamId) -> Sequence[Recorded[Any]]:
    """All events of a stream that is not long."""
    return store.run(Read(stream, limit=MAX_PAGE)).events


def _texts(store: Store, stream: StreamId) -> list[str]:
    return [recorded.data.text for recorded in _read(store, stream)]


def _shown(recorded: Sequence[Recorded[Any]]) -> list[str]:
    return [repr(one) for one in recorded]


def _end(store: Store) -> Cursor:
    """The end of the feed."""
    return store.run(ReadFeed(limit=1)).end


def _pages(
    store: Store, after: Cursor, limit: int = 500, prefix: str = "", types: frozenset[str] | None = None
) -> Iterator[FeedPage[Any]]:
    """The feed's pages up to its present end."""
    while True:
        page = store.run(ReadFeed(after, limit, prefix, types))
        yield page
        if page.next >= page.end:
            return
        assert page.next > after, f"the feed does not get on from {after}: {page.blocked}"
        after = page.next


def _feed(store: Store, after: Cursor = START, *, prefix: str = "") -> list[Recorded[Any]]:
    return [recorded for page in _pages(store, after, 500, prefix) for recorded in page.events]


@contextlib.contextmanager
def _left_alone(store: Store, *streams: StreamId) -> Iterator[None]:
    """Sees to it that nothing is appended meanwhile, to these streams or anywhere else."""

    def state() -> tuple[Cursor, list[int], list[Sequence[Recorded[Any]]]]:
        heads = [store.run(Head(stream)) for stream in streams]
        return _end(store), heads, [_read(store, stream) for stream in streams]

    before = state()
    yield
    assert state() == before, "something was stored"


def _timed(store: Store, op: Any) -> tuple[Any, float, float]:
    """An operation's answer, and when it was asked and answered."""
    began = time.perf_counter()
    answer = store.run(op)
    return answer, began, time.perf_counter()


def _at_once(*works: Callable[[], object]) -> None:
    """Runs functions in threads that are switched often; raises the first error of any."""
    start = threading.Barrier(len(works))
    errors: list[BaseException] = []

    def run(work: Callable[[], object]) -> None:
        try:
            start.wait(DEADLINE)
            work()
        except BaseException as error:
            errors.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        running = [threading.Thread(target=run, args=(work,), daemon=True) for work in works]
        for thread in running:
            thread.start()
        end = time.monotonic() + DEADLINE
        for thread in running:
            thread.join(max(end - time.monotonic(), 0.0))
    finally:
        sys.setswitchinterval(interval)
    if errors:
        raise errors[0]
    assert not any(thread.is_alive() for thread in running), f"not done after {DEADLINE} seconds"

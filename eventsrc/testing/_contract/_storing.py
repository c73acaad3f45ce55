"""Tests of what is stored: it comes back exactly, also when the store is opened again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from returns.result import Success

from eventsrc.events.codec import UnknownEvent
from eventsrc.events.stream_id import StreamId
from eventsrc.stores.operations import (
    MAX_PAGE,
    Append,
    AppendAll,
    Appended,
    Conflict,
    FindAppend,
    Head,
    LoadSnapshot,
    Read,
    SaveSnapshot,
    Snapshot,
    StreamAppend,
)
from eventsrc.testing._contract._shared import (
    HISTORIES,
    ContractPart,
    Store,
    accepted,
    append,
    end_of,
    feed_of,
    filled,
    fresh,
    id_of,
    in_moderation,
    left_alone,
    new_family,
    read_all,
    refusal,
)
from eventsrc.testing._contract.history import check_feed
from eventsrc.testing._contract.samples import (
    UNKNOWN,
    AnyValue,
    Counted,
    Noted,
    Renamed,
    renamed_before,
)
from eventsrc.testing._strategies import batches, json_values, metadata


class Storing(ContractPart):
    """Tests of what is stored: it comes back exactly, also when the store is opened again."""

    # --- what is stored -------------------------------------------------------------------------------

    @in_moderation
    @given(history=HISTORIES)
    def test_versions_count_from_1_without_a_hole(
        self, store: Store, history: list[tuple[str, tuple[object, ...]]]
    ) -> None:
        family, begin = new_family(), end_of(store)
        versions: dict[StreamId, int] = {}
        answers: list[Appended] = []
        for name, batch in history:
            stream = StreamId(f"{family}/{name}")
            answers.append(accepted(store.run(Append(stream, batch))))
            versions[stream] = versions.get(stream, 0) + len(batch)
            assert answers[-1].version == versions[stream]
            assert dict(answers[-1].token.versions) == {stream: versions[stream]}
            assert store.run(Head(stream)) == versions[stream]
        for stream, head in versions.items():
            assert [recorded.version for recorded in read_all(store, stream)] == [*range(1, head + 1)]
        delivered = feed_of(store, begin)
        assert check_feed(delivered, {s: (1, head) for s, head in versions.items()}) == []
        ends = [answer.cursor for answer in answers]
        assert ends == sorted(ends)
        assert len(set(ends)) == len(ends)

    @in_moderation
    @given(value=json_values())
    def test_an_event_comes_back_as_it_was(self, store: Store, value: Any) -> None:
        stream, begin = fresh(), end_of(store)
        accepted(store.run(Append(stream, (AnyValue(value),))))
        for (recorded,) in (read_all(store, stream), feed_of(store, begin)):
            assert recorded.data == AnyValue(value)
            assert repr(recorded.data.value) == repr(value)  # 1 is not True, and 0.0 not -0.0

    @in_moderation
    @given(said=metadata(), batch=batches())
    def test_every_event_of_an_append_has_its_metadata(
        self, store: Store, said: dict[str, Any], batch: tuple[object, ...]
    ) -> None:
        stream, other = fresh(), fresh()
        accepted(store.run(Append(stream, batch, metadata=said)))
        parts = (StreamAppend(stream, batch), StreamAppend(other, batch))
        for asked in self.claimed(AppendAll(parts, metadata=said)):
            accepted(store.run(asked))
        for recorded in (*read_all(store, stream), *read_all(store, other)):
            assert recorded.metadata == said
            assert repr(recorded.metadata) == repr(said)

    def test_a_large_batch_and_a_large_event_are_stored(self, store: Store) -> None:
        stream = fresh()
        batch = tuple(Counted(number) for number in range(3_000))
        assert accepted(store.run(Append(stream, batch))).version == 3_000
        append(store, stream, "ä" * 1_000_000)
        *counted, noted = store.run(Read(stream, limit=MAX_PAGE)).events
        assert tuple(recorded.data for recorded in counted) == batch
        assert noted.data == Noted("ä" * 1_000_000)

    @pytest.mark.usefixtures("appends_to_several")
    def test_every_event_has_an_id_of_its_own_for_ever(self, store: Store) -> None:
        stream, other, begin = fresh(), fresh(), end_of(store)
        first = append(store, stream, "a", "b", "c")
        append(store, stream, "a", "b", "c", append_id=uuid4())
        parts = (StreamAppend(stream, (Noted("a"),)), StreamAppend(other, (Noted("a"), Noted("b"))))
        accepted(store.run(AppendAll(parts)))
        ids = [recorded.id for recorded in feed_of(store, begin)]
        assert len(set(ids)) == len(ids) == 9
        assert ids[0] == first.append_id
        assert [e.id for stream in (stream, other) for e in read_all(store, stream)] == ids

    def test_the_events_of_an_append_have_its_id(self, store: Store) -> None:
        stream, append_id = fresh(), uuid4()
        answers = [append(store, stream, "a", "b"), append(store, stream, "c", append_id=append_id)]
        came = [recorded.append_id for recorded in read_all(store, stream)]
        assert came == [answers[0].append_id, answers[0].append_id, append_id]
        assert answers[1].append_id == append_id

    def test_an_event_says_when_it_was_recorded(self, store: Store) -> None:
        stream = filled(store, 2)
        for recorded in read_all(store, stream):
            assert recorded.recorded_at.tzinfo is UTC
            assert abs(recorded.recorded_at - datetime.now(UTC)) < timedelta(days=1)

    def test_an_event_of_an_unknown_type_is_delivered_undecoded(self, store: Store) -> None:
        stream, begin = fresh(), end_of(store)
        accepted(store.run(Append(stream, (Noted("before"), *UNKNOWN, Noted("after")))))
        for came in (read_all(store, stream), feed_of(store, begin)):
            assert [recorded.is_known for recorded in came] == [True, *[False] * len(UNKNOWN), True]
            assert (came[0].data, came[-1].data) == (Noted("before"), Noted("after"))
            for recorded, event in zip(came[1:-1], UNKNOWN, strict=True):
                assert recorded.type == event.type
                with pytest.raises(UnknownEvent, match=event.type):
                    _ = recorded.data

    def test_an_event_that_is_passed_on_undecoded_keeps_its_bytes(self, store: Store) -> None:
        stream, copy = fresh(), fresh()
        accepted(store.run(Append(stream, (*UNKNOWN, Noted("known"), renamed_before("old")))))
        opaque = tuple(recorded.opaque() for recorded in read_all(store, stream))
        assert opaque[: len(UNKNOWN)] == UNKNOWN
        assert opaque[-1] == renamed_before("old")
        accepted(store.run(Append(copy, opaque)))
        assert tuple(recorded.opaque() for recorded in read_all(store, copy)) == opaque

    def test_an_event_of_an_older_version_is_brought_forward(self, store: Store) -> None:
        stream = fresh()
        accepted(store.run(Append(stream, (renamed_before("Homer"), Renamed("Marge", True)))))
        came = read_all(store, stream)
        assert [e.data for e in came] == [Renamed("Homer", False), Renamed("Marge", True)]
        assert [e.record.kind.schema for e in came] == [1, 2]

    # --- snapshots ------------------------------------------------------------------------------------

    @pytest.mark.usefixtures("keeps_snapshots")
    @in_moderation
    @given(data=st.binary() | st.just(bytes(range(256)) * 400))
    def test_a_snapshot_comes_back_as_it_was(self, store: Store, data: bytes) -> None:
        kept = Snapshot(fresh(), "total", 1, 5, data)
        assert store.run(LoadSnapshot(kept.stream, "total", 1)) is None
        assert store.run(SaveSnapshot(kept)) is None
        assert store.run(LoadSnapshot(kept.stream, "total", 1)) == kept

    @pytest.mark.usefixtures("keeps_snapshots")
    def test_a_snapshot_of_another_stream_fold_or_fold_version_is_ignored(self, store: Store) -> None:
        stream = fresh()
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
        stream = fresh()
        newest = 0
        for version in (2, 5, 4, 1, 6, 3, 100, 20):
            store.run(SaveSnapshot(Snapshot(stream, "total", 1, version, b"%d" % version)))
            newest = max(newest, version)
            kept = store.run(LoadSnapshot(stream, "total", 1))
            assert kept == Snapshot(stream, "total", 1, newest, b"%d" % newest)

    @pytest.mark.usefixtures("keeps_snapshots")
    def test_a_snapshot_is_no_event(self, store: Store) -> None:
        stream = filled(store, 1)
        with left_alone(store, stream):
            store.run(SaveSnapshot(Snapshot(stream, "total", 1, 1, b"")))

    # --- durability -----------------------------------------------------------------------------------

    def test_a_store_that_is_opened_again_has_what_was_stored(
        self, store: Store, reopen: Callable[[], Store]
    ) -> None:
        stream = filled(store, 3)
        asked = Append(stream, (Noted("4"), *UNKNOWN), 3, uuid4(), {"by": "Homer"})
        answers = [accepted(store.run(asked)), append(store, fresh(), "elsewhere")]
        snapshot = Snapshot(stream, "total", 1, 3, b"6") if self.snapshots else None
        if snapshot is not None:
            store.run(SaveSnapshot(snapshot))
        store_id, end, feed, page = id_of(store), end_of(store), feed_of(store), store.run(Read(stream))

        again = reopen()
        assert (id_of(again), end_of(again), feed_of(again)) == (store_id, end, feed)
        assert again.run(Read(stream)) == page
        assert again.run(LoadSnapshot(stream, "total", 1)) == snapshot
        for answer in answers if self.finding else ():
            assert again.run(FindAppend(answer.append_id)) == answer
        assert again.run(asked) == Success(answers[0])
        assert isinstance(refusal(again.run(Append(stream, (Noted("late"),), 3))), Conflict)
        assert accepted(again.run(Append(stream, (Noted("new"),), page.token))).version == page.head + 1
        assert [e.data for e in feed_of(again, answers[-1].cursor)] == [Noted("new")]

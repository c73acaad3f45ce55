"""The library's own streams, below `eventsrc/`: to be read by all, and seen in the feed by who asks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eventsrc.events.positions import Cursor
from eventsrc.events.recorded import Recorded
from eventsrc.events.stream_id import BadStreamId, StreamId
from eventsrc.stores.operations import (
    Append,
    AppendAll,
    Condition,
    Head,
    LoadSnapshot,
    Read,
    ReadFeed,
    SaveSnapshot,
    Snapshot,
    StreamAppend,
)
from eventsrc.testing._contract._shared import (
    ContractPart,
    Store,
    accepted,
    append,
    end_of,
    feed_of,
    filled,
    fresh,
    in_moderation,
    left_alone,
    read_all,
)
from eventsrc.testing._contract.samples import Kept, Noted


def own_stream() -> StreamId:
    """A stream of the library's own that does not exist."""
    return StreamId(f"eventsrc/contract/{uuid4().hex}")


def keep(store: Store, stream: StreamId, *numbers: int) -> None:
    """Appends to a stream of the library's own."""
    accepted(store.run(Append(stream, tuple(map(Kept, numbers)))))


def read_to(store: Store, asked: ReadFeed, end: Cursor) -> Sequence[Recorded[Any]]:
    """The events of a feed up to its end, in which those that are hidden have places."""
    found: list[Recorded[Any]] = []
    after = asked.after
    while True:
        page = store.run(ReadFeed(after, asked.limit, "", asked.types, asked.whole, asked.all_streams))
        assert page.end == end
        assert len(page.events) <= asked.limit
        assert len(page.data) == len(page.events)
        found += page.events
        if page.next == page.end:
            return found
        assert page.next > after
        after = page.next


class OwnStreams(ContractPart):
    """The rules for the streams that the library keeps for itself."""

    def test_nobody_appends_to_a_stream_of_the_librarys_own(self, store: Store) -> None:
        own, other = own_stream(), fresh()
        keep(store, own, 1)
        part = StreamAppend(other, (Noted("other"),))
        with left_alone(store, own, other):
            for asked in self.claimed(
                Append(own, (Noted("mine"),)),
                Append(own, (Kept(2), Noted("mine"))),
                Append(own_stream(), (Noted("mine"),)),
                AppendAll((part, StreamAppend(own, (Noted("mine"),)))),
            ):
                with pytest.raises(BadStreamId, match="library's own"):
                    store.run(asked)

    def test_streams_of_similar_names_are_anybodys(self, store: Store) -> None:
        begin = end_of(store)
        names = [
            f"{name}{uuid4().hex}" for name in ("eventsrc", "eventsrc0/", "Eventsrc/", "x/eventsrc/")
        ]
        for name in names:
            append(store, StreamId(name), name)
        assert [recorded.data.text for recorded in feed_of(store, begin)] == names

    @pytest.mark.usefixtures("appends_to_several")
    def test_the_library_appends_to_its_own_streams_and_anybody_reads_them(self, store: Store) -> None:
        own, other, key = own_stream(), fresh(), uuid4()
        both = AppendAll(
            (StreamAppend(own, (Kept(1), Kept(2)), 0), StreamAppend(other, (Noted("1"),))),
            append_id=key,
        )
        appended = accepted(store.run(both))
        assert accepted(store.run(both)) == appended
        assert [recorded.data for recorded in read_all(store, own)] == [Kept(1), Kept(2)]
        assert store.run(Read(own, whole=False)).data == [Kept(1), Kept(2)]
        assert store.run(Head(own)) == 2
        accepted(store.run(AppendAll((StreamAppend(other, (Noted("2"),)),), (Condition(own, 2),))))

    def test_a_reader_may_keep_a_snapshot_of_any_stream(
        self, store: Store, keeps_snapshots: None
    ) -> None:
        own = own_stream()
        keep(store, own, 1)
        kept = Snapshot(own, "sum", 1, 1, b"1")
        store.run(SaveSnapshot(kept))
        assert store.run(LoadSnapshot(own, "sum", 1)) == kept

    @in_moderation
    @given(
        history=st.lists(st.tuples(st.booleans(), st.integers(1, 4)), max_size=8),
        limit=st.integers(1, 6),
        whole=st.booleans(),
        types=st.none() | st.sampled_from([{"eventsrc.testing.noted"}, {"eventsrc/testing.kept"}]),
    )
    @example(history=[(True, 3), (False, 1)], limit=2, whole=False, types=None)
    @example(history=[(False, 1), (True, 3)], limit=2, whole=True, types=None)
    def test_the_feed_hides_the_librarys_own_streams_from_who_does_not_ask(
        self,
        store: Store,
        history: list[tuple[bool, int]],
        limit: int,
        whole: bool,
        types: set[str] | None,
    ) -> None:
        begin = end_of(store)
        for is_own, count in history:
            if is_own:
                keep(store, own_stream(), *range(count))
            else:
                filled(store, count)
        names = None if types is None else frozenset(types)
        end = end_of(store)
        assert (end > begin) == bool(history), "events that are hidden have positions in the feed, too"
        all_events = read_to(store, ReadFeed(begin, limit, "", names, whole, True), end)
        shown = read_to(store, ReadFeed(begin, limit, "", names, whole), end)
        wanted = [Noted if not is_own else Kept for is_own, count in history for _ in range(count)]
        if names is not None:
            wanted = [cls for cls in wanted if (cls is Noted) == ("eventsrc.testing.noted" in names)]
        assert [type(recorded.data) for recorded in all_events] == wanted
        visible = [each for each in all_events if not each.stream.startswith("eventsrc/")]
        assert [(e.stream, e.version) for e in shown] == [(e.stream, e.version) for e in visible]

    def test_a_prefix_of_the_librarys_own_asks_for_them(self, store: Store) -> None:
        own, begin = own_stream(), end_of(store)
        keep(store, own, 1, 2)
        filled(store, 1)
        for prefix in ("eventsrc/", "eventsrc/contract/"):
            found = feed_of(store, begin, prefix=prefix)
            assert [(e.stream, e.data) for e in found] == [(own, Kept(1)), (own, Kept(2))]

    @pytest.mark.parametrize("bad", [None, 1, "yes"])
    def test_all_streams_is_true_or_false(self, store: Store, bad: Any) -> None:
        with pytest.raises(TypeError, match="all_streams is"):
            store.run(ReadFeed(all_streams=bad))

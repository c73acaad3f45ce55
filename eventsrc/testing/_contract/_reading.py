"""Tests of reading: streams page by page, and the feed, all events in one order."""

from __future__ import annotations

from itertools import chain, takewhile
from typing import Any, Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from returns.result import Failure

from eventsrc.events.event import Opaque
from eventsrc.events.positions import START, BadCursor, Cursor, Token, WrongStore
from eventsrc.events.stream_id import StreamId
from eventsrc.programs.program import Outcome
from eventsrc.stores.newest import newest
from eventsrc.stores.operations import (
    MAX_PAGE,
    MAX_PAGE_BYTES,
    Append,
    AppendAll,
    Appended,
    Condition,
    Conflict,
    FeedPage,
    Head,
    Page,
    Read,
    ReadFeed,
    StreamAppend,
)
from eventsrc.testing._contract._shared import (
    HISTORIES,
    ContractPart,
    Store,
    accepted,
    append,
    but,
    end_of,
    feed_of,
    filled,
    fresh,
    id_of,
    in_moderation,
    left_alone,
    new_family,
    pages_back,
    pages_of,
    read_all,
    refusal,
    reprs,
)
from eventsrc.testing._contract.samples import HOSTILE_NAMES, Counted, Noted
from eventsrc.testing._strategies import batches

MIB: Final = 2**20


def is_bounded(page: Page[Any] | FeedPage[Any] | Conflict) -> bool:
    """Whether a page is no larger than pages are."""
    data = sum(len(recorded.record.data) for recorded in page.events)
    return len(page.events) <= 1 or data <= MAX_PAGE_BYTES


class Reading(ContractPart):
    """Tests of reading: streams page by page, and the feed, all events in one order."""

    # --- reading a stream -----------------------------------------------------------------------------

    @in_moderation
    @given(history=st.lists(batches(), max_size=4), limit=st.integers(1, 14), data=st.data())
    def test_a_page_is_the_events_after_a_version(
        self, store: Store, history: list[tuple[object, ...]], limit: int, data: st.DataObject
    ) -> None:
        stream = fresh()
        for batch in history:
            accepted(store.run(Append(stream, batch)))
        stored = [event for batch in history for event in batch]
        head = len(stored)
        after = data.draw(st.integers(0, head + 1))
        page = store.run(Read(stream, after, limit))
        assert reprs(page.events) == reprs(read_all(store, stream))[after : after + limit]
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
            assert asked.token == Token(id_of(store), {stream: head}, end_of(store).epoch)
            assert [asked.events[i].record for i in range(len(asked.events))] == [
                read_all(store, stream)[e.version - 1].record for e in asked.events
            ]

    @pytest.mark.parametrize("limit", [*range(1, 9), MAX_PAGE])
    def test_a_stream_is_read_page_by_page_at_any_limit(self, store: Store, limit: int) -> None:
        stream = filled(store, 7)
        forwards: list[str] = []
        backwards: list[str] = []
        for way, seen in ((False, forwards), (True, backwards)):
            after = 0
            while True:
                page = store.run(Read(stream, after, limit, backwards=way))
                seen += [recorded.data.text for recorded in page.events]
                if page.is_last:
                    break
                after = page.events[-1].version
        assert forwards == ["1", "2", "3", "4", "5", "6", "7"]
        assert backwards == forwards[::-1]

    @pytest.mark.parametrize("backwards", [False, True])
    def test_a_stream_that_does_not_exist_is_empty(self, store: Store, backwards: bool) -> None:
        stream = fresh()
        page = store.run(Read(stream, backwards=backwards))
        assert (page.events, page.head, dict(page.token.versions)) == ((), 0, {stream: 0})
        assert store.run(Head(stream)) == 0

    @pytest.mark.parametrize("after", [4, 5, 6, 1000, 2**63 - 1])
    def test_a_version_beyond_the_head_has_all_events_before_it_and_none_after(
        self, store: Store, after: int
    ) -> None:
        stream = filled(store, 4)
        assert store.run(Read(stream, after)).events == ()
        came = store.run(Read(stream, after, backwards=True)).events
        assert [recorded.version for recorded in came] == [4, 3, 2, 1][max(5 - after, 0) :]

    def test_a_page_holds_8_mib_of_data_at_most_or_one_event(self, store: Store) -> None:
        stream, begin = fresh(), end_of(store)
        sizes = [3 * MIB, 3 * MIB, 3 * MIB, 1, 9 * MIB, 1]
        for size in sizes:
            append(store, stream, "x" * size)
        for backwards, whole in ((False, True), (False, False), (True, True)):
            pages: list[Page[Any]] = []
            while not pages or not pages[-1].is_last:
                after = pages[-1].events[-1].version if pages else 0
                pages.append(store.run(Read(stream, after, backwards=backwards, whole=whole)))
                assert (pages[-1].head, pages[-1].token[stream]) == (len(sizes), len(sizes))
            found = [event for page in pages for event in page.events]
            assert [len(event.data.text) for event in found] == sizes[:: -1 if backwards else 1]
            assert all(map(is_bounded, pages))
            assert len(pages) < len(sizes)
        family = stream.rpartition("/")[0] + "/"
        for asked in (
            ReadFeed(begin),
            ReadFeed(begin, whole=False),
            ReadFeed(begin, prefix=family),
            ReadFeed(begin, types=frozenset({"eventsrc.testing.noted"})),
        ):
            parts = [store.run(asked)]
            while parts[-1].next < parts[-1].end:
                parts.append(store.run(but(asked, after=parts[-1].next)))
            assert [len(e.data.text) for part in parts for e in part.events] == sizes
            assert all(map(is_bounded, parts))
        back = [*pages_back(store, until=begin, limit=6)]
        newest_first = [event for page in back for event in page.events]
        assert [len(e.data.text) for e in newest_first[: len(sizes)]] == sizes[::-1]
        assert all(map(is_bounded, back))
        conflict = refusal(store.run(Append(stream, (Noted("new"),), 1)))
        assert isinstance(conflict, Conflict)
        assert conflict.actual == len(sizes)
        assert conflict.events
        assert is_bounded(conflict)
        versions = [event.version for event in conflict.events]
        assert versions == [*range(2, 2 + len(versions))]

    @pytest.mark.parametrize("limit", range(1, 5))
    def test_a_page_says_whether_it_is_the_last(self, store: Store, limit: int) -> None:
        stream = filled(store, 3)
        for after in range(5):
            page = store.run(Read(stream, after, limit, whole=False))
            assert page.is_last == (after + limit >= 3)
            back = store.run(Read(stream, after, limit, backwards=True))
            assert back.is_last == ((min(after - 1, 3) if after else 3) <= limit)

    # --- reading the feed -----------------------------------------------------------------------------

    def test_the_feed_has_all_events_in_the_order_of_their_appends(self, store: Store) -> None:
        family, begin = new_family(), end_of(store)
        asked = [(StreamId(f"{family}/{n % 3}"), (Noted(f"{n}"), Noted(f"{n}'"))) for n in range(12)]
        cursors = [accepted(store.run(Append(*one))).cursor for one in asked]
        came = feed_of(store, begin)
        assert [(e.stream, e.data) for e in came] == [(s, e) for s, both in asked for e in both]
        positions = [recorded.position for recorded in came]
        assert positions == sorted(set(positions))
        for number, cursor in enumerate(cursors, 1):
            assert feed_of(store, cursor) == came[2 * number :]

    def test_the_feed_begins_at_start_in_every_store(self, store: Store) -> None:
        stream = filled(store, 3)
        everything = feed_of(store, START)
        assert [recorded.stream for recorded in everything[-3:]] == [stream] * 3
        assert feed_of(store, Cursor.parse(str(START))) == everything
        first = store.run(ReadFeed()).events
        assert first
        assert first == tuple(everything[: len(first)])

    def test_the_feed_can_be_resumed_from_every_cursor_at_any_limit(self, store: Store) -> None:
        family, begin = new_family(), end_of(store)
        for number, size in enumerate((1, 3, 1, 2)):
            append(store, StreamId(f"{family}/{number % 2}"), *"abc"[:size])
        everything = feed_of(store, begin)
        assert len(everything) == 7
        cursors = [begin, *(page.next for page in pages_of(store, begin, limit=1))]
        assert len(set(cursors)) == 8
        for limit in range(1, 9):
            for place, cursor in enumerate(cursors):
                pages = [*pages_of(store, Cursor.parse(str(cursor)), limit)]
                assert [event for page in pages for event in page.events] == everything[place:]
                assert all(len(page.events) == limit for page in pages[:-1])
                assert {page.end for page in pages} == {cursors[-1]} == {pages[-1].next}

    def test_a_feed_whose_data_alone_is_read_has_the_same_events(self, store: Store) -> None:
        begin = end_of(store)
        for _ in range(3):
            filled(store, 2)
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
        stream, begin = filled(store, 2), end_of(store)
        for cursor in (begin, store.run(ReadFeed(begin)).next, Cursor.parse(str(begin))):
            page = store.run(ReadFeed(cursor))
            assert (page.events, page.next, page.end) == ((), begin, begin)
        answer = append(store, stream, "later")
        assert [recorded.data.text for recorded in feed_of(store, begin)] == ["later"]
        assert end_of(store) == answer.cursor

    @in_moderation
    @given(
        history=HISTORIES,
        limit=st.integers(1, 12),
        under=st.sampled_from(["", "a/", "b/", "ab/", "a/a/", "none/"]),
        types=st.none() | st.frozensets(st.sampled_from(["noted", "counted", "held", "renamed", "x"])),
    )
    @example(history=[("a", (Noted("1"), Counted(2)))], limit=1, under="", types=frozenset({"noted"}))
    def test_the_feed_can_be_filtered(
        self,
        store: Store,
        history: list[tuple[str, tuple[object, ...]]],
        limit: int,
        under: str,
        types: frozenset[str] | None,
    ) -> None:
        family, begin = new_family(), end_of(store)
        for number, (name, batch) in enumerate(history):
            place = f"{name}/{name}" if number % 2 else f"{name}{'b' * (number % 3)}/x"
            accepted(store.run(Append(StreamId(f"{family}/{place}"), batch)))
        prefix = f"{family}/{under}"
        names = None if types is None else frozenset(f"eventsrc.testing.{name}" for name in types)
        pages = [*pages_of(store, begin, limit, prefix, names)]
        wanted = [
            recorded
            for recorded in feed_of(store, begin)
            if recorded.stream.startswith(prefix) and (names is None or recorded.type in names)
        ]
        assert [recorded for page in pages for recorded in page.events] == wanted
        assert all(len(page.events) <= limit for page in pages)
        back = [*pages_back(store, limit=limit, prefix=prefix, types=names)]
        assert [recorded for page in back for recorded in page.events] == wanted[::-1]
        assert all(len(page.events) <= limit for page in back)

    def test_the_feed_goes_back_from_every_cursor_to_its_beginning(self, store: Store) -> None:
        begin = end_of(store)
        cursors = [begin, *(append(store, filled(store, 1), "x").cursor for _ in range(3))]
        came = feed_of(store, begin)
        for number, cursor in enumerate(cursors):
            for limit in (1, 2, 500):
                pages = pages_back(store, Cursor.parse(str(cursor)), begin, limit=limit)
                back = chain.from_iterable(page.events for page in pages)
                new = takewhile(lambda event: event.position > begin.position, back)
                assert [*new] == came[: 2 * number][::-1]
        *_, first = chain.from_iterable(page.events for page in pages_back(store))
        assert first == next(chain.from_iterable(page.events for page in pages_of(store, START, 1)))

    def test_the_end_of_a_family_is_its_newest_event(self, store: Store) -> None:
        family = new_family()
        of_it = append(store, StreamId(f"{family}/a"), "1", "2").cursor
        end = append(store, fresh(), "later").cursor
        page = store.run(newest(limit=1, prefix=f"{family}/"))
        assert [event.position for event in page.events] == [of_it.position]
        assert page.end == end
        assert feed_of(store, page.next, prefix=f"{family}/") == [*page.events]
        assert store.run(newest(prefix=f"{family}/", limit=1, types=frozenset())).events == ()
        assert store.run(newest(START)).events == ()

    def test_events_of_types_with_odd_names_are_kept_apart(self, store: Store) -> None:
        stream, begin = fresh(), end_of(store)
        names = [*HOSTILE_NAMES, "x" * 512, "\U0001f469" * 128, "Shop.Orders.Placed`1, Shop"]
        odd = tuple(Opaque(f"{name}", 1, "json", b"{}") for name in names)
        accepted(store.run(Append(stream, odd)))
        assert [event.opaque() for event in read_all(store, stream)] == [*odd]
        for version, name in enumerate(names, 1):
            [*pages] = pages_of(store, begin, types=frozenset({name}))
            assert [event.version for page in pages for event in page.events] == [version]

    def test_a_prefix_is_a_family_and_not_the_beginning_of_a_name(self, store: Store) -> None:
        family, begin = new_family(), end_of(store)
        names = ["users", "users/1", "users/1/profile", "users/é", "users0", "usersx/1", "user/s"]
        for name in [*names, "Users/1", "users /1", "users\u0301/1", "users./1", "x/users/1"]:
            append(store, StreamId(f"{family}/{name}"), name)
        for prefix, wanted in (
            ("users/", ["users/1", "users/1/profile", "users/é"]),
            ("users/1/", ["users/1/profile"]),
            ("users/1/profile/", []),
            ("usersx/", ["usersx/1"]),
            ("Users/", ["Users/1"]),
            ("users /", ["users /1"]),
            ("USERS/", []),
        ):
            came = feed_of(store, begin, prefix=f"{family}/{prefix}")
            assert [recorded.data.text for recorded in came] == wanted

    def test_next_goes_on_after_events_that_are_filtered_out(self, store: Store) -> None:
        family, begin = new_family(), end_of(store)
        wanted, other = StreamId(f"{family}/yes/1"), StreamId(f"{family}/no/1")
        append(store, wanted, "1")
        append(store, other, *map(str, range(30)))
        end = append(store, other, "last").cursor
        none = frozenset[str]()
        for prefix, types in ((f"{family}/yes/", None), ("", none), (f"{family}/none/", none)):
            *_, last = pages_of(store, begin, 10, prefix, types)
            assert last.next == last.end == end
        append(store, wanted, "2")
        assert [e.data.text for e in feed_of(store, end, prefix=f"{family}/yes/")] == ["2"]

    def test_a_cursor_of_another_store_is_refused(self, store: Store) -> None:
        filled(store, 3)
        elsewhere = Cursor(f"not-{id_of(store)}", 1)
        with pytest.raises(WrongStore, match=str(elsewhere)):
            store.run(ReadFeed(elsewhere))
        with pytest.raises(WrongStore, match=str(elsewhere)):
            store.run(newest(elsewhere))
        beyond = Cursor(id_of(store), 2**40, end_of(store).epoch)
        for asked in (ReadFeed(beyond), newest(beyond)):
            with pytest.raises(BadCursor, match="beyond the end"):
                store.run(asked)

    def test_a_token_of_another_store_is_refused(self, store: Store) -> None:
        stream, other = filled(store, 1), fresh()
        elsewhere = Token(f"not-{id_of(store)}", {stream: 1})
        part = StreamAppend(other, (Noted("new"),))
        with left_alone(store, stream, other):
            for asked in self.claimed(
                Append(stream, (Noted("new"),), elsewhere),
                AppendAll((part, StreamAppend(stream, (Noted("new"),), elsewhere))),
                AppendAll((part,), (Condition(stream, elsewhere),)),
            ):
                with pytest.raises(WrongStore, match=f"not-{id_of(store)}"):
                    store.run(asked)

    @pytest.mark.usefixtures("appends_to_several")
    def test_an_append_to_several_streams_can_depend_on_a_token_of_them_all(self, store: Store) -> None:
        one, two, read = fresh(), fresh(), fresh()
        token = append(store, one, "1").token | append(store, two, "1", "2").token
        token |= append(store, read, "1").token

        def asked() -> Outcome[Appended, Any]:
            parts = tuple(StreamAppend(stream, (Noted("new"),), token) for stream in (one, two))
            return store.run(AppendAll(parts, (Condition(read, token),)))

        appended = asked().unwrap()
        assert dict(appended.token.versions) == {one: 2, two: 3}
        token |= appended.token
        append(store, read, "2")
        match asked():
            case Failure(Conflict(stream=stream, expected=expected, actual=actual)):
                assert (stream, expected, actual) == (read, 1, 2)
            case answer:
                pytest.fail(f"it was appended, or {answer}")
        assert append(store, one, "3").version == 3

    def test_cursors_and_tokens_survive_as_text(self, store: Store) -> None:
        answer = append(store, fresh(), "1", "2")
        assert Cursor.parse(str(answer.cursor)) == answer.cursor
        assert Token.parse(str(answer.token)) == answer.token
        assert answer.cursor.store_id == answer.token.store_id == id_of(store)
        assert end_of(store).store_id == id_of(store)

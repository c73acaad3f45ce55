"""Tests of every operation, each in all its ways, while others append."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from itertools import product
from typing import Any
from uuid import UUID, uuid4

import attrs
import pytest
from returns.result import Success

from eventsrc.events.positions import Cursor
from eventsrc.events.recorded import Recorded
from eventsrc.events.stream_id import StreamId
from eventsrc.programs.program import Outcome
from eventsrc.stores.operations import (
    ANY,
    NO_STREAM,
    Append,
    AppendAll,
    Appended,
    Condition,
    Conflict,
    Expected,
    FindAppend,
    Head,
    LoadSnapshot,
    NotAppended,
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
    left_alone,
    new_family,
    refusal,
    texts_of,
)
from eventsrc.testing._contract.history import check_reads
from eventsrc.testing._contract.samples import Counted, Noted

ROUNDS = 40


class Together(ContractPart):
    """Tests of every operation, each in all its ways, while others append."""

    @pytest.mark.usefixtures("appends_to_several")
    @pytest.mark.parametrize("demand", [0, NO_STREAM, "token"], ids=str)
    def test_of_two_that_each_depend_on_what_the_other_appends_one_is_stored(
        self, store: Store, threads: Callable[..., None], demand: Any
    ) -> None:
        for _ in range(ROUNDS):
            one, two = filled(store, 1), filled(store, 1)
            expected: dict[StreamId, Expected] = {
                stream: store.run(Read(stream)).token if demand == "token" else 1
                for stream in (one, two)
            }
            if demand is NO_STREAM:
                one, two = fresh(), fresh()
                expected = {one: NO_STREAM, two: NO_STREAM}
            answers: list[Outcome[Appended, NotAppended]] = []

            def write(to: StreamId, read: StreamId, expected: Any, answers: Any) -> None:
                part = StreamAppend(to, (Noted("decided"),), ANY)
                answers.append(store.run(AppendAll((part,), (Condition(read, expected[read]),))))

            threads(
                lambda one=one, two=two, e=expected, a=answers: write(one, two, e, a),
                lambda one=one, two=two, e=expected, a=answers: write(two, one, e, a),
            )
            stored = [answer for answer in answers if isinstance(answer, Success)]
            assert len(stored) == 1, "each of two decided on what the other has changed"
            (other,) = (answer for answer in answers if answer not in stored)
            assert isinstance(refusal(other), Conflict)

    @pytest.mark.usefixtures("appends_to_several")
    @pytest.mark.parametrize("expected", [ANY, 0], ids=str)
    def test_an_append_to_several_streams_is_stored_once_whoever_tries_again(
        self, store: Store, threads: Callable[..., None], expected: Expected
    ) -> None:
        read = filled(store, 1)
        for conditions in ((), (Condition(read, 1),)) * 5:
            streams = [fresh(), fresh(), fresh()]
            parts = tuple(StreamAppend(stream, (Noted("once"),), expected) for stream in streams)
            asked = AppendAll(parts, conditions, uuid4())
            answers: list[Outcome[Appended, NotAppended]] = []
            threads(*[lambda asked=asked, to=answers: to.append(store.run(asked))] * 6)
            append(store, streams[0], "later")
            with left_alone(store, *streams):
                answers.append(store.run(asked))
            assert [texts_of(store, stream) for stream in streams[1:]] == [["once"], ["once"]]
            assert texts_of(store, streams[0]) == ["once", "later"]
            assert len({str(accepted(answer).cursor) for answer in answers}) == 1
            assert answers == [answers[0]] * 7

    def test_every_read_of_a_stream_sees_one_moment_while_others_append(
        self, store: Store, threads: Callable[..., None]
    ) -> None:
        stream, done = fresh(), threading.Event()
        ways = [*product((False, True), (True, False), (3, 10_000))]
        reads: dict[Any, list[list[str]]] = {way: [] for way in ways}
        pages = Counter[Any]()

        def write() -> None:
            try:
                for n in range(1000):
                    append(store, stream, f"{n}", f"{n}'")
                    if n > 30 and all(pages[way] > 10 for way in ways):
                        break
            finally:
                done.set()

        def read(*ways: tuple[bool, bool, int]) -> None:
            is_last = False
            while not is_last:
                is_last = done.is_set()
                for way in ways:
                    backwards, whole, limit = way
                    page = store.run(Read(stream, 0, limit, backwards, whole))
                    pages[way] += 1
                    texts = [event.data.text for event in page.events]
                    assert page.head == page.token[stream]
                    assert page.head % 2 == 0, "half of an append was seen"
                    assert len(texts) == min(limit, page.head), "its head is of another moment"
                    assert page.is_last == (len(texts) == page.head)
                    newest = page.head if backwards else len(texts)
                    assert [event.version for event in page.events] == (
                        [*range(newest, newest - len(texts), -1)]
                        if backwards
                        else [*range(1, newest + 1)]
                    )
                    if limit == 10_000:
                        reads[way].append(texts[:: -1 if backwards else 1])

        threads(write, *[lambda way=way: read(*ways[way::4]) for way in range(4)])
        final = texts_of(store, stream)
        for seen in reads.values():
            assert check_reads(seen, final) == []

    def test_every_reading_of_the_feed_skips_nothing_while_others_append(
        self, store: Store, threads: Callable[..., None]
    ) -> None:
        family, begin = new_family(), end_of(store)
        streams = [StreamId(f"{family}/{name}/{n}") for n in range(2) for name in "ab"]
        writing = [object()] * 3
        noted, prefix = frozenset({"eventsrc.testing.noted"}), f"{family}/a/"
        ways = [
            ReadFeed(begin, 1, prefix),
            ReadFeed(begin, 500, prefix, whole=False),
            ReadFeed(begin, 7, types=noted, whole=False),
            ReadFeed(begin, 500, types=noted, all_streams=True),
            ReadFeed(begin, 500, prefix, noted),
            ReadFeed(begin, 7, prefix, noted, all_streams=True),
            ReadFeed(begin, 1, whole=False, all_streams=True),
            ReadFeed(begin, 500, whole=False),
        ]
        delivered: dict[int, list[Recorded[Any]]] = {number: [] for number in range(len(ways))}

        def write(writer: int) -> None:
            try:
                for number in range(40):
                    batch = (Noted("x"), Counted(number), Noted("y"))[: 1 + number % 3]
                    accepted(store.run(Append(streams[(writer + number) % 4], batch)))
            finally:
                writing.pop()

        def follow(*numbers: int) -> None:
            at = {number: ways[number] for number in numbers}
            is_last = False
            while not is_last:
                is_last = not writing
                for number, asked in at.items():
                    while True:
                        page = store.run(asked)
                        assert asked.after <= page.next <= page.end
                        delivered[number] += page.events
                        asked = _after(asked, page.next)
                        if page.next == page.end:
                            break
                    at[number] = asked

        threads(
            *[lambda writer=writer: write(writer) for writer in range(3)],
            *[lambda n=n: follow(n, n + 1) for n in range(0, len(ways), 2)],
        )
        final = feed_of(store, begin)
        for number, asked in enumerate(ways):
            wanted = [
                (event.stream, event.version, event.data)
                for event in final
                if event.stream.startswith(asked.prefix)
                and (asked.types is None or event.type in asked.types)
            ]
            came = [(event.stream, event.version, event.data) for event in delivered[number]]
            assert came == wanted, f"{asked} has skipped something, or repeated it"

    @pytest.mark.usefixtures("keeps_snapshots")
    def test_of_snapshots_that_are_saved_at_once_the_newest_is_kept(
        self, store: Store, threads: Callable[..., None]
    ) -> None:
        for _ in range(10):
            stream = fresh()
            seen: list[int] = []

            def save(stream: StreamId, *versions: int) -> None:
                for version in versions:
                    store.run(SaveSnapshot(Snapshot(stream, "total", 1, version, b"%d" % version)))

            def load(stream: StreamId, seen: list[int]) -> None:
                for _ in range(10):
                    kept = store.run(LoadSnapshot(stream, "total", 1))
                    if kept is not None:
                        assert kept.data == b"%d" % kept.version
                        seen.append(kept.version)

            threads(
                *[lambda stream=stream, n=n: save(stream, n, n + 4, n + 8) for n in range(1, 5)],
                lambda stream=stream, seen=seen: load(stream, seen),
            )
            assert seen == sorted(seen), "an older one has replaced a newer one"
            kept = store.run(LoadSnapshot(stream, "total", 1))
            assert kept is not None
            assert kept.version == 12

    @pytest.mark.usefixtures("finds_appends")
    def test_an_append_that_is_found_can_be_read(
        self, store: Store, threads: Callable[..., None]
    ) -> None:
        stream, ids = fresh(), [uuid4() for _ in range(40)]

        done = threading.Event()

        def write() -> None:
            try:
                for append_id in ids:
                    append(store, stream, "a", "b", append_id=append_id)
            finally:
                done.set()

        def find(wanted: list[UUID]) -> None:
            for append_id in wanted:
                is_last = False
                while (found := store.run(FindAppend(append_id))) is None:
                    assert not is_last, "it is not found"
                    is_last = done.is_set()
                assert store.run(Head(stream)) >= found.version
                page = store.run(Read(stream, found.version - 2, 2))
                assert [event.append_id for event in page.events] == [append_id] * 2
                assert store.run(ReadFeed(_before(found.cursor), 1)).events == page.events[1:]

        threads(write, lambda: find(ids[::2]), lambda: find(ids[1::2]))


def _after(asked: ReadFeed, cursor: Cursor) -> ReadFeed:
    return attrs.evolve(asked, after=Cursor.parse(str(cursor)))  # type: ignore[misc]


def _before(cursor: Cursor) -> Cursor:
    return attrs.evolve(cursor, position=cursor.position - 1)

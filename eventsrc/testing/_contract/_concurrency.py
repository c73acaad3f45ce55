"""Tests of many threads and tasks at once."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from returns.result import Success

from eventsrc.events.positions import Cursor
from eventsrc.events.recorded import Recorded
from eventsrc.events.stream_id import StreamId
from eventsrc.programs.program import Outcome
from eventsrc.stores.operations import (
    CONFLICT_EVENTS,
    MAX_PAGE,
    Append,
    AppendAll,
    Appended,
    Conflict,
    FindAppend,
    Head,
    NotAppended,
    Read,
    StreamAppend,
)
from eventsrc.testing._contract._shared import (
    ContractPart,
    Store,
    accepted,
    append,
    end_of,
    feed_of,
    fresh,
    new_family,
    pages_of,
    read_all,
    texts_of,
    timed,
)
from eventsrc.testing._contract.history import Attempt, Look, check_feed, check_reads, check_stream
from eventsrc.testing._contract.samples import Counted, Noted


class Concurrency(ContractPart):
    """Tests of many threads and tasks at once."""

    def test_appends_to_a_hot_stream_are_linearizable(
        self, store: Store, threads: Callable[..., None]
    ) -> None:
        stream = fresh()
        attempts: list[Attempt] = []
        looks: list[Look] = []

        def write(writer: int) -> None:
            version = 0
            stored = 0
            for attempt in itertools.count():
                batch = tuple(Noted(f"{writer}/{attempt}/{n}") for n in range(1 + attempt % 3))
                answer, began, ended = timed(store, Append(stream, batch, version))
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
                head, began, ended = timed(store, Head(stream))
                looks.append(Look(began, ended, head))

        threads(*[lambda writer=writer: write(writer) for writer in range(8)], look, look)
        final = texts_of(store, stream)
        assert check_stream(stream, attempts, final, looks) == []
        acknowledged = [a for a in attempts if isinstance(a.answer, Appended)]
        assert len(final) == sum(len(attempt.brought) for attempt in acknowledged)
        assert [recorded.version for recorded in read_all(store, stream)] == [*range(1, len(final) + 1)]

    def test_unconditional_appends_from_many_threads_are_all_stored(
        self, store: Store, threads: Callable[..., None]
    ) -> None:
        streams, begin = [fresh(), fresh()], end_of(store)
        attempts: dict[StreamId, list[Attempt]] = {stream: [] for stream in streams}

        def write(writer: int) -> None:
            for number in range(20):
                stream = streams[number % 2]
                batch = tuple(Noted(f"{writer}/{number}/{n}") for n in range(1 + number % 3))
                answer, began, ended = timed(store, Append(stream, batch))
                brought = tuple(event.text for event in batch)
                attempts[stream].append(Attempt(began, ended, brought, accepted(answer)))

        threads(*[lambda writer=writer: write(writer) for writer in range(8)])
        for stream in streams:
            assert check_stream(stream, attempts[stream], texts_of(store, stream)) == []
        heads = {stream: (1, store.run(Head(stream))) for stream in streams}
        assert sum(last for _, last in heads.values()) == 8 * (7 * 1 + 7 * 2 + 6 * 3)
        assert check_feed(feed_of(store, begin), heads) == []

    def test_one_append_id_from_many_threads_is_stored_once(
        self, store: Store, threads: Callable[..., None]
    ) -> None:
        for _ in range(10):
            stream, append_id = fresh(), uuid4()
            answers: list[Outcome[Appended, NotAppended]] = []
            asked = Append(stream, (Noted("once"), Noted("only")), append_id=append_id)
            threads(*[lambda asked=asked, to=answers: to.append(store.run(asked))] * 6)
            assert texts_of(store, stream) == ["once", "only"]
            assert answers == [answers[0]] * 6
            if self.finding:
                assert answers[0] == Success(store.run(FindAppend(append_id)))

    @pytest.mark.usefixtures("appends_to_several")
    def test_an_append_to_several_streams_is_seen_in_all_or_in_none(
        self, store: Store, threads: Callable[..., None]
    ) -> None:
        one, two, done = fresh(), fresh(), threading.Event()

        def write() -> None:
            try:
                for n in range(60):
                    parts = (StreamAppend(one, (Counted(n),), n), StreamAppend(two, (Counted(n),), n))
                    accepted(store.run(AppendAll(parts)))
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
        stream, done = fresh(), threading.Event()
        reads: dict[bool, list[list[str]]] = {False: [], True: []}

        def write() -> None:
            try:
                for n in range(60):
                    append(store, stream, f"{n}", f"{n}'")
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
        final = texts_of(store, stream)
        for seen in reads.values():
            assert check_reads(seen, final) == []
            assert seen[-1] == final

    def test_the_feed_skips_nothing_while_others_append(
        self, store: Store, threads: Callable[..., None]
    ) -> None:
        family, begin = new_family(), end_of(store)
        streams = [StreamId(f"{family}/{number}") for number in range(4)]
        writing = [object()] * 4
        delivered: dict[int, list[Recorded[Any]]] = {1: [], 7: [], 500: []}

        def write(writer: int) -> None:
            try:
                for number in range(20):
                    stream, other = streams[(writer + number) % 4], streams[(writer + number + 1) % 4]
                    if number % 4 or not self.several:
                        append(store, stream, *"abc"[: 1 + number % 3])
                    else:
                        parts = (
                            StreamAppend(stream, (Noted("x"),)),
                            StreamAppend(other, (Noted("y"),)),
                        )
                        accepted(store.run(AppendAll(parts)))
            finally:
                writing.pop()

        def follow(limit: int) -> None:
            cursor, is_last = begin, False
            while not is_last:
                is_last = not writing
                for page in pages_of(store, Cursor.parse(str(cursor)), limit):
                    delivered[limit] += page.events
                    cursor = page.next

        threads(
            *[lambda writer=writer: write(writer) for writer in range(4)],
            *[lambda limit=limit: follow(limit) for limit in delivered],
        )
        heads = {stream: (1, store.run(Head(stream))) for stream in streams}
        final = feed_of(store, begin)
        for came in delivered.values():
            assert check_feed(came, heads) == []
            assert came == final, "the order has changed"

    @pytest.mark.usefixtures("threads")
    def test_appends_from_many_tasks_are_all_stored(self, store: Store) -> None:
        stream = fresh()

        async def everybody() -> list[Outcome[Appended, NotAppended]]:
            asked = [Append(stream, (Noted(f"{n}"),)) for n in range(40)]
            return await asyncio.gather(*map(store.run_async, asked))

        answers = asyncio.run(everybody())
        assert sorted(accepted(answer).version for answer in answers) == [*range(1, 41)]
        stored = texts_of(store, stream)
        assert [stored[accepted(answer).version - 1] for answer in answers] == [*map(str, range(40))]

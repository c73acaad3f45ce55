"""Remembered states: the answers are those of the store, and no event is read twice."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventsrc import (
    Fold,
    Interpreter,
    MemoryStore,
    Outcome,
    Read,
    Snapshots,
    SqliteStore,
    Stream,
    Success,
    on,
    trace,
    world,
)
from eventsrc.errors import MissingHandlers
from eventsrc.programs.operation import Operation
from eventsrc.programs.program import intercept
from eventsrc.stores.operations import Page, StoreOp
from eventsrc.streams.decide import Decided
from eventsrc.streams.fold import LATEST_SNAPSHOT, PAGE
from eventsrc.streams.remembering import remembering
from tests.kits.counting import Counted, Counting, Reset, counter, total

events = st.builds(Counted, st.integers(1, 9)) | st.builds(Reset)
streams = [Stream[Counting](name, events=Counted | Reset) for name in ("a", "b", "c")]
kept: Fold[int, Counting] = attrs.evolve(total, snapshots=Snapshots("total", of=int, every=3))
tripled: Fold[int, Counting] = Fold(0, lambda so_far, _: so_far + 3)


def one_more(so_far: int) -> Outcome[Sequence[Counting], str]:
    return Success([Counted()])


def reads(operations: Sequence[Operation[object]]) -> list[int]:
    return [op.after for op in operations if isinstance(op, Read)]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(streams),
            st.lists(events, max_size=3),
            st.sampled_from([total, kept, tripled]),
            st.sampled_from(["get", "at", "decide"]),
        ),
        max_size=20,
    ),
    st.integers(1, 3),
)
def test_the_answers_are_those_of_the_store_with_appends_by_others_in_between(
    steps: list[tuple[Stream[Counting], list[Counting], Fold[int, Counting], str]], states: int
) -> None:
    store = MemoryStore()
    cached = remembering(store, states)
    for stream, by_others, fold, how in steps:
        if by_others:
            store.run(stream.append(*by_others))
        if how == "decide":
            decided = (cached | world).run(stream.decide(fold, one_more)).unwrap()
            assert decided.state == store.run(stream.get(attrs.evolve(fold, snapshots=None))).state
        elif how == "at":
            version = store.run(stream.head()) // 2
            assert cached.run(stream.at(fold, version)) == store.run(stream.at(fold, version))
        plain = store.run(stream.get(attrs.evolve(fold, snapshots=None)))
        assert cached.run(stream.get(fold)) == plain


def test_a_second_load_reads_on_from_the_version_that_is_held() -> None:
    store = MemoryStore()
    cached = remembering(store)
    store.run(counter.append(*[Counted()] * 1500))
    assert reads(trace(cached, counter.get(total)).operations()) == [0, PAGE]
    store.run(counter.append(Counted()))
    assert reads(trace(cached, counter.get(total)).operations()) == [1500]
    assert reads(trace(store, counter.get(total)).operations()) == [0, PAGE]  # the control


def test_decisions_read_on_too() -> None:
    store = MemoryStore()
    app = remembering(store) | world
    store.run(counter.append(*[Counted()] * 50))
    for version in (50, 50, 51):
        traced = trace(app, counter.decide(total, one_more))
        (first, *_) = reads(traced.operations())
        assert first in (0, version)
    assert store.run(counter.head()) == 53


def test_the_least_recently_used_state_is_dropped() -> None:
    store = MemoryStore()
    cached = remembering(store, states=2)
    for stream in streams:
        store.run(stream.append(Counted()))
    a, b, c = streams
    for stream in (a, b, a, c):
        cached.run(stream.get(total))
    assert [reads(trace(cached, s.get(total)).operations()) for s in (a, c, b)] == [[1], [1], [0]]


def test_a_state_ahead_of_the_stream_is_not_used() -> None:
    class Restored(Interpreter[Read]):
        lost = False

        @on(Read)
        def read(self, op: Read) -> Page[Any]:
            return (MemoryStore() if self.lost else whole).run(op)

    whole = MemoryStore()
    whole.run(counter.append(Counted(7)))
    restored = Restored()
    cached: Interpreter[StoreOp] = remembering(whole.but(restored))
    assert cached.run(counter.get(total)).state == 7
    restored.lost = True
    assert cached.run(counter.get(total)).state == 0


def test_an_intercepted_program_sees_reads_and_the_same_answers() -> None:
    store = MemoryStore()
    store.run(counter.append(Counted(3)))
    cached = remembering(store)
    assert cached.run(intercept(counter.get(total), lambda op: op)).state == 3


@pytest.mark.parametrize("states", [0, -1])
def test_to_remember_nothing_is_refused(states: int) -> None:
    with pytest.raises(ValueError, match="remember at least one"):
        remembering(MemoryStore(), states)


def test_what_cannot_load_cannot_remember() -> None:
    with pytest.raises(MissingHandlers, match="no handler for LoadSnapshot, SaveSnapshot"):
        remembering(on(Read).run(MemoryStore().read))


def test_threads_share_the_states_and_none_sees_a_state_older_than_its_own_append(
    tmp_path: object,
) -> None:
    wrong: list[Decided[int, Counting]] = []
    with SqliteStore(f"{tmp_path}/log.db") as store:
        app = remembering(store) | world

        def work() -> None:
            for _ in range(25):
                decided = app.run(counter.decide(total, one_more, within=30)).unwrap()
                folded = app.run(counter.get(total))
                if folded.version < decided.version or folded.state != folded.version:
                    wrong.append(decided)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert wrong == []
        assert app.run(counter.get(total)).state == 100


def test_tasks_share_the_states() -> None:
    async def work() -> int:
        store = MemoryStore()
        cached = remembering(store)
        store.run(counter.append(Counted(3)))
        folded = await asyncio.gather(*(cached.run_async(counter.get(total)) for _ in range(9)))
        assert {found.state for found in folded} == {3}
        store.run(counter.append(Counted(4)))
        return (await cached.run_async(counter.get(total))).state

    assert asyncio.run(work()) == 7


def test_the_newest_snapshot_is_that_of_the_store_whatever_is_remembered() -> None:
    store = MemoryStore()
    cached = remembering(store)
    store.run(counter.append(*[Counted()] * 3))
    cached.run(counter.get(kept))
    store.run(counter.append(Counted()))
    assert cached.run(counter.get(kept)).version == 4
    assert cached.run(counter.get(kept, LATEST_SNAPSHOT)).version == 3

"""Following: who follows a store is woken by its commits, and loses nothing where no call comes.

Passed if a follower whose listening connection is killed again and again sees every event long before
it would have looked by itself; and if one that polls an idle store asks one statement each time.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from eventsrc import (
    Append,
    Interpreter,
    MemoryStore,
    ReadFeed,
    Recorded,
    Sleep,
    SqliteStore,
    StoreOp,
    StreamId,
    View,
    follow,
    on,
    world,
)
from eventsrc.events.positions import Cursor
from eventsrc.following.waiting import LookOp, WaitForEvents, wait_for_events
from eventsrc.postgres import AsyncPostgresStore, PostgresListener, PostgresStore, PostgresViews
from eventsrc.postgres._connection import Session
from eventsrc.postgres._conversation import Rows, Statement
from eventsrc.postgres._policy import Connections, Dialogue
from eventsrc.programs.world import Elapsed
from eventsrc.stores.operations import NotAStore, StoreClosed
from tests.faults import scaled
from tests.kits.events import CODEC, TYPES, Tick
from tests.kits.proxy import Frozen, Proxy
from tests.postgres.test_held import ask
from tests.postgres.test_server import until

Connection = psycopg.Connection[Any]
LONG = 60.0
"""For longer than a test waits: what is seen before was called."""

LISTENERS = (
    "FROM pg_stat_activity WHERE application_name = 'eventsrc listener' AND state = 'idle' "
    "AND datname = current_database()"
)
KILL = f"SELECT pg_terminate_backend(pid) {LISTENERS}"


def tick(number: int) -> Append:
    return Append(StreamId("ticks"), (Tick(number, 0, 1),))


def seen_view(seen: list[int]) -> View[Connection]:
    """A view that tells what it is given."""
    view: View[Connection] = View("seen", types=TYPES)

    @view.on(Tick)
    def see(_: Connection, event: Recorded[Tick]) -> None:
        seen.append(event.data.batch)

    return view


@pytest.fixture
def store(postgres_dsn: str) -> Iterator[PostgresStore]:
    with PostgresStore(postgres_dsn, codec=CODEC) as store:
        yield store


class Stopped(Exception):
    """Raised by a handler to end a follower."""


def looking(app: Interpreter[LookOp]) -> Interpreter[WaitForEvents]:
    """Waits as the operation means: by looking again and again."""
    return on(WaitForEvents).run(lambda op: app.run(wait_for_events(op.after, op.within, op.every)))


@contextmanager
def following(
    dsn: str, store: PostgresStore, waiting: Interpreter[WaitForEvents], view: View[Connection]
) -> Iterator[threading.Event]:
    """A follower in a thread; it has begun to wait when the block begins."""
    began, over = threading.Event(), threading.Event()
    errors: list[BaseException] = []

    @on(WaitForEvents).run
    def wait(op: WaitForEvents) -> bool:
        if over.is_set():
            raise Stopped
        began.set()
        return waiting.run(WaitForEvents(op.after, LONG))

    def keep_following() -> None:
        with PostgresViews(dsn) as views:
            try:
                (store | views | wait | world).run(follow(view, 0.001))
            except (Stopped, StoreClosed):
                pass
            except BaseException as error:
                errors.append(error)

    thread = threading.Thread(target=keep_following)
    thread.start()
    try:
        assert began.wait(10)
        yield began
    finally:
        over.set()
        if isinstance(waiting, PostgresListener):
            waiting.close()
        else:
            store.run(tick(-1))
        thread.join(20)
    assert not thread.is_alive()
    assert errors == []


def is_listening(dsn: str) -> bool:
    return bool(ask(dsn, f"SELECT count(*) = 1 {LISTENERS}")[0][0])


@pytest.mark.parametrize("kind", ["listening", "polling"])
def test_a_follower_sees_an_event_soon_after_its_commit(
    kind: str, store: PostgresStore, postgres_dsn: str, figure: Callable[[str], None]
) -> None:
    seen: list[int] = []
    waiting: Interpreter[WaitForEvents] = (
        PostgresListener(postgres_dsn) if kind == "listening" else looking(store | world)
    )
    took: list[float] = []
    with following(postgres_dsn, store, waiting, seen_view(seen)):
        if kind == "listening":
            until(lambda: is_listening(postgres_dsn))
        for number in range(scaled(20)):
            store.run(tick(number)).unwrap()
            committed = time.monotonic()
            until(lambda n=number: len(seen) > n)  # type: ignore[misc]
            took.append(time.monotonic() - committed)
    assert [number for number in seen if number >= 0] == list(range(scaled(20)))
    middle, longest = statistics.median(took) * 1000, max(took) * 1000
    figure(f"{kind}: seen after {middle:.1f} ms in the middle, {longest:.1f} ms at most")
    assert max(took) < 5, "many times what it takes on an idle machine, and far from a lost call"


def test_a_follower_in_an_event_loop_is_called_too(store: PostgresStore, postgres_dsn: str) -> None:
    seen: list[int] = []

    async def keep_following() -> None:
        async with AsyncPostgresStore(postgres_dsn, codec=CODEC) as mine:
            with PostgresViews(postgres_dsn) as views, PostgresListener(postgres_dsn) as listener:

                @on(WaitForEvents).run_async
                async def wait(op: WaitForEvents) -> bool:
                    return await listener.run_async(WaitForEvents(op.after, LONG))

                app = mine | views | wait | world
                follower = asyncio.create_task(app.run_async(follow(seen_view(seen), 0.001)))
                try:
                    for number in range(10):
                        await mine.run_async(tick(number))
                        async with asyncio.timeout(20):
                            while len(seen) <= number:
                                await asyncio.sleep(0.001)
                finally:
                    follower.cancel()
                    await asyncio.gather(follower, return_exceptions=True)

    asyncio.run(keep_following())
    assert seen == list(range(10))


def test_killing_the_listening_connection_again_and_again_loses_nothing(
    store: PostgresStore, postgres_dsn: str, figure: Callable[[str], None]
) -> None:
    seen: list[int] = []
    kills = 0
    with (
        following(postgres_dsn, store, PostgresListener(postgres_dsn), seen_view(seen)),
        psycopg.connect(postgres_dsn, autocommit=True) as killer,
    ):
        for number in range(scaled(200)):
            store.run(tick(number)).unwrap()
            if number % 10 == 0:
                until(lambda n=number: len(seen) > n)  # type: ignore[misc]
                until(lambda: is_listening(postgres_dsn))
            if number % 10 in (0, 3, 5):
                kills += len(killer.execute(KILL.encode()).fetchall())
        until(lambda: len(seen) == scaled(200))
    assert seen == list(range(scaled(200)))
    assert kills >= scaled(200) // 10, "one each time that somebody listens for sure"
    figure(
        f"{scaled(200)} events, {kills} kills of the listener; each seen without waiting for {LONG} s"
    )


class Trusting(PostgresListener):
    """Broken, for the control: it does not look whether anything came while it was not connected."""

    _trusted: Session | None = None

    def _look(self, session: Session) -> None:
        if session is self._trusted:
            super()._look(session)
        self._trusted = session


def hears(listener: PostgresListener, store: PostgresStore, dsn: str) -> bool:
    """Whether a listener, whose connection is killed, tells of an event that is stored meanwhile."""
    with listener:
        wait = WaitForEvents(store.run(tick(0)).unwrap().cursor, 0.5)
        assert not listener.wait(wait)
        until(lambda: is_listening(dsn))
        ask(dsn, KILL)
        until(lambda: not is_listening(dsn))
        store.run(tick(1)).unwrap()
        return listener.wait(wait)


def test_an_event_that_is_stored_while_nobody_listens_is_told_of(
    store: PostgresStore, postgres_dsn: str
) -> None:
    assert hears(PostgresListener(postgres_dsn), store, postgres_dsn)


def test_control_a_listener_that_trusts_its_connection_is_caught(
    store: PostgresStore, postgres_dsn: str
) -> None:
    assert not hears(Trusting(postgres_dsn), store, postgres_dsn)


@pytest.mark.parametrize("kind", ["memory", "sqlite", "postgres"])
def test_on_any_store_a_look_is_one_query_and_news_end_the_wait(
    kind: str, postgres_dsn: str, tmp_path: Any
) -> None:
    made: dict[str, Callable[[], Any]] = {
        "memory": lambda: MemoryStore(CODEC),
        "sqlite": lambda: SqliteStore(tmp_path / "store.db", CODEC),
        "postgres": lambda: PostgresStore(postgres_dsn, codec=CODEC),
    }
    looks, sleeps = itertools.count(), itertools.count()
    with made[kind]() as store:
        end = store.run(tick(0)).unwrap().cursor

        @on(Sleep).run
        def sleep(op: Sleep) -> None:
            if next(sleeps) == 9:
                store.run(tick(1)).unwrap()

        @on(ReadFeed).run
        def look(op: ReadFeed) -> Any:
            next(looks)
            return store.run(op)

        elapsed = on(Elapsed).run(lambda op: 0.0)
        waiting = look | sleep | elapsed
        assert waiting.run(wait_for_events(end, LONG)) is True
        assert next(looks) == 11
        assert waiting.run(wait_for_events(Cursor(store.store_id, 1), LONG)) is True, "at once"
        assert next(sleeps) == 10


def test_polling_an_idle_postgres_is_one_statement_each_time(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = store.run(tick(0)).unwrap().cursor
    asked: list[Statement] = []
    execute = Connections.execute

    def counted(policy: Connections, statement: Statement, deadline: float) -> Dialogue[Rows]:
        asked.append(statement)
        return (yield from execute(policy, statement, deadline))

    monkeypatch.setattr(Connections, "execute", counted)
    times = itertools.count()
    world_of_ours = on(Sleep).run(lambda op: None) | on(Elapsed).run(lambda op: float(next(times)))
    app = _only_feed(store) | world_of_ours
    assert app.run(wait_for_events(end, 50)) is False
    assert len(asked) == 51 - 1


def _only_feed(store: Interpreter[StoreOp]) -> Interpreter[ReadFeed]:
    return on(ReadFeed).run(store.run)


def test_a_listener_needs_a_store_and_says_so(postgres_dsn: str) -> None:
    with pytest.raises(NotAStore, match="open the store before"):
        PostgresListener(postgres_dsn, schema="nothing")


def test_a_listener_that_was_closed_says_so(store: PostgresStore, postgres_dsn: str) -> None:
    listener = PostgresListener(postgres_dsn)
    listener.close()
    with pytest.raises(StoreClosed):
        listener.run(WaitForEvents(store.run(tick(0)).unwrap().cursor, 1))


@contextmanager
def looked_at(listener: PostgresListener) -> Iterator[list[Session]]:
    """Whenever the listener looks how far the feed goes."""
    looks: list[Session] = []
    look = listener._look

    def counted(session: Session) -> None:
        looks.append(session)
        look(session)

    listener._look = counted  # type: ignore[method-assign]
    yield looks


def test_stores_of_a_database_call_only_their_own_listeners(
    store: PostgresStore, postgres_dsn: str
) -> None:
    with (
        PostgresStore(postgres_dsn, schema="other", codec=CODEC) as other,
        PostgresListener(postgres_dsn) as listener,
        PostgresListener(postgres_dsn, schema="other") as others,
    ):
        wait = WaitForEvents(store.run(tick(0)).unwrap().cursor, 0.2)
        wait_for_other = WaitForEvents(other.run(tick(0)).unwrap().cursor, 0.2)
        assert [listener.run(wait), others.run(wait_for_other)] == [False, False], "now they listen"
        with looked_at(listener) as looks:
            other.run(tick(0)).unwrap()
            assert others.run(wait_for_other) is True
            assert listener.run(wait) is False
        assert looks == []


@pytest.mark.parametrize("kind", ["threads", "tasks"])
def test_all_who_wait_on_one_listener_are_called(
    store: PostgresStore, postgres_dsn: str, kind: str
) -> None:
    end = store.run(tick(0)).unwrap().cursor
    with PostgresListener(postgres_dsn) as listener:
        for number in range(1, 6):
            wait = WaitForEvents(end, LONG)

            def append(number: int = number) -> Cursor:
                until(lambda: is_listening(postgres_dsn) and len(listener._waiting) == 4)
                return store.run(tick(number)).unwrap().cursor

            async def tasks(wait: WaitForEvents = wait, append: Any = append) -> Cursor:
                waiting = [asyncio.create_task(listener.run_async(wait)) for _ in range(4)]
                cursor: Cursor = await asyncio.to_thread(append)
                assert await asyncio.wait_for(asyncio.gather(*waiting), 10) == [True] * 4
                return cursor

            if kind == "tasks":
                end = asyncio.run(tasks())
            else:
                with ThreadPoolExecutor() as threads:
                    waiting = [threads.submit(listener.run, wait) for _ in range(4)]
                    end = append()
                    assert [one.result(10) for one in waiting] == [True] * 4


def test_one_who_comes_late_is_told_at_once_of_what_was_called_before(
    store: PostgresStore, postgres_dsn: str
) -> None:
    first = store.run(tick(0)).unwrap().cursor
    with PostgresListener(postgres_dsn) as listener:
        assert listener.run(WaitForEvents(first, 0.05)) is False
        last = store.run(tick(1)).unwrap().cursor
        for _ in range(3):
            assert listener.run(WaitForEvents(first, LONG)) is True
        assert listener.run(WaitForEvents(last, 0.05)) is False


@pytest.mark.parametrize("kind", ["threads", "tasks"])
def test_who_waits_is_told_at_once_that_the_listener_was_closed(
    store: PostgresStore, postgres_dsn: str, kind: str
) -> None:
    wait = WaitForEvents(store.run(tick(0)).unwrap().cursor, LONG)
    listener = PostgresListener(postgres_dsn)

    async def tasks() -> float:
        waiting = [asyncio.create_task(listener.run_async(wait)) for _ in range(4)]
        await asyncio.to_thread(until, lambda: is_listening(postgres_dsn))
        began = time.monotonic()
        listener.close()
        told = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(one, StoreClosed) for one in told)
        return time.monotonic() - began

    def threads() -> float:
        with ThreadPoolExecutor() as executor:
            waiting = [executor.submit(listener.run, wait) for _ in range(4)]
            until(lambda: is_listening(postgres_dsn))
            began = time.monotonic()
            listener.close()
            assert all(isinstance(one.exception(10), StoreClosed) for one in waiting)
            return time.monotonic() - began

    assert (asyncio.run(tasks()) if kind == "tasks" else threads()) < 1
    until(lambda: not is_listening(postgres_dsn))


def test_where_nobody_can_listen_the_feed_is_looked_at_each_second(
    store: PostgresStore, postgres_dsn: str
) -> None:
    end = store.run(tick(0)).unwrap().cursor
    with Proxy(postgres_dsn) as proxy, PostgresListener(proxy.dsn, timeout=0.3) as listener:
        proxy.fault = Frozen()
        began = time.monotonic()
        assert listener.run(WaitForEvents(end, LONG)) is True
        assert time.monotonic() - began < 5
        proxy.fault = None
        proxy.drop()


def test_an_event_is_seen_within_50_ms_where_nothing_else_is_done(
    store: PostgresStore, postgres_dsn: str, figure: Callable[[str], None]
) -> None:
    medians: list[float] = []
    with PostgresListener(postgres_dsn) as listener, ThreadPoolExecutor() as threads:
        end = store.run(tick(0)).unwrap().cursor
        while len(medians) < 20 and min(medians, default=1) >= 0.05:  # the machine may be busy
            took: list[float] = []
            for number in range(11):
                waiting = threads.submit(listener.run, WaitForEvents(end, LONG))
                until(lambda: bool(listener._waiting) and listener._thread is not None)
                end = store.run(tick(number)).unwrap().cursor
                committed = time.monotonic()
                assert waiting.result(20) is True
                took.append(time.monotonic() - committed)
            medians.append(statistics.median(took))
    figure(f"called after {min(medians) * 1000:.1f} ms in the middle")
    assert min(medians) < 0.05

"""Whatever a handler does, or leaves undone, is the failure of its event, or of none.

Passed if the stream of that event is parked, with the event, the view and the handler in the error; if
all other events are applied once; and if after a fix the parked one is too. What a handler may do, such
as changing a setting, parks nothing, and no event after it sees anything of it.
"""

from __future__ import annotations

import asyncio
import socket
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, TypeAlias

import pytest

import eventsrc.views._applying
from eventsrc import MemoryStore, ReadFeed, Recorded, View, synchronise
from eventsrc.following.parking import retry
from eventsrc.stores.metadata import with_metadata
from eventsrc.stores.operations import StoreBusy, Unreachable
from eventsrc.views.operations import GetParked, Parked
from tests.kits.library import CODEC, TYPES, Closed, Noted, books, filled
from tests.kits.views import Kit, Views

Meddle: TypeAlias = Callable[[Any], Any]

BAD = 3
"""The number at which a handler meddles: the second of books/1."""


async def coroutine() -> None:
    raise AssertionError("nobody awaits it")


async def stream() -> AsyncIterator[int]:
    yield 1


def generator() -> Iterator[int]:
    yield 1


def cancelled(_: Any) -> None:
    async def work() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    asyncio.run(work())


def unreachable(_: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # where nobody listens
        socket.create_connection(taken.getsockname())


def locked(_: Any) -> None:
    """What a SQLite file that others keep busy says, with its code."""
    error = sqlite3.OperationalError("database is locked")
    error.sqlite_errorcode = sqlite3.SQLITE_BUSY
    raise error


class Unprintable(Exception):
    """An error whose text cannot be had."""

    def __str__(self) -> str:
        raise RuntimeError


def raising(error: BaseException) -> Meddle:
    def meddle(_: Any) -> None:
        raise error

    return meddle


EVERYWHERE: dict[str, Meddle] = {
    "a TimeoutError of a service": raising(TimeoutError("a service did not answer")),
    "a service that is not there": unreachable,
    "an error of several": raising(ExceptionGroup("several", [OSError(), ValueError()])),
    "a StopIteration": raising(StopIteration()),
    "a recursion without end": lambda db: EVERYWHERE["a recursion without end"](db),
    "another store that is not there": raising(Unreachable("no server")),
    "another SQLite file that is locked": locked,
    "a task that is cancelled": cancelled,
    "a CancelledError": raising(asyncio.CancelledError()),
    "an awaitable": lambda _: coroutine(),
    "a generator": lambda _: generator(),
    "an asynchronous generator": lambda _: stream(),
    "a NUL in the text": raising(ValueError("bad '\0'")),
    "half a letter in the text": raising(ValueError("half \ud800")),
    "no text": raising(Unprintable()),
    "a long text": raising(ValueError("x" * 10**6)),
}


def rows(kit: Kit, meddle: Meddle, before: Meddle = lambda _: None, **options: Any) -> View[Any]:
    """A view of a row for each event, whose handler meddles at one of them.

    before: is called first at each event.
    """
    view: View[Any] = View("rows", types=TYPES, **options)

    @view.schema
    def create(db: Any) -> None:
        if not kit.is_memory:
            db.execute("CREATE TABLE row (number INTEGER PRIMARY KEY, text TEXT)")

    @view.on(Noted)
    def noted(db: Any, event: Recorded[Noted]) -> Any:
        before(db)
        number = event.data.number
        if kit.is_memory:
            db["row"][number] = ""
        else:
            kit.execute(db, "INSERT INTO row (number) VALUES (?)", number)
        return meddle(db) if number == BAD else None

    return view


def numbers(kit: Kit, views: Views, view: View[Any]) -> list[int]:
    with views.reading(view) as db:
        if kit.is_memory:
            return sorted(db["row"])
        return [number for (number,) in kit.execute(db, "SELECT number FROM row ORDER BY number")]


def check_parked(kit: Kit, meddle: Meddle, **options: Any) -> Parked:
    """Fails unless one event is parked, and all others are applied once; answers what is parked."""
    store, view = filled(2, 6), rows(kit, meddle)
    with kit.open(view, **options) as views:
        for _ in range(2):
            (store | views).run(synchronise(view))
        parked: Parked
        (parked,) = views.run(GetParked(view))
        assert (parked.stream, parked.version) == (books[1].id, 2)
        assert "View('rows', version=1) applied <books/1@2" in parked.error[-1000:]
        assert "noted" in parked.error[-1000:]
        assert numbers(kit, views, view) == [0, 1, 2, 4]
        assert [each.stream for each in (store | views).run(retry(view))] == [books[1].id]
        assert numbers(kit, views, view) == [0, 1, 2, 4]
        fixed = rows(kit, lambda _: None)
        assert (store | views).run(retry(fixed)) == ()
        assert numbers(kit, views, fixed) == [0, 1, 2, 3, 4, 5]
        return parked


def check_unseen(kit: Kit, meddle: Meddle, look: Callable[[Any], Any], **options: Any) -> None:
    """Fails unless all events are applied, and find what the first one found."""
    seen: list[Any] = []
    store, view = filled(2, 6), rows(kit, meddle, lambda db: seen.append(look(db)))
    with kit.open(view, **options) as views:
        (store | views).run(synchronise(view))
        assert views.run(GetParked(view)) == ()
        assert numbers(kit, views, view) == [0, 1, 2, 3, 4, 5]
        more = filled(2, 8)
        with views.writing(view) as ledger:
            ledger.ask("UPDATE {s}.eventsrc_part SET store = '', position = 0, epoch = 1")
        (more | views).run(synchronise(view))
        assert numbers(kit, views, view) == [0, 1, 2, 3, 4, 5, 6, 7]
    assert len(seen) >= 8
    assert [each for each in seen if each != seen[0]] == []


class HandlerContract:
    """The suite, over a fixture `kit`."""

    @pytest.mark.parametrize("how", EVERYWHERE)
    def test_what_a_handler_raises_or_leaves_undone_is_the_failure_of_its_event(
        self, kit: Kit, how: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(100)  # what is captured goes through a pipe, as UTF-8
        parked = check_parked(kit, EVERYWHERE[how])
        assert len(parked.error) < 20_000

    def test_control_a_view_that_takes_what_others_raise_for_its_own_is_caught(
        self, kit: Kit, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def judge(_: Any, error: Exception) -> None:
            if isinstance(error, OSError):
                raise error

        monkeypatch.setattr(eventsrc.views._applying, "_check_blame", judge)
        with pytest.raises(OSError, match="."):
            check_parked(kit, unreachable)

    def test_control_a_view_that_is_cancelled_by_its_handler_is_caught(
        self, kit: Kit, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(eventsrc.views._applying, "_is_cancellation", lambda _: False)
        with pytest.raises(asyncio.CancelledError):
            check_parked(kit, cancelled)

    def test_a_handler_that_brings_its_own_view_forward_fails_at_its_event(self, kit: Kit) -> None:
        store = filled(2, 6)

        def itself(_: Any) -> None:
            (store | views).run(synchronise(view))

        view = rows(kit, itself)
        with kit.open(view) as views:
            (store | views).run(synchronise(view))
            (parked,) = views.run(GetParked(view))
            assert (parked.stream, parked.version) == (books[1].id, 2)
            assert numbers(kit, views, view) == [0, 1, 2, 4]

    def test_who_interrupts_the_process_is_no_failure_of_an_event(self, kit: Kit) -> None:
        store, view = filled(2, 6), rows(kit, raising(KeyboardInterrupt()))
        with kit.open(view) as views:
            with pytest.raises(KeyboardInterrupt):
                (store | views).run(synchronise(view))
            assert views.run(GetParked(view)) == ()
            assert (store | views).run(synchronise(rows(kit, lambda _: None))).lag == 0
            assert numbers(kit, views, view) == [0, 1, 2, 3, 4, 5]

    def test_by_store_busy_a_handler_has_its_view_wait_for_what_it_needs(self, kit: Kit) -> None:
        store, view = filled(2, 6), rows(kit, raising(StoreBusy("the index is away")))
        with kit.open(view) as views:
            with pytest.raises(StoreBusy, match="the index is away"):
                (store | views).run(synchronise(view))
            assert views.run(GetParked(view)) == ()

    def test_a_view_that_stops_raises_what_its_handler_raised(self, kit: Kit) -> None:
        store, view = filled(2, 6), rows(kit, unreachable, failing="stop")
        with kit.open(view) as views:
            with pytest.raises(ConnectionRefusedError) as caught:
                (store | views).run(synchronise(view))
            assert "View('rows', version=1) applied <books/1@2" in caught.value.__notes__[0]
            assert views.run(GetParked(view)) == ()
            assert numbers(kit, views, view) == []

    def test_a_swallowed_error_of_something_else_fails_nothing(self, kit: Kit) -> None:
        def swallow(db: Any) -> None:
            with pytest.raises(ConnectionRefusedError):
                unreachable(db)

        store, view = filled(2, 6), rows(kit, swallow)
        with kit.open(view) as views:
            (store | views).run(synchronise(view))
            assert views.run(GetParked(view)) == ()
            assert numbers(kit, views, view) == [0, 1, 2, 3, 4, 5]

    def test_an_event_whose_text_has_u0000_is_kept_as_it_is_and_fails_no_handler(
        self, kit: Kit
    ) -> None:
        view: View[Any] = View("texts", types=TYPES)

        @view.schema
        def create(db: Any) -> None:
            if not kit.is_memory:
                db.execute("CREATE TABLE row (text TEXT PRIMARY KEY)")

        @view.on(Closed)
        def closed(db: Any, event: Recorded[Closed]) -> None:
            if kit.is_memory:
                db["row"][event.data.why] = ""
            else:
                kit.execute(db, "INSERT INTO row VALUES (?)", event.data.why)

        texts = ["plain", "a\0b", "\0", "\\u0000"]
        with MemoryStore(CODEC) if kit.is_memory else kit.open_store() as store:
            for number, text in enumerate(texts):
                store.run(with_metadata(books[number].append(Closed(text)), actor=text))
            read = [store.run(books[number].read()).events[0] for number in range(len(texts))]
            assert [event.data for event in read] == [Closed(text) for text in texts]
            assert [event.metadata["actor"] for event in read] == texts
            fed = store.run(ReadFeed()).events
            assert [event.data for event in fed] == [Closed(text) for text in texts]
            with kit.open(view) as views:
                done = (store | views).run(synchronise(view))
                assert (done.applied, done.parked) == (len(texts), ())
                shown = [text.replace("\0", "\ufffd") if kit.is_postgres else text for text in texts]
                with views.reading(view) as db:
                    if kit.is_memory:
                        assert set(db["row"]) == set(shown)
                        return
                    found = kit.execute(db, "SELECT text FROM row")
                    assert {text for (text,) in found} == set(shown)
                    for text in texts:  # whoever looks for it finds it
                        assert kit.execute(db, "SELECT 1 FROM row WHERE text = ?", text) == [(1,)]


# --- SQLite


def in_sqlite(sql: str) -> Meddle:
    return lambda db: db.conn.execute(sql)


def beside(name: str) -> Meddle:
    """A statement on another SQLite file."""

    def meddle(_: Any) -> None:
        with sqlite3.connect(name) as other:
            other.execute("SELECT * FROM nowhere")

    return meddle


def held(db: Any) -> None:
    """Drops a table that a statement still reads, which SQLite says is locked."""
    db.conn.execute("CREATE TABLE open (n)")
    db.conn.execute("INSERT INTO open VALUES (1), (2)")
    cursor = db.conn.execute("SELECT * FROM open")
    cursor.fetchone()
    db.conn.execute("DROP TABLE open")


def swallowed_close(db: Any) -> None:
    try:
        db.close()
    except Exception:
        db.execute("SELECT 1")


SQLITE: dict[str, Meddle] = {
    "RELEASE": in_sqlite("RELEASE SAVEPOINT eventsrc_event"),
    "ROLLBACK TO": in_sqlite("ROLLBACK TO SAVEPOINT eventsrc_event"),
    "close()": lambda db: db.close(),
    "a close() that is swallowed": swallowed_close,
    "conn.close()": lambda db: db.conn.close(),
    "another file that is not there": beside("/nowhere/to/be.found"),
    "a table that is read": held,
    "isolation_level": lambda db: setattr(db.conn, "isolation_level", "DEFERRED"),
    "commit by isolation_level": lambda db: setattr(db.conn, "isolation_level", None),
    "too many parameters": lambda db: db.execute("SELECT 1", ["x"] * 70_000),
}

SETTINGS_OF_SQLITE: dict[str, Meddle] = {
    "query_only": in_sqlite("PRAGMA query_only = ON"),
    "case_sensitive_like": in_sqlite("PRAGMA case_sensitive_like = ON"),
    "ignore_check_constraints": in_sqlite("PRAGMA ignore_check_constraints = ON"),
    "recursive_triggers": in_sqlite("PRAGMA recursive_triggers = OFF"),
    "row_factory": lambda db: setattr(db.conn, "row_factory", sqlite3.Row),
    "a row_factory of dicts": lambda db: setattr(db.conn, "row_factory", lambda _, row: {"all": row}),
    "text_factory": lambda db: setattr(db.conn, "text_factory", bytes),
}


def seen_in_sqlite(db: Any) -> Any:
    """What a handler finds that settings change."""
    pragmas = ("query_only", "recursive_triggers", "ignore_check_constraints")
    asked = ["SELECT 'A' LIKE 'a', 'x'", *[f"PRAGMA {name}" for name in pragmas]]
    return [db.conn.execute(sql).fetchone() for sql in asked]

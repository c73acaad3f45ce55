"""A preview answers what a program would do, and writes nothing."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias
from uuid import uuid4

import pytest
from sqlite_utils import Database

from eventsrc import (
    Append,
    Conflict,
    Do,
    Failure,
    Fold,
    Interpreter,
    MemoryStore,
    Outcome,
    Query,
    ReadFeed,
    Recorded,
    SqliteStore,
    SqliteViews,
    StoreOp,
    Streams,
    Success,
    Translation,
    Try,
    View,
    World,
    event,
    force,
    ok,
    on,
    program,
    synchronise,
    world,
)
from eventsrc.errors import MissingHandlers
from eventsrc.following.synchroniser import ForceOp
from eventsrc.preview import PreviewError, PreviewIsDry, preview, preview_async
from eventsrc.streams.decide import DecideOp
from eventsrc.views.memory import MemoryViews, Tables
from eventsrc.views.view import ViewError


@event("test.preview.moved")
class Moved:
    amount: int


accounts = Streams("accounts/{name}", key=str, events=Moved)


def add(total: int, event: Moved) -> int:
    return total + event.amount


balance = Fold(0, add)


@program
def move(source: str, target: str, amount: int) -> Try[StoreOp | DecideOp, int, str]:
    def decide(has: int) -> Outcome[list[Moved], str]:
        return Success([Moved(-amount)]) if has >= amount else Failure("too little")

    yield from ok(accounts[source].decide(balance, decide))
    yield from accounts[target].append(Moved(amount))
    return Success((yield from accounts[target].get(balance)).state)


@program
def pay_twice() -> Do[StoreOp | DecideOp, list[Outcome[int, str]]]:
    first = yield from move("homer", "marge", 60)
    second = yield from move("homer", "marge", 60)
    return [first, second]


@pytest.fixture
def store() -> MemoryStore:
    made = MemoryStore(store_id="x")
    made.run(accounts["homer"].append(Moved(100)))
    return made


def test_it_answers_the_events_with_the_versions_that_they_would_get(store: MemoryStore) -> None:
    previewed = preview(store, move("homer", "marge", 60))
    assert previewed.result == Success(60)
    found = [(event.stream, event.version, event.position, event.data) for event in previewed.events]
    assert found == [
        ("accounts/homer", 2, 2, Moved(-60)),
        ("accounts/marge", 1, 3, Moved(60)),
    ]
    assert list(previewed.streams) == ["accounts/homer", "accounts/marge"]


def test_the_program_reads_what_it_would_have_written(store: MemoryStore) -> None:
    assert preview(store, pay_twice()).result == [Success(60), Failure("too little")]


def test_printed_it_is_the_events_and_the_outcome(store: MemoryStore) -> None:
    assert str(preview(store, move("homer", "marge", 60))).splitlines() == [
        "accounts/homer:",
        "  2: Moved(amount=-60)",
        "accounts/marge:",
        "  1: Moved(amount=60)",
        "answers <Success: 60>",
    ]


def test_a_conflict_is_the_one_that_the_store_would_answer(store: MemoryStore) -> None:
    asked = Append(accounts["homer"].id, (Moved(1),), 5)
    assert preview(store, asked).result == store.run(asked)


def test_an_exception_is_the_outcome_beside_the_events_until_then(store: MemoryStore) -> None:
    @program
    def fail() -> Do[StoreOp, None]:
        yield from accounts["homer"].append(Moved(1))
        raise KeyError("bug")

    previewed = preview(store, fail())
    assert [event.data for event in previewed.events] == [Moved(1)]
    with pytest.raises(KeyError, match="bug"):
        _ = previewed.result
    with pytest.raises(PreviewError, match="KeyError"):
        previewed.apply()


# --- nothing is written ---------------------------------------------------------------------------


def test_a_sqlite_store_is_the_same_to_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with SqliteStore(path) as store:
        store.run(accounts["homer"].append(Moved(100)))
        before = _dump(path)
        assert len(preview(store, pay_twice()).events) == 2
        assert _dump(path) == before


def _dump(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    try:
        return list(connection.iterdump())
    finally:
        connection.close()


def test_a_preview_needs_no_event_loop_and_works_in_one(store: MemoryStore) -> None:
    previewed = asyncio.run(preview_async(store, move("homer", "marge", 60)))
    assert previewed.result == Success(60)
    assert len(previewed.events) == 2
    assert len(store.run(ReadFeed()).events) == 1


# --- applying -------------------------------------------------------------------------------------


def test_what_was_previewed_can_be_applied(store: MemoryStore) -> None:
    previewed = preview(store, move("homer", "marge", 60))
    append_id = uuid4()
    applied = store.run(previewed.apply(append_id))
    assert isinstance(applied, Success)
    assert store.run(previewed.apply(append_id)) == applied
    found = store.run(ReadFeed()).events
    assert [(e.stream, e.version, e.data) for e in found[1:]] == [
        (e.stream, e.version, e.data) for e in previewed.events
    ]


@pytest.mark.parametrize("make", [pay_twice, lambda: move("homer", "marge", 60)])
def test_it_is_stored_once_however_often_it_is_applied(store: MemoryStore, make: Any) -> None:
    previewed = preview(store, make())
    first = store.run(previewed.apply())
    assert isinstance(first, Success)
    assert store.run(previewed.apply()) == first
    assert len(store.run(ReadFeed()).events) == 1 + len(previewed.events)


def test_the_program_that_chose_an_id_is_then_answered_with_what_was_applied(
    store: MemoryStore,
) -> None:
    paying = accounts["homer"].append(Moved(1), append_id=uuid4())
    previewed = preview(store, paying)
    applied = store.run(previewed.apply())
    assert applied == Success(store.run(paying))
    assert len(store.run(ReadFeed()).events) == 2


def test_several_ids_that_were_chosen_are_not_lost(store: MemoryStore) -> None:
    both = (
        accounts["homer"]
        .append(Moved(1), append_id=uuid4())
        .then(accounts["homer"].append(Moved(2), append_id=uuid4()))
    )
    previewed = preview(store, both)
    with pytest.raises(PreviewError, match="chose ids for several appends"):
        previewed.apply()
    assert isinstance(store.run(previewed.apply(uuid4())), Success)


@pytest.mark.parametrize("changed", ["homer", "marge"])
def test_it_conflicts_if_a_stream_that_was_seen_has_changed(store: MemoryStore, changed: str) -> None:
    previewed = preview(store, move("homer", "marge", 60))
    store.run(accounts[changed].append(Moved(1)))
    applied = store.run(previewed.apply())
    assert isinstance(applied, Failure)
    conflict = applied.failure()
    assert isinstance(conflict, Conflict)
    assert conflict.stream == accounts[changed].id
    assert len(store.run(ReadFeed()).events) == 2


def test_a_stream_that_was_only_read_is_a_condition(store: MemoryStore) -> None:
    @program
    def copy() -> Do[StoreOp, None]:
        state = (yield from accounts["homer"].get(balance)).state
        yield from accounts["copy"].append(Moved(state))

    previewed = preview(store, copy())
    assert previewed.seen == {accounts["homer"].id: 1}
    assert previewed.token[accounts["homer"].id] == 1
    store.run(accounts["homer"].append(Moved(1)))
    assert isinstance(store.run(previewed.apply()), Failure)


def test_a_stream_that_was_only_appended_to_may_have_changed(store: MemoryStore) -> None:
    previewed = preview(store, accounts["homer"].append(Moved(1)))
    store.run(accounts["homer"].append(Moved(2)))
    assert isinstance(store.run(previewed.apply()), Success)


def test_a_preview_without_events_has_nothing_to_apply(store: MemoryStore) -> None:
    previewed = preview(store, move("homer", "marge", 600))
    assert previewed.result == Failure("too little")
    assert store.run(previewed.apply()) is None
    assert len(store.run(ReadFeed()).events) == 1


def test_what_no_condition_can_be_set_on_is_not_applied(store: MemoryStore) -> None:
    with pytest.raises(PreviewError, match="read the feed"):
        preview(store, ReadFeed()).apply()

    @program
    def differently() -> Do[StoreOp, None]:
        for number in (1, 2):
            yield from accounts["homer"].append(Moved(1), metadata={"number": number})

    with pytest.raises(PreviewError, match="different metadata"):
        preview(store, differently()).apply()


# --- applications ---------------------------------------------------------------------------------


class Balance(Query[int]):
    name: str


Store: TypeAlias = StoreOp | ForceOp | World


class Queries(Translation[Balance, StoreOp]):
    @on(Balance).program
    def balance(self, op: Balance) -> Do[StoreOp, int]:
        return (yield from accounts[op.name].get(balance)).state


def test_an_application_is_made_over_the_preview(store: MemoryStore) -> None:
    @program
    def pay_and_ask() -> Do[Balance | StoreOp | World, int]:
        yield from accounts["homer"].append(Moved(1))
        return (yield from Balance("homer"))

    def app(store: Interpreter[StoreOp]) -> Interpreter[Balance | StoreOp | World]:
        return Queries().into(store) | store | world

    assert preview(store, pay_and_ask(), app=app).result == 101
    with pytest.raises(MissingHandlers, match="Balance"):
        preview(store, pay_and_ask())  # type: ignore[arg-type]


def test_a_view_is_not_written_to_however_deep_in_the_application(store: MemoryStore) -> None:
    class InView(Translation[Balance, Store]):
        @on(Balance).program
        def balance(self, op: Balance) -> Do[Store, int]:
            token = (yield from accounts[op.name].append(Moved(1))).token
            yield from force(memory_view, token)
            return 0

    views = MemoryViews([memory_view])
    previewed = preview(store, Balance("homer"), app=lambda s: InView().into(s | views | world))
    with pytest.raises(PreviewIsDry, match="View\\('balances'"):
        _ = previewed.result
    app = InView().into(store | views | world)
    assert app.run(Balance("homer")) == 0


# --- the rows of views ----------------------------------------------------------------------------


memory_view: View[Tables] = View("balances")


@memory_view.on(Moved)
def moved_in_memory(tables: Tables, event: Recorded[Moved]) -> None:
    rows = tables["balances"]
    rows[event.stream] = rows.get(event.stream, 0) + event.data.amount
    if rows[event.stream] < -1000:
        raise ValueError("too deep")
    if not rows[event.stream]:
        del rows[event.stream]


sqlite_view: View[Database] = View("balances")


@sqlite_view.schema
def create(db: Database) -> None:
    db.table("balances").create({"name": str, "cents": int}, pk="name")
    db.table("log").create({"line": str})


@sqlite_view.on(Moved)
def moved(db: Database, event: Recorded[Moved]) -> None:
    db.execute(
        "INSERT INTO balances VALUES (?, ?) ON CONFLICT DO UPDATE SET cents = cents + excluded.cents",
        (event.stream, event.data.amount),
    )
    db.execute("DELETE FROM balances WHERE cents = 0")
    db.execute("INSERT INTO log VALUES ('moved')")


@pytest.fixture
def sqlite_views() -> Iterator[SqliteViews]:
    with SqliteViews.temporary([sqlite_view]) as views:
        yield views


def test_the_rows_that_would_change_in_memory(store: MemoryStore) -> None:
    views = MemoryViews([memory_view])
    (store | views).run(synchronise(memory_view))
    (changes,) = preview(store, move("homer", "marge", 60), views={memory_view: views}).changes
    assert [(row.key, row.before, row.after) for row in changes.rows] == [
        ("accounts/homer", 100, 40),
        ("accounts/marge", None, 60),
    ]
    with views.reading(memory_view) as tables:
        assert dict(tables["balances"]) == {"accounts/homer": 100}


def test_the_rows_that_would_change_in_sqlite(store: MemoryStore, sqlite_views: SqliteViews) -> None:
    app = store | sqlite_views
    app.run(synchronise(sqlite_view))
    before = _dump(sqlite_views.path(sqlite_view))
    previewed = preview(store, move("homer", "marge", 100), views={sqlite_view: sqlite_views})
    assert str(previewed).splitlines()[4:] == [
        "View('balances', version=1):",
        "  - balances {'name': 'accounts/homer', 'cents': 100}",
        "  + balances {'name': 'accounts/marge', 'cents': 100}",
        "  + log {'line': 'moved'}",
        "  + log {'line': 'moved'}",
        "answers <Success: 100>",
    ]
    changed = preview(store, move("homer", "marge", 60), views={sqlite_view: sqlite_views})
    assert "~ balances {'name': 'accounts/homer'}: cents 100 -> 40" in str(changed)
    assert _dump(sqlite_views.path(sqlite_view)) == before
    assert app.run(synchronise(sqlite_view)).lag == 0


def test_a_view_that_lags_is_brought_up_to_date_first(
    store: MemoryStore, sqlite_views: SqliteViews
) -> None:
    views = {sqlite_view: sqlite_views}
    (changes,) = preview(store, accounts["homer"].append(Moved(1)), views=views).changes
    row, _ = changes.rows
    assert (row.key, row.before["cents"], row.after["cents"]) == ({"name": "accounts/homer"}, 100, 101)
    with sqlite_views.reading(sqlite_view) as db:
        assert db.table("balances").count == 0


def test_rows_do_not_keep_a_preview_from_being_applied(store: MemoryStore) -> None:
    views = MemoryViews([memory_view])
    previewed = preview(store, move("homer", "marge", 60), views={memory_view: views})
    assert isinstance(store.run(previewed.apply()), Success)


def test_an_event_that_a_view_could_not_apply_is_told(store: MemoryStore) -> None:
    views = MemoryViews([memory_view])
    previewed = preview(store, accounts["homer"].append(Moved(-2000)), views={memory_view: views})
    (changes,) = previewed.changes
    assert changes.failed is not None
    assert "too deep" in changes.failed.error
    assert "accounts/homer 2 fails: ValueError: too deep" in str(previewed)


def test_a_stream_that_is_parked_is_told(store: MemoryStore) -> None:
    views = MemoryViews([memory_view])
    store.run(accounts["homer"].append(Moved(-2000)))
    (store | views).run(synchronise(memory_view))
    previewed = preview(store, accounts["homer"].append(Moved(1)), views={memory_view: views})
    assert previewed.changes[0].held == ("accounts/homer",)


def test_a_view_that_was_never_built_is_not_built_by_a_preview(store: MemoryStore) -> None:
    views = MemoryViews()
    with pytest.raises(ViewError, match="never built"):
        preview(store, accounts["homer"].append(Moved(1)), views={memory_view: views})
    with views.looking(memory_view) as ledger:
        assert ledger is None


def test_a_view_in_a_target_is_refused(store: MemoryStore, tmp_path: Path) -> None:
    with (
        SqliteViews(tmp_path / "views.db", [memory_view], target=Tables()) as views,
        pytest.raises(ViewError, match="target"),
    ):
        preview(store, accounts["homer"].append(Moved(1)), views={memory_view: views})

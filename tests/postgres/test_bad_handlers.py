"""Handlers in Postgres that meddle with their transaction or connection, or fail where nobody looks.

What a handler does is the failure of its event, or of none: see tests/contracts/handlers.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.adapt import AdaptersMap, PyFormat
from psycopg.rows import dict_row
from psycopg.types.json import Json, Jsonb

import eventsrc.postgres.views
import eventsrc.views._ledger
from eventsrc import Recorded, View, synchronise
from eventsrc.errors import EventsrcError
from eventsrc.postgres._nul import may_have_nul, take_nul
from eventsrc.postgres.views import PostgresLedger
from eventsrc.stores.operations import StoreBusy, StoreError
from eventsrc.views.operations import GetParked
from tests.contracts.handlers import (
    HandlerContract,
    Meddle,
    cancelled,
    check_parked,
    check_unseen,
    numbers,
    raising,
    rows,
)
from tests.kits.library import TYPES, Noted, books, filled
from tests.kits.views import Kit

Connection = psycopg.Connection[Any]

TABLES = """
    CREATE TABLE known (number int PRIMARY KEY);
    INSERT INTO known VALUES (0), (1), (2), (4), (5);
    CREATE TABLE beside (
        number int PRIMARY KEY,
        other int REFERENCES known DEFERRABLE INITIALLY DEFERRED,
        once int UNIQUE DEFERRABLE INITIALLY DEFERRED,
        long text,
        words tsvector GENERATED ALWAYS AS (to_tsvector('english', long)) STORED
    );
    CREATE INDEX ON beside (long);
    CREATE SEQUENCE numbers;
"""
INSERT = "INSERT INTO beside (number, other) VALUES (33, 1)"


def swallowed(db: Connection) -> None:
    with suppress(psycopg.Error):
        db.execute("INSERT INTO row VALUES (3)")


def closed_cursor(db: Connection) -> None:
    with db.cursor() as cursor:
        cursor.execute("SELECT 1")
    cursor.fetchall()


def own_connection(_: Connection) -> None:
    psycopg.connect("host=127.0.0.1 port=1 connect_timeout=2")


def unfinished(db: Connection) -> None:
    rows = db.cursor().stream("SELECT * FROM generate_series(1, 100000)")
    next(iter(rows))
    KEPT.append(rows)  # or it ends as it is forgotten


KEPT: list[Any] = []


def left_open(db: Connection) -> None:
    KEPT.append(db.transaction())
    KEPT[-1].__enter__()


def swallowed_close(db: Connection) -> None:
    db.close()
    with suppress(psycopg.Error):
        db.execute("SELECT 1")


def left_open_and_failed(db: Connection) -> None:
    left_open(db)
    cancelled(db)


def does(sql: str, *parameters: Any) -> Meddle:
    return lambda db: db.execute(sql, parameters or None)


MEDDLING: dict[str, Meddle] = {
    "COMMIT": does("COMMIT"),
    "commit()": lambda db: db.commit(),
    "COMMIT AND CHAIN": does(f"{INSERT}; COMMIT AND CHAIN"),
    "a script that commits": does(f"BEGIN; {INSERT}; COMMIT"),
    "COMMIT after a look at what refuses it": does(
        f"UPDATE eventsrc_part SET handling = 0; {INSERT}; COMMIT; BEGIN"
    ),
    "COMMIT of what is turned off": does(
        "UPDATE eventsrc_part SET handling = 5; SET CONSTRAINTS eventsrc_whole IMMEDIATE; COMMIT"
    ),
    "COMMIT of what is forgotten": does(f"DELETE FROM eventsrc_part; {INSERT}; COMMIT; BEGIN"),
    "ROLLBACK": does("ROLLBACK"),
    "rollback()": lambda db: db.rollback(),
    "ROLLBACK AND CHAIN": does("ROLLBACK AND CHAIN"),
    "ROLLBACK and BEGIN": does("ROLLBACK; BEGIN"),
    "ROLLBACK and the same numbers": does("ROLLBACK; BEGIN; UPDATE eventsrc_part SET handling = 1"),
    "RELEASE": does("RELEASE SAVEPOINT eventsrc_event"),
    "ROLLBACK TO": does("ROLLBACK TO SAVEPOINT eventsrc_event"),
    "PREPARE TRANSACTION": does("PREPARE TRANSACTION 'mine'"),
    "close()": lambda db: db.close(),
    "a close() that is swallowed": swallowed_close,
    "a statement in the middle": unfinished,
    "an error that is swallowed": swallowed,
    "a foreign key, at commit": does("INSERT INTO beside VALUES (33, 77)"),
    "a unique key, at commit": does("INSERT INTO beside VALUES (33, 1, 5), (34, 1, 5)"),
    "the limit of an index": does(
        "INSERT INTO beside (number, long) SELECT 33, string_agg(md5(n::text), '') "
        "FROM generate_series(1, 1000) AS n"
    ),
    "the limit of a tsvector": does(
        "INSERT INTO beside (number, long) SELECT 33, string_agg(md5(n::text), ' ') "
        "FROM generate_series(1, 200000) AS n"
    ),
    "the limit of parameters": lambda db: db.execute(
        f"SELECT {', '.join(['%s'] * 70_000)}", ["x"] * 70_000
    ),
    "a closed cursor": closed_cursor,
    "currval() too early": does("SELECT currval('numbers')"),
    "a server that is not there": own_connection,
    "an OperationalError": raising(psycopg.OperationalError("could not connect")),
    "a connection of its own that broke": raising(psycopg.errors.AdminShutdown("shutdown")),
    "an InterfaceError": raising(psycopg.InterfaceError("the connection is closed")),
    "what it has set, to be read only": does("SET TRANSACTION READ ONLY"),
    "a write where it reads only": does("SET TRANSACTION READ ONLY; INSERT INTO known VALUES (9)"),
    "a Rollback": raising(psycopg.Rollback()),
    "a timeout": does("SET LOCAL statement_timeout = 20; SELECT pg_sleep(10)"),
    "a lock of its own, by force": does("SELECT pg_cancel_backend(pg_backend_pid()), pg_sleep(9)"),
    "a cursor that fails at the commit": does(
        "DECLARE late CURSOR WITH HOLD FOR SELECT 1 / (n - 1) FROM generate_series(1, 2) AS n"
    ),
    "a transaction that it leaves open": left_open,
    "one that it leaves open as it fails": left_open_and_failed,
    "all constraints": does("SET CONSTRAINTS ALL IMMEDIATE"),
    "a role that is not there": does("SET ROLE nobody_at_all"),
}


@pytest.fixture
def kit(postgres_dsn: str) -> Kit:
    with psycopg.connect(postgres_dsn) as db:
        db.execute(TABLES)
    return Kit(postgres_dsn)


class TestHandlers(HandlerContract):
    """The suite."""


@pytest.mark.parametrize("how", MEDDLING)
def test_what_a_handler_does_to_its_transaction_is_the_failure_of_its_event(kit: Kit, how: str) -> None:
    check_parked(kit, MEDDLING[how])
    with psycopg.connect(kit.address) as db:
        assert db.execute("SELECT count(*) FROM beside").fetchone() == (0,)
        assert db.execute("SELECT count(*) FROM known").fetchone() == (5,)


CONTROLS: dict[str, tuple[str, Callable[[pytest.MonkeyPatch], object]]] = {
    "savepoints of a name that is known": (
        "ROLLBACK TO",
        lambda patch: [
            patch.setattr(eventsrc.views._ledger, name, f"{before} SAVEPOINT eventsrc_event".lstrip())
            for name, before in (
                ("SAVEPOINT", ""),
                ("RELEASE", "RELEASE"),
                ("ROLL_BACK", "ROLLBACK TO"),
            )
        ],
    ),
    "an OperationalError that is taken for the connection's": (
        "currval() too early",
        lambda patch: patch.setattr(
            eventsrc.postgres.views,
            "is_passing",
            lambda error: isinstance(error.__cause__ or error, psycopg.OperationalError),
        ),
    ),
    "a connection that is closed, and taken for a broken one": (
        "close()",
        lambda patch: patch.setattr(PostgresLedger, "_is_closed_by_handler", lambda _: False),
    ),
}


@pytest.mark.parametrize("how", CONTROLS)
def test_control_a_view_that_is_stopped_is_caught(
    kit: Kit, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    meddling, spoil = CONTROLS[how]
    spoil(monkeypatch)
    with pytest.raises((AssertionError, ValueError, EventsrcError, psycopg.Error)):
        check_parked(kit, MEDDLING[meddling])


def test_control_a_handler_that_may_commit_is_caught(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    with kit.open(rows(kit, lambda _: None)), psycopg.connect(kit.address) as db:
        db.execute("ALTER TABLE eventsrc_views_rows_1.eventsrc_part DISABLE TRIGGER eventsrc_whole")
    go_on_in_any_transaction(monkeypatch)
    with pytest.raises((AssertionError, ValueError)):
        check_parked(kit, MEDDLING["COMMIT AND CHAIN"])


def go_on_in_any_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    blind = eventsrc.postgres.views._MOVE.replace("AND handling = %(mark)s", "")
    monkeypatch.setattr(eventsrc.postgres.views, "_MOVE", blind)
    monkeypatch.setattr(PostgresLedger, "_check_whole", lambda *_: None)


@pytest.mark.parametrize("is_blind", [False, True])
def test_a_transaction_that_the_last_handler_of_a_page_ends_is_noticed(
    kit: Kit, is_blind: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_blind:  # for the control
        go_on_in_any_transaction(monkeypatch)
    again = does("ROLLBACK; BEGIN; SET LOCAL search_path TO eventsrc_views_rows_1, public")
    store, view = filled(2, 4), rows(kit, again)
    with kit.open(view) as views:
        done = (store | views).run(synchronise(view))
        assert done.lag == 0
        assert numbers(kit, views, view) == ([] if is_blind else [0, 1, 2])
        assert len(views.run(GetParked(view))) == (0 if is_blind else 1)


def test_a_statement_that_others_keep_waiting_parks_nothing(kit: Kit) -> None:
    store, view = filled(2, 6), rows(kit, does("UPDATE known SET number = number"))
    with kit.open(view, timeout=0.5) as views, psycopg.connect(kit.address) as other:
        other.execute("LOCK TABLE known")
        with pytest.raises(StoreBusy):
            (store | views).run(synchronise(view))
        assert views.run(GetParked(view)) == ()
        other.rollback()
        assert (store | views).run(synchronise(view)).lag == 0


def test_a_statement_that_takes_too_long_by_itself_is_the_failure_of_its_event(kit: Kit) -> None:
    check_parked(kit, does("SELECT pg_sleep(60)"), timeout=0.5)


# --- what a handler may do


SETTINGS: dict[str, Meddle] = {
    "SET search_path": does("SET search_path TO nowhere"),
    "SET LOCAL search_path": does("SET LOCAL search_path TO nowhere"),
    "set_config": does("SELECT set_config('search_path', 'nowhere', false)"),
    "a function": does("SELECT pg_temp.elsewhere()"),
    "SET TimeZone": does("SET TimeZone = 'Asia/Kolkata'"),
    "SET LOCAL DateStyle": does("SET LOCAL DateStyle = 'German'"),
    "SET of its own": does("SET app.tenant = 'one'"),
    "SET LOCAL of its own": does("SET LOCAL app.tenant = 'one'"),
    "set_config of its own": does("SELECT set_config(%s, 'one', true)", "app.tenant"),
    "a script": does("SELECT 1; SET app.tenant = 'one'"),
    "RESET": does("RESET search_path"),
    "SET ROLE": does("SET ROLE pg_monitor"),
    "SET LOCAL ROLE": does("SET LOCAL ROLE pg_monitor"),
    "SET SESSION AUTHORIZATION": does("SET SESSION AUTHORIZATION pg_monitor"),
    "statement_timeout": does("SET statement_timeout = '1h'"),
    "a constraint that is checked now": does("SET CONSTRAINTS beside_other_fkey IMMEDIATE"),
    "a row factory": lambda db: setattr(db, "row_factory", dict_row),
}


def looked(db: Connection) -> Any:
    """What a handler finds that settings change."""
    db.execute(
        "CREATE OR REPLACE FUNCTION pg_temp.elsewhere() RETURNS void LANGUAGE sql AS "
        "$$ SELECT set_config('search_path', 'nowhere', true) $$"
    )
    db.execute("CREATE TEMP TABLE IF NOT EXISTS late (n int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    try:
        with db.transaction():
            db.execute("INSERT INTO beside (number, other) VALUES (77, 77)")
            db.execute("DELETE FROM beside WHERE number = 77")
            is_late = True
    except psycopg.errors.ForeignKeyViolation:
        is_late = False
    asked = db.execute(
        "SELECT current_schemas(false), current_user, session_user, current_setting('TimeZone'), "
        "current_date::text, coalesce(current_setting('app.tenant', true), ''), "
        "current_setting('statement_timeout')"
    )
    return is_late, asked.fetchone()


@pytest.mark.parametrize("how", SETTINGS)
def test_a_setting_of_a_handler_is_seen_by_no_event_after_it(kit: Kit, how: str) -> None:
    check_unseen(kit, SETTINGS[how], looked)


@pytest.mark.parametrize("how", ["a function", "SET search_path", "SET ROLE", "SET of its own"])
def test_control_a_setting_that_stays_is_caught(
    kit: Kit, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PostgresLedger, "_restore", lambda _: None)
    monkeypatch.setattr("eventsrc.postgres._connection.changes_settings", lambda *_: False)
    with pytest.raises((AssertionError, ValueError, LookupError, EventsrcError)):
        check_unseen(kit, SETTINGS[how], looked)


def test_what_a_reader_sets_is_not_found_by_the_next_one(kit: Kit) -> None:
    view = rows(kit, lambda _: None)
    with kit.open(view) as views:
        with views.reading(view) as db:
            db.execute("SET TimeZone = 'Asia/Kolkata'")
        with views.reading(view) as db:
            assert db.execute("SHOW TimeZone").fetchone() != ("Asia/Kolkata",)


# --- U+0000


class Odd(str):
    """A text, as ids of streams are."""


def custom_json(value: Any) -> str:
    return json.dumps({"all": str(value)})


WRITING: dict[str, tuple[Callable[[Connection, str], object], str]] = {
    "a parameter": (lambda db, text: db.execute("INSERT INTO texts VALUES (%s)", (text,)), "text"),
    "one with a name": (
        lambda db, text: db.execute("INSERT INTO texts VALUES (%(text)s)", {"text": text}),
        "text",
    ),
    "a binary one": (lambda db, text: db.execute("INSERT INTO texts VALUES (%b)", [text]), "text"),
    "a text of a kind": (
        lambda db, text: db.execute("INSERT INTO texts VALUES (%s)", (Odd(text),)),
        "text",
    ),
    "one of several": (
        lambda db, text: db.execute("INSERT INTO texts (texts) VALUES (%s)", (["x", text],)),
        "texts[2]",
    ),
    "JSON": (
        lambda db, text: db.execute("INSERT INTO texts (doc) VALUES (%s)", (Jsonb([{"a": text}]),)),
        "doc->0->>'a'",
    ),
    "a key of JSON": (
        lambda db, text: db.execute("INSERT INTO texts (doc) VALUES (%s)", (Json({text: 1}),)),
        "(SELECT jsonb_object_keys(doc))",
    ),
    "JSON of one's own": (
        lambda db, text: db.execute(
            "INSERT INTO texts (doc) VALUES (%s)", (Jsonb(Odd(text), dumps=custom_json),)
        ),
        "doc->>'all'",
    ),
    "many": (
        lambda db, text: db.cursor().executemany(
            "INSERT INTO texts VALUES (%s)", ((each,) for each in (text,))
        ),
        "text",
    ),
    "a COPY": (lambda db, text: copied(db, "COPY texts (text) FROM STDIN", text), "text"),
    "a binary COPY": (
        lambda db, text: copied(db, "COPY texts (text) FROM STDIN (FORMAT binary)", text),
        "text",
    ),
    "a cursor": (
        lambda db, text: db.cursor().execute("INSERT INTO texts VALUES (%s)", (text,)),
        "text",
    ),
}


def copied(db: Connection, sql: str, text: str) -> None:
    with db.cursor().copy(sql.encode()) as copy:
        copy.set_types(["text"])
        copy.write_row((text,))


def written(kit: Kit, how: str, text: str) -> list[str]:
    """What a view has of a text that its handler writes in one of these ways."""
    writing, column = WRITING[how]

    def write(db: Connection) -> None:
        writing(db, text)

    with psycopg.connect(kit.address) as db:
        db.execute("DROP TABLE IF EXISTS texts")
        db.execute("CREATE TABLE texts (text text, texts text[], doc jsonb)")
    store, view = filled(2, 6), rows(kit, write)
    with kit.open(view) as views:
        (store | views).run(synchronise(view))
        assert views.run(GetParked(view)) == ()
        with views.reading(view) as db:
            return [found for (found,) in db.execute(f"SELECT {column} FROM texts".encode())]


@pytest.mark.parametrize("how", WRITING)
def test_u0000_is_replaced_however_a_handler_writes_it(kit: Kit, how: str) -> None:
    text = 'a\0\\u0000\\\0"\0\0'
    assert written(kit, how, text) == [text.replace("\0", "\ufffd")]


@pytest.mark.parametrize("how", WRITING)
def test_control_a_view_that_sends_u0000_as_it_is_is_caught(
    kit: Kit, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventsrc.postgres._connection.take_nul", lambda _: None)
    with pytest.raises(AssertionError):
        written(kit, how, "a\0b")


@given(
    st.recursive(
        st.none() | st.integers() | st.text('a\0\\"u0'),
        lambda value: (
            st.lists(value, max_size=3) | st.dictionaries(st.text("a\0\\u0"), value, max_size=3)
        ),
    )
)
def test_of_json_that_is_sent_only_u0000_is_another(value: Any) -> None:
    adapters = AdaptersMap(psycopg.adapters)
    take_nul(adapters)
    dumper = adapters.get_dumper(Jsonb, PyFormat.TEXT)(Jsonb)
    sent = json.loads(bytes(dumper.dump(Jsonb(value)) or b""))
    assert json.dumps(sent) == json.dumps(json.loads(_shown(json.dumps(value, ensure_ascii=False))))
    assert may_have_nul(Jsonb(value)) == (sent != value)


def _shown(text: str) -> str:
    r"""JSON with U+FFFD for each \u0000, found one letter after the other."""
    shown, at = "", 0
    while at < len(text):
        size = 2 if text[at] == "\\" else 1
        if text.startswith("\\u0000", at):
            shown, at = f"{shown}\ufffd", at + 6
        else:
            shown, at = shown + text[at : at + size], at + size
    return shown


# --- the database itself


def ended(kit: Kit) -> Meddle:
    """Ends the session of a handler from outside."""

    def meddle(db: Connection) -> None:
        with psycopg.connect(kit.address) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", (db.info.backend_pid,))
        db.execute("SELECT 1")

    return meddle


def ended_and_swallowed(kit: Kit) -> Meddle:
    def meddle(db: Connection) -> None:
        with suppress(psycopg.Error):
            ended(kit)(db)
        raise ValueError("no rows")

    return meddle


@pytest.mark.parametrize("how", [ended, ended_and_swallowed])
def test_a_connection_that_breaks_under_a_handler_parks_nothing(
    kit: Kit, how: Callable[[Kit], Meddle]
) -> None:
    store, view = filled(2, 6), rows(kit, how(kit))
    with kit.open(view) as views:
        with pytest.raises(StoreError):
            (store | views).run(synchronise(view))
        assert views.run(GetParked(view)) == ()
        fixed = rows(kit, lambda _: None)
        (store | views).run(synchronise(fixed))
        assert numbers(kit, views, fixed) == [0, 1, 2, 3, 4, 5]


def wrapped(_: Connection) -> None:
    try:
        raise psycopg.errors.DeadlockDetected
    except psycopg.Error as error:
        raise ValueError("it did not go well") from error


@pytest.mark.parametrize(
    "meddle",
    [
        wrapped,
        raising(psycopg.errors.SerializationFailure()),
        raising(psycopg.errors.LockNotAvailable()),
        raising(psycopg.errors.DiskFull()),
    ],
    ids=["a deadlock, wrapped", "a serialization failure", "a lock", "a full disk"],
)
def test_what_passes_by_itself_parks_nothing(kit: Kit, meddle: Meddle) -> None:
    store, view = filled(2, 6), rows(kit, meddle)
    with kit.open(view) as views:
        with pytest.raises((StoreError, ValueError)):
            (store | views).run(synchronise(view))
        assert views.run(GetParked(view)) == ()


def test_a_key_that_may_be_deferred_and_is_not_is_checked_at_once_also_after_a_failure(
    kit: Kit,
) -> None:
    view: View[Connection] = View("rows", types=TYPES)

    @view.schema
    def create(db: Connection) -> None:
        db.execute(
            "CREATE TABLE once (key int UNIQUE DEFERRABLE INITIALLY IMMEDIATE);"
            "CREATE TABLE row (number int, late int UNIQUE DEFERRABLE INITIALLY DEFERRED)"
        )

    @view.on(Noted)
    def noted(db: Connection, event: Recorded[Noted]) -> None:
        if event.data.number == 1:
            raise ValueError
        with suppress(psycopg.errors.UniqueViolation), db.transaction():
            db.execute("INSERT INTO once VALUES (1)")
        db.execute("INSERT INTO row VALUES (%s, 7)", (event.data.number,))
        db.execute("UPDATE row SET late = number")  # what is checked late may be wrong for a while

    store = filled(2, 6)
    with kit.open(view) as views:
        (store | views).run(synchronise(view))
        assert [each.stream for each in views.run(GetParked(view))] == [books[1].id]
        assert numbers(kit, views, view) == [0, 2, 4]

"""Roles with the grants that docs/how-to/postgres.md gives them: each can do its work, and no more."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import attrs
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from eventsrc import (
    Append,
    AppendAll,
    Head,
    Read,
    ReadFeed,
    StoreOp,
    StreamAppend,
    StreamId,
    force,
    synchronise,
    world,
)
from eventsrc.events.codec import Codec
from eventsrc.following.waiting import WaitForEvents
from eventsrc.postgres import PostgresListener, PostgresStore, PostgresViews
from eventsrc.stores.operations import (
    FindAppend,
    LoadSnapshot,
    NotAStore,
    SaveSnapshot,
    Snapshot,
    StoreReadOnly,
)
from eventsrc.views.operations import GetParked, GetProgress
from tests.docs.pages import ROOT, blocks
from tests.postgres.databases import Databases
from tests.postgres.test_following import LONG, is_listening
from tests.postgres.test_held import ask
from tests.postgres.test_server import until
from tests.postgres.test_store import in_a_loop
from tests.postgres.test_views import notes_view, rows_of
from tests.views.library import TYPES, Closed, Noted, books

CODEC = Codec(TYPES)
HERE = books[0].id
ELSEWHERE = StreamId("books/elsewhere")
VIEWS = "shop_views"


@attrs.frozen
class Roles:
    """A database that belongs to its owner, and whom else it knows."""

    owner: str
    writer: str
    synchroniser: str
    reader: str
    stranger: str


def grants() -> str:
    """The grants, as the page shows them."""
    for block in blocks(ROOT / "docs" / "how-to" / "postgres.md"):
        if shown := re.search(r'GRANTS = """(.*?)"""', block.text, re.DOTALL):
            return shown[1]
    raise AssertionError("the page shows no grants")


@contextmanager
def with_roles(dsn: str) -> Iterator[Roles]:
    """A store of two events in a database, and roles with the grants."""
    with PostgresStore(dsn, codec=CODEC) as store:
        store.run(books[0].append(Noted(0), Noted(1)))
    prefix = f"r{uuid4().hex[:8]}_"
    names = [f"{prefix}{name}" for name in ("writer", "synchroniser", "reader", "stranger")]
    with psycopg.connect(dsn) as db:
        try:
            db.execute(f"CREATE ROLE {names[-1]} LOGIN".encode())
        except psycopg.errors.InsufficientPrivilege as error:
            pytest.skip(f"the server of the environment lets us make no roles: {error}")
        renamed = re.sub(r"shop_(?=writer|reader|synchroniser)", prefix, grants())
        db.execute(renamed.encode())
    yield Roles(dsn, *(make_conninfo(dsn, user=name) for name in names))
    with psycopg.connect(dsn) as db:
        for name in names:
            db.execute(f"DROP OWNED BY {name} CASCADE; DROP ROLE {name}".encode())


@pytest.fixture
def roles(postgres_dsn: str) -> Iterator[Roles]:
    with with_roles(postgres_dsn) as roles:
        yield roles


@pytest.fixture(scope="module")
def unchanged(databases: Databases) -> Iterator[Roles]:
    """Roles for tests that change nothing."""
    dsn = databases.take()
    with with_roles(dsn) as roles:
        yield roles
    databases.give_back(dsn)


@pytest.fixture(params=["PostgresStore", "AsyncPostgresStore"])
def opened(request: pytest.FixtureRequest) -> Callable[..., Any]:
    return PostgresStore if request.param == "PostgresStore" else in_a_loop


READS: list[StoreOp] = [
    Read(HERE),
    Head(HERE),
    ReadFeed(),
    ReadFeed(prefix="books/", types=frozenset({"library.noted"})),
    FindAppend(uuid4()),
    LoadSnapshot(HERE, "fold", 1),
]
WRITES: list[StoreOp] = [
    Append(HERE, (Noted(2),)),
    Append(HERE, (Noted(3), Noted(4)), append_id=uuid4()),
    Append(HERE, (Closed("a kind that is new"),)),
    AppendAll((StreamAppend(HERE, (Noted(5),)), StreamAppend(ELSEWHERE, (Noted(0),)))),
    SaveSnapshot(Snapshot(HERE, "fold", 1, 1, b"1")),
    SaveSnapshot(Snapshot(HERE, "fold", 1, 2, b"2")),
]


def test_a_writer_can_read_and_append(roles: Roles, opened: Callable[..., Any]) -> None:
    with opened(roles.writer, codec=CODEC) as store:
        for op in [*READS, *WRITES, *READS]:
            store.run(op)
        assert store.run(Head(HERE)) == 7
        assert store.run(LoadSnapshot(HERE, "fold", 1)).data == b"2"


@pytest.mark.parametrize("role", ["reader", "synchroniser"])
def test_who_may_only_read_can_and_is_refused_the_rest(
    role: str, unchanged: Roles, opened: Callable[..., Any]
) -> None:
    with opened(getattr(unchanged, role), codec=CODEC) as store:
        for op in READS:
            store.run(op)
        for op in WRITES:
            with pytest.raises(StoreReadOnly, match="may not write there"):
                store.run(op)
        assert store.run(Head(HERE)) == 2


def test_a_synchroniser_makes_its_views_and_keeps_them_up_to_date(roles: Roles) -> None:
    view = notes_view()
    with (
        PostgresStore(roles.synchroniser, codec=CODEC) as store,
        PostgresViews(roles.synchroniser, [view], schema=VIEWS) as views,
    ):
        app = store | views | world
        assert app.run(synchronise(view)).applied == 2
        with PostgresStore(roles.writer, codec=CODEC) as writer:
            token = writer.run(books[0].append(Noted(2))).token
        app.run(force(view, token)).unwrap()
        assert rows_of(views) == {HERE: "0,1,2"}


def test_a_reader_queries_views_and_cannot_move_them(roles: Roles) -> None:
    view = notes_view()
    with (
        PostgresStore(roles.synchroniser, codec=CODEC) as store,
        PostgresViews(roles.synchroniser, [view], schema=VIEWS) as views,
    ):
        (store | views).run(synchronise(view))
    with (
        PostgresStore(roles.reader, codec=CODEC) as store,
        PostgresViews(roles.reader, schema=VIEWS) as views,
    ):
        assert rows_of(views) == {HERE: "0,1"}
        assert views.run(GetProgress(view)).applied == 2
        with PostgresStore(roles.writer, codec=CODEC) as writer:
            writer.run(books[0].append(Noted(2)))
        with pytest.raises(StoreReadOnly):
            (store | views).run(synchronise(view))


STATEMENTS = {
    "change an event": "UPDATE eventsrc.event SET data = ''",
    "remove an event": "DELETE FROM eventsrc.event",
    "empty a table": "TRUNCATE eventsrc.event",
    "remove a stream": "DELETE FROM eventsrc.stream",
    "rename the store": "UPDATE eventsrc.store SET id = 'x'",
    "forget an append": "DELETE FROM eventsrc.append",
    "change the version of the tables": "UPDATE eventsrc.eventsrc_applied SET scripts = 9",
    "make a table": "CREATE TABLE eventsrc.mine (id int)",
    "drop a table": "DROP TABLE eventsrc.event CASCADE",
    "change a function": "CREATE OR REPLACE FUNCTION eventsrc.readable(data bytea) RETURNS json "
    "LANGUAGE sql AS 'SELECT NULL::json'",
    "make a trigger": "CREATE TRIGGER t BEFORE UPDATE ON eventsrc.event "
    "FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
}


@pytest.mark.parametrize("statement", STATEMENTS.values(), ids=STATEMENTS.keys())
def test_nobody_but_the_owner_can(statement: str, unchanged: Roles) -> None:
    for role in (unchanged.writer, unchanged.synchroniser, unchanged.reader):
        with psycopg.connect(role) as db, pytest.raises(psycopg.errors.InsufficientPrivilege):
            db.execute(statement.encode())
        db.close()
    with psycopg.connect(unchanged.owner) as db:
        db.execute(statement.encode())
        db.rollback()


def test_a_role_without_grants_is_refused_with_a_clear_error(
    unchanged: Roles, opened: Callable[..., Any]
) -> None:
    with pytest.raises(StoreReadOnly, match="permission denied"), opened(unchanged.stranger):
        pass


def test_a_role_that_may_not_make_the_tables_says_so(
    unchanged: Roles, opened: Callable[..., Any]
) -> None:
    with (
        pytest.raises(StoreReadOnly, match="permission denied"),
        opened(unchanged.writer, schema="nowhere"),
    ):
        pass
    assert ask(unchanged.owner, "SELECT to_regnamespace('nowhere') IS NULL") == [(True,)]


def test_only_the_owner_can_have_appends_call_and_then_all_can_listen(roles: Roles) -> None:
    with pytest.raises(StoreReadOnly, match="as the owner"):
        PostgresListener(roles.synchroniser)
    PostgresListener(roles.owner).close()
    with (
        PostgresListener(roles.synchroniser) as listener,
        PostgresStore(roles.writer, codec=CODEC) as writer,
        ThreadPoolExecutor() as threads,
    ):
        cursor = writer.run(books[0].append(Noted(2))).cursor
        waiting = threads.submit(listener.run, WaitForEvents(cursor, LONG))
        until(lambda: is_listening(roles.owner))
        writer.run(books[0].append(Noted(3)))
        assert waiting.result(10) is True


def test_tables_that_are_of_a_newer_version_are_refused_to_all(roles: Roles) -> None:
    ask(roles.owner, "UPDATE eventsrc.eventsrc_applied SET scripts = 99 RETURNING 1")
    for role in (roles.owner, roles.writer, roles.reader):
        with pytest.raises(NotAStore, match="version 99"):
            PostgresStore(role)


# --- nobody runs as another


TRAPS = """
    CREATE SCHEMA {user};
    GRANT USAGE ON SCHEMA {user} TO PUBLIC;
    CREATE FUNCTION {user}.cardinality({element}[]) RETURNS integer LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO {caught} VALUES (current_user);
        RETURN pg_catalog.cardinality($1);
    END $$;
    CREATE FUNCTION {user}.concat_ws(text, text, text) RETURNS text LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO {caught} VALUES (current_user);
        RETURN pg_catalog.concat_ws($1, $2, $3);
    END $$
"""


def caught_by_traps(roles: Roles, meddle: str = "") -> list[str]:
    """The roles that have run a function of the synchroniser's: it may make schemas, and so those that
    stand for "$user" in the search path of the others.

    meddle: is executed by the owner before.
    """
    users = [psycopg.conninfo.conninfo_to_dict(dsn).get("user") for dsn in (roles.writer, roles.reader)]
    with psycopg.connect(roles.synchroniser) as db:
        db.execute(f"CREATE TABLE {VIEWS}.caught (who text); GRANT ALL ON {VIEWS}.caught TO PUBLIC")
        db.execute(f"GRANT USAGE ON SCHEMA {VIEWS} TO PUBLIC")
        for user in users:
            trap = TRAPS.format(user=f'"{user}"', element="integer", caught=f"{VIEWS}.caught")
            db.execute(trap.encode())
    with psycopg.connect(roles.owner) as db:
        db.execute(meddle.encode())
    try:
        for dsn in (roles.writer, roles.owner):
            with PostgresStore(dsn, codec=CODEC) as store:
                for op in [*WRITES, *READS]:
                    store.run(op)
        return [who for (who,) in ask(roles.owner, f"SELECT DISTINCT who FROM {VIEWS}.caught")]
    finally:
        with psycopg.connect(roles.synchroniser) as db:
            for user in users:
                db.execute(f'DROP SCHEMA "{user}" CASCADE'.encode())


def test_a_role_that_may_make_schemas_has_no_other_run_its_functions(roles: Roles) -> None:
    assert caught_by_traps(roles) == []


def test_control_functions_that_look_in_the_search_path_of_the_caller_are_caught(roles: Roles) -> None:
    unpin = """
        DO $$ DECLARE its regprocedure; BEGIN
            FOR its IN SELECT oid FROM pg_proc WHERE pronamespace = 'eventsrc'::regnamespace LOOP
                EXECUTE format('ALTER FUNCTION %s RESET search_path', its);
            END LOOP;
        END $$
    """
    assert caught_by_traps(roles, unpin) != []


def test_every_function_of_the_library_has_a_search_path_of_its_own(roles: Roles) -> None:
    view = notes_view()
    with (
        PostgresStore(roles.owner, codec=CODEC),
        PostgresViews(roles.owner, [view]),
        PostgresListener(roles.owner),
    ):
        open_to_others = ask(
            roles.owner,
            "SELECT proname FROM pg_proc WHERE pronamespace::regnamespace::text LIKE 'eventsrc%%' "
            "AND NOT coalesce(array_to_string(proconfig, ' '), '') LIKE %s",
            "%search_path=pg_catalog%",
        )
    assert open_to_others == []


def test_constraints_of_schemas_that_a_synchroniser_may_not_use_are_nothing_to_it(
    roles: Roles,
) -> None:
    with psycopg.connect(roles.owner) as db:
        db.execute("CREATE SCHEMA closed; CREATE TABLE closed.t (a int UNIQUE INITIALLY DEFERRED)")

    view = notes_view()

    @view.on(Closed)
    def closed(_: Any, event: Any) -> None:
        raise ValueError

    with PostgresStore(roles.writer, codec=CODEC) as writer:
        writer.run(Append(ELSEWHERE, (Closed("it fails"),)))
        writer.run(Append(HERE, (Noted(2),)))
    with (
        PostgresStore(roles.synchroniser, codec=CODEC) as store,
        PostgresViews(roles.synchroniser, [view], schema=VIEWS) as views,
    ):
        (store | views).run(synchronise(view))
        assert [each.stream for each in views.run(GetParked(view))] == [ELSEWHERE]
        assert rows_of(views) == {HERE: "0,1,2"}

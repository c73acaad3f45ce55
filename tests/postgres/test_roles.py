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
from psycopg_pool import ConnectionPool

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
    gather,
    synchronise,
    world,
)
from eventsrc.events.codec import Codec
from eventsrc.following.waiting import WaitForEvents
from eventsrc.postgres import PostgresListener, PostgresStore, PostgresViews
from eventsrc.postgres import _sql as sql
from eventsrc.stores.operations import (
    FindAppend,
    LoadSnapshot,
    NotAStore,
    SaveSnapshot,
    Snapshot,
    StoreReadOnly,
)
from eventsrc.views.operations import GetParked, GetProgress
from tests.kits.databases import Databases
from tests.kits.library import TYPES, Closed, Noted, books
from tests.kits.pages import ROOT, blocks
from tests.postgres.test_following import LONG, is_listening
from tests.postgres.test_held import ask
from tests.postgres.test_server import until
from tests.postgres.test_store import in_a_loop
from tests.postgres.test_views import notes_view, rows_of
from tests.postgres.transactions import in_scripts

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
    "write an event past the functions": "INSERT INTO eventsrc.event "
    "SELECT position + 9, stream, version + 9, kind, 0, data, data_crc, rest FROM eventsrc.event",
    "name a stream": "INSERT INTO eventsrc.stream (name) VALUES ('made')",
    "name a kind": "INSERT INTO eventsrc.kind (type, schema, codec) VALUES ('made', 1, 'json')",
    "write a snapshot past the function": "INSERT INTO eventsrc.snapshot VALUES ('s', 'f', 1, 1, '')",
    "hold the tables": "LOCK TABLE eventsrc.event IN EXCLUSIVE MODE",
    "hold a row": "SELECT FROM eventsrc.event FOR UPDATE",
    "begin another epoch": "SELECT eventsrc.raise_epoch(0, 1)",
    "make a schema": "CREATE SCHEMA mine",
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


APPENDED: dict[str, tuple[str, str]] = {
    "after a gap": ("append_one", "1, 9, 1, 0, '{}', 0, ''::bytea, 1, 1, 9"),
    "to a stream that is not there": ("append_one", "99, 2, 1, 0, '{}', 0, ''::bytea, 1, 1, 9"),
    "of a kind that is not there": ("append_one", "1, 3, 99, 0, '{}', 0, ''::bytea, 1, 1, 9"),
    "again": ("append_one", "1, 2, 1, 0, '{}', 0, ''::bytea, 1, 1, 9"),
    "after a gap, with others": (
        "append_known",
        "1, 1, 0, '{}', '{1,1}', '{3,5}', '{1,1}', '{a,b}', '{0,0}', '{a,b}'",
    ),
    "of a kind that is not there, with others": (
        "append_known",
        "1, 1, 0, '{}', '{1,1}', '{3,4}', '{1,99}', '{a,b}', '{0,0}', '{a,b}'",
    ),
    "to a new stream, not from its beginning": (
        "append_known",
        "1, 1, 0, '{new}', '{-1}', '{2}', '{1}', '{a}', '{0}', '{a}'",
    ),
    "before the beginning": (
        "append_known",
        "1, 1, 0, '{new}', '{-1}', '{0}', '{1}', '{a}', '{0}', '{a}'",
    ),
}


@pytest.mark.parametrize(("function", "arguments"), APPENDED.values(), ids=APPENDED.keys())
def test_a_writer_appends_what_follows_and_nothing_else(
    function: str, arguments: str, unchanged: Roles
) -> None:
    with psycopg.connect(unchanged.writer) as db:
        with pytest.raises(psycopg.errors.UniqueViolation):
            db.execute(f"SELECT eventsrc.{function}({arguments})".encode())
        db.rollback()
    for role in (unchanged.synchroniser, unchanged.reader):
        with psycopg.connect(role) as db, pytest.raises(psycopg.errors.InsufficientPrivilege):
            db.execute(f"SELECT eventsrc.{function}({arguments})".encode())


def test_control_without_the_look_a_writer_leaves_a_gap(
    monkeypatch: pytest.MonkeyPatch, postgres_dsn: str
) -> None:
    for look in (
        "IF NOT EXISTS (SELECT FROM {s}.event",
        "IF EXISTS (\n            SELECT FROM (",
        "OR NOT EXISTS (SELECT FROM {s}.kind",
    ):
        begins = look[:3].strip()
        blind = "AND" if begins == "OR" else "IF false AND"
        in_scripts(monkeypatch, look, blind + look[len(begins) :])
    with with_roles(postgres_dsn) as roles, psycopg.connect(roles.writer) as db:
        for name in ("after a gap", "after a gap, with others"):
            function, arguments = APPENDED[name]
            db.execute(f"SELECT eventsrc.{function}({arguments})".encode())
            db.rollback()


IN_VIEWS = {
    "change a row": "UPDATE {view}.notes SET numbers = ''",
    "remove rows": "DELETE FROM {view}.notes",
    "move its progress": "UPDATE {view}.eventsrc_part SET position = 99",
    "unpark": "DELETE FROM {view}.eventsrc_parked",
    "have another version read": "UPDATE {views}.eventsrc_live SET version = 9",
    "drop it": "DROP SCHEMA {view} CASCADE",
    "make a table": "CREATE TABLE {view}.mine (id int)",
    "make a schema of views": "SELECT {views}.make_schema('shop_views_mine')",
    "hold it": "LOCK TABLE {view}.eventsrc_part IN EXCLUSIVE MODE",
}


def test_views_are_their_synchronisers_alone(roles: Roles) -> None:
    view = notes_view()
    with (
        PostgresStore(roles.synchroniser, codec=CODEC) as store,
        PostgresViews(roles.synchroniser, [view], schema=VIEWS) as views,
    ):
        (store | views).run(synchronise(view))
    schema = f"{VIEWS}_{view.name}_{view.version}"
    for statement in IN_VIEWS.values():
        for role in (roles.writer, roles.reader):
            with psycopg.connect(role) as db, pytest.raises(psycopg.errors.InsufficientPrivilege):
                db.execute(statement.format(view=schema, views=VIEWS).encode())
    with psycopg.connect(roles.writer) as db, pytest.raises(psycopg.errors.InsufficientPrivilege):
        db.execute(f"SELECT * FROM {schema}.notes".encode())


def test_a_synchroniser_has_schemas_made_for_views_and_for_nothing_else(roles: Roles) -> None:
    with psycopg.connect(roles.synchroniser) as db:
        for name in ("public_mine", "shop_view", '"; DROP TABLE eventsrc.event; --'):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                db.execute(f"SELECT {VIEWS}.make_schema(%s)".encode(), (name,))
            db.rollback()
        hostile = VIEWS + '_"; DROP TABLE eventsrc.event; --'
        db.execute(f"SELECT {VIEWS}.make_schema(%s)".encode(), (hostile,))
        assert db.execute("SELECT count(*) FROM eventsrc.event").fetchone() == (2,)
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
    CREATE SCHEMA {trap};
    GRANT USAGE ON SCHEMA {trap} TO PUBLIC;
    CREATE TABLE {trap}.caught (who text);
    GRANT ALL ON {trap}.caught TO PUBLIC;
"""
TRAP = """
    CREATE FUNCTION {trap}.{name}({parameters}) RETURNS {answer} LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO {trap}.caught VALUES (current_user);
        RETURN {query} pg_catalog.{name}({call});
    END $$;
"""
TRAPPED = (
    ("cardinality", "integer[]", "integer", "", "$1"),
    ("concat_ws", "text, text, text", "text", "", "$1, $2, $3"),
    ("unnest", "text[]", "SETOF text", "QUERY SELECT", "$1"),
    ("unnest", "bigint[]", "SETOF bigint", "QUERY SELECT", "$1"),
)
"""Functions of Postgres for any type, of which one for this very type is preferred, if it is seen."""


def caught_by_traps(roles: Roles, meddle: str = "") -> set[str]:
    """The roles that run functions which a role has made that may make schemas.

    They stand in the schema that is first in the path of the writer, and of the owner.
    meddle: is executed by the owner before.
    """
    mine = psycopg.conninfo.conninfo_to_dict(roles.synchroniser)["user"]
    trap = f"trap_{uuid4().hex[:8]}"
    with psycopg.connect(roles.owner) as db:  # more than the synchroniser needs
        db.execute(f"GRANT CREATE ON DATABASE {db.info.dbname} TO {mine}".encode())
    with psycopg.connect(roles.synchroniser) as db:
        db.execute(TRAPS.format(trap=trap).encode())
        for name, parameters, answer, query, call in TRAPPED:
            made = TRAP.format(
                trap=trap, name=name, parameters=parameters, answer=answer, query=query, call=call
            )
            db.execute(made.encode())
    with psycopg.connect(roles.owner) as db:
        db.execute(meddle.encode())
    view = notes_view()
    for dsn in (roles.writer, roles.owner):
        path = make_conninfo(dsn, options=f"-c search_path={trap},pg_catalog")
        with PostgresStore(path, codec=CODEC) as store, ConnectionPool(path, min_size=1) as pool:
            for op in [*WRITES, *READS]:
                store.run(op)
            with PostgresStore(pool, codec=CODEC) as lent:
                for op in [*WRITES, *READS]:
                    lent.run(op)
                lent.run(gather(Read(HERE), Read(ELSEWHERE)))
    path = make_conninfo(roles.owner, options=f"-c search_path={trap},pg_catalog")
    with PostgresStore(roles.owner, codec=CODEC) as store, PostgresViews(path, [view]) as views:
        (store | views).run(synchronise(view))
    return {who for (who,) in ask(roles.owner, f"SELECT DISTINCT who FROM {trap}.caught")}


def test_no_role_runs_what_another_has_put_into_its_path(roles: Roles) -> None:
    assert caught_by_traps(roles) == set()


def test_control_functions_that_look_in_the_search_path_of_the_caller_are_caught(roles: Roles) -> None:
    unpin = """
        DO $$ DECLARE its regprocedure; BEGIN
            FOR its IN SELECT oid FROM pg_proc WHERE pronamespace = 'eventsrc'::regnamespace LOOP
                EXECUTE format('ALTER FUNCTION %s RESET search_path', its);
            END LOOP;
        END $$
    """
    owner = ask(roles.owner, "SELECT current_user")[0][0]
    assert owner in caught_by_traps(roles, unpin)


def test_control_statements_that_look_in_the_path_of_the_session_are_caught(
    roles: Roles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql, "READ_SEVERAL", sql.READ_SEVERAL.replace("pg_catalog.", ""))
    assert caught_by_traps(roles) != set()


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

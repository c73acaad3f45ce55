"""Schemas: made once whoever comes first, several in a database, and never taken for one another."""

from __future__ import annotations

from contextlib import ExitStack
from io import FileIO
from uuid import UUID

import psycopg
import pytest

from eventsrc import START, Append, Head, ReadFeed, StreamId, synchronise
from eventsrc.events.codec import Codec
from eventsrc.events.positions import WrongStore
from eventsrc.postgres import PostgresListener, PostgresStore, PostgresViews, _sql
from eventsrc.postgres._schema import Tables
from eventsrc.stores.operations import NotAStore
from tests.faults import scaled
from tests.kits.library import TYPES, Noted
from tests.postgres.test_held import ask
from tests.postgres.test_views import notes_view
from tests.postgres.transactions import ask_on
from tests.processes.forked import Forked
from tests.processes.postgres.opener import main

CODEC = Codec(TYPES)
HERE = StreamId("books/1")


def opened_by_processes(
    dsn: str, schemas: list[str], *broken: str, processes: int = 4
) -> list[set[str]]:
    """What processes that open each schema at the same moment say of it."""
    said: list[set[str]] = []
    with ExitStack() as stack:
        openers = [stack.enter_context(Forked(main, dsn, *broken, *schemas)) for _ in range(processes)]
        for _ in schemas:
            assert {line(opener.stdout) for opener in openers} == {"ready"}
            for opener in openers:
                opener.stdin.write(b"begin\n")
            said.append({line(opener.stdout) for opener in openers})
    return said


def line(output: FileIO) -> str:
    return output.readline().decode().strip()


def test_processes_that_open_a_new_schema_at_once_make_one_store(postgres_dsn: str) -> None:
    schemas = [f"s{number}" for number in range(scaled(6, 160))]
    for schema, said in zip(schemas, opened_by_processes(postgres_dsn, schemas), strict=True):
        assert len(said) == 1, said
        assert ask(postgres_dsn, f"SELECT id FROM {schema}.store") == [(said.pop(),)]
        assert ask(postgres_dsn, f"SELECT scripts FROM {schema}.eventsrc_applied") == [
            (len(_sql.SCRIPTS),)
        ]


def test_control_processes_that_do_not_wait_for_each_other_are_caught(postgres_dsn: str) -> None:
    schemas = [f"s{number}" for number in range(10)]
    said = opened_by_processes(postgres_dsn, schemas, "--unlocked")
    assert any(len(answers) > 1 for answers in said)


def test_a_migration_that_ends_half_way_leaves_nothing_and_the_next_begins_anew(
    postgres_dsn: str,
) -> None:
    made, broken = "CREATE TABLE {s}.one (id int)", "CREATE TABLE {s}.two (id int); SELECT 1 / 0"
    with pytest.raises(Exception, match="division by zero"), psycopg.connect(postgres_dsn) as db:
        ask_on(Tables("here", [made, broken], "one").migrate(), db)
    assert ask(postgres_dsn, "SELECT to_regnamespace('here') IS NULL") == [(True,)]
    with psycopg.connect(postgres_dsn) as db:
        assert ask_on(Tables("here", [made], "one").migrate(), db) == 0
    with psycopg.connect(postgres_dsn) as db:
        assert ask_on(Tables("here", [made, broken.partition(";")[0]], "one").migrate(), db) == 1
    assert ask(postgres_dsn, "SELECT max(scripts) FROM here.eventsrc_applied") == [(2,)]


def test_stores_of_a_database_know_nothing_of_each_other(postgres_dsn: str) -> None:
    with (
        PostgresStore(postgres_dsn, codec=CODEC, schema="one") as one,
        PostgresStore(postgres_dsn, codec=CODEC, schema='an "odd" näme') as two,
    ):
        here = one.run(Append(HERE, (Noted(1), Noted(2)))).unwrap()
        there = two.run(Append(HERE, (Noted(3),), 0)).unwrap()
        assert (here.cursor.position, there.cursor.position) == (2, 1)
        assert one.store_id != two.store_id
        assert [event.data for event in two.run(ReadFeed(START)).events] == [Noted(3)]
        with pytest.raises(WrongStore):
            two.run(ReadFeed(here.cursor))


def test_an_append_to_a_store_waits_for_no_other_store_of_the_database(postgres_dsn: str) -> None:
    with (
        PostgresStore(postgres_dsn, codec=CODEC, schema="one") as one,
        PostgresStore(postgres_dsn, codec=CODEC, schema="two", timeout=1) as two,
        psycopg.connect(postgres_dsn) as db,
    ):
        one.within(db).run(Append(HERE, (Noted(1),))).unwrap()
        two.run(Append(HERE, (Noted(2),))).unwrap()
        assert two.run(Head(HERE)) == 1
        db.rollback()


def test_a_store_and_views_in_one_schema_are_refused(postgres_dsn: str) -> None:
    PostgresStore(postgres_dsn, schema="one").close()
    with pytest.raises(NotAStore, match="a schema each"):
        PostgresViews(postgres_dsn, schema="one")
    PostgresViews(postgres_dsn, schema="two").close()
    with pytest.raises(NotAStore, match="a schema each"):
        PostgresStore(postgres_dsn, schema="two")


def test_data_and_metadata_can_be_read_as_json_with_sql(postgres_dsn: str) -> None:
    with (
        PostgresStore(postgres_dsn, codec=CODEC) as store,
        PostgresViews(postgres_dsn, [notes_view()]) as views,
    ):
        appended = store.run(Append(HERE, (Noted(7),), metadata={"actor": "Zoë"})).unwrap()
        (store | views).run(synchronise(notes_view()))
    query = (
        "SELECT position, stream, version, type, schema, data->>'number', metadata->>'actor', "
        "append_id, recorded_at > now() - interval '1 hour' FROM eventsrc.events"
    )
    kind = TYPES.of(Noted).name
    assert ask(postgres_dsn, query) == [
        (1, HERE, 1, kind, 1, "7", "Zoë", appended.append_id, True),
    ]


ODD = [
    "we%ird",
    "a%sb",
    "{lock}",
    "{s}",
    "x$$y",
    "$body0$ $$",
    'q"q',
    "a'b",
    "back\\slash",
    "ü" * 31,
    "?",
]


@pytest.mark.parametrize("schema", ODD)
def test_a_schema_may_have_any_name(postgres_dsn: str, schema: str) -> None:
    with PostgresStore(postgres_dsn, codec=CODEC, schema=schema) as store:
        store.run(Append(HERE, (Noted(1), Noted(2)))).unwrap()
        store.run(Append(HERE, (Noted(3),))).unwrap()
        PostgresListener(postgres_dsn, schema=schema).close()
        with (
            psycopg.connect(postgres_dsn) as db,
            PostgresViews(postgres_dsn, [notes_view()], schema=f"{schema[:20]}_v") as views,
        ):
            store.within(db).run(Append(HERE, (Noted(4),), append_id=UUID(int=1))).unwrap()
            db.commit()
            assert (store | views).run(synchronise(notes_view())).applied == 4
            with views.reading(notes_view()) as read:
                assert read.execute("SELECT numbers FROM notes").fetchall() == [("1,2,3,4",)]
        noted = ReadFeed(prefix="books/", types=frozenset({TYPES.of(Noted).name}))
        assert len(store.run(noted).events) == 4
    made = ask(postgres_dsn, "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_|^public|^inf|_v'")
    assert made == [(schema,)]

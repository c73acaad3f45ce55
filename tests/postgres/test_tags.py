"""Tags on Postgres: what an append costs, races of stores, processes and groups, who may do what."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from typing import Any
from uuid import uuid4

import attrs
import psycopg
import pytest
from psycopg_pool import ConnectionPool

from eventsrc import (
    START,
    Append,
    AppendAll,
    Codec,
    Failure,
    Head,
    Read,
    ReadFeed,
    StreamAppend,
    StreamId,
    Success,
)
from eventsrc.events.event import EventTypes, event
from eventsrc.events.tags import about
from eventsrc.postgres import PostgresStore, _sql
from eventsrc.postgres._policy import Connections
from eventsrc.postgres._questions import Questions
from eventsrc.postgres.store import _appending
from eventsrc.stores.copying import GetIdentity, KeepRecords
from eventsrc.stores.operations import StoreBusy, StoreReadOnly, Unknown
from eventsrc.stores.tags import (
    AppendIf,
    BoundaryChanged,
    IndexTags,
    NotIndexed,
    OtherTags,
    ReadTagged,
    Unchanged,
    index_tags,
)
from eventsrc.testing._contract._shared import at_once
from tests.faults import scaled
from tests.kits.proxy import Cut, Frozen, Proxy
from tests.postgres import test_roles
from tests.postgres.test_held import ask
from tests.postgres.test_roles import grants, with_roles
from tests.postgres.test_server import until
from tests.postgres.test_store import in_a_loop
from tests.postgres.transactions import in_scripts
from tests.processes.forked import Forked
from tests.processes.postgres.joiner import (
    SEATS,
    TYPES,
    Joined,
    Untagged,
    boundary,
    course,
    join,
    main,
    student,
)

CODEC = Codec(TYPES)
HERE = StreamId("courses/here")


@pytest.fixture
def store(postgres_dsn: str) -> Iterator[PostgresStore]:
    with PostgresStore(postgres_dsn, codec=CODEC) as store:
        yield store


def joining(which: str, *since: Any, who: str = "s", stream: StreamId | None = None) -> AppendIf:
    """An append of one event to a course, if nothing of the course came since a cursor."""
    part = StreamAppend(stream or StreamId(f"students/{uuid4().hex}"), (Joined(which, who),))
    return AppendIf((part,), (Unchanged(boundary(which), since[0] if since else START),))


def rows_of(dsn: str) -> list[tuple[Any, ...]]:
    return sorted(
        ask(dsn, "SELECT tag, position, type FROM eventsrc.tagged JOIN eventsrc.kind ON kind = id")
    )


def wanted_rows(store: Any) -> list[tuple[Any, ...]]:
    """The rows that the events say there must be."""
    rows: list[tuple[Any, ...]] = []
    cursor = START
    while True:
        page = store.run(ReadFeed(cursor, 10_000))
        for recorded in page.events:
            if isinstance(recorded.data, Joined):
                rows.append((f"course:{recorded.data.course}", recorded.position, recorded.type))
                rows.append((f"student:{recorded.data.who}", recorded.position, recorded.type))
        cursor = page.next
        if cursor == page.end:
            return sorted(rows)


# --- what it costs


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The functions or tables that statements are about, in the order in which they are executed."""
    asked: list[str] = []
    names = {_shape(text): name for name, text in vars(_sql).items() if isinstance(text, str)}
    execute = Connections.execute

    def noting(self: Any, statement: Any, deadline: float) -> Any:
        shape = _shape(statement.sql.decode())
        asked.append(names.get(shape, shape))
        return execute(self, statement, deadline)

    monkeypatch.setattr(Connections, "execute", noting)
    return asked


def _shape(text: str) -> str:
    return "".join(text.replace('"eventsrc"', "{s}").split())


def test_an_append_is_the_statements_that_it_was_and_with_tags_as_many(
    store: PostgresStore, statements: list[str]
) -> None:
    def asked(op: Any) -> list[str]:
        statements.clear()
        assert isinstance(store.run(op), Success)
        return statements.copy()

    other = StreamId("courses/other")
    for stream in (HERE, other):  # the first time, kinds are numbered, and heads learnt
        store.run(Append(stream, (Untagged(1),)))
        store.run(Append(stream, (Joined("a", "b"),)))
    assert asked(Append(HERE, (Untagged(2),))) == ["APPEND_ONE"]
    assert asked(Append(HERE, (Untagged(3), Untagged(4)))) == ["APPEND_KNOWN"]
    assert asked(Append(HERE, (Untagged(5),), append_id=uuid4())) == ["APPEND"]
    parts = StreamAppend(HERE, (Untagged(6),)), StreamAppend(other, (Untagged(6),))
    assert asked(AppendAll(parts)) == ["APPEND"]
    end = store.run(ReadFeed()).end
    assert asked(Append(HERE, (Joined("a", "b"),))) == ["APPEND_TAGGED_ONE"]
    assert asked(joining("b", end, stream=HERE)) == ["APPEND_TAGGED_ONE"]
    assert asked(joining("c", end)) == ["APPEND_TAGGED"]
    assert asked(Append(HERE, (Joined("a", "b"), Untagged(7)))) == ["APPEND_TAGGED"]
    statements.clear()
    store.run(ReadTagged(boundary("b")))
    assert len(statements) == 1


def test_no_table_is_looked_through_for_tags(store: PostgresStore, postgres_dsn: str) -> None:
    parts = tuple(
        StreamAppend(StreamId(f"students/{n}"), tuple(Joined(f"{n}", f"{m}") for m in range(50)))
        for n in range(40)
    )
    store.run(AppendAll(parts))
    store.close()
    before = looked_through(postgres_dsn)
    both = boundary("3") | about(course["3"], student["7"], of=Joined, types=TYPES)
    with PostgresStore(postgres_dsn, codec=CODEC) as store:
        for _ in range(20):
            page = store.run(ReadTagged(both))
            unchanged = (Unchanged(both, page.end),)
            op = AppendIf((StreamAppend(HERE, (Joined("3", "7"),)),), unchanged)
            assert isinstance(store.run(op), Success)
            assert isinstance(store.run(op), Failure)
    assert looked_through(postgres_dsn) == before


def looked_through(dsn: str) -> int:
    """How often a whole table was looked through by sessions, which tell that when they end."""
    sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    until(lambda: ask(dsn, sessions) == [(1,)])
    looked = "SELECT sum(seq_scan) FROM pg_stat_user_tables WHERE relname IN ('event', 'tagged')"
    return int(ask(dsn, looked)[0][0])


# --- races


def test_members_of_one_commit_see_those_before_them(store: PostgresStore) -> None:
    store.run(Append(HERE, (Untagged(1), Joined("x", "y"))))
    end = store.run(ReadFeed()).end
    for first, second, third in (
        (joining("a", end), joining("a", end), joining("b", end)),
        (Append(HERE, (Joined("c", "s"),)), joining("c", end), Append(HERE, (Untagged(2),))),
    ):
        answers = together(store, [first, second, third])
        assert [type(answer) for answer in answers] == [Success, Failure, Success]
        conflict = answers[1].failure()
        assert isinstance(conflict, BoundaryChanged)
        assert [event.position for event in conflict.events] == [answers[0].unwrap().cursor.position]


def together(store: PostgresStore, ops: Sequence[Any]) -> Sequence[Any]:
    """The answers to appends that share a commit."""
    group = [store._prepared(op) for op in ops]
    return store._link.run(_appending(store._link.policy, store._questions, group, 5))


def test_control_members_of_one_commit_that_are_not_checked_among_each_other_are_caught(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_scripts(monkeypatch, "OR c_after[c] = last;", "OR c_after[c] = last OR a > 1;")
    with PostgresStore(postgres_dsn, codec=CODEC) as store, pytest.raises(AssertionError):
        test_members_of_one_commit_see_those_before_them(store)


def fill_courses(dsn: str, courses: int, *, looking: bool = False) -> int:
    """The most that joined one of some courses, for whose seats four stores race."""
    stores = [PostgresStore(dsn, codec=CODEC, timeout=30) for _ in range(4)]
    try:
        for number in range(courses):
            at_once(
                *[
                    lambda its=its, who=f"{nth}", number=number: [
                        join(its, f"{number}", who, looking=looking) for _ in range(SEATS)
                    ]
                    for nth, its in enumerate(stores)
                ]
            )
        assert rows_of(dsn) == wanted_rows(stores[0])
    finally:
        for each in stores:
            each.close()
    of_each = ask(dsn, "SELECT count(*) FROM eventsrc.tagged WHERE tag LIKE 'course:%%' GROUP BY tag")
    assert len(of_each) == courses
    most: int = max(count for (count,) in of_each)
    return most


def test_no_course_is_overbooked_by_stores_that_race_for_its_seats(postgres_dsn: str) -> None:
    assert fill_courses(postgres_dsn, scaled(5, 100)) == SEATS


def test_who_reads_nothing_in_common_is_in_nobodys_way(postgres_dsn: str) -> None:
    each = scaled(40, 1_250)
    with (
        PostgresStore(postgres_dsn, codec=CODEC, timeout=30) as one,
        PostgresStore(postgres_dsn, codec=CODEC, timeout=30) as another,
    ):

        def go_on(store: PostgresStore, which: str) -> None:
            cursor = START
            for _ in range(each):
                cursor = store.run(joining(which, cursor)).unwrap().cursor

        at_once(
            *[
                lambda store=(one, another)[nth % 2], which=f"{nth}": go_on(store, which)
                for nth in range(8)
            ]
        )
        for nth in range(8):
            assert len(one.run(ReadTagged(boundary(f"{nth}"), limit=10_000)).events) == each


def test_control_a_look_before_the_append_overbooks(postgres_dsn: str) -> None:
    assert fill_courses(postgres_dsn, 8, looking=True) > SEATS


def test_writers_that_are_killed_leave_events_with_their_tags_or_neither(postgres_dsn: str) -> None:
    chance = random.Random(7)
    courses = 0
    with PostgresStore(postgres_dsn, codec=CODEC, timeout=30) as store:
        for _ in range(scaled(4, 60)):
            with ExitStack() as stack:
                writers = [stack.enter_context(Forked(main, postgres_dsn, f"{n}")) for n in range(3)]
                for writer in writers:
                    assert line(writer) == b"ready"
                for _ in range(3):
                    courses += 1
                    for writer in writers:
                        writer.stdin.write(f"{courses}\n".encode() * SEATS)
                for writer in writers:
                    for _ in range(chance.randrange(3 * SEATS)):
                        assert line(writer) == b"done"
                    writer.kill()
        assert rows_of(postgres_dsn) == wanted_rows(store)
        for number in range(1, courses + 1):
            while join(store, f"{number}", "last"):
                pass
            assert len(store.run(ReadTagged(boundary(f"{number}"))).events) == SEATS


def line(process: Forked) -> bytes:
    found = b""
    while not found.endswith(b"\n"):
        found += process.stdout.read(1) or b"\n"
    return found.strip()


@pytest.mark.parametrize("streams", [1, 2])
@pytest.mark.parametrize("fault", [Cut(3, "client"), Frozen()], ids=["its answer", "its way"])
def test_an_append_whose_answer_is_lost_is_stored_once_and_answered_again(
    fault: Cut | Frozen, streams: int, store: PostgresStore, postgres_dsn: str
) -> None:
    ids = [HERE, StreamId("courses/also")][:streams]
    for stream in ids:
        store.run(Append(stream, (Joined("x", "y"),)))
    end = store.run(ReadFeed()).end
    parts = tuple(StreamAppend(stream, (Joined("a", "s"),)) for stream in ids)
    op = AppendIf(parts, (Unchanged(boundary("a"), end),))
    with Proxy(postgres_dsn) as proxy, PostgresStore(proxy.dsn, codec=CODEC, timeout=0.5) as far:
        far.run(Read(HERE))
        proxy.fault = fault
        told = far.run(op).failure()
        assert isinstance(told, Unknown)
        again = attrs.evolve(op, append_id=told.append_id)  # type: ignore[misc]
        first = store.run(again).unwrap()  # though the boundary may have changed: by itself
        proxy.fault = None
        until(lambda: proxy.connections == 0)  # the server has read what was sent, and its end
    store.run(Append(HERE, (Untagged(1),))).unwrap()
    assert store.run(again).unwrap() == first
    assert len(store.run(ReadTagged(boundary("a"))).events) == streams
    assert isinstance(store.run(op).failure(), BoundaryChanged)
    assert rows_of(postgres_dsn) == wanted_rows(store)


# --- in a transaction of the caller's


def test_in_a_transaction_tags_and_conditions_are_of_it(
    store: PostgresStore, postgres_dsn: str
) -> None:
    end = store.run(joining("a")).unwrap().cursor
    with psycopg.connect(postgres_dsn) as connection:
        within = store.within(connection)
        within.run(joining("b")).unwrap()
        assert isinstance(within.run(joining("b", end)).failure(), BoundaryChanged)
        connection.rollback()
    assert rows_of(postgres_dsn) == wanted_rows(store)
    with psycopg.connect(postgres_dsn) as connection:
        within = store.within(connection)
        within.run(joining("b", end)).unwrap()
        assert len(within.run(ReadTagged(boundary("b"))).events) == 1
        with pytest.raises(StoreReadOnly, match="ask the store itself"):
            within.run(IndexTags())
        connection.commit()
    assert len(store.run(ReadTagged(boundary("b"))).events) == 1
    assert rows_of(postgres_dsn) == wanted_rows(store)


# --- programs that declare others, or none


OLD = EventTypes()


@event("test.joined", types=OLD)
class JoinedAsBefore:
    """As the program had it before it declared tags."""

    course: str
    who: str


def append_as_before(dsn: str, *courses: str) -> None:
    """What a process of the release before does: for each course it prints how that ended."""
    with PostgresStore(dsn, codec=Codec(OLD)) as store:
        for which in courses:
            try:
                store.run(Append(HERE, (JoinedAsBefore(which, "old"),))).unwrap()
            except OtherTags:
                print("refused", flush=True)
            else:
                print("stored", flush=True)


def test_a_process_of_before_appends_until_all_is_indexed_and_is_refused_then(
    postgres_dsn: str,
) -> None:
    with Forked(append_as_before, postgres_dsn, "a", "b") as old:
        assert [line(old), line(old)] == [b"stored"] * 2
    with PostgresStore(postgres_dsn, codec=CODEC) as store:
        store.run(Append(HERE, (Joined("a", "new"),))).unwrap()
        with pytest.raises(NotIndexed, match=r"test\.joined"):
            store.run(ReadTagged(boundary("a")))
        with Forked(append_as_before, postgres_dsn, "a") as old:
            assert line(old) == b"stored"
        part = store.run(IndexTags(limit=2))
        assert not part.is_done
        with Forked(append_as_before, postgres_dsn, "a") as old:
            assert line(old) == b"stored"
        store.run(Append(HERE, (Joined("b", "new"),))).unwrap()
        assert store.run(index_tags()) == 6
        assert rows_of(postgres_dsn) == wanted_rows(store)
        assert len(store.run(ReadTagged(boundary("a"))).events) == 4
        with Forked(append_as_before, postgres_dsn, "a") as old:
            assert line(old) == b"refused"
        assert store.run(Head(HERE)) == 6


def test_control_a_process_that_is_not_refused_leaves_a_hole(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_scripts(monkeypatch, "id = ANY(e_kind) AND is_whole", "false")
    in_scripts(monkeypatch, " AND NOT is_whole", "")
    PostgresStore(postgres_dsn).close()
    with pytest.raises(AssertionError, match="refused"):
        test_a_process_of_before_appends_until_all_is_indexed_and_is_refused_then(postgres_dsn)


def test_events_that_come_while_others_are_indexed_are_not_left_out(postgres_dsn: str) -> None:
    with PostgresStore(postgres_dsn, codec=Codec(OLD)) as old:
        old.run(Append(HERE, tuple(JoinedAsBefore(f"{n % 3}", "old") for n in range(60)))).unwrap()
        with PostgresStore(postgres_dsn, codec=CODEC) as store:

            def go_on() -> None:
                with suppress(OtherTags):
                    while True:
                        old.run(Append(HERE, (JoinedAsBefore("1", "old"),))).unwrap()

            at_once(go_on, lambda: indexed(store, 20))
            assert rows_of(postgres_dsn) == wanted_rows(store)


def index_while_another_appends(dsn: str, patch: pytest.MonkeyPatch) -> list[str]:
    """What becomes of an append of before that comes in the middle of the last page to be indexed."""
    index = Questions._index
    came: list[str] = []

    def and_then(self: Any, *about: Any) -> Any:
        yield from index(self, *about)
        try:
            old.run(Append(HERE, (JoinedAsBefore("late", "old"),))).unwrap()
        except StoreBusy:
            came.append("it waited")
        else:
            came.append("it was stored")

    with (
        PostgresStore(dsn, codec=Codec(OLD), timeout=0.5) as old,
        PostgresStore(dsn, codec=CODEC) as store,
    ):
        old.run(Append(HERE, (JoinedAsBefore("a", "old"),))).unwrap()
        patch.setattr(Questions, "_index", and_then)
        assert store.run(IndexTags()).is_done
        assert rows_of(dsn) == wanted_rows(store)
    return came


def test_nobody_appends_between_the_last_page_and_its_end(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert index_while_another_appends(postgres_dsn, monkeypatch) == ["it waited"]


def test_control_indexing_that_does_not_hold_the_order_leaves_a_hole(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_sql, "WAIT_IN_TRANSACTION", "SELECT %s::integer")
    with pytest.raises(AssertionError, match="late"):
        index_while_another_appends(postgres_dsn, monkeypatch)


def indexed(store: Any, limit: int) -> None:
    while not store.run(IndexTags(limit=limit)).is_done:
        pass


# --- tables that were emptied, copied, and of before


def test_what_is_taken_out_of_the_tables_takes_its_tags_with_it(
    store: PostgresStore, postgres_dsn: str
) -> None:
    for which in "ab":
        store.run(joining(which)).unwrap()
    ask(postgres_dsn, "DELETE FROM eventsrc.event WHERE position = 2 RETURNING 1")
    assert [row[:2] for row in rows_of(postgres_dsn)] == [("course:a", 1), ("student:s", 1)]
    store.run(joining("c")).unwrap()
    assert len(store.run(ReadTagged(boundary("c"))).events) == 1
    with psycopg.connect(postgres_dsn) as db:
        db.execute("TRUNCATE eventsrc.event, eventsrc.stream, eventsrc.kind, eventsrc.append")
    assert rows_of(postgres_dsn) == []
    store.run(joining("a")).unwrap()
    assert rows_of(postgres_dsn) == wanted_rows(store)


@pytest.mark.parametrize("statement", ["TRUNCATE eventsrc.tagged", "DELETE FROM eventsrc.tagged"])
def test_tags_that_are_lost_are_missed_until_they_are_indexed_again(
    statement: str, store: PostgresStore, postgres_dsn: str
) -> None:
    store.run(joining("a")).unwrap()
    with psycopg.connect(postgres_dsn) as db:
        db.execute(statement.encode())
    with pytest.raises(NotIndexed):
        store.run(ReadTagged(boundary("a")))
    store.run(index_tags())
    assert rows_of(postgres_dsn) == wanted_rows(store)
    assert len(store.run(ReadTagged(boundary("a"))).events) == 1


def test_a_copy_is_indexed_before_its_boundaries_are_told(
    store: PostgresStore, postgres_dsn: str
) -> None:
    for which in "ab":
        store.run(joining(which)).unwrap()
    identity = store.run(GetIdentity())

    def records() -> tuple[Any, ...]:
        return tuple(event.record for event in store.run(ReadFeed()).events)

    with PostgresStore(postgres_dsn, schema="copy", codec=CODEC) as copy:
        copy.run(KeepRecords(identity, records()))
        for which in "cd":
            with pytest.raises(NotIndexed):
                copy.run(ReadTagged(boundary("a")))
            copy.run(index_tags())
            assert len(copy.run(ReadTagged(boundary("a"))).events) == 1
            store.run(joining(which)).unwrap()
            copy.run(KeepRecords(identity, records()[-1:]))
        copy.run(index_tags())
        assert len(copy.run(ReadTagged(boundary("d"))).events) == 1


def test_a_schema_of_before_is_brought_forward_and_a_migration_that_is_killed_leaves_it(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts = _sql.SCRIPTS
    with psycopg.connect(postgres_dsn, autocommit=True) as db, monkeypatch.context() as patch:
        as_before(patch)
        with PostgresStore(postgres_dsn, codec=Codec(OLD)) as old:
            for number in range(20):
                old.run(Append(HERE, (JoinedAsBefore(f"{number % 2}", "old"),))).unwrap()
            statements = re.findall(r".+?\$\$;|.+", scripts[2], re.DOTALL)
            for done in range(len(statements)):
                with psycopg.connect(postgres_dsn) as killed:
                    for statement in statements[: done + 1]:
                        asked = old._questions._tables.ask(statement)
                        killed.execute(asked.sql)
                    pid = killed.info.backend_pid
                    db.execute("SELECT pg_terminate_backend(%s)", (pid,))
                    killed.close()
            old.run(Append(HERE, (JoinedAsBefore("0", "old"),))).unwrap()
    assert ask(postgres_dsn, "SELECT max(scripts) FROM eventsrc.eventsrc_applied") == [(2,)]
    with PostgresStore(postgres_dsn, codec=CODEC) as store:
        assert store.run(Head(HERE)) == 21
        with pytest.raises(NotIndexed):
            store.run(ReadTagged(boundary("0")))
        store.run(index_tags())
        assert len(store.run(ReadTagged(boundary("0"))).events) == 11
        assert rows_of(postgres_dsn) == wanted_rows(store)


# --- who may


def test_roles_can_do_with_tags_what_they_can_without(postgres_dsn: str) -> None:
    with with_roles(postgres_dsn) as roles:
        check_roles(roles)


def test_roles_of_before_the_migration_can_do_so_after_it(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, ExitStack() as stack:
        as_before(patch)
        granted = grants().replace(WITH_TAGS, "")
        assert "tagged" not in granted
        patch.setattr(test_roles, "grants", lambda: granted)
        roles = stack.enter_context(test_roles.with_roles(postgres_dsn))
        patch.undo()
        with PostgresStore(roles.owner, codec=CODEC):
            pass
        check_roles(roles)


WITH_TAGS = """,
        eventsrc.append_tagged, eventsrc.append_tagged_one, eventsrc.add_tagged_kinds"""


def as_before(patch: pytest.MonkeyPatch) -> None:
    """Has stores make and use the tables of the version before tags."""
    patch.setattr(_sql, "SCRIPTS", _sql.SCRIPTS[:2])
    columns = "SELECT 0, id, type, schema, codec, '', false "
    patch.setattr(_sql, "KINDS", columns + _sql.KINDS[_sql.KINDS.index("FROM (VALUES") :])


def check_roles(roles: Any) -> None:
    """A writer appends, a reader and a synchroniser read, and only the owner indexes."""
    with PostgresStore(roles.writer, codec=CODEC) as store:
        end = store.run(joining("a")).unwrap().cursor
        store.run(Append(HERE, (Joined("b", "s"),))).unwrap()
        store.run(joining("b", store.run(ReadFeed()).end, stream=HERE)).unwrap()
        assert isinstance(store.run(joining("b", end)).failure(), BoundaryChanged)
        with pytest.raises(StoreReadOnly):
            store.run(IndexTags())
    for role in (roles.reader, roles.synchroniser):
        with PostgresStore(role, codec=CODEC) as store:
            assert len(store.run(ReadTagged(boundary("b"))).events) == 2
            for op in (joining("c"), joining("b", START, stream=HERE), IndexTags()):
                with pytest.raises(StoreReadOnly):
                    store.run(op)
    with PostgresStore(roles.owner, codec=CODEC) as store:
        assert store.run(IndexTags()).is_done


# --- connections of others, and event loops


@pytest.mark.parametrize("opened", [PostgresStore, in_a_loop], ids=["threads", "loop"])
def test_streams_and_courses_may_be_called_anything(
    opened: Callable[..., Any], postgres_dsn: str
) -> None:
    odd = "o'\"\\{},NULL é\n%s $1"
    with opened(postgres_dsn, schema='odd "\\ %s $$', codec=CODEC) as store:
        end = store.run(joining(odd)).unwrap().cursor
        assert isinstance(store.run(joining(odd)).failure(), BoundaryChanged)
        assert store.run(ReadTagged(boundary(odd))).events[0].data == Joined(odd, "s")
        store.run(joining(odd, end)).unwrap()


def test_a_pool_whose_connections_prepare_nothing_will_do(postgres_dsn: str) -> None:
    with (
        ConnectionPool(postgres_dsn, kwargs={"prepare_threshold": None}, min_size=1) as pool,
        PostgresStore(pool, codec=CODEC) as store,
    ):
        end = store.run(joining("a")).unwrap().cursor
        for _ in range(8):
            end = store.run(joining("a", end)).unwrap().cursor
        assert isinstance(store.run(joining("a")).failure(), BoundaryChanged)
        assert len(store.run(ReadTagged(boundary("a"))).events) == 9
        assert len(store.run(Read(HERE)).events) == 0

"""A Postgres store is dumped while it is written to, and restored in another cluster.

Passed if the restored store has every event that was acknowledged before the dump was begun, in the
same order, no batch in half; if it goes on, and cursors that were kept go on in it with nothing
skipped; and if a cursor that is ahead of it is refused.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import psycopg
import pytest

from eventsrc import START, Append, Appended, Cursor, Head, ReadFeed, StreamId, Success
from eventsrc.events.positions import BadCursor
from eventsrc.postgres.store import PostgresStore
from eventsrc.testing.postgres import FAST, PostgresServer, available
from tests.faults import scaled
from tests.faults.test_backup import shown
from tests.kits.events import CODEC, Tick
from tests.kits.feed import batches_of, whole_feed
from tests.postgres.test_server import until
from tests.postgres.witness import Witness, at_work


@pytest.fixture(scope="module")
def bin(postgres_server: PostgresServer) -> Path:
    """Where pg_dump and pg_restore are, of the server's version."""
    for installed in available():
        programs = [installed.bin / name for name in ("pg_dump", "pg_restore")]
        if installed.major == postgres_server.major and all(map(Path.is_file, programs)):
            return installed.bin
    pytest.skip("there is no pg_dump of the server's version")


@pytest.fixture(scope="module")
def elsewhere(bin: Path) -> Iterator[PostgresServer]:
    """Another cluster, whose transactions have lower numbers than those of the first."""
    with PostgresServer(bin=bin, settings=FAST) as server:
        yield server


@attrs.frozen
class Dump:
    """A dump, and what was known when it was begun."""

    path: Path
    acknowledged: frozenset[int]
    cursor: Cursor
    """Where a follower of the original had got to."""

    def restored(self, server: PostgresServer, bin: Path) -> str:
        """The address of a new database with what is in the dump."""
        dsn = server.create_database()
        run(bin / "pg_restore", "--no-owner", "--exit-on-error", "--dbname", dsn, self.path)
        return dsn


def run(*command: str | Path) -> None:
    done = subprocess.run([*command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def dumped(bin: Path, dsn: str, path: Path, *options: str) -> None:
    run(bin / "pg_dump", "--format=custom", "--file", path, *options, dsn)


@contextmanager
def appending(dsn: str) -> Iterator[list[Witness]]:
    """Some append until the block ends."""
    witnesses = [Witness(number) for number in range(4)]
    with PostgresStore(dsn, codec=CODEC, timeout=30) as store:
        over, threads = at_work(witnesses, [store])
        try:
            yield witnesses
        finally:
            over.set()
            for thread in threads:
                thread.join()


def acknowledged(witnesses: list[Witness]) -> frozenset[int]:
    """The batches that are known to be stored."""
    noted = [one for witness in witnesses for one in [*witness.noted]]
    stored = [one.op for one in noted if isinstance(one.attempt.answer, Appended)]
    return frozenset(tick.batch for op in stored for tick in op.events if isinstance(tick, Tick))


def wrong_with(
    dump: Dump, restored: str, original: list[tuple[object, ...]], store_id: str
) -> list[str]:
    """What is missing or changed in a restored store."""
    wrong: list[str] = []
    with PostgresStore(restored, codec=CODEC) as store:
        if store.store_id != store_id:
            wrong.append("it is another store")
        events = shown(whole_feed(store))
        if events != original[: len(events)]:
            wrong.append("it is not how the store begins")
        if missing := dump.acknowledged - batches_of(whole_feed(store)).keys():
            wrong.append(f"it lacks {len(missing)} acknowledged batches")
        if shown(whole_feed(store, dump.cursor)) != events[dump.cursor.position :]:
            wrong.append("a reader that goes on skips events")
    return wrong


@pytest.mark.timeout(600)
def test_a_dump_made_during_load_has_all_that_was_acknowledged_and_goes_on(
    postgres_dsn: str,
    tmp_path: Path,
    bin: Path,
    elsewhere: PostgresServer,
    figure: Callable[[str], None],
) -> None:
    dumps: list[Dump] = []
    with appending(postgres_dsn) as witnesses, PostgresStore(postgres_dsn, codec=CODEC) as follower:
        cursor = START
        for number in range(scaled(3)):
            until(lambda n=number: len(acknowledged(witnesses)) > 200 * (n + 1))  # type: ignore[misc]
            cursor = follower.run(ReadFeed(cursor, 37)).next
            dump = Dump(tmp_path / f"{number}.dump", acknowledged(witnesses), cursor)
            dumped(bin, postgres_dsn, dump.path)
            dumps.append(dump)
    with PostgresStore(postgres_dsn, codec=CODEC) as store:
        original, store_id = shown(whole_feed(store)), store.store_id
    for dump in dumps:
        restored = dump.restored(elsewhere, bin)
        assert wrong_with(dump, restored, original, store_id) == []
        with PostgresStore(restored, codec=CODEC) as store:
            before = [*whole_feed(store)]
            new, old = StreamId("after/restore"), before[-1].stream
            head = store.run(Head(old))
            assert isinstance(store.run(Append(new, (Tick(-1, 0, 1),), 0)), Success)
            assert isinstance(store.run(Append(old, (Tick(-2, 0, 1),), head)), Success)
            after = [*whole_feed(store)]
            assert after[:-2] == before
            assert [recorded.version for recorded in after[-2:]] == [1, head + 1]
    figure(f"{len(dumps)} dumps, the last of {len(dumps[-1].acknowledged)} batches or more")


def test_control_a_dump_that_is_older_than_it_claims_is_caught(
    postgres_dsn: str, tmp_path: Path, bin: Path, elsewhere: PostgresServer
) -> None:
    with appending(postgres_dsn) as witnesses:
        until(lambda: len(acknowledged(witnesses)) > 20)
        dumped(bin, postgres_dsn, tmp_path / "dump")
        until(lambda: len(acknowledged(witnesses)) > 500)
        dump = Dump(tmp_path / "dump", acknowledged(witnesses), START)
    restored = dump.restored(elsewhere, bin)
    with PostgresStore(postgres_dsn, codec=CODEC) as store:
        original, store_id = shown(whole_feed(store)), store.store_id
    assert any("lacks" in sentence for sentence in wrong_with(dump, restored, original, store_id))


def test_control_a_feed_by_transaction_numbers_loses_its_events_in_another_cluster(
    postgres_dsn: str, tmp_path: Path, bin: Path, elsewhere: PostgresServer
) -> None:
    seen = "SELECT count(*) FROM horizon WHERE by < pg_snapshot_xmin(pg_current_snapshot())"
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE horizon (by xid8 DEFAULT pg_current_xact_id())")
        with psycopg.connect(elsewhere.dsn, autocommit=True) as other:
            until(lambda: is_ahead(connection, other))
        connection.execute("INSERT INTO horizon DEFAULT VALUES")
        assert connection.execute(seen.encode()).fetchone() == (1,)
    dumped(bin, postgres_dsn, tmp_path / "dump")
    restored = Dump(tmp_path / "dump", frozenset(), START).restored(elsewhere, bin)
    with psycopg.connect(restored) as connection:
        assert connection.execute(seen.encode()).fetchone() == (0,)


def is_ahead(
    connection: psycopg.Connection[tuple[object, ...]], other: psycopg.Connection[tuple[object, ...]]
) -> bool:
    """Whether a cluster has had many more transactions than another; has some more."""
    numbers = b"SELECT pg_snapshot_xmax(pg_current_snapshot())::text"
    for _ in range(100):
        connection.execute("SELECT pg_current_xact_id()")
    rows = [each.execute(numbers).fetchone() for each in (connection, other)]
    ours, theirs = [int(str(row[0])) for row in rows if row is not None]
    return ours > theirs + 1000


def test_a_cursor_that_is_ahead_of_a_restored_store_is_refused(
    postgres_dsn: str, tmp_path: Path, bin: Path, elsewhere: PostgresServer
) -> None:
    def append(store: PostgresStore, number: int) -> None:
        assert isinstance(store.run(Append(StreamId("ticks"), (Tick(number, 0, 1),))), Success)

    with PostgresStore(postgres_dsn, codec=CODEC) as store:
        append(store, 0)
        dumped(bin, postgres_dsn, tmp_path / "dump")
        append(store, 1)
        append(store, 2)
        ahead = store.run(ReadFeed()).next
    restored = Dump(tmp_path / "dump", frozenset(), START).restored(elsewhere, bin)
    with PostgresStore(restored, codec=CODEC) as store:
        append(store, 3)
        for limit, types in [(1, None), (500, None), (500, frozenset({"test.fault.tick"}))]:
            with pytest.raises(BadCursor, match="restored"):
                store.run(ReadFeed(ahead, limit, types=types))

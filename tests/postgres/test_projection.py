"""On Postgres, the process that brings a view up to date is killed at any moment.

Passed if, after each of 8 kills over 1 500 events (of 50 over 20 000 in the longer tier), the view has
just the effects up to its position, none twice and none missing, and in the end equals a fresh replay
row by row.
"""

from __future__ import annotations

import os
import random
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest

from eventsrc import START, Append, ReadFeed, StreamId, Success, synchronise
from eventsrc.postgres import PostgresStore
from eventsrc.testing.postgres import PostgresServer
from eventsrc.views.operations import GetProgress
from tests.faults import scaled
from tests.faults.test_projection import PAGES, Found, fold
from tests.kits.events import CODEC, Tick
from tests.postgres.test_held import ask
from tests.postgres.test_server import until
from tests.processes.forked import Forked
from tests.processes.postgres.projector import counting_view, main, opened
from tests.processes.projector import READY

EVENTS = scaled(1_500, 20_000)
KILLS = scaled(8, 50)
SHARE = EVENTS // KILLS * 3 // 2
"""A projector is killed before it has handled so many: they do not come to the end before the last."""

SESSIONS = "SELECT count(*) - 1 FROM pg_stat_activity WHERE datname = current_database()"


@pytest.fixture(scope="module")
def dsn(postgres_server: PostgresServer) -> Iterator[str]:
    """A store of many events, in appends of 1 to 9 to 8 streams."""
    dsn = postgres_server.create_database()
    chance = random.Random(8)
    left = EVENTS
    with PostgresStore(dsn, codec=CODEC) as store:
        while left:
            size = min(chance.randint(1, 9), left)
            ticks = tuple(Tick(left, number, size) for number in range(size))
            stream = StreamId(f"ticks/{chance.randrange(8)}")
            assert isinstance(store.run(Append(stream, ticks)), Success)
            left -= size
    yield dsn
    postgres_server.drop_database(dsn)


@pytest.fixture
def feed(dsn: str) -> list[tuple[str, int]]:
    """The stream and the number of each event; their positions are dense."""
    ticks: list[tuple[str, int]] = []
    with PostgresStore(dsn, codec=CODEC) as store:
        cursor = START
        while len(ticks) < EVENTS:
            page = store.run(ReadFeed(cursor, 1000))
            ticks += [(event.stream, event.data.batch) for event in page.events]
            cursor = page.next
    return ticks


@pytest.fixture(scope="module")
def fresh(dsn: str) -> list[tuple[object, ...]]:
    """All that the tables of a view hold which was never interrupted."""
    return replay(dsn, new_place())


def new_place() -> str:
    """The schema of a view that is to be empty."""
    return f"s{uuid4().hex}"


def kill_projector(dsn: str, views: str, chance: random.Random, share: int, *broken: str) -> int | None:
    """Starts a projector and kills it about when it has handled up to so many events.

    Answers how many it had handled; None if it came to the end of the feed before.
    """
    page = str(chance.choice(PAGES))
    handled, wanted = 0, chance.randrange(share)
    with Forked(main, dsn, views, page, *broken) as projector:
        assert projector.stdout.read(1) == READY
        while handled < wanted and (seen := projector.stdout.read(wanted - handled)):
            handled += len(seen)
        os.kill(projector.pid, signal.SIGKILL)
        while seen := projector.stdout.read(65_536):
            handled += len(seen)
        ended = projector.wait(60)
    assert ended in (0, -signal.SIGKILL)
    until(lambda: ask(dsn, SESSIONS)[0][0] == 0)  # the server has noticed
    return handled if ended else None


def examine(dsn: str, views: str, feed: list[tuple[str, int]]) -> Found:
    """Compares the view with its position in the feed."""
    view = counting_view()
    with opened(dsn, views, view) as place:
        position = place.run(GetProgress(view)).cursor.position
        with place.reading(view) as db:
            effects = [place for (place,) in db.execute("SELECT position FROM effect ORDER BY id")]
            rows = db.execute("SELECT stream, events, sum FROM count").fetchall()
    times = Counter(effects)
    due = Counter(range(1, position + 1))
    return Found(
        position,
        effects[-1] if effects else 0,
        (times - due).total(),
        (due - times).total(),
        sorted(rows),
        fold(feed[:position]),
    )


def dump(dsn: str, views: str) -> list[tuple[object, ...]]:
    """All rows of the view and of its progress, but for the number of the last transaction."""
    view = counting_view()
    found: list[tuple[object, ...]] = []
    with opened(dsn, views, view) as place, place.reading(view) as db:
        for table in (b"effect", b"count", b"eventsrc_part", b"eventsrc_guard"):
            query = b"SELECT '%b', (to_jsonb(its) - 'handling')::text FROM %b AS its ORDER BY 2"
            found += db.execute(query % (table, table)).fetchall()
    return found


def replay(dsn: str, views: str) -> list[tuple[object, ...]]:
    """Brings a view to the end of the feed and answers all that its tables then hold."""
    view = counting_view()
    with PostgresStore(dsn, codec=CODEC) as store, opened(dsn, views, view) as place:
        assert (store | place).run(synchronise(view)).lag == 0
    return dump(dsn, views)


@pytest.mark.timeout(600)
def test_a_view_whose_projector_is_killed_equals_a_fresh_replay(
    dsn: str,
    feed: list[tuple[str, int]],
    fresh: list[tuple[object, ...]],
    figure: Callable[[str], None],
) -> None:
    chance = random.Random(23)
    assert len(fresh) > EVENTS
    kills = inside = position = 0
    views = new_place()
    while kills < KILLS:
        handled = kill_projector(dsn, views, chance, SHARE if kills else 1)
        found = examine(dsn, views, feed)
        assert found.is_right, found
        if handled is None:
            assert dump(dsn, views) == fresh
            views, position = new_place(), 0
            continue
        kills += 1
        inside += handled > found.position - position
        position = found.position
    assert replay(dsn, views) == fresh
    assert inside, "no kill was inside a transaction"
    figure(f"{EVENTS} events, {kills} kills, {inside} of them inside a transaction; 0 extra, 0 missing")


@pytest.mark.parametrize("broken", ["--effects-first", "--position-first"])
def test_control_a_position_in_a_transaction_of_its_own_is_caught(
    dsn: str, feed: list[tuple[str, int]], fresh: list[tuple[object, ...]], broken: str
) -> None:
    chance, views = random.Random(23), new_place()
    for _ in range(200):
        handled = kill_projector(dsn, views, chance, 200, broken)
        found = examine(dsn, views, feed)
        if not found.is_right:
            break
        if handled is None:
            views = new_place()
    else:
        pytest.fail("nothing was wrong")
    assert found.extra if broken == "--effects-first" else found.missing
    assert replay(dsn, views) != fresh

"""The process that brings a view up to date is killed at any moment.

Passed if, after each of 10 kills over 2 500 events (of 50 over 20 000 in the longer tier), the view has
just the effects up to its position, none twice and none missing, and in the end equals a fresh replay
byte for byte.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import attrs
import pytest

from eventsrc import START, Append, ReadFeed, SqliteStore, SqliteViews, StreamId, Success, synchronise
from eventsrc.views.operations import GetProgress
from tests.faults import scaled
from tests.kits.events import CODEC, Tick
from tests.processes.forked import Forked
from tests.processes.projector import READY, counting_view, main

EVENTS = scaled(2_500, 20_000)
KILLS = scaled(10, 50)
SHARE = EVENTS // KILLS * 3 // 2
"""A projector is killed before it has handled so many: they do not come to the end before the last."""
PAGES = [1, 10, 50, 100]

Row = tuple[str, int, int]


@attrs.frozen
class Found:
    """What was found in a view after a kill."""

    position: int
    last: int
    """The position of its last effect."""
    extra: int
    missing: int
    rows: list[Row]
    expected: list[Row]
    """A plain fold of the feed up to the position."""

    @property
    def is_right(self) -> bool:
        """Whether it is the view that belongs to its position."""
        return (
            self.position <= self.last
            and not self.extra
            and not self.missing
            and self.rows == self.expected
        )


@pytest.fixture(scope="module")
def store_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of many events, in appends of 1 to 9 to 8 streams."""
    path = tmp_path_factory.mktemp("projection") / "store.db"
    chance = random.Random(8)
    left = EVENTS
    with SqliteStore(path, CODEC, durability="process") as store:
        while left:
            size = min(chance.randint(1, 9), left)
            ticks = tuple(Tick(left, number, size) for number in range(size))
            stream = StreamId(f"ticks/{chance.randrange(8)}")
            assert isinstance(store.run(Append(stream, ticks)), Success)
            left -= size
    return path


def feed_of(path: Path) -> list[tuple[str, int]]:
    """The stream and the number of each event; their positions are dense."""
    ticks: list[tuple[str, int]] = []
    with SqliteStore(path, CODEC) as store:
        cursor = START
        while len(ticks) < EVENTS:
            page = store.run(ReadFeed(cursor, 1000))
            for event in page.events:
                tick: Tick = event.data
                ticks.append((event.stream, tick.batch))
                assert event.position == len(ticks)
            cursor = page.next
    return ticks


def fold(feed: list[tuple[str, int]]) -> list[Row]:
    """What the view must hold after these events."""
    rows: dict[str, Row] = {}
    for stream, number in feed:
        _, events, total = rows.get(stream, (stream, 0, None))
        rows[stream] = (
            stream,
            events + 1,
            number if total is None else (total * 31 + number) % 1_000_003,
        )
    return sorted(rows.values())


def kill_projector(
    store: Path, views: Path, chance: random.Random, share: int, *broken: str
) -> int | None:
    """Starts a projector and kills it about when it has handled up to so many events.

    Answers how many it had handled; None if it came to the end of the feed before.
    """
    page = str(chance.choice(PAGES))
    handled, until = 0, chance.randrange(share)
    with Forked(main, str(store), str(views), page, *broken) as projector:
        assert projector.stdout.read(1) == READY
        while handled < until and (seen := projector.stdout.read(until - handled)):
            handled += len(seen)
        os.kill(projector.pid, signal.SIGKILL)
        while seen := projector.stdout.read(65_536):
            handled += len(seen)
        ended = projector.wait(60)
    assert ended in (0, -signal.SIGKILL)
    return handled if ended else None


def examine(views_path: Path, feed: list[tuple[str, int]]) -> Found:
    """Compares the view with its position in the feed; the file must be sound."""
    view = counting_view()
    with SqliteViews(views_path, [view]) as views:
        position = views.run(GetProgress(view)).cursor.position
        with views.reading(view) as db:
            effects = [place for (place,) in db.execute("SELECT position FROM effect ORDER BY id")]
            rows = db.execute("SELECT stream, events, sum FROM count ORDER BY stream").fetchall()
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    times = Counter(effects)
    due = Counter(range(1, position + 1))
    return Found(
        position,
        effects[-1] if effects else 0,
        (times - due).total(),
        (due - times).total(),
        rows,
        fold(feed[:position]),
    )


def dump(path: Path) -> str:
    """All tables of a file, row by row."""
    with closing(sqlite3.connect(path)) as connection:
        return "\n".join(connection.iterdump())


def replay(store_path: Path, views_path: Path) -> str:
    """Brings a view to the end of the feed and answers all that its file then holds."""
    view = counting_view()
    with SqliteStore(store_path, CODEC) as store, SqliteViews(views_path, [view]) as views:
        assert (store | views).run(synchronise(view)).lag == 0
        return dump(views.path(view))


@pytest.mark.timeout(600)
def test_a_view_whose_projector_is_killed_equals_a_fresh_replay(
    store_path: Path, tmp_path: Path, figure: Callable[[str], None]
) -> None:
    feed, chance = feed_of(store_path), random.Random(23)
    fresh = replay(store_path, tmp_path / "fresh.db")
    kills = inside = moved = passes = position = 0
    while kills < KILLS:
        views = tmp_path / f"views-{passes}.db"
        handled = kill_projector(store_path, views, chance, SHARE if kills else 1)
        found = examine(views, feed)
        assert found.is_right, found
        if handled is None:
            assert replay(store_path, views) == fresh
            passes, position = passes + 1, 0
            continue
        kills += 1
        inside += handled > found.position - position
        moved += found.position > position
        position = found.position
    assert replay(store_path, tmp_path / f"views-{passes}.db") == fresh
    assert inside, "no kill was inside a transaction"
    assert moved > kills / 3, "hardly any was after one"
    figure(f"{EVENTS} events, {kills} kills, {inside} of them inside a transaction; 0 extra, 0 missing")


@pytest.mark.parametrize("broken", ["--effects-first", "--position-first"])
def test_control_a_position_in_a_transaction_of_its_own_is_caught(
    store_path: Path, tmp_path: Path, broken: str
) -> None:
    feed, chance, views = feed_of(store_path), random.Random(23), tmp_path / "views.db"
    for attempt in range(200):
        handled = kill_projector(store_path, views, chance, 200, broken)
        found = examine(views, feed)
        if not found.is_right:
            break
        if handled is None:
            views = tmp_path / f"views-{attempt}.db"
    else:
        pytest.fail("nothing was wrong")
    assert found.extra if broken == "--effects-first" else found.missing
    assert replay(store_path, views) != replay(store_path, tmp_path / "fresh.db")

"""A store's file is damaged; no wrong event may be returned, and errors say where."""

from __future__ import annotations

import random
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from eventsrc import START, Append, EventsrcError, Read, ReadFeed, SqliteStore, StreamId
from eventsrc.events.record import Corrupted
from eventsrc.events.recorded import Recorded
from tests.faults import scaled
from tests.kits.events import CODEC, Tick

STREAMS = [StreamId(f"ticks/{number}") for number in range(8)]


def original(path: Path) -> bytes:
    """The bytes of a sound file with 400 events in 8 streams; event n of stream s is Tick(n, s, 0)."""
    with SqliteStore(path, CODEC) as store:
        for version in range(1, 51):
            for number, stream in enumerate(STREAMS):
                store.run(Append(stream, (Tick(version, number, 0),)))
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return path.read_bytes()


def damaged(content: bytes, chance: random.Random) -> bytes:
    """The file with some bytes flipped, a page zeroed, or its end cut off."""
    image = bytearray(content)
    match chance.randrange(4):
        case 0:
            del image[chance.randrange(len(image)) :]
        case 1:
            page = chance.randrange(len(image) // 4096) * 4096
            image[page : page + 4096] = bytes(4096)
        case _:
            for _ in range(chance.randint(1, 20)):
                image[chance.randrange(len(image))] ^= 1 << chance.randrange(8)
    return bytes(image)


def right(recorded: Recorded[Tick]) -> bool:
    data, stream = recorded.data, recorded.stream
    return stream in STREAMS and data == Tick(recorded.version, STREAMS.index(stream), 0)


def look_at(store: SqliteStore, seen: Counter[str]) -> Iterator[Recorded[Tick]]:
    """Every event that can still be had, by streams and by the feed."""
    for stream in STREAMS:
        try:
            page = store.run(Read(stream, limit=100))
            assert [event.version for event in page.events] == list(range(1, len(page.events) + 1))
            seen["whole streams" if len(page.events) == 50 else "streams short in silence"] += 1
            yield from page.events
        except EventsrcError:
            seen["streams refused"] += 1
    try:
        yield from store.run(ReadFeed(START, 1000)).events
    except EventsrcError:
        seen["feeds refused"] += 1


def examine(folder: Path, rounds: int) -> Counter[str]:
    """Damages the file in many ways; counts what became of the events."""
    content = original(folder / "sound.db")
    seen: Counter[str] = Counter()
    for seed in range(rounds):
        path = folder / f"{seed}.db"
        path.write_bytes(damaged(content, random.Random(seed)))
        began = time.thread_time()  # which others on the machine do not lengthen
        try:
            store = SqliteStore(path, CODEC, timeout=1)
        except EventsrcError:
            seen["files refused"] += 1
            continue
        with store:
            for recorded in look_at(store, seen):
                try:
                    seen["right" if right(recorded) else "wrong"] += 1
                except Corrupted as error:
                    said = f"{recorded.record.stream} (position {recorded.position})" in str(error)
                    seen["corrupted, and said so" if said else "corrupted, and did not say"] += 1
                except EventsrcError:
                    seen["undecodable"] += 1
        assert time.thread_time() - began < 2.0
    return seen


def test_no_wrong_event_is_returned_from_a_damaged_file(
    tmp_path: Path, figure: Callable[[str], None]
) -> None:
    seen = examine(tmp_path, scaled(80, 3_200))
    figure(", ".join(f"{count} {what}" for what, count in sorted(seen.items())))
    assert seen["wrong"] == 0, seen
    assert seen["corrupted, and did not say"] == 0
    assert seen["corrupted, and said so"] > 0
    assert seen["whole streams"] > 0


def test_control_without_checksums_altered_events_are_returned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventsrc.events.recorded.check_data", lambda record: record)
    monkeypatch.setattr("eventsrc.events.recorded.check_rest", lambda record: record)
    assert examine(tmp_path, scaled(80, 3_200))["wrong"] > 0

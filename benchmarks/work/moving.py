"""Data that moves: exports and imports, beside the same columns read, written and inserted by hand.

By hand there are no checksums, no chain, and nothing to go on from.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import attrs

from benchmarks.facts import renamed
from benchmarks.places import Places
from benchmarks.rounds import Result, Sample, Work
from benchmarks.table import markdown, number, yes_or_no
from benchmarks.work import Part, scaled
from eventsrc import Append, SqliteStore, StreamId
from eventsrc.moving import ExportReader, ExportWriter, both, copy

BUDGET = 0.5
"""How much of the speed by hand is to be reached."""

FEW, MANY = 20_000, 200_000
STREAMS, AT_ONCE = 1_000, 10

_SELECT = """
    SELECT position, name, version, type, schema, codec, recorded_at, CAST(data AS TEXT), data_crc, rest
    FROM eventsrc_event
    JOIN eventsrc_stream ON eventsrc_stream.id = stream JOIN eventsrc_kind ON eventsrc_kind.id = kind
    ORDER BY position
"""
_TABLE = """
    CREATE TABLE event (
        position INTEGER PRIMARY KEY, stream INTEGER, version INTEGER, kind INTEGER,
        recorded_at INTEGER, data BLOB, data_crc INTEGER, rest BLOB, UNIQUE (stream, version)
    )
"""


@attrs.frozen
class Way:
    """By hand or by eventsrc, with so many events."""

    name: str
    events: int


Do = Callable[[Way, Path, Path], float]


def part() -> Part:
    """These works."""
    ways = [Way(f"{how}, {size}", count) for how in ("raw", "eventsrc") for size, count in _SIZES]
    works = [
        Work(f"moving/{key}", name, "events/s", _measured(do), ways)
        for key, name, do in (
            ("export", "export from SQLite", export),
            ("import", "import into SQLite", import_),
        )
    ]
    return Part("Data that moves", works, table)


_SIZES = (("small", FEW), ("large", MANY))


def table(results: Sequence[Result]) -> Iterator[str]:
    """A line for each work and size."""
    heads = ("work", "events", "raw", "eventsrc", "of raw", "budget", "met?")
    rows: list[tuple[str, ...]] = []
    for result in results:
        for size, count in _SIZES:
            raw = [sample.speed for sample in result.samples[f"raw, {size}"]]
            ours = [sample.speed for sample in result.samples[f"eventsrc, {size}"]]
            ratio = max(ours) / max(raw)
            told = f"{count:,}", number(max(raw)), number(max(ours)), f"{ratio:.2f}"
            rows.append((result.work.name, *told, f"{BUDGET:.2f}", yes_or_no(ratio >= BUDGET)))
    yield from markdown(heads, rows)


def _measured(do: Do) -> Callable[[Way, Places, float], Sample]:
    def measure(way: Way, places: Places, scale: float) -> Sample:
        count = scaled(way.events, scale, 100)
        with TemporaryDirectory(dir=places.path) as folder:
            store = Path(folder, "store.db")
            fill(store, count)
            return Sample(count, do(way, store, Path(folder)))

    return measure


def fill(path: Path, count: int) -> None:
    """Makes a store with so many events, or a few more."""
    with SqliteStore(path, durability="process") as store:
        for begin in range(0, count, AT_ONCE):
            stream = StreamId(f"users/{begin // AT_ONCE % STREAMS}")
            events = tuple(renamed(begin, nth) for nth in range(AT_ONCE))
            store.run(Append(stream, events)).unwrap()


def export(way: Way, path: Path, folder: Path) -> float:
    """Writes all events into a file; answers the seconds that it took."""
    file = folder / "export.jsonl"
    began = perf_counter()
    if way.name.startswith("raw"):
        with closing(sqlite3.connect(path)) as connection, file.open("w") as out:
            for row in connection.execute(_SELECT):
                out.write(json.dumps([*row[:-1], row[-1].hex()]) + "\n")
    else:
        with SqliteStore(path) as store, ExportWriter(file) as writer:
            both(store, writer).run(copy())
    return perf_counter() - began


def import_(way: Way, path: Path, folder: Path) -> float:
    """Reads all events of a file, or rows that are there, into a database of their own."""
    file, target = folder / "export.jsonl", folder / "target.db"
    if not way.name.startswith("raw"):
        export(way, path, folder)
        began = perf_counter()
        with ExportReader(file) as reader, SqliteStore(target) as store:
            both(reader, store).run(copy())
        return perf_counter() - began
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT * FROM eventsrc_event ORDER BY position").fetchall()
    began = perf_counter()
    with closing(sqlite3.connect(target, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = wal")
        connection.execute("PRAGMA synchronous = full")
        connection.execute(_TABLE)
        for begin in range(0, len(rows), 1000):
            connection.execute("BEGIN")
            some = rows[begin : begin + 1000]
            connection.executemany("INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?, ?)", some)
            connection.execute("COMMIT")
    return perf_counter() - began

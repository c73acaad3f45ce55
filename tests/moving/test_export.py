"""An export says itself whether it is whole, and goes on where it was broken off."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventsrc import Append, MemoryStore, ReadFeed, StreamId
from eventsrc.errors import BadCursor, BadExport, Corrupted, EventsrcError
from eventsrc.events.codec import Kind
from eventsrc.events.positions import START, Cursor
from eventsrc.events.record import make_record
from eventsrc.moving import ExportReader, ExportWriter, both, compare, copy, verify
from eventsrc.moving.lines import event_line, read_event
from eventsrc.stores.copying import GetIdentity
from tests.kits.moved_shop import STRANGE, Noted, Sold, fill

HERE = StreamId("sales/1")


def of_events(count: int) -> MemoryStore:
    """A store with so many events, the first of which are of all kinds."""
    store = MemoryStore()
    fill(store, 12)
    has = store.run(ReadFeed()).end.position
    if count > has:
        store.run(Append(HERE, tuple(Sold("lamp", number) for number in range(count - has))))
    return store


def export(store: MemoryStore, path: Path) -> bytes:
    with ExportWriter(path) as file:
        both(store, file).run(copy())
    return path.read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[MemoryStore, bytes]:
    store = of_events(2100)
    return store, export(store, tmp_path_factory.mktemp("whole") / "it")


@pytest.mark.parametrize("count", [0, 1000, 2000, 2001])
def test_an_export_is_read_back(tmp_path: Path, count: int) -> None:
    store = of_events(count) if count else MemoryStore()
    export(store, tmp_path / "it")
    back = MemoryStore()
    with ExportReader(tmp_path / "it") as file:
        assert file.run(verify()) == count
        both(file, back).run(copy())
    assert export(back, tmp_path / "again") == (tmp_path / "it").read_bytes()


@given(st.integers(0, 10**6), st.integers(0, 10**6))
@settings(max_examples=25)
def test_an_export_that_was_cut_anywhere_is_resumed(
    whole: tuple[MemoryStore, bytes],
    tmp_path_factory: pytest.TempPathFactory,
    first: int,
    second: int,
) -> None:
    store, data = whole
    path = tmp_path_factory.mktemp("cut") / "it"
    path.write_bytes(data[: first % len(data)])
    with ExportWriter(path):  # killed at once
        pass
    cut = path.read_bytes()
    assert data.startswith(cut)
    path.write_bytes(cut[: second % (len(cut) + 1)])
    assert export(store, path) == data


def test_an_old_export_is_brought_up_to_date(tmp_path: Path) -> None:
    store = of_events(1500)
    export(store, tmp_path / "it")
    store.run(Append(HERE, tuple(Sold("more") for _ in range(800))))
    assert export(store, tmp_path / "it") == export(store, tmp_path / "anew")


def damages(data: bytes) -> dict[str, bytes]:
    """Exports that are not what was written."""
    lines = data.splitlines(keepends=True)
    return {
        "a lost line": b"".join(lines[:700] + lines[701:]),
        "a doubled line": b"".join(lines[:700] + lines[699:]),
        "two lines swapped": b"".join([*lines[:700], lines[701], lines[700], *lines[702:]]),
        "a line put in before the last": b"".join([*lines[:-1], lines[-2], lines[-1]]),
        "a lost footer": b"".join(lines[:1001] + lines[1002:]),
        "cut in a line": data[:-10],
        "cut at a line": b"".join(lines[:-1]),
        "cut at a footer": b"".join(lines[:1002]),
        "joined to another": data + data,
        "no header": b"".join(lines[1:]),
        "empty": b"",
    }


def test_a_damaged_export_is_refused(whole: tuple[MemoryStore, bytes], tmp_path: Path) -> None:
    for what, damaged in damages(whole[1]).items():
        (tmp_path / "it").write_bytes(damaged)
        target = MemoryStore()
        with pytest.raises(EventsrcError) as caught, ExportReader(tmp_path / "it") as file:
            both(file, target).run(copy())
        assert isinstance(caught.value, BadExport), what
        arrived = target.run(ReadFeed(all_streams=True)).events
        assert arrived == whole[0].run(ReadFeed(limit=len(arrived) or 1)).events[: len(arrived)]


def test_a_flipped_bit_is_refused_wherever_it_is(tmp_path: Path) -> None:
    data = export(of_events(30), tmp_path / "whole")
    chance = random.Random(3)
    path = tmp_path / "it"
    for place in range(0, len(data), 7):
        damaged = bytearray(data)
        damaged[place] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        with pytest.raises(BadExport), ExportReader(path) as file:
            file.run(verify())


def test_an_error_names_the_line(whole: tuple[MemoryStore, bytes], tmp_path: Path) -> None:
    lines = whole[1].splitlines(keepends=True)
    lines[1200] = lines[1200].replace(b"lamp", b"camp")
    (tmp_path / "it").write_bytes(b"".join(lines))
    with (
        pytest.raises(BadExport, match=r"line 1201 of .* is damaged: the data of event"),
        ExportReader(tmp_path / "it") as file,
    ):
        file.run(verify())


def test_it_is_read_from_anywhere(whole: tuple[MemoryStore, bytes], tmp_path: Path) -> None:
    store, data = whole
    (tmp_path / "it").write_bytes(data)
    chance = random.Random(5)
    with ExportReader(tmp_path / "it") as file:
        for _ in range(40):
            position = chance.choice([0, 1, 999, 1000, 1001, 1999, 2000, 2099, 2100])
            after = Cursor(store.store_id, position) if position else START
            asked = ReadFeed(after, chance.choice([1, 3, 700]), all_streams=True)
            assert file.run(asked) == store.run(asked)
        assert both(file, store).run(compare()) is None
        with pytest.raises(BadCursor):
            file.run(ReadFeed(Cursor(store.store_id, 2101)))
        assert file.run(GetIdentity()) == store.run(GetIdentity())


@pytest.mark.parametrize("data", [*STRANGE, b"", b"null", b'"\\ud800"'])
@pytest.mark.parametrize("metadata", [b"", b'{"c":[1],"d":2,"m":{}}', STRANGE[0], STRANGE[1]])
def test_a_line_gives_back_every_byte(data: bytes, metadata: bytes) -> None:
    kind = Kind('",c":[', 2**40, 'a\\"],')
    encoded = (kind, data)
    record = make_record(2**60, 'a/",\\"c":[é', 2**50, bytes(range(16)), 7, encoded, metadata, -5)  # type: ignore[arg-type]
    line = event_line(record)
    assert line.count(b"\n") == 1
    assert read_event(line) == record


@pytest.mark.parametrize(
    "damage",
    [
        lambda line: line.replace(b'"v":1', b'"v":"1"'),
        lambda line: line.replace(b'"n":0', b'"n":-1'),
        lambda line: line.replace(b'"n":0', b'"n":99999999999'),
        lambda line: line.replace(b'"c":[', b'"c":[['),
        lambda line: line.replace(b'"d":', b'"e":'),
        lambda line: line[:-2],
        lambda line: b"\xff" + line,
        lambda line: b"[" * 100_000 + b"\n",
    ],
)
def test_nonsense_is_refused_by_a_typed_error(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    store = MemoryStore()
    store.run(Append(HERE, (Noted("it"),)))
    lines = export(store, tmp_path / "it").splitlines(keepends=True)
    (tmp_path / "it").write_bytes(lines[0] + damage(lines[1]) + lines[2])
    with pytest.raises((BadExport, Corrupted)), ExportReader(tmp_path / "it") as file:
        file.run(verify())


@pytest.mark.parametrize("content", [b"hello\n", b'{"a":1}\n', b"x", b'{"eventsrc":2,"store":"a"}\n'])
def test_another_file_is_neither_read_nor_overwritten(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "it"
    path.write_bytes(content)
    for opener in (ExportReader, ExportWriter):
        with pytest.raises(BadExport), opener(path):
            pass
    assert path.read_bytes() == content


def test_an_export_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    export(of_events(12), tmp_path / "it")
    assert (tmp_path / "it").stat().st_mode & 0o077 == 0


def test_a_store_moves_with_the_memory_of_a_few_pages(tmp_path: Path) -> None:
    store, events = MemoryStore(), 4000
    for _ in range(events // 100):
        store.run(Append(HERE, tuple(Sold("x" * 3000, number) for number in range(100))))
    tracemalloc.start()
    try:
        data = tmp_path / "it"
        with ExportWriter(data) as writer:
            both(store, writer).run(copy())
        with ExportReader(data) as reader, ExportWriter(tmp_path / "again") as writer:
            both(reader, writer).run(copy())
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < data.stat().st_size * 0.9, "it is that of some pages, and not of all events"

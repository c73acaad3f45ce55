"""The power goes, or the disk fails, at any operation of the SQLite store."""

from __future__ import annotations

import contextlib
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from eventsrc import Append, Failure, ReadFeed, SqliteStore, StreamId, Success, Unknown
from eventsrc._errors import EventsrcError
from eventsrc.sqlite._file import WriteTransaction
from eventsrc.stores.operations import FindAppend
from tests.faults import scaled
from tests.faults.disk import Disk, PowerCut, StoreOnDisk
from tests.kits.events import CODEC, Tick

A = StreamId("a")
CHECKPOINT = 10
"""After so many pages SQLite copies its log to the file, which appends do not reach otherwise."""


def batch(number: int, size: int) -> tuple[Tick, ...]:
    return tuple(Tick(number, index, size) for index in range(size))


@attrs.define
class Losses:
    """In how many crashes something was wrong afterwards, and in how many the log was copied before."""

    lost: int = 0
    half: int = 0
    corrupt: int = 0
    copied: int = attrs.field(default=0, eq=False)


def crash(folder: Path, seed: int, synchronous: str, losses: Losses, pages: int | None = None) -> None:
    """Appends until the power goes, and looks at what is left."""
    chance = random.Random(seed)
    disk = Disk()
    on_disk = StoreOnDisk(folder / "store.db", disk, synchronous, pages)
    made = disk.writes["store.db"]
    acknowledged: list[int] = []
    sizes: dict[int, int] = {}
    disk.cut_at = disk.operations + chance.randrange(1, 100)
    for number in range(30):
        sizes[number] = chance.randint(1, 5)
        try:
            op = Append(A, batch(number, sizes[number]))
            if isinstance(on_disk.store.run(op), Success):
                acknowledged.append(number)
        except (EventsrcError, PowerCut):
            pass
        if disk.is_cut:
            break
    losses.copied += disk.writes["store.db"] > made
    files = disk.after_power_cut(chance)
    on_disk.abandon()
    after = folder / "after"
    after.mkdir()
    for name, content in files.items():
        if not name.endswith("-shm"):
            (after / name).write_bytes(content)
    try:
        found = stored(after / "store.db")
    except (EventsrcError, sqlite3.Error, AssertionError):
        losses.corrupt += 1
        return
    losses.lost += not set(acknowledged) <= found.keys()
    losses.half += any(count != sizes[number] for number, count in found.items())


def stored(path: Path) -> dict[int, int]:
    """How many events of each batch there are, in a file that must be sound."""
    connection = sqlite3.connect(path)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    finally:
        connection.close()
    found: dict[int, int] = {}
    with SqliteStore(path, CODEC) as store:
        for position, recorded in enumerate(store.run(ReadFeed(limit=10_000)).events, 1):
            assert recorded.position == recorded.version == position
            found[recorded.data.batch] = found.get(recorded.data.batch, 0) + 1
    return found


def crashes(tmp_path: Path, number: int, synchronous: str, pages: int | None = None) -> Losses:
    losses = Losses()
    for seed in range(number):
        folder = tmp_path / str(seed)
        folder.mkdir()
        crash(folder, seed, synchronous, losses, pages)
    return losses


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("pages", "cuts"), [(None, scaled(60, 10_000)), (CHECKPOINT, scaled(30, 3_000))]
)
def test_a_power_cut_loses_nothing_that_was_acknowledged(
    tmp_path: Path, pages: int | None, cuts: int, figure: Callable[[str], None]
) -> None:
    losses = crashes(tmp_path, cuts, "FULL", pages)
    assert losses == Losses(lost=0, half=0, corrupt=0)
    assert bool(losses.copied) == bool(pages)
    figure(f"{cuts} power cuts, {losses.copied} of them after a copy of the log; nothing lost")


@pytest.mark.timeout(900)
def test_control_with_less_syncing_acknowledged_events_are_lost(tmp_path: Path) -> None:
    losses = crashes(tmp_path, scaled(20, 640), "NORMAL")
    assert losses.lost > 0
    assert losses.half == losses.corrupt == 0, "the log keeps batches whole even so"


@pytest.mark.timeout(900)
def test_control_without_syncing_files_are_found_corrupt_or_half(tmp_path: Path) -> None:
    losses = crashes(tmp_path, scaled(20, 640), "OFF")
    assert losses.lost + losses.half + losses.corrupt > 0


# --- the disk fails


SIZES = (3, 1, 1)
"""How many events the appends have; a lone one takes a way of its own."""


def operations_of(folder: Path, pages: int | None) -> tuple[int, int]:
    """The disk's operations before and after three appends, when nothing fails."""
    disk = Disk()
    on_disk = StoreOnDisk(folder / "store.db", disk, pages=pages)
    before, made = disk.operations, disk.writes["store.db"]
    for number, size in enumerate(SIZES):
        assert isinstance(on_disk.store.run(Append(A, batch(number, size))), Success)
    after = disk.operations
    assert (disk.writes["store.db"] > made) == bool(pages)
    on_disk.abandon()
    return before, after


def fail_each_operation(tmp_path: Path, *, for_ever: bool, pages: int | None = None) -> list[str]:
    """Appends while each operation of the disk fails in turn; answers what was not as it was told."""
    wrong: list[str] = []
    (tmp_path / "count").mkdir()
    before, after = operations_of(tmp_path / "count", pages)
    for failing in range(before + 1, after + 1):
        folder = tmp_path / str(failing)
        folder.mkdir()
        disk = Disk()
        on_disk = StoreOnDisk(folder / "store.db", disk, pages=pages)
        disk.fails_at, disk.fails_for_ever = failing, for_ever
        outcomes: dict[int, object] = {}
        for number, size in enumerate(SIZES):
            try:
                outcomes[number] = on_disk.store.run(Append(A, batch(number, size)))
            except EventsrcError as error:
                outcomes[number] = error
        disk.fails_at = None
        for number, outcome in outcomes.items():
            if isinstance(outcome, Failure):
                unknown = outcome.failure()
                assert isinstance(unknown, Unknown), outcome
                found = on_disk.store.run(FindAppend(unknown.append_id))
                outcomes[number] = "stored" if found else "not stored"
        assert isinstance(on_disk.store.run(Append(A, batch(9, 3))), Success), "it works again"
        on_disk.abandon()
        try:
            found_batches = stored(folder / "store.db")
        except (EventsrcError, AssertionError) as error:
            wrong.append(f"operation {failing}: {error!r}")
            continue
        for number, outcome in outcomes.items():
            is_told = isinstance(outcome, Success) or outcome == "stored"
            if found_batches.get(number, 0) != (SIZES[number] if is_told else 0):
                wrong.append(f"operation {failing}: {outcome}, and {found_batches.get(number)} stored")
    return wrong


@pytest.mark.timeout(900)
@pytest.mark.parametrize("pages", [None, CHECKPOINT])
@pytest.mark.parametrize("for_ever", [False, True], ids=["once", "for ever"])
def test_an_append_is_there_or_not_whichever_operation_of_the_disk_fails(
    tmp_path: Path, for_ever: bool, pages: int | None
) -> None:
    assert fail_each_operation(tmp_path, for_ever=for_ever, pages=pages) == []


def test_control_an_error_of_the_disk_that_is_swallowed_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def commit(writing: WriteTransaction) -> None:
        with contextlib.suppress(sqlite3.Error):
            writing._file._writer.execute("COMMIT")

    monkeypatch.setattr(WriteTransaction, "_commit", commit)
    assert fail_each_operation(tmp_path, for_ever=False) != []

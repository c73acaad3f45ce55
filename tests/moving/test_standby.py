"""A store is lost under load, and its standby is promoted: what has arrived is valid, and no more."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

from eventsrc import (
    Append,
    Cursor,
    Interpreter,
    MemoryStore,
    Now,
    ReadFeed,
    SqliteStore,
    StreamId,
    Token,
    world,
)
from eventsrc.errors import NotACopy, StoreError, StoreReadOnly, WrongEpoch
from eventsrc.moving import both, compare, copy, follow_copy, promote
from eventsrc.programs.world import Sleep
from eventsrc.stores.copying import EndCopy
from tests.faults import scaled
from tests.kits.moved_shop import Sold, fill
from tests.processes.dying_copies import follow, write
from tests.processes.forked import Forked

HERE = StreamId("sales/1")


@attrs.frozen
class Disaster:
    """A standby, and what the store that was lost had acknowledged."""

    standby: SqliteStore
    arrived: int
    acknowledged: list[tuple[Cursor, Token]]


def place(line: bytes) -> int:
    """The position of the cursor that a line of the writer tells."""
    return Cursor.parse(line.decode().split()[0]).position


@contextmanager
def disaster(folder: Path) -> Iterator[Disaster]:
    """Kills the writer to a store, and the follower of its standby, at one moment."""
    source, target = folder / "source.db", folder / "standby.db"
    SqliteStore(source).close()
    with Forked(write, str(source)) as writer, Forked(follow, str(source), str(target)) as follower:
        behind = b"".join(follower.stdout.readline() for _ in range(3))
        os.kill(follower.pid, signal.SIGKILL)
        behind += follower.stdout.readall()
        with SqliteStore(target) as standby:
            arrived = standby.run(ReadFeed(limit=1)).end.position
        lines: list[bytes] = []
        while len(lines) < 200 or place(lines[-1]) < arrived + 50:  # some of it never arrives
            lines.append(writer.stdout.readline())
        os.kill(writer.pid, signal.SIGKILL)
        lines += writer.stdout.readall().splitlines(keepends=True)
    said = [line.decode().split() for line in lines if line.endswith(b"\n")]
    for name in ("source.db", "source.db-wal", "source.db-shm"):
        (folder / name).unlink(missing_ok=True)
    with SqliteStore(target) as standby:
        assert arrived == standby.run(ReadFeed(limit=1)).end.position >= int(behind.split()[-1])
        told = [(Cursor.parse(cursor), Token.parse(token)) for cursor, token in said]
        yield Disaster(standby, arrived, told)


def outcomes(found: Disaster) -> set[tuple[bool, str]]:
    """For each cursor and token: whether its event arrived, and what the store says to it."""
    seen: set[tuple[bool, str]] = set()
    some = found.acknowledged[:: len(found.acknowledged) // 50 + 1]
    for cursor, token in [*some, found.acknowledged[-1]]:
        has_arrived = cursor.position <= found.arrived
        ((stream, version),) = token.versions.items()
        asked: list[Callable[[], object]] = [
            lambda at=cursor: found.standby.run(ReadFeed(at, 1)),  # type: ignore[misc]
            lambda to=stream, at=token: found.standby.run(Append(to, (Sold("x"),), at)),  # type: ignore[misc]
        ]
        for ask in asked:
            try:
                ask()
                seen.add((has_arrived, "valid"))
            except WrongEpoch:
                seen.add((has_arrived, "error"))
        assert version > 0
    return seen


def grow(standby: SqliteStore, count: int) -> None:
    for number in range(3):
        events = tuple(Sold("new") for _ in range(count))
        standby.run(Append(StreamId(f"sales/{number}"), events)).unwrap()


def test_what_arrived_stays_valid_and_what_never_did_is_an_error(tmp_path: Path) -> None:
    for number in range(scaled(2)):
        folder = tmp_path / str(number)
        folder.mkdir()
        with disaster(folder) as found:
            with pytest.raises(StoreReadOnly):
                found.standby.run(Append(HERE, (Sold("x"),)))
            found.standby.run(promote())
            grow(found.standby, 2000)  # past all that the lost store had
            assert outcomes(found) == {(True, "valid"), (False, "error")}


def test_control_without_another_epoch_what_never_arrived_is_taken_for_something_else(
    tmp_path: Path,
) -> None:
    with disaster(tmp_path) as found:
        found.standby.run(EndCopy(raise_epoch=False))
        grow(found.standby, 2000)
        assert (False, "valid") in outcomes(found)


class Enough(BaseException):
    """The follower has done what a test wants."""


def followed(
    source: Interpreter[Any], target: Interpreter[Any], until: Callable[[int], bool]
) -> Interpreter[Any]:
    def tell(position: int, _: int) -> None:
        if until(position):
            raise Enough

    with pytest.raises(Enough):
        (both(source, target) | world).run(follow_copy(tell, every=0.001))
    return target


def test_a_standby_follows_and_goes_on_after_an_outage() -> None:
    source, standby = MemoryStore(), MemoryStore()
    fill(source, 5)
    end = source.run(ReadFeed()).end.position
    failures = iter(range(3))

    def failing(op: Any) -> Any:
        if next(failures, None) is not None:
            error = StoreError("it is away")
            error.may_pass = True
            raise error
        return (yield from op)

    pauses: list[float] = []

    def noted(op: Sleep) -> Any:
        pauses.append(op.seconds)
        return (yield from Now())

    away = source.around(failing, only=ReadFeed)
    app = (both(away, standby) | world).around(noted, only=Sleep)

    def tell(position: int, _: int) -> None:
        if position == end:
            source.run(Append(HERE, (Sold("later"),)))
        elif position > end:
            raise Enough

    with pytest.raises(Enough):
        app.run(follow_copy(tell, every=0.001))
    assert len(pauses) >= 3
    assert both(source, standby).run(compare(whole=True)) is None
    with pytest.raises(StoreReadOnly):
        standby.run(Append(HERE, (Sold("x"),)))


def test_an_error_that_no_waiting_mends_ends_it() -> None:
    source, standby = MemoryStore(), MemoryStore()
    fill(source, 5)
    fill(standby, 5)
    with pytest.raises(NotACopy):
        (both(source, standby) | world).run(follow_copy())


def test_an_epoch_that_the_store_begins_is_followed() -> None:
    source, standby = MemoryStore(), MemoryStore()
    fill(source, 5)
    end = source.run(ReadFeed()).end.position
    followed(source, standby, lambda position: position == end)
    back = MemoryStore()  # the source is restored from a copy that has all of it
    both(source, back).run(copy())
    back.run(promote())
    from eventsrc.stores.epochs import restored

    epoch = back.run(restored())
    stored = back.run(Append(HERE, (Sold("x"),))).unwrap()
    followed(back, standby, lambda position: position > end)
    assert standby.run(ReadFeed(stored.cursor)).end == stored.cursor
    assert stored.cursor.epoch == epoch


def test_a_promoted_standby_is_followed_no_more() -> None:
    source, standby = MemoryStore(), MemoryStore()
    fill(source, 5)
    end = source.run(ReadFeed()).end.position
    followed(source, standby, lambda position: position == end)
    standby.run(promote())
    source.run(Append(HERE, (Sold("x"),)))
    with pytest.raises(NotACopy, match="no more"):
        (both(source, standby) | world).run(follow_copy())

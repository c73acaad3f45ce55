"""A store that was restored from a backup tells its readers what they have seen and it has not."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventsrc import (
    Append,
    Conflict,
    Cursor,
    Failure,
    Fold,
    Read,
    ReadFeed,
    SqliteStore,
    StreamId,
    Token,
)
from eventsrc.events.epochs import Epochs, WrongEpoch
from eventsrc.events.positions import WrongStore
from eventsrc.http import etag, is_known, refusal
from eventsrc.postgres import PostgresStore
from eventsrc.sqlite import _sql
from eventsrc.stores.epochs import restored
from eventsrc.stores.operations import GetEpochs
from eventsrc.streams.fold import Folded, load
from eventsrc.testing._contract.samples import Noted

A = StreamId("a")
_TEXTS: Fold[str, Noted] = Fold("", lambda texts, event: texts + event.text)


def write(store: Any, *texts: str) -> Any:
    return store.run(Append(A, tuple(map(Noted, texts)))).unwrap()


class Seen:
    """What somebody has who read a store of three events, of which a backup has two."""

    def __init__(self, folder: Path) -> None:
        self.path, self.backup = folder / "store.db", folder / "backup.db"
        with SqliteStore(self.path, durability="process") as store:
            self.saved = write(store, "1", "2")
        shutil.copy(self.path, self.backup)
        with SqliteStore(self.path, durability="process") as store:
            self.lost = write(store, "lost")

    def restore(self) -> SqliteStore:
        for suffix in ("-wal", "-shm"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)
        shutil.copy(self.backup, self.path)
        return SqliteStore(self.path, durability="process")


@pytest.fixture
def seen(tmp_path: Path) -> Seen:
    return Seen(tmp_path)


def test_what_was_lost_is_refused_also_when_the_store_has_grown_past_it(seen: Seen) -> None:
    with seen.restore() as store:
        store.run(restored())
        write(store, "another", "and another")
        for asked in (
            ReadFeed(Cursor.parse(str(seen.lost.cursor))),
            Append(A, (Noted("x"),), Token.parse(str(seen.lost.token))),
        ):
            with pytest.raises(WrongEpoch, match="restored"):
                store.run(asked)
        assert len(store.run(ReadFeed(seen.saved.cursor)).events) == 2
        match store.run(Append(A, (Noted("x"),), seen.saved.token)):
            case Failure(Conflict(actual=actual)):
                assert actual == 4


def test_a_state_of_what_was_lost_is_made_anew_also_when_the_store_has_grown_past_it(
    seen: Seen,
) -> None:
    with seen.restore() as store:
        store.run(restored())
        write(store, "another", "and another")
        assert store.run(load(A, _TEXTS, Folded("12lost", 3, seen.lost.token))).state == (
            "12anotherand another"
        )
        other = Token("another store", {A: 2})
        with pytest.raises(WrongStore, match="another store"):
            store.run(load(A, _TEXTS, Folded("12", 2, other)))


def test_control_a_store_that_was_not_told_takes_what_was_lost_for_its_own(seen: Seen) -> None:
    with seen.restore() as store:
        write(store, "another")
        known = Folded("12lost", 3, seen.lost.token)
        assert store.run(load(A, _TEXTS, known)).state == "12lost"
        assert not store.run(ReadFeed(seen.lost.cursor)).events, "which skips an event"
        assert store.run(Append(A, (Noted("x"),), seen.lost.token)).unwrap().version == 4


def test_a_second_restore_from_the_same_backup_is_another_epoch(seen: Seen) -> None:
    with seen.restore() as store:
        first = store.run(restored())
        lost_again = write(store, "lost too")
    with seen.restore() as store:
        second = store.run(restored())
        write(store, "another")
        assert first != second
        with pytest.raises(WrongEpoch, match="does not have"):
            store.run(ReadFeed(lost_again.cursor))


def test_a_tag_of_another_epoch_is_a_cache_miss_and_a_refused_write(seen: Seen) -> None:
    with seen.restore() as store:
        store.run(restored())
        write(store, "another")
        now = store.run(Read(A)).token
        for old in (seen.saved.token, seen.lost.token):
            assert not is_known({"If-None-Match": etag(old)}, now)
        with pytest.raises(WrongEpoch) as caught:
            store.run(Append(A, (Noted("x"),), seen.lost.token))
        assert refusal(caught.value).status == 412


@pytest.fixture(params=["sqlite", "postgres"])
def opened(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Callable[[], SqliteStore | PostgresStore]]:
    """Opens the same store each time, as other processes do."""
    stores: list[Any] = []

    def open_it() -> Any:
        if request.param == "sqlite":
            stores.append(SqliteStore(tmp_path / "store.db", durability="process"))
        else:
            stores.append(PostgresStore(request.getfixturevalue("postgres_dsn")))
        return stores[-1]

    yield open_it
    for store in stores:
        store.close()


@pytest.mark.parametrize("several", [1, 3])
def test_a_process_that_was_not_told_of_an_epoch_notices(opened: Any, several: int) -> None:
    store, other = opened(), opened()
    texts = ("x",) * several
    write(store, *texts)
    write(store, *texts)
    number = other.run(restored())
    answer = write(store, *texts)
    assert (answer.token.epoch, answer.cursor.epoch) == (number, number)
    number = other.run(restored())
    assert store.run(Read(A)).token.epoch == number
    assert store.run(ReadFeed()).end.epoch == number


def test_a_process_that_was_not_told_refuses_what_it_would_have_taken(opened: Any) -> None:
    store, other = opened(), opened()
    saved = write(store, "1")
    other.run(restored())
    write(other, "2")
    lost = Token(saved.token.store_id, {A: 2}, saved.token.epoch)
    with pytest.raises(WrongEpoch):
        store.run(Append(A, (Noted("x"),), lost))
    other.run(restored())
    with pytest.raises(WrongEpoch):
        store.run(ReadFeed(attrs.evolve(saved.cursor, position=2)))
    assert store.run(GetEpochs()) == other.run(GetEpochs())


def test_control_a_statement_that_does_not_ask_for_the_epoch_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    statement = _sql.ADD_EVENT_IN.replace(
        "(SELECT max(number) FROM eventsrc_epoch) = came.epoch", "0 < came.epoch"
    )
    monkeypatch.setattr(_sql, "ADD_EVENT_IN", statement)

    with contextlib.ExitStack() as until:

        def open_it() -> SqliteStore:
            return until.enter_context(SqliteStore(tmp_path / "store.db", durability="process"))

        with pytest.raises(AssertionError):
            test_a_process_that_was_not_told_of_an_epoch_notices(open_it, 1)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 10**16)), max_size=5))
def test_epochs_go_up_and_what_one_says_is_so_until_the_next(raised: list[tuple[int, int]]) -> None:
    epochs, end = Epochs(), 0
    for more, now in raised:
        end += more
        epochs = Epochs((*epochs.begins, epochs.next(end, now)))
    numbers = [number for number, _ in epochs.begins]
    assert numbers == sorted({*numbers})
    for (number, _), (_, until) in zip(epochs.begins, epochs.begins[1:], strict=False):
        epochs.check(Cursor("s", until, number))
        with pytest.raises(WrongEpoch):
            epochs.check(Cursor("s", until + 1, number))
    epochs.check(Cursor("s", end + 1, epochs.current))

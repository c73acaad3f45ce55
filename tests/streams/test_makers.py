"""Two folds that keep their states under one name: neither takes the other's for its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from eventsrc import Fold, MemoryStore, Read, Snapshots, SqliteStore
from eventsrc.postgres import PostgresStore
from eventsrc.stores.operations import SaveSnapshot
from eventsrc.streams.fold import LATEST_SNAPSHOT
from tests.kits.counting import Counted, counter


def add(total: int, event: Any) -> int:
    return total + int(event.by)


def tens(total: int, event: Any) -> int:
    return total + 10 * int(event.by)


def times(factor: int) -> Any:
    def evolve(total: int, event: Any) -> int:
        return total + factor * int(event.by)

    return evolve


def by_factor(factor: int, total: int, event: Any) -> int:
    return total + factor * int(event.by)


PAIRS: dict[str, tuple[Any, Any]] = {
    "functions": (lambda: add, lambda: tens),
    "lambdas": (lambda: lambda s, e: s + e.by, lambda: lambda s, e: s + 10 * e.by),
    "functions made by one": (lambda: times(1), lambda: times(10)),
    "partial functions": (lambda: partial(by_factor, 1), lambda: partial(by_factor, 10)),
}


def kept_by(evolve: Any, initial: int = 0) -> Fold[int, Any]:
    return Fold(initial, evolve, snapshots=Snapshots("shared", of=int, every=1))


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    if request.param == "memory":
        yield MemoryStore()
    elif request.param == "sqlite":
        with SqliteStore(tmp_path / "s.db") as store:
            yield store
    else:
        with PostgresStore(request.getfixturevalue("postgres_dsn")) as store:
            yield store


@pytest.mark.parametrize("kind", PAIRS)
def test_two_folds_under_one_name_do_not_take_each_others_states(any_store: Any, kind: str) -> None:
    one, ten = (kept_by(make()) for make in PAIRS[kind])
    any_store.run(counter.append(Counted(7)))
    for _ in range(2):
        assert any_store.run(counter.get(one)).state == 7
        assert any_store.run(counter.get(ten)).state == 70
        assert any_store.run(counter.get(ten, consistency=LATEST_SNAPSHOT)).state == 70
        assert asyncio.run(any_store.run_async(counter.get(ten))).state == 70
    any_store.run(counter.append(Counted(1)))
    assert any_store.run(counter.get(ten)).state == 80
    assert any_store.run(counter.get(one)).state == 8
    assert any_store.run(counter.at(one, 1)).state == 7


def test_that_two_folds_share_a_name_is_told_once_with_the_remedy(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = MemoryStore()
    store.run(counter.append(Counted(7)))
    name = Snapshots("told once", of=int, every=1)
    for _ in range(3):
        store.run(counter.get(Fold(0, add, snapshots=name)))
        store.run(counter.get(Fold(1, add, snapshots=name)))
    told = [record.getMessage() for record in caplog.records if "told once" in record.getMessage()]
    assert len(told) == len(set(told)) <= 2
    assert "made by the fold add from 0, and are not used by add from 1" in told[0]
    assert "another name" in told[0]


def test_a_fold_made_again_and_a_snapshot_without_a_maker_are_used() -> None:
    store = MemoryStore()
    store.run(counter.append(Counted(7)))
    for make, _ in PAIRS.values():
        name = Snapshots(f"again {make()!r:.20}", of=int, every=1)
        store.run(counter.get(Fold(0, make(), snapshots=name)))
        reads: list[int] = []

        def note(op: Any, reads: list[int] = reads) -> Any:
            reads += [op.after] if isinstance(op, Read) else []
            return op

        assert store.around(note).run(counter.get(Fold(0, make(), snapshots=name))).state == 7
        assert reads == [1]
    plain = Snapshots("plain", of=int, every=1)
    store.run(SaveSnapshot(plain.snapshot(counter.id, 1, 700)))
    assert store.run(counter.get(Fold(0, add, snapshots=plain))).state == 700


def test_control_without_makers_the_wrong_state_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eventsrc.streams.fold.definition", lambda *_: "")
    store = MemoryStore()
    store.run(counter.append(Counted(7)))
    store.run(counter.get(kept_by(add)))
    assert store.run(counter.get(kept_by(tens))).state == 7

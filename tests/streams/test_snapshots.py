"""Snapshots: with and without them the answers are the same, and with them loads are short."""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import reduce
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventsrc import (
    Fold,
    Head,
    Interpreter,
    MemoryStore,
    Program,
    Read,
    Snapshots,
    SqliteStore,
    StoreOp,
    StreamId,
    Success,
    Translation,
    on,
    pure,
    trace,
    world,
)
from eventsrc.errors import BadSnapshot, MissingHandlers, NotStorable
from eventsrc.programs.operation import Derived
from eventsrc.programs.program import intercept
from eventsrc.stores.operations import LoadSnapshot, Page, SaveSnapshot, Snapshot
from eventsrc.streams.fold import LATEST_SNAPSHOT, PAGE, Folded, Load, NoSuchVersion, load
from tests.faults import SCALE
from tests.kits.counting import Counted, Counting, Reset, counted, counter, total

histories = st.lists(st.builds(Counted, st.integers(1, 9)) | st.builds(Reset), max_size=12)


def kept(every: int | None = 2, version: int = 1) -> Fold[int, Counting]:
    return attrs.evolve(total, snapshots=Snapshots("total", of=int, version=version, every=every))


def snapshot_of(store: Interpreter[StoreOp], version: int = 1) -> Snapshot | None:
    return store.run(LoadSnapshot(counter.id, "total", version))


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


# --- the same answers -----------------------------------------------------------------------------


@given(st.lists(histories, max_size=4), st.sampled_from([None, 1, 2, 3, 100]))
def test_with_and_without_snapshots_every_version_has_the_state_of_the_plain_fold(
    appends: list[list[Counting]], every: int | None
) -> None:
    store = MemoryStore()
    history: list[Counting] = []
    for events in appends:
        if events:
            store.run(counter.append(*events))
        history += events
        for fold in (total, kept(every), kept(None)):
            folded = store.run(counter.get(fold))
            assert folded.state == reduce(counted, history, 0)
            assert folded == store.run(counter.get(total))
            for version in range(len(history) + 1):
                assert store.run(counter.at(fold, version)) == store.run(counter.at(total, version))


@given(histories, st.integers(0, 12))
def test_the_newest_snapshot_is_the_state_of_some_version_and_none_is_saved_by_asking(
    history: list[Counting], saved: int
) -> None:
    store = MemoryStore()
    fold = kept(every=1)
    if history[:saved]:
        store.run(counter.append(*history[:saved]))
    store.run(counter.get(fold))
    if history[saved:]:
        store.run(counter.append(*history[saved:]))
    folded = store.run(counter.get(fold, LATEST_SNAPSHOT))
    assert folded.version == len(history[:saved]) or not history[:saved]
    assert folded == store.run(counter.at(total, folded.version))


def test_the_newest_snapshot_of_a_fold_that_keeps_none_is_an_error() -> None:
    with pytest.raises(ValueError, match="give it snapshots="):
        counter.get(total, LATEST_SNAPSHOT)


def test_a_snapshot_ahead_of_the_stream_is_not_used(store: MemoryStore) -> None:
    fold = kept()
    store.run(counter.append(Counted(5)))
    assert fold.snapshots is not None
    store.run(SaveSnapshot(fold.snapshots.snapshot(counter.id, 7, 700)))
    assert store.run(counter.get(fold)).state == 5
    assert store.run(counter.get(fold, LATEST_SNAPSHOT)).state == 5
    with pytest.raises(NoSuchVersion, match="is at version 1: it has no version 8 yet"):
        store.run(counter.at(fold, 8))


# --- when they are saved --------------------------------------------------------------------------


def test_a_snapshot_is_saved_by_the_load_that_passes_a_multiple_of_every(store: MemoryStore) -> None:
    fold = kept(every=10)
    for length, expected in ((9, None), (11, 11), (19, 11), (20, 20), (35, 35)):
        store.run(counter.append(*[Counted()] * (length - store.run(counter.head()))))
        store.run(counter.get(fold))
        found = snapshot_of(store)
        assert (None if found is None else found.version) == expected


def test_decisions_save_snapshots_too(store: MemoryStore) -> None:
    fold = kept(every=10)
    for _ in range(25):
        (store | world).run(counter.decide(fold, lambda _: Success([Counted()])))
    found = snapshot_of(store)
    assert found is not None
    assert found.version == 20


def test_every_none_uses_snapshots_and_saves_none(store: MemoryStore) -> None:
    store.run(counter.append(*[Counted()] * 50))
    store.run(counter.get(kept(every=None)))
    assert snapshot_of(store) is None
    store.run(counter.get(kept(every=1)))
    reads = trace(store, counter.get(kept(every=None))).operations()
    assert Read(counter.id, 50, PAGE, whole=False) in reads


def test_another_version_of_the_fold_does_not_see_the_snapshots_of_the_first(
    store: MemoryStore,
) -> None:
    store.run(counter.append(Counted(1), Counted(1)))
    store.run(counter.get(kept()))
    doubled: Fold[int, Counting] = Fold(
        0,
        lambda so_far, _: so_far + 2,
        snapshots=Snapshots("total", of=int, version=2, every=1),
    )
    assert store.run(counter.get(doubled)).state == 4
    assert store.run(counter.get(kept())).state == 2


@pytest.mark.parametrize("length", [100_000 if SCALE > 1 else 20_000])
def test_loading_a_long_stream_from_a_recent_snapshot_reads_only_the_tail(
    tmp_path: Path, length: int
) -> None:
    fold = kept(every=1000)
    with SqliteStore(tmp_path / "log.db") as store:
        for _ in range(length // 10_000):
            store.run(counter.append(*[Counted()] * 10_000))
        assert store.run(counter.get(fold)).version == length
        store.run(counter.append(*[Counted()] * 7))
        traced = trace(store, counter.get(fold))
        assert traced.outcome.unwrap().state == length + 7
        performed = traced.operations()
        assert performed == (
            LoadSnapshot(counter.id, "total", 1),
            Read(counter.id, length, PAGE, whole=False),
        )
        assert len(trace(store, counter.get(total)).operations()) > length // PAGE  # the control


# --- what cannot be kept, and what is damaged -----------------------------------------------------


class Colour(enum.Enum):
    RED = "red"


@attrs.frozen
class Rich:
    names: dict[UUID, str]
    when: datetime | None
    colours: frozenset[Colour]


def test_a_rich_state_comes_back_equal() -> None:
    snapshots = Snapshots("rich", of=Rich)
    state = Rich({UUID(int=3): "ä"}, datetime(2024, 1, 1, tzinfo=UTC), frozenset({Colour.RED}))
    assert snapshots.state(snapshots.snapshot(counter.id, 3, state)) == state


@pytest.mark.parametrize("state", [float("nan"), (1, 2), "text", True])
def test_a_state_that_would_not_come_back_is_refused_with_the_remedy(state: Any) -> None:
    with pytest.raises(NotStorable, match=r"correct `of=int` in Snapshots\('total'\)"):
        Snapshots("total", of=int).snapshot(counter.id, 1, state)


def test_an_initial_state_of_another_type_is_refused_when_the_fold_is_made() -> None:
    with pytest.raises(NotStorable, match="correct `of=str`"):
        Fold[Any, Any](0, counted, snapshots=Snapshots("total", of=str))


@pytest.mark.parametrize("every", [0, -1])
def test_saving_one_every_no_events_is_refused(every: int) -> None:
    with pytest.raises(ValueError, match="at least 1, or None"):
        Snapshots("total", of=int, every=every)


@given(st.data())
def test_a_damaged_snapshot_is_an_error_that_says_what_to_do(data: st.DataObject) -> None:
    store = MemoryStore()
    store.run(counter.append(Counted(1), Counted(1)))
    fold = kept()
    assert fold.snapshots is not None
    sound = fold.snapshots.snapshot(counter.id, 2, 2)
    at = data.draw(st.integers(0, len(sound.data) - 1))
    flipped = bytes([sound.data[at] ^ (1 << data.draw(st.integers(0, 7)))])
    store.run(SaveSnapshot(attrs.evolve(sound, data=sound.data[:at] + flipped + sound.data[at + 1 :])))
    with pytest.raises(BadSnapshot, match=r"is damaged: .*version=2"):
        store.run(counter.get(fold))


def test_a_snapshot_of_another_stream_or_version_does_not_pass() -> None:
    snapshots = Snapshots("total", of=int)
    sound = snapshots.snapshot(counter.id, 2, 2)
    with pytest.raises(BadSnapshot):
        snapshots.state(attrs.evolve(sound, version=3))


def test_a_fold_whose_type_changed_and_whose_version_did_not_is_told_so() -> None:
    old = Snapshots("total", of=str).snapshot(counter.id, 2, "two")
    with pytest.raises(BadSnapshot, match=r"is no Rich .* if the type has changed"):
        Snapshots("total", of=Rich).state(old)


@pytest.mark.parametrize(
    ("before", "now", "state"),
    [(int, str, 5), (str, int, "5"), (float, int, 5.0), (tuple[int, ...], list[str], (5,))],
)
def test_a_converter_that_is_lenient_does_not_make_another_state(
    before: Any, now: Any, state: Any
) -> None:
    old = Snapshots("total", of=before).snapshot(counter.id, 2, state)
    with pytest.raises(BadSnapshot, match=r"would be kept as .* if the type has changed"):
        Snapshots("total", of=now).state(old)


# --- Load as an operation -------------------------------------------------------------------------


@contextlib.contextmanager
def holding(*events: Counting) -> Iterator[MemoryStore]:
    with MemoryStore() as store:
        store.run(counter.append(*events))
        yield store


def test_a_store_needs_no_handler_for_load_and_says_that_it_can_perform_it() -> None:
    with holding(Counted(3)) as store:
        assert store.require(Load).run(load(counter.id, total)).state == 3
        assert Load not in store.handled


def test_what_cannot_perform_the_meaning_of_load_lacks_the_lower_operations() -> None:
    only_head = on(Head).always(3)
    with pytest.raises(MissingHandlers, match="no handler for LoadSnapshot, Read, SaveSnapshot"):
        only_head.require(Load)
    with pytest.raises(MissingHandlers, match="no handler for Read"):
        only_head.run(load(counter.id, total))  # type: ignore[arg-type]  # pyright: ignore


def test_joining_is_the_same_before_and_after_a_load_was_performed() -> None:
    taken_over = on(Load).always(MemoryStore().run(load(counter.id, total)))
    with holding(Counted(3)) as store:
        for _ in range(2):
            joined = store | taken_over
            assert joined.run(counter.get(total)).state == 0
            assert store.run(counter.get(total)).state == 3


def test_an_interceptor_gets_what_load_means_unless_it_takes_loads() -> None:
    seen: list[str] = []

    def noting(op: Any) -> Program[StoreOp, Any]:
        seen.append(type(op).__name__)
        return op  # type: ignore[no-any-return]

    with holding(Counted(3)) as store:
        assert store.run(intercept(counter.get(total), noting)).state == 3
        assert store.run(intercept(counter.get(total), noting, taking=(Load,))).state == 3
    assert seen == ["Read", "Load"]


def test_a_translation_of_reads_serves_loads_and_one_of_loads_takes_them_over() -> None:
    def read_counter(op: Read) -> Program[StoreOp, Page[Any]]:
        return pure(op).and_then(lambda op: Read(counter.id, op.after, op.limit, whole=op.whole))

    def load_counter(op: Load) -> Program[StoreOp, Folded[Any]]:
        return load(counter.id, op.fold)

    elsewhere = load(StreamId("other"), total)
    reads = on(Read).expand(read_counter)
    loads: Translation[Any, StoreOp] = on(Load).expand(load_counter)
    with holding(Counted(3)) as store:
        assert store.run(elsewhere).state == 0
        for translation in (cast("Translation[Any, StoreOp]", reads), loads):
            assert store.run(translation.lower(elsewhere)).state == 3
        assert store.but(reads.into(store)).run(elsewhere).state == 3
        assert (store | loads.into(store)).run(elsewhere).state == 3


def test_what_is_run_around_reads_is_run_around_those_of_a_load() -> None:
    seen: list[Any] = []

    def noting(op: Any) -> Program[StoreOp, Any]:
        seen.append(op)
        return op  # type: ignore[no-any-return]

    with holding(Counted(3)) as store:
        store.around(noting).run(counter.get(total))
    assert seen == [Read(counter.id, 0, PAGE, whole=False)]


def test_a_trace_shows_a_load_with_what_it_performed() -> None:
    with holding(Counted(3)) as store:
        traced = trace(store, counter.get(total))
    (load,) = traced.root.children
    assert isinstance(load.what, Load)
    assert [child.what for child in load.children] == list(traced.operations())


def test_a_derived_operation_without_a_meaning_says_so() -> None:
    class Empty(Derived[int]):
        lower = ()

    with pytest.raises(NotImplementedError, match="Empty derives from Derived, and has no meaning"):
        on(Head).always(3).run(cast("Program[Head, int]", Empty()))

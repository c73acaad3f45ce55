"""Replayed runs are the same, or it is told which events and outcomes are not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from eventsrc import (
    Append,
    AppendAll,
    Do,
    Effect,
    Failure,
    Interpreter,
    MemoryStore,
    Read,
    ReadFeed,
    StoreOp,
    StreamAppend,
    Success,
    on,
    program,
)
from eventsrc.recording import RunFile, recording
from eventsrc.recording.masks import pseudonyms
from eventsrc.recording.portable import NotPortable
from eventsrc.testing import replay as replaying
from eventsrc.testing.replay import NotARecording, Replayed
from tests.kits.bank import (
    KNOWN,
    Broke,
    Moved,
    Pay,
    accounts,
    bank,
    deposit,
    fail,
    heads,
    history,
    pay_all,
    pay_most,
    sum_of,
)


def untouchable() -> Interpreter[StoreOp]:
    """A store that nobody may ask: a replay performs nothing."""

    def refuse(op: Any) -> Any:
        pytest.fail(f"{op} was performed")

    store: Interpreter[Any] = MemoryStore()
    for kind in store.handled:
        store = store.but(on(kind).run(refuse))
    return store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.jsonl"


@pytest.fixture
def store() -> MemoryStore:
    made = MemoryStore(store_id="x")
    made.run(deposit("homer", 100))
    return made


def record(path: Path, store: MemoryStore, *programs: Effect[Any, Any], **options: Any) -> None:
    with RunFile(path, **options) as runs:
        app = recording(bank(store), runs)
        for each in programs:
            try:
                app.run(each)
            except Broke:
                continue


def replay(path: Path, app: Interpreter[Any] | None = None, **options: Any) -> Replayed:
    """By an application that knows the service."""
    return replaying.replay(path, app, **({"known": KNOWN} | options))


def by(function: Callable[..., Effect[Any, Any]]) -> Callable[..., Effect[Any, Any]]:
    """Runs this program in place of all that were recorded."""

    def programs(_name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Effect[Any, Any]:
        return function(*args, **kwargs)

    return programs


# --- the same -------------------------------------------------------------------------------------


def test_the_same_code_does_the_same_and_nothing_is_performed(path: Path, store: MemoryStore) -> None:
    runs = (
        pay_all("homer", ["marge", "bart"], 60),
        pay_all("homer", ["marge"], amount=1),
        sum_of(["homer", "marge"]),
        history("homer"),
        fail("homer"),
        Read(accounts["homer"].id),
        deposit("homer", 1).then(deposit("bart", 2)),
    )
    record(path, store, *runs)
    replayed = replay(path, bank(untouchable()))
    replayed.check()
    assert len(replayed.runs) == len(runs)
    assert str(replayed) == "7 runs, 0 different"


def test_what_an_event_loop_did_is_replayed_without_one(path: Path, store: MemoryStore) -> None:
    with RunFile(path) as runs:
        app = recording(bank(store), runs)
        asyncio.run(app.run_async(pay_all("homer", ["marge"], 1)))
        asyncio.run(app.run_async(sum_of(["homer", "marge", "bart"])))
    replayed = replay(path, bank(untouchable()))
    replayed.check()


def test_a_program_over_what_was_recorded_needs_no_application(path: Path, store: MemoryStore) -> None:
    record(path, store, deposit("homer", 1), history("homer"))
    replayed = replay(path)
    replayed.check()


def test_a_conflict_and_the_decision_after_it_are_replayed(path: Path, store: MemoryStore) -> None:
    rivals = [deposit("homer", -10)]

    def faster(op: Any) -> Any:
        while rivals:
            store.run(rivals.pop())
        return op

    with RunFile(path) as runs:
        app = recording(bank(store.around(faster, only=Append)), runs)
        assert app.run(pay_all("homer", ["marge"], 60)) == Success(30)
    replayed = replay(path, bank(untouchable()))
    replayed.check()


def test_masked_runs_are_replayed(path: Path, store: MemoryStore) -> None:
    hide = pseudonyms(b"secret")
    masks = {(pay_all, "source"): hide, (Pay, "source"): hide, (Moved, "note"): hide}
    record(path, store, pay_all("homer", ["marge", "bart"], 40), masks=masks)
    assert "homer" not in path.read_text()
    replayed = replay(path, bank(untouchable()), masks=masks)
    replayed.check()
    (run,) = replay(path, bank(untouchable(), fee=2), masks=masks).runs
    assert len(run.differences) == 2


# --- different ------------------------------------------------------------------------------------


def test_events_that_changed_code_writes_are_compared_field_by_field(
    path: Path, store: MemoryStore
) -> None:
    record(path, store, pay_all("homer", ["marge"], 60), sum_of(["homer"]))
    replayed = replay(path, bank(untouchable(), fee=2))
    assert not replayed.same
    assert str(replayed).splitlines() == [
        "2 runs, 1 different",
        "1: pay_all: different",
        "  accounts/homer: test.recording.moved.amount: -60 -> -62",
    ]
    with pytest.raises(AssertionError, match="-60 -> -62"):
        replayed.check()


def test_an_event_more_and_an_event_less_are_told(path: Path, store: MemoryStore) -> None:
    record(path, store, deposit("homer", 1))

    @program
    def more(name: str, amount: int) -> Do[StoreOp, None]:
        yield from accounts[name].append(Moved(5), Moved(amount), Moved(6))

    (run,) = replay(path, programs=by(more)).runs
    assert run.differences == (
        "accounts/homer: + Moved(amount=5, note='')",
        "accounts/homer: + Moved(amount=6, note='')",
    )

    @program
    def less(name: str, amount: int) -> Do[StoreOp, None]:
        yield from ()

    (run,) = replay(path, programs=by(less)).runs
    assert run.differences == ("accounts/homer: - Moved(amount=1, note='')",)


def test_an_event_in_another_stream_is_told_of_both(path: Path, store: MemoryStore) -> None:
    record(path, store, deposit("homer", 1))
    (run,) = replay(path, programs=by(lambda name, amount: deposit("bart", amount))).runs
    assert run.differences == (
        "accounts/homer: - Moved(amount=1, note='')",
        "accounts/bart: + Moved(amount=1, note='')",
    )


def test_an_append_to_several_streams_is_compared_by_stream(path: Path, store: MemoryStore) -> None:
    def both(amount: int, expected: int) -> AppendAll:
        parts = ((accounts["homer"].id, -amount, 1), (accounts["marge"].id, amount, expected))
        return AppendAll(tuple(StreamAppend(s, (Moved(a),), e) for s, a, e in parts))

    record(path, store, both(5, 0))
    program, operation = path.read_text().split('"operations"')
    program = program.replace('"amount":-5', '"amount":-4').replace('"expected":0', '"expected":7')
    path.write_text(f'{program}"operations"{operation}')
    (run,) = replay(path).runs
    assert run.differences == (
        "accounts/homer: test.recording.moved.amount: -5 -> -4",
        "the append to accounts/marge, expected: 0 -> 7",
    )
    record(path, store, deposit("homer", 1))
    runs = replay(path, programs=by(lambda *_: both(5, 0))).runs
    assert runs[1].differences[:2] == (
        "accounts/homer: test.recording.moved.amount: 1 -> -5",
        "accounts/marge: + Moved(amount=5, note='')",
    )


def test_a_condition_that_changed_is_told(path: Path, store: MemoryStore) -> None:
    @program
    def carefully(name: str, amount: int) -> Do[StoreOp, None]:
        yield from accounts[name].append_at(1, Moved(amount))

    record(path, store, deposit("homer", 1))
    (run,) = replay(path, programs=by(carefully)).runs
    assert run.differences == ("the append to accounts/homer, expected: ANY -> 1",)


def test_an_outcome_that_changed_is_told(path: Path, store: MemoryStore) -> None:
    record(path, store, sum_of(["homer"]), fail("homer"))

    @program(name="sum_of")
    def one_more(names: list[str]) -> Do[Any, int]:
        return (yield from sum_of(names)) + 1

    @program(name="fail")
    def succeed(name: str) -> Do[StoreOp, None]:
        yield from accounts[name].append(Moved(1))

    runs = replay(path, bank(untouchable()), known=[one_more, succeed, Broke]).runs
    assert runs[0].differences == ("answers: 100 -> 101",)
    assert runs[1].differences == ("raises Broke('homer is broke') -> answers None",)


def test_a_program_that_asks_less_goes_on(path: Path, store: MemoryStore) -> None:
    record(path, store, pay_all("homer", ["marge", "bart"], 10))
    (run,) = replay(path, bank(untouchable()), programs=by(pay_most)).runs
    assert len([line for line in run.differences if ": - Moved(amount=10" in line]) == 1
    assert not any("does not tell" in line for line in run.differences)


# --- what the recording knows ---------------------------------------------------------------------


def test_other_reads_of_streams_that_were_read_are_answered(path: Path, store: MemoryStore) -> None:
    store.run(deposit("homer", 5))
    record(path, store, history("homer"))
    stream = accounts["homer"].id

    @program
    def otherwise(name: str) -> Do[StoreOp, Any]:
        found: list[Any] = [(yield from accounts[name].head())]
        for op in (Read(stream, 1), Read(stream, 0, 1), Read(stream, 0, 1, True), Read(stream, 9)):
            page = yield from op
            found.append([event.data.amount for event in page.events])
        return found

    (run,) = replay(path, programs=by(otherwise)).runs
    assert [line.partition(" -> ")[2] for line in run.differences] == ["[2, [5], [100], [5], []]"]


def test_the_version_of_a_stream_is_that_at_the_place_in_the_run(
    path: Path, store: MemoryStore
) -> None:
    @program
    def in_between(name: str, amount: int) -> Do[StoreOp, Any]:
        yield from accounts[name].append(Moved(amount))
        return (yield from accounts[name].head())

    record(path, store, deposit("homer", 1))
    (run,) = replay(path, programs=by(in_between)).runs
    assert run.differences == ("answers: None -> 2",)


@pytest.mark.parametrize(
    "asked", [accounts["bart"].head(), Read(accounts["homer"].id, 0, 5), ReadFeed()], ids=repr
)
def test_what_the_recording_cannot_tell_ends_the_run(
    path: Path, store: MemoryStore, asked: Effect[StoreOp, Any]
) -> None:
    store.run(deposit("homer", 1))
    record(path, store, heads(["homer", "marge"]))

    @program
    def otherwise(names: list[str]) -> Do[StoreOp, list[int]]:
        found = [(yield from accounts["homer"].head())]
        try:
            yield from asked
        except Exception:
            pytest.fail("the program took it for an exception")
        return found

    (run,) = replay(path, programs=by(otherwise)).runs
    (line,) = run.differences
    assert line.startswith("asks ")
    assert line.endswith("it goes on with Head(stream='accounts/marge')")


def test_an_append_more_than_was_recorded_is_told_with_its_events(
    path: Path, store: MemoryStore
) -> None:
    record(path, store, deposit("homer", 1))

    @program
    def twice(name: str, amount: int) -> Do[StoreOp, None]:
        yield from deposit(name, amount)
        yield from deposit("bart", 3)

    (run,) = replay(path, programs=by(twice)).runs
    assert run.differences[0] == "accounts/bart: + Moved(amount=3, note='')"
    assert "does not tell: it ends there" in run.differences[1]


# --- files ----------------------------------------------------------------------------------------


def test_a_file_that_is_no_recording_is_refused(path: Path) -> None:
    for text, why in (("x", "is no run"), ("{}", "is no run"), ('{"eventsrc": 3}', "newer version")):
        path.write_text(text)
        with pytest.raises(NotARecording, match=why):
            replay(path)


@pytest.mark.parametrize("text", ["", '{"eventsrc":1,"began":'])
def test_a_file_without_a_run_shows_nothing_and_is_refused(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(NotARecording, match=r"runs\.jsonl holds no run: record some first"):
        replay(path)


@pytest.mark.parametrize("kept", [5, 40, -2])
def test_a_run_whose_process_ended_in_the_midst_is_told_and_spoils_no_other(
    path: Path, store: MemoryStore, kept: int
) -> None:
    record(path, store, deposit("homer", 1), deposit("homer", 2))
    first, second = path.read_text().splitlines()
    path.write_text(f"{first}\n{second[:kept]}")
    record(path, store, deposit("homer", 3))
    replayed = replay(path, bank(untouchable()))
    assert ([run.line for run in replayed.runs], replayed.torn) == ([1, 3], (2,))
    assert replayed.same
    assert str(replayed) == "2 runs, 0 different; only a part of a run is in line 2"


def test_a_program_that_is_no_more_must_be_named(path: Path, store: MemoryStore) -> None:
    record(path, store, deposit("homer", 1))
    path.write_text(path.read_text().replace('"deposit"', '"gone"'))
    with pytest.raises(NotPortable, match="no program is known as 'gone': give it in `known`"):
        replay(path)
    assert replay(path, programs=by(deposit)).same


def test_a_failure_is_compared_too(path: Path, store: MemoryStore) -> None:
    record(path, store, pay_all("homer", ["marge"], 600))
    (run,) = replay(path, bank(untouchable())).runs
    assert run.same

    @program
    def never(*_: Any) -> Do[StoreOp, Any]:
        yield from ()
        return Failure("never")

    (run,) = replay(path, bank(untouchable()), programs=by(never)).runs
    assert run.differences == ("answers: TooLittle(name='homer', has=100) -> 'never'",)

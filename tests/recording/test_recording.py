"""Runs are recorded as lines, masked where one says so; what cannot be written is told."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import enum
import json
import os
import re
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import attrs
import pytest

from eventsrc import (
    ANY,
    START,
    Append,
    Failure,
    MemoryStore,
    Read,
    ReadFeed,
    StreamId,
    Success,
    Token,
    gather_all,
    on,
    pure,
    world,
)
from eventsrc.events.event import Opaque
from eventsrc.recording import RunFile, recording
from eventsrc.recording._names import Names
from eventsrc.recording.masks import BadMask, mask_of, pseudonyms
from eventsrc.recording.portable import NotPortable, Portable, Unwritten
from eventsrc.stores.operations import StoreClosed
from eventsrc.testing.replay import replay
from tests.kits.bank import (
    KNOWN,
    Blob,
    Broke,
    Moved,
    Pay,
    TooLittle,
    accounts,
    add,
    bank,
    deposit,
    fail,
    fail_with,
    given,
    note,
    pass_on,
    pay_all,
    sum_of,
)


class Colour(enum.Enum):
    RED = "red"


class Right(enum.Flag):
    READ = 1
    WRITE = 2


@attrs.frozen
class Hidden:
    _secret: str
    made: int = attrs.field(default=1, init=False)


class Handle:
    """What cannot be written."""


@pytest.fixture
def store() -> MemoryStore:
    made = MemoryStore(store_id="x")
    made.run(deposit("homer", 100))
    return made


def _runs(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


# --- values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        2**80,
        1.5,
        float("inf"),
        "text",
        "\ud800",
        b"bytes",
        [1, (2, {3})],
        {"a": 1, "b": {"c": frozenset({2})}},
        {"$a": 1},
        {1: "a", (2, 3): "b"},
        UUID(int=5),
        Decimal("1.50"),
        dt.datetime(2026, 1, 2, 3, 4, 5, 6, dt.UTC),
        dt.date(2026, 1, 2),
        dt.time(1, 2),
        dt.timedelta(days=-1, microseconds=3),
        Colour.RED,
        ANY,
        START,
        StreamId("a/b"),
        Token("x", {StreamId("a"): 2}),
        Moved(3, "note"),
        Opaque("unknown", 3, "other", b"\x00"),
        Hidden("s"),
        Success([Failure(TooLittle("homer", 3))]),
        Pay("homer", "marge", 60),
        Append(StreamId("a"), (Moved(1),), 3, UUID(int=1), {"by": ["x"]}),
        pay_all("homer", ["marge"], amount=3),
        pure(3),
        deposit("a", 1).then(deposit("b", 2)),
        pure(["a"]).and_then(sum_of),
        accounts["a"].append(Moved(1)),
        accounts["a"].append_at(0, Moved(1)),
        accounts["a"].head(),
        accounts["a"].history(),
        gather_all([deposit("a", 1), deposit("b", 2)]),
        deposit,
        Right.READ | Right.WRITE,
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_that_is_written_comes_back_as_it_was(value: Any) -> None:
    portable = Portable(names=Names([*KNOWN, Colour, Right, Hidden]))
    back = portable.value(json.loads(json.dumps(portable.plain(value))))
    assert type(back) is type(value)
    assert repr(back) == repr(value)
    if not isinstance(value, type(deposit("a", 1).then(pure(1)))):  # functools.partial has no equality
        assert back == value


def test_pages_come_back_as_they_were(store: MemoryStore) -> None:
    store.run(Append(accounts["homer"].id, (Moved(1), Opaque("u", 1, "c", b"x")), metadata={"a": 1}))
    portable = Portable()
    for op in (Read(accounts["homer"].id), ReadFeed()):
        page: Any = store.run(op)
        back = portable.value(json.loads(json.dumps(portable.plain(page))))
        assert back == page
        assert [e.metadata for e in back.events] == [e.metadata for e in page.events]
        assert back.events[0].data == page.events[0].data


def test_an_exception_keeps_its_type_and_what_it_says() -> None:
    portable = Portable(names=Names([Broke]))
    back = portable.value(portable.plain(Broke("homer", 3)))
    assert (type(back), back.args) == (Broke, ("homer", 3))
    other = portable.value(portable.plain(Broke(Handle())))
    assert type(other) is Broke
    assert "Handle" in str(other)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (Handle(), "Handle"),
        (lambda: 1, "<lambda>"),
        ([{"a": Handle()}], "opaque"),
        (add, "write it as a @program"),
        (Moved, "name no functions and classes to call"),
    ],
    ids=["instance", "lambda", "inside", "function", "class"],
)
def test_what_cannot_be_written_is_refused_with_a_remedy(value: Any, shown: str) -> None:
    with pytest.raises(NotPortable, match=shown):
        Portable().plain(value)


def test_a_value_that_is_left_out_comes_back_as_its_name() -> None:
    portable = Portable(opaque=(Handle,))
    back = portable.value(portable.plain([Handle()]))
    assert back == [Unwritten("Handle")]


# --- runs -----------------------------------------------------------------------------------------


def test_a_run_is_a_line_with_all_that_handlers_answered(store: MemoryStore, tmp_path: Path) -> None:
    with RunFile(tmp_path / "runs.jsonl") as runs:
        app = recording(bank(store), runs)
        assert app.run(pay_all("homer", ["marge"], 60)) == Success(40)
        app.run(pay_all("homer", ["marge"], 60))
    first, second = _runs(tmp_path / "runs.jsonl")
    assert first["program"]["$call"] == "pay_all"
    kinds = [each["operation"]["$attrs"].removeprefix("eventsrc/") for each in first["operations"]]
    assert kinds == ["NewId", "Read", "Elapsed", "Append", "Append", "Read"]
    assert first["answer"] == {"$success": 40}
    assert second["answer"]["$failure"]["fields"] == {"name": "homer", "has": 40}


def test_an_event_loop_and_branches_are_recorded_too(store: MemoryStore, tmp_path: Path) -> None:
    with RunFile(tmp_path / "runs.jsonl") as runs:
        app = recording(bank(store), runs)
        assert asyncio.run(app.run_async(sum_of(["homer", "marge"]))) == 100
    (run,) = _runs(tmp_path / "runs.jsonl")
    streams = [each["operation"]["fields"]["stream"]["$stream"] for each in run["operations"]]
    assert streams == ["accounts/homer", "accounts/marge"]


def test_an_exception_is_recorded_and_raised(store: MemoryStore, tmp_path: Path) -> None:
    with (
        RunFile(tmp_path / "runs.jsonl") as runs,
        pytest.raises(Broke, match="homer is broke"),
    ):
        recording(bank(store), runs).run(fail("homer"))
    (run,) = _runs(tmp_path / "runs.jsonl")
    assert run["raises"] == {"$error": "Broke", "args": ["homer is broke"]}


def test_runs_in_many_threads_are_lines_of_their_own(store: MemoryStore, tmp_path: Path) -> None:
    with RunFile(tmp_path / "runs.jsonl") as runs:
        app = recording(bank(store), runs)

        def many() -> None:
            for _ in range(20):
                app.run(deposit("homer", 1, "x" * 5000))

        threads = [threading.Thread(target=many) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(_runs(tmp_path / "runs.jsonl")) == 120


def test_runs_are_added_and_only_those_that_are_wanted(store: MemoryStore, tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    for _ in range(2):
        with RunFile(path, wanted=lambda source: source != deposit("homer", 2)) as runs:
            app = recording(bank(store), runs)
            app.run(deposit("homer", 1))
            app.run(deposit("homer", 2))
    assert [run["program"]["args"] for run in _runs(path)] == [["homer", 1]] * 2
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_program_that_cannot_be_written_is_not_run(store: MemoryStore, tmp_path: Path) -> None:
    with RunFile(tmp_path / "runs.jsonl") as runs:
        app = recording(bank(store), runs)
        with pytest.raises(NotPortable, match="opaque"):
            app.run(fail(Handle()))  # type: ignore[arg-type]
        with pytest.raises(NotPortable, match="write it as a @program"):
            app.run(deposit("homer", 1).map(lambda _: 1))
    assert _runs(tmp_path / "runs.jsonl") == []
    assert len(store.run(ReadFeed()).events) == 1


def test_in_production_the_run_goes_on_and_somebody_is_told(store: MemoryStore, tmp_path: Path) -> None:
    told: list[NotPortable | OSError] = []
    with RunFile(tmp_path / "runs.jsonl", failing=told.append) as runs:
        app = recording(bank(store), runs)
        app.run(deposit("homer", 1).map(lambda _: 1))
    assert len(told) == 1
    assert len(store.run(ReadFeed()).events) == 2


def test_a_value_too_deep_to_be_written_does_not_end_a_run(store: MemoryStore, tmp_path: Path) -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    told: list[NotPortable | OSError] = []
    with RunFile(tmp_path / "runs.jsonl", failing=told.append) as runs:
        blob: Any = on(Blob)
        app: Any = recording(blob.run(lambda _: deep), runs)
        assert app.run(pass_on("text")) is deep
        assert recording(bank(store), runs).run(given(deep)) is deep
    assert ["RecursionError" in str(error) for error in told] == [True, True]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no disk is full here")
def test_a_full_disk_does_not_end_a_run_that_has_stored_its_events(store: MemoryStore) -> None:
    told: list[NotPortable | OSError] = []
    with RunFile("/dev/full", failing=told.append) as runs:
        recording(bank(store), runs).run(deposit("homer", 1))
    assert [type(error) for error in told] == [OSError]
    with pytest.raises(OSError, match="No space left"), RunFile("/dev/full") as runs:
        assert recording(bank(store), runs).run(sum_of(["homer"])) == 101


def test_what_was_half_written_is_not_a_part_of_what_follows(
    store: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, write = tmp_path / "runs.jsonl", os.write

    def half(file: int, line: bytes) -> int:
        monkeypatch.setattr(os, "write", fail)
        return write(file, line[:20])

    def fail(_file: int, _line: bytes) -> int:
        monkeypatch.setattr(os, "write", write)
        raise OSError("the disk is full")

    with RunFile(path, failing=lambda _: None) as runs:
        app = recording(bank(store), runs)
        monkeypatch.setattr(os, "write", half)
        app.run(deposit("homer", 1))
        app.run(deposit("homer", 2))
    lines = path.read_text().splitlines()
    assert len(lines[0]) == 20
    assert json.loads(lines[1])["eventsrc"] == 2


def test_what_may_be_left_out_is(store: MemoryStore, tmp_path: Path) -> None:
    with RunFile(tmp_path / "runs.jsonl", opaque=(Handle,)) as runs:
        recording(bank(store), runs).run(given(Handle()))
    (run,) = _runs(tmp_path / "runs.jsonl")
    assert run["answer"] == {"$unwritten": "Handle"}


def test_a_file_that_was_closed_takes_no_runs(store: MemoryStore, tmp_path: Path) -> None:
    runs = RunFile(tmp_path / "runs.jsonl")
    runs.close()
    with pytest.raises(StoreClosed, match="was closed"):
        recording(bank(store), runs).run(deposit("homer", 1))
    assert len(store.run(ReadFeed()).events) == 1, "nothing is performed"


# --- masks ----------------------------------------------------------------------------------------


def test_what_is_masked_in_one_place_is_masked_all_over_the_run(
    store: MemoryStore, tmp_path: Path
) -> None:
    path = tmp_path / "runs.jsonl"
    hide = pseudonyms(b"secret")
    with RunFile(
        path, masks={(Pay, "source"): hide, (fail, "name"): hide, (pay_all, "source"): hide}
    ) as runs:
        app = recording(bank(store), runs)
        app.run(pay_all("homer", ["marge"], 60))
        with pytest.raises(Broke):
            app.run(fail("homer"))
    text = path.read_text()
    assert "homer" not in text
    assert f"accounts/{hide('homer')}" in text
    assert f"{hide('homer')} is broke" in text
    assert "accounts/marge" in text


def test_the_texts_of_a_list_are_masked_each(store: MemoryStore, tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    with RunFile(path, masks={(pay_all, "targets"): pseudonyms(b"secret")}) as runs:
        recording(bank(store), runs).run(pay_all("homer", ["marge", "bart"], 1))
    assert "marge" not in path.read_text()
    assert "bart" not in path.read_text()


def test_the_arguments_of_an_exception_are_masked(store: MemoryStore, tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    with RunFile(path, masks={(fail_with, "name"): "***"}) as runs, pytest.raises(Broke):
        recording(bank(store), runs).run(fail_with("homer"))
    (run,) = _runs(path)
    assert run["raises"]["args"] == ["*** is broke", ["***"], 3]


def test_fields_of_events_are_masked_in_appends_and_in_reads(tmp_path: Path) -> None:
    store = MemoryStore()
    path = tmp_path / "runs.jsonl"
    masks = {(Moved, "note"): "hidden", (deposit, "note"): "hidden", (Moved, "amount"): lambda a: a * 2}
    with RunFile(path, masks=masks) as runs:
        app = recording(bank(store), runs)
        app.run(deposit("homer", 21, "private"))
        app.run(Read(accounts["homer"].id))
    assert "private" not in path.read_text()
    written, read = _runs(path)
    (event,) = written["operations"][0]["operation"]["fields"]["events"]["$tuple"]
    assert event["data"] == {"amount": 42, "note": "hidden"}
    assert read["answer"]["fields"]["events"]["$events"][0]["event"] == event


def test_a_name_of_a_field_is_not_taken_for_a_text_that_is_masked(
    store: MemoryStore, tmp_path: Path
) -> None:
    path = tmp_path / "runs.jsonl"
    with RunFile(path, masks={(deposit, "name"): pseudonyms(b"s")}) as runs:
        recording(bank(store), runs).run(deposit("amount", 1))
    (run,) = _runs(path)
    (event,) = run["operations"][0]["operation"]["fields"]["events"]["$tuple"]
    assert event["data"] == {"amount": 1, "note": ""}


def test_a_mask_can_be_a_function_of_class_field_and_value(store: MemoryStore, tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"

    def mask(owner: Any, field: str, value: Any) -> Any:
        return "***" if field in ("name", "note") and isinstance(value, str) else value

    with RunFile(path, masks=mask) as runs:
        recording(bank(store), runs).run(deposit("homer", 1, "private"))
    text = path.read_text()
    assert "homer" not in text
    assert "private" not in text
    assert '"accounts/***"' in text


def test_what_is_masked_does_not_come_back_in_a_snapshot(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    hide = pseudonyms(b"secret")
    store = MemoryStore()
    masks = {(Moved, "note"): hide, (note, "text"): hide}
    assert (store | world).run(note("homer", "from before")) == 1, "there is a snapshot of it"
    with RunFile(path, masks=masks) as runs:
        app = recording(store | world, runs)
        assert app.run(note("homer", "from today")) == 2
        assert app.run(note("homer", "at the end")) == 3
    data = path.read_bytes()
    for word in (b"before", b"today", b"the end"):
        assert word not in data
        assert not any(
            word in base64.b64decode(its) for its in re.findall(rb'"\$bytes":"([^"]*)"', data)
        )
    replayed = replay(path, MemoryStore() | world, known=KNOWN)
    assert replayed.same, replayed


def test_bytes_that_hold_what_is_masked_are_not_written(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    app = on(Blob).run(lambda op: op.data)
    masks = {(pass_on, "text"): "***"}
    with pytest.raises(NotPortable, match="bytes hold a text"), RunFile(path, masks=masks) as runs:
        assert recording(app, runs).run(pass_on("private")) == b"to private", "the run is what it was"
    assert path.read_text() == ""


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ((Moved, "notes"), "Moved has no 'notes', to be masked: its fields are amount, note"),
        ((deposit, "nam"), "deposit has no 'nam', to be masked: its parameters are"),
        (("Moved", "note"), "masks nothing: name the class"),
        ((add, "total"), "masks nothing: name the class"),
        ("note", "is no key of a mask"),
    ],
)
def test_a_mask_of_what_is_not_there_is_refused(tmp_path: Path, key: Any, said: str) -> None:
    with pytest.raises(BadMask, match=said):
        RunFile(tmp_path / "runs.jsonl", masks={key: "***"})
    with pytest.raises(BadMask, match=said):
        replay(tmp_path / "runs.jsonl", masks={key: "***"})


def test_a_mask_of_a_class_is_for_those_derived_from_it() -> None:
    @attrs.frozen
    class Person:
        email: str

    @attrs.frozen
    class Friend(Person):
        name: str

    mask = mask_of({(Person, "email"): "***"})
    assert [mask(kind, "email", "homer@example.com") for kind in (Person, Friend)] == ["***", "***"]
    assert mask(Friend, "name", "Homer") == "Homer"


def test_pseudonyms_are_the_same_for_equal_values_and_kept_with_the_secret() -> None:
    hide = pseudonyms(b"one")
    value = uuid4()
    for each in ("homer", 3, value):
        assert hide(each) == hide(hide(each)) != each
        assert type(hide(each)) is type(each)
        assert hide(each) != pseudonyms(b"two")(each)
    assert hide(None) is None
    assert hide(["homer", ("marge",)]) == [hide("homer"), (hide("marge"),)]
    with pytest.raises(NotPortable, match="bytes has no pseudonym"):
        hide(b"x")


def broken(_value: object) -> object:
    raise LookupError("the mask is broken")


@pytest.mark.parametrize("mask", ["no number", broken], ids=["bad value", "raising"])
def test_a_mask_changes_neither_the_result_nor_the_error_of_a_run(
    store: MemoryStore, tmp_path: Path, mask: Any
) -> None:
    told: list[NotPortable | OSError] = []
    masks = {(Moved, "amount"): mask}
    with RunFile(tmp_path / "runs.jsonl", masks=masks, failing=told.append) as runs:
        app = recording(bank(store), runs)
        assert app.run(pay_all("homer", ["marge"], 60)) == Success(40)
        with pytest.raises(Broke, match="homer is broke"):
            app.run(fail("homer"))
    assert [type(error) for error in told] == [NotPortable, NotPortable]
    assert (tmp_path / "runs.jsonl").read_text() == ""


def test_why_a_run_was_not_written_is_raised_when_the_file_is_closed(
    store: MemoryStore, tmp_path: Path
) -> None:
    runs = RunFile(tmp_path / "runs.jsonl", masks={(Moved, "amount"): "no number"})
    assert recording(bank(store), runs).run(sum_of(["homer"])) == 100
    with pytest.raises(NotPortable, match="Moved cannot hold what its masks made"):
        runs.close()
    runs.close()


def test_an_error_in_the_block_is_not_replaced_by_why_a_run_was_not_written(
    store: MemoryStore, tmp_path: Path
) -> None:
    with (
        pytest.raises(Broke, match="homer is broke") as raised,
        RunFile(tmp_path / "runs.jsonl", masks={(Moved, "amount"): "no number"}) as runs,
    ):
        recording(bank(store), runs).run(fail("homer"))
    assert "could not be written" in raised.value.__notes__[0]

"""A journal from a stranger parks its run, makes nothing but what is known, and stops nobody else."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from functools import cache
from random import Random
from typing import Any

import pytest

from eventsrc import Append, Do, MemoryStore, NewId, Outcome, Read, StreamId, program
from eventsrc._errors import EventsrcError
from eventsrc.durable import HOURS, Next, Runs, Signal, work
from eventsrc.durable.journal import RunKey, journals
from eventsrc.durable.work import check, work_off
from eventsrc.events.event import Opaque
from eventsrc.events.record import Corrupted
from eventsrc.recording._names import Names
from eventsrc.stores.operations import Page, SaveSnapshot, Snapshot
from tests.durable.service import (
    CODEC,
    Clock,
    Mail,
    Outside,
    Paid,
    Taken,
    app_of,
    fulfilment,
    payments,
    stock,
)
from tests.faults import scaled
from tests.recording.test_hostile import found_anywhere, made, mutated

Journal = list[list[Any]]
"""The entries of a journal: type, schema, and data as JSON."""


@program
def talk(name: str) -> Do[Any, str]:
    """Hears, waits in vain, fails, and reads what there is."""
    heard = yield from Signal("word", within=HOURS)
    nothing = yield from Next(payments[name], Paid, within=1.5)
    page: Page[Any] = yield from Read(stock.id, limit=2)
    kept: Outcome[Any, Any] = yield from Append(stock.id, (Taken(name),), 0)
    try:
        yield from Mail("nobody", f"{kept}", (yield from NewId()))
    except Exception as error:
        return repr(error)
    return f"{heard} {nothing} {len(page.events)}"


talks = Runs("talks", talk, id=lambda name: name, codec=CODEC)
RUNS: tuple[Runs[..., Any], ...] = (fulfilment, talks)


class Place:
    """An application, with a run that is sound."""

    def __init__(self) -> None:
        self.store, self.outside, self.clock = MemoryStore(CODEC), Outside(), Clock()
        self.app = app_of(self.store, self.outside, self.clock)
        self.app.run(fulfilment.start("sound", 3))

    def go_on(self, *orders: str) -> None:
        """Works off all there is, for long enough."""
        self.app.run(work_off(*RUNS))
        for order in orders:
            self.app.run(payments[order].append(Paid(order)))
        for _ in range(4):
            self.clock.seconds += HOURS
            self.app.run(work_off(*RUNS))


@pytest.fixture(autouse=True)
def _nothing_made() -> Iterator[None]:
    written()
    made.clear()
    yield
    made.clear()


@cache
def written() -> tuple[tuple[str, str, Journal], ...]:
    """The names, ids and journals of some runs that were written by workers."""
    place = Place()
    place.app.run(fulfilment.start("7", 30))
    place.app.run(talks.start("8"))
    place.app.run(talks.signal("8", "word", "homer"))
    place.app.run(fulfilment.start("9", 1))
    place.app.run(work_off(*RUNS))
    place.app.run(fulfilment.cancel("9", "no"))
    place.go_on("sound", "7")
    runs = ("fulfilment", "7"), ("talks", "8"), ("fulfilment", "9")
    return tuple((name, id, journal_of(place, name, id)) for name, id in runs)


def journal_of(place: Place, name: str, id: str) -> Journal:
    page = place.store.run(Read(journals[RunKey(name, id)].id))
    entries = [(event.record.kind, event.record.data) for event in page.events]
    return [[kind.type, kind.schema, json.loads(data)] for kind, data in entries]


def put(place: Place, stream: StreamId, journal: Journal) -> bool:
    """Has the store keep a journal, if it keeps such things at all."""
    for kind, schema, data in journal:
        try:
            event = Opaque(kind, schema, "json", json.dumps(data).encode())
            place.store.run(Append(stream, (event,))).unwrap()
        except (EventsrcError, TypeError, ValueError):
            return False
    return True


def fuzz(rounds: int) -> Counter[str]:
    """Works off runs beside as many mutated journals; answers what became of these."""
    random, became = Random(17), Counter[str]()
    for _ in range(rounds):
        name, id, journal = random.choice(written())
        cut = journal[: random.randrange(1, len(journal) + 1)]
        whole = [{"data": [data for _, _, data in its]} for _, _, its in written()]
        changed = mutated({"data": [data for _, _, data in cut]}, whole, random).get("data")
        if not isinstance(changed, list) or len(changed) != len(cut):
            became["refused"] += 1
            continue
        stranger = [[*entry[:2], data] for entry, data in zip(cut, changed, strict=True)]
        place = Place()
        if not put(place, journals[RunKey(name, id)].id, stranger):
            became["refused"] += 1
            continue
        place.app.run(check(*RUNS))
        place.go_on("sound", "7")
        assert place.app.run(fulfilment.status("sound")).state == "ended"
        runs: Runs[..., Any] = fulfilment if name == "fulfilment" else talks
        try:
            became[place.app.run(runs.status(id)).state] += 1
            place.app.run(runs.history(id))
            place.app.run(runs.result(id, within=0.0))
        except EventsrcError as error:
            became[type(error).__name__] += 1
    return became


def test_no_mutated_journal_makes_what_is_not_known_or_stops_others() -> None:
    became = fuzz(scaled(100, 5_000))
    assert made == []
    assert became["ended"], became
    assert became["parked"], became


def test_the_fuzzer_would_find_a_name_that_leads_to_a_module(monkeypatch: pytest.MonkeyPatch) -> None:
    get = Names._get

    def known_or_anything(self: Names, name: Any) -> Any:
        found = get(self, name)
        return found_anywhere(self, name) if found is None else found

    monkeypatch.setattr(Names, "_get", known_or_anything)
    fuzz(100)
    assert made


def test_the_fuzzer_would_find_a_worker_that_ends_by_what_it_cannot_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(work, "_read", lambda event: (event.data, None))
    with pytest.raises(EventsrcError):
        fuzz(100)


# --- one thing at a time

BEGUN = ["eventsrc/run.begun", 1, {"args": ["7", 30], "kwargs": {}}]
ODD: dict[str, Any] = {
    "no beginning": [["eventsrc/run.retried", 1, {}]],
    "of a newer version": [BEGUN, ["eventsrc/run.went-on", 99, {}]],
    "no such entry": [BEGUN, ["eventsrc/run.flown", 1, {}]],
    "no JSON of an entry": [BEGUN, ["eventsrc/run.went-on", 1, []]],
    "a step that says nothing": [BEGUN, ["eventsrc/run.went-on", 1, {"steps": [{}], "asks": None}]],
    "other arguments": [["eventsrc/run.begun", 1, {"args": [], "kwargs": {"x": {"$call": "exec"}}}]],
}


@pytest.mark.parametrize("what", ODD)
def test_an_odd_journal_stops_nobody_and_tells_what_is_wrong(what: str) -> None:
    place = Place()
    assert put(place, journals[RunKey("fulfilment", "7")].id, ODD[what])
    assert "fulfilment/7" in place.app.run(check(*RUNS)).parked
    place.go_on("sound", "7")
    assert place.app.run(fulfilment.status("sound")).state == "ended"
    assert "fulfilment/7" in place.app.run(check(*RUNS)).parked


@pytest.mark.parametrize("until", ["", "tomorrow", "2026-01-01T00:00:00"])
def test_a_run_that_waits_for_what_is_no_time_is_parked(until: str) -> None:
    place = Place()
    place.app.run(talks.start("8"))
    place.app.run(work_off(*RUNS))
    begun, waits = journal_of(place, "talks", "8")
    waits[2]["until"] = until
    other = Place()
    assert put(other, journals[RunKey("talks", "8")].id, [begun, waits])
    with pytest.raises(Corrupted, match="no time"):
        other.app.run(talks.status("8"))
    other.go_on("sound")
    status = other.app.run(talks.status("8"))
    assert (status.state, "no time" in status.why) == ("parked", True)
    assert other.app.run(fulfilment.status("sound")).state == "ended"


@pytest.mark.parametrize(
    "stream", ["fulfilment", "fulfilment/a/b", "none/7", "fulfilment/%", "talks/7"]
)
def test_an_entry_elsewhere_stops_nobody(stream: str) -> None:
    place = Place()
    assert put(place, StreamId(f"eventsrc/runs/{stream}"), [BEGUN])
    place.go_on("sound")
    assert place.app.run(fulfilment.status("sound")).state == "ended"


@pytest.mark.parametrize(
    "note",
    [b"", b"[]", b'{"cursor": 1, "open": []}', b'{"cursor": ".0", "open": ["eventsrc/runs/x/y"]}'],
)
def test_a_note_that_no_worker_has_written_is_no_note(note: bytes) -> None:
    place = Place()
    kept = Snapshot(StreamId("eventsrc/runs"), "open runs of fulfilment,talks", 1, 1, note)
    place.store.run(SaveSnapshot(kept))
    place.go_on("sound")
    assert place.app.run(fulfilment.status("sound")).state == "ended"

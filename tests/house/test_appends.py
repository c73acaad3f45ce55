"""What is done around appends is done around each of them: no operation that appends is overlooked."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import pytest
from returns.result import Failure, Success

from eventsrc import (
    START,
    Append,
    AppendAll,
    Do,
    MemoryStore,
    Read,
    StreamAppend,
    StreamId,
    program,
    world,
)
from eventsrc.errors import MissingHandlers
from eventsrc.events.tags import about
from eventsrc.following.session import Session
from eventsrc.metering import Measured, metered
from eventsrc.moving.splitting import refusing_ended, split
from eventsrc.moving.tenancy import rekeyed
from eventsrc.preview.overlay import over
from eventsrc.publishing.cloud_event import CloudEvent
from eventsrc.publishing.inbox import Again, SeveralAppends, arrived
from eventsrc.stores.metadata import with_metadata
from eventsrc.stores.tags import APPENDS, AnyAppend, AppendIf, ReadTagged, Unchanged
from eventsrc.streams.past import PastIsReadOnly, as_it_was, as_of
from examples.courses.events import CourseId, Joined, StudentId, student

STREAM: Final = StreamId("courses/rust")
JOINED: Final = Joined(StudentId("homer"), CourseId("rust"))
NOBODY: Final = Unchanged(about(student[StudentId("marge")]), START)

PART: Final = StreamAppend(STREAM, (JOINED,))
EACH: Final[dict[type, AnyAppend]] = {
    Append: Append(STREAM, (JOINED,)),
    AppendAll: AppendAll((PART,)),
    AppendIf: AppendIf((PART,), (NOBODY,)),
}

NEED_NOT: Final = {
    "aws/_appending.py": "DynamoDB keeps no tags",
    "aws/_talk.py": "DynamoDB keeps no tags",
    "aws/store.py": "DynamoDB keeps no tags",
    "durable/runs.py": "it appends, and looks at no appends of others",
    "moving/tenancy.py": "a store within a store keeps no tags",
    "stores/operations.py": "it declares the two",
    "testing/_contract/_retries.py": "the contract of tags has retries of its own",
}
"""The modules that see appends and need not see those which depend on boundaries, and why."""


def sources() -> dict[str, str]:
    root = Path(__file__).parents[2] / "eventsrc"
    found = {str(path.relative_to(root)): path.read_text() for path in root.rglob("*.py")}
    return {name: text for name, text in found.items() if name != "__init__.py"}


def overlooking(text: str) -> bool:
    """Whether a module deals with appends of both other kinds, and not with those on boundaries."""
    both = re.search(r"\(Append, AppendAll\)|Append \| AppendAll\b(?! \| AppendIf)", text)
    return both is not None and not re.search(r"\bAppendIf\b|\bAnyAppend\b|\bAPPENDS\b", text)


def test_no_module_knows_two_kinds_of_appends_only() -> None:
    found = {name for name, text in sources().items() if overlooking(text)}
    assert found <= NEED_NOT.keys(), "use AnyAppend or APPENDS of eventsrc.stores.tags"


def test_control_one_that_does_is_found() -> None:
    assert overlooking("def around(op: Append | AppendAll): ...")
    assert overlooking("store.around(note, only=(Append, AppendAll))")
    assert not overlooking("store.around(note, only=APPENDS)")


@program
def twice(op: AnyAppend) -> Do[AnyAppend, Any]:
    yield from op
    return (yield from op)


each = pytest.mark.parametrize("op", EACH.values(), ids=lambda op: type(op).__name__)


def test_each_kind_is_tried() -> None:
    assert EACH.keys() == {*APPENDS}


@each
def test_metadata_is_added(op: AnyAppend) -> None:
    store = MemoryStore()
    store.run(with_metadata(op, actor="lisa"))
    (event,) = store.run(Read(STREAM)).events
    assert event.metadata == {"actor": "lisa"}


@each
def test_a_session_notes_what_is_written(op: AnyAppend) -> None:
    session = Session()
    session.noting(MemoryStore()).run(op)
    assert session.token is not None
    assert session.token.versions == {STREAM: 1}


@each
def test_it_is_measured(op: AnyAppend) -> None:
    told: list[Measured] = []
    metered(MemoryStore(), told.append).run(op)
    assert [(its.name, its.outcome, its.events) for its in told] == [(type(op).__name__, "appended", 1)]


@each
def test_a_stream_that_has_ended_takes_it_no_more(op: AnyAppend) -> None:
    store = MemoryStore()
    store.run(Append(STREAM, (JOINED,)))
    store.run(split(STREAM, lambda _: StreamId("courses/new")))
    answer = refusing_ended(store).run(op)
    assert isinstance(answer, Failure)
    assert "courses/rust has ended" in str(answer.failure())


@each
def test_an_event_that_arrives_again_takes_effect_once(op: AnyAppend) -> None:
    store = MemoryStore()
    event = CloudEvent("1", "/shop", "seat.taken", "homer", None, {})
    first = store.run(arrived(event, lambda _: op, inbox="courses"))
    assert isinstance(first, Success)
    assert isinstance(store.run(arrived(event, lambda _: op, inbox="courses")), Again)
    with pytest.raises(SeveralAppends):
        store.run(arrived(event, lambda _: twice(op), inbox="another"))


@each
def test_the_past_takes_none(op: AnyAppend) -> None:
    store = MemoryStore()
    with pytest.raises(PastIsReadOnly):
        (store | world).run(as_it_was(op, START))


def test_a_store_within_a_store_keeps_no_tags() -> None:
    within: Any = rekeyed(MemoryStore(), "tenants/7/")
    for op in (EACH[AppendIf], ReadTagged(NOBODY.boundary)):
        with pytest.raises(MissingHandlers, match=type(op).__name__):
            within.run(op)


@each
def test_the_past_of_a_store_takes_none_either(op: AnyAppend) -> None:
    with pytest.raises(PastIsReadOnly):
        as_of(MemoryStore(), START).run(op)


@each
def test_an_overlay_keeps_it_aside(op: AnyAppend) -> None:
    store = MemoryStore()
    overlay, over_it = over(store)
    both: Any = over_it
    both.run(op)
    assert [event.data for event in overlay.events] == [JOINED]
    assert not store.run(Read(STREAM)).events


def test_events_that_are_appended_as_they_were_stored_have_their_tags() -> None:
    store = MemoryStore()
    store.run(Append(STREAM, (JOINED,)))
    assert isinstance(store.run(split(STREAM, lambda _: StreamId("courses/new"))), Success)
    about_homer = store.run(ReadTagged(about(student[StudentId("homer")]))).events
    assert [event.stream for event in about_homer] == [STREAM, "courses/new"]

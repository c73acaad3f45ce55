"""External events that arrive: each takes effect once, however often it comes.

    app.run(arrived(CloudEvent.parse(body), take_payment, inbox="billing"))

There is no table of what has come. The append that an event leads to has an id that is made of the
event's source and id, so the store itself tells what comes again, for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias, TypeVar
from uuid import UUID, uuid5

import attrs
from returns.result import Success

from eventsrc._errors import EventsrcError
from eventsrc.programs.program import Do, Effect, intercept, program
from eventsrc.publishing.cloud_event import CloudEvent
from eventsrc.stores.metadata import LONGEST, check_metadata, with_metadata
from eventsrc.stores.operations import Appended, AppendOutcome, FindAppend
from eventsrc.stores.requests import request_of
from eventsrc.stores.tags import APPENDS, AnyAppend, parts_of

O = TypeVar("O")
R = TypeVar("R")

ArriveOp: TypeAlias = AnyAppend | FindAppend
"""The operations of an inbox."""


class SeveralAppends(EventsrcError):
    """One event would lead to several appends, between which the process may end."""


@attrs.frozen
class Again:
    """The event had arrived before. appended: what it led to then."""

    appended: Appended


@program
def arrived(
    event: CloudEvent, into: Callable[[CloudEvent], Effect[O, R]], *, inbox: str
) -> Do[O | ArriveOp, R | Again]:
    """Does what an external event leads to, unless it was done before.

    into: answers the program that does it: with one append (AppendAll for several streams), or one
        decision. If it appends nothing, it is asked again when the event comes again.
    inbox: a name for what the program does; another inbox of the same store takes the event too.

    Answers the program's result, or Again if the event had arrived before. The events that are stored
    have the external one's id as `causation_id`, and its `correlationid` and `traceparent`.
    Raises OtherRequest if another event with this source and id has arrived, and SeveralAppends, before
    a second append is made.
    """
    append_id = uuid5(_INBOX, "\n".join((inbox, event.source, event.id)))
    request = request_of({"type": event.type, "subject": event.subject, "data": event.data})
    before = yield from FindAppend(append_id, request)
    if before is not None:
        return Again(before)
    once = _Once(append_id, request)
    caused = with_metadata(into(event), **_metadata(event))
    try:
        answer: R = yield from intercept(caused, once, only=APPENDS)
    except _Meanwhile as found:
        return Again(found.appended)
    if not once.has_appended:  # perhaps because it arrived meanwhile
        before = yield from FindAppend(append_id, request)
        if before is not None:
            return Again(before)
    return answer


class _Meanwhile(BaseException):
    """The event was dealt with by somebody else meanwhile; a BaseException, as no program's affair."""

    def __init__(self, appended: Appended) -> None:
        super().__init__(appended)
        self.appended = appended


class _Once:
    """Performs one append, under the id of an arrival."""

    def __init__(self, append_id: UUID, request: bytes) -> None:
        self._append_id = append_id
        self._request = request
        self.has_appended = False

    def __call__(self, op: AnyAppend) -> Do[ArriveOp, AppendOutcome]:
        if self.has_appended:
            raise SeveralAppends(
                f"{op!r:.200} would be the second append for one event, and a process may end between "
                "the two: make one of them, by AppendAll or one decision"
            )
        asked: Any = op
        outcome: AppendOutcome = yield from attrs.evolve(
            asked, append_id=self._append_id, request=self._request
        )
        match outcome:
            case Success(appended):
                if not _is_of(op, appended):
                    raise _Meanwhile(appended)
                self.has_appended = True
            case _:
                found = yield from FindAppend(self._append_id, self._request)
                if found is not None:
                    raise _Meanwhile(found)
        return outcome


def _is_of(op: AnyAppend, appended: Appended) -> bool:
    """Whether an append was made by this operation, as far as its conditions tell."""
    versions = appended.token.versions
    return all(
        versions.get(part.stream) == part.expected + len(part.events)
        for part in parts_of(op)
        if isinstance(part.expected, int)
    )


def _metadata(event: CloudEvent) -> dict[str, Any]:
    """The metadata of what an event leads to; what is not as it must be is left out."""
    told = {
        "causation_id": event.id[:LONGEST],
        "correlation_id": event.extensions.get("correlationid"),
        "traceparent": event.extensions.get("traceparent"),
    }
    return {key: text for key, text in told.items() if _is_good(key, text)}


def _is_good(key: str, text: object) -> bool:
    try:
        check_metadata({key: text})
    except (TypeError, ValueError):
        return False
    return True


_INBOX: Final = UUID("0b6c6f0c-7d0c-5b1e-9f43-0d1c3a8f2e57")
"""The namespace of the ids of arrivals, which never changes."""

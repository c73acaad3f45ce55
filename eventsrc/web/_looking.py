"""Programs of the page: what is there to be shown, as values that JSON has.

None of them looks at more than a bounded part of the store, whatever is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final
from uuid import UUID

import attrs

from eventsrc.durable.journal import PREFIX
from eventsrc.durable.runs import Runs, RunStatus
from eventsrc.events.positions import START
from eventsrc.events.record import Corrupted
from eventsrc.events.recorded import Recorded
from eventsrc.events.stream_id import StreamId
from eventsrc.following.status import Status, status
from eventsrc.inspection import Entry, event_at, summary
from eventsrc.programs.program import Do, gather, program
from eventsrc.stores.newest import newest
from eventsrc.stores.operations import FeedPage, FindAppend, Read, ReadFeed
from eventsrc.streams.fold import Fold, Folded, load_at
from eventsrc.views.view import View
from eventsrc.web._queries import Query, StoreQuery
from eventsrc.web._values import differences, plain

PAGE: Final = 50
"""The rows of a page."""

WINDOW: Final = 500
"""The events of the feed that one look at it takes."""

WINDOWS: Final = 20
"""The looks that a search takes; it goes on from there when it is asked to."""

MOST_CORRELATED: Final = 1_000
"""The events of a correlation after which no more are looked for."""

LONGEST: Final = 200
"""The characters of an event's data that a row shows."""

Row = dict[str, Any]
Folds = Mapping[str, Fold[Any, Any]]


def row_of(event: Recorded[Any]) -> Row:
    """An event in a table: its place, and the beginning of its data."""
    row: Row = {
        "position": event.position,
        "stream": event.stream,
        "version": event.version,
        "type": event.record.kind.type,
    }
    try:
        entry = Entry.of(event)
    except Corrupted as error:
        return row | {"damaged": str(error)}
    said = entry.metadata
    more = {key: said[key] for key in ("actor", "correlation_id", "causation_id") if key in said}
    text = json.dumps(entry.value, ensure_ascii=False)
    return {
        **row,
        "schema": entry.schema,
        "recorded_at": entry.recorded_at.isoformat(),
        "id": str(entry.id),
        "data": text if len(text) <= LONGEST else text[:LONGEST] + " …",
        **more,
    }


@program
def before_it(
    before: int | None, limit: int, prefix: str = "", kinds: frozenset[str] | None = None
) -> Do[ReadFeed, FeedPage[Any]]:
    """The newest events before a position, or of the whole feed."""
    place = None
    if before is not None:
        end = (yield from ReadFeed(START, 1, all_streams=True)).end
        place = attrs.evolve(end, position=max(min(before - 1, end.position), 0))
    return (yield from newest(place, limit, prefix, kinds, all_streams=True))


def older_than(page: FeedPage[Any]) -> int | None:
    """The position before which the next page is; None if there is none."""
    return page.next.position + 1 if page.next.position else None


@program
def feed(before: int | None, prefix: str, kind: str) -> Do[ReadFeed, Row]:
    """A page of the feed, newest first."""
    family = prefix.rstrip("/") + "/" if prefix else ""
    page = yield from before_it(before, PAGE, family, frozenset({kind}) if kind else None)
    return {
        "events": [*map(row_of, page.events)],
        "older": older_than(page),
        "end": page.end.position,
    }


@program
def streams(before: int | None, prefix: str, looks: int = 4) -> Do[ReadFeed, Row]:
    """The streams that changed last, each once, by their last change. looks: the most that it takes."""
    family = prefix.rstrip("/") + "/" if prefix else ""
    seen: dict[StreamId, Row] = {}
    older, end = before, 0
    for _ in range(looks):
        page = yield from before_it(older, WINDOW, family)
        older, end = older_than(page), page.end.position
        for event in page.events:
            if event.stream not in seen:
                seen[event.stream] = row_of(event)
            if len(seen) == PAGE:
                older = event.position if event.position > 1 else None
                break
        if len(seen) == PAGE or older is None:
            break
    return {"streams": [*seen.values()], "older": older, "end": end}


@program
def stream(
    name: StreamId, before: int | None, at: int | None, fold: str, folds: Folds
) -> Do[StoreQuery, Row]:
    """A page of a stream, newest first, and its state at a version with what changed there."""
    head = (yield from Read(name, 0, 1)).head
    last = head if at is None else max(min(at, head), 0)
    page = yield from Read(name, before or last + 1, PAGE, backwards=True)
    events = [*page.events]
    older = events[-1].version if events and events[-1].version > 1 else None
    found: Row = {
        "stream": name,
        "version": head,
        "at": last,
        "events": [*map(row_of, events)],
        "older": older,
        "fold": fold,
        "folds": sorted(folds),
    }
    if fold in folds and last:
        try:
            found["state"] = state = yield from _state(name, folds[fold], last)
            earlier = (yield from _state(name, folds[fold], last - 1)) if last > 1 else None
        except Exception as error:  # of the application's own function, or of what it cannot read
            found["failed"] = f"{type(error).__name__}: {error}"
        else:
            found["changed"] = differences(earlier, state)
    return found


def _state(name: StreamId, fold: Fold[Any, Any], version: int) -> Do[Any, Any]:
    folded: Folded[Any] = yield from load_at(name, fold.without_saving(), version)
    return plain(folded.state)


@program
def event(place: int | UUID) -> Do[StoreQuery, Row | None]:
    """An event with all that is known of it, what it came of, and what came of it soon after."""
    try:
        found = yield from event_at(place)
    except Corrupted as error:
        return {"place": str(place), "damaged": str(error)}
    if found is None:
        return None
    about: Row = {
        **attrs.asdict(found, filter=lambda field, _: field.name != "data"),
        "recorded_at": found.recorded_at.isoformat(),
        "id": str(found.id),
        "append_id": str(found.append_id),
        "data": found.value,
    }
    about["cause"] = yield from _cause(found.metadata.get("causation_id"))
    causes = {str(found.id), str(found.append_id)}
    end = (yield from ReadFeed(START, 1, all_streams=True)).end
    before = attrs.evolve(end, position=max(found.position - PAGE, 0))
    near = (yield from ReadFeed(before, WINDOW, all_streams=True)).events
    rows = [row_of(each) for each in near]
    about["effects"] = [row for row in rows if row.get("causation_id") in causes]
    about["beside"] = [
        row
        for each, row in zip(near, rows, strict=True)
        if "damaged" not in row
        and each.append_id == found.append_id
        and each.position != found.position
    ]
    about["looked_until"] = near[-1].position if near else found.position
    return about


def _cause(text: Any) -> Do[StoreQuery, Row | None]:
    """The event that a causation id names, if it is the id of an append."""
    if not isinstance(text, str):
        return None
    try:
        id = UUID(text)
    except ValueError:
        return {"id": text}
    found = yield from FindAppend(id)
    if found is None:
        return {"id": text}
    cause = yield from event_at(id)
    return (
        {"id": text} if cause is None else {"id": text, "position": cause.position, "type": cause.type}
    )


@program
def correlation(id: str, before: int | None) -> Do[ReadFeed, Row]:
    """The events that one request or process has brought, as a tree of what caused what."""
    found: list[Recorded[Any]] = []
    older, end = before, 0
    for _ in range(WINDOWS):
        page = yield from before_it(older, WINDOW)
        older, end = older_than(page), page.end.position
        found += [each for each in page.events if _correlation_of(each) == id]
        if older is None or len(found) >= MOST_CORRELATED:
            break
    rows = [row_of(each) for each in found[::-1]]
    return {"correlation": id, "events": tree_of(rows), "older": older, "end": end}


def _correlation_of(event: Recorded[Any]) -> Any:
    try:
        return event.metadata.get("correlation_id")
    except Corrupted:
        return None


def tree_of(rows: Iterable[Row]) -> list[Row]:
    """Rows, each below the one that caused it, with its `depth`."""
    known = {row["id"]: row for row in rows if "id" in row}
    below: dict[str | None, list[Row]] = {}
    for row in known.values():
        cause = row.get("causation_id")
        below.setdefault(cause if cause in known and cause != row["id"] else None, []).append(row)
    found: list[Row] = []
    waiting = [(row, 0) for row in reversed(below.pop(None, []))]
    while waiting:
        row, depth = waiting.pop()
        found.append(row | {"depth": depth})
        waiting += [(each, depth + 1) for each in reversed(below.pop(row["id"], []))]
    left = [row for rows in below.values() for row in rows]  # of causes that go round
    return found + [row | {"depth": 0} for row in left]


@program
def overview() -> Do[ReadFeed, Row]:
    """The store, in a few figures."""
    its = yield from summary()
    return {
        "store_id": its.store_id,
        "events": its.events,
        "first": its.first and its.first.isoformat(),
        "last": its.last and its.last.isoformat(),
        "end": str(its.end),
        "epochs": [{"number": number, "from": position} for number, position in its.epochs.begins],
    }


@program
def views(known: Iterable[View[Any]]) -> Do[Query, Row]:
    """The state of each view."""
    states = yield from gather(*map(view_of, known))
    return {"views": [*states]}


def _view(view: View[Any], its: Status) -> Row:
    owners = sorted({each.owner for each in its.partitions if each.owner is not None})
    return {
        "view": view.name,
        "version": view.version,
        "is_live": its.live == view.version,
        "lag": its.lag,
        "waiting_since": its.waiting_since and its.waiting_since.isoformat(),
        "done": round(its.done, 4),
        "applied": sum(each.applied for each in its.partitions),
        "parked": [{**attrs.asdict(each), "stream": each.stream} for each in its.parked[:PAGE]],
        "owners": owners,
        "away": its.away,
        "followers": [str(each) for each in its.followers],
    }


@program
def runs(known: Iterable[Runs[..., Any]]) -> Do[StoreQuery, Row]:
    """The runs that went on last, of each sort."""
    found: list[Row] = []
    for its in known:
        prefix = f"{PREFIX}{its.name}/"
        page = yield from before_it(None, WINDOW, prefix)
        ids = dict.fromkeys(its.id_of(event.stream) for event in page.events)
        states = yield from gather(*(its.status(id) for id in [*ids][:PAGE]))
        found += [_run(its, status) for status in states]
    return {"runs": found}


def _run(its: Runs[..., Any], status: RunStatus[Any]) -> Row:
    return {
        "name": its.name,
        "id": status.id,
        "state": status.state,
        "begun": status.begun.isoformat(),
        "since": status.since.isoformat(),
        "until": status.until and status.until.isoformat(),
        "waits_for": status.waits_for,
        "why": status.why,
        "is_cancelling": status.is_cancelling,
        "result": plain(status.result),
        "journal": its.journal(status.id).id,
    }


@program
def run_of(its: Runs[..., Any], id: str) -> Do[StoreQuery, Row]:
    """One run, with its history."""
    status = yield from its.status(id)
    lines = yield from its.history(id)
    history = [{"at": each.at.isoformat(), "what": each.what, "answer": each.answer} for each in lines]
    return _run(its, status) | {"history": history}


@program
def view_of(known: View[Any]) -> Do[Query, Row]:
    """The state of one view."""
    return _view(known, (yield from status(known)))


@program
def health(known: Iterable[View[Any]]) -> Do[Query, Row]:
    """Whether the store answers, no view's database is away, and nothing is parked."""
    store = yield from overview()
    found = (yield from views(known))["views"]
    wrong = [
        f"{each['view']} {each['version']}: {each['away'] or 'events are parked'}"
        for each in found
        if each["away"] or each["parked"]
    ]
    return {"is_well": not wrong, "wrong": wrong, "store": store, "views": found}

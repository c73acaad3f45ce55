"""What is read of the stores and views here, as JSON: expected.json holds what 4fdead8 reads.

It asks nothing but public operations. It is the reader that ran at 4fdead8, with the names of today.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, get_args
from uuid import UUID

from eventsrc import (
    START,
    Head,
    Interpreter,
    Read,
    ReadFeed,
    Recorded,
    StoreOp,
    StreamId,
    Success,
    View,
    rebuild,
    synchronise,
)
from eventsrc.errors import EventsrcError
from eventsrc.following.parking import retry
from eventsrc.stores.operations import FindAppend
from eventsrc.views.operations import GetLive, GetParked, ViewOp
from tests.formats.modules import shop

_NAMED: Final[dict[str, Any]] = {op.__name__: op for op in (*get_args(StoreOp), *get_args(ViewOp))}
"""Operations by their names: modules of the library may move."""


def text_or_hex(data: bytes) -> Any:
    """Bytes as JSON has them: JSON is left as the text that it is."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return {"hex": data.hex()}
    return text if "\0" not in text else {"hex": data.hex()}


# --- stores ---------------------------------------------------------------------------------------


def feed(store: Any, **asked: Any) -> Iterator[Recorded[Any]]:
    after = START
    while True:
        page = store.run(ReadFeed(after, 7, **asked))
        yield from page.events
        after = page.next
        if after == page.end:
            return


def event_of(store: Any, recorded: Recorded[Any]) -> dict[str, Any]:
    kind = recorded.record.kind
    told: dict[str, Any] = {
        "stream": recorded.stream,
        "version": recorded.version,
        "position": recorded.position,
        "type": kind.type,
        "schema": kind.schema,
        "codec": kind.codec,
        "stored": text_or_hex(recorded.opaque().data),
        "append_id": str(recorded.append_id),
        "nth": recorded.record.offset,
        "id": str(recorded.id),
        "metadata": recorded.metadata,
        "recorded_at": recorded.recorded_at.isoformat(),
        "is_known": recorded.is_known,
    }
    try:  # as it would be stored today, in the newest version of its type, if that is not how it is
        today = store.codec.encode(recorded.data)
        if (today.kind, today.data) != (kind, recorded.record.data):
            told["today"] = {"schema": today.kind.schema, "data": text_or_hex(today.data)}
    except EventsrcError as error:
        told["raises"] = type(error).__name__
    return told


def store_as_json(store: Any) -> dict[str, Any]:
    """All that a store says: the feed, its streams, appends, snapshots and states."""
    whole = [*feed(store)]
    streams = sorted({each.stream for each in whole})
    page = store.run(ReadFeed(limit=1))
    return {
        "store_id": store.store_id,
        "end": str(page.end),
        "cursor_after_first": str(page.next),
        "events": [event_of(store, each) for each in whole],
        "streams": {stream: stream_as_json(store, stream, whole) for stream in streams},
        "prefixes": {
            prefix: [each.position for each in feed(store, prefix=prefix)]
            for prefix in ("orders/", "users/", "日本/", "none/")
        },
        "types": {
            name: [each.position for each in feed(store, types=frozenset({name}))]
            for name in sorted({each.type for each in whole})
        },
        "appends": appends_as_json(store, whole),
        "snapshots": [snapshot_as_json(store, *key) for key in SNAPSHOTS],
        "states": states_as_json(store),
    }


def stream_as_json(store: Any, stream: StreamId, whole: list[Recorded[Any]]) -> dict[str, Any]:
    page = store.run(Read(stream))
    backwards = store.run(Read(stream, limit=10_000, backwards=True))
    lean = store.run(Read(stream, whole=False))
    its = [each for each in whole if each.stream == stream]
    assert [*page.events] == its == [*backwards.events][::-1]
    assert [each.opaque() for each in lean.events] == [each.opaque() for each in its]
    assert page.head == store.run(Head(stream)) == len(its)
    positions = [each.position for each in its]
    return {"head": page.head, "token": str(page.token), "positions": positions}


def appends_as_json(store: Any, whole: list[Recorded[Any]]) -> dict[str, Any]:
    """What FindAppend says of each append that there is, and of one that there is not."""
    asked = [*dict.fromkeys(each.append_id for each in whole), UUID(int=0)]
    found = {id: store.run(FindAppend(id)) for id in asked}
    return {
        str(id): appended and {"token": str(appended.token), "cursor": str(appended.cursor)}
        for id, appended in found.items()
    }


SNAPSHOTS = (
    ("orders/1", "basket", 2),
    ("orders/1", "basket", 1),
    ("notes/a%2Fb%25 Ω", "tëxts", 1),
    ("users", "raw", 2**63 - 1),
    ("users", "none", 1),
)


def snapshot_as_json(store: Any, stream: str, fold: str, fold_version: int) -> dict[str, Any]:
    kept = store.run(_NAMED["LoadSnapshot"](StreamId(stream), fold, fold_version))
    told = {"stream": stream, "fold": fold, "fold_version": fold_version}
    if kept is None:
        return {**told, "is_there": False}
    return {**told, "is_there": True, "version": kept.version, "data": kept.data.hex()}


def states_as_json(store: Any) -> dict[str, Any]:
    """States of folds, most of which begin at a snapshot; none is saved."""
    basket, texts = shop.basket.without_saving(), shop.texts.without_saving()
    states: dict[str, Any] = {}
    for stream, fold in ((shop.orders[1], basket), (shop.notes["a/b% Ω"], texts)):
        folded = store.run(stream.get(fold))
        states[stream.id] = {
            "state": repr(folded.state),
            "version": folded.version,
            "token": str(folded.token),
        }
    return states


# --- views ----------------------------------------------------------------------------------------


def views_as_json(store: Any, views: Any) -> dict[str, Any]:
    """All that the views say. views: of SQLite or of Postgres."""
    streams = tuple(sorted({each.stream for each in feed(store)}))
    known = shop.views()
    return {f"{view.name} {view.version}": view_as_json(views, view, streams) for view in known}


def view_as_json(views: Any, view: View[Any], streams: tuple[StreamId, ...]) -> dict[str, Any]:
    progress = views.run(_NAMED["GetProgress"](view))
    if not progress.applied and not views.run(GetLive(view)):
        return {"is_there": False}
    applied = views.run(_NAMED["GetApplied"](view, streams))
    return {
        "live": views.run(GetLive(view)),
        "parts": [
            {"cursor": str(part.cursor), "applied": part.applied, "owner": part.owner}
            for part in progress.partitions
        ],
        "applied": {stream: version for stream, version in applied.items() if version},
        "parked": [
            {
                "stream": each.stream,
                "version": each.version,
                "position": each.position,
                "type": each.type,
                "error": each.error,
                "attempts": each.attempts,
                "held": each.held,
                "since": each.since,
                "is_deadly": each.is_deadly,
            }
            for each in views.run(GetParked(view))
        ],
        "rows": rows_of(views, view),
    }


def rows_of(views: Any, view: View[Any]) -> list[list[Any]]:
    with views.reading(view, live=False) as db:
        rows = shop.ask(db, f"SELECT * FROM {shop.TABLES.get(view.name, 'came')}").fetchall()
    return sorted(map(list, rows), key=repr)


def live_rows(views: Any) -> list[list[Any]]:
    """What queries of the orders read, whichever version of the view they know."""
    with views.reading(shop.orders_view(1)) as db:
        return sorted(map(list, shop.ask(db, "SELECT * FROM orders").fetchall()), key=repr)


def go_on(store: Any, views: Any, world: Interpreter[Any]) -> dict[str, Any]:
    """Brings the views to their end, as a newer version will; answers what they say then."""
    app = store | views | world
    app.run(synchronise(shop.half_view()))
    app.run(synchronise(shop.wide_view()))
    app.run(synchronise(shop.names_view()))
    cured = shop.poison_view(is_cured=True)
    app.run(synchronise(cured))
    app.run(retry(cured))
    for name in ("deadly", "vain"):
        app.run(synchronise(shop.ending_view(name)))
        app.run(retry(shop.ending_view(name)))
    assert isinstance(app.run(rebuild(shop.orders_view(1))), Success)
    told = views_as_json(store, views)
    for parked in [parked for view in told.values() for parked in view.get("parked", ())]:
        del parked["since"]  # which for some is the time of the reading
    return told

"""The page over a store: its screens, what hostile data and hostile requests do to it, and its cost."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import html.parser
import json
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid5

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.routing import Mount

from eventsrc import Append, Fold, MemoryStore, Read, SqliteStore, StreamId, on, world
from eventsrc.errors import MissingHandlers
from eventsrc.events.codec import Codec
from eventsrc.events.event import EventTypes, Opaque
from eventsrc.stores.operations import ReadFeed
from eventsrc.views.memory import MemoryViews
from eventsrc.web import page
from eventsrc.web._queries import Queries
from tests.kits.seen_shop import (
    CONTROL,
    IDS,
    MARKUP,
    TURNED,
    Placed,
    asking_twice,
    fill,
    order,
    orders,
    sales,
)

STATIC = Path(__file__).parents[2] / "eventsrc" / "web" / "static"

Ask = Callable[..., httpx.Response]


def asking(app: Any, base: str = "http://localhost") -> Ask:
    """Asks an ASGI application, without a server."""

    def ask(path: str, method: str = "GET", **headers: str) -> httpx.Response:
        async def asked() -> httpx.Response:
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url=base) as client:
                named = {name.replace("_", "-"): value for name, value in headers.items()}
                return await client.request(method, path, headers=named)

        return asyncio.run(asked())

    return ask


def value(ask: Ask, path: str) -> Any:
    """What a screen says, as JSON."""
    return ask(path, accept="application/json").json()


@pytest.fixture(scope="module")
def app() -> Any:
    view = sales()
    app: Any = MemoryStore(store_id="shop") | MemoryViews([view]) | world
    fill(app, view)
    return page(app, views=[view], folds={"order": order}, runs=[asking_twice])


@pytest.fixture(scope="module")
def ask(app: Any) -> Ask:
    return asking(app)


SCREENS = [
    "/",
    "/streams",
    "/streams?prefix=orders/",
    "/streams/orders/1",
    "/streams/orders/1?fold=order&at=1",
    "/feed",
    "/feed?type=web.paid&prefix=orders/",
    "/feed?before=5",
    "/events/3",
    f"/events/{uuid5(IDS, '1')}",
    "/correlations/request%201",
    "/views",
    "/views/sales/1",
    "/runs",
    "/runs/asking/chair",
]
WRONG = {
    "/streams/nothing": 404,
    "/streams/orders/1?fold=none": 404,
    "/streams/orders/1?at=x": 400,
    "/events/0": 400,
    "/events/9999": 404,
    "/events/x": 400,
    "/feed?before=-1": 400,
    "/feed?before=" + "9" * 5000: 400,
    "/streams?as_of=9999": 400,
    "/streams?as_of=2026-12-01": 400,
    "/streams?as_of=yesterday": 400,
    "/views/none/1": 404,
    "/runs/none/1": 404,
    "/runs/asking/none": 404,
    "/health": 503,
}


class Elements(html.parser.HTMLParser):
    """The elements of a page, and whatever it loads or leads to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.targets: list[str] = []
        self.handlers: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, text in attributes:
            if name in ("src", "href", "action", "hx-get"):
                self.targets.append(text or "")
            if name.startswith("on") or name == "style":
                self.handlers.append(name)


@pytest.mark.parametrize("path", SCREENS)
def test_each_screen_is_a_page_and_json_at_one_address(ask: Ask, path: str) -> None:
    shown = ask(path, accept="text/html,application/xhtml+xml,*/*;q=0.8")
    assert (shown.status_code, shown.headers["content-type"]) == (200, "text/html; charset=utf-8")
    elements = Elements(shown.text)
    assert elements.tags.count("h1") == 1
    assert elements.tags.count("script") == 1
    assert elements.handlers == []
    assert all(target.startswith(("/", "#")) and target[:2] != "//" for target in elements.targets)
    told = ask(path, accept="application/json")
    assert (told.status_code, told.headers["vary"]) == (200, "Accept")
    assert isinstance(told.json(), dict)


@pytest.mark.parametrize(("path", "status"), WRONG.items(), ids=[path[:40] for path in WRONG])
def test_what_cannot_be_shown_says_why(ask: Ask, path: str, status: int) -> None:
    for accept in ("text/html", "application/json"):
        assert ask(path, accept=accept).status_code == status


def test_every_link_of_every_screen_leads_somewhere(ask: Ask) -> None:
    waiting, seen = ["/"], set[str]()
    while waiting and len(seen) < 150:
        path = waiting.pop()
        if path in seen or path.startswith("#"):
            continue
        seen.add(path)
        answer = ask(path)
        status = {"/health": 503, "/find": 303}.get(path, 200)  # something is parked
        assert answer.status_code == status, path
        if "html" in answer.headers.get("content-type", ""):
            waiting += Elements(answer.text).targets
    assert {"/views/sales/1", "/events/1", "/streams/orders/3?at=2"} <= seen


@pytest.mark.parametrize("path", SCREENS)
def test_hostile_data_is_text_and_nothing_else(ask: Ask, path: str) -> None:
    shown = ask(path).text
    assert MARKUP not in shown
    assert not set(shown) & {"\u202e", "\x1b", "\x00"}


def test_control_the_hostile_data_is_there(ask: Ask) -> None:
    shown = ask("/feed").text
    assert "&lt;script&gt;" in shown
    assert "\\u202e" in shown
    rows = value(ask, "/feed?prefix=orders/")["events"]
    texts = [json.loads(row["data"]).get("item") for row in rows]
    assert {MARKUP, TURNED, CONTROL} <= set(texts)


def test_a_stream_has_its_state_at_each_version_and_what_changed(ask: Ask) -> None:
    last = value(ask, "/streams/orders/2?fold=order")
    assert last["state"] == {"items": [[TURNED, 3]], "paid": 3.0, "notes": ["new"]}
    assert last["changed"] == [{"path": "paid", "before": 0.0, "after": 3.0}]
    first = value(ask, "/streams/orders/2?fold=order&at=1")
    assert (first["at"], first["version"], first["state"]["paid"]) == (1, 2, 0.0)
    assert [each["path"] for each in first["changed"]] == [
        "items[0][0]",
        "items[0][1]",
        "paid",
        "notes[0]",
    ]


def test_a_correlation_is_a_tree_of_what_caused_what(ask: Ask) -> None:
    told = value(ask, "/correlations/request%203")["events"]
    assert [(row["type"], row["depth"]) for row in told] == [("web.placed", 0), ("web.paid", 1)]
    placed = value(ask, f"/events/{told[0]['position']}")
    assert [row["position"] for row in placed["effects"]] == [told[1]["position"]]
    paid = value(ask, f"/events/{told[1]['position']}")
    assert paid["cause"]["position"] == told[0]["position"]


def test_every_screen_of_the_store_is_there_as_of_another_time(ask: Ask) -> None:
    assert value(ask, "/?as_of=4")["events"] == 4
    assert [row["position"] for row in value(ask, "/feed?as_of=4")["events"]] == [4, 3, 2, 1]
    assert len(value(ask, "/streams?as_of=4")["streams"]) == 2
    assert value(ask, "/streams/orders/0?as_of=1")["version"] == 1
    assert ask("/streams/orders/7?as_of=4").status_code == 404
    assert ask("/events/5?as_of=4").status_code == 404
    moment = value(ask, "/events/4")["recorded_at"].replace("+", "%2B")
    assert value(ask, f"/?as_of={moment}")["events"] >= 4
    assert "as_of=4" in ask("/streams?as_of=4").text, "links keep it"


def test_runs_are_shown_with_what_they_wait_for_and_their_steps(ask: Ask) -> None:
    found = {each["id"]: each for each in value(ask, "/runs")["runs"]}
    assert found["chair"]["state"] == "waiting"
    assert found["chair"]["until"] is not None
    assert [each["state"] for id, each in found.items() if id != "chair"] == ["cancelled"]
    steps = [each["what"] for each in value(ask, "/runs/asking/chair")["history"]]
    assert any("first" in step for step in steps)
    assert any("second" in step for step in steps)


def test_what_is_parked_is_shown_with_its_error(ask: Ask) -> None:
    told = value(ask, "/views/sales/1")
    assert [each["stream"] for each in told["parked"]] == ["orders/1", "orders/5"]
    assert ask("/health").status_code == 503
    assert value(ask, "/health")["wrong"] == ["sales 1: events are parked"]


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("orders/1", "/streams/orders/1"),
        ("5", "/events/5"),
        (str(uuid5(IDS, "1")), f"/events/{uuid5(IDS, '1')}"),
        ("request 1", "/correlations/request%201"),
        ("//elsewhere.example", "/streams///elsewhere.example"),
        ("", "/"),
    ],
)
def test_what_is_looked_for_is_found_by_its_form(ask: Ask, text: str, target: str) -> None:
    answer = ask("/find?q=" + text.replace(" ", "+"))
    assert (answer.status_code, answer.headers["location"]) == (303, target)


# --- security


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_it_only_shows(ask: Ask, method: str) -> None:
    assert ask("/streams", method).status_code == 405


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", ""]
)
def test_a_name_that_was_made_to_lead_here_is_refused(ask: Ask, host: str) -> None:
    assert ask("/", host=host).status_code == 403


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "[::1]:8000", "LOCALHOST"])
def test_the_names_of_this_machine_are_not(ask: Ask, host: str) -> None:
    assert ask("/", host=host).status_code == 200


def test_requests_of_other_sites_are_refused_but_for_links_that_are_followed(ask: Ask) -> None:
    cross = {"sec_fetch_site": "cross-site"}
    assert ask("/feed", **cross).status_code == 403
    assert ask("/feed", **cross, sec_fetch_mode="navigate", sec_fetch_dest="iframe").status_code == 403
    followed = ask("/feed", **cross, sec_fetch_mode="navigate", sec_fetch_dest="document")
    assert followed.status_code == 200
    assert ask("/feed", sec_fetch_site="same-origin").status_code == 200


@pytest.mark.parametrize("path", ["/", "/views", "/none", "/static/page.css", "/find?q=1"])
def test_every_answer_has_the_headers_that_keep_it_to_itself(ask: Ask, path: str) -> None:
    headers = ask(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"


def test_whoever_is_not_logged_in_sees_nothing() -> None:
    async def later(request: Any) -> str | None:
        return request.headers.get("who")  # type: ignore[no-any-return]

    for user in (lambda request: request.headers.get("who"), later):
        ask = asking(page(MemoryStore(), user=user))
        assert ask("/").status_code == ask("/static/page.css").status_code == 401
        assert ask("/", who="homer").status_code == 200


def test_its_interpreter_has_no_handler_for_anything_but_queries() -> None:
    store = MemoryStore()
    queries = Queries(store)
    handled = {kind.__name__ for kind in queries.handled}
    assert handled == {
        *("Read", "ReadFeed", "FindAppend", "LoadSnapshot", "GetEpochs"),
        *("GetProgress", "GetParked", "GetLive", "Elapsed"),
    }
    with pytest.raises(MissingHandlers):
        queries.run(Append(StreamId("here"), (Placed("a lamp", 1),)))  # type: ignore[arg-type]


@settings(max_examples=150, deadline=None)
@given(
    path=st.lists(
        st.sampled_from(
            [*"?&=/%.0aA", "streams", "feed", "events", "as_of", "before", "1", "%00", "é"]
        ),
        max_size=12,
    ),
    method=st.sampled_from(["GET", "GET", "GET", "HEAD", "POST"]),
)
def test_no_request_fails_or_writes(app: Any, path: list[str], method: str) -> None:
    answer = asking(app)("http://localhost/" + "".join(path), method)
    assert answer.status_code < 500 or answer.status_code == 503
    assert value(asking(app), "/")["events"] == 24


def test_the_script_that_it_brings_is_the_published_one() -> None:
    digest = hashlib.sha256((STATIC / "htmx.min.js").read_bytes()).hexdigest()
    assert digest == "d6fdc75f204e6bdefa99b69bf1e6d4ac69b8a364f77929f45c13476b4000f717"
    assert "BSD" in (STATIC / "htmx.LICENSE.txt").read_text()


# --- odd stores


def test_types_that_nobody_knows_are_shown() -> None:
    store = MemoryStore(Codec(EventTypes()))
    opaque = Opaque("elsewhere/kind", 3, "raw", b"\xff\x00")
    store.run(Append(StreamId("odd"), (opaque,))).unwrap()
    ask = asking(page(store))
    assert ask("/events/1").status_code == 200
    assert value(ask, "/feed")["events"][0]["data"] == '"ff00"'


def test_a_damaged_event_is_shown_as_damaged_and_the_others_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    with SqliteStore(path) as store:
        fill(store, count=2)
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE eventsrc_event SET data = x'7b7d' WHERE position = 2")
    with SqliteStore(path) as store:
        ask = asking(page(store, folds={"order": order}))
        rows = value(ask, "/feed")["events"]
        assert ["damaged" in row for row in rows] == [False, False, True, False]
        for screen in ("/", "/streams", "/feed", "/events/2", "/events/1", "/streams/orders/0"):
            assert ask(screen).status_code == 200, screen
        assert "damaged" in ask("/events/2").text


def test_a_fold_that_fails_is_told_of_beside_the_history() -> None:
    def fails(_state: int, _event: Any) -> int:
        raise KeyError(MARKUP)

    store = MemoryStore()
    fill(store, count=1)
    shown = asking(page(store, folds={"broken": Fold(0, fails)}))("/streams/orders/0?fold=broken")
    assert shown.status_code == 200
    assert "KeyError" in shown.text
    assert MARKUP not in shown.text


def test_a_large_event_is_shown_in_part() -> None:
    store = MemoryStore()
    store.run(orders[1].append(Placed("x" * 3_000_000, 1)))
    ask = asking(page(store))
    assert len(ask("/events/1").text) < 120_000
    assert len(value(ask, "/events/1")["data"]["item"]) == 3_000_000


def test_an_empty_store_is_shown() -> None:
    ask = asking(page(MemoryStore()))
    assert [ask(path).status_code for path in ("/", "/streams", "/feed", "/views", "/health")] == [
        200
    ] * 5


def test_an_application_of_an_event_loop_is_asked_in_it() -> None:
    store = MemoryStore()
    fill(store, count=2)

    async def read(op: Any) -> Any:
        return store.run(op)

    ask = asking(page(on(Read).run_async(read) | on(ReadFeed).run_async(read)))
    assert len(value(ask, "/feed")["events"]) == 4
    assert value(ask, "/streams/orders/1")["version"] == 2


def test_a_store_that_does_not_answer_is_no_answer_within_the_deadline() -> None:
    async def never(op: Any) -> Any:
        await asyncio.sleep(60)

    ask = asking(page(on(ReadFeed).run_async(never), deadline=0.05))
    began = time.monotonic()
    assert ask("/feed").status_code == 503
    assert time.monotonic() - began < 30


def test_a_store_that_is_closed_is_told_without_its_texts(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "secret-name.db")
    store.close()
    answer = asking(page(store))("/feed")
    assert answer.status_code == 503
    assert "StoreClosed" in answer.text
    assert "secret-name" not in answer.text


def test_it_can_be_mounted_in_an_application() -> None:
    store = MemoryStore()
    fill(store, count=1)
    mounted = Starlette(routes=[Mount("/admin/events", page(store))])
    ask = asking(mounted)
    shown = ask("/admin/events/streams")
    assert shown.status_code == 200
    targets = [each for each in Elements(shown.text).targets if not each.startswith("#")]
    assert all(each.startswith("/admin/events/") for each in targets)
    assert all(ask(each).status_code in (200, 303) for each in targets)
    assert ask("/admin/events/find?q=1").headers["location"] == "/admin/events/events/1"


@pytest.mark.parametrize("path", ["/", "/streams", "/feed", "/streams/orders/0", "/events/1"])
def test_a_screen_reads_no_more_of_a_large_store_than_of_a_small_one(path: str) -> None:
    assert events_read(path, 12_000) <= events_read(path, 3_000) * 1.1


def events_read(path: str, count: int) -> int:
    store = MemoryStore()
    batch = tuple(Placed("a lamp", number) for number in range(100))
    for number in range(count // 100):
        store.run(orders[number].append(*batch))
    read = 0

    def counting(op: Any) -> Any:
        nonlocal read
        answer = store.run(op)
        read += len(answer.events)
        return answer

    app = on(Read).run(counting) | on(ReadFeed).run(counting)
    assert asking(page(app))(path).status_code == 200
    return read

"""E-IDEM: a view in a system without our transactions, whose process dies between effect and progress.

Passed if the documents equal a replay in the end, and if at most one page of events comes again after
each crash.
"""

from __future__ import annotations

import json
import random
import signal
from pathlib import Path

import pytest

from eventsrc import GetParked, MemoryStore, SqliteStore, SqliteViews, retry, synchronise
from tests.faults import scaled
from tests.forked import Forked
from tests.views.documents import Documents, Shelf, main, notes_documents, serving
from tests.views.library import CODEC, Noted, books, filled, folded

EVENTS = 200
PAGE = 20


def kill_and_go_on(tmp_path: Path, shelf: Shelf, *broken: str) -> int:
    """Brings documents up to date by processes of which all but the last kill themselves.

    Answers how many did.
    """
    path = tmp_path / "store.db"
    chance = random.Random(7)
    with SqliteStore(path, CODEC, durability="process") as store:
        for number in range(EVENTS):
            store.run(books[chance.randrange(4)].append(Noted(number)))
    deaths = 0
    with serving(shelf) as port:
        for _ in range(scaled(8) + 1):
            left = sorted(chance.sample(range(1, EVENTS + 1), 5)) if deaths < scaled(8) else []
            views = str(tmp_path / "views.db")
            with Forked(main, str(port), str(path), views, json.dumps(left), *broken) as process:
                ended = process.wait(60)
            assert ended in (0, -signal.SIGKILL)
            deaths += ended != 0
    return deaths


def wanted(tmp_path: Path) -> dict[str, str]:
    with SqliteStore(tmp_path / "store.db", CODEC) as store:
        return {f"/{stream}": text for stream, text in folded(store).items()}


def test_documents_equal_a_replay_however_often_their_process_dies(tmp_path: Path) -> None:
    shelf = Shelf()
    deaths = kill_and_go_on(tmp_path, shelf)
    assert deaths > 2
    assert {name: text for name, (_, text) in shelf.documents.items()} == wanted(tmp_path)
    again = shelf.puts - EVENTS
    assert again <= deaths * PAGE


def test_control_a_counter_without_versions_is_caught(tmp_path: Path) -> None:
    shelf = Shelf()
    assert kill_and_go_on(tmp_path, shelf, "--blind") > 2
    right = {name: text.count(",") + 1 for name, text in wanted(tmp_path).items()}
    assert dict(shelf.counts) != right
    assert sum(shelf.counts.values()) > EVENTS


def test_a_writer_that_wakes_up_late_is_refused_by_the_version() -> None:
    shelf = Shelf()
    with serving(shelf) as port:
        sink = Documents(port)
        assert sink.put("books/1", "1,2,3", 3)
        assert not sink.put("books/1", "1,2", 2)
        assert sink.get("books/1") == (3, "1,2,3")


def test_a_sink_that_is_away_parks_nothing_for_good(tmp_path: Path) -> None:
    store = MemoryStore(CODEC)
    store.run(books[1].append(Noted(1), Noted(2)))
    shelf, view = Shelf(), notes_documents()
    with serving(shelf) as port:
        gone = port
    with SqliteViews(tmp_path / "v.db", sink=Documents(gone)) as views:
        assert (store | views).run(synchronise(view)).applied == 0
        (parked,) = views.run(GetParked(view))
        assert "Connection refused" in parked.error
    with (
        serving(shelf) as port,
        SqliteViews(tmp_path / "v.db", sink=Documents(port)) as views,
    ):
        assert (store | views).run(retry(view)) == ()
    assert shelf.documents == {"/books/1": (2, "1,2")}


def test_the_schema_of_a_view_in_a_sink_is_given_the_sink(tmp_path: Path) -> None:
    given: list[object] = []
    view, shelf = notes_documents(), Shelf()
    view.schema(given.append)
    with serving(shelf) as port:
        sink = Documents(port)
        with SqliteViews(tmp_path / "v.db", [view], sink=sink) as views:
            (filled(2, 4) | views).run(synchronise(view))
    assert given == [sink]
    assert shelf.documents["/books/1"] == (2, "1,3")


@pytest.mark.timeout(60)
def test_events_of_a_stream_reach_a_sink_in_their_order(tmp_path: Path) -> None:
    seen: list[tuple[str, int]] = []
    view = notes_documents()
    store = filled(3, 50)

    class Notes:
        def get(self, name: str) -> tuple[int, str]:
            return 0, ""

        def put(self, name: str, text: str, version: int) -> bool:
            seen.append((name, version))
            return True

    with SqliteViews(tmp_path / "v.db", sink=Notes()) as views:
        (store | views).run(synchronise(view))
    at: dict[str, int] = {}
    for stream, version in seen:
        assert version == at.get(stream, 0) + 1
        at[stream] = version

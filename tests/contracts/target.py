"""A view in a system without our transactions, whose process dies between effect and progress.

Passed if the documents equal a replay in the end, and if at most one page of events comes again after
each crash.
"""

from __future__ import annotations

import random
import signal
from collections.abc import Callable

from eventsrc import MemoryStore, synchronise
from eventsrc.following.parking import retry
from eventsrc.views.operations import GetParked, GetProgress
from tests.faults import scaled
from tests.kits.documents import Documents, Shelf, filling, notes_documents, serving
from tests.kits.library import CODEC, Noted, books, filled, folded
from tests.kits.views import Kit
from tests.processes.workers import Worker

DEATHS = scaled(4, 128)
PAGE = 20
SPREAD = 30
"""Each process dies within so many events from where it begins: in its first page, or in the second."""

EVENTS = SPREAD * DEATHS


def kill_and_go_on(kit: Kit, shelf: Shelf, *, is_blind: bool = False) -> list[int]:
    """Fills a store, and brings documents up to date by processes of which all but the last die.

    Answers how many events each that died had brought in vain, so that they come again.
    """
    chance = random.Random(7)
    in_vain: list[int] = []
    last = 0
    with kit.open_store() as store, kit.open() as views, serving(shelf) as port:
        for number in range(EVENTS):
            store.run(books[chance.randrange(4)].append(Noted(number)))

        def applied() -> int:
            return int(views.run(GetProgress(notes_documents())).applied)

        for death in range(DEATHS + 1):
            came, before = shelf.came, applied()
            soon = [before + n for n in range(1, SPREAD + 1) if before + n != last]
            last = chance.choice(soon) if death < DEATHS else 0
            with Worker(filling, kit, port, PAGE, last, is_blind) as worker:
                code = worker.ended(within=60)
            parked = views.run(GetParked(notes_documents()))
            assert (code, parked) == (-signal.SIGKILL if last else 0, ())
            in_vain.append((shelf.came - came) - (applied() - before))
        assert applied() == EVENTS
    return in_vain


def replay_of(kit: Kit) -> dict[str, str]:
    """The texts of the documents that there must be."""
    with kit.open_store() as store:
        return {f"/{stream}": text for stream, text in folded(store).items()}


class TargetContract:
    """Views whose effects are elsewhere.

    kit: where their progress and the store are kept.
    """

    def test_documents_equal_a_replay_however_often_their_process_dies(
        self, kit: Kit, figure: Callable[[str], None]
    ) -> None:
        shelf = Shelf()
        in_vain = kill_and_go_on(kit, shelf)
        texts = {name: text for name, (_, text) in shelf.documents.items()}
        assert texts == replay_of(kit)
        assert in_vain.pop() == 0, "the last process went on to the end"
        assert all(0 < events <= PAGE for events in in_vain)
        figure(
            f"{DEATHS} deaths, {sum(in_vain)} of {EVENTS} events came again, none had its effect twice"
        )

    def test_control_a_counter_without_versions_is_caught(self, kit: Kit) -> None:
        shelf = Shelf()
        in_vain = kill_and_go_on(kit, shelf, is_blind=True)
        right = {name: text.count(",") + 1 for name, text in replay_of(kit).items()}
        assert dict(shelf.counts) != right
        assert sum(shelf.counts.values()) == EVENTS + sum(in_vain)

    def test_a_writer_that_wakes_up_late_is_refused_by_the_version(self) -> None:
        with serving(Shelf()) as port:
            target = Documents(port)
            assert target.put("books/1", "1,2,3", 3)
            assert not target.put("books/1", "1,2", 2)
            assert target.get("books/1") == (3, "1,2,3")

    def test_a_target_that_is_away_parks_nothing_for_good(self, kit: Kit) -> None:
        store = MemoryStore(CODEC)
        store.run(books[1].append(Noted(1), Noted(2)))
        shelf, view = Shelf(), notes_documents()
        with serving(shelf) as port:
            gone = port
        with kit.open(target=Documents(gone)) as views:
            assert (store | views).run(synchronise(view)).applied == 0
            (parked,) = views.run(GetParked(view))
            assert "Connection refused" in parked.error
        with serving(shelf) as port, kit.open(target=Documents(port)) as views:
            assert (store | views).run(retry(view)) == ()
        assert shelf.documents == {"/books/1": (2, "1,2")}

    def test_the_schema_of_a_view_in_a_target_is_given_the_target(self, kit: Kit) -> None:
        given: list[object] = []
        view, shelf = notes_documents(), Shelf()
        view.schema(given.append)
        with serving(shelf) as port:
            target = Documents(port)
            with kit.open(view, target=target) as views:
                (filled(2, 4) | views).run(synchronise(view))
        assert given == [target]
        assert shelf.documents["/books/1"] == (2, "1,3")

    def test_events_of_a_stream_reach_a_target_in_their_order(self, kit: Kit) -> None:
        seen: list[tuple[str, int]] = []

        class Notes:
            def get(self, name: str) -> tuple[int, str]:
                return 0, ""

            def put(self, name: str, text: str, version: int) -> bool:
                seen.append((name, version))
                return True

        with kit.open(target=Notes()) as views:
            (filled(3, 50) | views).run(synchronise(notes_documents()))
        at: dict[str, int] = {}
        for stream, version in seen:
            assert version == at.get(stream, 0) + 1
            at[stream] = version
        assert sum(at.values()) == 50

"""Events in the log whose type, or whose version of it, this program does not know.

Passed if a fold fails at them, or skips them if it is told to, and if they can be passed on as the
bytes that they are; in a store in memory and in a file.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import attrs
import pytest

from eventsrc import Append, Fold, Interpreter, MemoryStore, Read, SqliteStore, Stream, StreamId, on
from eventsrc.errors import UnknownEvent
from eventsrc.events.event import Opaque
from tests.kits.events import CODEC, Tick

STRANGERS = {
    "unknown type": Opaque("test.fault.nobody", 1, "json", b'{"a": 1 }'),
    "newer version": Opaque("test.fault.tick", 9, "json", b'{"batch":1,"more":[]}'),
    "other codec": Opaque("test.fault.tick", 1, "cbor", b"\xa0\x00"),
}
HERE = StreamId("here")
COPY = StreamId("copy")
here = Stream("here", events=Tick)


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Interpreter[Any]]:
    with ExitStack() as opened:
        if request.param == "memory":
            yield MemoryStore(CODEC)
        else:
            yield opened.enter_context(SqliteStore(tmp_path / "store.db", CODEC))


def add(total: int, tick: Tick) -> int:
    return total + tick.number


def wrong_with(store: Interpreter[Any], stranger: Opaque) -> list[str]:
    """Where an event that is not known was not treated as it must be."""
    wrong: list[str] = []
    store.run(Append(HERE, (Tick(1, 1, 1), stranger, Tick(1, 2, 1))))
    try:
        state = store.run(here.get(Fold(0, add))).state
        wrong.append(f"a fold that must fail answered {state}")
    except UnknownEvent:
        pass
    skipping = store.run(here.get(Fold(0, add, unknown="skip")))
    if (skipping.state, skipping.version) != (3, 3):
        wrong.append(f"a fold that skips it came to {skipping}")
    store.run(Append(COPY, tuple(event.opaque() for event in store.run(Read(HERE)).events)))
    copied = [event.opaque() for event in store.run(Read(COPY)).events]
    if copied[1:2] != [stranger]:
        wrong.append(f"what was passed on is {copied}")
    return wrong


@pytest.mark.parametrize("stranger", STRANGERS.values(), ids=STRANGERS)
def test_an_event_that_is_not_known_fails_a_fold_or_is_skipped_and_is_passed_on(
    store: Interpreter[Any], stranger: Opaque
) -> None:
    assert wrong_with(store, stranger) == []


@pytest.mark.parametrize("stranger", STRANGERS.values(), ids=STRANGERS)
def test_control_a_reader_that_drops_what_it_does_not_know_is_caught(
    store: Interpreter[Any], stranger: Opaque
) -> None:
    def dropping(op: Read) -> Any:
        page = store.run(op)
        return attrs.evolve(page, events=tuple(event for event in page.events if event.is_known))

    wrong = wrong_with(store.but(on(Read).run(dropping)), stranger)
    assert "a fold that must fail answered 3" in wrong
    assert len(wrong) >= 2, wrong

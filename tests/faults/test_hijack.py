"""The code of users raises wherever it is called, or calls back.

Passed if what it raised comes out, nothing is half written, and the store and the views go on at once,
for this connection and for others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from sqlite_utils import Database

from eventsrc import (
    Append,
    Codec,
    Fold,
    Head,
    Interpreter,
    Recorded,
    SqliteStore,
    SqliteViews,
    Stream,
    StreamId,
    View,
    event,
    on,
    synchronise,
    world,
)
from eventsrc.errors import NotStorable
from eventsrc.events.codec import Undecodable
from eventsrc.events.event import EventTypes
from eventsrc.events.json_converter import json_converter
from eventsrc.sqlite._file import WriteTransaction
from eventsrc.views.operations import GetProgress
from eventsrc.views.view import BadHandler

HERE = StreamId("here")


class Mine(Exception):
    """What the user's code raises."""


class MineToo(BaseException):
    """What it raises to get past everything."""


RAISED: list[type[BaseException]] = [Mine, MineToo, KeyboardInterrupt, SystemExit]


@pytest.fixture(params=RAISED, ids=lambda kind: kind.__name__)
def raised(request: pytest.FixtureRequest) -> type[BaseException]:
    return request.param  # type: ignore[no-any-return]


TYPES = EventTypes()
CODEC = Codec(TYPES)


@event("test.hijack.made", types=TYPES)
class Made:
    number: int


made = Stream("here", events=Made)
total: Fold[int, Made] = Fold(0, lambda so_far, event: so_far + event.number)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    with SqliteStore(path, CODEC, timeout=1) as store:
        store.run(made.append(Made(1)))
        yield store


def goes_on(store: SqliteStore, path: Path, version: int = 1) -> bool:
    """Whether nothing was appended, and both this store and another of the file can go on at once."""
    assert store.run(Head(HERE)) == version
    store.run(made.append(Made(2)))
    with SqliteStore(path, CODEC, timeout=0.1) as other:
        other.run(made.append(Made(3)))
    return store.run(Head(HERE)) == version + 2


def raising(error: type[BaseException]) -> Callable[..., Any]:
    def call(*_: object) -> Any:
        raise error("mine")

    return call


# --- what is called without a transaction


def test_folds(store: SqliteStore, path: Path, raised: type[BaseException]) -> None:
    with pytest.raises(raised, match="mine"):
        store.run(made.get(Fold(0, raising(raised))))
    assert goes_on(store, path)


def test_deciders(store: SqliteStore, path: Path, raised: type[BaseException]) -> None:
    with pytest.raises(raised, match="mine"):
        (store | world).run(made.change(total, raising(raised)))
    assert goes_on(store, path)


def test_a_decider_that_appends_makes_itself_decide_again(store: SqliteStore, path: Path) -> None:
    calls: list[int] = []

    def decide(state: int) -> list[Made]:
        calls.append(state)
        if len(calls) == 1:
            store.run(made.append(Made(10)))
        return [Made(100)]

    assert (store | world).run(made.change(total, decide)).state == 111
    assert calls == [1, 11]
    assert goes_on(store, path, version=3)


def test_handlers_of_interpreters(store: SqliteStore, path: Path, raised: type[BaseException]) -> None:
    broken: Interpreter[Any] = store.but(on(Append).run(raising(raised)))
    with pytest.raises(raised, match="mine"):
        broken.run(made.append(Made(5)))
    assert goes_on(store, path)


def test_clocks(path: Path, raised: type[BaseException]) -> None:
    times: list[Callable[[], float]] = [lambda: 0.0, raising(raised), raising(raised)]

    def clock() -> float:
        return times.pop(0)() if times else 0.0

    with SqliteStore(path, CODEC, timeout=1, clock=clock) as store:
        store.run(made.append(Made(1)))
        for events in ([Made(5)], [Made(5), Made(6)]):
            with pytest.raises(raised, match="mine"):
                store.run(made.append(*events))
            assert store.run(Head(HERE)) == 1
        assert goes_on(store, path)


@attrs.frozen
class Odd:
    """A class that a hook of the user's makes JSON of."""

    text: str


def odd_codec(unstructure: Callable[[Any], Any], structure: Callable[[Any, Any], Any]) -> Codec:
    converter = json_converter()
    converter.register_unstructure_hook(Odd, unstructure)
    converter.register_structure_hook(Odd, structure)
    return Codec(EventTypes(), converter)


def test_hooks_that_raise_make_a_value_not_storable(path: Path) -> None:
    codec = odd_codec(raising(Mine), lambda text, _: Odd(text))
    holder: Any = event("test.hijack.odd", types=codec.types)(
        attrs.make_class("H", {"it": attrs.field(type=Odd)}, frozen=True)
    )
    with SqliteStore(path, codec) as store:
        with pytest.raises(NotStorable) as caught:
            store.run(Append(HERE, (holder(Odd("x")),)))
        assert "mine" in str(caught.value)
        assert store.run(Head(HERE)) == 0


def test_upcasters_that_raise_stop_only_those_who_want_the_event(path: Path) -> None:
    old, new = EventTypes(), EventTypes()
    first: Any = event("test.hijack.up", types=old)(
        attrs.make_class("Old", {"a": attrs.field(type=int)}, frozen=True)
    )
    event("test.hijack.up", version=2, upcast={1: raising(Mine)}, types=new)(
        attrs.make_class("New", {"b": attrs.field(type=int)}, frozen=True)
    )
    with SqliteStore(path, Codec(old)) as store:
        store.run(Append(HERE, (first(1),)))
    with SqliteStore(path, Codec(new)) as store:
        (recorded,) = store.run(Stream("here", events=Made).read()).events
        with pytest.raises(Undecodable, match="mine") as caught:
            _ = recorded.data
        assert isinstance(caught.value.__cause__, Mine)
        assert store.run(Head(HERE)) == 1


# --- what is called inside a transaction


def view_with(handler: Callable[[Database, Recorded[Made]], None]) -> View[Database]:
    view: View[Database] = View("made", types=TYPES, failing="stop")

    @view.schema
    def create(db: Database) -> None:
        db.execute("CREATE TABLE made (number INTEGER)")

    @view.on(Made)
    def keep(db: Database, event: Recorded[Made]) -> None:
        db.execute("INSERT INTO made VALUES (?)", (event.data.number,))
        handler(db, event)

    return view


def view_goes_on(store: SqliteStore, views: SqliteViews) -> bool:
    """Whether nothing was applied, and the view can be brought up to date at once."""
    view = view_with(lambda *_: None)
    assert views.run(GetProgress(view)).applied == 0
    (store | views).run(synchronise(view))
    with views.reading(view) as db:
        return [*db.execute("SELECT number FROM made")] == [(1,)]


def test_handlers_of_views(store: SqliteStore, tmp_path: Path, raised: type[BaseException]) -> None:
    with SqliteViews(tmp_path / "views.db", timeout=1) as views:
        with pytest.raises(raised, match="mine"):
            (store | views).run(synchronise(view_with(raising(raised))))
        assert view_goes_on(store, views)


def test_control_a_transaction_that_is_left_open_is_caught(
    store: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SqliteViews(tmp_path / "views.db", timeout=0.1) as views:
        leave = WriteTransaction.__exit__

        def forget(self: WriteTransaction, kind: object, error: Any, traceback: object) -> None:
            if error is None:
                leave(self, kind, error, traceback)
            else:
                monkeypatch.setattr(WriteTransaction, "give_back", lambda _: None)

        monkeypatch.setattr(WriteTransaction, "__exit__", forget)
        with pytest.raises(Mine):
            (store | views).run(synchronise(view_with(raising(Mine))))
        with pytest.raises(Exception, match="could not be written"):
            view_goes_on(store, views)
        monkeypatch.undo()
        left = views._opened("made", 1)._holder
        assert left is not None
        left.give_back()


def test_the_schema_of_a_view(store: SqliteStore, tmp_path: Path, raised: type[BaseException]) -> None:
    broken: View[Database] = View("made", types=TYPES)

    @broken.schema
    def create(db: Database) -> None:
        db.execute("CREATE TABLE made (number INTEGER)")
        raise raised("mine")

    with SqliteViews(tmp_path / "views.db", timeout=1) as views:
        with pytest.raises(raised, match="mine"):
            (store | views).run(synchronise(broken))
        assert view_goes_on(store, views)


def test_a_handler_that_appends_to_the_store_does_no_harm(store: SqliteStore, tmp_path: Path) -> None:
    def append(_: Database, recorded: Recorded[Made]) -> None:
        if recorded.data.number < 5:
            store.run(made.append(Made(recorded.data.number + 1)))

    with SqliteViews(tmp_path / "views.db", timeout=1) as views:
        view = view_with(append)
        applied = [(store | views).run(synchronise(view)).applied for _ in range(6)]
        assert applied == [1, 1, 1, 1, 1, 0]
        assert store.run(Head(HERE)) == 5


def test_a_handler_that_synchronises_its_view_is_refused_in_time(
    store: SqliteStore, tmp_path: Path
) -> None:
    with SqliteViews(tmp_path / "views.db", timeout=0.2) as views:

        def again(_: Database, recorded: Recorded[Made]) -> None:
            (store | views).run(synchronise(view))

        view = view_with(again)
        with pytest.raises(BadHandler, match="its own view brought forward"):
            (store | views).run(synchronise(view))
        assert view_goes_on(store, views)

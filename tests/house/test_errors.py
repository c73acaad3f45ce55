"""Every exception is shown by `eventsrc.errors`, and comes back from another process as it was."""

from __future__ import annotations

import copy
import importlib
import pickle
import pkgutil
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from returns.result import Failure

import eventsrc
from eventsrc import (
    NO_STREAM,
    Append,
    AsyncInterpreter,
    Codec,
    Conflict,
    Cursor,
    MemoryStore,
    Query,
    Read,
    ReadFeed,
    Recorded,
    SqliteStore,
    SqliteViews,
    StreamId,
    Token,
    View,
    event,
)
from eventsrc import errors as face
from eventsrc._errors import EventsrcError
from eventsrc._pickling import OfOneProcess
from eventsrc.errors import (
    AppendFailed,
    BadCursor,
    GapRemains,
    MissingHandlers,
    NotDecided,
    NotNewEnough,
    NotSerialized,
    NotStorable,
    OtherDefinition,
    Problem,
    TokenTooLong,
    Unpicklable,
    WrongStore,
)
from eventsrc.events.event import EventTypes
from eventsrc.following.synchroniser import Stale
from eventsrc.http import Response
from eventsrc.views.guard import Gap
from eventsrc.views.memory import MemoryViews


@event("tests.house.seen")
class Seen:
    number: int


class Unhandled(Query[int]):
    """An operation that nobody handles."""


VIEW: View[Any] = View("seen", version=1)
STREAM = StreamId("seen/1")
TOKEN = Token("0" * 16, {STREAM: 3})


def stored() -> MemoryStore:
    """A store that is the same in every process."""
    store = MemoryStore(clock=lambda: 1e9, store_id="0" * 16)
    store.run(Append(STREAM, (Seen(1), Seen(2)), append_id=UUID(int=1), metadata={"by": "me"}))
    return store


def conflict() -> Conflict:
    """A real one, with the events that came in between."""
    store = stored()
    first = store.run(Append(STREAM, (Seen(3),), expected=1))
    assert isinstance(first, Failure)
    failed = first.failure()
    assert isinstance(failed, Conflict)
    return failed


SAMPLES: dict[type[EventsrcError], Callable[[], EventsrcError]] = {
    NotStorable: lambda: NotStorable("3 is no text", "events[0].name"),
    MissingHandlers: lambda: MissingHandlers([Unhandled], "the store"),
    NotDecided: lambda: NotDecided(STREAM, 3, conflict()),
    AppendFailed: lambda: AppendFailed(conflict()),
    NotSerialized: lambda: NotSerialized(conflict(), 3),
    GapRemains: lambda: GapRemains(Gap(STREAM, 3, 5)),
    OtherDefinition: lambda: OtherDefinition("it is another", "{}", "[]"),
    NotNewEnough: lambda: NotNewEnough(Stale(VIEW, TOKEN, (STREAM,))),
    Problem: lambda: Problem(Response(412, {"ETag": "x"}, b"no"), "It has changed"),
    TokenTooLong: lambda: TokenTooLong(TOKEN, 9_000),
}
"""One of each exception whose `__init__` takes something else than a message."""


def library() -> Iterator[str]:
    """The names of all modules that can be imported without starting something."""
    for module in pkgutil.walk_packages(eventsrc.__path__, "eventsrc."):
        if module.name != "eventsrc.testing.postgres._keeper":
            yield module.name


def defined() -> list[type[EventsrcError]]:
    """Every exception class of the library but its tests' kit."""
    for name in library():
        importlib.import_module(name)

    def below(kind: type[EventsrcError]) -> Iterator[type[EventsrcError]]:
        yield kind
        for each in kind.__subclasses__():
            if each.__module__.startswith("eventsrc."):
                yield from below(each)

    found = list(dict.fromkeys(below(EventsrcError)))
    return [kind for kind in found if not kind.__name__.startswith("_")]


ALL = defined()
PUBLIC = [kind for kind in ALL if not kind.__module__.startswith("eventsrc.testing.")]


def sample(kind: type[EventsrcError]) -> EventsrcError:
    made = SAMPLES.get(kind, lambda: kind("something is wrong", 3))()
    assert type(made) is kind
    made.add_note("while the sample was made")
    return made


def content(error: BaseException) -> tuple[Any, ...]:
    attributes = {name: value for name, value in vars(error).items() if name != "__notes__"}
    return type(error), str(error), error.args, attributes, error.__notes__


def test_the_face_of_errors_shows_every_public_exception() -> None:
    assert set(PUBLIC) == {getattr(face, name) for name in face.__all__}
    assert [kind.__name__ for kind in sorted(PUBLIC, key=lambda kind: kind.__name__)] == face.__all__


def test_the_exceptions_of_the_testing_kit_are_shown_by_it() -> None:
    public = [
        importlib.import_module(f"eventsrc.testing{name}")
        for name in ("", ".postgres", ".replay", ".servers")
    ]
    for kind in set(ALL) - set(PUBLIC):
        assert any(getattr(module, kind.__name__, None) is kind for module in public), kind


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes() -> None:
    assert face.__doc__
    above: dict[int, str] = {}
    drawn: dict[str, tuple[str, str | None]] = {}
    for indent, name, also in re.findall(r"^( {4,})(\w+)(?: \((\w+)\))?$", face.__doc__, re.MULTILINE):
        above[len(indent)] = name
        drawn[name] = above.get(len(indent) - 4, "Exception"), also or None
    found = {kind.__name__: tree(kind) for kind in PUBLIC}
    assert drawn == found


def tree(kind: type[BaseException]) -> tuple[str, str | None]:
    """The exception of the library that one is below, and which of Python's it is too."""
    names = [base.__name__ for base in kind.__bases__]
    return names[0], names[1] if len(names) > 1 else None


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_an_exception_comes_back_as_it_was(kind: type[EventsrcError]) -> None:
    error = sample(kind)
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert content(pickle.loads(pickle.dumps(error, protocol))) == content(error)
    assert content(copy.copy(error)) == content(error)
    assert content(copy.deepcopy(error)) == content(error)


def test_the_samples_are_needed() -> None:
    """The control: by Python's own way, those with an `__init__` of their own do not come back."""
    for kind in SAMPLES:
        error = sample(kind)
        with pytest.raises((TypeError, AssertionError, AttributeError)):
            assert content(kind(*error.args)) == content(error)


def raise_sample(name: str) -> None:
    raise sample(getattr(face, name))


def answer(value: Any) -> Any:
    return value


@pytest.mark.parametrize("method", ["spawn", "fork"])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # of threads, of which none is used
def test_exceptions_and_answers_come_out_of_a_pool_of_processes(method: str) -> None:
    store = stored()
    values = [*answers(store), conflict(), VIEW]
    with ProcessPoolExecutor(1, mp_context=get_context(method)) as pool:
        for name in face.__all__:
            with pytest.raises(getattr(face, name)) as raised:
                pool.submit(raise_sample, name).result(60)
            assert content(raised.value) == content(sample(getattr(face, name)))
        for value in values:
            assert pool.submit(answer, value).result(60) == value


def answers(store: MemoryStore) -> list[Any]:
    """What a store answers."""
    page, feed = store.run(Read(STREAM)), store.run(ReadFeed())
    data = store.run(Read(STREAM, whole=False))
    return [page, feed, data, page.events[0], page.token, feed.next, Cursor("", 0), NO_STREAM]


def test_what_a_store_answers_comes_back_and_can_be_read(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "store.db") as file:
        file.run(Append(STREAM, (Seen(1), Seen(2)), metadata={"by": "me"}))
        for whole in (True, False):
            page = file.run(Read(STREAM, whole=whole))
            back = pickle.loads(pickle.dumps(page))
            assert back == page
            assert back.data == [Seen(1), Seen(2)]
            assert pickle.loads(pickle.dumps(back)) == page
        assert back.events[1].data == Seen(2)


def test_an_event_that_comes_from_another_process_brings_the_module_of_its_class() -> None:
    recorded = stored().run(Read(STREAM)).events[0]
    assert f"c{Seen.__module__}".encode() in pickle.dumps(recorded, protocol=2)


OWN = EventTypes()
OWN_CODEC = Codec(OWN, fast=False)


@event("tests.house.own", types=OWN)
class Own:
    number: int


def test_a_codec_with_types_of_its_own_is_found_by_name() -> None:
    store = MemoryStore(OWN_CODEC)
    store.run(Append(STREAM, (Own(1),)))
    (recorded,) = store.run(Read(STREAM)).events
    back: Recorded[Own] = pickle.loads(pickle.dumps(recorded))
    assert back.data == Own(1)
    assert pickle.loads(pickle.dumps(OWN)) is OWN


def test_what_has_no_name_says_what_to_do() -> None:
    for nameless in (Codec(EventTypes()), View[Any]("local", version=1)):
        with pytest.raises(Unpicklable, match="assign it to one at the top of a module"):
            pickle.dumps(nameless)


def test_stores_and_databases_of_views_say_that_they_belong_to_a_process(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "s.db") as store, SqliteViews(tmp_path / "v.db") as views:
        for opened in (store, views, MemoryStore(), MemoryViews()):
            for sent in (pickle.dumps, copy.copy, copy.deepcopy):
                with pytest.raises(Unpicklable, match="open another where it is needed"):
                    sent(opened)


def test_whatever_is_opened_and_closed_belongs_to_a_process() -> None:
    def below(kind: type[Any]) -> Iterator[type[Any]]:
        yield kind
        for each in kind.__subclasses__():
            yield from below(each)

    closed = [kind for kind in below(AsyncInterpreter) if hasattr(kind, "close")]
    ours = {kind.__name__: kind for kind in closed if kind.__module__.startswith("eventsrc.")}
    assert {"AsyncPostgresStore", "PostgresListener", "PostgresStore", "PostgresViews"} <= ours.keys()
    assert [name for name, kind in ours.items() if not issubclass(kind, OfOneProcess)] == []


def test_what_is_called_not_something_is_an_exception_and_no_value() -> None:
    classes = {
        value
        for name in library()
        for value in vars(importlib.import_module(name)).values()
        if isinstance(value, type) and value.__module__.startswith("eventsrc.")
    }
    named = [kind for kind in classes if re.match("Not[A-Z]", kind.__name__)]
    assert len(named) > 10
    assert [kind for kind in named if not issubclass(kind, EventsrcError)] == []


def test_texts_of_cursors_and_of_tokens_fail_apart() -> None:
    for parse, kind in ((Cursor.parse, BadCursor), (Token.parse, face.BadToken)):
        with pytest.raises(kind):
            parse("of nothing")
    assert not issubclass(BadCursor, face.BadToken | WrongStore)

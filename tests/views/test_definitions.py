"""Views whose definition has changed under one version, and places that two views would share."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventsrc import (
    Append,
    MemoryStore,
    ReadFeed,
    SqliteViews,
    StreamId,
    Success,
    Token,
    View,
    event,
    force,
    rebuild,
    synchronise,
    world,
)
from eventsrc.events.codec import Codec
from eventsrc.events.event import EventTypes, Opaque
from eventsrc.following.parking import retry
from eventsrc.postgres import PostgresViews
from eventsrc.views._ledger import Ledger
from eventsrc.views.memory import MemoryViews
from eventsrc.views.operations import (
    Apply,
    Claim,
    GetApplied,
    GetLive,
    GetParked,
    GetProgress,
    LostLease,
    OtherDefinition,
    StartedOver,
    StartOver,
)
from eventsrc.views.view import ViewError

TYPES = EventTypes()
CODEC = Codec(TYPES)
A, B = StreamId("users/a"), StreamId("groups/b")


@event("test.definitions.named", types=TYPES)
class Named:
    name: str


@event("test.definitions.closed", types=TYPES)
class Closed:
    pass


@attrs.frozen
class Place:
    """A database of views, that can be opened more than once at a time.

    open: opens it.
    """

    kind: str
    open: Callable[[], Any]

    def names(self, *names: str, **options: Any) -> View[Any]:
        """A view that counts the events of each stream, in tables of these names."""
        handled, also = options.pop("handled", (Named,)), options.pop("also", "")
        view: View[Any] = View("names", types=TYPES, **options)

        @view.schema
        def create(db: Any) -> None:
            for name in names or ("name",):
                if self.kind == "memory":
                    db[name].clear()
                else:
                    columns = "(stream TEXT PRIMARY KEY, events INTEGER NOT NULL)"
                    db.execute(f"CREATE TABLE {name} {columns}")
            if also:
                db.execute(also)

        for kind in handled:
            view.on(kind)(lambda db, event: self.count(db, event.stream))
        return view

    def count(self, db: Any, stream: str) -> None:
        if self.kind == "memory":
            db["name"][stream] = db["name"].get(stream, 0) + 1
        else:
            mark = "?" if self.kind == "sqlite" else "%s"
            db.execute(
                f"INSERT INTO name VALUES ({mark}, 1) "
                "ON CONFLICT (stream) DO UPDATE SET events = name.events + 1",
                (str(stream),),
            )

    def rows(self, views: Any, view: View[Any]) -> dict[str, int]:
        with views.reading(view, live=False) as db:
            if self.kind == "memory":
                return dict(db["name"])
            return dict(db.execute("SELECT stream, events FROM name").fetchall())


def fail(_: object, __: object) -> None:
    raise ValueError("a bug")


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    if request.param == "memory":
        views = MemoryViews()
        yield Place("memory", lambda: views)
        return
    with ExitStack() as until:
        if request.param == "sqlite":
            path = request.getfixturevalue("tmp_path") / "v.db"
            yield Place("sqlite", lambda: until.enter_context(SqliteViews(path)))
        else:
            dsn = request.getfixturevalue("postgres_dsn")
            yield Place("postgres", lambda: until.enter_context(PostgresViews(dsn)))


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore(CODEC, store_id="it")
    for _ in range(2):
        store.run(Append(A, (Named("a"),)))
        store.run(Append(B, (Named("b"), Closed())))
    return store


CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "its prefix: 'users/' then, '' now": ({"prefix": "users/"}, {}),
    "its prefix: '' then, 'users/' now": ({}, {"prefix": "users/"}),
    "library's own streams: False then, True now": ({}, {"all_streams": True}),
    "it handles: test.definitions.named then, test.definitions.closed, test.definitions.named now": (
        {},
        {"handled": (Named, Closed)},
    ),
    "it handles: Opaque, test.definitions.named then, test.definitions.named now": (
        {"handled": (Named, Opaque)},
        {},
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_view_whose_definition_changed_and_whose_version_did_not_is_refused(
    place: Place, store: MemoryStore, what: str
) -> None:
    then, now = CHANGES[what]
    one, other = place.open(), place.open()
    before, after = place.names(**then), place.names(**now)
    (store | one).run(synchronise(before))
    rows = place.rows(one, before)
    for views in (one, other):
        with pytest.raises(OtherDefinition, match="higher version.*in_place=True") as caught:
            (store | views).run(synchronise(after))
        assert what in str(caught.value)
        assert caught.value.kept != caught.value.given
        with pytest.raises(OtherDefinition):
            asyncio.run(views.run_async(Apply(after, store.run(ReadFeed()).events)))
    store.run(Append(A, (Named("more"),)))
    with pytest.raises(OtherDefinition):
        (store | other | world).run(force(after, Token("it", {A: 3})))
    assert place.rows(one, before) == rows
    assert (store | one).run(synchronise(before)).lag == 0


def test_a_view_whose_tables_changed_and_whose_version_did_not_is_refused(
    place: Place, store: MemoryStore
) -> None:
    (store | place.open()).run(synchronise(place.names()))
    store.run(Append(A, (Named("more"),)))
    after = place.names("name", "other")
    with pytest.raises(OtherDefinition, match="schema function.*nothing of it then, .*other.* now"):
        (store | place.open()).run(synchronise(after))
    if place.kind == "memory":
        return
    kept = place.names()
    for change in ("CREATE INDEX by_events ON name (events)", "ALTER TABLE name ADD COLUMN more TEXT"):
        after = place.names(also=change)
        with pytest.raises(OtherDefinition, match="more|by_events"):
            (store | place.open()).run(synchronise(after))
    assert (store | place.open()).run(synchronise(kept)).lag == 0


def test_a_new_version_has_another_definition_beside_the_old_one(
    place: Place, store: MemoryStore
) -> None:
    old, new = place.open(), place.open()
    first, second = place.names(prefix="users/"), place.names("name", "other", version=2)
    (store | old).run(synchronise(first))
    assert isinstance((store | new | world).run(rebuild(second)), Success)
    store.run(Append(A, (Named("more"),)))
    for views, view in ((old, first), (new, second), (old, first)):
        assert (store | views).run(synchronise(view)).lag == 0
    assert place.rows(old, first) == {A: 3}
    assert place.rows(new, second) == {A: 3, B: 2}
    assert old.run(GetLive(first)) == 2


def test_the_code_of_handlers_may_change(place: Place, store: MemoryStore) -> None:
    broken: View[Any] = place.names(handled=())
    broken.on(Named)(fail)
    (store | place.open()).run(synchronise(broken))
    views, fixed = place.open(), place.names()
    assert len(views.run(GetParked(fixed))) == 2
    assert (store | views).run(retry(fixed)) == ()
    assert place.rows(views, fixed) == {A: 2, B: 2}


def test_a_view_that_has_applied_nothing_is_defined_anew(place: Place, store: MemoryStore) -> None:
    views = place.open()
    views.run(Apply(place.names(prefix="users/"), ()))
    wider = place.names(handled=(Named, Closed))
    assert (store | views).run(synchronise(wider)).applied == 6
    with pytest.raises(OtherDefinition):
        (store | views).run(synchronise(place.names(prefix="users/")))


def test_handlers_may_be_declared_after_the_view_was_opened(place: Place, store: MemoryStore) -> None:
    view = place.names(handled=())
    views = place.open()
    with views.writing(view):
        pass
    view.on(Named)(lambda db, event: place.count(db, event.stream))
    assert (store | views).run(synchronise(view)).lag == 0
    view.on(Closed)(lambda _, __: None)
    store.run(Append(A, (Named("more"),)))
    with pytest.raises(OtherDefinition):
        (store | views).run(synchronise(view))


def test_control_without_the_comparison_the_view_lacks_events_and_says_nothing(
    place: Place, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Ledger, "compare", lambda *_: None)
    views, wider = place.open(), place.names()
    (store | views).run(synchronise(place.names(prefix="users/")))
    assert (store | views).run(synchronise(wider)).lag == 0
    assert B not in place.rows(views, wider)


DEFINED = st.fixed_dictionaries(
    {
        "prefix": st.sampled_from(["", "users/", "users/a/"]),
        "all_streams": st.booleans(),
        "handled": st.sampled_from([(), (Named,), (Closed, Named), (Named, Closed), (Opaque,)]),
        "names": st.sampled_from([("name",), ("name", "b"), ("name", "c"), ("c", "name")]),
    }
)


@given(DEFINED, DEFINED)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_two_definitions_go_together_if_they_say_the_same(
    store: MemoryStore, then: dict[str, Any], now: dict[str, Any]
) -> None:
    place = Place("sqlite", lambda: None)
    views = [place.names(*its.pop("names"), **its) for its in (dict(then), dict(now))]
    shown = [
        {name: sorted(map(str, its)) if isinstance(its, tuple) else its for name, its in each.items()}
        for each in (then, now)
    ]
    with SqliteViews.temporary() as database:
        (store | database).run(synchronise(views[0]))
        for events in (store.run(ReadFeed()).events, ()):
            if shown[0] == shown[1]:
                assert database.run(Apply(views[1], events)).applied == 0
            else:
                with pytest.raises(OtherDefinition):
                    database.run(Apply(views[1], events))


# --- names that run together ----------------------------------------------------------------------


def test_two_views_that_would_be_one_file_are_refused(tmp_path: Any, store: MemoryStore) -> None:
    one, other = (View[Any](name, types=TYPES) for name in ("b-c", "c"))
    for view in (one, other):
        view.on(Named)(lambda _, __: None)
    with SqliteViews(tmp_path / "v") as views, SqliteViews(tmp_path / "v-b") as others:
        assert views.path(one) == others.path(other)
        (store | views).run(synchronise(one))
        with pytest.raises(OtherDefinition, match="'b-c'.*run together"):
            (store | others).run(synchronise(other))
    with pytest.raises(OtherDefinition, match="run together"):
        SqliteViews(tmp_path / "v-b", [other])


def test_two_views_that_would_be_one_schema_are_refused(postgres_dsn: str, store: MemoryStore) -> None:
    one, other = (View[Any](name, types=TYPES) for name in ("eu_users", "users"))
    for view in (one, other):
        view.on(Named)(lambda _, __: None)
    with (
        PostgresViews(postgres_dsn, schema="shop") as views,
        PostgresViews(postgres_dsn, schema="shop_eu") as others,
    ):
        assert views.schema(one) == others.schema(other)
        (store | views).run(synchronise(one))
        with pytest.raises(OtherDefinition, match="'eu_users'.*run together"):
            (store | others).run(synchronise(other))
    with pytest.raises(OtherDefinition, match="run together"):
        PostgresViews(postgres_dsn, [other], schema="shop_eu")


# --- schema functions -----------------------------------------------------------------------------


def test_a_schema_function_that_cannot_run_twice_is_told_of_and_not_compared(
    place: Place, store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    runs: list[int] = []

    def once() -> View[Any]:
        view = place.names()
        make = view._create
        assert make is not None

        @view.schema
        def create(db: Any) -> None:
            runs.append(1)
            if len(runs) > 1:
                raise ValueError("only once")
            make(db)

        return view

    views = place.open()
    with views.writing(once()), caplog.at_level(logging.WARNING, "eventsrc"):
        pass
    assert (store | views).run(synchronise(once())).lag == 0
    assert "schema function of View('names', version=1) has changed is not known" in caplog.text
    assert (store | place.open()).run(synchronise(place.names())).lag == 0


def test_nothing_is_left_of_the_place_where_a_schema_function_is_tried(
    postgres_dsn: str, store: MemoryStore
) -> None:
    place = Place("postgres", lambda: None)
    with PostgresViews(postgres_dsn) as views:
        (store | views).run(synchronise(place.names()))
        with views.reading(place.names()) as db:
            found = db.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE '%scratch%'")
            assert found.fetchall() == []


# --- in place -------------------------------------------------------------------------------------


def test_a_view_is_rebuilt_in_its_place_by_another_definition(place: Place, store: MemoryStore) -> None:
    views = place.open()
    before = place.names(prefix="users/")
    (store | views).run(synchronise(before))
    after = place.names("name", "other", handled=(Named, Closed), partitions=3)
    app = store | place.open() | world
    done = app.run(rebuild(after, in_place=True)).unwrap()
    assert (done.applied, done.lag) == (6, 0)
    assert place.rows(views, after.beside(1)) == {A: 2, B: 4}
    assert app.run(GetLive(after)) == 1
    assert app.run(synchronise(after)).applied == 0
    again = app.run(rebuild(after, in_place=True)).unwrap()
    assert again.applied == 6
    assert place.rows(views, after.beside(1)) == {A: 2, B: 4}


def test_a_view_that_was_never_built_can_be_started_over(place: Place, store: MemoryStore) -> None:
    views, view = place.open(), place.names()
    assert (store | views | world).run(rebuild(view, in_place=True)).unwrap().lag == 0
    assert (place.rows(views, view), views.run(GetLive(view))) == ({A: 2, B: 2}, 1)


def test_parked_streams_are_forgotten_when_a_view_is_started_over(
    place: Place, store: MemoryStore
) -> None:
    broken: View[Any] = place.names(handled=())
    broken.on(Named)(fail)
    views = place.open()
    (store | views).run(synchronise(broken))
    views.run(StartOver(place.names()))
    assert views.run(GetParked(broken)) == ()
    assert set(views.run(GetApplied(broken, (A, B))).values()) == {0}


def test_a_page_that_was_read_before_a_view_was_started_over_is_not_applied(
    place: Place, store: MemoryStore
) -> None:
    views, view = place.open(), place.names()
    (store | views).run(synchronise(view, 1, size=3))
    at = views.run(GetProgress(view)).cursor
    page = store.run(ReadFeed(at))
    views.run(StartOver(view))
    with pytest.raises(StartedOver):
        views.run(Apply(view, page.events, page.next, after=at))
    assert views.run(GetProgress(view)).applied == 0

    started = iter([True])

    def between(op: Any) -> Any:
        if isinstance(op, Apply) and next(started, False):
            views.run(StartOver(view))
        return op

    (store | views).run(synchronise(view, 1, size=3))
    assert (store | views).around(between).run(synchronise(view)).lag == 0
    assert place.rows(views, view) == {A: 2, B: 2}


def test_control_a_page_that_does_not_say_where_it_follows_leaves_events_out(
    place: Place, store: MemoryStore
) -> None:
    views, view = place.open(), place.names()
    (store | views).run(synchronise(view, 1, size=3))
    page = store.run(ReadFeed(views.run(GetProgress(view)).cursor))
    views.run(StartOver(view))
    views.run(Apply(view, [event for event in page.events if event.version == 1], page.next))
    assert (store | views).run(synchronise(view)).lag == 0
    assert place.rows(views, view) != {A: 2, B: 2}


def test_a_lease_from_before_a_view_was_started_over_is_lost(place: Place, store: MemoryStore) -> None:
    views, view = place.open(), place.names(partitions=2)
    leases = views.run(Claim(view, "one", 60.0))
    views.run(StartOver(view))
    others = views.run(Claim(view, "two", 60.0))
    assert {lease.token for lease in others}.isdisjoint({lease.token for lease in leases})
    for lease in leases:
        with pytest.raises(LostLease):
            views.run(Apply(view, (), partition=lease.partition, lease=lease))


def test_who_follows_by_the_old_definition_is_refused_after_a_rebuild_in_place(
    place: Place, store: MemoryStore
) -> None:
    old, new = place.open(), place.open()
    before, after = place.names(prefix="users/"), place.names()
    (store | old).run(synchronise(before))
    (store | new | world).run(rebuild(after, in_place=True))
    store.run(Append(A, (Named("more"),)))
    with pytest.raises(OtherDefinition):
        (store | old).run(synchronise(before))
    assert (store | new).run(synchronise(after)).lag == 0
    assert place.rows(new, after) == {A: 3, B: 2}


kept_places = pytest.mark.parametrize("place", ["sqlite", "postgres"], indirect=True)


def lose_progress(place: Place, view: View[Any], which: str = "true") -> None:
    """As a restored database does, behind the back of those who have it open."""
    with place.open().writing(view) as ledger:
        ledger.ask(f"DELETE FROM {{s}}.eventsrc_part WHERE {which}")


@kept_places
@pytest.mark.parametrize("opens_anew", [False, True])
def test_a_view_that_has_lost_its_progress_says_so_and_applies_what_it_has_not(
    place: Place, store: MemoryStore, opens_anew: bool, caplog: pytest.LogCaptureFixture
) -> None:
    views, view = place.open(), place.names(partitions=2)
    (store | views).run(synchronise(view))
    lose_progress(place, view)
    store.run(Append(A, (Named("more"),)))
    views = place.open() if opens_anew else views
    done = (store | views).run(synchronise(view))
    assert (done.lag, done.applied, done.ignored) == (0, 1, 6)
    assert place.rows(views, view) == {A: 3, B: 2}
    assert [record.levelname for record in caplog.records if "has lost how far" in record.message] == [
        "WARNING"
    ]
    assert (store | views).run(synchronise(view)).applied == 0


@kept_places
def test_who_shares_a_view_that_has_lost_its_progress_is_told_and_goes_on(
    place: Place, store: MemoryStore
) -> None:
    views, view = place.open(), place.names(partitions=2)
    (lease, _) = views.run(Claim(view, "one", 60.0))
    lose_progress(place, view)
    page = store.run(ReadFeed())
    if place.kind == "postgres":  # a file is looked at each time
        with pytest.raises(StartedOver, match="partition 0 is not where it was"):
            views.run(Apply(view, page.events, page.next, 0, lease))
    assert len(views.run(Claim(view, "one", 60.0))) == 2
    with pytest.raises(LostLease):
        views.run(Apply(view, page.events, page.next, 0, lease))


@kept_places
def test_a_view_that_has_lost_a_part_of_its_progress_is_refused_until_it_is_built_anew(
    place: Place, store: MemoryStore
) -> None:
    views, view = place.open(), place.names(partitions=2)
    (store | views).run(synchronise(view))
    lose_progress(place, view, "part = 1")
    store.run(Append(A, (Named("more"),)))
    store.run(Append(B, (Named("more"),)))
    with pytest.raises(ViewError, match="was built with 1"):
        (store | views).run(synchronise(view))
    assert (store | views | world).run(rebuild(view, in_place=True)).unwrap().lag == 0
    assert place.rows(views, view) == {A: 3, B: 3}

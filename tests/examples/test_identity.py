"""The identity example does what its operations say, on every store, with and without an event loop."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from itertools import product
from pathlib import Path
from typing import Any, TypeVar, assert_type

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventsrc import (
    Failure,
    Interpreter,
    MemoryStore,
    Program,
    ReadFeed,
    SqliteViews,
    StoreOp,
    Success,
    Token,
    for_each,
    force,
    synchronise,
)
from eventsrc.errors import NotInToken
from eventsrc.events.positions import BadToken, WrongStore
from eventsrc.events.stream_id import StreamId
from eventsrc.postgres import PostgresStore, PostgresViews
from eventsrc.programs.program import Effect
from examples.identity.app import Everything, identity
from examples.identity.events import (
    GroupId,
    GroupNameSet,
    MemberSet,
    UserApiKeySet,
    UserEmailSet,
    UserId,
    UserNameSet,
)
from examples.identity.operations import (
    AddGroup,
    AddUser,
    AuditTrail,
    BadEmail,
    Changed,
    GroupsOf,
    Join,
    Leave,
    NameTaken,
    NoSuchGroup,
    NoSuchUser,
    ReadUser,
    RenameUser,
    ReplaceEmail,
    SearchUsers,
    SetApiKey,
    SetEmail,
    User,
    UserAdded,
    UserNamed,
    UserState,
    UsersWithEmail,
)
from examples.identity.services import register, register_member
from examples.identity.views import VIEWS, groups, users, users_new
from examples.places import Views, opened
from examples.tables import tables
from tests.examples.conftest import own_schema, url
from tests.faults import SCALE, scaled
from tests.kits.pages import ROOT
from tests.postgres.test_store import in_a_loop

R = TypeVar("R")


@attrs.frozen
class Service:
    """The service somewhere, run with or without an event loop."""

    app: Interpreter[Everything]
    is_async: bool

    def run(self, effect: Effect[Everything, R]) -> R:
        return asyncio.run(self.app.run_async(effect)) if self.is_async else self.app.run(effect)

    def synchronise(self) -> None:
        self.run(for_each(VIEWS, synchronise))

    def events(self) -> int:
        return len(self.run(ReadFeed()).events)


STORES = ("memory", "SqliteStore", "PostgresStore", "AsyncPostgresStore")


def ways() -> Iterator[tuple[str, str]]:
    """The stores, and how they are run: for every commit Postgres in one of its four ways.

    That the four are the same store is what the store contract in tests/postgres shows.
    """
    for kind, run in product(STORES, ("run", "run_async")):
        if SCALE > 1 or "Postgres" not in kind or (kind, run) == ("PostgresStore", "run"):
            yield kind, run


@pytest.fixture(params=ways(), ids="-".join)
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    """The service over a store, with views beside it."""
    kind, run = request.param
    with ExitStack() as stack:
        if "Postgres" in kind:
            schema, dsn = own_schema(request.getfixturevalue("shared_dsn"))
            made: Callable[..., Any] = PostgresStore if kind == "PostgresStore" else in_a_loop
            views: Views = stack.enter_context(PostgresViews(dsn, VIEWS, schema=schema))
            store: Interpreter[StoreOp] = stack.enter_context(made(dsn, schema=f"{schema}s"))
        else:
            where = "memory" if kind == "memory" else str(tmp_path / "identity.db")
            store, views = stack.enter_context(opened(where, VIEWS))
        yield Service(identity(store, views), run == "run_async")


@pytest.fixture(params=["SqliteViews", "PostgresViews"])
def new_views(request: pytest.FixtureRequest) -> Callable[[], AbstractContextManager[Views]]:
    """A function that opens views that are empty."""
    every = (*VIEWS, users_new)
    if request.param == "SqliteViews":
        return lambda: SqliteViews.temporary(every)
    shared_dsn: str = request.getfixturevalue("shared_dsn")

    @contextmanager
    def in_a_schema() -> Iterator[Views]:
        schema, dsn = own_schema(shared_dsn)
        with PostgresViews(dsn, every, schema=schema) as made:
            yield made

    return in_a_schema


# --- commands -------------------------------------------------------------------------------------


def test_a_bad_email_adds_nobody(service: Service) -> None:
    for email in ("nowhere", "@springfield.example", "homer@", "homer@localhost"):
        assert service.run(register("Homer", email)) == Failure(BadEmail(email))
    assert service.events() == 0


def test_names_are_unique_and_a_rename_frees_the_old_one(service: Service) -> None:
    maggie = service.run(AddUser("Maggie")).unwrap().user
    assert service.run(AddUser("Maggie")) == Failure(NameTaken("Maggie", maggie))
    service.run(RenameUser(maggie, "Lisa Jr")).unwrap()
    other = service.run(AddUser("Maggie")).unwrap().user
    assert other != maggie
    assert service.run(RenameUser(other, "Lisa Jr")) == Failure(NameTaken("Lisa Jr", maggie))


def test_a_user_who_is_renamed_to_the_same_name_stays_as_is(service: Service) -> None:
    added = service.run(AddUser("Maggie")).unwrap()
    assert service.run(RenameUser(added.user, "Maggie")) == Success(added.token)
    assert service.events() == 1


@pytest.mark.parametrize("rounds", range(scaled(1, 3)))
def test_of_eight_threads_that_want_a_name_at_once_one_gets_it(service: Service, rounds: int) -> None:
    ready = threading.Barrier(8)

    def add(_: int) -> Success[UserAdded] | Failure[NameTaken]:
        ready.wait(30)
        return service.run(AddUser("Homer"))

    with ThreadPoolExecutor(8) as threads:
        outcomes = list(threads.map(add, range(8)))
    (winner,) = [outcome.unwrap().user for outcome in outcomes if isinstance(outcome, Success)]
    refused = [outcome.failure() for outcome in outcomes if isinstance(outcome, Failure)]
    assert refused == [NameTaken("Homer", winner)] * 7
    assert service.events() == 1


def test_of_eight_tasks_that_want_a_name_at_once_one_gets_it(service: Service) -> None:
    async def at_once() -> list[Success[UserAdded] | Failure[NameTaken]]:
        return await asyncio.gather(*(service.app.run_async(AddUser("Homer")) for _ in range(8)))

    outcomes = asyncio.run(at_once())
    assert [type(outcome) for outcome in outcomes].count(Success) == 1
    assert service.events() == 1


def test_users_who_are_added_at_once_under_different_names_get_different_ids(service: Service) -> None:
    with ThreadPoolExecutor(8) as threads:
        outcomes = threads.map(lambda number: service.run(AddUser(f"user {number}")), range(16))
    assert len({outcome.unwrap().user for outcome in outcomes}) == 16


def test_what_does_not_exist_is_said_and_nothing_is_written(service: Service) -> None:
    nobody, nowhere = UserId("nobody"), GroupId("nowhere")
    homer = service.run(AddUser("Homer")).unwrap()
    missing = Failure(NoSuchUser(nobody))
    assert service.run(RenameUser(nobody, "x")) == missing
    assert service.run(RenameUser(nobody, "Homer")) == missing
    assert service.run(SetEmail(nobody, "x@y.example")) == missing
    assert service.run(ReplaceEmail(nobody, "x@y.example", homer.token)) == missing
    assert service.run(SetApiKey(nobody, "x")) == missing
    assert service.run(Join(nobody, nowhere)) == missing
    assert service.run(Leave(homer.user, nowhere)) == Failure(NoSuchGroup(nowhere))
    assert service.events() == 1


def test_members_join_and_leave_and_doing_so_twice_changes_nothing(service: Service) -> None:
    group = service.run(AddGroup("Simpsons")).unwrap().group
    assert service.run(AddGroup("Simpsons")) == Failure(NameTaken("Simpsons", group))
    homer = service.run(register_member("Homer", "homer@springfield.example", group)).unwrap().user
    service.synchronise()
    assert service.run(GroupsOf(homer)) == ["Simpsons"]
    before = service.events()
    service.run(Join(homer, group)).unwrap()
    assert service.events() == before
    for _ in range(2):
        service.run(Leave(homer, group)).unwrap()
    assert service.events() == before + 1
    service.synchronise()
    assert service.run(GroupsOf(homer)) == []


def test_who_leaves_a_group_stays_in_the_others(service: Service) -> None:
    homer = service.run(AddUser("Homer")).unwrap().user
    simpsons, bowlers = [service.run(AddGroup(name)).unwrap().group for name in ("Simpsons", "Bowlers")]
    for group in (simpsons, bowlers):
        service.run(Join(homer, group)).unwrap()
    service.synchronise()
    assert service.run(GroupsOf(homer)) == ["Bowlers", "Simpsons"]
    service.run(Leave(homer, bowlers)).unwrap()
    service.synchronise()
    assert service.run(GroupsOf(homer)) == ["Simpsons"]


# --- tokens ---------------------------------------------------------------------------------------


def test_a_stale_token_is_refused_with_what_happened_since(service: Service) -> None:
    homer = service.run(register("Homer", "homer@springfield.example")).unwrap().user
    seen = service.run(ReadUser(homer)).token
    service.run(ReplaceEmail(homer, "fresh@springfield.example", seen)).unwrap()
    service.run(SetApiKey(homer, "s3cr3t")).unwrap()
    before = service.events()
    assert service.run(ReplaceEmail(homer, "stale@springfield.example", seen)) == Failure(
        Changed((UserEmailSet(homer, "fresh@springfield.example"), UserApiKeySet(homer, "s3cr3t")))
    )
    assert service.events() == before


def test_a_view_can_be_forced_to_the_token_of_a_service_call(service: Service) -> None:
    added = service.run(register("Homer", "homer@springfield.example")).unwrap()
    assert service.run(UserNamed("Homer")) is None
    service.run(force(users, added.token)).unwrap()
    assert service.run(UserNamed("Homer")) == User(added.user, "Homer", "homer@springfield.example")


def test_a_user_whose_email_is_known_to_the_view_before_the_name_is_not_shown(service: Service) -> None:
    user = service.run(AddUser("Homer")).unwrap().user
    token = service.run(SetEmail(user, "homer@springfield.example")).unwrap()
    service.run(force(users, token)).unwrap()
    assert service.run(UsersWithEmail("homer@springfield.example")) == []
    assert service.run(SearchUsers("springfield")) == []
    service.synchronise()
    shown = [User(user, "Homer", "homer@springfield.example")]
    assert service.run(UsersWithEmail("homer@springfield.example")) == shown
    assert service.run(SearchUsers("springfield")) == shown


# --- queries --------------------------------------------------------------------------------------


def test_a_registered_user_is_found_by_name_email_and_words(service: Service) -> None:
    user = service.run(register("Homer Simpson", "Homer@Springfield.example")).unwrap().user
    service.synchronise()
    found = User(user, "Homer Simpson", "homer@springfield.example")
    assert service.run(UserNamed("Homer Simpson")) == found
    assert service.run(UserNamed("Homer")) is None
    assert service.run(UsersWithEmail("homer@springfield.example")) == [found]
    assert service.run(SearchUsers("simp spring")) == [found]
    assert service.run(SearchUsers("simp shelby")) == []
    assert service.run(SearchUsers("")) == []


def test_the_search_finds_what_users_are_called_now(service: Service) -> None:
    user = service.run(register("Maggie", "m@springfield.example")).unwrap().user
    service.synchronise()
    service.run(RenameUser(user, "Lisa Jr")).unwrap()
    service.synchronise()
    assert service.run(SearchUsers("maggie")) == []
    assert service.run(SearchUsers("lisa")) == [User(user, "Lisa Jr", "m@springfield.example")]


def test_the_audit_trail_has_all_that_happened_to_a_user_and_to_no_other(service: Service) -> None:
    group = service.run(AddGroup("Simpsons")).unwrap().group
    service.run(register_member("Homer", "homer@springfield.example", group)).unwrap()
    maggie = service.run(register_member("Maggie", "m@springfield.example", group)).unwrap().user
    service.run(RenameUser(maggie, "Lisa Jr")).unwrap()
    service.run(SetApiKey(maggie, "s3cr3t")).unwrap()
    service.run(Leave(maggie, group)).unwrap()
    trail = service.run(AuditTrail(maggie))
    assert [entry.what for entry in trail] == [
        "is called Maggie",
        "has the email m@springfield.example",
        "joined Simpsons",
        "is called Lisa Jr",
        "has a new API key",
        "left Simpsons",
    ]
    assert sorted(trail, key=lambda entry: entry.at) == trail
    assert service.run(AuditTrail(UserId("nobody"))) == []


def test_a_user_is_shown_as_of_a_time() -> None:
    times = iter(range(100))
    with SqliteViews.temporary(VIEWS) as views:
        app = identity(MemoryStore(clock=lambda: float(next(times))), views)
        maggie = app.run(register("Maggie", "m@springfield.example")).unwrap().user
        app.run(RenameUser(maggie, "Lisa Jr")).unwrap()
        app.run(SetApiKey(maggie, "s3cr3t")).unwrap()
        moments = [entry.at for entry in app.run(AuditTrail(maggie))]
        states = [app.run(ReadUser(maggie, at=moment)) for moment in moments]
    assert [(state.name, state.email, state.api_key) for state in states] == [
        ("Maggie", None, None),
        ("Maggie", "m@springfield.example", None),
        ("Lisa Jr", "m@springfield.example", None),
        ("Lisa Jr", "m@springfield.example", "s3cr3t"),
    ]


def test_a_user_is_shown_as_seen_with_a_token(service: Service) -> None:
    added = service.run(register("Maggie", "m@springfield.example")).unwrap()
    before = service.run(ReadUser(added.user))
    service.run(RenameUser(added.user, "Lisa Jr")).unwrap()
    service.run(SetApiKey(added.user, "s3cr3t")).unwrap()
    assert service.run(ReadUser(added.user, at=before.token)) == before
    assert service.run(ReadUser(added.user, at=added.token)) == before
    assert before == UserState("Maggie", "m@springfield.example", None, added.token)
    assert service.run(ReadUser(added.user)).name == "Lisa Jr"


def test_a_token_of_another_store_is_an_error(service: Service) -> None:
    homer = service.run(register("Homer", "homer@springfield.example")).unwrap().user
    foreign = Token("elsewhere", service.run(ReadUser(homer)).token.versions)
    with pytest.raises(WrongStore):
        service.run(ReadUser(homer, at=foreign))
    with pytest.raises(WrongStore):
        service.run(ReplaceEmail(homer, "x@springfield.example", foreign))


# --- types ----------------------------------------------------------------------------------------


def test_the_types_say_how_a_service_can_fail(service: Service) -> None:
    assert_type(service.run(AddUser("Homer")), Success[UserAdded] | Failure[NameTaken])
    assert_type(
        service.run(register("Homer", "homer@springfield.example")),
        Success[UserAdded] | Failure[BadEmail | NameTaken | NoSuchUser],
    )


# --- properties -----------------------------------------------------------------------------------

NAMES = ["Homer", "Bart", "Lisa", "Lisa Jr"]
names = st.sampled_from(NAMES)
emails = st.sampled_from(["h@home.example", "b@school.example", "l@school.example"])
user_ids = st.sampled_from("1234").map(UserId)
group_ids = st.sampled_from("12").map(GroupId)
tokens = st.builds(
    lambda user, version: Token("here", {StreamId(f"users/{user}/profile"): version}),
    user_ids,
    st.integers(0, 4),
)
steps: st.SearchStrategy[Any] = st.one_of(
    st.builds(AddUser, names),
    st.builds(register, names, emails),
    st.builds(RenameUser, user_ids, names),
    st.builds(SetEmail, user_ids, emails),
    st.builds(ReplaceEmail, user_ids, emails, tokens),
    st.builds(SetApiKey, user_ids, st.just("s3cr3t")),
    st.builds(AddGroup, st.sampled_from(["Simpsons", "School"])),
    st.builds(Join, user_ids, group_ids),
    st.builds(Leave, user_ids, group_ids),
    st.sampled_from([synchronise(view) for view in (*VIEWS, users_new)]),
)


@attrs.define
class Tables:
    """What the views should hold."""

    users: dict[str, tuple[str | None, str | None]] = attrs.field(factory=dict)
    groups: dict[str, str] = attrs.field(factory=dict)
    memberships: set[tuple[str, str]] = attrs.field(factory=set)

    def apply(self, event: object) -> None:
        match event:
            case UserNameSet(user=user, name=name):
                self.users[user] = (name, self.users.get(user, (None, None))[1])
            case UserEmailSet(user=user, email=email):
                self.users[user] = (self.users.get(user, (None, None))[0], email)
            case GroupNameSet(group=group, name=name):
                self.groups[group] = name
            case MemberSet(group=group, user=user, is_member=True):
                self.memberships.add((user, group))
            case MemberSet(group=group, user=user):
                self.memberships.discard((user, group))
            case _:
                pass


@settings(
    deadline=None,
    max_examples=scaled(8, 240),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(taken=st.lists(steps, max_size=30))
def test_synchronised_views_hold_what_a_plain_fold_of_the_feed_makes(
    new_views: Callable[[], AbstractContextManager[Views]], taken: list[Program[Everything, object]]
) -> None:
    with new_views() as views:
        app = identity(MemoryStore(store_id="here"), views)
        for step in taken:
            with suppress(BadToken, NotInToken):  # of some of the tokens that are drawn
                app.run(step)
        app.run(for_each((*VIEWS, users_new), synchronise))
        expected = Tables()
        for recorded in app.run(ReadFeed(limit=10_000)).events:
            expected.apply(recorded.data)
        with views.reading(users, groups, users_new) as db:
            rows = tables(db).rows
            found = Tables(
                {id: (name, email) for id, name, email in rows("SELECT id, name, email FROM users")},
                dict(rows("SELECT id, name FROM groups")),
                set(rows('SELECT "user", "group" FROM memberships')),
            )
            domains = dict(rows("SELECT id, email_domain FROM users_new"))
        searched = {name: {user.id for user in app.run(SearchUsers(name))} for name in NAMES}
    assert found == expected
    called = [name for name, _ in expected.users.values()]
    assert len(set(called)) == len(called), "names are unique"
    for user, (_, email) in expected.users.items():
        assert domains[user] == (email.partition("@")[2] if email else None)
    for words, hits in searched.items():
        assert hits == {
            user for user, (name, _) in expected.users.items() if (name or "").startswith(words)
        }


@settings(deadline=None, max_examples=scaled(10))
@given(st.lists(steps, max_size=20))
def test_what_a_user_was_can_be_read_again_with_the_token(
    taken: list[Program[Everything, object]],
) -> None:
    user = UserId("1")
    with SqliteViews.temporary((*VIEWS, users_new)) as views:
        app = identity(MemoryStore(store_id="here"), views)
        states = [app.run(ReadUser(user))]
        for step in taken:
            with suppress(BadToken, NotInToken):  # of some of the tokens that are drawn
                app.run(step)
            states.append(app.run(ReadUser(user)))
        assert [app.run(ReadUser(user, at=state.token)) for state in states] == states


@settings(
    deadline=None, max_examples=scaled(40), suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=st.text() | st.text('"*^:-() ANDORNEARé\0'))
def test_any_text_can_be_searched_for(searchable: Interpreter[Everything], text: str) -> None:
    assert all(user.name for user in searchable.run(SearchUsers(text)))


@pytest.fixture
def searchable(
    new_views: Callable[[], AbstractContextManager[Views]],
) -> Iterator[Interpreter[Everything]]:
    with new_views() as views:
        app = identity(MemoryStore(), views)
        app.run(register("Homer Simpson", "homer@springfield.example")).unwrap()
        app.run(for_each(VIEWS, synchronise))
        yield app


# --- the story ------------------------------------------------------------------------------------


def story(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-X", "utf8", "-W", "error", "-m", "examples.identity", *arguments]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", timeout=60, check=False
    )


def test_the_story_is_told_in_a_folder_that_is_removed() -> None:
    told = story()
    assert (told.returncode, told.stderr) == (0, "")
    lines = told.stdout.splitlines()
    assert len(lines) < 80
    assert max(map(len, lines)) <= 110
    for line in (
        "named Homer nobody",
        "named Homer Homer, homer@springfield.example",
        'matches "spring ma" Maggie, maggie@springfield.example',
        "another Bart refused: NameTaken(name='Bart', by='2')",
        "forced to the token Lisa Jr, maggie@springfield.example",
        "another Maggie added, as user 4",
        "Lisa Jr springfield.example",
        "as seen with a token Maggie, maggie@springfield.example",
    ):
        assert line in {" ".join(shown.split()) for shown in lines}
    assert "refused, after UserEmailSet(user='3'" in told.stdout
    assert "├─ AddUser(name='Lisa'" in told.stdout
    assert not Path(lines[-1].removesuffix(" is removed again.")).exists()


def test_a_story_that_was_told_is_remembered(tmp_path: Path) -> None:
    path = str(tmp_path / "story.db")
    first, second, third = story(path), story(path), story(path)
    assert [first.returncode, second.returncode, third.returncode] == [0, 0, 0]
    assert path in first.stdout
    assert "THE STORY HAS BEEN TOLD HERE ALREADY" in second.stdout
    assert "Lisa Jr, jr@springfield.example" in second.stdout
    assert "is called Maggie" in second.stdout
    assert third.stdout == second.stdout


def test_the_story_is_told_and_remembered_in_postgres(postgres_dsn: str) -> None:
    address = url(postgres_dsn)
    first, second = story("--store", address), story("--store", address)
    assert (first.returncode, first.stderr, second.returncode) == (0, "", 0)
    shown = {" ".join(line.split()) for line in first.stdout.splitlines()}
    told = {" ".join(line.split()) for line in story("--store", "memory").stdout.splitlines()}
    same = {line for line in told if not re.search(r"\d\d:\d\d|kept in|->", line)}
    assert len(same) > 40
    assert same <= shown
    assert "THE STORY HAS BEEN TOLD HERE ALREADY" in second.stdout
    assert "Lisa Jr, jr@springfield.example" in second.stdout


def test_a_postgres_that_is_not_there_is_reported_and_its_password_is_not() -> None:
    refused = story("--store", "postgresql://app:s3cr3t@localhost:1/nothing")
    assert refused.returncode == 1
    assert "cannot be connected to" in refused.stderr
    assert "s3cr3t" not in refused.stdout + refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_file_that_is_no_store_is_refused_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("this is no SQLite file, and long enough for SQLite to see that" * 20)
    refused = story(str(path))
    assert refused.returncode == 1
    assert str(path) in refused.stderr
    assert "Traceback" not in refused.stderr

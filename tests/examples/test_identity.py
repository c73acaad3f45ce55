"""The identity example does what its operations say, on every store, and its story can be read."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventsrc import (
    Failure,
    Interpreter,
    MemoryStore,
    ReadFeed,
    SqliteStore,
    SqliteViews,
    StoreOp,
    Success,
    force,
    synchronise,
    world,
)
from examples.identity.app import identity, synchronise_all
from examples.identity.events import GroupId, UserEmailSet, UserId, UserNameSet
from examples.identity.operations import (
    AddGroup,
    AddUser,
    App,
    AuditTrail,
    Changed,
    GroupsOf,
    Join,
    Leave,
    NameTaken,
    NoSuchGroup,
    NoSuchUser,
    ReadProfile,
    RenameUser,
    SearchUsers,
    SetApiKey,
    SetEmail,
    UserAsOf,
    UserNamed,
    UsersWithEmail,
)
from examples.identity.services import BadEmail, register, register_member
from examples.identity.views import VIEWS, users, users_new
from tests.docs.pages import ROOT


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Interpreter[StoreOp]]:
    if request.param == "memory":
        yield MemoryStore()
    else:
        with SqliteStore(tmp_path / "identity.db") as made:
            yield made


@pytest.fixture
def views() -> Iterator[SqliteViews]:
    with SqliteViews.temporary(VIEWS) as made:
        yield made


@pytest.fixture
def app(store: Interpreter[StoreOp], views: SqliteViews) -> Interpreter[App]:
    return identity(store, views)


def test_a_registered_user_is_found_by_name_email_and_words(
    app: Interpreter[App], store: Interpreter[StoreOp], views: SqliteViews
) -> None:
    user = app.run(register("Homer Simpson", "Homer@Springfield.example")).unwrap().user
    synchronise_all(store, views)
    found = app.run(UserNamed("Homer Simpson"))
    assert found is not None
    assert (found.id, found.email) == (user, "homer@springfield.example")
    assert app.run(UsersWithEmail("homer@springfield.example")) == [found]
    assert app.run(SearchUsers("simp spring")) == [found]
    assert app.run(SearchUsers('"nobody" OR')) == app.run(SearchUsers("")) == []


def test_a_bad_email_adds_nobody(app: Interpreter[App], store: Interpreter[StoreOp]) -> None:
    assert app.run(register("Homer", "nowhere")) == Failure(BadEmail("nowhere"))
    assert store.run(ReadFeed()).events == ()


def test_names_are_unique_and_a_rename_frees_the_old_one(app: Interpreter[App]) -> None:
    maggie = app.run(AddUser("Maggie")).unwrap().user
    assert app.run(AddUser("Maggie")) == Failure(NameTaken("Maggie", maggie))
    app.run(RenameUser(maggie, "Lisa Jr")).unwrap()
    other = app.run(AddUser("Maggie")).unwrap().user
    assert app.run(RenameUser(other, "Lisa Jr")) == Failure(NameTaken("Lisa Jr", maggie))
    assert isinstance(app.run(RenameUser(other, "Maggie")), Success), "her own name already"


def test_of_many_who_want_a_name_at_once_one_gets_it(app: Interpreter[App]) -> None:
    outcomes: list[object] = []
    threads = [
        threading.Thread(target=lambda: outcomes.append(app.run(AddUser("Homer")))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Failure"] * 7 + ["Success"]


def test_what_does_not_exist_is_said(app: Interpreter[App]) -> None:
    nobody, nowhere = UserId("nobody"), GroupId("nowhere")
    homer = app.run(AddUser("Homer")).unwrap().user
    missing = Failure(NoSuchUser(nobody))
    assert app.run(RenameUser(nobody, "x")) == missing
    assert app.run(SetEmail(nobody, "x@y.example")) == missing
    assert app.run(SetApiKey(nobody, "x")) == missing
    assert app.run(Join(nobody, nowhere)) == missing
    assert app.run(Leave(homer, nowhere)) == Failure(NoSuchGroup(nowhere))


def test_members_join_and_leave(
    app: Interpreter[App], store: Interpreter[StoreOp], views: SqliteViews
) -> None:
    group = app.run(AddGroup("Simpsons")).unwrap().group
    assert app.run(AddGroup("Simpsons")) == Failure(NameTaken("Simpsons", group))
    homer = app.run(register_member("Homer", "homer@springfield.example", group)).unwrap().user
    before = store.run(ReadFeed()).next
    app.run(Join(homer, group)).unwrap()
    assert store.run(ReadFeed(before)).events == (), "who is a member need not join"
    synchronise_all(store, views)
    assert app.run(GroupsOf(homer)) == ["Simpsons"]
    app.run(Leave(homer, group)).unwrap()
    synchronise_all(store, views)
    assert app.run(GroupsOf(homer)) == []


def test_a_stale_token_is_refused_with_what_happened_since(app: Interpreter[App]) -> None:
    homer = app.run(register("Homer", "homer@springfield.example")).unwrap().user
    _, seen = app.run(ReadProfile(homer))
    assert isinstance(app.run(SetEmail(homer, "fresh@springfield.example", seen)), Success)
    refused = app.run(SetEmail(homer, "stale@springfield.example", seen))
    event = UserEmailSet(homer, "fresh@springfield.example")
    assert refused == Failure(Changed((repr(event),)))


def test_a_view_can_be_forced_to_what_was_written(
    app: Interpreter[App], store: Interpreter[StoreOp], views: SqliteViews
) -> None:
    added = app.run(register("Homer", "homer@springfield.example")).unwrap()
    assert app.run(UserNamed("Homer")) is None
    assert isinstance((store | views | world).run(force(users, added.token)), Success)
    found = app.run(UserNamed("Homer"))
    assert found is not None
    assert found.email == "homer@springfield.example"


def test_nothing_is_forgotten(app: Interpreter[App]) -> None:
    group = app.run(AddGroup("Simpsons")).unwrap().group
    maggie = app.run(register_member("Maggie", "m@springfield.example", group)).unwrap().user
    app.run(AddUser("Homer"))
    before = app.run(AuditTrail(maggie))[-1].at
    app.run(RenameUser(maggie, "Lisa Jr"))
    app.run(SetApiKey(maggie, "s3cr3t"))
    app.run(Leave(maggie, group))
    assert [entry.what for entry in app.run(AuditTrail(maggie))] == [
        "is called Maggie",
        "has the email m@springfield.example",
        "joined Simpsons",
        "is called Lisa Jr",
        "has a new API key",
        "left Simpsons",
    ]
    then = app.run(UserAsOf(maggie, before))
    assert (then.name, then.profile.email, then.profile.api_key) == (
        "Maggie",
        "m@springfield.example",
        None,
    )


def test_with_an_event_loop_it_is_the_same_service(app: Interpreter[App]) -> None:
    async def at_once() -> list[Any]:
        names = ["Homer", "Bart", "Homer"]
        return await asyncio.gather(*(app.run_async(AddUser(name)) for name in names))

    assert sorted(type(outcome).__name__ for outcome in asyncio.run(at_once())) == [
        "Failure",
        "Success",
        "Success",
    ]


names = st.sampled_from(["Homer", "Bart", "Lisa"])


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.sampled_from(["add", "rename", "email"]), st.integers(0, 3), names)))
def test_the_views_are_what_folding_the_feed_gives(asked: list[tuple[str, int, str]]) -> None:
    store, known = MemoryStore(), [UserId("nobody")]
    with SqliteViews.temporary((*VIEWS, users_new)) as views:
        app = identity(store, views)
        for kind, number, name in asked:
            user = known[number % len(known)]
            if kind == "add":
                outcome = app.run(AddUser(name))
                known += [outcome.unwrap().user] if isinstance(outcome, Success) else []
            elif kind == "rename":
                app.run(RenameUser(user, name))
            else:
                app.run(SetEmail(user, f"{name}@springfield.example"))
        synchronise_all(store, views)
        (store | views).run(synchronise(users_new))
        expected: dict[str, dict[str, str | None]] = {}
        for recorded in store.run(ReadFeed(limit=10_000)).events:
            match recorded.data:
                case UserNameSet(user=user, name=name):
                    expected.setdefault(user, {"name": None, "email": None})["name"] = name
                case UserEmailSet(user=user, email=email):
                    expected.setdefault(user, {"name": None, "email": None})["email"] = email
                case _:
                    pass
        with views.reading() as db:
            found = {row["id"]: row for row in db.table("users").rows}
            new = {row["id"]: row for row in db.table("users_new").rows}
    assert {key: {"name": row["name"], "email": row["email"]} for key, row in found.items()} == expected
    assert new.keys() == expected.keys()


def test_the_story_is_told_and_then_known(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "examples.identity", str(tmp_path / "story.db")]
    first, second = (
        subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for _ in "12"
    )
    assert "Failure: NameTaken(name='Bart'" in first
    assert "Failure: Changed(since=" in first
    assert "is called Lisa Jr" in first
    assert "as she was at" in first
    assert "The story has been told there already" in second
    assert "Lisa Jr    lisa@springfield.example" in second

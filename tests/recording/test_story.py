"""The story of the identity example, in SQLite files: recorded as it is told, and replayed."""

from __future__ import annotations

from pathlib import Path

import pytest

from eventsrc import MemoryStore, SqliteStore, SqliteViews
from eventsrc.recording import RunFile, recording
from eventsrc.recording.masks import pseudonyms
from eventsrc.testing.replay import replay
from examples.identity.__main__ import tell
from examples.identity.app import identity
from examples.identity.events import UserEmailSet
from examples.identity.operations import (
    BadEmail,
    Changed,
    Entry,
    GroupAdded,
    NameTaken,
    NoSuchGroup,
    NoSuchUser,
    ReplaceEmail,
    SetEmail,
    User,
    UserAdded,
    UserState,
    UsersWithEmail,
)
from examples.identity.services import register, register_member
from examples.identity.views import VIEWS, users_new

hide = pseudonyms(b"secret")

KNOWN = (
    *(register, register_member),
    *(BadEmail, Changed, Entry, GroupAdded, NameTaken, NoSuchGroup, NoSuchUser),
    *(User, UserAdded, UserState),
)


def hidden_email(email: str) -> str:
    name, at, _ = email.partition("@")
    return f"{hide(name)}@masked.example" if at else email


NOTHING: dict[tuple[object, str], object] = {}
EMAILS: dict[tuple[object, str], object] = {
    (owner, "email"): hidden_email
    for owner in (UserEmailSet, SetEmail, ReplaceEmail, UsersWithEmail, User, register, register_member)
}


@pytest.mark.parametrize("masks", [NOTHING, EMAILS], ids=["plain", "masked"])
def test_all_runs_of_the_story_are_the_same_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], masks: dict[tuple[object, str], object]
) -> None:
    path = tmp_path / "runs.jsonl"
    with (
        SqliteStore(tmp_path / "app.db", durability="process") as store,
        SqliteViews(tmp_path / "app.db", VIEWS, durability="process") as views,
        RunFile(path, masks=masks) as runs,
    ):
        tell(recording(identity(store, views), runs), views)
    assert "MAGGIE BECOMES LISA JR" in capsys.readouterr().out
    with SqliteViews.temporary(VIEWS) as views:
        app = identity(MemoryStore(), views)
        replayed = replay(path, app, known=KNOWN, views=[*VIEWS, users_new], masks=masks)
    assert (masks is NOTHING) == ("homer@springfield" in path.read_text())
    replayed.check()
    assert len(replayed.runs) > 30

"""How questions are answered: from views, and from the streams where the past is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlite_utils import Database

from eventsrc import (
    Do,
    Interpreter,
    Recorded,
    SqliteViews,
    StoreOp,
    Token,
    Translation,
    gather,
    on,
)
from examples.identity.events import MemberSet, UserApiKeySet, UserEmailSet, UserId, UserNameSet
from examples.identity.operations import (
    AuditTrail,
    Entry,
    GroupsOf,
    ReadProfile,
    SearchUsers,
    StreamQueries,
    User,
    UserAsOf,
    UserNamed,
    UsersWithEmail,
    UserThen,
    ViewQueries,
)
from examples.identity.streams import (
    Profile,
    all_groups,
    all_users,
    group_names,
    members,
    profile,
    profiles,
    user_names,
)


class QueriesOfViews(Interpreter[ViewQueries]):
    """Answers as new as the views were last made."""

    def __init__(self, views: SqliteViews) -> None:
        self.views = views

    @on(UserNamed)
    def user_named(self, op: UserNamed) -> User | None:
        with self.views.reading() as db:
            found = users_where(db, "name = ?", [op.name])
        return found[0] if found else None

    @on(UsersWithEmail)
    def users_with_email(self, op: UsersWithEmail) -> list[User]:
        with self.views.reading() as db:
            return users_where(db, "email = ?", [op.email])

    @on(SearchUsers)
    def search_users(self, op: SearchUsers) -> list[User]:
        words = " ".join(f'"{word}"*' for word in op.text.replace('"', " ").split())
        with self.views.reading() as db:
            return [user(row) for row in db.table("users").search(words)] if words else []

    @on(GroupsOf)
    def groups_of(self, op: GroupsOf) -> list[str]:
        sql = """
            SELECT name FROM memberships JOIN groups ON groups.id = [group]
            WHERE user = ? ORDER BY name
        """
        with self.views.reading() as db:
            return [row["name"] for row in db.query(sql, [op.user])]


def users_where(db: Database, where: str, parameters: Sequence[str]) -> list[User]:
    return [user(row) for row in db.table("users").rows_where(where, parameters, order_by="name")]


def user(row: dict[str, Any]) -> User:
    return User(UserId(row["id"]), row["name"], row["email"])


class QueriesOfStreams(Translation[StreamQueries, StoreOp]):
    """Answers from the events themselves: exact at this moment, and at any moment before."""

    @on(ReadProfile).program
    def read_profile(self, op: ReadProfile) -> Do[StoreOp, tuple[Profile, Token]]:
        folded = yield from profiles[op.user].get(profile)
        return folded.state, folded.token

    @on(UserAsOf).program
    def user_as_of(self, op: UserAsOf) -> Do[StoreOp, UserThen]:
        names, then = yield from gather(
            all_users.as_of(user_names, op.time), profiles[op.user].as_of(profile, op.time)
        )
        return UserThen(names.state.get(op.user), then.state)

    @on(AuditTrail).program
    def audit_trail(self, op: AuditTrail) -> Do[StoreOp, list[Entry]]:
        found: list[Recorded[Any]] = []
        names, settings = yield from gather(all_users.history(), profiles[op.user].history())
        found += [recorded for recorded in names if recorded.data.user == op.user]
        found += settings
        groups = (yield from all_groups.get(group_names)).state
        for group in groups:
            history = yield from members[group].history()
            found += [recorded for recorded in history if recorded.data.user == op.user]
        found.sort(key=lambda recorded: recorded.position)
        return [Entry(recorded.recorded_at, told(recorded.data, dict(groups))) for recorded in found]


def told(event: UserNameSet | UserEmailSet | UserApiKeySet | MemberSet, groups: dict[Any, str]) -> str:
    """An event in words. An API key is nobody's business."""
    match event:
        case UserNameSet(name=name):
            return f"is called {name}"
        case UserEmailSet(email=email):
            return f"has the email {email}"
        case UserApiKeySet():
            return "has a new API key"
        case MemberSet(group=group, is_member=True):
            return f"joined {groups[group]}"
        case MemberSet(group=group):
            return f"left {groups[group]}"

"""How questions are answered: from views, and from the streams where the past is asked for."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final, TypeAlias

from eventsrc import (
    Do,
    Interpreter,
    Recorded,
    StoreOp,
    Token,
    Translation,
    for_each,
    gather,
    on,
)
from examples.identity.events import GroupId, MemberSet, UserApiKeySet, UserEmailSet, UserNameSet
from examples.identity.operations import (
    AuditTrail,
    Entry,
    GroupsNow,
    GroupsOf,
    ReadUser,
    SearchUsers,
    StreamQuery,
    User,
    UserNamed,
    UserState,
    UsersWithEmail,
    ViewQuery,
)
from examples.identity.streams import (
    ProfileEvent,
    all_groups,
    all_users,
    group_names,
    member_users,
    members,
    profile,
    profiles,
    user_names,
)
from examples.identity.views import groups, users
from examples.places import Views
from examples.tables import tables

UserEvent: TypeAlias = UserNameSet | ProfileEvent | MemberSet

# by the index on name
_NAMED: Final = "SELECT id, name, email FROM users WHERE name = ?"

# by the index on email; a user whose name the view has yet to hear of is not shown
_WITH_EMAIL: Final = """
    SELECT id, name, email FROM users WHERE email = ? AND name IS NOT NULL ORDER BY name
"""

# by the primary keys
_GROUPS: Final = """
    SELECT name FROM memberships JOIN groups ON id = "group" WHERE "user" = ? ORDER BY name
"""


class ViewQueries(Interpreter[ViewQuery]):
    """Answers from the views: quick, and as new as the views were last made."""

    def __init__(self, views: Views) -> None:
        self.views = views

    @on(UserNamed)
    def user_named(self, op: UserNamed) -> User | None:
        return next(iter(self._users(_NAMED, op.name)), None)

    @on(UsersWithEmail)
    def users_with_email(self, op: UsersWithEmail) -> list[User]:
        return self._users(_WITH_EMAIL, op.email)

    @on(SearchUsers)
    def search_users(self, op: SearchUsers) -> list[User]:
        words = re.findall(r"\w+", op.text)
        with self.views.reading(users) as db:
            found = tables(db).search("users", ["id", "name", "email"], words) if words else []
        return [User(id, name, email) for id, name, email in found if name is not None]

    @on(GroupsOf)
    def groups_of(self, op: GroupsOf) -> list[str]:
        with self.views.reading(groups) as db:
            return [name for (name,) in tables(db).rows(_GROUPS, op.user)]

    def _users(self, sql: str, parameter: str) -> list[User]:
        with self.views.reading(users) as db:
            return [User(*row) for row in tables(db).rows(sql, parameter)]


class StreamQueries(Translation[StreamQuery, StoreOp]):
    """Answers from the events themselves: exact at this moment, and at any moment before."""

    @on(ReadUser).program
    def read_user(self, op: ReadUser) -> Do[StoreOp, UserState]:
        own = profiles[op.user]
        match op.at:
            case None:
                both = gather(all_users.get(user_names), own.get(profile))
            case Token() as seen:
                both = gather(
                    all_users.at(user_names, seen[all_users.id]), own.at(profile, seen[own.id])
                )
            case datetime() as time:
                both = gather(all_users.as_of(user_names, time), own.as_of(profile, time))
        names, settings = yield from both
        token = names.token | settings.token
        if isinstance(op.at, Token):
            op.at.check(token.store_id)  # versions of another store would mean nothing here
        name = names.state.get(op.user)
        return UserState(name, settings.state.email, settings.state.api_key, token)

    @on(GroupsNow).program
    def groups_now(self, op: GroupsNow) -> Do[StoreOp, list[str]]:
        groups = (yield from all_groups.get(group_names)).state
        found = yield from for_each(groups, lambda group: members[group].get(member_users))
        joined = zip(groups.values(), found, strict=True)
        return sorted(name for name, users in joined if op.user in users.state)

    @on(AuditTrail).program
    def audit_trail(self, op: AuditTrail) -> Do[StoreOp, list[Entry]]:
        groups = (yield from all_groups.get(group_names)).state
        names, settings = yield from gather(all_users.history(), profiles[op.user].history())
        joined = yield from for_each(groups, lambda group: members[group].history())
        found: list[Recorded[UserEvent]] = [e for e in names if e.data.user == op.user]
        found += settings
        found += [e for history in joined for e in history if e.data.user == op.user]
        found.sort(key=lambda e: e.position)
        return [Entry(e.recorded_at, told(e.data, groups)) for e in found]


def told(event: UserEvent, groups: Mapping[GroupId, str]) -> str:
    """An event in words. An API key is nobody's business."""
    match event:
        case UserNameSet(name=name):
            return f"is called {name}"
        case UserEmailSet(email=email):
            return f"has the email {email}"
        case UserApiKeySet():
            return "has a new API key"
        case MemberSet(group=group, is_member=is_member):
            return f"{'joined' if is_member else 'left'} {groups[group]}"

"""What can be asked for. A command answers a token of what it wrote, or why it wrote nothing."""

from __future__ import annotations

from datetime import datetime
from typing import TypeAlias

import attrs

from eventsrc import Command, Outcome, Query, Token
from examples.identity.events import GroupId, UserId
from examples.identity.streams import Profile

# --- failures, and other answers


@attrs.frozen
class NameTaken:
    name: str
    by: str
    """The id of the user or group that has it."""


@attrs.frozen
class NoSuchUser:
    user: UserId


@attrs.frozen
class NoSuchGroup:
    group: GroupId


@attrs.frozen
class Changed:
    """What the caller had seen is no longer so; this is what happened since."""

    since: tuple[str, ...]


@attrs.frozen
class UserAdded:
    user: UserId
    token: Token


@attrs.frozen
class GroupAdded:
    group: GroupId
    token: Token


@attrs.frozen
class User:
    """A user as a view shows one."""

    id: UserId
    name: str
    email: str | None


@attrs.frozen
class UserThen:
    """A user as one was."""

    name: str | None
    profile: Profile


@attrs.frozen
class Entry:
    """A line of an audit trail."""

    at: datetime
    what: str


# --- commands


class AddUser(Command[Outcome[UserAdded, NameTaken]]):
    """Adds a user under a name that nobody has."""

    name: str


class RenameUser(Command[Outcome[Token, NameTaken | NoSuchUser]]):
    """Gives a user another name; the old one is free then."""

    user: UserId
    name: str


class SetEmail(Command[Outcome[Token, NoSuchUser | Changed]]):
    """Sets a user's email; if `seen` is given, only if the profile is as it was seen."""

    user: UserId
    email: str
    seen: Token | None = None


class SetApiKey(Command[Outcome[Token, NoSuchUser]]):
    user: UserId
    key: str


class AddGroup(Command[Outcome[GroupAdded, NameTaken]]):
    name: str


class Join(Command[Outcome[Token, NoSuchUser | NoSuchGroup]]):
    user: UserId
    group: GroupId


class Leave(Command[Outcome[Token, NoSuchUser | NoSuchGroup]]):
    user: UserId
    group: GroupId


# --- queries


class UserNamed(Query[User | None]):
    name: str


class UsersWithEmail(Query[list[User]]):
    email: str


class SearchUsers(Query[list[User]]):
    """Users whose name or email has words that begin with those of the text, best first."""

    text: str


class GroupsOf(Query[list[str]]):
    """The names of a user's groups."""

    user: UserId


class AuditTrail(Query[list[Entry]]):
    """All that happened to a user, in order."""

    user: UserId


class UserAsOf(Query[UserThen]):
    """A user at a time."""

    user: UserId
    time: datetime


class ReadProfile(Query[tuple[Profile, Token]]):
    """A user's profile now, and a token of having seen it."""

    user: UserId


Commands: TypeAlias = AddUser | RenameUser | SetEmail | SetApiKey | AddGroup | Join | Leave
ViewQueries: TypeAlias = UserNamed | UsersWithEmail | SearchUsers | GroupsOf
StreamQueries: TypeAlias = AuditTrail | UserAsOf | ReadProfile
App: TypeAlias = Commands | ViewQueries | StreamQueries

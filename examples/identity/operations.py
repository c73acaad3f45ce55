"""What can be asked for. A command answers a token of what it wrote, or why it wrote nothing."""

from datetime import datetime
from typing import TypeAlias
from uuid import UUID

import attrs

from eventsrc import Command, Outcome, Query, Token
from eventsrc.stores.operations import Expected
from examples.identity.events import GroupId, UserId
from examples.identity.streams import ProfileEvent

# --- failures


@attrs.frozen
class NameTaken:
    name: str
    by: str
    """The id of the user or group that has it."""


@attrs.frozen
class BadEmail:
    email: str


@attrs.frozen
class NoSuchUser:
    user: UserId


@attrs.frozen
class NoSuchGroup:
    group: GroupId


@attrs.frozen
class Changed:
    """What the caller had seen is no longer so: this has happened since."""

    since: tuple[ProfileEvent, ...]


# --- answers


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
    """A user as the view shows one."""

    id: UserId
    name: str
    email: str | None


@attrs.frozen
class UserState:
    """A user as the events tell, now or then; before the first of them there is no name."""

    name: str | None
    email: str | None
    api_key: str | None
    token: Token
    """The versions that this is the state at."""


@attrs.frozen
class Entry:
    """A line of an audit trail."""

    at: datetime
    what: str


# --- commands


class AddUser(Command[Outcome[UserAdded, NameTaken]]):
    name: str
    append_id: UUID | None = None
    """Makes a retry safe: the same user is answered again."""
    request: bytes | None = None
    """The whole of the request: another one under the same append_id is refused."""


class RenameUser(Command[Outcome[Token, NameTaken | NoSuchUser]]):
    """Gives a user another name; the old one is free then."""

    user: UserId
    name: str


class SetEmail(Command[Outcome[Token, NoSuchUser]]):
    user: UserId
    email: str
    append_id: UUID | None = None


class ReplaceEmail(Command[Outcome[Token, NoSuchUser | Changed]]):
    """Sets a user's email, if the profile still is what was seen with a token, or is there, or is not.

    append_id: makes a retry safe.
    """

    user: UserId
    email: str
    seen: Expected
    append_id: UUID | None = None


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


# --- queries of views: fast, and as new as the view is


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


# --- queries of streams: exact, now and at any time before


class ReadUser(Query[UserState]):
    """A user now, or as seen with the token of an earlier answer, or at a time."""

    user: UserId
    at: Token | datetime | None = None


class GroupsNow(Query[list[str]]):
    """As GroupsOf, from the events: all of them, and slower."""

    user: UserId


class AuditTrail(Query[list[Entry]]):
    """All that happened to a user, in order."""

    user: UserId


IdentityCommand: TypeAlias = (
    AddUser | RenameUser | SetEmail | ReplaceEmail | SetApiKey | AddGroup | Join | Leave
)
ViewQuery: TypeAlias = UserNamed | UsersWithEmail | SearchUsers | GroupsOf
StreamQuery: TypeAlias = ReadUser | GroupsNow | AuditTrail
App: TypeAlias = IdentityCommand | ViewQuery | StreamQuery

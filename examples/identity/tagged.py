"""Unique names by tags, beside the stream of all names that `commands.py` decides by.

There one stream says who has which name: it works on every store, and says in its id what is unique;
but each command folds all names, and all commands that name somebody take turns. Here a name is a tag:
a command reads who had that name, and of that user the last name, however many users there are, and
waits for nobody who asks for another name. It needs a store that keeps tags, and a row for each tag.
"""

from typing import TypeAlias

from eventsrc import Do, Failure, Fold, NewId, Streams, Success, Try, event, program
from eventsrc.events.tags import Tag, about
from eventsrc.stores.tags import ReadTagged
from eventsrc.streams.boundaries import BoundaryOp, gather_about
from eventsrc.streams.serializable import serializable
from examples.identity.events import UserId
from examples.identity.operations import NameTaken, NoSuchUser

user = Tag("user", key=UserId)
user_name = Tag("user-name", key=str)


@event("identity.user-named", tags={"user": user, "name": user_name})
class UserNamed:
    """A user has a name, in place of the one before."""

    user: UserId
    name: str


names = Streams("users/{user}/name", key=UserId, events=UserNamed)
name_now: Fold[str | None, UserNamed] = Fold(None, lambda _, event: event.name)
last_user: Fold[UserId | None, UserNamed] = Fold(None, lambda _, event: event.user)

NamingOp: TypeAlias = BoundaryOp | NewId


@program
def holder(name: str) -> Do[ReadTagged, UserId | None]:
    """The user who has a name: whoever took it last, unless that user has another one by now."""
    last = (yield from gather_about(about(user_name[name], of=UserNamed), last_user)).state
    return last if last is not None and (yield from name_of(last)) == name else None


@program
def name_of(who: UserId) -> Do[ReadTagged, str | None]:
    """The name that a user has; None if there is no such user."""
    return (yield from gather_about(about(user[who], of=UserNamed), name_now)).state


@program
def add_user(name: str) -> Try[NamingOp, UserId, NameTaken]:
    """Adds a user with a name that nobody has; answers the user's id."""
    return (yield from serializable(_add(name)))


@program
def rename_user(who: UserId, name: str) -> Try[NamingOp, None, NameTaken | NoSuchUser]:
    """Gives a user a name that nobody else has."""
    return (yield from serializable(_rename(who, name)))


@program
def _add(name: str) -> Try[NamingOp, UserId, NameTaken]:
    by = yield from holder(name)
    if by is not None:
        return Failure(NameTaken(name, by))
    who = UserId(str((yield from NewId())))
    yield from names[who].append(UserNamed(who, name))
    return Success(who)


@program
def _rename(who: UserId, name: str) -> Try[NamingOp, None, NameTaken | NoSuchUser]:
    if (yield from name_of(who)) is None:
        return Failure(NoSuchUser(who))
    by = yield from holder(name)
    if by not in (None, who):
        return Failure(NameTaken(name, by))
    if by is None:
        yield from names[who].append(UserNamed(who, name))
    return Success(None)

"""What the service offers: programs over its operations, which know nothing of where they run."""

from __future__ import annotations

import attrs

from eventsrc import Failure, Outcome, Success, Try, ok, program
from examples.identity.events import GroupId
from examples.identity.operations import (
    AddUser,
    App,
    Changed,
    Join,
    NameTaken,
    NoSuchGroup,
    NoSuchUser,
    SetEmail,
    UserAdded,
)


@attrs.frozen
class BadEmail:
    email: str


def checked_email(email: str) -> Outcome[str, BadEmail]:
    name, at, domain = email.partition("@")
    return Success(email.lower()) if name and at and "." in domain else Failure(BadEmail(email))


@program
def register(name: str, email: str) -> Try[App, BadEmail | NameTaken | NoSuchUser | Changed, UserAdded]:
    """Adds a user with an email; nothing is added if the email is none."""
    address = yield from ok(checked_email(email))
    added = yield from ok(AddUser(name))
    token = yield from ok(SetEmail(added.user, address))
    return Success(attrs.evolve(added, token=added.token | token))


@program
def register_member(
    name: str, email: str, group: GroupId
) -> Try[App, BadEmail | NameTaken | NoSuchUser | Changed | NoSuchGroup, UserAdded]:
    """Adds a user with an email to a group. The token answered covers all three."""
    added = yield from ok(register(name, email))
    joined = yield from ok(Join(added.user, group))
    return Success(attrs.evolve(added, token=added.token | joined))

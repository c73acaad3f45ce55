"""What the service offers: programs over its operations, which know nothing of where they run."""

from uuid import UUID, uuid5

import attrs

from eventsrc import Failure, Outcome, Success, Try, ok, program
from examples.identity.events import GroupId
from examples.identity.operations import (
    AddUser,
    App,
    BadEmail,
    Join,
    NameTaken,
    NoSuchGroup,
    NoSuchUser,
    SetEmail,
    UserAdded,
)


def checked_email(email: str) -> Outcome[str, BadEmail]:
    name, _, domain = email.partition("@")
    return Success(email.lower()) if name and "." in domain else Failure(BadEmail(email))


@program
def register(
    name: str, email: str, retry: UUID | None = None, request: bytes | None = None
) -> Try[App, UserAdded, BadEmail | NameTaken | NoSuchUser]:
    """Adds a user with an email. Where `ok` is given a Failure, the program ends with it.

    retry: what comes again with the same one is done once, and goes on where it had stopped.
    request: what is asked for: another request with the same `retry` is refused.
    """
    address = yield from ok(checked_email(email))
    added = yield from ok(AddUser(name, retry, request))
    token = yield from ok(SetEmail(added.user, address, retry and uuid5(retry, "email")))
    return Success(attrs.evolve(added, token=added.token | token))


@program
def register_member(
    name: str, email: str, group: GroupId
) -> Try[App, UserAdded, BadEmail | NameTaken | NoSuchUser | NoSuchGroup]:
    """Adds a user with an email to a group. The token covers all three writes."""
    added = yield from ok(register(name, email))
    token = yield from ok(Join(added.user, group))
    return Success(attrs.evolve(added, token=added.token | token))

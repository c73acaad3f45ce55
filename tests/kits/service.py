"""A small service for the tests of the core: users, kept in a dictionary."""

from __future__ import annotations

from typing import TypeAlias

import attrs

from eventsrc import (
    Command,
    Do,
    Failure,
    Interpreter,
    Outcome,
    Query,
    Success,
    Try,
    for_each,
    ok,
    on,
    program,
)


@attrs.frozen
class User:
    name: str
    email: str


@attrs.frozen
class NameTaken:
    name: str


@attrs.frozen
class BadEmail:
    email: str


@attrs.frozen
class Full:
    """There is no room for more users."""


class Save(Command[Outcome[int, Full]]):
    user: User


class UserByName(Query[User | None]):
    name: str


class CountUsers(Query[int]):
    pass


App: TypeAlias = Save | UserByName | CountUsers
AddUserError: TypeAlias = NameTaken | BadEmail | Full


def checked_email(email: str) -> Outcome[str, BadEmail]:
    return Success(email) if "@" in email else Failure(BadEmail(email))


@program
def add_user(name: str, email: str) -> Try[App, int, AddUserError]:
    """Adds a user whose name is free; answers how many there are."""
    address = yield from ok(checked_email(email))
    if (yield from UserByName(name)) is not None:
        return Failure(NameTaken(name))
    number = yield from ok(Save(User(name, address)))
    return Success(number)


@program
def known(names: list[str]) -> Do[UserByName, list[User | None]]:
    """The users of these names, asked for together."""
    return (yield from for_each(names, UserByName))


class InMemory(Interpreter[App]):
    """Up to ten users."""

    def __init__(self) -> None:
        self.users: dict[str, User] = {}
        self.performed: list[App] = []

    @on(Save)
    def save(self, op: Save) -> Outcome[int, Full]:
        self.performed.append(op)
        if len(self.users) >= 10:
            return Failure(Full())
        self.users[op.user.name] = op.user
        return Success(len(self.users))

    @on(UserByName)
    def by_name(self, op: UserByName) -> User | None:
        self.performed.append(op)
        return self.users.get(op.name)

    @on(CountUsers)
    def count(self, op: CountUsers) -> int:
        self.performed.append(op)
        return len(self.users)

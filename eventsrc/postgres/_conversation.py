"""Conversations: generators that say what is to be done, while a driver does it.

Questions yield statements and are sent their rows. A *policy* yields requests such as Take, Connect and
Execute (see _policy.py). Both are written once; only the two drivers know whether a thread or an event
loop waits for the answers.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import Any, NamedTuple, TypeAlias, TypeVar

from eventsrc.events.positions import WrongStore

T = TypeVar("T")

Rows: TypeAlias = list[tuple[Any, ...]]


class Statement(NamedTuple):
    """A statement and its parameters."""

    sql: bytes
    parameters: Any = None
    uses_cached_heads: bool = False
    """True if it relies on cached heads; it is then Refused once a connection has been lost."""

    takes_lock_timeout: bool = False
    """True if its first parameter is the lock timeout in milliseconds; 0 leaves it to the session."""

    def within(self, seconds: float) -> Statement:
        """The same statement for a session that has no lock timeout of its own."""
        if not self.takes_lock_timeout:
            return self
        return self._replace(parameters=(max(int(seconds * 1000), 1), *self.parameters[1:]))


def array(numbers: Iterable[int | None]) -> str:
    """An array of numbers as Postgres writes it, which is the quickest way to send one."""
    return "{" + ",".join(["NULL" if number is None else str(number) for number in numbers]) + "}"


class StoreIdentity(NamedTuple):
    """Which store a connection must lead to.

    statement: asks for the isolation of the transaction, and for the id of the store that is there.
    """

    statement: Statement
    store_id: str

    def level(self, found: Rows) -> str:
        """The isolation of the transaction. Raises WrongStore if another store is there."""
        ((level, store_id),) = found
        if store_id != self.store_id:
            raise WrongStore(
                f"the connection that was given leads to store {store_id!r}, not to {self.store_id!r}: "
                "give one to the database of this store, or join the store that is there"
            )
        return str(level)


Conversation: TypeAlias = Generator[Statement, Rows, T]
"""Questions to a database: yields statements, is sent their rows, returns what they mean."""

Y = TypeVar("Y")


def answered(
    questions: Conversation[T], execute: Callable[[Statement], Generator[Y, Any, Rows]]
) -> Generator[Y, Any, T]:
    """The conversation in which each statement of some questions is executed by another one."""
    step: Callable[[Any], Statement] = questions.send
    value: Any = None
    while True:
        try:
            statement = step(value)
        except StopIteration as stop:
            answer: T = stop.value
            return answer
        try:
            value = yield from execute(statement)
            step = questions.send
        except BaseException as error:
            step, value = questions.throw, error

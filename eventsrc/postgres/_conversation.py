"""What is asked of a Postgres, written once for threads and event loops.

A *conversation* is a generator that yields statements and is sent their rows. Whoever holds it decides
on which connection they are executed, and whether a thread or an event loop waits for the answers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Iterable
from typing import Any, NamedTuple, TypeAlias, TypeVar

from eventsrc.events.positions import WrongStore

T = TypeVar("T")

Rows: TypeAlias = list[tuple[Any, ...]]


class Ask(NamedTuple):
    """A statement and its parameters."""

    sql: bytes
    parameters: Any = None
    is_bold: bool = False
    """Whether it counts on what was told before: then it is Refused if a connection was lost since."""

    is_patient: bool = False
    """Whether its first parameter is for how many milliseconds to wait for others; 0 leaves that to the
    session."""

    def within(self, seconds: float) -> Ask:
        """As it is asked in a session that does not say how long to wait."""
        if not self.is_patient:
            return self
        return self._replace(parameters=(max(int(seconds * 1000), 1), *self.parameters[1:]))


def array(numbers: Iterable[int | None]) -> str:
    """An array of numbers as Postgres writes it, which is the quickest way to send one."""
    return "{" + ",".join(["NULL" if number is None else str(number) for number in numbers]) + "}"


class Home(NamedTuple):
    """Where the statements of a store belong, which a user's connection may not lead to.

    ask: asks for the isolation of the transaction, and for the id of the store that is there.
    """

    ask: Ask
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


Conversation: TypeAlias = Generator[Ask, Rows, T]


def hold(conversation: Conversation[T], execute: Callable[[Ask], Rows]) -> T:
    """Holds a conversation."""
    try:
        ask = next(conversation)
        while True:
            try:
                rows = execute(ask)
            except Exception as error:
                ask = conversation.throw(error)
            else:
                ask = conversation.send(rows)
    except StopIteration as stop:
        answer: T = stop.value
        return answer


async def hold_async(conversation: Conversation[T], execute: Callable[[Ask], Awaitable[Rows]]) -> T:
    """Holds a conversation, waiting for each answer."""
    try:
        ask = next(conversation)
        while True:
            try:
                rows = await execute(ask)
            except Exception as error:
                ask = conversation.throw(error)
            else:
                ask = conversation.send(rows)
    except StopIteration as stop:
        answer: T = stop.value
        return answer
    finally:
        conversation.close()

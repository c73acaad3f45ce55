"""A worker of durable runs in a process that is killed: worker.py STORE MAILS."""

from __future__ import annotations

import os
import sys
from uuid import UUID

from eventsrc import Command, Do, Interpreter, SqliteStore, StoreOp, Stream, event, on, program, world
from eventsrc.durable import RunOp, Runs, StepId
from eventsrc.durable.work import work
from eventsrc.events.codec import Codec
from eventsrc.events.event import EventTypes

TYPES = EventTypes()
CODEC = Codec(TYPES)


@event("test.worker.booked", types=TYPES)
class Booked:
    order: str
    step: int


books = Stream("books", events=Booked)


class Mail(Command[None]):
    to: str
    key: UUID


@program
def book(order: str) -> Do[StoreOp | Mail | RunOp, str]:
    for step in range(3):
        yield from books.append(Booked(order, step))
        yield from Mail(order, (yield from StepId()))
    return order


booking = Runs("booking", book, id=lambda order: order, codec=CODEC)


class Post(Interpreter[Mail]):
    """A post office that outlives the process: a line in a file for each mail."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    @on(Mail)
    def mail(self, op: Mail) -> None:
        os.write(self._file, f"{op.to} {op.key}\n".encode())


if __name__ == "__main__":
    with SqliteStore(sys.argv[1], CODEC, durability="process") as store:
        (store | world | Post(sys.argv[2])).run(work(booking, at_once=2))

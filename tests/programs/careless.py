"""Program functions that forget `yield from`, on lines marked `# forgotten`, and some that do not."""

from __future__ import annotations

from eventsrc import (
    Command,
    Do,
    Program,
    Query,
    StoreOp,
    Stream,
    Streams,
    Translation,
    event,
    gather,
    on,
    program,
)


@event("test.careless.noted")
class Noted:
    text: str


notes = Stream("notes", events=Noted)
books = Streams("books/{id}", key=int, events=Noted)


class Put(Command[None]):
    key: str


class Get(Query[int]):
    key: str


@program
def helper() -> Do[Put, None]:
    yield from Put("x")


def inlined() -> Do[Put, None]:
    yield from Put("x")


def made() -> Program[Get, int]:
    return Get("a").map(abs)


@program
def careless(flag: bool) -> Do[Put | Get, int]:
    Put("a")  # forgotten
    if flag:
        helper()  # forgotten
    for _ in range(3):
        inlined()  # forgotten
        made()  # forgotten
    gather(Get("a"), Get("b"))  # forgotten
    Get("a").map(str)  # forgotten
    unused = Get("a")  # noqa: F841 # forgotten
    value = yield from Get("a")
    return value


@program
def careful(flag: bool) -> Do[Put | Get, int]:
    yield from Put("a")
    later = helper()
    print("a side effect that is no operation")
    sorted([3, 1])
    if flag:
        yield from later

    def inner() -> None:
        Put("is made and not meant to be performed here")

    inner()
    both = gather(Get("a"), Get("b"))
    a, b = yield from both
    return a + b


class Careless(Translation[Put, StoreOp]):
    @on(Put).program
    def put(self, op: Put) -> Do[StoreOp, None]:
        notes.append(Noted(op.key))  # forgotten
        books[3].append(Noted(op.key))  # forgotten
        self.other()  # forgotten
        yield from notes.append(Noted(op.key))

    @program
    def other(self) -> Do[StoreOp, None]:
        yield from books[3].append(Noted("x"))

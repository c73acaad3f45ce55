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
    gather_all,
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
    [Put(key) for key in "ab"]  # forgotten
    puts = {key: Put(key) for key in "ab"}  # noqa: F841 # forgotten
    for _ in made():  # forgotten
        pass
    if Get("a") == len("x"):  # type: ignore # forgotten
        flag = False
    while flag and Get("a"):  # forgotten
        flag = not Get("b")  # forgotten
    total = [flag for _ in Get("a")]  # forgotten
    print(f"{Get('a')} of {total}")  # forgotten
    print(Get("b") + 1)  # type: ignore # forgotten
    match Get("a"):  # forgotten
        case 3:
            pass
        case _:
            pass
    value = yield from Get("a")
    return value


@program
def idle() -> Do[Put, int]:  # type: ignore[return] # forgotten
    Put("a")  # forgotten


@program
def plain() -> Do[Get, int]:  # forgotten
    return 5  # type: ignore[return-value]


@program
def delegating() -> Program[Get, int]:
    return Get("a").map(abs)


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
    gets = [Get(key) for key in "ab"]
    counts = yield from gather_all(gets)
    if (yield from Get("a")) == 3 or gets[0] in gets:
        print(f"{counts} {(yield from Get('b'))}")
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

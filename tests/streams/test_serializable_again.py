"""A serializable program under an append_id is stored once, and answers as it did then."""

from __future__ import annotations

from typing import Any, TypeAlias
from uuid import UUID, uuid4

import pytest

from eventsrc import (
    AppendAll,
    Appended,
    DecideOp,
    Do,
    Failure,
    Fold,
    MemoryStore,
    NewId,
    Read,
    StoreOp,
    Stream,
    Success,
    Try,
    event,
    gather,
    program,
    world,
)
from eventsrc.errors import NotSerializable, OtherRequest
from eventsrc.streams.serializable import SerializableOp, serializable
from eventsrc.testing import EVERY_FAULT, After, Scenario, SimulatedStore
from tests.faults import scaled

KEY = UUID("7f6f5e0c-5c3e-4a43-8df5-6c2b1c1f0a12")

OTHER = UUID("7f6f5e0c-5c3e-4a43-8df5-6c2b1c1f0a13")


@event("test.serializable-again.moved")
class Moved:
    amount: int
    by: UUID | None = None


left: Stream[Moved] = Stream("again/left", events=Moved)
right: Stream[Moved] = Stream("again/right", events=Moved)
balance: Fold[int, Moved] = Fold(0, lambda so_far, moved: so_far + moved.amount)

App: TypeAlias = StoreOp | NewId | DecideOp


@program
def transfer(amount: int) -> Try[App, tuple[int, int, int], str]:
    """Moves money, under a number at random; answers both balances, and a version, as they are then."""
    mine, theirs = yield from gather(left.get(balance), right.get(balance))
    if mine.state < amount:
        return Failure(f"there are only {mine.state}")
    number = yield from NewId()
    parts = left.part(Moved(-amount, number)), right.part(Moved(amount, number))
    outcome = yield from AppendAll(parts)
    if not isinstance(outcome, Success):
        return Failure(str(outcome))
    seen = (yield from Read(right.id, backwards=True, limit=1)).events[0].version
    return Success((mine.state - amount, theirs.state + amount, seen))


@program
def by_decision(amount: int) -> Try[App, tuple[int, int, int], str]:
    """The same to one account, by a decision that depends on the other."""
    theirs = yield from right.get(balance)
    taken = yield from left.decide(balance, lambda has: enough(has, amount))
    match taken:
        case Success(done):
            return Success((done.state, theirs.state, done.version))
        case Failure(why):
            return Failure(why)


def enough(has: int, amount: int) -> Any:
    return Failure("too little") if has < amount else Success([Moved(-amount)])


SERVICES = [transfer, by_decision]


def funded() -> MemoryStore:
    store = MemoryStore()
    store.run(left.append(Moved(100)))
    return store


@pytest.mark.parametrize("service", SERVICES)
def test_a_retry_is_answered_as_the_first_time_whatever_has_come_since(service: Any) -> None:
    store = funded()
    app = store | world
    asked = serializable(service(60), append_id=KEY, request={"move": 60})
    first = app.run(asked)
    assert isinstance(first, Success)
    for _ in range(3):
        store.run(left.append(Moved(-10)))
        store.run(right.append(Moved(7), Moved(3)))
        heads = store.run(left.head()), store.run(right.head())
        assert app.run(asked) == first
        assert app.run(serializable(service(60), append_id=KEY)) == first
        assert (store.run(left.head()), store.run(right.head())) == heads


@pytest.mark.parametrize("service", SERVICES)
def test_control_without_an_id_it_is_done_again(service: Any) -> None:
    store = funded()
    app = store | world
    first = app.run(serializable(service(40)))
    assert app.run(serializable(service(40))) != first
    assert store.run(left.get(balance)).state == 20


def test_another_request_under_the_same_id_is_refused() -> None:
    store = funded()
    app = store | world
    app.run(serializable(transfer(60), append_id=KEY, request={"move": 60}))
    for other in ({"move": 20}, "move 60", b""):
        with pytest.raises(OtherRequest, match=str(KEY)):
            app.run(serializable(transfer(20), append_id=KEY, request=other))
    assert store.run(left.head()) == 2


def test_a_program_that_failed_is_run_anew() -> None:
    store = funded()
    app = store | world
    asked = serializable(transfer(200), append_id=KEY, request="move 200")
    assert app.run(asked) == Failure("there are only 100")
    store.run(left.append(Moved(100)))
    assert app.run(asked) == Success((0, 200, 1))


def test_a_program_that_does_not_append_what_was_stored_is_refused() -> None:
    app = funded() | world

    @program
    def nothing() -> Do[StoreOp, int]:
        return (yield from left.head())

    @program
    def elsewhere() -> Do[StoreOp, Appended]:
        return (yield from right.append(Moved(1)))

    @program
    def twice() -> Do[StoreOp, Appended]:
        yield from left.append(Moved(1))
        return (yield from left.append(Moved(1)))

    @program
    def named() -> Do[StoreOp, Appended]:
        return (yield from left.append(Moved(1), append_id=uuid4()))

    @program
    def sound() -> Do[StoreOp, Appended]:
        return (yield from left.append(Moved(1)))

    with pytest.raises(NotSerializable, match="an append_id of its own"):
        app.run(serializable(named(), append_id=KEY))
    first = app.run(serializable(sound(), append_id=KEY))
    assert app.run(serializable(sound(), append_id=KEY)) == first
    with pytest.raises(NotSerializable, match="appends nothing"):
        app.run(serializable(nothing(), append_id=KEY))
    with pytest.raises(NotSerializable, match="was used for an append to again/left"):
        app.run(serializable(elsewhere(), append_id=KEY))
    with pytest.raises(NotSerializable, match="second write"):
        app.run(serializable(twice(), append_id=KEY))


def test_a_request_is_refused_without_an_id() -> None:
    with pytest.raises(ValueError, match="no append_id"):
        (funded() | world).run(serializable(transfer(1), request="move 1"))


def at_once(key: UUID | None, service: Any, **more: Any) -> Scenario:
    """A request that comes twice at once, while somebody else pays in."""

    def done_once(after: After) -> None:
        has = after.run(left.get(balance)).state
        assert has in (100, 101, 60, 61), f"the balance is {has}"
        done = [after.answers[name] for name in ("first", "second") if name in after.answers]
        answers = [answer for answer in done if isinstance(answer, Success)]
        assert all(answer == answers[0] for answer in answers)

    @program
    def asked() -> Do[App | SerializableOp, Any]:
        return (yield from serializable(service(40), append_id=key, request=key and "move 40"))

    return Scenario(
        {"first": asked(), "second": asked(), "another": left.append(Moved(1), append_id=OTHER)},
        on=SimulatedStore,
        before=left.append(Moved(100)),
        holds=done_once,
        **more,
    )


@pytest.mark.parametrize("service", SERVICES)
def test_a_request_that_comes_twice_at_once_is_done_once_and_answered_alike(service: Any) -> None:
    found = at_once(KEY, service).sample(scaled(400, 3_000))
    assert found.holds, found.story


@pytest.mark.parametrize("service", SERVICES)
def test_whatever_goes_wrong_it_is_done_once(service: Any) -> None:
    found = at_once(KEY, service, faults=EVERY_FAULT, most_faults=2).sample(scaled(300, 3_000))
    assert found.holds, found.story


@pytest.mark.parametrize("service", SERVICES)
def test_control_at_once_and_without_an_id_it_is_done_twice(service: Any) -> None:
    assert not at_once(None, service).sample(200).holds

"""An external event that arrives takes effect once, whoever delivers it and however often."""

from __future__ import annotations

import threading
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventsrc import (
    AppendAll,
    Do,
    Failure,
    Fold,
    Interpreter,
    MemoryStore,
    Outcome,
    SqliteStore,
    StoreOp,
    Stream,
    StreamAppend,
    Streams,
    Success,
    Try,
    event,
    program,
    world,
)
from eventsrc.errors import OtherRequest, SeveralAppends
from eventsrc.events.codec import Codec
from eventsrc.events.event import EventTypes
from eventsrc.programs.program import pure
from eventsrc.publishing import Again, CloudEvent, arrived
from eventsrc.streams.decide import DecideOp
from tests.kits.dying import Died, Dying

TYPES = EventTypes()
CODEC = Codec(TYPES)


@event("test.inbox.paid", types=TYPES)
class Paid:
    order: str
    amount: int


payments = Streams("payments/{order}", key=str, events=Paid)
ledger = Stream("ledger", events=Paid)


def _paid(sum: int, event: Paid) -> int:
    return sum + event.amount


total = Fold(0, _paid)


@attrs.frozen
class TooMuch:
    sum: int


def placed(number: int = 1, amount: int = 5, **more: Any) -> CloudEvent:
    data = {"order": "7", "amount": amount}
    its = {"data": data, "extensions": {"correlationid": "c1", "traceparent": "nonsense"}, **more}
    return CloudEvent(f"e{number}", "https://shop.example", "placed.v1", "orders/7", None, **its)


@program
def take_payment(event: CloudEvent) -> Try[DecideOp, int, TooMuch]:
    def decide(sum: int) -> Outcome[list[Paid], TooMuch]:
        more: int = event.data["amount"]
        return Failure(TooMuch(sum)) if sum + more > 8 else Success([Paid("7", more)])

    match (yield from payments["7"].decide(total, decide)):
        case Success(decided):
            return Success(decided.state)
        case failure:
            return failure


def amounts(store: Interpreter[StoreOp]) -> list[int]:
    return [each.data.amount for each in store.run(payments["7"].history())]


def app_of(store: Interpreter[Any]) -> Any:
    return store | world


def test_what_arrives_again_does_nothing_and_says_so() -> None:
    store = MemoryStore(CODEC)
    app = app_of(store)
    assert app.run(arrived(placed(), take_payment, inbox="billing")) == Success(5)
    again = app.run(arrived(placed(), take_payment, inbox="billing"))
    assert isinstance(again, Again)
    assert again.appended.version == 1
    assert amounts(store) == [5]


def test_another_inbox_takes_the_same_event() -> None:
    store = MemoryStore(CODEC)
    app = app_of(store)
    for inbox in ("a", "b"):
        app.run(arrived(placed(amount=2), take_payment, inbox=inbox))
    assert amounts(store) == [2, 2]


def test_what_is_stored_says_what_caused_it() -> None:
    store = MemoryStore(CODEC)
    app_of(store).run(arrived(placed(), take_payment, inbox="billing"))
    (paid,) = store.run(payments["7"].history())
    assert paid.metadata == {"causation_id": "e1", "correlation_id": "c1"}


def test_another_event_under_the_same_id_is_refused() -> None:
    app = app_of(MemoryStore(CODEC))
    app.run(arrived(placed(), take_payment, inbox="billing"))
    with pytest.raises(OtherRequest):
        app.run(arrived(placed(amount=1), take_payment, inbox="billing"))


def test_an_event_that_comes_another_way_is_the_same() -> None:
    app = app_of(MemoryStore(CODEC))
    app.run(arrived(placed(), take_payment, inbox="billing"))
    other = placed(
        extensions={"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    )
    assert isinstance(app.run(arrived(other, take_payment, inbox="billing")), Again)


def test_an_expected_failure_leaves_no_trace_and_is_asked_again() -> None:
    store = MemoryStore(CODEC)
    app = app_of(store)
    for _ in range(2):
        its = app.run(arrived(placed(amount=9), take_payment, inbox="billing"))
        assert its == Failure(TooMuch(0))
    assert amounts(store) == []


@program
def twice(event: CloudEvent) -> Do[StoreOp, None]:
    yield from payments["7"].append(Paid("7", 1))
    yield from ledger.append(Paid("7", 1))


@program
def at_once(event: CloudEvent) -> Do[AppendAll, Any]:
    parts = StreamAppend(payments["7"].id, (Paid("7", 1),)), StreamAppend(ledger.id, (Paid("7", 1),))
    return (yield from AppendAll(parts))


def test_two_appends_for_one_event_are_one_too_many() -> None:
    store = MemoryStore(CODEC)
    with pytest.raises(SeveralAppends, match="AppendAll"):
        app_of(store).run(arrived(placed(), twice, inbox="billing"))
    assert store.run(ledger.history()) == ()


def test_several_streams_are_appended_to_at_once() -> None:
    store = MemoryStore(CODEC)
    app = app_of(store)
    for _ in range(2):
        app.run(arrived(placed(), at_once, inbox="billing"))
    assert len(store.run(ledger.history())) == len(amounts(store)) == 1


def test_nothing_to_do_is_a_result_too() -> None:
    app = app_of(MemoryStore(CODEC))
    assert app.run(arrived(placed(), lambda _event: pure(None), inbox="billing")) is None


@settings(max_examples=30)
@given(st.lists(st.integers(1, 3), min_size=1, max_size=8))
def test_any_deliveries_have_the_effect_of_one_each(deliveries: list[int]) -> None:
    store = MemoryStore(CODEC)
    app = app_of(store)
    for number in deliveries:
        app.run(arrived(placed(number, amount=number), take_payment, inbox="billing"))
    assert amounts(store) == [*dict.fromkeys(deliveries)]


def test_a_process_that_dies_at_any_operation_has_taken_it_once() -> None:
    for after in (False, True):
        for at in range(1, 100):
            store, dying = MemoryStore(CODEC), Dying(at, after=after)
            app = app_of(store)
            try:
                dying.around(app).run(arrived(placed(), take_payment, inbox="billing"))
            except Died:
                app.run(arrived(placed(), take_payment, inbox="billing"))
            assert amounts(store) == [5], f"died {'after' if after else 'before'} operation {at}"
            if not dying.has_died:
                assert at > 3
                break


def test_control_without_an_inbox_it_is_taken_twice() -> None:
    store = MemoryStore(CODEC)
    for _ in range(2):
        app_of(store).run(take_payment(placed(amount=2)))
    assert amounts(store) == [2, 2]


@pytest.mark.parametrize("when", range(1, 6))
@pytest.mark.parametrize("amount", [2, 5])
def test_two_deliveries_at_the_same_time_are_one(when: int, amount: int) -> None:
    store = MemoryStore(CODEC)
    plain, steps = app_of(store), 0

    def between(op: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps == when:
            plain.run(arrived(placed(amount=amount), take_payment, inbox="billing"))
        return (yield from op)

    app = app_of(store.around(between))
    its = app.run(arrived(placed(amount=amount), take_payment, inbox="billing"))
    assert amounts(store) == [amount]
    assert isinstance(its, Again) or its == Success(amount)


def test_many_threads_deliver_the_same_events(tmp_path: Any) -> None:
    with SqliteStore(tmp_path / "store.db", CODEC, durability="process") as store:
        app = app_of(store)
        failed: list[BaseException] = []

        def deliver() -> None:
            try:
                for number in range(4):
                    app.run(arrived(placed(number, amount=2), take_payment, inbox="billing"))
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=deliver) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert failed == []
        assert amounts(store) == [2, 2, 2, 2]

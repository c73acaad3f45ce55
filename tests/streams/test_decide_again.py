"""A decision that is made under an append_id is made once, however often its request comes."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from eventsrc import (
    DecideOp,
    Do,
    Failure,
    Fold,
    Outcome,
    Program,
    SqliteStore,
    Stream,
    Success,
    event,
    program,
    world,
)
from eventsrc.errors import AppendFailed, OtherRequest
from eventsrc.streams.decide import Decided
from eventsrc.testing import EVERY_FAULT, After, Scenario, SimulatedStore
from tests.faults import scaled

KEY = UUID("7f6f5e0c-5c3e-4a43-8df5-6c2b1c1f0a11")


@event("test.again.moved")
class Moved:
    by: int


account: Stream[Moved] = Stream("again/account", events=Moved)
other: Stream[Moved] = Stream("again/other", events=Moved)
balance: Fold[int, Moved] = Fold(0, lambda so_far, moved: so_far + moved.by)


def withdraw(
    amount: int, key: UUID | None, stream: Stream[Moved] = account, request: object = None
) -> Program[DecideOp, Outcome[Decided[int, Moved], str]]:
    """Takes an amount in two parts, if there is as much."""

    def enough(has: int) -> Outcome[list[Moved], str]:
        if has < amount:
            return Failure(f"there are only {has}")
        return Success([Moved(1 - amount), Moved(-1)])

    return stream.decide(balance, enough, append_id=key, request=request)


def test_the_first_answer_is_given_again_whatever_the_state_is_now(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "store.db") as store:
        app = store | world
        app.run(account.append(Moved(100)))
        first = app.run(withdraw(60, KEY))
        assert first == Success(Decided(40, (Moved(-59), Moved(-1)), 3, first.unwrap().token)), (
            "and not that there is too little"
        )
        for _ in range(3):
            assert app.run(withdraw(60, KEY)) == first
            app.run(account.append(Moved(-10)))
        assert app.run(withdraw(60, uuid4())) == Failure("there are only 10")
        assert store.run(account.head()) == 6


def test_a_decision_that_was_refused_or_had_nothing_to_do_is_made_anew() -> None:
    app = SimulatedStore() | world
    assert isinstance(app.run(withdraw(60, KEY)), Failure)
    assert app.run(account.change(balance, lambda _: [], append_id=KEY)).events == ()
    app.run(account.append(Moved(100)))
    assert isinstance(app.run(withdraw(60, KEY)), Success)


def test_more_events_than_a_page_holds_are_all_answered_again() -> None:
    app = SimulatedStore() | world
    many = account.change(balance, lambda has: [Moved(n) for n in range(2_500)], append_id=KEY)
    first = app.run(many)
    app.run(account.append(Moved(1)))
    assert app.run(many) == first
    assert len(first.events) == 2_500


def test_an_id_that_was_used_for_another_stream_is_refused() -> None:
    app = SimulatedStore() | world
    app.run(other.append(Moved(100)))
    app.run(withdraw(60, KEY, other))
    with pytest.raises(
        AppendFailed, match="was used for an append to again/other: choose one for each"
    ):
        app.run(withdraw(60, KEY))


def test_another_request_under_the_same_id_is_refused(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "store.db") as store:
        app = store | world
        app.run(account.append(Moved(100)))
        first = app.run(withdraw(60, KEY, request={"take": 60}))
        assert app.run(withdraw(60, KEY, request={"take": 60})) == first
        with pytest.raises(OtherRequest, match=f"{KEY} was used before, and not for this request"):
            app.run(withdraw(20, KEY, request={"take": 20}))
        with pytest.raises(OtherRequest):
            app.run(account.change(balance, lambda _: [Moved(5)], append_id=KEY, request="gift"))
        assert store.run(account.head()) == 3


def test_control_without_its_request_another_is_answered_as_the_first() -> None:
    app = SimulatedStore() | world
    app.run(account.append(Moved(100)))
    first = app.run(withdraw(60, KEY, request={"take": 60}))
    assert app.run(withdraw(20, KEY)) == first


def test_a_request_is_refused_without_an_id() -> None:
    app = SimulatedStore() | world
    with pytest.raises(ValueError, match="no append_id"):
        app.run(withdraw(60, None, request="take 60"))


def two_requests(told: bool) -> Scenario:
    """Two requests that come at once under one id."""

    @program
    def asked(amount: int) -> Do[DecideOp, str]:
        try:
            yield from withdraw(amount, KEY, request=amount if told else None)
        except OtherRequest:
            return "refused"
        return "done"

    def one_is_refused(after: After) -> None:
        assert sorted(map(str, after.answers.values())) == ["done", "refused"]

    return Scenario(
        {"one": asked(40), "other": asked(30)},
        on=SimulatedStore,
        before=account.append(Moved(100)),
        holds=one_is_refused,
    )


def test_of_two_requests_that_come_at_once_under_one_id_one_is_refused() -> None:
    found = two_requests(told=True).explore()
    assert found.holds, found.story


def test_control_where_requests_are_not_told_both_are_done() -> None:
    assert not two_requests(told=False).explore().holds


def same_request(key: UUID | None, **more: Any) -> Scenario:
    """A request that comes three times at once, and leaves 60 of 100 if it is done once."""

    def done_once(after: After) -> None:
        has = after.run(account.get(balance)).state
        assert has in (100, 60), f"the balance is {has}"
        answers = [answer for answer in after.answers.values() if isinstance(answer, Success)]
        assert all(answer == answers[0] for answer in answers)

    return Scenario(
        {name: withdraw(40, key) for name in ("first", "second", "third")},
        on=SimulatedStore,
        before=account.append(Moved(100)),
        holds=done_once,
        **more,
    )


def test_a_request_that_comes_several_times_at_once_is_stored_once() -> None:
    found = same_request(KEY).explore()
    assert found.holds, found.story


def test_whatever_goes_wrong_it_is_stored_once() -> None:
    found = same_request(KEY, faults=EVERY_FAULT, most_faults=2).sample(scaled(500, 3_000))
    assert found.holds, found.story


@pytest.mark.parametrize("faults", [(), EVERY_FAULT])
def test_control_without_an_id_it_is_stored_again(faults: Any) -> None:
    assert not same_request(None, faults=faults).sample(100).holds

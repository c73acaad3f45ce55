"""What exploring finds in services written the natural way, and that it finds nothing in mended ones.

Each test runs every schedule, with all that is named going wrong, once or twice in a run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from eventsrc import Effect, Interpreter, Success, gather, program, synchronise
from eventsrc.testing import (
    EVERY_FAULT,
    LOST,
    RESTART,
    After,
    Fault,
    Found,
    Scenario,
    SimulatedStore,
    SimulatedViews,
    check_history,
    check_view,
    reads,
)
from tests.faults import SCALE
from tests.kits.shops import (
    HOMER,
    MARGE,
    Deposited,
    Directory,
    HandMade,
    Totals,
    UserCalled,
    UserId,
    accounts,
    balance_of,
    deliver_it,
    deliver_naively,
    deposit,
    deposit_naively,
    follow_naively,
    names,
    register,
    register_naively,
    spend,
    spend_naively,
    totals,
    withdraw,
    withdraw_naively,
)

Act = Callable[..., Effect[Any, Any]]


def assert_told(found: Found, *words: str) -> None:
    """Something was found, and the story has these words in this order."""
    assert not found.holds
    place = 0
    for word in words:
        place = found.story.find(word, place)
        assert place >= 0, f"{word!r} is not told, or not in its place: {found.story}"


# --- a lost update: read, then write


def withdrawals(withdraw: Act, **more: Any) -> Scenario:
    return Scenario(
        {"ann": withdraw(HOMER, 60), "bob": withdraw(HOMER, 60)},
        on=SimulatedStore,
        before=accounts[HOMER].append(Deposited(100)),
        holds=lambda after: after.run(balance_of(HOMER)) >= 0 and not check_history(after),
        **more,
    )


def test_a_lost_update_is_found() -> None:
    found = withdrawals(withdraw_naively).explore()
    assert_told(
        found,
        "ann  reads accounts/homer",
        "bob  reads accounts/homer",
        "appends Withdrawn(amount=60)",
        "appends Withdrawn(amount=60)",
        "ended with Success(None)",
        "ended with Success(None)",
    )
    assert found.schedule == "ann bob"


# With two faults that is shown on the page docs/how-to/schedules.md, whose code every commit runs.
@pytest.mark.parametrize(("most_faults", "schedules"), [(1, 132), *([(2, 2648)] if SCALE > 1 else [])])
def test_a_decision_loses_no_update(most_faults: int, schedules: int) -> None:
    found = withdrawals(withdraw, faults=EVERY_FAULT, most_faults=most_faults).explore()
    assert found.holds, found.story
    assert found.schedules == schedules


# --- a double spend across two accounts


def spendings(spend: Act, **more: Any) -> Scenario:
    return Scenario(
        {"ann": spend(HOMER, MARGE, 60), "bob": spend(MARGE, HOMER, 60)},
        on=SimulatedStore,
        before=gather(accounts[HOMER].append(Deposited(50)), accounts[MARGE].append(Deposited(50))),
        holds=lambda after: (
            after.run(balance_of(HOMER)) + after.run(balance_of(MARGE)) >= 0
            and not check_history(after)
        ),
        **more,
    )


def test_a_double_spend_is_found_though_each_account_is_written_at_the_version_that_was_read() -> None:
    assert_told(spendings(spend_naively).explore(), "reads accounts/homer", "reads accounts/marge")


def test_a_serializable_program_spends_nothing_twice() -> None:
    found = spendings(spend, faults=EVERY_FAULT).explore()
    assert found.holds, found.story
    assert found.schedules == 214


# --- a user name that is there twice


def registrations(register: Act, **more: Any) -> Scenario:
    def app() -> Interpreter[Any]:
        views = SimulatedViews([names])
        return SimulatedStore() | views | Directory(views)

    @program
    def then_synchronise(user: UserId) -> Any:
        done = yield from register(user, "homer")
        yield from synchronise(names)
        return done

    def one_is_called_homer(after: After) -> None:
        after.run(synchronise(names))
        assert sum(isinstance(its, Success) for its in after.answers.values()) <= 1, "two Homers"
        assert check_view(after, names) == []

    return Scenario(
        {"ann": then_synchronise(UserId("1")), "bob": then_synchronise(UserId("2"))},
        on=app,
        holds=one_is_called_homer,
        footprints={UserCalled: lambda _: reads(names)},
        **more,
    )


def test_a_name_that_is_taken_twice_is_found_where_it_is_looked_up_in_a_view() -> None:
    assert_told(registrations(register_naively).explore(), "two Homers", "UserCalled", "UserCalled")


def test_a_name_that_is_reserved_in_a_stream_of_its_own_is_taken_once() -> None:
    found = registrations(register, faults=EVERY_FAULT).explore()
    assert found.holds, found.story
    assert found.schedules == 880


# --- an idempotency key that was forgotten


def deposits(deposit: Act, **more: Any) -> Scenario:
    return Scenario(
        {"ann": deposit(HOMER, 10), "bob": deposit(HOMER, 10)},
        on=SimulatedStore,
        holds=lambda after: after.run(balance_of(HOMER)) <= 20 and not check_history(after),
        **more,
    )


def test_an_append_that_is_tried_again_without_its_key_is_found_to_be_stored_twice() -> None:
    found = deposits(deposit_naively, faults=[LOST]).explore()
    assert_told(found, "and the answer is lost", "Unknown", "appends Deposited(amount=10)")


def test_an_append_that_is_tried_again_with_its_key_is_stored_once() -> None:
    faults = [fault for fault in EVERY_FAULT if fault is not RESTART]  # it begins with another key
    found = deposits(deposit, faults=faults, most_faults=2).explore()
    assert found.holds, found.story
    assert found.schedules == 696


# --- a synchroniser that applies across a gap


def total_is_right(after: After) -> None:
    assert after.run(Totals()) in ({}, {accounts[HOMER].id: after.run(balance_of(HOMER))})


def test_a_view_that_applies_across_a_gap_is_found() -> None:
    found = Scenario(
        {"one": deliver_naively(1), "two": deliver_naively(2)},
        on=lambda: SimulatedStore() | HandMade(),
        before=accounts[HOMER].append(Deposited(1), Deposited(2)),
        holds=total_is_right,
    ).explore()
    assert_told(found, "two  AddToTotals", "one  AddToTotals")


@pytest.mark.parametrize(
    ("versions", "faults", "schedules"),
    [((1, 2, 3), (), 101), ((1, 2), EVERY_FAULT, 195)],
    ids=["three", "faults"],
)
def test_delivered_events_are_applied_in_their_place_however_they_arrive(
    versions: Sequence[int], faults: Sequence[Fault], schedules: int
) -> None:
    def is_right(after: After) -> list[str]:
        if faults:  # a message may have been lost
            after.run(synchronise(totals))
        return check_view(after, totals)

    found = Scenario(
        {f"message{version}": deliver_it(version) for version in versions},
        on=lambda: SimulatedStore() | SimulatedViews([totals]),
        before=accounts[HOMER].append(*map(Deposited, versions)),
        holds=is_right,
        faults=faults,
    ).explore()
    assert found.holds, found.story
    assert found.schedules == schedules


# --- a checkpoint that is saved before its effect


def test_a_checkpoint_that_is_saved_before_its_effect_is_found() -> None:
    found = Scenario(
        {"view": follow_naively()},
        on=lambda: SimulatedStore() | HandMade(),
        before=accounts[HOMER].append(Deposited(1)),
        holds=lambda after: after.run(Totals()) == {accounts[HOMER].id: 1},
        faults=[RESTART],
    ).explore()
    assert_told(found, "SaveCheckpoint", "and is restarted before it: AddToTotals")


def test_synchronisers_that_restart_lose_answers_and_come_late_bring_a_view_up_to_date() -> None:
    def is_up_to_date(after: After) -> None:
        after.run(synchronise(totals))
        assert check_view(after, totals) == []

    found = Scenario(
        {"here": synchronise(totals), "there": synchronise(totals), "ann": deposit(HOMER, 10)},
        on=lambda: SimulatedStore() | SimulatedViews([totals]),
        before=accounts[HOMER].append(Deposited(1)),
        holds=is_up_to_date,
        faults=EVERY_FAULT,
    ).explore()
    assert found.holds, found.story
    assert found.schedules == 926

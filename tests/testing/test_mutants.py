"""Our own stores, synchroniser and decisions with a fault put in, each caught by the scenario for it.

Every scenario holds in every schedule without the fault: that is the control.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import attrs
import pytest

from eventsrc import (
    ANY,
    START,
    Append,
    AppendAll,
    Appended,
    Command,
    Conflict,
    Cursor,
    Do,
    Failure,
    Interpreter,
    Read,
    ReadFeed,
    Recorded,
    StreamAppend,
    Success,
    View,
    gather,
    on,
    program,
    synchronise,
)
from eventsrc.events.positions import Token
from eventsrc.following.synchroniser import deliver, synchronise_partition
from eventsrc.programs.world import Sleep
from eventsrc.stores.operations import Condition, FeedPage, NotAppended, StoreOp
from eventsrc.stores.prepare import Prepared
from eventsrc.streams import decide
from eventsrc.testing import (
    CRASH,
    LATE,
    LOST,
    RESTART,
    After,
    Crashed,
    Rows,
    Scenario,
    SimulatedStore,
    SimulatedViews,
    check_history,
    check_view,
)
from eventsrc.testing._scenarios.judging import whole_feed
from eventsrc.views import _applying
from eventsrc.views.guard import Sorted, sort_out
from eventsrc.views.memory import MemoryLedger, Tables
from eventsrc.views.operations import Applied, Apply, Claim, GetApplied, GetParked, LostLease
from tests.kits.shops import (
    HOMER,
    MARGE,
    AccountId,
    Deposited,
    Withdrawn,
    accounts,
    balance,
    balance_of,
    totals,
    withdraw,
)

MakeStore: TypeAlias = Callable[[], Interpreter[Any]]
MakeViews: TypeAlias = Callable[[], Interpreter[Any]]
Answer: TypeAlias = Success[Appended] | Failure[NotAppended]

# --- scenarios, each for some faults


def withdrawals(store: MakeStore = SimulatedStore, _: MakeViews = SimulatedViews) -> Scenario:
    """Two people withdraw, and the answers of some of their appends are lost or come late."""

    def is_right(after: After) -> None:
        assert check_history(after) == []
        assert after.run(balance_of(HOMER)) >= 0
        succeeded = sum(isinstance(answer, Success) for answer in after.answers.values())
        stored = sum(isinstance(event.data, Withdrawn) for event in after.run(whole_feed()))
        assert stored == succeeded, f"{stored} withdrawals for {succeeded} that succeeded"

    return Scenario(
        {"ann": withdraw(HOMER, 60), "bob": withdraw(HOMER, 60)},
        on=store,
        before=accounts[HOMER].append(Deposited(100)),
        holds=is_right,
        faults=[LOST, LATE],
    )


@program
def move(amount: int) -> Do[StoreOp, bool]:
    """From Homer to Marge, if there is enough."""
    homer, marge = accounts[HOMER].id, accounts[MARGE].id
    has = yield from balance_of(HOMER)
    version = (yield from Read(marge)).head
    if has < amount:
        return False
    out, into = (Withdrawn(amount),), (Deposited(amount),)
    done = yield from AppendAll((StreamAppend(homer, out), StreamAppend(marge, into, version)))
    return isinstance(done, Success)


@program
def spend(account: AccountId, other: AccountId, amount: int) -> Do[StoreOp, bool]:
    """From an account, if the two have enough, and on condition that the other stays as it is."""
    own, its = yield from gather(Read(accounts[account].id), Read(accounts[other].id))
    if balance.apply(balance.apply(0, own.events), its.events) < amount:
        return False
    done = yield from AppendAll(
        (StreamAppend(accounts[account].id, (Withdrawn(amount),), own.head),),
        (Condition(accounts[other].id, its.head),),
    )
    return isinstance(done, Success)


def movements(store: MakeStore = SimulatedStore, _: MakeViews = SimulatedViews) -> Scenario:
    """Money is moved between two accounts, and spent by what is in both."""

    def is_right(after: After) -> None:
        assert check_history(after) == []
        homer, marge = after.run(balance_of(HOMER)), after.run(balance_of(MARGE))
        assert homer + marge == 100 - 70 * after.answers["bob"]

    return Scenario(
        {"ann": move(50), "bob": spend(MARGE, HOMER, 70)},
        on=store,
        before=gather(accounts[HOMER].append(Deposited(50)), accounts[MARGE].append(Deposited(50))),
        holds=is_right,
    )


def spendings(store: MakeStore = SimulatedStore, _: MakeViews = SimulatedViews) -> Scenario:
    """Two spend what two accounts have together."""

    def is_right(after: After) -> None:
        assert after.run(balance_of(HOMER)) + after.run(balance_of(MARGE)) >= 0

    return Scenario(
        {"ann": spend(HOMER, MARGE, 60), "bob": spend(MARGE, HOMER, 60)},
        on=store,
        before=gather(accounts[HOMER].append(Deposited(50)), accounts[MARGE].append(Deposited(50))),
        holds=is_right,
    )


@program
def reads_on(rounds: int) -> Do[ReadFeed, tuple[list[int], Cursor]]:
    """Follows the feed, an event at a time."""
    seen: list[int] = []
    cursor = START
    for _ in range(rounds):
        page = yield from ReadFeed(cursor, 1)
        seen += [event.data.amount for event in page.events]
        cursor = page.next
    return seen, cursor


@program
def pays_in(*amounts: int) -> Do[Append, None]:
    yield from accounts[HOMER].append(*map(Deposited, amounts))


def followers(store: MakeStore = SimulatedStore, _: MakeViews = SimulatedViews) -> Scenario:
    """The feed is followed while others append."""

    def is_right(after: After) -> None:
        seen, cursor = after.answers["reader"]
        rest = after.run(ReadFeed(cursor)).events
        came = [*seen, *(event.data.amount for event in rest)]
        assert came == [event.data.amount for event in after.run(whole_feed())]
        assert sorted(came) == [1, 2, 3]

    return Scenario(
        {"ann": pays_in(1, 2), "bob": pays_in(3), "reader": reads_on(2)}, on=store, holds=is_right
    )


@program
def message(version: int) -> Do[Any, None]:
    page = yield from accounts[HOMER].read(version - 1, 1)
    yield from deliver(totals, page.events)


def views_of(
    store: MakeStore = SimulatedStore, views: MakeViews = lambda: SimulatedViews([totals])
) -> Scenario:
    """Events come to a view by the feed and by messages, and its synchroniser crashes and restarts."""

    def is_right(after: After) -> None:
        if not isinstance(after.answers["message"], Crashed):
            assert after.run(GetApplied(totals, (accounts[HOMER].id,))) == {accounts[HOMER].id: 2}
        after.run(synchronise(totals))
        assert check_view(after, totals) == []

    return Scenario(
        {"view": synchronise(totals), "message": message(2), "late": message(1)},
        on=lambda: store() | views(),
        before=accounts[HOMER].append(Deposited(1), Deposited(2)),
        holds=is_right,
        faults=[CRASH, RESTART],
    )


shared: View[Tables] = View("shared", prefix="accounts/", partitions=1)


@shared.on(Deposited)
def _(tables: Tables, event: Recorded[Deposited]) -> None:
    tables["totals"][event.stream] = tables["totals"].get(event.stream, 0) + event.data.amount


@program
def owner(name: str, waits: float) -> Do[Any, str]:
    yield from Sleep(waits)
    leases = yield from Claim(shared, name, 10.0)
    if not leases:
        return "waits"
    try:
        yield from synchronise_partition(shared, 0, 1, leases[0])
    except LostLease:
        return "lost it"
    return "applied"


def owners(
    store: MakeStore = SimulatedStore, views: MakeViews = lambda: SimulatedViews([shared])
) -> Scenario:
    """An owner of a partition is held up, for so long that another takes it over."""

    def is_right(after: After) -> None:
        owned = [step for step in after.steps if isinstance(step.op, Claim) and step.answer]
        for step in after.steps:
            if isinstance(step.op, Apply) and step.op.lease is not None and step.error is None:
                newest = max(its.answer[0].token for its in owned if its.began < step.began)
                assert step.op.lease.token == newest, f"{step.process} applied after it lost its lease"

    return Scenario(
        {"ann": owner("ann", 0.0), "bob": owner("bob", 60.0)},
        on=lambda: store() | views(),
        before=accounts[HOMER].append(Deposited(1)),
        holds=is_right,
    )


fragile: View[Tables] = View("fragile", prefix="accounts/")


@fragile.on(Deposited)
def _(tables: Tables, event: Recorded[Deposited]) -> None:
    tables["counts"][event.stream] = tables["counts"].get(event.stream, 0) + 1
    if event.data.amount == 13:
        raise ValueError("unlucky")
    tables["totals"][event.stream] = tables["totals"].get(event.stream, 0) + event.data.amount


def unlucky(
    store: MakeStore = SimulatedStore, views: MakeViews = lambda: SimulatedViews([fragile])
) -> Scenario:
    """An event cannot be applied, and two synchronisers meet it."""

    def is_right(after: After) -> None:
        homer, marge = accounts[HOMER].id, accounts[MARGE].id
        assert [(its.stream, its.version) for its in after.run(GetParked(fragile))] == [(homer, 2)]
        rows = after.run(Rows(fragile))
        assert rows == {"counts": {homer: 1, marge: 1}, "totals": {homer: 1, marge: 5}}

    return Scenario(
        {"here": synchronise(fragile), "there": synchronise(fragile)},
        on=lambda: store() | views(),
        before=gather(
            accounts[HOMER].append(*map(Deposited, (1, 13, 2))), accounts[MARGE].append(Deposited(5))
        ),
        holds=is_right,
        most_steps=200,
    )


ALL = [withdrawals, movements, spendings, followers, views_of, owners, unlucky]


@pytest.mark.parametrize("scenario", ALL, ids=lambda scenario: scenario.__name__)
def test_control_every_schedule_is_right_without_a_fault(scenario: Callable[[], Scenario]) -> None:
    found = scenario().explore()
    assert found.holds, found.story


# --- stores


class IgnoresVersions(SimulatedStore):
    """Appends whatever the version is."""

    def _append(self, asked: Prepared) -> Any:
        parts = tuple(attrs.evolve(part, expected=ANY) for part in asked.parts)
        return super()._append(attrs.evolve(asked, parts=parts))


class IgnoresConditions(SimulatedStore):
    """Appends whatever became of the streams that were only read."""

    def _append(self, asked: Prepared) -> Any:
        return super()._append(attrs.evolve(asked, demands=()))


class Put(Command[Any]):
    """The second half of an append that looks first."""

    op: Append


class LooksFirst(SimulatedStore):
    """Looks at the version, and then appends in another transaction."""

    @on(Append).program
    def append_in_two(self, op: Append) -> Do[Any, Any]:
        page = yield from Read(op.stream)
        if isinstance(op.expected, int) and op.expected != page.head:
            events = page.events[op.expected :]
            return Failure(Conflict(op.stream, op.expected, page.head, events))
        return (yield from Put(op))

    @on(Put)
    def put(self, op: Put) -> Any:
        return super().append(attrs.evolve(op.op, expected=ANY))  # type: ignore[misc]


class ForgetsIds(SimulatedStore):
    """Takes what is tried again for something new."""

    def _append(self, asked: Prepared) -> Any:
        self._appends.pop(asked.append_id, None)
        return super()._append(asked)


class ChecksRetries(SimulatedStore):
    """Refuses what is tried again and stored already, because the version is another by now."""

    def _append(self, asked: Prepared) -> Any:
        unmet = asked.unmet(self._version)
        return Failure(self._conflict(*unmet)) if unmet else super()._append(asked)


class AppendsByHalves(SimulatedStore):
    """Stores the first part of an append to several streams, and then finds the second in conflict."""

    def _append(self, asked: Prepared) -> Any:
        unmet = asked.unmet(self._version)
        if unmet is None or len(asked.parts) == 1:
            return super()._append(asked)
        super()._append(attrs.evolve(asked, parts=asked.parts[:1], demands=()))
        return Failure(self._conflict(*unmet))


class SkipsInTheFeed(SimulatedStore):
    """Goes on from the end of the feed rather than of the page."""

    @on(ReadFeed)
    def read_feed(self, op: ReadFeed) -> FeedPage[object]:
        page = super().read_feed(op)
        return attrs.evolve(page, next=page.end)


class RepeatsInTheFeed(SimulatedStore):
    """Goes on from the last event of a page rather than from after it."""

    @on(ReadFeed)
    def read_feed(self, op: ReadFeed) -> FeedPage[object]:
        at = op.after.position
        before = Cursor(self.store_id, at - 1) if at else START
        return super().read_feed(attrs.evolve(op, after=before))  # type: ignore[misc]


class CountsWrongly(SimulatedStore):
    """Tells the version before the append in place of the one after it."""

    def _append(self, asked: Prepared) -> Any:
        answer = super()._append(asked)
        if isinstance(answer, Success):
            done = answer.unwrap()
            versions = {stream: version - 1 for stream, version in done.token.versions.items()}
            return Success(attrs.evolve(done, token=Token(done.token.store_id, versions)))
        return answer


@pytest.mark.parametrize(
    ("store", "scenario"),
    [
        (IgnoresVersions, withdrawals),
        (LooksFirst, withdrawals),
        (ForgetsIds, withdrawals),
        (ChecksRetries, withdrawals),
        (CountsWrongly, withdrawals),
        (AppendsByHalves, movements),
        (IgnoresConditions, spendings),
        (SkipsInTheFeed, followers),
        (RepeatsInTheFeed, followers),
    ],
)
def test_a_store_with_a_fault_is_caught(
    store: type[SimulatedStore], scenario: Callable[..., Scenario]
) -> None:
    found = scenario(store).explore()
    assert not found.holds
    assert found.schedule is not None, found.story


def test_a_mutant_is_caught_by_chance_too() -> None:
    """Those that need a fault as well as an order, in fewer than a thousand runs."""
    for store in (ForgetsIds, ChecksRetries, LooksFirst):
        assert not withdrawals(store).sample(1_000, seed=1).holds


# --- views


class Moved(Command[None]):
    """How far a view has come is saved."""

    op: Apply


class Handled(Command[Applied]):
    """The handlers are given a page of events."""

    op: Apply


class CheckpointFirst(SimulatedViews):
    """Saves the place in the feed, and then applies what comes before it."""

    checkpoint_first = True

    @on(Apply).program
    def apply_in_two(self, op: Apply) -> Do[Any, Applied]:
        if self.checkpoint_first:
            yield from Moved(op)
            return (yield from Handled(op))
        done = yield from Handled(op)
        yield from Moved(op)
        return done

    @on(Moved)
    def moved(self, move: Moved) -> None:
        op = move.op
        with self.writing(op.view) as ledger:
            work = sort_out(ledger.guards([event.stream for event in op.events])[0], op.events)
            ledger.move(op.partition, work.applied, len(work.to_apply), op.cursor, None, 1, 0)

    @on(Handled)
    def handle(self, handled: Handled) -> Applied:
        op = handled.op
        with self.writing(op.view) as ledger:
            for event in op.events:
                op.view.apply(ledger.database, event)
        return Applied(len(op.events), 0)


class EffectsFirst(CheckpointFirst):
    """Applies events in one transaction, and remembers that in the next."""

    checkpoint_first = False


@pytest.mark.parametrize("views", [CheckpointFirst, EffectsFirst])
def test_a_view_that_applies_in_two_transactions_is_caught(views: type[SimulatedViews]) -> None:
    assert not views_of(views=lambda: views([totals])).explore().holds


def across_gaps(applied: Mapping[str, int], events: Sequence[Recorded[Any]], *_: Any) -> Sorted:
    """Applies what is newer, whether or not something is missing in between."""
    moved = dict(applied)
    to_apply = []
    for event in events:
        if event.version > moved.get(event.stream, 0):
            moved[event.stream] = event.version
            to_apply.append(event)
    return Sorted(tuple(to_apply), len(events) - len(to_apply), (), moved, {})


def again(applied: Mapping[str, int], events: Sequence[Recorded[Any]], *more: Any) -> Sorted:
    """Applies the event that was applied last once more: >= in place of >."""
    return sort_out({stream: max(version - 1, 0) for stream, version in applied.items()}, events, *more)


def silent(applied: Mapping[str, int], events: Sequence[Recorded[Any]], *more: Any) -> Sorted:
    """Leaves out what comes too early, and tells nobody that something is missing."""
    return attrs.evolve(sort_out(applied, events, *more), gaps=())


@pytest.mark.parametrize("guard", [across_gaps, again, silent])
def test_a_guard_with_a_fault_is_caught(guard: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_applying, "sort_out", guard)
    assert not views_of().explore().holds


def test_a_lease_whose_token_nobody_compares_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryLedger, "begin", lambda *_, **__: None)
    found = owners().explore()
    assert not found.holds
    assert "applied after it lost its lease" in found.story


def test_what_a_handler_wrote_before_it_failed_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def no_transaction(_: Tables) -> Iterator[None]:
        yield

    monkeypatch.setattr(Tables, "transaction", no_transaction)
    assert not unlucky().explore().holds


def let_go(views: SimulatedViews, op: Apply, done: Applied, *, is_applied: bool) -> None:
    """Parks the streams of events that failed no more, as if these were applied or had not come."""
    with views.writing(op.view) as ledger:
        for failed in done.failed:
            ledger.move_guards({failed.stream: 10**6})
            ledger.unpark(failed.stream)
            ledger.move_guards({failed.stream: failed.version - (not is_applied)})


class ParksNothing(SimulatedViews):
    """Forgets to hold back the stream of an event that failed."""

    @on(Apply)
    def apply(self, op: Apply) -> Applied:
        done = super().apply(op)
        let_go(self, op, done, is_applied=False)
        return done


class Swallows(SimulatedViews):
    """Takes an event that failed for one that is applied."""

    @on(Apply)
    def apply(self, op: Apply) -> Applied:
        done = super().apply(op)
        if not done.failed:
            return done
        let_go(self, op, done, is_applied=True)
        return self.apply(op)


@pytest.mark.parametrize("views", [ParksNothing, Swallows])
def test_views_that_do_not_park_what_failed_are_caught(views: type[SimulatedViews]) -> None:
    assert not unlucky(views=lambda: views([fragile])).explore().holds


# --- decisions


def test_a_decision_that_is_tried_again_under_another_id_is_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def settle(wanted: Append, _outcome: Any, _deadline: float) -> Do[Append, Any]:
        return (yield from Append(wanted.stream, wanted.events))

    monkeypatch.setattr(decide, "settle", settle)
    assert not withdrawals().explore().holds


def test_a_decision_that_is_not_made_anew_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def keep_the_state(_fold: Any, folded: Any, conflict: Conflict) -> Do[Read, Any]:
        yield from Read(conflict.stream)
        return attrs.evolve(folded, version=conflict.actual)

    monkeypatch.setattr(decide, "_caught_up", keep_the_state)
    assert not withdrawals().explore().holds

"""Deciding over several streams: nothing that was read has changed when the append is stored."""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from itertools import count
from typing import Any, TypeAlias
from uuid import UUID

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from returns.result import Failure, Success

from eventsrc import (
    ANY,
    EXISTS,
    NO_STREAM,
    Append,
    AppendAll,
    Appended,
    Command,
    Conflict,
    Do,
    Effect,
    Fold,
    Interpreter,
    MemoryStore,
    Operation,
    Outcome,
    Program,
    Query,
    Read,
    ReadFeed,
    Sleep,
    Snapshots,
    SqliteStore,
    StoreOp,
    Stream,
    StreamAppend,
    Token,
    Translation,
    Try,
    Unknown,
    event,
    gather,
    on,
    program,
    trace,
    world,
)
from eventsrc.errors import NotSerializable, NotSerialized
from eventsrc.programs._loop import loop
from eventsrc.programs.program import intercept
from eventsrc.programs.world import Chance, Elapsed
from eventsrc.stores.operations import Condition, Expected
from eventsrc.streams.fold import LATEST_SNAPSHOT, Folded
from eventsrc.streams.remembering import remembering
from eventsrc.streams.serializable import serializable
from tests.kits.counting import SimulatedWorld


@event("test.moved")
class Moved:
    """Money came to an account, or (negative) went."""

    amount: int


App: TypeAlias = StoreOp | Elapsed | Chance | Sleep
balance: Fold[int, Moved] = Fold(0, lambda so_far, event: so_far + event.amount)
left: Stream[Moved] = Stream("accounts/left", events=Moved)
right: Stream[Moved] = Stream("accounts/right", events=Moved)


@program
def withdraw(account: Stream[Moved], amount: int) -> Try[App, Appended, str]:
    """Takes money from one of two accounts that together must not be overdrawn."""
    mine = yield from account.get(balance)
    other = yield from (right if account is left else left).get(balance)
    if mine.state + other.state < amount:
        return Failure("too little")
    outcome = yield from account.append_at(mine.version, Moved(-amount))
    match outcome:
        case Success(appended):
            return Success(appended)
        case Failure():
            return Failure("somebody was faster")


@program
def withdraw_by_decision(account: Stream[Moved], amount: int) -> Try[App, Any, str]:
    """The same, by a decision about one account that depends on the other."""
    other = yield from (right if account is left else left).get(balance)

    def decider(mine: int) -> Outcome[Sequence[Moved], str]:
        return Failure("too little") if mine + other.state < amount else Success([Moved(-amount)])

    return (yield from account.decide(balance, decider))


class Withdraw(Command[Outcome[Appended, str]]):
    """The same, as a command of the service."""

    account: Stream[Moved]
    amount: int


class Balance(Query[Folded[int]]):
    """Which uses a query of the service."""

    account: Stream[Moved]


class Commands(Translation[Withdraw, App | Balance]):
    @on(Withdraw).program
    def withdraw(self, op: Withdraw) -> Try[App | Balance, Appended, str]:
        other = yield from Balance(right if op.account is left else left)
        mine = yield from Balance(op.account)
        if mine.state + other.state < op.amount:
            return Failure("too little")
        outcome = yield from op.account.append_at(mine.version, Moved(-op.amount))
        return Success(outcome.unwrap())


class Queries(Translation[Balance, StoreOp]):
    @on(Balance).program
    def balance(self, op: Balance) -> Program[StoreOp, Folded[int]]:
        return op.account.get(balance)


def served(app: Interpreter[App]) -> Interpreter[App | Withdraw]:
    """An application of layers, with something around its commands."""
    commands = Commands().into(app | Queries().into(app)).around(pure_around)
    return app | commands


@program
def pure_around(op: Withdraw) -> Do[Withdraw, Any]:
    return (yield from op)


def plain(effect: Effect[App, Any]) -> Effect[App, Any]:
    """The control: the program as it is."""
    return effect


SERVICES = [withdraw, withdraw_by_decision, Withdraw]


@pytest.fixture
def store() -> MemoryStore:
    return funded()


def funded() -> MemoryStore:
    store = MemoryStore()
    store.run(left.append(Moved(50)))
    store.run(right.append(Moved(50)))
    return store


def money(store: Interpreter[StoreOp]) -> int:
    folded = store.run(gather(left.get(balance), right.get(balance)))
    return folded[0].state + folded[1].state


# --- a double spend -------------------------------------------------------------------------------


class Rival:
    """Has something done before the nth operation of a run."""

    def __init__(self, store: Interpreter[StoreOp], before: int, action: Program[StoreOp, Any]) -> None:
        self.numbers = count()
        self.store, self.before, self.action = store, before, action

    def __call__(self, op: Any) -> Any:
        if next(self.numbers) == self.before:
            self.store.run(self.action)
        return op


@pytest.mark.parametrize("service", SERVICES)
def test_whenever_a_rival_spends_the_money_is_not_spent_twice(service: Any) -> None:
    broken = 0
    for wrap in (serializable, plain):
        for before in range(4):
            store = funded()
            rival = Rival(store, before, right.append(Moved(-80)))
            app = served(store.around(rival, only=(Read, Append, AppendAll)) | SimulatedWorld())
            outcome = app.run(wrap(service(left, 80)))
            if wrap is serializable:
                assert money(store) >= 0
                assert isinstance(outcome, Failure) == (rival.before < next(rival.numbers))
            broken += money(store) < 0
    assert broken > 0  # the control is seen to overdraw


def interleaved(app: Any, programs: list[Program[App, Any]], schedule: list[int]) -> list[Any]:
    """Runs programs a step at a time, each step by the next number of the schedule."""
    running = dict(enumerate(loop(p, app._scope, False) for p in programs))
    asked: dict[int, Any] = {index: next(running[index]) for index in running}
    results: list[Any] = [None] * len(programs)
    turns = iter(schedule)
    while running:
        index = list(running)[next(turns, 0) % len(running)]
        handler, op = asked[index]
        try:
            asked[index] = running[index].send(handler(op))
        except StopIteration as stop:
            results[index] = stop.value
            del running[index]
    return results


schedules = st.lists(st.integers(0, 1), max_size=30)


@pytest.mark.parametrize("service", SERVICES)
def test_in_every_interleaving_of_two_only_one_gets_the_money(service: Any) -> None:
    seen: set[int] = set()

    @given(schedules, st.booleans())
    def check(schedule: list[int], cached: bool) -> None:
        store = funded()
        loading = remembering(store) if cached else store
        app = served(loading | SimulatedWorld())
        programs = [serializable(service(account, 80)) for account in (left, right)]
        results = interleaved(app, programs, schedule)
        assert money(store) == 20
        assert sorted(isinstance(result, Success) for result in results) == [False, True]

        control = funded()
        interleaved(
            served(control | SimulatedWorld()), [service(left, 80), service(right, 80)], schedule
        )
        seen.add(money(control))

    check()
    assert -60 in seen  # the control


def test_threads_on_sqlite_do_not_spend_twice(tmp_path: object) -> None:
    with SqliteStore(f"{tmp_path}/log.db") as store:
        app = store | world
        app.run(left.append(Moved(50)))
        app.run(right.append(Moved(50)))
        start = threading.Barrier(4)
        outcomes: list[Any] = []

        def spend(account: Stream[Moved]) -> None:
            start.wait(30)
            for _ in range(10):
                outcomes.append(app.run(serializable(withdraw(account, 7), within=60)))  # noqa: PERF401

        threads = [threading.Thread(target=spend, args=(account,)) for account in (left, right) * 2]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert len(outcomes) == 40
        assert sum(isinstance(outcome, Success) for outcome in outcomes) == 14
        assert {o.failure() for o in outcomes if isinstance(o, Failure)} == {"too little"}
        assert money(store) == 2


# --- what it performs -----------------------------------------------------------------------------


def test_the_append_is_conditional_on_every_stream_that_was_read(store: MemoryStore) -> None:
    traced = trace(store | world, serializable(withdraw(left, 80)))
    writes = [op for op in traced.operations() if isinstance(op, AppendAll)]
    assert writes == [AppendAll((StreamAppend(left.id, (Moved(-80),), 1),), (Condition(right.id, 1),))]


@program
def append_having_read(
    stream: Stream[Moved], expected: Expected
) -> Do[StoreOp, Outcome[Appended, Any]]:
    yield from stream.head()
    return (yield from Append(stream.id, (Moved(1),), expected))


def test_a_program_that_reads_only_where_it_writes_appends_plainly_at_the_version_read(
    store: MemoryStore,
) -> None:
    traced = trace(store | world, serializable(append_having_read(left, ANY)))
    assert traced.operations()[-1] == Append(left.id, (Moved(1),), 1)


@pytest.mark.parametrize("expected", [ANY, EXISTS, 1])
def test_a_change_of_what_was_read_runs_the_program_again(
    store: MemoryStore, expected: Expected
) -> None:
    rival = Rival(store, 1, left.append(Moved(1)))
    app = store.around(rival, only=Operation) | SimulatedWorld()
    outcome = app.run(serializable(append_having_read(left, expected)))
    assert isinstance(outcome, Failure) == (expected == 1)
    assert store.run(left.head()) == (2 if expected == 1 else 3)


@pytest.mark.parametrize("expected", [NO_STREAM, 0, 5, Token("here", {left.id: 4})])
def test_a_conflict_with_what_the_program_expects_is_answered_as_ever(expected: Expected) -> None:
    store = MemoryStore(store_id="here")
    store.run(left.append(Moved(50)))
    app = store | world
    answers = [
        app.run(serializable(append_having_read(left, expected))),
        app.run(serializable(_only_append(expected))),
        app.run(Append(left.id, (Moved(1),), expected)),
    ]
    conflicts: list[Any] = [answer.failure() for answer in answers]
    assert [(c.stream, c.expected, c.actual) for c in conflicts] == [
        (left.id, 4 if isinstance(expected, Token) else expected, 1)
    ] * 3
    assert store.run(left.head()) == 1


@program
def _only_append(expected: Expected) -> Do[StoreOp, Outcome[Appended, Any]]:
    return (yield from Append(left.id, (Moved(1),), expected))


def test_a_stream_that_did_not_exist_when_it_was_read_does_not_exist_for_the_append() -> None:
    store = MemoryStore()
    rival = Rival(store, 1, left.append(Moved(1)))
    app = store.around(rival, only=Append) | world
    outcome = app.run(serializable(append_having_read(left, EXISTS)))
    assert outcome == Failure(Conflict(left.id, EXISTS, 0))


def test_a_second_write_is_refused_with_the_remedy(store: MemoryStore) -> None:
    @program
    def twice() -> Do[StoreOp, None]:
        yield from left.append(Moved(1))
        yield from right.append(Moved(1))

    with pytest.raises(NotSerializable, match="make it one AppendAll with the first"):
        (store | world).run(serializable(twice()))
    assert store.run(right.head()) == 1


def test_reading_the_feed_is_refused_with_the_remedy(store: MemoryStore) -> None:
    with pytest.raises(NotSerializable, match="read the streams"):
        (store | world).run(serializable(ReadFeed()))


def test_at_the_deadline_the_error_names_the_conflict_and_its_events(store: MemoryStore) -> None:
    def interfering(op: Append) -> Any:
        store.run(right.append(Moved(3)))
        return op

    app = store.around(interfering, only=(Append, AppendAll)) | SimulatedWorld(tick=0.01)
    with pytest.raises(NotSerialized, match=r"accounts/right was read at .* test\.moved") as caught:
        app.run(serializable(withdraw(left, 80), within=1))
    assert caught.value.conflict.stream == right.id
    assert [event.data for event in caught.value.conflict.events] == [Moved(3)]
    assert caught.value.attempts > 2
    assert store.run(left.head()) == 1


def test_a_program_that_only_reads_sees_several_streams_as_they_were_at_one_moment() -> None:
    for wrap, expected in ((serializable, {100}), (plain, {100, 120})):
        seen: set[int] = set()
        for before in range(5):
            store = funded()
            moved = AppendAll(
                (StreamAppend(left.id, (Moved(-20),)), StreamAppend(right.id, (Moved(20),)))
            )
            app = store.around(Rival(store, before, _performed(moved))) | SimulatedWorld()
            both = app.run(wrap(_sum()))
            seen.add(both)
        assert seen == expected  # the second is the control


@program
def _performed(op: Any) -> Do[Any, Any]:
    return (yield from op)


@program
def _sum() -> Do[App, int]:
    return (yield from left.get(balance)).state + (yield from right.get(balance)).state


def test_an_append_whose_answer_was_lost_is_made_again_and_stored_once(store: MemoryStore) -> None:
    class Forgetful(Interpreter[AppendAll]):
        lost = 0

        @on(AppendAll)
        def append_all(self, op: AppendAll) -> Outcome[Appended, Any]:
            outcome = store.run(attrs_with_id(op))
            self.lost += 1
            if self.lost == 1:
                return Failure(Unknown(UUID(int=7), "lost"))
            return outcome

    def attrs_with_id(op: AppendAll) -> AppendAll:
        return AppendAll(op.appends, op.conditions, op.append_id or UUID(int=7), op.metadata)

    app = store.but(Forgetful()) | SimulatedWorld()
    assert isinstance(app.run(serializable(withdraw_by_decision(left, 80))), Success)
    assert money(store) == 20


def test_it_works_inside_and_around_intercept(store: MemoryStore) -> None:
    seen: list[str] = []

    def noting(op: Any) -> Generator[Any, Any, Any]:
        seen.append(type(op).__name__)
        return (yield from op)

    app = store | world
    assert isinstance(app.run(serializable(intercept(withdraw(left, 10), noting))), Success)
    assert seen == ["Read", "Read", "Append"]
    seen.clear()
    assert isinstance(app.run(intercept(serializable(withdraw(left, 10)), noting)), Success)
    assert seen == ["Elapsed", "Read", "Read", "AppendAll"]


def test_one_within_another_runs_the_outer_again_when_what_that_read_has_changed() -> None:
    store = funded()

    @program
    def outer() -> Do[App, Any]:
        yield from right.head()
        return (yield from serializable(append_having_read(left, ANY)))

    rival = Rival(store, 2, right.append(Moved(1)))
    app = store.around(rival) | SimulatedWorld()
    assert isinstance(app.run(serializable(outer())), Success)
    assert store.run(left.head()) == 2


def test_the_programs_own_except_lets_a_change_pass_and_its_finally_is_run(
    store: MemoryStore,
) -> None:
    ended: list[int] = []

    @program
    def careful() -> Do[App, Any]:
        try:
            yield from right.head()
            return (yield from append_having_read(left, ANY))
        except Exception as error:
            return error
        finally:
            ended.append(1)

    app = store.around(Rival(store, 2, right.append(Moved(1)))) | SimulatedWorld()
    assert isinstance(app.run(serializable(careful())), Success)
    assert ended == [1, 1]


def test_a_state_of_the_newest_snapshot_is_brought_up_to_date(store: MemoryStore) -> None:
    kept = attrs.evolve(balance, snapshots=Snapshots("balance", of=int, every=1))
    store.run(left.get(kept))
    store.run(left.append(Moved(1)))

    @program
    def halve() -> Do[StoreOp, Appended]:
        found = yield from left.get(kept, LATEST_SNAPSHOT)
        return (yield from right.append(Moved(found.state)))

    assert store.run(left.get(kept, LATEST_SNAPSHOT)).state == 50
    (store | world).run(serializable(halve()))
    assert store.run(right.get(balance)).state == 50 + 51


def test_reads_side_by_side_are_part_of_what_was_read(store: MemoryStore) -> None:
    @program
    def join() -> Do[StoreOp, Appended]:
        both = yield from gather(left.get(balance), right.get(balance))
        return (yield from left.append(Moved(both[1].state)))

    rival = Rival(store, 0, right.append(Moved(7)))
    app = store.around(rival, only=AppendAll) | SimulatedWorld()
    app.run(serializable(join()))
    assert store.run(left.get(balance)).state == 50 + 57


def test_a_program_that_sees_its_own_lost_append_is_not_run_again(store: MemoryStore) -> None:
    class Silent(Interpreter[Append]):
        @on(Append)
        def append(self, op: Append) -> Outcome[Appended, Any]:
            return Failure(Unknown(store.run(op).unwrap().append_id, "lost"))

    @program
    def look_again() -> Do[StoreOp, tuple[int, int]]:
        before = yield from left.head()
        yield from Append(left.id, (Moved(1),))
        return before, (yield from left.head())

    app = store.but(Silent()) | world
    assert app.run(serializable(look_again())) == (1, 2)
    assert store.run(left.head()) == 2

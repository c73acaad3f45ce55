"""Runs are recorded, and run again without a store; what changed code does differently is told."""

from __future__ import annotations

import asyncio
import datetime as dt
import enum
import json
import logging
import threading
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventsrc import (
    Append,
    Do,
    Failure,
    Interpreter,
    MemoryStore,
    NotStorable,
    Read,
    StreamId,
    Success,
    Try,
    event,
    gather,
    on,
    program,
    world,
)
from eventsrc.operation import Command, Query
from eventsrc.plain import Lost, NotPlain, Plain, Text
from eventsrc.recording import MASKED, NotHidden, Recorder, hiding
from eventsrc.store import StoreOp
from eventsrc.testing import replay
from eventsrc.testing.replaying import NotARecording
from eventsrc.testing.samples import Held, Noted
from eventsrc.world import Chance, NewId, Now, Sleep, World
from tests.testing.shops import (
    HOMER,
    MARGE,
    AccountId,
    Deposited,
    TooLittle,
    Withdrawn,
    accounts,
    balance_of,
    spend,
    withdraw,
)

KEY = b"sixteen bytes at least"
ME = __name__


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.jsonl"


@pytest.fixture
def app() -> Interpreter[Any]:
    store = MemoryStore()
    store.run(accounts[HOMER].append(Deposited(100), Deposited(20)))
    store.run(accounts[MARGE].append(Deposited(5)))
    return store | world


# --- runs that are the same again


@program
def restless() -> Do[World | StoreOp, Any]:
    yield from Sleep(0.0)
    when, who, chance = (yield from Now()), (yield from NewId()), (yield from Chance())
    both = yield from gather(Read(accounts[HOMER].id), balance_of(MARGE))
    return when, who, chance, both[1]


def test_a_run_of_unchanged_code_is_the_same_without_a_store(path: Path, app: Interpreter[Any]) -> None:
    recorder = Recorder(path, failing="raise")
    assert recorder.run(app, withdraw(HOMER, 60)) == Success(None)
    assert recorder.run(app, withdraw(HOMER, 100)) == Failure(TooLittle(60))
    recorder.run(app, spend(HOMER, MARGE, 30))
    recorder.run(app, restless())
    recorder.run(app, Read(accounts[HOMER].id))
    with pytest.raises(NotStorable):
        recorder.run(app, accounts[HOMER].append(Deposited(None)))  # type: ignore[arg-type]
    replayed = replay(path)
    assert replayed.same, replayed.story
    assert len(replayed.runs) == 6


def test_runs_in_an_event_loop_and_in_threads_are_recorded_whole(
    path: Path, app: Interpreter[Any]
) -> None:
    recorder = Recorder(path, failing="raise")
    asyncio.run(recorder.run_async(app, withdraw(HOMER, 1)))
    threads = [threading.Thread(target=recorder.run, args=(app, withdraw(HOMER, 1))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    replayed = replay(path)
    assert len(replayed.runs) == 9
    assert replayed.same, replayed.story


@program
def fails(text: str) -> Do[StoreOp, None]:
    yield from Read(accounts[HOMER].id)
    raise LookupError(text)


def test_an_exception_is_part_of_a_run(path: Path, app: Interpreter[Any]) -> None:
    with pytest.raises(LookupError):
        Recorder(path).run(app, fails("nobody"))
    assert replay(path).same
    changed = replay(path, names={f"{ME}:fails": fails_otherwise})
    assert not changed.same
    assert "raises KeyError" in changed.story or "exception" in changed.story


@program
def fails_otherwise(text: str) -> Do[StoreOp, None]:
    yield from Read(accounts[HOMER].id)
    raise KeyError(text)


# --- changed code


@program
def pay(account: AccountId, amount: int) -> Try[StoreOp, TooLittle, int]:
    """As it was recorded."""
    page = yield from Read(accounts[account].id)
    yield from Append(accounts[account].id, (Withdrawn(amount),), page.head)
    return Success(amount)


@program
def pay_more(account: AccountId, amount: int) -> Try[StoreOp, TooLittle, int]:
    """Takes a fee."""
    page = yield from Read(accounts[account].id)
    yield from Append(accounts[account].id, (Withdrawn(amount + 1),), page.head)
    return Success(amount + 1)


@program
def pay_in_two(account: AccountId, amount: int) -> Try[StoreOp, TooLittle, int]:
    """Appends two events in place of one."""
    page = yield from Read(accounts[account].id)
    yield from Append(accounts[account].id, (Withdrawn(amount), Withdrawn(1)), page.head)
    return Success(amount)


@program
def pay_by_pages(account: AccountId, amount: int) -> Try[StoreOp, TooLittle, int]:
    """Reads the same stream otherwise."""
    newest = yield from Read(accounts[account].id, limit=1, backwards=True)
    first = yield from Read(accounts[account].id, limit=1)
    second = yield from Read(accounts[account].id, after=1)
    assert [*first.data, *second.data][-1] == newest.data[0]
    yield from Append(accounts[account].id, (Withdrawn(amount),), second.head)
    return Success(amount)


@program
def pay_nothing(account: AccountId, amount: int) -> Try[StoreOp, TooLittle, int]:
    """Reads, and forgets to append."""
    yield from Read(accounts[account].id)
    return Success(amount)


@program
def pay_elsewhere(account: AccountId, amount: int) -> Try[StoreOp, TooLittle, int]:
    """Reads what was never read."""
    yield from Read(accounts[MARGE].id)
    return Success(amount)


@pytest.mark.parametrize(
    ("now", "told"),
    [
        (pay_by_pages, []),
        (
            pay_more,
            ["Append.events[0].amount: 60 was expected, and it is 61", "the answer.success: 60 was"],
        ),
        (pay_in_two, ["Append.events[1]: Withdrawn(amount=1) was not expected", "was not recorded"]),
        (pay_nothing, ["it no longer appends Withdrawn(amount=60) to accounts/homer at version 2"]),
        (
            pay_elsewhere,
            ["it reads accounts/marge, which was not recorded; then it was reads accounts/homer"],
        ),
    ],
)
def test_what_changed_code_does_differently_is_told(
    path: Path, app: Interpreter[Any], now: Callable[..., Any], told: list[str]
) -> None:
    Recorder(path, failing="raise").run(app, pay(HOMER, 60))
    replayed = replay(path, names={f"{ME}:pay": now})
    assert replayed.same == (not told)
    for line in told:
        assert line in replayed.story, replayed.story


class Notify(Command[None]):
    """An operation of the application."""

    text: str


class Limit(Query[int]):
    """A service's operation, which means reads of the store."""

    account: AccountId


@on(Limit).expand
def limits(op: Limit) -> Any:
    return balance_of(op.account)


@program
def pay_within_limits(account: AccountId, amount: int) -> Do[Limit | Notify | StoreOp, bool]:
    if amount > (yield from Limit(account)):
        yield from Notify("too much")
        return False
    yield from accounts[account].append(Withdrawn(amount))
    return True


def layered(lower: Interpreter[Any]) -> Interpreter[Any]:
    return lower.but(limits.into(lower))


def test_services_are_replayed_over_their_layers(path: Path, app: Interpreter[Any]) -> None:
    said: list[str] = []
    whole = limits.into(app) | app | on(Notify).run(lambda op: said.append(op.text))
    recorder = Recorder(path, failing="raise")
    assert recorder.run(whole, pay_within_limits(HOMER, 500)) is False
    assert recorder.run(whole, pay_within_limits(HOMER, 50)) is True
    replayed = replay(path, on=layered)
    assert replayed.same, replayed.story
    assert said == ["too much"], "nothing is done by a replay"


# --- hiding


@event("replaying.email-set")
class EmailSet:
    email: str


@program
def set_email(user: str, email: str) -> Do[StoreOp, bool]:
    stream = StreamId(f"emails/{user}")
    page = yield from Read(stream)
    if any(event.email == email for event in page.data):
        return False
    yield from Append(stream, (EmailSet(email),), page.head, metadata={"email": email})
    return True


def test_what_is_hidden_is_nowhere_in_the_file_and_does_as_before(
    path: Path, app: Interpreter[Any]
) -> None:
    mask = hiding("email", key=KEY)
    recorder = Recorder(path, mask=mask, failing="raise")
    for email in ("homer@home.example", "homer@home.example", "max@home.example"):
        recorder.run(app, set_email("1", email=email))
    recorder.run(app, set_email("1", "homer@home.example"))
    text = path.read_text()
    assert "home.example" not in text
    assert text.count(MASKED) > 10
    assert replay(path, mask=mask).same
    assert replay(path).same


def test_a_key_that_is_found_by_trying_is_refused() -> None:
    with pytest.raises(ValueError, match="16 or more"):
        hiding("email", key=b"short")


def test_what_is_no_text_is_not_hidden_and_says_so(path: Path, app: Interpreter[Any]) -> None:
    recorder = Recorder(path, mask=hiding("amount", key=KEY), failing="raise")
    with pytest.raises(NotHidden, match="amount is of type int"):
        recorder.run(app, withdraw(HOMER, 1))


# --- what cannot be recorded


@attrs.frozen
class Connection:
    """Something with state."""

    handle: object


@program
def uses(connection: Any) -> Do[StoreOp, int]:
    return (yield from Read(accounts[HOMER].id)).head


def test_a_run_with_what_cannot_be_written_goes_on_and_is_told(
    path: Path, app: Interpreter[Any], caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder(path)
    with caplog.at_level(logging.ERROR, "eventsrc"):
        assert recorder.run(app, uses(Connection(object()))) == 2
    assert recorder.unwritten == 1
    assert "argument connection.handle" in caplog.text
    assert "name its type in `opaque`" in caplog.text
    with pytest.raises(NotPlain):
        Recorder(path, failing="raise").run(app, uses(Connection(object())))
    assert not path.exists()


def test_what_is_opaque_is_kept_as_text(path: Path, app: Interpreter[Any]) -> None:
    Recorder(path, opaque=(Connection,), failing="raise").run(app, uses(Connection(object())))
    assert replay(path, opaque=(Connection,)).same
    assert Plain().make(json.loads(path.read_text())["program"]["of"][0]) != Text("")


def test_another_file_is_refused_with_its_line(path: Path) -> None:
    path.write_text("Dear diary\n")
    with pytest.raises(NotARecording, match="line 1 is none of a recording"):
        replay(path)
    path.write_text('{"eventsrc": 99}\n')
    with pytest.raises(NotARecording, match="version 99, and this reads version 1"):
        replay(path)


def test_a_program_that_is_gone_is_told_with_the_remedy(path: Path, app: Interpreter[Any]) -> None:
    Recorder(path).run(app, pay(HOMER, 60))
    path.write_text(path.read_text().replace(f"{ME}:pay", f"{ME}:gone"))
    assert "names={" in replay(path).story


# --- values


class Colour(enum.Enum):
    RED = 1


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.uuids()
    | st.decimals(allow_nan=False)
    | st.datetimes(timezones=st.none() | st.just(dt.UTC))
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.sampled_from([Colour.RED, StreamId("a/b"), Deposited(3), TooLittle(1), Noted("x"), Noted])
    | st.builds(Append, st.just(StreamId("a")), st.just((Deposited(1),)), st.integers(0, 3)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text() | st.integers(), inner, max_size=3)
        | inner.map(Success)
        | inner.map(Failure)
        | inner.map(Held)
    ),
    max_leaves=6,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(values)
def test_a_value_that_is_written_comes_back(value: Any) -> None:
    written = json.loads(json.dumps(Plain().write(value)))
    back = Plain().make(written)
    assert back == value
    assert type(back) is type(value)


def test_an_event_that_was_read_comes_back_whole(app: Interpreter[Any]) -> None:
    for whole in (True, False):
        page = app.run(Read(accounts[HOMER].id, whole=whole))
        back = Plain().make(json.loads(json.dumps(Plain().write(page))))
        assert [event.data for event in back.events] == [event.data for event in page.events]
        assert (back.head, back.token) == (page.head, page.token)
        if whole:
            assert tuple(back.events) == tuple(page.events)


def test_a_field_that_is_gone_is_left_out_and_one_that_is_new_is_told() -> None:
    written = Plain().write(Deposited(3))
    written["of"]["currency"] = "EUR"
    assert Plain().make(written) == Deposited(3)
    del written["of"]["amount"]
    with pytest.raises(Lost, match="other fields now"):
        Plain().make(written)
    assert Plain().make(Plain().write(Decimal("1.50"))) == Decimal("1.50")
    assert Plain().make(Plain().write(UUID(int=1))) == UUID(int=1)

"""Faults of DynamoDB and of the way to it: nothing is lost, nothing is stored twice, every call ends.

A table is judged by a scan. Most faults are of a client that stands in for the network, since no
emulator has them.
"""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
from returns.result import Failure, Success

from eventsrc import (
    NO_STREAM,
    START,
    Append,
    AppendAll,
    Appended,
    Head,
    Read,
    ReadFeed,
    StreamAppend,
    StreamId,
    event,
)
from eventsrc.aws import DynamoStore
from eventsrc.aws._appending import Appending
from eventsrc.aws._items import part_of
from eventsrc.aws._reading import Reading
from eventsrc.errors import Corrupted, StoreBusy, StoreError, StoreReadOnly, Unreachable
from eventsrc.events.pages import Events
from eventsrc.stores.operations import (
    FindAppend,
    LoadSnapshot,
    Rejected,
    SaveSnapshot,
    Snapshot,
    Unknown,
)
from eventsrc.stores.prepare import page_of
from tests.faults import scaled
from tests.servers import judging
from tests.servers.distant import Distant, Network, lost, refusal, unsent
from tests.servers.tables import Tables


@event("tests.servers.said")
class Said:
    text: str


def said(*texts: str) -> tuple[Said, ...]:
    return tuple(map(Said, texts))


@contextmanager
def opened(tables: Tables, table: str, network: Network, **options: Any) -> Iterator[DynamoStore]:
    """A store behind a network."""
    client = tables.new_client(timeout=0.4) if "timeout" in options else tables.client
    with DynamoStore(Distant(client, network), table, **{"timeout": 20, **options}) as store:
        yield store


def at_once(*works: Callable[[], object]) -> None:
    """Does several things at once; raises the first error of any."""
    errors: list[BaseException] = []

    def run(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    if errors:
        raise errors[0]
    assert not any(thread.is_alive() for thread in threads)


# --- answers that get lost ------------------------------------------------------------------------


def lose_answers(tables: Tables, table: str, network: Network, seed: int) -> list[str]:
    """Several threads append while answers get lost; answers what is wrong with the table then."""
    acknowledged: list[str] = []
    unknown: list[tuple[str, UUID]] = []

    def write(store: DynamoStore, writer: int) -> None:
        dice = random.Random(seed * 100 + writer)
        for n in range(scaled(12, 100)):
            text = f"{writer}.{n}"
            stream = StreamId(f"s/{dice.randrange(5)}")
            asked = Append(stream, said(text), append_id=uuid4() if dice.random() < 0.5 else None)
            match store.run(asked):
                case Success(Appended()):
                    acknowledged.append(text)
                case Failure(Unknown(append_id=append_id)):
                    unknown.append((text, append_id))
                case other:
                    raise AssertionError(other)

    with ExitStack() as stack:
        stores = [stack.enter_context(opened(tables, table, network)) for _ in range(2)]
        at_once(
            *[
                partial(write, store, writer * 2 + nth)
                for nth, store in enumerate(stores)
                for writer in range(3)
            ]
        )
    with DynamoStore(tables.client, table) as store:
        for text, append_id in unknown:
            if store.run(FindAppend(append_id)) is not None:
                acknowledged.append(text)
    found = judging.scan(tables.client, table)
    wrong = judging.faults(found, acknowledged)
    return wrong + [
        f"{text} is there, and nobody knows" for text in found.texts.keys() - {*acknowledged}
    ]


@pytest.mark.parametrize("has_tokens", [True, False], ids=["tokens", "forgotten tokens"])
def test_answers_that_get_lost_lose_nothing_and_double_nothing(
    tables: Tables, has_tokens: bool
) -> None:
    network = Network(lost=0.3, has_tokens=has_tokens, dice=random.Random(1))
    assert lose_answers(tables, tables.new(), network, 1) == []


def test_control_a_lost_answer_that_is_taken_for_a_refusal_doubles(
    quick: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Appending, "_settle", lambda *_: False)
    wrong = lose_answers(quick, quick.new(), Network(lost=0.5, dice=random.Random(1)), 1)
    assert any("times" in line or "nobody knows" in line for line in wrong)


def test_an_append_that_cannot_be_settled_by_the_deadline_is_unknown_and_settled_later(
    quick: Tables,
) -> None:
    table, stream, broken = quick.new(), StreamId("a"), [False]

    def refuse(call: str, _: Any) -> Exception | None:
        return lost() if broken[0] else None

    network = Network(refuse=refuse)
    with opened(quick, table, network, timeout=0.5) as store:
        assert isinstance(store.run(Append(stream, said("1"))), Success)
        broken[0] = True
        chosen = Append(stream, said("2"), append_id=uuid4())
        answers = [store.run(chosen), store.run(Append(stream, said("3")))]
        broken[0] = False
        ids: list[UUID] = []
        for answer in answers:
            unknown = answer.failure()
            assert isinstance(unknown, Unknown)
            assert store.run(FindAppend(unknown.append_id)) is None
            ids.append(unknown.append_id)
        assert isinstance(store.run(chosen), Success)
        again = Append(stream, said("3"), append_id=ids[1])
        assert store.run(again) == store.run(again)
    assert judging.faults(judging.scan(quick.client, table), "123") == []


# --- transactions that become visible item by item ------------------------------------------------


class Watched:
    """Readers of several sorts, and everything that they saw which cannot be."""

    def __init__(self) -> None:
        self.wrong: list[str] = []
        self.delivered: list[str] = []

    def follow(self, store: DynamoStore, done: threading.Event) -> None:
        """Follows the feed."""
        cursor = START
        while True:
            is_last = done.is_set()
            page = store.run(ReadFeed(cursor, 1000))
            positions = [one.position for one in page.events]
            if positions != [*range(cursor.position + 1, page.next.position + 1)]:
                self.wrong.append(f"the feed skips from {cursor.position} to {positions}")
            self.delivered += [one.data.text for one in page.events]
            cursor = page.next
            if is_last and cursor == page.end:
                return

    def read(self, store: DynamoStore, done: threading.Event) -> None:
        """Reads streams, and looks at the two that are always appended to together."""
        before = 0
        while not done.is_set():
            page = store.run(Read(StreamId("hot"), limit=10_000))
            versions = [one.version for one in page.events]
            if versions != [*range(1, len(versions) + 1)] or len(versions) < before:
                self.wrong.append(f"a stream has a hole: {versions}")
            before = len(versions)
            head = store.run(Head(StreamId("one")))
            if store.run(Head(StreamId("two"))) < head:
                self.wrong.append("half of an append was seen")


def show_late(tables: Tables, table: str, seed: int, late: float = 0.05) -> list[str]:
    """Two processes append and two read, while transactions show item by item."""
    network = Network(late=late, dice=random.Random(seed))
    watched, done = Watched(), threading.Event()
    acknowledged: list[str] = []
    one, two = StreamId("one"), StreamId("two")

    def write(store: DynamoStore, writer: int) -> None:
        for n in range(scaled(10, 100)):
            text = f"{writer}.{n}"
            if n % 2:
                parts = StreamAppend(one, said(f"{text}!")), StreamAppend(two, said(text))
                answer = store.run(AppendAll(parts))
                acknowledged.append(f"{text}!")
            else:
                answer = store.run(Append(StreamId("hot"), said(text)))
            assert isinstance(answer, Success)
            acknowledged.append(text)

    with ExitStack() as stack:
        stores = [stack.enter_context(opened(tables, table, network)) for _ in range(4)]

        def write_all() -> None:
            try:
                at_once(*[partial(write, stores[n % 2], n) for n in range(4)])
            finally:
                done.set()

        at_once(
            write_all,
            lambda: watched.follow(stores[2], done),
            lambda: watched.read(stores[3], done),
        )
    wrong = judging.faults(judging.scan(tables.client, table), acknowledged)
    if sorted(watched.delivered) != sorted(acknowledged):
        missing = {*acknowledged} - {*watched.delivered}
        wrong.append(f"the feed skips {len(missing)} of {len(acknowledged)} events")
    return wrong + watched.wrong


def test_readers_see_no_half_of_a_transaction(quick: Tables) -> None:
    assert show_late(quick, quick.new(), 1) == []


def _impatient_feed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passes over the parts that are not there."""
    from eventsrc.aws import _reading

    def take(self: Any, batch: Any, scanned: int) -> bool:
        items = self._talk.many([entry.key for entry, _ in batch])
        for entry, _ in batch:
            if entry.key in items:
                part = part_of(items[entry.key])
                self.found += self._reading.records(self._talk, part)
        self.at = scanned
        return True

    monkeypatch.setattr(_reading._Search, "_take", take)


def _no_look_at_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shows whatever parts of a stream are there."""

    def read(self: Any, talk: Any, op: Read) -> Any:
        records, head = self._forwards(talk, op)
        return page_of(op, Events(records, self._codec), self.feed.store_id, head)

    monkeypatch.setattr(Reading, "read", read)


def _no_wait_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shows a part before the others of its append are there."""
    monkeypatch.setattr(Reading, "_await_others", lambda *_: None)


@pytest.mark.parametrize(
    ("broken", "sign"),
    [
        (_impatient_feed, "the feed skips"),
        (_no_look_at_versions, "has a hole"),
        (_no_wait_for_others, "half of an append"),
    ],
)
def test_control_impatient_readers_are_caught(
    quick: Tables,
    broken: Callable[[pytest.MonkeyPatch], None],
    sign: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broken(monkeypatch)
    for seed in range(10):
        if any(sign in line for line in show_late(quick, quick.new(), seed, 0.15)):
            return
    pytest.fail(f"nothing {sign!r} was seen in ten runs")


def test_a_part_that_stays_away_blocks_the_feed_and_is_never_passed_over(quick: Tables) -> None:
    table = quick.new()
    network = Network(late=1e-9)
    with opened(quick, table, network, timeout=4) as store:
        for text in "abc":
            store.run(Append(StreamId(text), said(text)))
        network.hidden["s/b", "1"] = time.monotonic() + 1e4
        page = store.run(ReadFeed())
        assert ([one.data.text for one in page.events], page.next.position) == (["a"], 1)
        page = store.run(ReadFeed(page.next))
        assert (page.events, page.next.position, page.end.position) == ((), 1, 3)
        assert page.blocked is not None
        assert "('s/b', 1) is not visible yet, which has position 2" in page.blocked.reason
        network.hidden.clear()
        assert [one.data.text for one in store.run(ReadFeed(page.next)).events] == ["b", "c"]


def test_pages_are_whole_although_batches_are_answered_in_parts(quick: Tables) -> None:
    table = quick.new()
    with opened(quick, table, Network(undone=0.6, dice=random.Random(1))) as store:
        texts = [str(n) for n in range(150)]
        for begin in range(0, 150, 50):
            parts = [StreamAppend(StreamId(text), said(text)) for text in texts[begin : begin + 50]]
            store.run(AppendAll(tuple(parts)))
        assert [one.data.text for one in store.run(ReadFeed()).events] == texts


# --- refusals -------------------------------------------------------------------------------------

CANCELED = "TransactionCanceledException"
PASSING: dict[str, Callable[[], Exception]] = {
    "throttled": lambda: refusal("ProvisionedThroughputExceededException"),
    "throttling": lambda: refusal("ThrottlingException"),
    "too many requests": lambda: refusal("RequestLimitExceeded"),
    "an action in conflict": lambda: refusal(CANCELED, "TransactionConflict", "None"),
    "a part in conflict": lambda: refusal(CANCELED, "None", "TransactionConflict"),
    "an action throttled": lambda: refusal(CANCELED, "ThrottlingError", "None"),
    "throttled and in conflict": lambda: refusal(CANCELED, "TransactionConflict", "ThrottlingError"),
    "throttled and unmet": lambda: refusal(CANCELED, "ConditionalCheckFailed", "ThrottlingError"),
    "unmet for no reason": lambda: refusal(CANCELED, "ConditionalCheckFailed", "None"),
    "a part unmet for no reason": lambda: refusal(CANCELED, "None", "ConditionalCheckFailed"),
    "no reasons": lambda: refusal(CANCELED),
    "under way": lambda: refusal("TransactionInProgressException"),
    "an error of the server": lambda: refusal("InternalServerError", status=500),
    "not available": lambda: refusal("ServiceUnavailable", status=503),
    "no connection": unsent,
    "no answer": lost,
}


@pytest.mark.parametrize("why", PASSING)
def test_refusals_that_pass_are_waited_out(quick: Tables, why: str) -> None:
    table, left = quick.new(), [3]

    def refuse(call: str, _: Any) -> Exception | None:
        if call == "transact_write_items" and left[0]:
            left[0] -= 1
            return PASSING[why]()
        return None

    with opened(quick, table, Network(refuse=refuse)) as store:
        answers = [store.run(Append(StreamId("a"), said(text), nth)) for nth, text in enumerate("ab")]
        assert [answer.unwrap().version for answer in answers] == [1, 2]
        assert not left[0]
    assert judging.faults(judging.scan(quick.client, table), "ab") == []


def test_a_partition_that_is_throttled_for_ever_keeps_appends_busy_and_loses_nothing(
    quick: Tables,
) -> None:
    table, hot = quick.new(), [False]

    def refuse(call: str, asked: Any) -> Exception | None:
        is_feed = call == "transact_write_items"
        return refusal(CANCELED, "ThrottlingError", "None") if is_feed and hot[0] else None

    with opened(quick, table, Network(refuse=refuse), timeout=0.5) as store:
        hot[0] = True
        began = time.monotonic()
        with pytest.raises(StoreBusy):
            store.run(Append(StreamId("a"), said("lost")))
        assert time.monotonic() - began < 3
        assert store.run(Head(StreamId("a"))) == 0
        hot[0] = False
        assert isinstance(store.run(Append(StreamId("a"), said("kept"))), Success)
    found = judging.scan(quick.client, table)
    assert (judging.faults(found, ["kept"]), [*found.texts]) == ([], ["kept"])


def refusal_of(code: str, message: str) -> Callable[[], Exception]:
    return lambda: refusal(code, message=message)


@pytest.mark.parametrize(
    "why",
    [
        refusal_of("ValidationException", "Item size has exceeded the maximum allowed size"),
        refusal_of("ValidationException", "one value is not right"),
    ],
)
def test_of_appends_that_share_a_transaction_only_the_guilty_fails(
    quick: Tables, why: Callable[[], Exception]
) -> None:
    table = quick.new()
    began = threading.Event()

    def refuse(call: str, asked: Any) -> Exception | None:
        if call != "transact_write_items":
            return None
        streams = [action["Put"]["Item"]["p"]["S"] for action in asked["TransactItems"]]
        if "s/first" in streams:
            began.set()
            time.sleep(0.3)  # until the others are in line
        return why() if "s/guilty" in streams else None

    answers: dict[str, Any] = {}

    def append(store: DynamoStore, name: str) -> None:
        try:
            answers[name] = store.run(Append(StreamId(name), said(name), NO_STREAM))
        except StoreError as error:
            answers[name] = error

    names = [f"innocent/{n}" for n in range(7)]
    with opened(quick, table, Network(refuse=refuse)) as store:
        others = [lambda name=name: append(store, name) for name in (*names, "guilty")]
        at_once(lambda: append(store, "first"), *[_after(began, other) for other in others])
    guilty = answers.pop("guilty")
    assert isinstance(guilty, StoreError) or isinstance(guilty.failure(), Rejected)
    assert isinstance(guilty, StoreError) is ("size" not in str(why()))
    assert all(isinstance(answer, Success) for answer in answers.values())
    assert judging.faults(judging.scan(quick.client, table), answers) == []


def _after(event: threading.Event, work: Callable[[], object]) -> Callable[[], object]:
    def wait() -> object:
        event.wait(10)
        return work()

    return wait


def test_a_role_that_may_only_read_reads(quick: Tables) -> None:
    table, is_denied = quick.new(), [False]

    def refuse(call: str, _: Any) -> Exception | None:
        writes = call in ("transact_write_items", "put_item", "update_item")
        return refusal("AccessDeniedException") if writes and is_denied[0] else None

    network = Network(refuse=refuse)
    with opened(quick, table, network) as store:
        store.run(Append(StreamId("a"), said("1")))
        is_denied[0] = True
        with opened(quick, table, network) as reader:
            assert reader.run(Read(StreamId("a"))).data == [Said("1")]
            assert len(reader.run(ReadFeed()).events) == 1
            for op in (
                Append(StreamId("a"), said("2")),
                SaveSnapshot(Snapshot(StreamId("a"), "f", 1, 1, b"")),
            ):
                with pytest.raises(StoreReadOnly, match="AccessDenied"):
                    reader.run(op)


# --- deadlines ------------------------------------------------------------------------------------


@contextmanager
def swallowing() -> Iterator[str]:
    """A server that takes every request, and answers none."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


class Turned:
    """A client that leads to one server, and from some moment on to another."""

    def __init__(self, before: Any, after: Any) -> None:
        self.meta = before.meta
        self._now, self._after = before, after

    def turn(self) -> None:
        """From now on."""
        self._now = self._after

    def __getattr__(self, call: str) -> Any:
        return getattr(self._now, call)


OPERATIONS = (
    Append(StreamId("a"), said("2")),
    Append(StreamId("new"), said("2")),
    Read(StreamId("a")),
    Head(StreamId("a")),
    ReadFeed(),
    FindAppend(UUID(int=1)),
    LoadSnapshot(StreamId("a"), "f", 1),
    SaveSnapshot(Snapshot(StreamId("a"), "f", 1, 1, b"1")),
)


def longest(
    tables: Tables, read_timeout: float, monkeypatch: pytest.MonkeyPatch | None = None
) -> float:
    """The longest time that an operation takes, of 0.5 seconds, if requests are swallowed."""
    if monkeypatch is not None:
        monkeypatch.setattr("eventsrc.aws.store._check_client", lambda *_: None)
    took: list[float] = []
    with swallowing() as url:
        client = Turned(
            tables.new_client(timeout=read_timeout), Tables(url).new_client(timeout=read_timeout)
        )
        with DynamoStore(client, tables.new(), timeout=0.5) as store:
            store.run(Append(StreamId("a"), said("1")))
            client.turn()
            for op in OPERATIONS:
                began = time.monotonic()
                try:
                    answer: Any = store.run(op)
                except (Unreachable, StoreBusy):
                    pass
                else:
                    assert isinstance(answer.failure(), Unknown)
                took.append(time.monotonic() - began)
                if monkeypatch is not None:
                    break
    return max(took)


def test_every_call_ends_soon_after_its_deadline_although_requests_are_swallowed(quick: Tables) -> None:
    assert longest(quick, read_timeout=0.2) < 2.0


def test_control_a_client_that_waits_for_long_keeps_no_deadline(
    quick: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert longest(quick, read_timeout=3.0, monkeypatch=monkeypatch) > 2.0


# --- damage, and limits ---------------------------------------------------------------------------


@pytest.mark.parametrize("attribute", ["d", "t", "a", "w"])
def test_what_was_changed_in_the_table_is_reported(quick: Tables, attribute: str) -> None:
    table, stream = quick.new(), StreamId("a")
    with DynamoStore(quick.client, table) as store:
        store.run(Append(stream, said("x" * 400, "y"), metadata={"by": "me"}))
    key = {"p": {"S": "f/1/0" if attribute == "w" else "s/a"}, "n": {"N": "1"}}
    item = quick.client.get_item(TableName=table, Key=key)["Item"]
    ((kind, value),) = item[attribute].items()
    changed = str(int(value) + 1) if kind == "N" else value[:-1] + bytes([value[-1] ^ 1])
    quick.client.put_item(TableName=table, Item={**item, attribute: {kind: changed}})

    def everything() -> list[Any]:
        with DynamoStore(quick.client, table) as store:
            events = [*store.run(ReadFeed()).events, *store.run(Read(stream)).events]
            return [(one.data, one.metadata, one.recorded_at) for one in events]

    with pytest.raises(Corrupted):
        everything()
    quick.client.put_item(TableName=table, Item=item)
    assert len(everything()) == 4


def test_the_largest_appends_fit_and_larger_ones_are_refused_with_the_number(exact: Tables) -> None:
    dice = random.Random(1)
    table = exact.new()

    def wide(count: int) -> tuple[StreamAppend, ...]:
        """To many streams with the longest names, events that are kept in line and do not shrink."""
        return tuple(
            StreamAppend(StreamId(f"{n:03}" + "é" * 254), said(dice.randbytes(18_000).hex()[:31_000]))
            for n in range(count)
        )

    with DynamoStore(exact.client, table, timeout=60) as store:
        assert isinstance(store.run(AppendAll(wide(98), append_id=uuid4())), Success)
        for count, append_id in ((99, uuid4()), (100, None)):
            answer = store.run(AppendAll(wide(count), append_id=append_id)).failure()
            assert isinstance(answer, Rejected)
            assert f"to {count} streams, and {count - 1} is the most" in answer.reason
        many = Append(StreamId("many"), said(*[f"{n}" * 50 for n in range(10_000)]))
        assert store.run(many).unwrap().version == 10_000
        large = Append(
            StreamId("large"), said(dice.randbytes(5_000_000).hex()), metadata={"x": "y" * 500_000}
        )
        assert isinstance(store.run(large), Success)
        page = store.run(Read(StreamId("large")))
        assert page.data == [*large.events]
        assert page.events[0].metadata == large.metadata
        assert store.run(Read(StreamId("many"), 9_998)).data == [*many.events[9_998:]]

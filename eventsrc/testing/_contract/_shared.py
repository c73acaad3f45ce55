"""The fixtures and helpers that all parts of the contract share."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, Final, TypeAlias, TypeVar
from uuid import UUID, uuid4

import attrs
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from returns.result import Failure, Success

from eventsrc._clock import monotonic
from eventsrc.events.positions import START, Cursor
from eventsrc.events.recorded import Recorded
from eventsrc.events.stream_id import StreamId
from eventsrc.programs.interpreter import Interpreter
from eventsrc.programs.program import Outcome
from eventsrc.stores.newest import newest
from eventsrc.stores.operations import (
    ANY,
    EXISTS,
    MAX_PAGE,
    NO_STREAM,
    Append,
    AppendAll,
    Appended,
    Expected,
    FeedPage,
    Head,
    NotAppended,
    Read,
    ReadFeed,
    StoreOp,
)
from eventsrc.testing._contract.samples import AnyValue, Counted, Noted, Renamed
from eventsrc.testing._strategies import batches

O = TypeVar("O", bound=StoreOp)
Store: TypeAlias = Interpreter[StoreOp]

DEADLINE: Final = 60.0
"""The seconds that the threads of one test may take."""

CONDITIONS: Final[tuple[Expected, ...]] = (ANY, NO_STREAM, EXISTS, 0, 1, 2, 3, 4, 2**63 - 1)

in_moderation = settings(
    deadline=None,
    max_examples=max(settings().max_examples // 4, 1),
    # The store is the same for all examples, which therefore write to streams of their own.
    suppress_health_check=[
        HealthCheck.differing_executors,
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
    ],
)

KINDS = (Noted, Counted, AnyValue, Renamed)
HISTORIES = st.lists(st.tuples(st.sampled_from("abc"), batches()), max_size=6)
"""Appends, each to one of three streams."""


class ContractPart:
    """Some of the contract's tests; `StoreContract` says what they are given."""

    concurrent: ClassVar[bool] = True
    epochs: ClassVar[bool] = True
    snapshots: ClassVar[bool] = True
    several: ClassVar[bool] = True
    finding: ClassVar[bool] = True
    tags: ClassVar[bool] = False

    @pytest.fixture
    def store(self) -> Iterator[Store]:
        """The store to be tested."""
        raise NotImplementedError(f"give {type(self).__qualname__} a fixture named `store`")

    @pytest.fixture
    def reopen(self) -> Callable[[], Store]:
        """A function that closes the `store` and opens what it has stored again."""
        pytest.skip("the store is not durable: it has no `reopen` fixture")

    @pytest.fixture
    def threads(self) -> Callable[..., None]:
        """A function that runs others at once, each in a thread of its own."""
        if not self.concurrent:
            pytest.skip("the store is not for several threads: `concurrent` is False")
        return at_once

    @pytest.fixture
    def keeps_snapshots(self) -> None:
        """For tests of snapshots."""
        if not self.snapshots:
            pytest.skip("the store keeps no snapshots: `snapshots` is False")

    @pytest.fixture
    def appends_to_several(self) -> None:
        """For tests of appends to several streams at once, and of conditions on others."""
        if not self.several:
            pytest.skip("the store appends to one stream at a time: `several` is False")

    @pytest.fixture
    def finds_appends(self) -> None:
        """For tests of finding appends."""
        if not self.finding:
            pytest.skip("the store finds no append by its id: `finding` is False")

    @pytest.fixture
    def keeps_tags(self) -> None:
        """For tests of tags."""
        if not self.tags:
            pytest.skip("the store keeps no tags: `tags` is False")

    def claimed(self, *asked: O) -> tuple[O, ...]:
        """Some operations, but for those that the store does not claim to perform."""
        return tuple(op for op in asked if self.several or not isinstance(op, AppendAll))


def new_family() -> str:
    """A prefix, less its `/`, that no stream has yet."""
    return f"contract/{uuid4().hex}"


def fresh() -> StreamId:
    """A stream that does not exist."""
    return StreamId(new_family())


def filled(store: Store, count: int) -> StreamId:
    """A stream with so many events: Noted("1"), Noted("2"), ..."""
    stream = fresh()
    if count:
        append(store, stream, *map(str, range(1, count + 1)))
    return stream


def append(store: Store, stream: StreamId, *texts: str, append_id: UUID | None = None) -> Appended:
    return accepted(store.run(Append(stream, tuple(map(Noted, texts)), append_id=append_id)))


def accepted(outcome: Outcome[Appended, NotAppended]) -> Appended:
    assert isinstance(outcome, Success), f"it was not stored: {outcome}"
    return outcome.unwrap()


def refusal(outcome: Outcome[Appended, NotAppended]) -> NotAppended:
    assert isinstance(outcome, Failure), f"it was stored: {outcome}"
    return outcome.failure()


def but(op: O, **changes: Any) -> O:
    """The operation with something changed."""
    return attrs.evolve(op, **changes)  # type: ignore[misc]


def is_met(expected: Expected, version: int) -> bool:
    """Whether a stream at this version fulfils a condition; written down here again on purpose."""
    met: dict[Expected, bool] = {ANY: True, NO_STREAM: version == 0, EXISTS: version >= 1}
    return met.get(expected, expected == version)


def id_of(store: Store) -> str:
    return store.run(Read(fresh())).token.store_id


def read_all(store: Store, stream: StreamId) -> Sequence[Recorded[Any]]:
    """All events of a stream that is not long."""
    return store.run(Read(stream, limit=MAX_PAGE)).events


def texts_of(store: Store, stream: StreamId) -> list[str]:
    return [recorded.data.text for recorded in read_all(store, stream)]


def reprs(recorded: Sequence[Recorded[Any]]) -> list[str]:
    return [repr(one) for one in recorded]


def end_of(store: Store) -> Cursor:
    """The end of the feed."""
    return store.run(ReadFeed(limit=1)).end


def pages_of(
    store: Store, after: Cursor, limit: int = 500, prefix: str = "", types: frozenset[str] | None = None
) -> Iterator[FeedPage[Any]]:
    """The feed's pages up to its present end."""
    while True:
        page = store.run(ReadFeed(after, limit, prefix, types))
        yield page
        if page.next >= page.end:
            return
        assert page.next > after, f"the feed does not get on from {after}: {page.blocked}"
        after = page.next


def pages_back(
    store: Store, place: Cursor | None = None, until: Cursor = START, **asked: Any
) -> Iterator[FeedPage[Any]]:
    """The feed's pages from a place back to another."""
    at = end_of(store) if place is None else place
    while at > until:
        page = store.run(newest(at, **asked))
        yield page
        assert page.next < at, f"the feed does not get on back from {at}: {page.blocked}"
        at = page.next


def feed_of(store: Store, after: Cursor = START, *, prefix: str = "") -> list[Recorded[Any]]:
    return [recorded for page in pages_of(store, after, 500, prefix) for recorded in page.events]


@contextlib.contextmanager
def left_alone(store: Store, *streams: StreamId) -> Iterator[None]:
    """Sees to it that nothing is appended meanwhile, to these streams or anywhere else."""

    def state() -> tuple[Cursor, list[int], list[Sequence[Recorded[Any]]]]:
        heads = [store.run(Head(stream)) for stream in streams]
        return end_of(store), heads, [read_all(store, stream) for stream in streams]

    before = state()
    yield
    assert state() == before, "something was stored"


def timed(store: Store, op: Any) -> tuple[Any, float, float]:
    """An operation's answer, and when it was asked and answered."""
    began = time.perf_counter()
    answer = store.run(op)
    return answer, began, time.perf_counter()


def at_once(*works: Callable[[], object]) -> None:
    """Runs functions in threads that are switched often; raises the first error of any."""
    start = threading.Barrier(len(works))
    errors: list[BaseException] = []

    def run(work: Callable[[], object]) -> None:
        try:
            start.wait(DEADLINE)
            work()
        except BaseException as error:
            errors.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        running = [threading.Thread(target=run, args=(work,), daemon=True) for work in works]
        for thread in running:
            thread.start()
        end = monotonic() + DEADLINE
        for thread in running:
            thread.join(max(end - monotonic(), 0.0))
    finally:
        sys.setswitchinterval(interval)
    if errors:
        raise errors[0]
    assert not any(thread.is_alive() for thread in running), f"not done after {DEADLINE} seconds"

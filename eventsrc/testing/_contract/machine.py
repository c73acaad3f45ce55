"""A state machine that holds a store to the memory store: whatever is done to both, they agree.

`StoreMachine.for_store` makes one for a store; pytest or unittest runs its `TestCase`:

    def open_store(folder: Path) -> AbstractContextManager[Interpreter[StoreOp]]:
        return SqliteStore(folder / "store.db")

    TestMyStore = StoreMachine.for_store(open_store, durable=True).TestCase

Store ids, times of recording, positions in the feed and ids that a store chose may differ; all else
must not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Final, Self, TypeAlias
from uuid import UUID

import attrs
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    multiple,
    precondition,
    rule,
)
from returns.result import Failure, Success

from eventsrc._errors import EventsrcError
from eventsrc.events.positions import START, Cursor, Token
from eventsrc.events.recorded import Recorded
from eventsrc.events.stream_id import StreamId
from eventsrc.programs.interpreter import Interpreter
from eventsrc.stores.memory import MemoryStore
from eventsrc.stores.operations import (
    Append,
    AppendAll,
    Appended,
    Conflict,
    FeedPage,
    FindAppend,
    Head,
    LoadSnapshot,
    Page,
    Read,
    ReadFeed,
    Rejected,
    SaveSnapshot,
    Snapshot,
    StoreOp,
)
from eventsrc.stores.requests import request_of
from eventsrc.testing._contract.samples import AnyValue
from eventsrc.testing._strategies import appends, appends_to_several, batches, events, unstorable_values

OpenStore: TypeAlias = Callable[[Path], AbstractContextManager[Interpreter[StoreOp]]]
"""Opens the store that is in a folder; in a new folder, a store with nothing in it."""

_KEYS: Final = (
    UUID("00000000-0000-0000-0000-000000000000"),
    UUID("8d0f9f0e-5c3b-4a57-9b0a-3f1f6c2b7a11"),
    UUID("019f0000-0000-8000-8000-000000000001"),  # of the version that stores make: see new_append_id
    UUID("ffffffff-ffff-ffff-ffff-ffffffffffff"),
)
_FAMILIES: Final = ("a/", "A/", "%/", "a_b/")

# A few streams again and again, and now and then one that a careless store takes for another.
_twins = ("a/B", "A/b", "a/b ", "é", "e\u0301", "%/x", "a_b/x", "axb/x")
_stream_ids = (st.sampled_from(["a", "a/b", "ab"]) | st.sampled_from(_twins)).map(StreamId)
_snapshots = st.builds(
    Snapshot,
    stream=st.sampled_from(["a", "a/b"]).map(StreamId),
    fold=st.just("total"),
    fold_version=st.integers(1, 2),
    version=st.integers(1, 5),
    data=st.just(b""),
)
_keys = st.none() | st.sampled_from(_KEYS)
_requests = st.none() | st.sampled_from([request_of("one"), request_of("another")])
_types = st.sampled_from([f"eventsrc.testing.{n}" for n in ("noted", "counted", "unheard-of", "no")])
_limits = st.integers(1, 4) | st.sampled_from([9, 10_000])


@attrs.frozen
class Both:
    """An answer that the memory store and the tested store gave alike, each in its own terms."""

    model: Any
    tested: Any


class StoreMachine(RuleBasedStateMachine):
    """Does the same to a memory store and to another, and compares all answers.

    It is made by `for_store`. A subclass may add rules; `both` performs an operation on both.
    """

    open_store: ClassVar[OpenStore]
    durable: ClassVar[bool] = False
    keeps_snapshots: ClassVar[bool] = True
    several: ClassVar[bool] = True
    finding: ClassVar[bool] = True

    answers: Bundle[Both] = Bundle("answers")
    """Appends that were stored: pairs of Appended."""
    followers: Bundle[Follower] = Bundle("followers")

    @classmethod
    def for_store(
        cls,
        open_store: OpenStore,
        *,
        durable: bool = False,
        snapshots: bool = True,
        several: bool = True,
        finding: bool = True,
    ) -> type[Self]:
        """The machine for a store.

        open_store: is given a folder, a new one for each run, and opens the store that it finds there.
        durable: whether the store is closed now and then, and opened in the same folder again.
        snapshots, several, finding: as of StoreContract.
        """
        claims = {
            "durable": durable,
            "keeps_snapshots": snapshots,
            "several": several,
            "finding": finding,
        }
        made: Any = type(cls.__name__, (cls,), {"open_store": staticmethod(open_store), **claims})
        made.TestCase.settings = settings(
            deadline=None,
            max_examples=max(settings().max_examples // 2, 1),
            stateful_step_count=30,
            suppress_health_check=[HealthCheck.too_slow],
        )
        return made  # type: ignore[no-any-return]

    def __init__(self) -> None:
        super().__init__()
        self._ends = ExitStack()
        self._folder = Path(self._ends.enter_context(TemporaryDirectory()))
        self._model = MemoryStore()
        self._opened = ExitStack()
        self._open()
        self._seen = Both(_Names(), _Names())

    def _open(self) -> None:
        self._tested = self._opened.enter_context(type(self).open_store(self._folder))

    def teardown(self) -> None:
        self._opened.close()
        self._ends.close()

    def both(self, model: StoreOp, tested: StoreOp | None = None) -> Both:
        """Performs an operation on both stores, and answers what they said if it is the same.

        tested: the operation for the tested store, if cursors, tokens or ids in it differ.
        """
        said = Both(
            _answer(self._model, model), _answer(self._tested, model if tested is None else tested)
        )
        wanted = _plain(said.model, self._seen.model)
        assert _plain(said.tested, self._seen.tested) == wanted, f"{model} is not answered alike"
        return said

    def _appended(self, model: Any, tested: Any = None) -> MultipleResults[Both]:
        said = self.both(model, tested)
        if isinstance(said.model, Success):
            return multiple(Both(said.model.unwrap(), said.tested.unwrap()))
        return multiple()

    # --- appending

    @rule(target=answers, streams=st.lists(_stream_ids, min_size=1, max_size=6), batch=batches())
    def fill(self, streams: list[StreamId], batch: tuple[object, ...]) -> MultipleResults[Both]:
        """Appends the same to several streams, one after the other and whatever their versions."""
        said = [self.both(Append(stream, batch)) for stream in streams]
        return multiple(*[Both(one.model.unwrap(), one.tested.unwrap()) for one in said])

    @rule(target=answers, op=appends(_stream_ids, append_ids=_keys, requests=_requests))
    def append(self, op: Append) -> MultipleResults[Both]:
        """Appends to one stream."""
        return self._appended(op)

    @precondition(lambda self: self.several)
    @rule(target=answers, op=appends_to_several(_stream_ids, append_ids=_keys, requests=_requests))
    def append_all(self, op: AppendAll) -> MultipleResults[Both]:
        """Appends to several streams."""
        return self._appended(op)

    @rule(target=answers, batch=batches(), seen=answers, stream=_stream_ids)
    def append_if_unchanged(
        self, batch: tuple[object, ...], seen: Both, stream: StreamId
    ) -> MultipleResults[Both]:
        """Appends on the condition of a token."""
        return self._appended(
            Append(stream, batch, seen.model.token), Append(stream, batch, seen.tested.token)
        )

    @rule(answer=answers, change=st.booleans())
    def retry(self, answer: Both, change: bool) -> None:
        """Appends once more what was appended to one stream, under its append_id; or nearly that."""
        of = answer.model
        if len(of.token.versions) == 1:
            (stream,) = of.token.versions
            page = self._model.run(Read(stream, limit=10_000))
            batch: list[object] = [e.opaque() for e in page.events if e.append_id == of.append_id]
            if change:
                batch.append(AnyValue("more"))
            self.both(
                Append(stream, tuple(batch), append_id=of.append_id),
                Append(stream, tuple(batch), append_id=answer.tested.append_id),
            )

    @rule(op=appends(_stream_ids, events(), _keys), bad=unstorable_values())
    def append_what_cannot_be_stored(self, op: Append, bad: Any) -> None:
        """Appends a good batch with a bad event at its end."""
        self.both(Append(op.stream, (*op.events, AnyValue(bad)), op.expected, op.append_id))

    @precondition(lambda self: self.finding)
    @rule(append_id=st.sampled_from(_KEYS), request=_requests)
    def find_chosen(self, append_id: UUID, request: bytes | None) -> None:
        """Looks for an append by an id that may have been used."""
        self.both(FindAppend(append_id, request))

    @precondition(lambda self: self.finding)
    @rule(answer=answers)
    def find(self, answer: Both) -> None:
        """Looks for an append that was stored."""
        self.both(FindAppend(answer.model.append_id), FindAppend(answer.tested.append_id))

    # --- reading

    @rule(stream=_stream_ids, limit=_limits)
    def read(self, stream: StreamId, limit: int) -> None:
        """Reads pages of a stream, after each version and in both directions."""
        for after in range(self._model.run(Head(stream)) + 3):
            self.both(Read(stream, after, limit))
            self.both(Read(stream, after, limit, backwards=True))

    @rule(stream=_stream_ids)
    def head(self, stream: StreamId) -> None:
        """Asks for the version of a stream."""
        self.both(Head(stream))

    @rule(answer=answers, stream=_stream_ids)
    def bring_what_belongs_elsewhere(self, answer: Both, stream: StreamId) -> None:
        """Takes a cursor and a token of one store to another."""
        cursor, token = answer.model.cursor, answer.model.token
        self.both(ReadFeed(Cursor("of another store", cursor.position)))
        self.both(Append(stream, (AnyValue("never"),), attrs.evolve(token, store_id="another")))

    @rule(
        target=followers,
        prefix=st.just("") | st.sampled_from(_FAMILIES),
        types=st.none() | st.frozensets(_types, min_size=1),
        limit=_limits,
        after=st.none() | answers,
    )
    def follow(
        self, prefix: str, types: frozenset[str] | None, limit: int, after: Both | None
    ) -> Follower:
        """Reads the feed with a filter to its end, from its start or after an append."""
        at = Both(START, START)
        if after is not None:
            at = Both(after.model.cursor, after.tested.cursor)
        return self._followed(Follower(prefix, types, at), limit)

    @rule(target=followers, follower=followers, limit=_limits)
    def go_on_following(self, follower: Follower, limit: int) -> Follower:
        """Reads on, from where an earlier reading ended."""
        return self._followed(follower, limit)

    def _followed(self, follower: Follower, limit: int) -> Follower:
        at, prefix, types = follower.at, follower.prefix, follower.types
        while True:
            said = self.both(
                ReadFeed(at.model, limit, prefix, types),
                ReadFeed(Cursor.parse(str(at.tested)), limit, prefix, types),
            )
            at = Both(said.model.next, said.tested.next)
            if said.model.next == said.model.end:
                return Follower(prefix, types, at)

    # --- snapshots

    @precondition(lambda self: self.keeps_snapshots)
    @rule(snapshots=st.lists(_snapshots, min_size=1, max_size=3))
    def save_snapshots(self, snapshots: list[Snapshot]) -> None:
        """Saves snapshots, and loads what there is now."""
        for snapshot in snapshots:
            self.both(SaveSnapshot(attrs.evolve(snapshot, data=b"state %d\0" % snapshot.version)))
        for snapshot in snapshots:
            for fold_version in (1, 2, 3):
                self.both(LoadSnapshot(snapshot.stream, snapshot.fold, fold_version))

    # --- closing and opening

    @precondition(lambda self: self.durable)
    @rule()
    def reopen(self) -> None:
        """Closes the tested store and opens it again."""
        self._opened.close()
        self._open()


@attrs.frozen
class Follower:
    """Somebody who reads the feed with a filter, and how far they are in either store.

    A cursor that one filter led to is used with that filter only: how far a store looks beyond the
    last event that fits is its own affair.
    """

    prefix: str
    types: frozenset[str] | None
    at: Both


# --- comparing answers ----------------------------------------------------------------------------


@attrs.define
class _Names:
    """Numbers for whatever differs between stores, to which the answers of one store are reduced.

    The n-th id that a store makes up is like the n-th of another; so is the n-th position in the feed,
    which must come after those before it.
    """

    append_ids: dict[UUID, int] = attrs.field(factory=dict)
    cursors: list[Cursor] = attrs.field(factory=list)

    def append_id(self, given: UUID) -> UUID | int:
        if given in _KEYS:
            return given
        return self.append_ids.setdefault(given, len(self.append_ids))

    def cursor(self, given: Cursor) -> int:
        if given not in self.cursors:
            assert all(earlier < given for earlier in self.cursors), f"{given} is not a later place"
            self.cursors.append(given)
        return self.cursors.index(given)


def _answer(store: Interpreter[StoreOp], op: Any) -> Any:
    """The answer of a store, or the type of the error that it raises on purpose."""
    try:
        return store.run(op)
    except (EventsrcError, TypeError, ValueError) as error:
        return type(error)


def _plain(answer: Any, names: _Names) -> Any:
    """An answer as plain values that can be compared with those of another store."""
    match answer:
        case Success(value):
            return "Success", _plain(value, names)
        case Failure(why):
            return "Failure", _plain(why, names)
        case Appended(append_id, token, cursor):
            return names.append_id(append_id), _plain(token, names), names.cursor(cursor)
        case Conflict(stream, expected, actual, since):
            return "Conflict", stream, expected, actual, _events(since, names)
        case Rejected():
            return "Rejected"
        case Page(found, head, token, is_last):
            return _events(found, names), head, _plain(token, names), is_last
        case FeedPage(found, following, end, blocked):
            assert blocked is None
            return _events(found, names), following >= end
        case Token(_, versions):
            return dict(versions)
        case _:
            return answer


def _events(found: Sequence[Recorded[Any]], names: _Names) -> list[Any]:
    return [
        (
            e.stream,
            e.version,
            names.append_id(e.append_id),
            e.record.offset,
            e.opaque(),
            repr(e.metadata),
        )
        for e in found
    ]

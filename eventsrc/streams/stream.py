"""Streams as services use them: named, typed and keyed.

`Stream` is one stream with the types of its events; `Streams` a family of them, one for each key:

    all_users = Stream("users", events=SetName)
    profiles = Streams("users/{id}/profile", key=UserId, events=SetEmail | SetApiKey)

    yield from profiles[user].append(SetEmail(user, "homer@springfield.example"))

Their methods make programs over the store operations; nothing here touches a store.
"""

from __future__ import annotations

import datetime
import enum
import re
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast
from urllib.parse import quote, unquote
from uuid import UUID

import attrs
from returns.result import Success

from eventsrc.events.codec import Json
from eventsrc.events.event import EventTypeError, is_own_event
from eventsrc.events.positions import BadToken, Token
from eventsrc.events.recorded import Recorded
from eventsrc.events.stream_id import (
    CONTROLS,
    MAX_ID_BYTES,
    RESERVED,
    BadStreamId,
    StreamId,
    stored_id,
)
from eventsrc.programs._declared import members_of
from eventsrc.programs.program import Do, Outcome, Program, name_of, program
from eventsrc.stores.operations import (
    ANY,
    Append,
    Appended,
    Conflict,
    Expected,
    Head,
    LoadSnapshot,
    Page,
    Read,
    StreamAppend,
)
from eventsrc.streams.decide import WITHIN, AppendFailed, Decided, DecideOp, decide
from eventsrc.streams.fold import (
    LATEST_EVENT,
    Consistency,
    Fold,
    Folded,
    FoldOp,
    load,
    load_as_of,
    load_at,
)

if TYPE_CHECKING:
    from typing_extensions import TypeForm

E = TypeVar("E")
E_co = TypeVar("E_co", covariant=True)
F = TypeVar("F")
K = TypeVar("K")
S = TypeVar("S")


class Stream(Generic[E]):
    """A stream and the types of its events.

    stream: its id, such as "users". Raises BadStreamId for a text that cannot be one, and for one below
        `eventsrc/`: those streams are the library's own, to be read by the operation Read.
    events: an event class, or a union of them.
    """

    __slots__ = ("_events", "_id")

    def __init__(self, stream: str, *, events: TypeForm[E]) -> None:
        self._id = StreamId(stream)
        self._events = _event_classes(events)
        if self._id[: len(RESERVED)] == RESERVED:
            _check_own(self._id, self._events)

    @property
    def id(self) -> StreamId:
        """The stream's id."""
        return self._id

    @property
    def events(self) -> frozenset[type]:
        """The classes of its events."""
        return self._events

    def append(
        self, *events: E, append_id: UUID | None = None, metadata: Json | None = None
    ) -> Program[Append, Appended]:
        """Appends events, whatever the stream's version.

        append_id: makes a retry safe; see the operation Append. metadata: kept with each event.
        Raises EventTypeError for an event that is not of this stream's types, and AppendFailed if the
        store rejects the events or cannot say what became of them.
        """
        appending = Append(self.id, self._checked(events), append_id=append_id, metadata=metadata or {})
        return appending.map(_surely)

    def append_at(
        self,
        expected: Expected,
        *events: E,
        append_id: UUID | None = None,
        metadata: Json | None = None,
    ) -> Program[Append, Outcome[Appended, Conflict]]:
        """Appends events if the stream is at the expected version, or just where a token has seen it.

        Answers Failure of a Conflict if it is not. Raises as `append`, WrongStore for a token of
        another store, NotInToken for one that does not name the stream, and BadToken for one that is
        ahead of its store, which was restored.
        """
        appending = Append(self.id, self._checked(events), expected, append_id, metadata or {})
        return appending.map(_OrConflict(expected))

    def part(self, *events: E, expected: Expected = ANY) -> StreamAppend:
        """Events for this stream as a part of an AppendAll, which appends to several at once.

        expected: the version that the stream must be at, or a token that has seen it.
        Raises EventTypeError for an event that is not of this stream's types.
        """
        return StreamAppend(self.id, self._checked(events), expected)

    def decide(
        self,
        fold: Fold[S, E],
        decider: Callable[[S], Outcome[Sequence[E], F]],
        *,
        within: float = WITHIN,
        append_id: UUID | None = None,
        request: object = None,
        metadata: Json | None = None,
    ) -> Program[DecideOp, Outcome[Decided[S, E], F]]:
        """Loads the state, decides, and appends at the version read; again if others were faster.

        decider: of the state, Success of the events to append, or a Failure. It must be pure.
        within: for how many seconds to try again. Raises NotDecided then.
        append_id: makes a retry safe: what was decided under it is answered again, and not anew.
        request: what is asked for: bytes, plain values, or an operation. Another request under the same
            append_id raises OtherRequest; without one, any is answered with what was decided first.
        """
        return decide(self.id, fold, _Checked(self, decider), within, metadata, append_id, request)

    def change(
        self,
        fold: Fold[S, E],
        changer: Callable[[S], Sequence[E]],
        *,
        within: float = WITHIN,
        append_id: UUID | None = None,
        request: object = None,
        metadata: Json | None = None,
    ) -> Program[DecideOp, Decided[S, E]]:
        """As `decide`, for a decision that cannot fail: the changer answers the events."""

        decider: _Checked[S, E, Any] = _Checked(self, changer, fails=False)
        return decide(self.id, fold, decider, within, metadata, append_id, request).map(_value)

    def get(
        self, fold: Fold[S, E], consistency: Consistency = LATEST_EVENT
    ) -> Program[FoldOp, Folded[S]]:
        """The state after the last event, or that of the newest snapshot: see the operation Load.

        Raises ValueError if the newest snapshot is asked for of a fold that keeps none.
        """
        return load(self.id, fold, consistency=consistency)

    def at(self, fold: Fold[S, E], version: int | Token) -> Program[Read | LoadSnapshot, Folded[S]]:
        """The state at a version, or where a token has seen the stream.

        Raises NoSuchVersion if the stream has not reached it, and WrongStore for a token of another
        store, and NotInToken for one that does not name the stream.
        """
        return load_at(self.id, fold, version)

    def as_of(self, fold: Fold[S, E], time: datetime.datetime) -> Program[Read, Folded[S]]:
        """The state at a time, which must have a time zone: before the first event recorded later."""
        return load_as_of(self.id, fold, time)

    def read(self, after: int = 0, limit: int = 500, backwards: bool = False) -> Program[Read, Page[E]]:
        """One page of events: see the operation Read."""
        return cast("Program[Read, Page[E]]", Read(self.id, after, limit, backwards).map(_same))

    def history(self) -> Program[Read, tuple[Recorded[E], ...]]:
        """All events of the stream, oldest first. It holds them all: for long streams, use `read`."""
        return cast("Program[Read, tuple[Recorded[E], ...]]", _history(self.id))

    def head(self) -> Program[Head, int]:
        """The stream's version: 0 if it has no events."""
        return Head(self.id).map(_same)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Stream):
            return NotImplemented
        return (self.id, self.events) == (other.id, other.events)

    def __hash__(self) -> int:
        return hash((self.id, self.events))

    def __repr__(self) -> str:
        return f"Stream({str(self.id)!r}, events={_names(self.events)})"

    def _checked(self, events: Sequence[E]) -> tuple[E, ...]:
        its = self._events
        for event in events:
            if type(event) not in its:
                raise EventTypeError(
                    f"{event!r:.200} is no event of {self.id}, which has {_names(self.events)}"
                )
        return tuple(events)


@attrs.frozen
class _Checked(Generic[S, E, F]):
    """A decider whose events are checked to be of a stream's types; it may be one that cannot fail."""

    stream: Stream[E]
    decider: Callable[[S], Any]
    fails: bool = True

    def __call__(self, state: S) -> Outcome[tuple[E, ...], F]:
        events = self.decider(state)
        if self.fails:
            if not isinstance(events, Success):
                return cast("Outcome[tuple[E, ...], F]", events)
            events = events.unwrap()
        return Success(self.stream._checked(events))  # pyright: ignore[reportPrivateUsage]

    def __repr__(self) -> str:
        return name_of(self.decider)


@attrs.frozen
class _Key:
    """The codec of a family's key: to segments of a stream id, and back."""

    names: tuple[str, ...]
    parts: Callable[[Any], tuple[Any, ...]]
    parsers: tuple[Callable[[str], Any], ...]
    make: Callable[..., Any]


class Streams(Generic[K, E]):
    """A family of streams of one kind, one for each key: `profiles[user]` is the Stream of a key.

    pattern: the ids, with the key in braces: "users/{id}/profile". With several places, the key is an
        attrs class with fields of those names: "users/{user}/groups/{group}".
    key: the type of the key, or of each field: a str, int, UUID, an enum of these, or a NewType of one.
    events: an event class, or a union of them.
    """

    def __init__(self, pattern: str, *, key: TypeForm[K], events: TypeForm[E]) -> None:
        self.pattern: Final = pattern
        self.events: Final = _event_classes(events)
        self._key: Final = _key(pattern, key)
        StreamId(_PLACE.sub("x", pattern))
        texts = _PLACE.split(pattern)[::2]  # before, between and behind the places
        self._first, self._following = texts[0], texts[1:]
        short = MAX_ID_BYTES - len(str(UUID(int=0)))
        is_own = pattern[: len(RESERVED)] == RESERVED
        self._is_short = len(texts) == 2 and not is_own and len("".join(texts).encode()) <= short
        self._shape = re.compile("([^/]+)".join(map(re.escape, texts)))

    @property
    def prefix(self) -> str:
        """The segments of the ids before the first key, with which a feed can be filtered."""
        return self.pattern[: self.pattern.rfind("/", 0, self.pattern.index("{")) + 1]

    def __getitem__(self, key: K) -> Stream[E]:
        """The stream of a key. Raises BadStreamId for a key that cannot be part of an id."""
        if type(key) is UUID and self._is_short:  # its text is sound, and needs no look
            stream: Stream[E] = _new(Stream)
            stream._id = stored_id(f"{self._first}{key}{self._following[0]}")
            stream._events = self.events
            return stream
        text = self._first
        for part, following in zip(self._key.parts(key), self._following, strict=True):
            text += (str(part) if type(part) is UUID else _segment(part)) + following
        return Stream(text, events=cast("Any", self.events))

    def key(self, stream: StreamId) -> K:
        """The key of a stream of this family. Raises BadStreamId for a stream of another."""
        found = self._shape.fullmatch(stream)
        if found is None:
            raise BadStreamId(f"{stream} is no stream of {self.pattern}")
        try:
            parts = zip(self._key.names, self._key.parsers, found.groups(), strict=True)
            values = {name: parse(_unsegment(text)) for name, parse, text in parts}
            key = cast("K", self._key.make(**values))
        except (ValueError, KeyError) as error:
            raise BadStreamId(f"{stream} is no stream of {self.pattern}: {error}") from error
        if self[key].id != stream:  # such as 04: the key is 4, and its stream another
            raise BadStreamId(f"{stream} is no stream of {self.pattern}: {self[key].id} would be one")
        return key

    def __contains__(self, stream: StreamId) -> bool:
        """Whether a stream is of this family."""
        try:
            self.key(stream)
        except BadStreamId:
            return False
        return True

    def __repr__(self) -> str:
        return f"Streams({self.pattern!r}, events={_names(self.events)})"


# --- answers --------------------------------------------------------------------------------------


def _surely(outcome: Outcome[Appended, Any]) -> Appended:
    if isinstance(outcome, Success):
        return outcome.unwrap()
    raise AppendFailed(outcome.failure())


@attrs.frozen
class _OrConflict:
    """The outcome of an append that may conflict."""

    expected: Expected

    def __call__(self, outcome: Outcome[Appended, Any]) -> Outcome[Appended, Conflict]:
        if isinstance(outcome, Success):
            return outcome
        why = outcome.failure()
        if not isinstance(why, Conflict):
            raise AppendFailed(why)
        self._check(why)
        return outcome

    def _check(self, conflict: Conflict) -> None:
        """Raises BadToken if it conflicts with what its store never had."""
        if isinstance(self.expected, Token) and conflict.actual < self.expected[conflict.stream]:
            raise BadToken(
                f"the token has seen version {self.expected[conflict.stream]} of {conflict.stream}, "
                f"which is at {conflict.actual}: the store was restored from a backup: read anew"
            )


def _value(outcome: Outcome[S, Any]) -> S:
    return outcome.unwrap()


def _same(answer: S) -> S:
    return answer


@program
def _history(stream: StreamId) -> Do[Read, tuple[Recorded[Any], ...]]:
    events: list[Recorded[Any]] = []
    while True:
        page = yield from Read(stream, len(events), 1000)
        events += page.events
        if page.is_last:
            return tuple(events)


# --- declarations ---------------------------------------------------------------------------------

_new: Final = object.__new__
_PLACE: Final = re.compile(r"\{(\w+)\}")


def _event_classes(described: object) -> frozenset[type]:
    if isinstance(described, frozenset):
        return described  # a family's, read once
    classes = members_of(described)
    if not classes:
        raise EventTypeError(f"{described!r} names no event types: write a class, or A | B")
    return frozenset(classes)


def _check_own(stream: str, classes: frozenset[type]) -> None:
    """Raises BadStreamId for a stream of the library's own unless its events are the library's too."""
    if not all(map(is_own_event, classes)):
        raise BadStreamId(
            f"{stream} is one of the library's own streams, to which {_names(classes)} cannot be "
            f"appended: choose an id that does not begin with {RESERVED}, or use Read to read it"
        )


def _names(classes: frozenset[type]) -> str:
    return " | ".join(sorted(cls.__qualname__ for cls in classes))


def _key(pattern: str, key_type: Any) -> _Key:
    names = tuple(_PLACE.findall(pattern))
    if not names or len(set(names)) < len(names):
        raise BadStreamId(
            f"{pattern!r} needs a place for the key, such as 'users/{{id}}', and each only once"
        )
    if any(len(_PLACE.findall(segment)) > 1 for segment in pattern.split("/")):
        raise BadStreamId(f"{pattern!r} has two places in one segment: put a / between them")
    if any("{" in text or "}" in text for text in _PLACE.split(pattern)[::2]):
        raise BadStreamId(f"{pattern!r} has a brace that is not part of a place such as {{id}}")
    if isinstance(key_type, type) and attrs.has(key_type):
        attrs.resolve_types(key_type)
        types: Mapping[str, Any] = {field.name: field.type for field in attrs.fields(key_type)}
        if tuple(types) != names:
            raise BadStreamId(
                f"{pattern!r} has the places {names}, and {key_type.__qualname__} the fields "
                f"{tuple(types)}: they must be the same, in the same order"
            )
        return _Key(
            names,
            lambda key: tuple(getattr(key, name) for name in names),
            tuple(_parser(field) for field in types.values()),
            key_type,
        )
    if len(names) > 1:
        raise BadStreamId(f"{pattern!r} has several places: its key must be an attrs class")
    return _Key(
        names, lambda key: (key,), (_parser(key_type),), lambda **parts: next(iter(parts.values()))
    )


def _parser(key_type: Any) -> Callable[[str], Any]:
    while isinstance(key_type, typing.NewType):
        key_type = key_type.__supertype__
    if key_type in (str, int, UUID):
        return cast("Callable[[str], Any]", key_type)
    if isinstance(key_type, type) and issubclass(key_type, enum.Enum):
        return {str(member.value): member for member in key_type}.__getitem__
    raise TypeError(
        f"{key_type!r} cannot be part of a stream id: use str, int, UUID or an enum of them"
    )


def _segment(part: object) -> str:
    text = str(part.value if isinstance(part, enum.Enum) else part)
    if not text:
        raise BadStreamId("a key is empty, and cannot be a segment of a stream id")
    text = text.replace("%", "%25").replace("/", "%2F")
    return text if text.isprintable() else CONTROLS.sub(lambda found: quote(found[0]), text)


def _unsegment(text: str) -> str:
    return unquote(text, errors="strict") if "%" in text else text

"""Tags of events, and boundaries: which events of the whole store a decision depends on.

A rule may span streams: a course has so many seats, and a student at most five courses. Events then
have tags, which are declared with their class and made of its fields:

    student = Tag("student", key=StudentId)
    course = Tag("course", key=CourseId)

    @event("course.joined", tags={"who": student, "course": course})
    class Joined:
        who: StudentId
        course: CourseId

    about(course[rust], of=Joined | Left) | about(student[homer], of=Joined | Left)

is the boundary of all that was ever said of that course and of that student. (Dynamic consistency
boundaries: https://dcb.events/specification.)
"""

from __future__ import annotations

import enum
import re
import typing
from hashlib import blake2b
from types import UnionType
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar
from uuid import UUID

import attrs

from eventsrc._errors import EventsrcError, with_article
from eventsrc.events.stream_id import RESERVED, checked_prefix

if TYPE_CHECKING:
    from typing_extensions import TypeForm

    from eventsrc.events.event import EventTypes

K = TypeVar("K")

MAX_TAG_BYTES: Final = 512
"""The most bytes of UTF-8 that a stored tag has, with its name."""

_NAME: Final = re.compile(r"[a-z][a-z0-9_.-]{0,99}")


class BadTag(EventsrcError, ValueError):
    """A name that no tag can have, or a value that no tag can be made of."""


@attrs.frozen
class TagValue:
    """A tag, such as `student:4`: what events with the same value have in common."""

    name: str
    text: str
    is_hidden: bool = False

    def stored(self, secret: bytes) -> str:
        """The text that a store keeps; of a hidden one, a digest keyed by the store's secret."""
        if not self.is_hidden:
            return f"{self.name}:{self.text}"
        digest = blake2b(f"{self.name}:{self.text}".encode(), key=secret[:64], digest_size=16)
        return f"{self.name}:~{digest.hexdigest()}"

    def __str__(self) -> str:
        return f"{self.name}:(hidden)" if self.is_hidden else f"{self.name}:{self.text}"


class Tag(Generic[K]):
    """A kind of tags, one for each key: `student[homer]`.

    name: what is stored, before the key: small letters, digits, `_`, `.` and `-`. Never change it.
    key: the type of the key: a str, int, UUID, an enum of these, or a NewType of one.
    hidden: whether a digest of the key is stored in its place, as for an e-mail address: tags are
        readable for ever.
    Raises BadTag for another name, and TypeError for a key that no tag can be made of.
    """

    __slots__ = ("_class", "is_hidden", "name")

    def __init__(self, name: str, *, key: TypeForm[K], hidden: bool = False) -> None:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise BadTag(
                f"{name!r:.100} cannot name a tag: use small letters, digits, _, . and -, as in student"
            )
        self.name: Final = name
        self.is_hidden: Final = hidden
        self._class: Final = _class_of(key)

    def __getitem__(self, key: K) -> TagValue:
        """The tag of a key. Raises BadTag for a text that is empty, too long, or has a NUL in it."""
        if type(key) is not self._class:
            raise TypeError(
                f"{key!r:.100} is {with_article(type(key))}, and {self.name} is made of "
                f"{with_article(self._class)}"
            )
        text = str(key.value if isinstance(key, enum.Enum) else key)
        if text.isascii() and 0 < len(text) < 256 and "\0" not in text:  # as nearly always
            return TagValue(self.name, text, self.is_hidden)
        if not text or "\0" in text or _length(f"{self.name}:{text}") > MAX_TAG_BYTES:
            raise BadTag(
                f"{text[:60]!r} cannot be the key of a {self.name}: it must have 1 to "
                f"{MAX_TAG_BYTES - len(self.name) - 1} bytes of UTF-8, and no NUL character"
            )
        return TagValue(self.name, text, self.is_hidden)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tag):
            return NotImplemented
        mine = self.name, self.is_hidden, self._class
        return mine == (other.name, other.is_hidden, other._class)

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"Tag({self.name!r})"


@attrs.frozen
class BoundaryItem:
    """Events that have all of some tags, are of one of some types, and are in streams below a prefix.

    types: stored names; None for any but the library's own. prefix: as of ReadFeed; empty for all.
    """

    tags: frozenset[TagValue] = frozenset()
    types: frozenset[str] | None = None
    prefix: str = ""

    def __str__(self) -> str:
        texts = [*sorted(map(str, self.tags))]
        if self.types is not None:
            texts.append(f"of {' or '.join(sorted(self.types)) or 'no type'}")
        if self.prefix:
            texts.append(f"below {self.prefix}")
        return " and ".join(texts) or "all events"


@attrs.frozen
class Boundary:
    """The events that one of some items describes: all that a decision depends on. See `about`."""

    items: tuple[BoundaryItem, ...] = ()

    def __or__(self, other: Boundary) -> Boundary:
        """The events of both."""
        return Boundary(tuple(dict.fromkeys(self.items + other.items)))

    def __str__(self) -> str:
        return ", or ".join(map(str, self.items)) or "no events"


def about(
    *tags: TagValue,
    of: TypeForm[Any] | None = None,
    prefix: str = "",
    types: EventTypes | None = None,
) -> Boundary:
    """The boundary of the events that have all of some tags, and are of one of some types.

    tags: none for events whatever their tags. of: an event class, or a union of them; None for all.
    prefix: of their streams' ids, empty or ending with `/`.
    types: the set of types that the classes are registered in; that of `@event` if not given.
    Raises TypeError for what is no tag, EventTypeError for a class that is no event, or that is
    declared without one of the tags, so that nothing could match, and BadStreamId for a bad prefix.
    """
    for tag in tags:
        if type(tag) is not TagValue:
            raise TypeError(
                f"{tag!r:.100} is {with_article(type(tag))}, and no tag: write student[key]"
            )
    checked_prefix(prefix)
    names = None if of is None else _names_of(of, frozenset(tag.name for tag in tags), types)
    return Boundary((BoundaryItem(frozenset(tags), names, prefix),))


def is_own_type(name: str) -> bool:
    """Whether a stored name is of the library's own types, which an item must name to match."""
    return name.startswith(RESERVED)


def _names_of(described: Any, tags: frozenset[str], types: EventTypes | None) -> frozenset[str]:
    from eventsrc.events.event import EVENTS, EventTypeError  # which declares events with tags

    members = typing.get_args(described) if _is_union(described) else (described,)
    names: set[str] = set()
    for cls in members:
        if not isinstance(cls, type):
            raise EventTypeError(f"{described!r:.100} names no event types: write a class, or A | B")
        kind = (EVENTS if types is None else types).of(cls)
        lacking = sorted(tags - {tag.name for tag in kind.tags.values()})
        if lacking:
            raise EventTypeError(
                f"{kind.name!r} is declared without the tag {lacking[0]!r}, and no event of it could "
                "match: declare it with @event(..., tags=), or leave it out"
            )
        names.add(kind.name)
    return frozenset(names)


def _is_union(described: Any) -> bool:
    return isinstance(described, UnionType) or typing.get_origin(described) is typing.Union


def _class_of(key: Any) -> type:
    while isinstance(key, typing.NewType):
        key = key.__supertype__
    if key in (str, int, UUID) or (isinstance(key, type) and issubclass(key, enum.Enum)):
        return key  # type: ignore[no-any-return]
    raise TypeError(f"no tag can be made of {key!r}: use str, int, UUID or an enum of them")


def _length(text: str) -> int:
    try:
        return len(text.encode())
    except UnicodeEncodeError:  # a lone surrogate
        return MAX_TAG_BYTES + 1

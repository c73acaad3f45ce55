"""Of a store that keeps tags: what a boundary finds, and appends that depend on it.

A store is held to `found`, the specification in ten lines (https://dcb.events/specification).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import product
from typing import Any, Final, TypeAlias
from uuid import uuid4

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from returns.result import Success

from eventsrc.events.codec import Codec
from eventsrc.events.event import EventTypeError, Opaque, event
from eventsrc.events.positions import START, BadCursor, Cursor, WrongStore
from eventsrc.events.recorded import Recorded
from eventsrc.events.stream_id import StreamId
from eventsrc.events.tags import BadTag, Boundary, BoundaryItem, Tag, TagValue, about
from eventsrc.programs.interpreter import Interpreter
from eventsrc.stores.operations import ANY, Append, Appended, Condition, Rejected, StoreOp, StreamAppend
from eventsrc.stores.tags import (
    AppendIf,
    BoundaryChanged,
    IndexTags,
    NotIndexed,
    OtherTags,
    ReadTagged,
    TagOp,
    Unchanged,
    index_tags,
)
from eventsrc.testing._contract._shared import (
    ContractPart,
    accepted,
    end_of,
    feed_of,
    fresh,
    in_moderation,
    new_family,
    read_all,
    refusal,
)
from eventsrc.testing._contract.samples import Noted

TaggedStore: TypeAlias = Interpreter[StoreOp | TagOp]

student: Final = Tag("contract-student", key=str)
course: Final = Tag("contract-course", key=str)
mail: Final = Tag("contract-mail", key=str, hidden=True)


@event("eventsrc.testing.joined", tags={"who": student, "course": course})
class Joined:
    """An event with two tags, of which it may lack the second."""

    who: str
    course: str | None


@event("eventsrc.testing.seated", tags={"courses": course, "mail": mail})
class Seated:
    """An event with any number of tags of one kind, and one that is hidden."""

    courses: tuple[str, ...]
    mail: str | None = None


TYPES: Final = {Joined: "eventsrc.testing.joined", Seated: "eventsrc.testing.seated"}
NOTED: Final = "eventsrc.testing.noted"


@attrs.frozen
class Sample:
    """An event, in a stream of a family, with tags that are told apart by the family's name."""

    kind: str
    one: int
    two: int
    place: str

    def made(self, family: str) -> tuple[StreamId, object]:
        stream = StreamId(f"{family}/{self.place}/x")
        one, two = f"{family}.{self.one}", f"{family}.{self.two}"
        match self.kind:
            case "joined":
                return stream, Joined(one, two if self.two else None)
            case "seated":
                return stream, Seated((one, two), one if self.two else None)
            case _:
                return stream, Noted(one)


def tags_of(data: object) -> set[TagValue]:
    match data:
        case Joined(who, which):
            return {student[who], *([] if which is None else [course[which]])}
        case Seated(courses, address):
            return {*map(course.__getitem__, courses), *([] if address is None else [mail[address]])}
        case _:
            return set()


def found(events: Sequence[Recorded[Any]], boundary: Boundary, after: int = 0) -> list[Recorded[Any]]:
    """The events of a boundary: what the specification says, in its own words."""
    return [
        recorded
        for recorded in events
        if recorded.position > after
        and any(
            item.tags <= tags_of(recorded.data)
            and (item.types is None or recorded.type in item.types)
            and recorded.stream.startswith(item.prefix)
            for item in boundary.items
        )
    ]


samples = st.builds(
    Sample,
    kind=st.sampled_from(["joined", "joined", "seated", "noted"]),
    one=st.integers(1, 2),
    two=st.integers(0, 2),
    place=st.sampled_from("ab"),
)
appends_of_samples = st.lists(samples, min_size=1, max_size=3)


_DECLARED: Final = {
    TYPES[Joined]: {student.name, course.name},
    TYPES[Seated]: {course.name, mail.name},
    NOTED: set[str](),
}
_tags = st.sets(st.tuples(st.sampled_from([student, course, mail]), st.integers(1, 2)), max_size=2)
_types = st.none() | st.sets(st.sampled_from([*_DECLARED]))
_prefixes = st.sampled_from(["", "/", "/a/"])


def _can_match(names: set[str], types: Iterable[str] | None) -> bool:
    """Whether one of the types is declared with these tags, without which a store refuses an item."""
    return not names or any(
        names <= _DECLARED[name] for name in (_DECLARED if types is None else types)
    )


_items = st.tuples(_tags, _types, _prefixes).filter(
    lambda item: _can_match({tag.name for tag, _ in item[0]}, item[1])
)


@st.composite
def boundaries(draw: st.DrawFn) -> Callable[[str], Boundary]:
    """Boundaries of up to three items, each of tags, types and a prefix, by the name of a family."""
    drawn = draw(st.lists(_items, max_size=3))

    def made(family: str) -> Boundary:
        items: list[BoundaryItem] = []
        for tags, types, below in drawn:
            values = frozenset(tag[f"{family}.{number}"] for tag, number in tags)
            # an item without tags would match events of other examples
            prefix = f"{family}{below}" if below else "" if values else f"{family}/"
            names = None if types is None else frozenset(types)
            items.append(BoundaryItem(values, names, prefix))
        return Boundary(tuple(items))

    return made


def pages(store: TaggedStore, boundary: Boundary, after: Cursor, limit: int) -> list[Recorded[Any]]:
    """All events of a boundary that a store answers, in pages."""
    came: list[Recorded[Any]] = []
    while True:
        page = store.run(ReadTagged(boundary, after, limit))
        assert len(page.events) <= limit
        came += page.events
        if page.next >= page.end:
            return came
        assert page.next > after
        after = page.next


def joined(store: TaggedStore, who: str, which: str) -> Appended:
    return accepted(store.run(Append(fresh(), (Joined(who, which),))))


class Tags(ContractPart):
    """A boundary is what its tags, types and prefix say, and an append knows whether it changed."""

    @pytest.mark.usefixtures("keeps_tags")
    @in_moderation
    @given(
        history=st.lists(appends_of_samples, max_size=6),
        boundary=boundaries(),
        limit=st.integers(1, 5),
        back=st.integers(0, 3),
    )
    def test_a_boundary_finds_what_its_items_describe(
        self,
        store: TaggedStore,
        history: list[list[Sample]],
        boundary: Callable[[str], Boundary],
        limit: int,
        back: int,
    ) -> None:
        family, cursors = new_family(), [end_of(store)]
        for batch in history:
            for sample in batch:
                stream, made = sample.made(family)
                cursors.append(accepted(store.run(Append(stream, (made,)))).cursor)
        asked, after = boundary(family), cursors[max(-1 - back, -len(cursors))]
        wanted = found(feed_of(store, after), asked)
        assert pages(store, asked, Cursor.parse(str(after)), limit) == wanted
        assert store.run(ReadTagged(asked, after)).end == cursors[-1]

    @pytest.mark.usefixtures("keeps_tags")
    def test_an_item_is_all_its_tags_and_one_of_its_types_below_its_prefix(
        self, store: TaggedStore
    ) -> None:
        family, begin = new_family(), end_of(store)
        one, two = f"{family}.1", f"{family}.2"
        for place in "ab":
            stream = StreamId(f"{family}/{place}/x")
            made = (Joined(one, one), Joined(one, two), Joined(two, one), Joined(two, None), Noted(one))
            accepted(store.run(Append(stream, made)))
            accepted(store.run(Append(stream, (Seated((one, two)), Seated((two,)), Seated(())))))
        events = feed_of(store, begin)
        tagged = [(), (student[one],), (course[one],), (student[one], course[two])]
        typed = [None, frozenset(TYPES.values()), *(frozenset({name}) for name in TYPES.values())]
        for tags, types, below in product([*tagged, (course[one], course[two])], typed, ["/", "/a/"]):
            item = BoundaryItem(frozenset(tags), types, f"{family}{below}")
            if _can_match({tag.name for tag in tags}, types):
                for asked in (Boundary((item,)), Boundary((item,)) | about(student[two])):
                    assert pages(store, asked, begin, 2) == found(events, asked)

    @pytest.mark.usefixtures("keeps_tags")
    @in_moderation
    @given(
        history=st.lists(st.tuples(boundaries(), st.integers(0, 4), appends_of_samples), max_size=6),
    )
    def test_an_append_is_stored_if_and_only_if_its_boundaries_are_unchanged(
        self,
        store: TaggedStore,
        history: list[tuple[Callable[[str], Boundary], int, list[Sample]]],
    ) -> None:
        family, begin = new_family(), end_of(store)
        cursors, events = [begin], feed_of(store, begin)
        for boundary, back, batch in history:
            unchanged = Unchanged(boundary(family), cursors[max(-1 - back, -len(cursors))])
            parts: dict[StreamId, list[object]] = {}
            for sample in batch:
                stream, made = sample.made(family)
                parts.setdefault(stream, []).append(made)
            appends = tuple(StreamAppend(stream, tuple(its)) for stream, its in parts.items())
            outcome = store.run(AppendIf(appends, (unchanged,)))
            came = found(events, unchanged.boundary, unchanged.cursor.position)
            if isinstance(outcome, Success):
                assert came == []
                cursors.append(outcome.unwrap().cursor)
                events = feed_of(store, begin)
            else:
                conflict = outcome.failure()
                assert isinstance(conflict, BoundaryChanged)
                assert [*conflict.events] == came
                assert (conflict.stream, conflict.actual) == (came[0].stream, came[0].version)
                assert conflict.boundary == unchanged.boundary
                assert feed_of(store, begin) == events

    @pytest.mark.usefixtures("keeps_tags")
    def test_tagged_events_are_events_like_any_others(self, store: TaggedStore) -> None:
        stream = fresh()
        answer = accepted(store.run(Append(stream, (Joined("a", "b"), Noted("1")), 0)))
        assert [recorded.data for recorded in read_all(store, stream)] == [Joined("a", "b"), Noted("1")]
        assert answer.version == 2

    @pytest.mark.usefixtures("keeps_tags")
    def test_a_stream_s_condition_and_a_boundary_s_must_both_hold(self, store: TaggedStore) -> None:
        who, stream, other = uuid4().hex, fresh(), fresh()
        part = StreamAppend(stream, (Joined(who, "x"),), 0)
        never = Unchanged(about(student[who]), START)
        conditions = (Condition(other, 1),)
        assert not isinstance(
            refusal(store.run(AppendIf((part,), (never,), conditions))), BoundaryChanged
        )
        accepted(store.run(AppendIf((part,), (never,), (Condition(other, 0),))))
        again = attrs.evolve(part, expected=1)
        assert isinstance(refusal(store.run(AppendIf((again,), (never,)))), BoundaryChanged)
        end = end_of(store)
        accepted(store.run(AppendIf((again,), (attrs.evolve(never, cursor=end),))))

    @pytest.mark.usefixtures("keeps_tags")
    @pytest.mark.usefixtures("finds_appends")
    def test_a_retry_is_answered_though_the_boundary_has_changed_since(
        self, store: TaggedStore
    ) -> None:
        who, append_id, stream = uuid4().hex, uuid4(), fresh()
        never = Unchanged(about(student[who]), START)
        op = AppendIf((StreamAppend(stream, (Joined(who, "x"),)),), (never,), append_id=append_id)
        first = accepted(store.run(op))
        joined(store, who, "y")
        assert accepted(store.run(op)) == first
        assert len(read_all(store, stream)) == 1
        other = attrs.evolve(op, appends=(StreamAppend(stream, (Joined(who, "z"),)),))  # type: ignore[misc]
        assert isinstance(refusal(store.run(other)), Rejected)

    @pytest.mark.usefixtures("keeps_tags")
    def test_hidden_tags_are_found_by_their_keys(self, store: TaggedStore) -> None:
        address = f"{uuid4().hex}@example.org"
        answer = accepted(store.run(Append(fresh(), (Seated((), address),))))
        page = store.run(ReadTagged(about(mail[address])))
        assert [recorded.position for recorded in page.events] == [answer.cursor.position]
        assert store.run(ReadTagged(about(mail[f"x{address}"]))).events == ()

    # --- events that were stored without tags

    @pytest.mark.usefixtures("keeps_tags")
    def test_a_boundary_is_refused_until_older_events_are_indexed(self, store: TaggedStore) -> None:
        kind = f"eventsrc.testing.late-{uuid4().hex}"
        late = Tag("contract-late", key=str)

        def declared(**options: Any) -> type:
            @event(kind, **options)
            class Late:
                key: str

            return Late

        cls = declared()
        stream = fresh()
        for number in range(5):
            accepted(store.run(Append(stream, (cls(f"{number % 2}"),))))
        cls = declared(tags={"key": late})
        boundary = about(late["1"], of=cls)
        for op in (
            ReadTagged(boundary),
            AppendIf((StreamAppend(stream, (cls("1"),)),), (Unchanged(boundary, end_of(store)),)),
        ):
            if isinstance(op, AppendIf):
                accepted(store.run(Append(fresh(), (Noted("between"),))))
            with pytest.raises(NotIndexed, match="index_tags"):
                store.run(op)
        first = store.run(IndexTags(frozenset({kind}), limit=2))
        accepted(store.run(Append(stream, (cls("1"),))))
        if not first.is_done:
            with pytest.raises(NotIndexed):
                store.run(ReadTagged(boundary))
        store.run(index_tags(frozenset({kind})))
        page = store.run(ReadTagged(boundary))
        assert [recorded.version for recorded in page.events] == [2, 4, 6]
        # what is appended as it was stored has its tags too
        data = Codec().encode(cls("0"))
        accepted(store.run(Append(stream, (Opaque(*data.kind, data.data),))))
        page = store.run(ReadTagged(about(late["0"], of=cls)))
        assert [recorded.version for recorded in page.events] == [1, 3, 5, 7]
        # a program that cannot tell them, or declares others, would make holes
        with pytest.raises(OtherTags, match=kind):
            store.run(Append(stream, (Opaque(*data.kind, b'{"other": 1}'),)))
        cls = declared(tags={"key": course})
        with pytest.raises(OtherTags, match="index_tags"):
            store.run(Append(stream, (cls("1"),)))
        store.run(index_tags(frozenset({kind})))
        accepted(store.run(Append(stream, (cls("1"),))))
        page = store.run(ReadTagged(about(course["1"], of=cls)))
        assert [recorded.version for recorded in page.events] == [2, 4, 6, 8]

    @pytest.mark.usefixtures("keeps_tags")
    def test_what_is_indexed_stays_so(
        self, store: TaggedStore, reopen: Callable[[], TaggedStore]
    ) -> None:
        who = uuid4().hex
        position = joined(store, who, "x").cursor.position
        again = reopen()
        assert [e.position for e in again.run(ReadTagged(about(student[who]))).events] == [position]

    # --- bad input

    @pytest.mark.usefixtures("keeps_tags")
    def test_what_makes_no_sense_is_refused(self, store: TaggedStore) -> None:
        part = StreamAppend(fresh(), (Noted("1"),))
        never: Any = Unchanged(about(student["x"]), START)
        strange = Tag("contract-unheard-of", key=str)["x"]
        for error, op in (
            (TypeError, AppendIf((part,), ())),
            (TypeError, AppendIf((part,), (Condition(part.stream, ANY),))),  # type: ignore[arg-type]
            (TypeError, AppendIf((part,), (Unchanged(student["x"], START),))),  # type: ignore[arg-type]
            (WrongStore, AppendIf((part,), (attrs.evolve(never, cursor=Cursor("other", 1)),))),
            (ValueError, AppendIf((), (never,))),
            (BadTag, Append(part.stream, (Joined("", "x"),))),
            (BadTag, Append(part.stream, (Joined("x" * 600, "x"),))),
            (EventTypeError, ReadTagged(about(strange))),
            (ValueError, ReadTagged(about(student["x"]), limit=0)),
            (TypeError, ReadTagged(student["x"])),  # type: ignore[arg-type]
            (EventTypeError, IndexTags(frozenset({NOTED}))),
        ):
            with pytest.raises(error):
                store.run(op)
        assert read_all(store, part.stream) == ()
        end = end_of(store)
        beyond = Cursor(end.store_id, end.position + 1, end.epoch)
        with pytest.raises(BadCursor):
            store.run(ReadTagged(about(student["x"]), beyond))
        with pytest.raises(BadCursor):
            store.run(AppendIf((part,), (attrs.evolve(never, cursor=beyond),)))

    # --- many at once

    @pytest.mark.usefixtures("keeps_tags")
    def test_of_many_that_read_one_boundary_one_appends(
        self, store: TaggedStore, threads: Callable[..., None]
    ) -> None:
        which = uuid4().hex
        end = end_of(store)
        won: list[int] = []

        def join(number: int) -> Callable[[], None]:
            def work() -> None:
                part = StreamAppend(fresh(), (Joined(f"{number}", which),))
                outcome = store.run(AppendIf((part,), (Unchanged(about(course[which]), end),)))
                if isinstance(outcome, Success):
                    won.append(number)
                else:
                    assert isinstance(outcome.failure(), BoundaryChanged)

            return work

        threads(*map(join, range(8)))
        assert len(won) == 1
        assert len(store.run(ReadTagged(about(course[which]))).events) == 1

    @pytest.mark.usefixtures("keeps_tags")
    def test_of_two_whose_boundaries_are_described_otherwise_one_appends(
        self, store: TaggedStore, threads: Callable[..., None]
    ) -> None:
        for _ in range(5):
            _race_of_two_descriptions(store, threads)

    @pytest.mark.usefixtures("keeps_tags")
    def test_disjoint_boundaries_are_in_nobody_s_way(
        self, store: TaggedStore, threads: Callable[..., None]
    ) -> None:
        end = end_of(store)

        def work(which: str) -> Callable[[], None]:
            def append() -> None:
                cursor = end
                for number in range(5):
                    part = StreamAppend(fresh(), (Joined(f"{number}", which),))
                    unchanged = Unchanged(about(course[which]), cursor)
                    cursor = accepted(store.run(AppendIf((part,), (unchanged,)))).cursor

            return append

        threads(*(work(uuid4().hex) for _ in range(6)))
        assert len(found(feed_of(store, end), about(of=Joined))) == 30


def _race_of_two_descriptions(store: TaggedStore, threads: Callable[..., None]) -> None:
    """Each of two appends what is within the other's boundary; then a third appends plainly as well."""
    family, end = new_family(), end_of(store)
    which, who = f"{family}.c", f"{family}.w"
    asked = {
        "by type": (about(of=Joined, prefix=f"{family}/"), Seated((which,))),
        "by tag": (about(course[which]), Joined(who, None)),
        "plainly": (None, Joined(who, which)),
    }
    stored: list[str] = []

    def work(name: str) -> Callable[[], None]:
        boundary, made = asked[name]
        stream = StreamId(f"{family}/{name}")
        op: Any = Append(stream, (made,))
        if boundary is not None:
            op = AppendIf((StreamAppend(stream, (made,)),), (Unchanged(boundary, end),))

        def append() -> None:
            if isinstance(store.run(op), Success):
                stored.append(name)

        return append

    threads(work("by type"), work("by tag"))
    assert stored in (["by type"], ["by tag"]), stored
    threads(work("plainly"), work("by type"), work("by tag"))
    came = [recorded.stream.rpartition("/")[2] for recorded in feed_of(store, end)]
    assert sorted(came) == sorted(stored)
    assert "plainly" in came

"""The store contract has teeth: deliberately broken stores do not pass it."""

from __future__ import annotations

import inspect
import time
from typing import Any
from uuid import UUID

import attrs
import pytest

from eventsrc import (
    ANY,
    START,
    Append,
    AppendAll,
    Appended,
    Conflict,
    Cursor,
    Failure,
    FindAppend,
    MemoryStore,
    ReadFeed,
    StreamId,
    Success,
    Token,
    Unknown,
)
from eventsrc.store import LoadSnapshot, Snapshot
from eventsrc.stores.prepare import Prepared
from eventsrc.testing import Attempt, Look, StoreContract, check_feed, check_reads, check_stream
from eventsrc.testing.contract import _at_once
from eventsrc.testing.samples import Noted


class Contract(StoreContract):
    """The contract without pytest: its tests are called one by one."""


def failing_test(store: type[MemoryStore]) -> str | None:
    """The first of the contract's tests (those without parameters) that a store fails.

    Those that need threads come last: a broken store can make them wait for their deadline.
    """
    tests: list[tuple[bool, str, Any, set[str]]] = []
    for name, test in inspect.getmembers(Contract(), inspect.ismethod):
        needed = set(inspect.signature(inspect.unwrap(test)).parameters)
        if name.startswith("test_") and "reopen" not in needed and not hasattr(test, "pytestmark"):
            tests.append(("threads" in needed, name, test, needed))
    for _, name, test, needed in sorted(tests, key=lambda found: found[:2]):
        fixtures: dict[str, Any] = {"store": store(), "threads": _at_once}
        try:
            test(**{fixture: fixtures[fixture] for fixture in needed & fixtures.keys()})
        except BaseException:
            return name
    return None


class DropsWhatExpectsNothing(MemoryStore):
    """Answers an append at ANY as stored, and loses it if the stream is there (a lost insert)."""

    def append(self, op: Append) -> Any:
        if op.expected is ANY and (old := self._streams.get(op.stream)):
            answer = MemoryStore().append(op)
            assert isinstance(answer, Success)
            return Success(
                attrs.evolve(
                    answer.unwrap(),
                    token=attrs.evolve(
                        answer.unwrap().token, versions={op.stream: len(old) + len(op.events)}
                    ),
                )
            )
        return super().append(op)


class ComparesWithAtLeast(MemoryStore):
    """Takes an exact version for a lower bound."""

    def append(self, op: Append) -> Any:
        version = len(self._streams.get(op.stream, ()))
        if isinstance(op.expected, int) and version >= op.expected:
            op = attrs.evolve(op, expected=ANY)  # type: ignore[misc]
        return super().append(op)


class GoesOnAfterTheNextEvent(MemoryStore):
    """Its cursors are one too far."""

    def read_feed(self, op: ReadFeed) -> Any:
        page = super().read_feed(op)
        if page.next < page.end:
            return attrs.evolve(page, next=Cursor(self.store_id, page.next.position + 1))
        return page


class GoesBack(MemoryStore):
    """Its cursors are one too early."""

    def read_feed(self, op: ReadFeed) -> Any:
        page = super().read_feed(op)
        return attrs.evolve(page, next=Cursor(self.store_id, max(page.next.position - 1, 0)))


class MatchesPrefixesOfNames(MemoryStore):
    """Takes `users/` for `users`."""

    def read_feed(self, op: ReadFeed) -> Any:
        page = super().read_feed(attrs.evolve(op, prefix=""))  # type: ignore[misc]
        found = tuple(event for event in page.events if event.stream.startswith(op.prefix[:-1]))
        return attrs.evolve(page, events=found)


class ForgetsAppendIds(MemoryStore):
    """Stores a retry again."""

    def _append(self, asked: Prepared) -> Any:
        self._appends.clear()
        return super()._append(asked)


class ForgetsWhatWasAppended(MemoryStore):
    """Takes any events under a used append_id for a retry."""

    def _append(self, asked: Prepared) -> Any:
        found = self.find_append(FindAppend(asked.append_id))
        return super()._append(asked) if found is None else Success(found)


class AppendsOneByOne(MemoryStore):
    """Its AppendAll stops in the middle."""

    def append_all(self, op: AppendAll) -> Any:
        answer: Any = None
        for part in op.appends:
            answer = super().append_all(AppendAll((part,), op.conditions))
            if isinstance(answer, Failure):
                return answer
        return answer


class ChecksAndThenAppends(MemoryStore):
    """Has no lock between looking at the version and appending."""

    def append(self, op: Append) -> Any:
        version = len(self._streams.get(op.stream, ()))
        if isinstance(op.expected, int) and version == op.expected:
            time.sleep(0.0005)
            op = attrs.evolve(op, expected=ANY)  # type: ignore[misc]
        return super().append(op)


class StoresWhatItRefuses(MemoryStore):
    """Answers a conflict, and appends all the same."""

    def append(self, op: Append) -> Any:
        answer = super().append(op)
        if isinstance(answer, Failure):
            super().append(Append(op.stream, op.events))
        return answer


class IgnoresFoldVersions(MemoryStore):
    """Finds snapshots of other versions of a fold."""

    def load_snapshot(self, op: LoadSnapshot) -> Snapshot | None:
        found = (
            super(IgnoresFoldVersions, self).load_snapshot(LoadSnapshot(op.stream, op.fold, v))
            for v in (1, 2)
        )
        return next((snapshot for snapshot in found if snapshot is not None), None)


BROKEN = [
    DropsWhatExpectsNothing,
    ComparesWithAtLeast,
    GoesOnAfterTheNextEvent,
    GoesBack,
    MatchesPrefixesOfNames,
    ForgetsAppendIds,
    ForgetsWhatWasAppended,
    AppendsOneByOne,
    ChecksAndThenAppends,
    StoresWhatItRefuses,
    IgnoresFoldVersions,
]


def test_control_a_sound_store_fails_nothing() -> None:
    assert failing_test(MemoryStore) is None


@pytest.mark.parametrize("broken", BROKEN, ids=lambda store: store.__name__)
def test_a_broken_store_is_caught(broken: type[MemoryStore]) -> None:
    assert failing_test(broken) is not None


# --- the checkers of histories

STREAM = StreamId("s")


def attempt(began: float, ended: float, version: int, *brought: str) -> Attempt:
    token = Token("store", {STREAM: version})
    return Attempt(began, ended, brought, Appended(UUID(int=1), token, START))


def refused(*brought: str) -> Attempt:
    return Attempt(0, 3, brought, Conflict(STREAM, 0, 1))


def unknown(*brought: str) -> Attempt:
    return Attempt(1, 2, brought, Unknown(UUID(int=2), "lost"))


SOUND = [attempt(0, 1, 1, "a"), attempt(0.5, 2, 3, "b", "c"), refused("x")]


def test_a_linearizable_history_has_nothing_wrong() -> None:
    assert check_stream(STREAM, SOUND, ["a", "b", "c"]) == []
    assert check_stream(STREAM, [*SOUND, unknown("d")], ["a", "b", "c", "d"]) == []
    assert check_stream(STREAM, [*SOUND, unknown("d")], ["a", "b", "c"]) == []
    assert check_stream(STREAM, SOUND, ["a", "b", "c"], [Look(0, 1, 0), Look(2, 3, 3)]) == []


@pytest.mark.parametrize(
    ("attempts", "final", "looks", "wrong"),
    [
        (SOUND, ["b", "c", "a"], [], "was said to end at version 1"),
        (SOUND, ["a"], [], "was said to end at version 3"),
        (SOUND, ["a", "b", "c", "x"], [], "was refused, and is stored"),
        (SOUND, ["a", "b", "c", "y"], [], "nobody appended it"),
        (SOUND, ["a", "b", "c", "a"], [], "holds an event twice"),
        ([*SOUND, unknown("d", "e")], ["a", "b", "c", "d"], [], "is stored in part"),
        ([attempt(5, 6, 1, "a"), attempt(1, 2, 2, "b")], ["a", "b"], [], "before an earlier one"),
        (SOUND, ["a", "b", "c"], [Look(4, 5, 0)], "before an earlier one"),
    ],
)
def test_each_kind_of_wrong_is_said(
    attempts: list[Attempt], final: list[str], looks: list[Look], wrong: str
) -> None:
    assert any(wrong in said for said in check_stream(STREAM, attempts, final, looks))


def test_reads_that_shrink_or_differ_are_said() -> None:
    assert check_reads([[], ["a"], ["a", "b"]], ["a", "b", "c"]) == []
    assert check_reads([["a", "b"], ["a"]], ["a", "b"]) == ["a read of 1 events came after one of 2"]
    assert check_reads([["b"]], ["a", "b"]) == ["a read of 1 events is no beginning of the stream"]


def test_a_feed_that_skips_or_goes_back_is_said() -> None:
    store = MemoryStore()
    store.run(Append(STREAM, (Noted("1"), Noted("2"), Noted("3"))))
    feed = store.run(ReadFeed()).events
    assert check_feed(feed, {STREAM: (1, 3)}) == []
    assert check_feed(feed[:1] + feed[2:], {STREAM: (1, 3)})
    assert check_feed(feed + feed[:1], {STREAM: (1, 3)})
    assert "the feed went back" in check_feed(feed[::-1], {})

"""The feed: the commits of a table in their order, and what a process has learnt of them.

Each commit begins at the position after the one before, and is put there only if nobody else has. So
whoever stores one has seen all before it, and all that was known of the store as of its end still held.
A process learns of others' commits, and so of the heads of streams, by reading on from the end that it
knows.
"""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Final

from eventsrc._clock import monotonic
from eventsrc.aws._ids import OwnIds
from eventsrc.aws._items import (
    BUCKET,
    META,
    VERSION,
    Commit,
    commit_of,
    epochs_of,
    epochs_text,
    feed_key,
    fence,
    is_fence,
    part_of,
    stream_key,
)
from eventsrc.aws._talk import (
    LAST,
    Canceled,
    Item,
    Key,
    Talk,
    Throttled,
    UnderWay,
    Unmet,
    Unsent,
    key,
    number,
)
from eventsrc.events.epochs import FIRST, Epochs
from eventsrc.events.record import Corrupted
from eventsrc.stores.operations import Lost, NotAStore

HEADS: Final = 100_000
"""The most streams whose heads are remembered."""

_PAGE: Final = 100
"""The most commits that are read at once."""

_BEHIND: Final = 3
"""The pages of commits after which a process that is behind looks where the feed ends."""

_NEWEST: Final = 10
"""The newest commits of which it is seen, at opening, that all their parts are there."""

THERE: Final = 1.0
"""The seconds after which a process that reads the feed looks whether the table still has its store."""

_RECENT: Final = 200
"""The most commits that are remembered, for those who follow the feed."""

PATIENCE: Final = 1.5
"""The seconds in which all that a transaction has stored becomes visible."""

REPAIR: Final = "restored from a backup: run `python -m eventsrc.aws.upkeep repair TABLE` first"


class Feed:
    """The knowledge that a process has of a feed: its end, its epochs, and the heads of streams."""

    def __init__(self) -> None:
        self.store_id = ""
        self.me: Final = secrets.token_bytes(8)
        """The beginning of the tokens of this process's commits."""
        self.ids = OwnIds(b"-")
        self.end = 0
        self.served = 0
        """The number of the last turn that was seen to be served by a commit."""
        self.epochs = FIRST
        self._lock = threading.Lock()
        self._heads: OrderedDict[str, int] = OrderedDict()  # as of `end`, or later
        self._recent: OrderedDict[int, Commit] = OrderedDict()
        self._others = -1e9
        self._looked = -1e9
        self._is_gone = False

    # --- what is known

    @property
    def is_shared(self) -> bool:
        """Whether another process has stored something within the last second."""
        return monotonic() - self._others < 1.0

    def knows(self, stream: str) -> bool:
        """Whether the head of a stream is known."""
        return stream in self._heads

    def known(self, streams: Sequence[str]) -> tuple[int, Epochs, dict[str, int]]:
        """The end, the epochs, and those heads that are known, as of one moment."""
        with self._lock:
            heads = {stream: self._heads[stream] for stream in streams if stream in self._heads}
            for stream in heads:
                self._heads.move_to_end(stream)
            return self.end, self.epochs, heads

    def move(self, stream: str, version: int) -> None:
        """Keeps a head that was seen; heads move forward only."""
        with self._lock:
            self._move(stream, version)

    def forget(self, streams: Sequence[str]) -> None:
        """Forgets heads that turned out to be others."""
        with self._lock:
            for stream in streams:
                self._heads.pop(stream, None)

    def _move(self, stream: str, version: int) -> None:
        if version >= self._heads.get(stream, 0):
            self._heads[stream] = version
            self._heads.move_to_end(stream)
            if len(self._heads) > HEADS:
                self._heads.popitem(last=False)

    def epoch_at(self, position: int) -> int:
        """The epoch that a position is in."""
        return max(number for number, begin in self.epochs.begins if begin < position)

    def key_at(self, position: int) -> str:
        """The partition of the commit that begins at a position."""
        return feed_key(self.epoch_at(position), position)

    # --- opening

    def open(self, talk: Talk, *, read_only: bool) -> None:
        """Learns which store it is and where it ends. Raises NotAStore; Corrupted for a torn one."""
        item = talk.get(META, 0)
        if item is None and read_only:
            raise NotAStore("the table has no store in it: open it without read_only to make one")
        if item is None:
            fresh = {
                **key(META, 0),
                "id": {"S": secrets.token_hex(8)},
                "h": {"B": secrets.token_bytes(16)},
                "v": {"N": str(VERSION)},
                "e": {"S": epochs_text(FIRST.begins)},
                "hint": {"N": "0"},
            }
            with suppress(
                Unmet
            ):  # another process has, or this one at an attempt whose answer got lost
                talk.put(fresh, "attribute_not_exists(p)")
            item = talk.get(META, 0)
        if item is None or not {"id", "h", "v", "e", "hint"} <= item.keys():
            raise NotAStore("the table has other things in it than a store: give it one of its own")
        if number(item, "v") > VERSION:
            raise NotAStore(
                f"the table has layout {number(item, 'v')}, and this version of the library knows "
                f"{VERSION}: use a newer one"
            )
        self.ids = OwnIds(bytes(item["h"]["B"]))
        self.epochs = Epochs(epochs_of(item))
        self.end, newest = self._locate(talk, number(item, "hint"))
        if self.end and not newest:
            newest = [self.covering(talk, self.end)]
        self._check_whole(talk, newest)
        self.store_id = item["id"]["S"]
        self._looked = monotonic()

    def _locate(self, talk: Talk, end: int) -> tuple[int, list[Commit]]:
        """The end of the feed from an end that it had once, and some of the newest commits."""
        newest: list[Commit] = []
        while True:
            asked = self.key_at(end + 1)
            items, _ = talk.query(asked, end + 1, LAST, _NEWEST, newest=True)
            if not items:
                return end, newest
            commits = [commit_of(item) for item in items[::-1] if not is_fence(item)]
            if is_fence(items[0]):
                self.learn_epochs(talk)
            if not commits:
                if self.key_at(end + 1) == asked:
                    return end, newest
                continue
            for before, after in pairwise(commits):
                _check_next(before.last, after)
            newest = commits
            end = commits[-1].last
            if self.key_at(end + 1) == asked:
                return end, newest

    def _check_whole(self, talk: Talk, commits: Sequence[Commit]) -> None:
        """Raises Corrupted if a part of the newest commits is not there, as after a restoration."""
        wanted: list[Key] = []
        for commit in commits[::-1]:
            wanted += [entry.key for entry in commit.entries]
            if len(wanted) > 100:
                break
        for commit in commits:
            for entry in commit.entries:
                self.move(entry.stream, entry.first + entry.length - 1)
        missing = self.awaited(talk, wanted)
        if missing:
            p, n = missing[0]
            raise Corrupted(f"the feed has item {p}, {n}, which is not there: the table was {REPAIR}")

    def awaited(self, talk: Talk, keys: Sequence[Key]) -> list[Key]:
        """Waits for some items, and answers which of them do not become visible in time."""
        until = monotonic() + PATIENCE
        pause = 0.01
        missing = list(keys)
        while missing:
            found = talk.many(missing, keys_only=True)
            missing = [one for one in missing if one not in found]
            if not missing or monotonic() > until or talk.is_over:
                break
            talk.pause(pause)
            pause *= 2
        return missing

    # --- learning

    def learn_epochs(self, talk: Talk) -> None:
        """Learns of the epochs that there are. Raises NotAStore if the table was emptied."""
        item = talk.get(META, 0)
        self._looked = monotonic()
        is_open = bool(self.store_id)
        self._is_gone = item is None or (is_open and item.get("id") != {"S": self.store_id})
        self.check_there()
        assert item is not None
        epochs = Epochs(epochs_of(item))
        with self._lock:
            if len(epochs.begins) > len(self.epochs.begins):
                self.epochs = epochs

    def check_there(self) -> None:
        """Raises NotAStore if the table was seen to be emptied."""
        if self._is_gone:
            raise NotAStore("the table was emptied, or has another store in it: open the store again")

    def get_epochs(self, talk: Talk) -> Epochs:
        """The epochs that there are."""
        self.learn_epochs(talk)
        return self.epochs

    def notice(self, talk: Talk, epoch: int) -> None:
        """Sees to it that an epoch that something stored is of is known."""
        if self.epochs.until(epoch) is None:
            self.learn_epochs(talk)

    def refresh(self, talk: Talk) -> bool:
        """Learns of the commits after the end that is known; answers whether there were any."""
        if monotonic() - self._looked > THERE:
            self.learn_epochs(talk)
        before = self.end
        epochs = self.epochs
        for _ in range(_BEHIND):
            asked = self.key_at(self.end + 1)
            items, has_more = talk.query(asked, self.end + 1, LAST, _PAGE)
            self._learn(talk, items)
            if not has_more and (not items or self.key_at(self.end + 1) == asked):
                return self.end > before or self.epochs is not epochs
        end, newest = self._locate(talk, self.end)  # what all the others were is not worth reading
        self._jump(end, newest)
        return True

    def _jump(self, end: int, newest: Sequence[Commit]) -> None:
        with self._lock:
            if end > self.end:
                self._heads.clear()  # they may have moved in between
                self.end = end
        for commit in newest:
            for entry in commit.entries:
                self.move(entry.stream, entry.first + entry.length - 1)

    def _learn(self, talk: Talk, items: Sequence[Item]) -> None:
        for item in items:
            if is_fence(item):
                self.notice(talk, number(item, "x"))
                continue
            commit = commit_of(item)
            if commit.token[:8] != self.me:
                self._others = monotonic()
            self.add(commit)

    def add(self, commit: Commit) -> None:
        """Moves the end and the heads by a commit, unless another thread has: all at once."""
        with self._lock:
            self.served = max(self.served, commit.turn)
            if commit.first > self.end:
                _check_next(self.end, commit)
                for entry in commit.entries:
                    self._move(entry.stream, entry.first + entry.length - 1)
                self.end = commit.last
                self._recent[commit.first] = commit
                if len(self._recent) > _RECENT:
                    self._recent.popitem(last=False)

    def learn_head(self, talk: Talk, stream: str) -> int:
        """The version of a stream, from its newest part."""
        items, _ = talk.query(stream_key(stream), 1, LAST, 1, newest=True)
        version = 0
        if items:
            part = part_of(items[0])
            self.notice(talk, part.epoch)
            version = part.last
        self.move(stream, version)
        return version

    # --- reading

    def commits(self, talk: Talk, after: int, end: int, limit: int = _PAGE) -> Iterator[Commit]:
        """The commits from the one that has the position after `after`, up to the one that has `end`.

        limit: how many of them are probably wanted.
        """
        at = after
        while at < end:
            recent = self._recent.get(at + 1)
            if recent is not None:
                yield recent
                at = recent.last
                continue
            items, _ = talk.query(self.key_at(at + 1), at + 1, end, min(limit, _PAGE))
            commits = [commit_of(item) for item in items if not is_fence(item)]
            if not commits or commits[0].first > at + 1:  # the place is within a commit
                commits.insert(0, self.covering(talk, at + 1))
            for commit in commits:
                if commit.first > at + 1:
                    _check_next(at, commit)
                yield commit
                at = commit.last

    def covering(self, talk: Talk, position: int) -> Commit:
        """The commit that has a position. One of which a part was seen may become visible soon."""
        until = monotonic() + PATIENCE
        pause = 0.01
        while True:
            commit = self._find_covering(talk, position)
            if commit is not None:
                return commit
            if position <= self.end or monotonic() > until or talk.is_over:
                raise Corrupted(
                    f"position {position} of the feed is missing: the table was changed, or {REPAIR}"
                )
            talk.pause(pause)
            pause *= 2

    def _find_covering(self, talk: Talk, position: int) -> Commit | None:
        epoch = self.epoch_at(position)
        for bucket in range(position // BUCKET, -1, -1):
            items, _ = talk.query(feed_key(epoch, bucket * BUCKET), 0, position, 2, newest=True)
            commits = [commit_of(item) for item in items if not is_fence(item)]
            if commits:
                return commits[0] if commits[0].last >= position else None
        return None

    # --- epochs

    def raise_epoch(self, talk: Talk, now: int) -> int:
        """Begins another epoch at the end of the feed, which no commit of the old one can move then."""
        while True:
            self.refresh(talk)
            self.learn_epochs(talk)
            end, epochs, _ = self.known(())
            begun = epochs.next(end, now)
            following = Epochs((*epochs.begins, begun))
            actions = [
                talk.new(fence(self.epoch_at(end + 1), end + 1, begun[0])),
                talk.changed(
                    META,
                    0,
                    "SET e = :new, hint = :end",
                    {
                        ":new": {"S": epochs_text(following.begins)},
                        ":old": {"S": epochs_text(epochs.begins)},
                        ":end": {"N": str(end)},
                    },
                    "e = :old",
                ),
            ]
            try:
                talk.transact(actions, secrets.token_hex(16))
            except (Canceled, Throttled, Unsent, UnderWay, Lost):
                talk.pause(0.05)
            self.learn_epochs(talk)
            if begun in self.epochs.begins:
                return begun[0]
            if talk.is_over:
                raise talk.busy()

    def keep_hint(self, talk: Talk, end: int) -> None:
        """Keeps where the feed ended once: who opens the table begins to look there."""
        with suppress(Unmet, Throttled, Unsent, Lost):  # another has, or will, at the next bucket
            talk.update(META, 0, "SET hint = :end", {":end": {"N": str(end)}}, "hint < :end")


def _check_next(end: int, commit: Commit) -> None:
    """Raises Corrupted unless a commit begins where the one before ended: no race makes a hole."""
    if commit.first != end + 1:
        raise Corrupted(
            f"position {end + 1} of the feed is missing, and {commit.first} is there: the table was "
            f"changed, or {REPAIR}"
        )

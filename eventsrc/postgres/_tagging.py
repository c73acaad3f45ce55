"""The memory that a Postgres store has of kinds whose events have tags, and parameters about them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from eventsrc.events.codec import Kind
from eventsrc.postgres._conversation import array
from eventsrc.stores._tagging import BoundItem, not_indexed
from eventsrc.stores.prepare import Prepared

_MOST: Final = 10_000
"""The most choices of kinds that are remembered."""


class Chosen(NamedTuple):
    """An item of a boundary, with the kinds that it chooses; NULL for any."""

    tags: Sequence[str]
    kinds: str
    """An array, as Postgres writes it in another one."""
    prefix: str


Conditions: TypeAlias = list[tuple[int, list[Chosen]]]
"""The boundaries of an append: each the position after which nothing may match, and its items."""


class TaggedKinds:
    """The kinds of a store that are known to be whole, and by which declaration."""

    def __init__(self) -> None:
        self.seen = -1
        """A number that grows with all that there is to know; see `SEEN`."""
        self._whole: dict[int, str] = {}
        self._choices: dict[tuple[Any, ...], str | None] = {}

    def learn(self, seen: int, whole: dict[int, str]) -> None:
        """Keeps what a store has said: the declarations by which kinds are whole, by their numbers."""
        self.seen, self._whole, self._choices = seen, whole, {}

    def copy(self) -> TaggedKinds:
        """For a transaction, which may see what is not committed yet."""
        copy = TaggedKinds()
        copy.learn(self.seen, self._whole)
        return copy

    def choose(self, items: Iterable[BoundItem], kinds: Mapping[int, Kind]) -> list[Chosen]:
        """The items that some event may match. kinds: all that have numbers.

        Raises NotIndexed for a tag that not all events have which should have it.
        """
        found: list[Chosen] = []
        for item in items:
            key = bool(item.tags), item.types, *item.declared.items()
            if key not in self._choices:
                if len(self._choices) > _MOST:
                    self._choices.clear()
                self._choices[key] = self._chosen(item, kinds)
            numbers = self._choices[key]
            if numbers is not None:
                found.append(Chosen(item.tags, numbers, item.prefix))
        return found

    def _chosen(self, item: BoundItem, kinds: Mapping[int, Kind]) -> str | None:
        """The kinds of an item, as in Chosen; None if no event can match it."""
        for number, kind in kinds.items():
            declared = item.declared.get(kind.type)
            if declared is not None and self._whole.get(number) != declared:
                raise not_indexed(kind.type)
        if item.tags and item.types is None:
            return "NULL"
        numbers = [number for number, kind in kinds.items() if item.takes(item.prefix, kind.type)]
        return f'"{array(numbers)}"' if numbers else None


def is_tagged(asked: Prepared) -> bool:
    """Whether an append brings tags, or depends on boundaries."""
    return asked.tagging is not None or bool(asked.bounds)


def texts(values: Sequence[str | None]) -> str:
    """An array of texts, as Postgres writes it."""
    return "{" + ",".join(map(_quoted, values)) + "}"


def _quoted(value: str | None) -> str:
    if value is None:
        return "NULL"
    if "\\" in value or '"' in value:
        value = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{value}"'


def of_items(items: Sequence[Chosen]) -> tuple[str, str, str]:
    """Arrays of the tags, the kinds and the prefixes of items."""
    return (
        texts([texts(tags) for tags, _, _ in items]),
        _joined([kinds for _, kinds, _ in items]),
        texts([prefix for _, _, prefix in items]),
    )


def _joined(texts: Sequence[str]) -> str:
    return "{" + ",".join(texts) + "}"


_NO_ITEMS: Final = ("{}",) * 5


def _since(conditions: Conditions) -> tuple[str, ...]:
    """Arrays of the positions, first tags, tags, kinds and prefixes of the items of boundaries."""
    items = [item for _, its in conditions for item in its]
    if not items:
        return _NO_ITEMS
    nothing = _joined(["NULL"] * len(items))
    firsts, all_tags, prefixes = [], nothing, nothing
    for tags, _, prefix in items:
        firsts.append(tags[0] if tags else None)
        if len(tags) > 1:
            all_tags = ""
        if prefix:
            prefixes = ""
    return (
        array([after for after, its in conditions for _ in its]),
        texts(firsts),
        all_tags or texts([texts(tags) if len(tags) > 1 else None for tags, _, _ in items]),
        _joined([kinds for _, kinds, _ in items]),
        prefixes or texts([prefix for _, _, prefix in items]),
    )


def of_one(asked: Prepared, conditions: Conditions, seen: int) -> tuple[Any, ...]:
    """The parameters of `append_tagged_one` besides those of `append_one`.

    seen: what was known of kinds when they were chosen.
    """
    tagging = asked.tagging
    declared, tags = "", "{}"
    if tagging is not None:
        declared, tags = tagging.declared[0], texts([tag for _, tag in dict.fromkeys(tagging.tags)])
    if not conditions:
        return declared, tags, 0, None, None, "{}", *_NO_ITEMS
    since = [after for after, _ in conditions]
    bounds = array([nth for nth, (_, its) in enumerate(conditions, 1) for _ in its])
    return declared, tags, seen, min(since), max(since), bounds, *_since(conditions)


def of_group(group: Sequence[Prepared], conditions: Sequence[Conditions], seen: int) -> tuple[Any, ...]:
    """The parameters of `append_tagged` besides those of `append`. seen: as of `of_one`."""
    declared: list[str] = []
    counts: list[int] = []
    offsets: list[int] = []
    tags: list[str] = []
    for asked in group:
        tagging = asked.tagging
        if tagging is None:
            declared += [""] * sum([len(part.events) for part in asked.parts])
            counts.append(0)
        else:
            declared += tagging.declared
            each_once = dict.fromkeys(tagging.tags)
            counts.append(len(each_once))
            offsets += [offset + 1 for offset, _ in each_once]
            tags += [tag for _, tag in each_once]
    of_all = [each for its in conditions for each in its]
    return (
        texts(declared),
        array(counts),
        array(offsets),
        texts(tags),
        seen,
        array([nth for nth, its in enumerate(conditions, 1) for _ in its]),
        array([after for after, _ in of_all]),
        array([len(items) for _, items in of_all]),
        *_since(of_all),
    )

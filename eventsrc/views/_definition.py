"""The definition of a view: the part of it that decides what is built of the events, as text.

It is kept beside the view's progress, and whoever applies events compares its own with it: handlers
that are given other events than those before them, or tables that they do not know, would build
something that no one definition builds, and say that it is up to date. The code of handlers is no part
of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, Final

import attrs

from eventsrc.views.view import View


@attrs.frozen(slots=False)
class Definition:
    """The definition of a version of a view.

    tables: those that its schema function makes, as SQL or another text; None if that is not known.
    tables_by: by what that text was made: another may write the same tables in another way.
    """

    view: str
    prefix: str
    all_streams: bool
    handles: tuple[str, ...]
    tables: tuple[str, ...] | None
    tables_by: str

    @classmethod
    def of(cls, view: View[Any], tables: Sequence[str] | None, tables_by: str) -> Definition:
        """The definition of a view whose tables are those."""
        its = None if tables is None else tuple(tables)
        return cls(view.name, view.prefix, view.all_streams, view.handled, its, tables_by)

    @classmethod
    def parse(cls, text: str) -> Definition:
        """A definition that was kept."""
        kept = json.loads(text)
        tables = None if kept["tables"] is None else tuple(kept["tables"])
        fields = kept["view"], kept["prefix"], kept["all_streams"], tuple(kept["handles"])
        return cls(*fields, tables, kept["tables_by"])

    @cached_property
    def text(self) -> str:
        """It as JSON."""
        return json.dumps(attrs.asdict(self), ensure_ascii=True, separators=(",", ":"))

    @cached_property
    def number(self) -> int:
        """A number that no other definition has; not 0."""
        digest = hashlib.blake2b(self.text.encode(), digest_size=8).digest()
        return (int.from_bytes(digest, "big") >> 1) | 1

    def differences(self, kept: Definition) -> Iterator[tuple[str, object, object]]:
        """The differences to a definition that was kept: of what, as it was, and as it is now."""
        for name in _NAMED:
            before, now = getattr(kept, name), getattr(self, name)
            if before != now:
                yield _NAMED[name], _shown(before), _shown(now)
        if self.makes_others_than(kept):
            before, now = set(kept.tables or ()), set(self.tables or ())
            yield "what its schema function makes", _lines(before - now), _lines(now - before)

    def makes_others_than(self, kept: Definition) -> bool:
        """Whether its tables are others than those of a definition that was kept, if both are known."""
        if None in (self.tables, kept.tables) or self.tables_by != kept.tables_by:
            return False
        return self.tables != kept.tables


_NAMED: Final = {
    "prefix": "its prefix",
    "all_streams": "whether it sees the library's own streams",
    "handles": "the event types that it handles",
}


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(value) or "none"
    return repr(value)


def _lines(texts: set[str]) -> str:
    return "; ".join(sorted(texts)) or "nothing of it"

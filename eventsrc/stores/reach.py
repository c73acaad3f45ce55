"""The streams that an operation of a store reaches, for rules about who may do what with which.

Authorisation and tenancy go by it: a rule that asks `streams_of` cannot be walked around by another
operation, since one that is not known here is refused, and not passed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import attrs

from eventsrc.events.stream_id import StreamId
from eventsrc.programs.operation import Derived, Operation
from eventsrc.stores.copying import EndCopy, GetIdentity, KeepRecords
from eventsrc.stores.operations import (
    Append,
    AppendAll,
    FindAppend,
    GetEpochs,
    Head,
    LoadSnapshot,
    RaiseEpoch,
    Read,
    ReadFeed,
    SaveSnapshot,
)
from eventsrc.stores.tags import AppendIf, IndexTags, ReadTagged


@attrs.frozen
class Reach:
    """The streams that an operation may read or write.

    prefixes: all the streams below them; the empty one stands for the whole store.
    """

    streams: frozenset[StreamId] = frozenset()
    prefixes: frozenset[str] = frozenset()

    def is_below(self, prefix: str) -> bool:
        """Whether all that is reached is below a prefix, such as `tenants/7/`."""
        return all(name.startswith(prefix) for name in (*self.streams, *self.prefixes))


NOTHING: Final = Reach()
WHOLE_STORE: Final = Reach(prefixes=frozenset({""}))


def _one(op: Any) -> Reach:
    return Reach(frozenset({op.stream}))


_REACHES: Final[dict[type, Callable[[Any], Reach]]] = {
    Append: _one,
    AppendAll: lambda op: Reach(frozenset(part.stream for part in (*op.appends, *op.conditions))),
    FindAppend: lambda _: WHOLE_STORE,
    GetEpochs: lambda _: NOTHING,
    Head: _one,
    LoadSnapshot: _one,
    RaiseEpoch: lambda _: WHOLE_STORE,
    Read: _one,
    ReadFeed: lambda op: Reach(prefixes=frozenset({op.prefix})),
    SaveSnapshot: lambda op: _one(op.snapshot),
    **dict.fromkeys((AppendIf, ReadTagged, IndexTags), lambda _: WHOLE_STORE),
    **dict.fromkeys((GetIdentity, KeepRecords, EndCopy), lambda _: WHOLE_STORE),
}


def streams_of(op: Operation[Any]) -> Reach:
    """The streams that a store's operation reaches: by their ids, or all below a prefix.

    FindAppend may find an append to any stream, and so reaches the whole store. Of a derived operation,
    such as Load, ask for those that it means: a store that is surrounded is asked for these.
    Raises TypeError for an operation that is no store's.
    """
    for base in type(op).__mro__:
        if base in _REACHES:
            return _REACHES[base](op)
    what = "means others: ask for those" if isinstance(op, Derived) else "is no operation of a store"
    raise TypeError(f"{op!r:.200} {what}")

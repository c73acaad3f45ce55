"""Remembering states: an interpreter that folds each event of a stream once.

`remembering(store)` takes over `Load`. It keeps the states that were asked for last, and answers by
reading on from the version that it holds, so that the answer is as new as without it: what it saves is
reading and folding the same events again. (The cache of Equinox, which does the same with an etag.)
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any, TypeAlias, TypeVar, cast

from eventsrc.events.stream_id import StreamId
from eventsrc.programs.interpreter import (
    AsyncInterpreter,
    Translation,
    Wrappable,
    on,
    rescoped,
    scope_of,
)
from eventsrc.programs.program import Do
from eventsrc.streams.fold import LATEST_SNAPSHOT, Fold, Folded, FoldOp, Load

K = TypeVar("K")

CachedFolds: TypeAlias = OrderedDict[tuple[StreamId, int], tuple[Fold[Any, Any], Folded[Any]]]


class _Remembering(Translation[Load, FoldOp]):
    def __init__(self, states: int) -> None:
        if states < 1:
            raise ValueError(f"states={states}: remember at least one, or use the store as it is")
        self._states = states
        self._lock = threading.Lock()
        # A fold is known by being the same object, since it may hold what has no hash. The entry holds
        # it, so that no other can get its id.
        self._held: CachedFolds = OrderedDict()

    @on(Load).program
    def load(self, op: Load) -> Do[FoldOp, Folded[Any]]:
        """Reads on from the newest state that is known here or to the caller."""
        key = op.stream, id(op.fold)
        with self._lock:
            held = self._held.get(key)
        if op.consistency is LATEST_SNAPSHOT:
            return (yield from _lower(op))
        known = op.known
        if held is not None and (known is None or known.version < held[1].version):
            known = held[1]
        folded = yield from _lower(Load(op.stream, op.fold, known))
        with self._lock:
            self._held[key] = op.fold, folded
            self._held.move_to_end(key)
            if len(self._held) > self._states:
                self._held.popitem(last=False)
        return folded


def _lower(op: Load) -> Do[FoldOp, Folded[Any]]:
    return (yield from cast("Any", op))  # type: ignore[no-any-return]


def remembering(store: Wrappable[K], states: int = 10_000) -> K:
    """The store's interpreter, with the states that were loaded last kept in memory.

    states: how many are kept, of streams and folds together; the least recently used are dropped.
    Make a fold once, not for each call: states are kept for that very Fold. What they hold is given to
    every caller and must not be changed. May be used from threads and tasks, as the store may.
    Raises MissingHandlers for an interpreter that cannot load.
    """
    app = cast("AsyncInterpreter[Any]", store)
    return rescoped(store, scope_of(app.but(_Remembering(states).into(app))))

"""Reading one's own writes, without code in the service.

A session notes the token of everything that is written in it, and makes views at least that new before
a query asks them:

    session = Session()
    below = session.noting(store) | world
    app = UserCommands().into(below) | session.forcing(UserQueries(views), users, using=below | views)

Make one for each run, request or user. Its token can be taken along, and given to the next:
`Session(token)`.
"""

from __future__ import annotations

import threading
from typing import Any, Final, TypeVar, overload

from returns.result import Failure, Success

from eventsrc._errors import EventsrcError
from eventsrc.events.positions import Token
from eventsrc.following.synchroniser import Stale, check_store, force
from eventsrc.programs.interpreter import AsyncInterpreter, Interpreter, Wrappable
from eventsrc.programs.operation import Query
from eventsrc.programs.program import Do, Outcome
from eventsrc.programs.world import Elapsed
from eventsrc.stores.operations import (
    Appended,
    FindAppend,
    Head,
    Page,
    Read,
    StoreOp,
)
from eventsrc.stores.tags import APPENDS, TagOp
from eventsrc.streams.fold import Folded, Load
from eventsrc.views.operations import GetLive
from eventsrc.views.view import View

K = TypeVar("K")
O = TypeVar("O")

_WRITES: Final = (*APPENDS, FindAppend)
"""FindAppend too: a decision that is made again under its id finds what it wrote the first time."""

_READS: Final = (Read, Head, Load)
"""Load too: a store that remembers answers it itself, and reads below what is noted here."""


class NotNewEnough(EventsrcError):
    """A view did not become as new as what was written in the session: see `stale`."""

    def __init__(self, stale: Stale) -> None:
        parked = f"; parked: {', '.join(stale.parked)}" if stale.parked else ""
        super().__init__(
            f"{stale.view!r} has not applied {dict(stale.missing.versions)} in time{parked}: give it "
            "more time (within=), or see why its synchroniser is behind"
        )
        self.stale = stale


class Session:
    """The versions that the session has seen so far.

    token: what was seen before; None for nothing. If it is of another store, the first operation raises
        WrongStore, before it does anything: begin again without it.
    within: for how many seconds the views of a query may be waited for.
    """

    def __init__(self, token: Token | None = None, *, within: float = 5.0) -> None:
        self._token = token
        self._within = within
        self._lock = threading.Lock()
        self._forced: dict[tuple[str, int], Token] = {}
        self._is_checked = token is None

    @property
    def token(self) -> Token | None:
        """All that was written in the session, and what it began with; None for nothing."""
        return self._token

    def saw(self, token: Token) -> None:
        """Adds what was seen elsewhere. Raises WrongStore for a token of another store."""
        with self._lock:
            self._token = token if self._token is None else self._token | token

    @overload
    def noting(
        self, store: Interpreter[StoreOp | TagOp], *, reads: bool = False
    ) -> Interpreter[StoreOp | TagOp]: ...
    @overload
    def noting(  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]
        self, store: Interpreter[StoreOp], *, reads: bool = False
    ) -> Interpreter[StoreOp]: ...
    @overload
    def noting(
        self, store: AsyncInterpreter[StoreOp | TagOp], *, reads: bool = False
    ) -> AsyncInterpreter[StoreOp | TagOp]: ...
    @overload
    def noting(
        self, store: AsyncInterpreter[StoreOp], *, reads: bool = False
    ) -> AsyncInterpreter[StoreOp]: ...
    def noting(self, store: AsyncInterpreter[Any], *, reads: bool = False) -> AsyncInterpreter[Any]:
        """The store, of which the session notes what is written, and with `reads` what is read.

        The feed is not noted: who reads it, reads all.
        """
        return store.around(self._note, only=_WRITES + _READS if reads else _WRITES)

    @overload
    def forcing(self, queries: Wrappable[K], *views: View[Any], using: Interpreter[Any]) -> K: ...
    @overload
    def forcing(
        self, queries: AsyncInterpreter[O], *views: View[Any], using: AsyncInterpreter[Any]
    ) -> AsyncInterpreter[O]: ...
    def forcing(self, queries: Any, *views: View[Any], using: AsyncInterpreter[Any]) -> Any:
        """The queries, before each of which the views are made as new as the session.

        using: the store, the views and the world. If that needs an event loop, the queries then do.
        Raises NotNewEnough if a view does not become so in time.
        """

        def first(op: Any) -> Any:
            yield from self._force(views)
            return (yield from op)

        return queries.around(first, only=Query, using=using)

    def _note(self, op: Any) -> Do[Any, Any]:
        if not self._is_checked and self._token is not None:
            yield from check_store(self._token)
            self._is_checked = True
        answer: Outcome[Appended, Any] | Appended | Page[Any] | Folded[Any] | int | None = yield from op
        match answer:
            case (
                Success(Appended(token=token))
                | Appended(token=token)
                | Page(token=token)
                | Folded(token=token)
            ):
                self.saw(token)
            case int():
                page: Page[Any] = yield from Read(op.stream, limit=1)  # whose token names the store
                self.saw(Token(page.token.store_id, {op.stream: answer}, page.token.epoch))
            case _:
                pass
        return answer

    def _force(self, views: tuple[View[Any], ...]) -> Do[Any, None]:
        token = self._token
        if token is None:
            return
        read: dict[tuple[str, int], View[Any]] = {}
        for view in views:  # of several versions of one, that which queries read
            live = yield from GetLive(view)
            if view.version == live or (view.name, live) not in read:
                read[view.name, live] = view
        deadline = (yield from Elapsed()) + self._within
        for key, view in read.items():
            known = self._forced.get(key)
            if known is not None and known.covers(token):
                continue
            left = max(deadline - (yield from Elapsed()), 0.0)
            match (yield from force(view, token, left)):
                case Failure(stale):
                    raise NotNewEnough(stale)
                case Success():
                    self._forced[key] = token

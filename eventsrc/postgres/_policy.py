"""The policy for connections: how a statement reaches a Postgres, written once for threads and tasks.

Each way to it is a policy: connections of a store's own, those of a user's pool, or one in whose
transaction a user works. Its methods are conversations that yield requests, and are sent what a driver
(see _link.py) has done: Take the right to a connection, Connect, Execute, Pause, Give it back.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections import deque
from collections.abc import Callable, Generator
from typing import Any, Final, TypeAlias, TypeVar

import attrs
import psycopg
from psycopg.pq import TransactionStatus
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests

from eventsrc._clock import monotonic
from eventsrc.postgres._connection import (
    Session,
    check_isolation,
    check_session_settings,
    forked,
    hosts_of,
    is_stale,
    left_until,
    limit,
    limit_here,
    settings,
    unwatched,
)
from eventsrc.postgres._conversation import Conversation, Rows, Statement, StoreIdentity, answered
from eventsrc.postgres._errors import before_storing, may_come_back, not_connected, of_pool
from eventsrc.postgres._schema import who_holds
from eventsrc.stores.operations import Lost, Refused, StoreBusy, StoreClosed, StoreError, Unreachable

T = TypeVar("T")

GRACE: Final = 0.25
"""The seconds that a client waits longer than its server."""

_LOOK: Final = 0.2
"""The most seconds, after its deadline, for finding out who kept an append waiting."""

_FRESH: Final = 0.001
"""For how many seconds a connection that was in use is not looked at before it is used again: had the
server ended it since, it might as well do so in the middle of what is asked next."""

_ISOLATION: Final = Statement(b"SELECT current_setting('transaction_isolation')", ())
_BEGIN: Final = Statement(b"BEGIN")
_COMMIT: Final = Statement(b"COMMIT")
_ROLLBACK: Final = Statement(b"ROLLBACK")


@attrs.define(eq=False)
class Take:
    """Answered with a session on a connection of the user's pool or, without one, with None.

    None is the right to one of the store's own connections. Raises TimeoutError, or what a pool raises.
    deadline: when to give up, by _clock.monotonic().
    """

    deadline: float


@attrs.define(eq=False)
class Connect:
    """Answered with a session on a new connection. Raises psycopg.OperationalError."""

    address: str
    options: dict[str, Any]
    seconds: float


@attrs.define(eq=False)
class Execute:
    """Answered with the rows of a statement. Raises StoreError.

    until: when to end the connection of a server that has not answered, by _clock.monotonic().
    """

    session: Session
    statement: Statement
    until: float


@attrs.define(eq=False)
class Pause:
    """Answered after some time."""

    seconds: float


@attrs.define(eq=False)
class Give:
    """Gives back what was taken."""

    session: Session | None


Request: TypeAlias = Take | Connect | Execute | Pause | Give
Dialogue: TypeAlias = Generator[Request, Any, T]


class Policy:
    """A way to a Postgres. In a process that was forked, each use raises StoreClosed.

    on_loss: is called when a connection turns out to be broken.
    holders: asks who may have kept an append waiting: see Tables.holders.
    """

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._is_closed = False
        self.on_loss: Callable[[], None] = _nothing
        self.holders: Statement | None = None

    @property
    def is_ours(self) -> bool:
        """Whether it was opened in this process."""
        return self._pid == os.getpid()

    def check_usable(self) -> None:
        """Raises StoreClosed if it was closed, or opened in another process."""
        if not self.is_ours:  # what is locked there may be locked here for ever
            raise forked()
        self._check_open()

    def _check_open(self) -> None:
        if self._is_closed:
            raise StoreClosed("the store was closed: open it again")

    def execute(self, statement: Statement, deadline: float) -> Dialogue[Rows]:
        """Executes a statement, in a transaction of its own, on any connection.

        deadline: when to give up, by _clock.monotonic().
        """
        raise NotImplementedError

    def read(self, statement: Statement, deadline: float) -> Dialogue[Rows]:
        """Like `execute`, and once more if the connection broke: for what may be done twice."""
        try:
            return (yield from self.execute(statement, deadline))
        except (Lost, Unreachable) as error:
            is_lost = isinstance(error, Lost) or isinstance(error.__cause__, Lost)
            if not is_lost or monotonic() >= deadline:
                raise
        return (yield from self.execute(statement, deadline))

    def write(self, statement: Statement, deadline: float) -> Dialogue[Rows]:
        """Like `execute`; the error for one that others kept waiting names them."""
        try:
            return (yield from self.execute(statement, deadline))
        except StoreBusy as error:
            raise (yield from self._named(error)) from error.__cause__

    def find(self, statement: Statement, deadline: float) -> Dialogue[Rows]:
        """Like `read`; the error for one that others kept waiting names them."""
        try:
            return (yield from self.read(statement, deadline))
        except StoreBusy as error:
            raise (yield from self._named(error)) from error.__cause__

    def close(self) -> None:
        """Closes its own connections; those in use, when they are given back."""
        self._is_closed = True

    def _named(self, error: StoreBusy) -> Dialogue[StoreBusy]:
        """The error with the names of those who have the order lock."""
        if self.holders is None:
            return error
        try:
            found = yield from self.execute(self.holders, monotonic() + _LOOK)
        except StoreError:
            return error
        names = who_holds(found)
        return StoreBusy(f"{error} (the right to append is held by {names})") if names else error


class Connections(Policy):
    """A way on which connections are taken and given back.

    timeout: how many seconds a statement may take, the wait for a connection included.
    """

    def __init__(self, timeout: float) -> None:
        super().__init__()
        self.timeout: Final = timeout
        self._losses = 0

    def deadline(self) -> float:
        """The deadline of what begins now."""
        return monotonic() + self.timeout

    def execute(self, statement: Statement, deadline: float) -> Dialogue[Rows]:
        losses = self._losses
        session = yield from self.take(deadline)
        try:
            if statement.uses_cached_heads and losses != self._losses:
                raise Refused("a connection was lost, and with it what was known")
            until = deadline + GRACE
            if (said := self._limit(session, deadline)) is not None:
                with before_storing():
                    yield Execute(session, said, until)
            rows: Rows = yield Execute(session, self._limited(statement, deadline), until)
            return rows
        finally:
            self._keep(session)
            yield Give(session)

    def in_transaction(self, questions: Conversation[T]) -> Dialogue[T]:
        """Asks questions in one transaction, which is committed unless they raise an error."""
        session = yield from self.take(self.deadline())
        try:
            yield from self.limit_session(session)
            yield from self.on(session, _BEGIN)
            yield from self.limit_transaction(session)
            answer = yield from answered(questions, lambda each: self.on(session, each))
            yield from self.on(session, _COMMIT)
        except StoreError:
            status = session.connection.pgconn.transaction_status
            if status in (TransactionStatus.INTRANS, TransactionStatus.INERROR):
                with contextlib.suppress(StoreError):  # a connection that broke is given up
                    yield from self.on(session, _ROLLBACK)
            raise
        finally:
            yield from self.give(session)
        return answer

    def on(self, session: Session, statement: Statement) -> Dialogue[Rows]:
        """Executes a statement on one session, for the timeout of a statement."""
        rows: Rows = yield Execute(session, statement, self.deadline() + GRACE)
        return rows

    def take(self, deadline: float) -> Dialogue[Session]:
        """A session, to be given back. Raises StoreBusy, Unreachable or StoreClosed."""
        raise NotImplementedError

    def give(self, session: Session) -> Dialogue[None]:
        """Gives a session back."""
        self._keep(session)
        yield Give(session)

    def limit_session(self, session: Session) -> Dialogue[None]:
        """Has each statement of a transaction to come end by the timeout, if that can be said."""
        if (said := self._limit(session, self.deadline())) is not None:
            yield from self.on(session, said)

    def limit_transaction(self, session: Session) -> Dialogue[None]:
        """Has each statement of a transaction that has begun end by the timeout."""
        yield from ()

    def _limit(self, session: Session, deadline: float) -> Statement | None:
        """Has the server give up what a session asks next at a deadline; None if it will anyway."""

    def _limited(self, statement: Statement, deadline: float) -> Statement:
        """The statement such that the server gives it up at a deadline, with what `_limit` said."""
        return statement

    def _keep(self, session: Session) -> None:
        """Keeps a session that is given back, or closes it."""
        raise NotImplementedError


class OwnConnections(Connections):
    """Connections that are made when they are needed, and kept.

    for_handlers: whether handlers of views use its own connections: see `settings`.
    """

    def __init__(self, address: str, timeout: float, *, for_handlers: bool = False) -> None:
        super().__init__(timeout)
        self._address = address
        self._hosts = hosts_of(address)
        self._options = settings(address, timeout, for_handlers=for_handlers)
        self._idle: deque[Session] = deque()

    def close(self) -> None:
        super().close()
        while self._idle:
            self._idle.pop().close()

    def take(self, deadline: float) -> Dialogue[Session]:
        if not self.is_ours:
            raise forked()
        try:
            yield Take(deadline)
        except TimeoutError:
            raise StoreBusy(
                f"there was no free connection to Postgres for {self.timeout} seconds"
            ) from None
        try:
            session = self._idle_one()
            return (yield from self._made(deadline)) if session is None else session
        except BaseException:
            yield Give(None)
            raise

    def connected(self, deadline: float) -> Dialogue[Session]:
        """A new session, of the first host that answers; the hosts share the time.

        Raises psycopg.OperationalError.
        """
        each = (deadline - monotonic()) / len(self._hosts)
        errors: list[psycopg.OperationalError] = []
        for host in self._hosts:
            try:
                session = yield from self._attempt(host, each)
            except psycopg.OperationalError as error:
                errors.append(error)
            else:
                session.allowed = self.timeout
                return session
        if len(errors) == 1:
            raise errors[0]
        raise psycopg.OperationalError("\n".join(map(str, errors))) from errors[-1]

    def _limit(self, session: Session, deadline: float) -> Statement | None:
        return limit(session, deadline)

    def _keep(self, session: Session) -> None:
        if self._is_closed or not session.is_reusable:
            self._lose()
            session.close()
        else:
            session.used = monotonic()
            self._idle.append(session)

    def _lose(self) -> None:
        """Notes that a connection was broken."""
        self._losses += 1
        self.on_loss()

    def _idle_one(self) -> Session | None:
        """One of the sessions that are kept and not known to be broken."""
        self._check_open()
        while self._idle:
            session = self._idle.pop()
            if monotonic() - session.used < _FRESH or not is_stale(session.connection):
                return session
            session.close()
            self._lose()
        return None

    def _made(self, deadline: float) -> Dialogue[Session]:
        """A new session; it tries again until a deadline."""
        pause = 0.01
        while monotonic() < deadline:
            try:
                return (yield from self.connected(deadline))
            except psycopg.OperationalError as error:
                if not may_come_back(error) or monotonic() + pause >= deadline:
                    raise not_connected(error) from error
            yield Pause(pause)
            pause = min(2 * pause, 0.2)
        raise Unreachable("there was no time left to connect to Postgres")

    def _attempt(self, host: str, seconds: float) -> Dialogue[Session]:
        session: Session
        try:
            session = yield Connect(host, self._options, seconds)
        except psycopg.OperationalError as error:
            options = unwatched(self._options["options"], error)
            self._options = self._options | {"options": options}
            session = yield Connect(host, self._options, seconds)
        return session


class PoolConnections(Connections):
    """Connections of a user's pool, in autocommit until they are given back as they were."""

    _is_checked = False

    def take(self, deadline: float) -> Dialogue[Session]:
        self.check_usable()
        seconds = max(deadline - monotonic(), 0.0)
        try:
            session: Session = yield Take(deadline)
        except (PoolTimeout, TooManyRequests, PoolClosed) as error:
            raise of_pool(error, seconds) from error
        try:
            check_session_settings(session.connection)
            if not self._is_checked:
                with before_storing():
                    ((level,),) = yield Execute(session, _ISOLATION, deadline + GRACE)
                check_isolation(level)
                self._is_checked = True
        except BaseException:
            yield from self.give(session)
            raise
        return session

    def limit_transaction(self, session: Session) -> Dialogue[None]:
        yield from self.on(session, limit_here(self.timeout))

    def _limited(self, statement: Statement, deadline: float) -> Statement:
        return statement.within(left_until(deadline))

    def _keep(self, session: Session) -> None:
        if not session.is_reusable:  # interrupted in the middle of something: the pool makes another
            session.close()


class CallersTransaction(Policy):
    """One connection, in the transaction that its user is in; how long it waits is the user's affair.

    identity: the store whose statements they are.
    """

    def __init__(
        self,
        connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any],
        identity: StoreIdentity,
    ) -> None:
        super().__init__()
        self._session = Session(connection, is_watched=False)
        self._identity = identity
        self._level = ""

    def check_usable(self) -> None:
        """Raises StoreError if its connection is closed, or its transaction has failed."""
        match self._session.connection.pgconn.transaction_status:
            case TransactionStatus.UNKNOWN:
                raise StoreClosed(
                    "the connection that was given is closed or broken: give one that is open"
                )
            case TransactionStatus.INERROR:
                raise StoreError("the transaction that was given has failed before: roll it back first")
            case _:
                check_session_settings(self._session.connection)

    def execute(self, statement: Statement, deadline: float) -> Dialogue[Rows]:
        """Executes a statement. Raises WrongStore if the tables there are those of another store."""
        yield from self._identify()
        return (yield from self._executed(statement))

    def read(self, statement: Statement, deadline: float) -> Dialogue[Rows]:
        return (yield from self.execute(statement, deadline))

    def write(self, statement: Statement, deadline: float) -> Dialogue[Rows]:
        """Like `execute`, in a transaction that sees what was committed while it waited."""
        yield from self._identify()
        check_isolation(self._level)
        return (yield from self._executed(statement))

    find = read

    def close(self) -> None:
        """Does nothing: the connection is its user's."""

    def _identify(self) -> Dialogue[None]:
        """Sees to it, the first time, that the store is there, and how isolated the transaction is."""
        if not self._level:
            with before_storing():
                found = yield from self._executed(self._identity.statement)
            self._level = self._identity.level(found)

    def _executed(self, statement: Statement) -> Dialogue[Rows]:
        self.check_usable()
        rows: Rows = yield Execute(self._session, statement, math.inf)
        return rows


def _nothing() -> None:
    """Does nothing about a loss."""

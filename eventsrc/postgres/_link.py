"""The two drivers of a policy for connections: one waits in a thread, the other in an event loop."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Awaitable, Callable, Generator, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Final, Generic, TypeVar

import psycopg
from psycopg.pq import TransactionStatus
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from eventsrc._clock import Timer, call_later, monotonic, sleep, timeout, within
from eventsrc.postgres._connection import (
    MOMENT,
    Session,
    check_address,
    check_timeout,
    has_rows,
    limited_cursors,
)
from eventsrc.postgres._conversation import Conversation, Rows, Statement, answered
from eventsrc.postgres._policy import (
    GRACE,
    Connect,
    Connections,
    Dialogue,
    Execute,
    Give,
    OwnConnections,
    Policy,
    PoolConnections,
    Request,
    Take,
)
from eventsrc.stores.operations import StoreError, Unreachable

T = TypeVar("T")
P = TypeVar("P", bound=Policy, covariant=True)

_MOST: Final = 8
"""The most connections of its own that a store may have."""


class Driver(Generic[P]):
    """Does what a policy requests, in a thread."""

    def __init__(self, policy: P, pool: ConnectionPool[Any] | None = None) -> None:
        self.policy: Final = policy
        self._source = _Rights() if pool is None else _Pool(pool)

    def run(self, dialogue: Dialogue[T]) -> T:
        """The result of a conversation with a policy."""
        step: Callable[[Any], Request] = dialogue.send
        value: Any = None
        while True:
            try:
                request = step(value)
                if isinstance(request, Execute):
                    value = _executed(request.session, request.statement, request.until)
                elif isinstance(request, Take):
                    value = self._source.take(request.deadline)
                elif isinstance(request, Give):
                    self._source.give(request.session)
                elif isinstance(request, Connect):
                    value = Session(_connected(request))
                else:
                    time.sleep(request.seconds)
                step = dialogue.send
            except StopIteration as stop:
                answer: T = stop.value
                return answer
            except BaseException as error:  # an interruption must not keep what was taken
                if inspect.getgeneratorstate(dialogue) == inspect.GEN_CLOSED:
                    raise
                step, value = dialogue.throw, error


class AsyncDriver(Generic[P]):
    """Does what a policy requests, in an event loop."""

    def __init__(self, policy: P, pool: AsyncConnectionPool[Any] | None = None) -> None:
        self.policy: Final = policy
        self._source = _AsyncRights() if pool is None else _AsyncPool(pool)

    async def run(self, dialogue: Dialogue[T]) -> T:
        """The result of a conversation with a policy."""
        step: Callable[[Any], Request] = dialogue.send
        value: Any = None
        while True:
            try:
                request = step(value)
                if isinstance(request, Execute):
                    value = await _Interruptible(request)
                elif isinstance(request, Take):
                    value = await self._source.take(request.deadline)
                elif isinstance(request, Give):
                    given = self._source.give(request.session)
                    if given is not None:
                        await given
                elif isinstance(request, Connect):
                    value = Session(await _connected_async(request))
                else:
                    await sleep(request.seconds)
                step = dialogue.send
            except StopIteration as stop:
                answer: T = stop.value
                return answer
            except BaseException as error:  # a cancellation must not keep what was taken
                if inspect.getgeneratorstate(dialogue) == inspect.GEN_CLOSED:
                    raise
                step, value = dialogue.throw, error


class _Rights:
    """The rights to a store's own connections."""

    def __init__(self) -> None:
        self._free: SimpleQueue[None] = SimpleQueue()  # a third of the cost of a Semaphore
        for _ in range(_MOST):
            self._free.put(None)

    def take(self, deadline: float) -> Session | None:
        try:
            return self._free.get_nowait()
        except Empty:
            pass
        try:
            return self._free.get(timeout=_left(deadline))
        except Empty:
            raise TimeoutError from None

    def give(self, _: Session | None) -> None:
        self._free.put(None)


class _Pool:
    """The connections of a user's pool."""

    def __init__(self, pool: ConnectionPool[Any]) -> None:
        self._pool = pool

    def take(self, deadline: float) -> Session | None:
        connection = self._pool.getconn(_left(deadline))
        try:
            session = Session(connection)
            connection.set_autocommit(True)
        except psycopg.Error as error:
            self._pool.putconn(connection)
            raise _broken(error) from error
        except BaseException:
            self._pool.putconn(connection)
            raise
        return session

    def give(self, session: Session | None) -> None:
        assert session is not None
        if not session.connection.closed:
            session.watched.close()
            session.connection.set_autocommit(session.was_autocommit)
        self._pool.putconn(session.connection)


def _broken(error: psycopg.Error) -> Unreachable:
    """The error for a connection of a pool that was broken when it came."""
    return Unreachable(f"the connection that the pool gave cannot be used: {error}")


class _AsyncRights:
    """Like `_Rights`, in an event loop."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(_MOST)

    def take(self, deadline: float) -> Awaitable[Any]:
        if self._free.locked():
            return within(_left(deadline), self._free.acquire())
        return self._free.acquire()  # at once, without a timer

    def give(self, _: Session | None) -> None:
        self._free.release()


class _AsyncPool:
    """Like `_Pool`, in an event loop."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self._pool = pool

    async def take(self, deadline: float) -> Session | None:
        connection = await self._pool.getconn(_left(deadline))
        try:
            session = Session(connection)
            await connection.set_autocommit(True)
        except psycopg.Error as error:
            await self._pool.putconn(connection)
            raise _broken(error) from error
        except BaseException:
            await self._pool.putconn(connection)
            raise
        return session

    async def give(self, session: Session | None) -> None:
        assert session is not None
        if not session.connection.closed:
            session.watched.close()
            await session.connection.set_autocommit(session.was_autocommit)
        await self._pool.putconn(session.connection)


class Link(Driver[Connections]):
    """Executes statements for threads, on connections of its own or of a user's pool.

    timeout: how many seconds a statement may take, the wait for a connection included.
    for_handlers: whether handlers of views use its own connections: see `settings`.

    Raises TypeError or ValueError for another address or timeout.
    """

    def __init__(
        self, address: str | ConnectionPool[Any], timeout: float, *, for_handlers: bool = False
    ) -> None:
        check_timeout(timeout)
        check_address(address, ConnectionPool, AsyncConnectionPool)
        if isinstance(address, str):
            super().__init__(OwnConnections(address, timeout, for_handlers=for_handlers))
        else:
            super().__init__(PoolConnections(timeout), address)

    def execute(self, statement: Statement, deadline: float | None = None) -> Rows:
        """Executes a statement: see Policy.execute."""
        return self.run(self.policy.execute(statement, deadline or self.policy.deadline()))

    def read(self, statement: Statement, deadline: float | None = None) -> Rows:
        """Executes a statement that may be executed twice: see Policy.read."""
        return self.run(self.policy.read(statement, deadline or self.policy.deadline()))

    def answer(self, questions: Conversation[T]) -> T:
        """Asks questions, each statement of which may be executed twice."""
        read = partial(self.policy.read, deadline=self.policy.deadline())
        return self.run(answered(questions, read))

    def on(self, session: Session, statement: Statement) -> Rows:
        """Executes a statement on a session that was taken."""
        return self.run(self.policy.on(session, statement))

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A session in a transaction, which is committed at the end, or rolled back.

        How long it takes is its user's affair, but for each statement.
        """
        policy, patience = self.policy, self.policy.timeout + GRACE
        session = self.run(policy.take(policy.deadline()))
        try:
            self.run(policy.limit_session(session))
            with session.typed(), limited_cursors(session, patience), _begun(session, patience):
                self.run(policy.limit_transaction(session))
                yield session
        finally:
            self.run(policy.give(session))

    def close(self) -> None:
        """Closes its own connections; those in use, when they are given back."""
        self.policy.close()


class AsyncLink(AsyncDriver[Connections]):
    """Executes statements for an event loop, as Link does."""

    def __init__(self, address: str | AsyncConnectionPool[Any], timeout: float) -> None:
        check_timeout(timeout)
        check_address(address, AsyncConnectionPool, ConnectionPool)
        if isinstance(address, str):
            super().__init__(OwnConnections(address, timeout))
        else:
            super().__init__(PoolConnections(timeout), address)


@contextmanager
def _begun(session: Session, seconds: float) -> Iterator[None]:
    """A transaction of psycopg's, which waits no longer than so many seconds to begin and to end."""
    # not `connection.transaction()`, a generator: a forked process that drops it would end it
    transaction = psycopg.Transaction(session.connection)
    with session.within(seconds):
        transaction.__enter__()
    try:
        yield
        if _is_in_the_middle(session):
            raise StoreError(
                "a statement was left in the middle, and so the transaction was given up: fetch all of "
                "its rows, or close what streams them"
            )
    except BaseException as error:
        if _is_in_the_middle(session):
            session.close()  # what is in the middle may hold the connection's lock
        with session.within(seconds):
            if not transaction.__exit__(type(error), error, error.__traceback__):
                raise
    else:
        with session.within(seconds):
            transaction.__exit__(None, None, None)


def _is_in_the_middle(session: Session) -> bool:
    """Whether a statement has not ended."""
    status = session.connection.pgconn.transaction_status
    return bool(status == TransactionStatus.ACTIVE)


# --- what they do


def _left(deadline: float) -> float:
    """The seconds until a deadline; 0.0 after it."""
    return max(deadline - monotonic(), 0.0)


def _executed(session: Session, statement: Statement, until: float) -> Rows:
    """The rows of a statement. Raises StoreError, and Lost if there is no answer until a time."""
    watched = session.watched
    watched.start(until)
    try:
        cursor = session.cursor if statement.parameters is not None else session.text_cursor()
        cursor.execute(statement.sql, statement.parameters)
        rows: Rows = cursor.fetchall() if has_rows(cursor) else []
        return rows
    except psycopg.Error as error:
        raise session.meaning(error) from error
    finally:
        watched.stop()


class _Interruptible:
    """A statement that ends within a moment once its task is cancelled.

    psycopg then asks the server to stop, which takes as long as the network does: after that moment the
    connection is ended, and what waits for the server's word is cancelled as well.
    """

    __slots__ = ("_awaited", "_request")

    def __init__(self, request: Execute) -> None:
        self._request = request
        self._awaited: Any = None

    def __await__(self) -> Generator[Any, Any, Rows]:
        session, statement = self._request.session, self._request.statement
        watched = session.watched
        timer: Timer | None = None
        watched.start(self._request.until)
        try:
            cursor = session.cursor if statement.parameters is not None else session.text_cursor()
            coroutine = cursor.execute(statement.sql, statement.parameters)
            step, value = coroutine.send, None
            while True:
                try:
                    self._awaited = step(value)
                except StopIteration:
                    break
                try:
                    value = yield self._awaited
                    step = coroutine.send
                except BaseException as error:
                    if timer is None and isinstance(error, asyncio.CancelledError):
                        watched.start(monotonic() + MOMENT)
                        timer = call_later(MOMENT, self._cancel)
                    step, value = coroutine.throw, error
            rows: Rows = (yield from cursor.fetchall().__await__()) if has_rows(cursor) else []
            return rows
        except psycopg.Error as error:
            raise session.meaning(error) from error
        finally:
            watched.stop()
            if timer is not None:
                timer.cancel()

    def _cancel(self) -> None:
        if self._awaited is not None:
            self._awaited.cancel()


def _connected(asked: Connect) -> psycopg.Connection[Any]:
    """A connection that is made in time: psycopg itself allows whole seconds, two at least.

    It is made in a thread, which is not waited for any longer; what it makes too late, it closes.
    """
    made: Future[psycopg.Connection[Any]] = Future()

    def connect() -> None:
        try:
            connection = psycopg.Connection.connect(asked.address, **asked.options)
        except BaseException as error:
            if made.set_running_or_notify_cancel():
                made.set_exception(error)
        else:
            if made.set_running_or_notify_cancel():
                made.set_result(connection)
            else:
                connection.close()

    threading.Thread(target=connect, name="eventsrc-connecting", daemon=True).start()
    try:
        return made.result(asked.seconds)
    except psycopg.Error:
        raise
    except BaseException as error:
        if made.cancel():
            raise (_too_late() if isinstance(error, TimeoutError) else error) from None
        if isinstance(error, TimeoutError):
            return made.result()
        if made.exception() is None:
            made.result().close()
        raise


async def _connected_async(asked: Connect) -> psycopg.AsyncConnection[Any]:
    """Like `_connected`, in an event loop."""
    try:
        async with timeout(asked.seconds):
            return await psycopg.AsyncConnection.connect(asked.address, **asked.options)
    except TimeoutError:
        raise _too_late() from None


def _too_late() -> psycopg.OperationalError:
    return psycopg.errors.ConnectionTimeout("there was no answer in time")

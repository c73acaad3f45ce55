"""Views in a Postgres database, which handlers and queries use through psycopg.

Each version of a view has a schema of its own: `eventsrc_views_users_2` is version 2 of the view
"users". While a handler or a query runs, that schema is the first in the search path, so that both
name their tables plainly and never the version. The schema `eventsrc_views` says which versions are
read.
"""

from __future__ import annotations

import contextlib
import math
import random
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar

import psycopg
from psycopg.pq import TransactionStatus
from psycopg_pool import ConnectionPool

from eventsrc.events.positions import Cursor
from eventsrc.postgres._connection import Session
from eventsrc.postgres._conversation import Rows, Statement, answered, array
from eventsrc.postgres._copy import PostgresCopy
from eventsrc.postgres._described import DESCRIBED
from eventsrc.postgres._errors import is_passing, was_cut_off
from eventsrc.postgres._link import Link
from eventsrc.postgres._schema import Tables, quoted
from eventsrc.postgres._settings import NAMES, RESTORE, SEPARATOR, SETTINGS
from eventsrc.stores.operations import Lost, NotAStore, StoreError
from eventsrc.views._applying import LedgerViews
from eventsrc.views._definition import Definition
from eventsrc.views._ledger import DEFINITION, Ledger, Ownership, PartitionState, Unsettled, row_of
from eventsrc.views.guard import Moves
from eventsrc.views.operations import Lease, LostLease, StartedOver
from eventsrc.views.rows import Copy
from eventsrc.views.view import BadHandler, View, ViewError, distinct

T = TypeVar("T")

_LIVE_SCRIPTS: Final = (
    """
    CREATE TABLE {s}.eventsrc_live (name text COLLATE "C" PRIMARY KEY, version bigint NOT NULL)
    """,
)

_VIEW_SCRIPTS: Final = (
    # pages of guards are left half empty, so that a guard that moves stays in its page and its index
    # need not be written: this halves the cost
    """
    CREATE TABLE {s}.eventsrc_part (
        part integer PRIMARY KEY,
        store text NOT NULL,
        position bigint NOT NULL,
        applied bigint NOT NULL,
        owner text COLLATE "C",
        token bigint NOT NULL,
        until double precision NOT NULL,
        seconds double precision NOT NULL,
        starts bigint NOT NULL,
        trying bigint NOT NULL,
        tries bigint NOT NULL
    );
    CREATE TABLE {s}.eventsrc_guard (
        stream text COLLATE "C" PRIMARY KEY, version bigint NOT NULL
    ) WITH (fillfactor = 50);
    CREATE TABLE {s}.eventsrc_parked (
        stream text COLLATE "C" PRIMARY KEY,
        version bigint NOT NULL,
        position bigint NOT NULL,
        type text NOT NULL,
        error text NOT NULL,
        attempts bigint NOT NULL,
        held bigint NOT NULL,
        since text NOT NULL,
        is_deadly boolean NOT NULL
    );
    CREATE TABLE {s}.eventsrc_owner (
        owner text COLLATE "C" PRIMARY KEY,
        until double precision NOT NULL,
        seconds double precision NOT NULL
    );
    -- Moves guards, if each is where it must be and none of the streams is parked; answers whether. If
    -- not, some may have moved. The settings keep the plan, which is made once, to the index: it must
    -- be good for many more guards than there are then.
    CREATE FUNCTION {s}.eventsrc_advance(streams text[], befores bigint[], afters bigint[])
    RETURNS boolean LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
    DECLARE
        moved bigint;
        added bigint;
    BEGIN
        IF EXISTS (SELECT FROM {s}.eventsrc_parked WHERE stream = ANY (streams)) THEN
            RETURN false;
        END IF;
        UPDATE {s}.eventsrc_guard AS guard SET version = after
        FROM unnest(streams, befores, afters) AS came (stream, before, after)
        WHERE guard.stream = came.stream AND guard.version = before;
        GET DIAGNOSTICS moved = ROW_COUNT;
        INSERT INTO {s}.eventsrc_guard
        SELECT stream, after FROM unnest(streams, befores, afters) AS came (stream, before, after)
        WHERE before = 0
        ON CONFLICT DO NOTHING;
        GET DIAGNOSTICS added = ROW_COUNT;
        RETURN moved + added = cardinality(streams);
    END $$;
    """,
    # What the release of 0.1 has that commit 4fdead8 had not.
    """
    ALTER TABLE {s}.eventsrc_part ADD COLUMN epoch bigint NOT NULL DEFAULT 1;
    ALTER TABLE {s}.eventsrc_part ADD COLUMN reached bigint NOT NULL DEFAULT 0;
    UPDATE {s}.eventsrc_part SET reached = position;

    CREATE TABLE {s}.eventsrc_definition (one integer PRIMARY KEY, definition text NOT NULL);
    ALTER TABLE {s}.eventsrc_part ADD COLUMN defined bigint NOT NULL DEFAULT 0;
    ALTER TABLE {s}.eventsrc_part ADD COLUMN last bigint NOT NULL DEFAULT 0;
    ALTER TABLE {s}.eventsrc_part ADD COLUMN last_sum bigint NOT NULL DEFAULT 0;
    ALTER TABLE {s}.eventsrc_parked ADD COLUMN is_undecodable boolean NOT NULL DEFAULT false;
    UPDATE {s}.eventsrc_parked SET is_undecodable = true
    WHERE error LIKE 'UnknownEvent:%' OR error LIKE 'Undecodable:%';

    -- While handlers run it is a number by which their transaction is known, and whoever commits then
    -- is refused; when all is done it is turned to its negative.
    ALTER TABLE {s}.eventsrc_part ADD COLUMN handling bigint NOT NULL DEFAULT 0;
    CREATE FUNCTION {s}.eventsrc_whole() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
        IF NOT EXISTS (
            SELECT FROM {s}.eventsrc_part WHERE part = NEW.part AND handling = -NEW.handling
        ) THEN
            RAISE EXCEPTION 'a handler of a view may not commit, nor SET CONSTRAINTS ALL IMMEDIATE'
            USING ERRCODE = '25000', HINT = 'Name the constraints that are to be checked now.';
        END IF;
        RETURN NULL;
    END $$;
    CREATE CONSTRAINT TRIGGER eventsrc_whole AFTER UPDATE OF handling ON {s}.eventsrc_part
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.handling > 0)
    EXECUTE FUNCTION {s}.eventsrc_whole();

    ALTER FUNCTION {s}.eventsrc_advance(text[], bigint[], bigint[])
    SET search_path = pg_catalog, pg_temp;
    """,
)

# by the primary keys; whoever applies keeps the row to itself until it commits
_PLACE: Final = """
    SELECT store, epoch, token, position, defined FROM {s}.eventsrc_part WHERE part = ? FOR UPDATE
"""
# the same before handlers run, with the settings from which each of them is to begin
_BEGIN: Final = """
    UPDATE {s}.eventsrc_part SET handling = ? WHERE part = ?
    RETURNING store, epoch, token, position, defined, {settings}
""".replace("{settings}", SETTINGS)
_MOVE: Final = """
    UPDATE {s}.eventsrc_part SET
        handling = -handling,
        applied = applied + %(applied)s,
        position = greatest(position, %(position)s),
        reached = greatest(reached, %(reached)s),
        last = greatest(last, %(last)s),
        last_sum = CASE WHEN last < %(last)s THEN %(last_sum)s ELSE last_sum END,
        store = CASE WHEN %(is_sure)s OR store = '' AND %(applied)s > 0 THEN %(store)s ELSE store END,
        epoch = CASE WHEN %(is_sure)s OR store = '' AND %(applied)s > 0 THEN %(epoch)s ELSE epoch END
    WHERE part = %(part)s AND handling = %(mark)s
    RETURNING {settings}
""".replace("{settings}", SETTINGS)
_PAUSE: Final = """
    UPDATE {s}.eventsrc_part SET handling = -handling WHERE part = ? AND handling = ? RETURNING part
"""
_GO_ON: Final = "UPDATE {s}.eventsrc_part SET handling = ? WHERE part = ?"
_LOCKED_DEFINITION: Final = "SELECT definition FROM {s}.eventsrc_definition FOR UPDATE"
_GUARDS: Final = """
    SELECT false, stream, version FROM {s}.eventsrc_guard WHERE stream = ANY(%(streams)b)
    UNION ALL
    SELECT true, stream, version FROM {s}.eventsrc_parked WHERE stream = ANY(%(streams)b)
"""
_MOVE_GUARDS: Final = """
    INSERT INTO {s}.eventsrc_guard
    SELECT * FROM ROWS FROM (pg_catalog.unnest(%b::text[]), pg_catalog.unnest(%b::bigint[])) AS came
    ON CONFLICT (stream) DO UPDATE SET version = excluded.version
"""
# arrays as texts, which are the quickest to send; no id of a stream has // in it, nor / at an end
_ADVANCE: Final = """
    SELECT {s}.eventsrc_advance(string_to_array(%t, '//'), %t::bigint[], %t::bigint[])
"""
_LOCKABLE: Final = """
    SELECT part FROM {s}.eventsrc_part WHERE part = ANY(%b) FOR UPDATE SKIP LOCKED
"""
_LOCK: Final = "SELECT pg_advisory_xact_lock({lock})"
_IS_THERE: Final = "SELECT to_regclass(%s) IS NOT NULL"
_IS_MADE: Final = "SELECT count(*) FROM {s}.eventsrc_part"
_LIVE: Final = "SELECT version FROM {s}.eventsrc_live WHERE name = %s"
_FIRST_LIVE: Final = "INSERT INTO {s}.eventsrc_live VALUES (%s, %s) ON CONFLICT DO NOTHING"
_GO_LIVE: Final = """
    INSERT INTO {s}.eventsrc_live VALUES (%s, %s)
    ON CONFLICT (name) DO UPDATE SET version = excluded.version
"""
_KEEP_LIVE: Final = "LOCK TABLE {s}.eventsrc_live IN SHARE MODE"
_KEEP: Final = "LOCK TABLE {} IN ACCESS SHARE MODE"
_TAKE: Final = "LOCK TABLE {} IN ACCESS EXCLUSIVE MODE"
_DROP: Final = "DROP SCHEMA IF EXISTS {s} CASCADE"

# for the time of a transaction, as are all settings; the path of a user's may be empty
_SET_PATH: Final = """
    SELECT set_config(
        'search_path',
        pg_catalog.concat_ws(', ', %s::text, nullif(current_setting('search_path'), '')),
        true
    )
"""
_SET_PATH_IF: Final = """
    SELECT set_config(
        'search_path',
        pg_catalog.concat_ws(', ', %s::text, nullif(current_setting('search_path'), '')),
        true
    ), set_config('lock_timeout', %s, true), to_regclass(%s) IS NOT NULL
"""
_ARE_THERE: Final = """
    SELECT n - 1 FROM pg_catalog.unnest(%s::text[]) WITH ORDINALITY AS wanted (name, n)
    WHERE to_regclass(name) IS NULL
"""
_ONLY_READ: Final = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
_END_IDLE: Final = "SELECT set_config('idle_in_transaction_session_timeout', %s, true)"
_CHECK_NOW: Final = "SET CONSTRAINTS ALL IMMEDIATE"
_CHECK_LATER: Final = "SET CONSTRAINTS {} DEFERRED"
# not all of them: a key that may be deferred, and is not at first, is checked at once in a handler
_DEFERRED: Final = """
    SELECT DISTINCT pg_catalog.format('%%I.%%I', nspname, conname)
    FROM pg_catalog.pg_constraint JOIN pg_catalog.pg_namespace ON pg_namespace.oid = connamespace
    WHERE condeferred AND pg_catalog.has_schema_privilege(connamespace, 'USAGE')
"""
_NOW: Final = "SELECT extract(epoch FROM clock_timestamp())::double precision"

_SHORTEST_IDLE: Final = 0.5
"""Seconds for which a transaction may be silent: a busy machine takes a while."""

_LONGEST_IDLE: Final = 86_400.0

_FOR_LOCKS: Final = 0.8
"""The part of a statement's timeout for which it waits for others: so it is told from a slow one."""

_IN_TRANSACTION: Final = int(TransactionStatus.INTRANS)

_OVER: Final = frozenset({TransactionStatus.IDLE, TransactionStatus.ACTIVE})
"""The states of a connection in which a transaction that was begun is over, or to be given up."""

_READS: Final = 5
"""Looks for the live version, at most, if those that are found were discarded meanwhile."""


class _Discarded(Exception):
    """A version of a view is not there any more: it ends the transaction."""


class _ThrownAway(BaseException):
    """Ends a transaction of which nothing is kept. No Exception: nothing takes it for an error."""


class PostgresViews(LedgerViews):
    """Views in a Postgres database: the store's own, or another.

    address: a connection string, or a psycopg_pool.ConnectionPool, whose connections are then borrowed.
    views: whose tables are to be there at once, so that they can be queried before the first event.
    schema: of the table that says which versions are read; each version of a view has a schema of its
        own, of that name and the view's.
    timeout: how many seconds a statement may take.
    target: given to handlers in place of the connection, for views in an external system: see
        eventsrc.views._applying.

    A view's handlers get the psycopg.Connection, in the transaction in which the view's progress is
    committed too: declare it as `View[psycopg.Connection](...)`. A handler, or who reads, may compute
    for longer than the timeout between two statements, unless a lease ends before or the server, or a
    user's pool, has an idle_in_transaction_session_timeout: then nothing is applied, and the error is
    not taken for the event's.
    """

    def __init__(
        self,
        address: str | ConnectionPool[Any],
        views: Iterable[View[psycopg.Connection[Any]]] = (),
        *,
        schema: str = "eventsrc_views",
        timeout: float = 5.0,
        target: object = None,
    ) -> None:
        super().__init__(target=target)
        self._schema = schema
        self._main = Tables(schema, _LIVE_SCRIPTS, mark="eventsrc_live")
        self._known: dict[tuple[str, int], Tables] = {}
        self._ready: set[tuple[str, int]] = set()  # those whose tables are there and up to date
        self._brought_forward: set[tuple[str, int]] = set()
        self._link = Link(address, timeout, for_handlers=True)
        try:
            self._prepare(self._main)
            for view in distinct(views):
                self._made(view)
                self._check_place(view)
        except BaseException:
            self._link.close()
            raise

    @contextlib.contextmanager
    def reading(
        self,
        view: View[psycopg.Connection[Any]],
        *others: View[psycopg.Connection[Any]],
        live: bool = True,
    ) -> Iterator[psycopg.Connection[Any]]:
        """A connection to query the tables of one view or several, in a transaction that only reads.

        live: of each the version that is live (see GoLive), or else the very version that is named.
        """
        views = view, *others
        for is_last in (*[False] * (_READS - 1), True):
            try:
                with self._link.transaction() as session:
                    self._read(session, views, live, is_last)
                    yield session.connection
                return
            except _Discarded:
                continue

    def _read(self, session: Session, views: Sequence[View[Any]], live: bool, is_last: bool) -> None:
        """Has a transaction read some views, which nobody can discard then.

        Raises _Discarded for one that is not there, or, the last time, ViewError.
        """
        self._link.on(session, self._main.ask(_ONLY_READ))
        path = [self._read_schema(session, each, live) for each in views]
        tables = [f"{schema}.eventsrc_part" for schema in path]
        if is_last:
            for (index,) in self._link.on(session, self._main.ask(_ARE_THERE, (tables,))):
                raise ViewError(f"{views[index]!r} was never made: synchronise it, or open it, first")
        try:
            self._link.on(session, Statement(_KEEP.format(", ".join(tables)).encode()))
        except NotAStore as error:
            raise _Discarded from error
        self._link.on(session, self._main.ask(_SET_PATH, (", ".join(path),)))

    def schema(self, view: View[Any]) -> str:
        """The name of the schema of a version of a view, to look at with other tools."""
        return self._tables(view.name, view.version).schema

    @contextlib.contextmanager
    def writing(self, view: View[Any], within: float | None = None) -> Iterator[Ledger]:
        """A transaction that may write, with the view's tables made."""
        tables = self._made(view)
        ledger: PostgresLedger | None = None
        with _losing(lambda: ledger), self._link.transaction() as session:
            wait = self._link.policy.timeout * _FOR_LOCKS
            if within is not None:
                wait = max(min(within, wait), 0.001)
            schema = quoted(tables.schema)
            wanted = schema, f"{math.ceil(wait * 1000)}ms", f"{schema}.eventsrc_part"
            ((*_, is_there),) = self._link.on(session, self._main.ask(_SET_PATH_IF, wanted))
            if not is_there:  # others have discarded it
                self._link.run(answered(tables.migrate(), partial(self._link.policy.on, session)))
                self._fill(session, tables, view)
            ledger = self._ledger(session, tables)
            try:
                yield ledger
            except StartedOver:
                self._ready.discard((view.name, view.version))
                raise
            finally:
                ledger.is_over = True

    @contextlib.contextmanager
    def looking(self, view: View[Any]) -> Iterator[Ledger | None]:
        """A ledger for reading only, each statement by itself; None if the view was never made."""
        tables = self._tables(view.name, view.version)
        key = view.name, view.version
        is_made = key in self._ready or self._is_made(self._link.read, view)
        if is_made and key not in self._ready and key not in self._brought_forward:
            self._prepare(tables)  # which an older version of the library may have made
            self._brought_forward.add(key)
        yield PostgresLedger(tables, self._link.read, None) if is_made else None

    def close(self) -> None:
        """Closes the connections."""
        self._link.close()

    def _live(self, view: View[Any]) -> int:
        rows = self._link.read(self._main.ask(_LIVE, (view.name,)))
        return int(rows[0][0]) if rows else 0

    def _go_live(self, view: View[Any]) -> None:
        if not self._is_made(self._link.read, view):
            raise ViewError(f"{view!r} was never built: synchronise it first")
        self._link.execute(self._main.ask(_GO_LIVE, (view.name, view.version)))

    def _discard(self, view: View[Any]) -> None:
        key = view.name, view.version
        with self._link.transaction() as session:
            self._link.on(session, self._main.ask(_KEEP_LIVE))
            if self._live_on(session, view) == view.version:
                raise ViewError(f"{view!r} is what queries read: have another version go live first")
            tables = self._tables(*key)
            name = f"{quoted(tables.schema)}.eventsrc_part"
            ((is_there,),) = self._link.on(session, tables.ask(_IS_THERE, (name,)))
            if is_there:  # after those who read, and before any of it is gone
                self._link.on(session, Statement(_TAKE.format(name).encode()))
            self._link.on(session, tables.ask(_DROP))
        self._ready.discard(key)
        self._trust = {of: trust for of, trust in self._trust.items() if of[:2] != key}

    def _start_over(self, view: View[Any]) -> None:
        tables = self._tables(view.name, view.version)
        name = f"{quoted(tables.schema)}.eventsrc_part"
        with self._link.transaction() as session:
            ledger = self._ledger(session, tables)
            leases: Sequence[Ownership] = ()
            ((is_there,),) = self._link.on(session, tables.ask(_IS_THERE, (name,)))
            if is_there:
                self._link.on(session, Statement(_TAKE.format(name).encode()))
                leases = ledger.leases()
            self._link.on(session, tables.ask(_DROP))
            self._link.run(answered(tables.migrate(), partial(self._link.policy.on, session)))
            self._fill(session, tables, view)
            ledger.keep_tokens(leases)
        self._made(view)  # and so it is live, if none was

    @contextlib.contextmanager
    def _scratch(self, view: View[Any]) -> Iterator[Ledger]:
        name = f"{self._schema}__{secrets.token_hex(8)}"
        tables = Tables(name, _VIEW_SCRIPTS, made_by=self._schema)
        try:
            with self._link.transaction() as session:
                self._link.run(answered(tables.make_schema(), partial(self._link.policy.on, session)))
                self._link.on(session, self._main.ask(_SET_PATH, (quoted(tables.schema),)))
                yield self._ledger(session, tables)
                raise _ThrownAway
        except _ThrownAway:
            pass

    def _made(self, view: View[Any]) -> Tables:
        """The tables that a version of a view has, which are made the first time."""
        tables = self._tables(view.name, view.version)
        if (view.name, view.version) in self._ready:
            return tables
        self._prepare(tables)
        if not self._is_made(self._link.read, view):
            self._make(tables, view)
        if not self._live(view):
            self._link.execute(self._main.ask(_FIRST_LIVE, (view.name, view.version)))
        self._ready.add((view.name, view.version))
        return tables

    def _ledger(self, session: Session, tables: Tables) -> PostgresLedger:
        """The ledger in the transaction that a connection is in."""
        given = session.connection if self.target is None else self.target
        return PostgresLedger(tables, partial(self._link.on, session), given, session)

    def _seen(self, view: View[Any], look: Callable[[Ledger], T], nothing: T) -> T:
        """Looks into the ledger of a view; answers `nothing` if it was never made."""
        try:
            return super()._seen(view, look, nothing)
        except NotAStore:  # others have discarded it
            self._ready.discard((view.name, view.version))
            return super()._seen(view, look, nothing)

    def _make(self, tables: Tables, view: View[Any]) -> None:
        """Makes the view's tables, unless another was faster."""
        with self._link.transaction() as session:
            self._fill(session, tables, view)

    def _fill(self, session: Session, tables: Tables, view: View[Any]) -> None:
        """Makes the view's tables, unless another was faster, in a transaction."""
        ledger = self._ledger(session, tables)
        ledger.ask(_LOCK)
        if not ledger.partitions():
            self._link.on(session, tables.ask(_SET_PATH, (quoted(tables.schema),)))
            ledger.make(view)

    def _read_schema(self, session: Session, view: View[Any], live: bool) -> str:
        """The quoted name of the schema that queries read."""
        version = (live and self._live_on(session, view)) or view.version
        return quoted(self._tables(view.name, version).schema)

    def _live_on(self, session: Session, view: View[Any]) -> int:
        rows = self._link.on(session, self._main.ask(_LIVE, (view.name,)))
        return int(rows[0][0]) if rows else 0

    def _tables(self, name: str, version: int) -> Tables:
        tables = self._known.get((name, version))
        if tables is None:
            schema = f"{self._schema}_{name}_{version}"
            try:
                tables = self._known[name, version] = Tables(
                    schema, _VIEW_SCRIPTS, mark="eventsrc_part", made_by=self._schema
                )
            except ValueError as error:
                raise ViewError(
                    f"{schema!r}, where version {version} of view {name!r} would be kept, cannot name "
                    "a schema, which has 63 bytes at most: give the view a shorter name"
                ) from error
        return tables

    def _prepare(self, tables: Tables) -> None:
        if not self._link.answer(tables.are_current()):
            self._link.run(self._link.policy.in_transaction(tables.migrate()))

    def _is_made(self, execute: Callable[[Statement], Rows], view: View[Any]) -> bool:
        """True if a view's tables are there. Raises ViewError if it has other partitions."""
        tables = self._tables(view.name, view.version)
        name = f"{quoted(tables.schema)}.eventsrc_part"
        ((is_there,),) = execute(tables.ask(_IS_THERE, (name,)))
        partitions = execute(tables.ask(_IS_MADE, ()))[0][0] if is_there else 0
        view.check_partitions(partitions)
        return bool(partitions)


@contextlib.contextmanager
def _losing(ledger: Callable[[], PostgresLedger | None]) -> Iterator[None]:
    """Raises LostLease if a server ends a connection on which something took longer than its lease."""
    try:
        yield
    except Lost as error:
        its = ledger()
        if its is None or not its.has_lease or not was_cut_off(error):
            raise
        raise LostLease(
            f"the connection was lost while events were applied, and with it the lease ({error}): give "
            "longer leases than a handler takes"
        ) from error


def _bad_handler(what: str) -> BadHandler:
    return BadHandler(
        f"a handler {what}, and so nothing of it is applied: what handlers write is committed "
        "together with the view's progress. Use `with db.transaction():` for what is to be undone by "
        "itself, such as a statement whose error is no failure, and neither COMMIT nor ROLLBACK"
    )


class PostgresLedger(Ledger):
    """A version of a view in a schema of a Postgres database."""

    def __init__(
        self,
        tables: Tables,
        execute: Callable[[Statement], Rows],
        database: object,
        session: Session | None = None,
    ) -> None:
        super().__init__(database)
        self.has_lease = False
        self.is_over = False
        """True once what was to be done in the transaction is done: its connection is others' then."""
        self._session = session
        self._connection: psycopg.Connection[Any] | None = (
            None if session is None else session.connection
        )
        self._partition: int | None = None
        self._mark = 0
        """The number by which the transaction is known while handlers run."""
        self._settings = ""
        """The settings from which each handler is to begin."""
        self._deferred = ""
        """The constraints that are checked at the end of a transaction."""
        self._is_another = False
        self._row_factory: Any = None
        self._tables = tables
        self._execute = execute

    def ask(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Executes a statement."""
        return self._asked(statement.replace("?", "%s"), parameters)

    def copy(self) -> Copy:
        """A copy of the rows of the view's tables."""
        return PostgresCopy(self.database)

    def described(self) -> tuple[Sequence[str] | None, str]:
        """The tables and all else as text, in the words of the server's version."""
        schema = self._tables.schema
        rows = self._asked(DESCRIBED, {"schema": schema})
        texts = [text for text, _ in rows if text is not None]
        for name in (f"{quoted(schema)}.", f"{schema}."):
            texts = [text.replace(name, "") for text in texts]
        return sorted(texts), f"PostgreSQL {max(version for _, version in rows)}"

    def definition(self, *, locks: bool = False) -> Definition | None:
        """The definition that is kept, if there is one."""
        rows = self._asked(_LOCKED_DEFINITION if locks else DEFINITION, ())
        return Definition.parse(rows[0][0]) if rows else None

    def lock_partition(
        self, partition: int, lease: Lease | None, *, applies: bool = False
    ) -> PartitionState:
        """A partition as it is kept; nobody else changes it until the end.

        applies: whether handlers are to run; Postgres refuses a COMMIT from here on until `move`.
        With a lease, not for longer than that if nothing more is heard of this transaction.
        """
        if lease is not None:
            self.has_lease = True
            idle = min(max(lease.seconds, _SHORTEST_IDLE), _LONGEST_IDLE)
            self._asked(_END_IDLE, (f"{int(idle * 1000)}ms",))
        if not applies:
            return PartitionState(*row_of(partition, self.ask(_PLACE, partition)))
        self._partition, self._mark = partition, random.getrandbits(62) + 1
        row = row_of(partition, self.ask(_BEGIN, self._mark, partition))
        self._settings = row[-1]
        return PartitionState(*row[:-1])

    @contextlib.contextmanager
    def handling(self, view: View[Any]) -> Iterator[None]:
        """While a view's handlers run, which must leave the transaction as it is."""
        self._row_factory = None if self._connection is None else self._connection.row_factory
        try:
            yield
            self.check_handled()
            if self._session is not None and self._session.is_unsettled:
                self._restore()
        finally:
            self._restore_rows()

    def check_handled(self) -> None:
        """Raises BadHandler if a handler left the transaction aborted, or ended it."""
        self._restore_rows()
        if self._status() == TransactionStatus.INERROR:
            raise _bad_handler("met an error of Postgres, and went on as if there had been none")
        if self._is_closed_by_handler():
            raise _bad_handler("closed the connection")
        if self._status() == TransactionStatus.ACTIVE:
            raise _bad_handler("left a statement or a COPY in the middle")
        if self.has_ended():
            raise _bad_handler("ended the transaction")

    def settle(self) -> None:
        """Has Postgres check constraints now that it would check at the end of the transaction, and
        puts back what a handler has set."""
        try:
            self._restore()
            if self._partition is None:
                return
            self._check_whole(self.ask(_PAUSE, self._partition, self._mark))
            self._asked(_CHECK_NOW, ())
            if not self._deferred:
                self._deferred = ", ".join(name for (name,) in self._asked(_DEFERRED, ()))
            self._execute(Statement(_CHECK_LATER.format(self._deferred).encode()))
            self._mark += 1
            self.ask(_GO_ON, self._mark, self._partition)
        except StoreError as error:
            raise error.__cause__ or error from None

    def move(
        self,
        partition: int,
        versions: Mapping[str, int],
        applied: int,
        cursor: Cursor | None,
        store_id: str | None,
        epoch: int,
        reached: int,
        last: tuple[int, int] = (0, 0),
    ) -> None:
        """Stores the progress of a partition, whose handlers have done their work."""
        if versions:
            self.move_guards(versions)
        at = 0 if cursor is None else cursor.position
        moved = {
            "applied": applied,
            "position": at,
            "reached": max(at, reached),
            "last": 0 if cursor is None else last[0],
            "last_sum": last[1],
            "is_sure": cursor is not None,
            "store": (store_id or "") if cursor is None else cursor.store_id,
            "epoch": epoch if cursor is None else cursor.epoch,
            "part": partition,
            "mark": self._mark,
        }
        rows = self._asked(_MOVE, moved)
        self._check_whole(rows)
        if rows[0][0] != self._settings:
            raise Unsettled

    def _check_whole(self, rows: list[tuple[Any, ...]]) -> None:
        """Raises BadHandler for the rows of a statement that found another transaction."""
        if not rows:
            self._is_another = True
            raise _bad_handler("ended the transaction")

    def _restore(self) -> None:
        """Puts back the settings that handlers have changed, for the time of the transaction; nobody
        uses the connection after it."""
        if self._settings:
            changed = self._asked(RESTORE, (NAMES, self._settings.split(SEPARATOR)))
            if changed and self._session is not None:
                self._session.is_unsettled = True

    def _restore_rows(self) -> None:
        its = self._connection
        if its is not None and self._row_factory is not None:
            its.row_factory = self._row_factory

    def is_open(self) -> bool:
        """True while the transaction goes on, is not aborted, and has its settings."""
        its, session = self._connection, self._session
        if its is None or session is None:
            return True
        if its.row_factory is not self._row_factory:
            self._restore_rows()
        return not session.is_unsettled and its.pgconn.transaction_status == _IN_TRANSACTION

    def has_ended(self) -> bool:
        """True if the transaction is over, or is another, or can only be given up."""
        return self._is_another or self._status() in _OVER or self._is_closed_by_handler()

    def _status(self) -> int:
        its = self._connection
        return TransactionStatus.INTRANS if its is None else its.pgconn.transaction_status

    def _is_closed_by_handler(self) -> bool:
        """True if the connection was closed, where it was not cut."""
        its = self._connection
        return its is not None and its.closed and not its.broken

    def guards(self, streams: Sequence[str]) -> tuple[dict[str, int], set[str]]:
        """The versions that were applied of some streams, and those of them that are parked."""
        rows = self._asked(_GUARDS, {"streams": [str(stream) for stream in streams]})
        return (
            {stream: version for is_parked, stream, version in rows if not is_parked},
            {stream for is_parked, stream, _ in rows if is_parked},
        )

    def move_guards(self, versions: Mapping[str, int]) -> None:
        """Keeps the versions that are applied now."""
        self._asked(_MOVE_GUARDS, (list(versions), list(versions.values())))

    def advance(self, moves: Moves) -> bool:
        """Moves guards, if each is where it must be and none of the streams is parked."""
        versions = [array(moved.values()) for moved in (moves.before, moves.after)]
        ((is_moved,),) = self._asked(_ADVANCE, ("//".join(moves.after), *versions))
        return bool(is_moved)

    def lockable(self, partitions: Sequence[int]) -> set[int]:
        """Locks until the end those of some partitions that are free now; answers them."""
        return {partition for (partition,) in self._asked(_LOCKABLE, (list(partitions),))}

    def now(self) -> float:
        """The time by the database's clock, in seconds."""
        ((now,),) = self._asked(_NOW, ())
        return float(now)

    def blamed(self, error: Exception) -> Exception:
        """The fault of a handler that raised an error; Lost if its connection broke meanwhile."""
        its = self._connection
        if its is None or not its.broken or isinstance(error, StoreError | psycopg.Error):
            return error
        lost = Lost(f"the connection to Postgres broke while a handler ran, which raised {error!r}")
        lost.__cause__ = error
        return lost

    def is_infrastructure(self, error: Exception) -> bool:
        """True if the connection broke, or Postgres reports of itself and not of what it was told."""
        its = self._connection
        is_lost = isinstance(error, Lost) if self.is_over else its is not None and its.broken
        return is_lost or is_passing(error)

    def _asked(self, statement: str, parameters: Any) -> list[tuple[Any, ...]]:
        return self._execute(self._tables.ask(statement, parameters))

"""Tables in a schema of a Postgres database: how they are made and brought up to date.

In SQL, every name is qualified with the schema, which stands as `{s}` and is put in, quoted, when a
statement is asked; `{lock}` is the number of the schema's advisory lock. Bodies of functions stand
between `$$`. This is the only place where SQL is put together from names that users choose.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any, Final

from eventsrc.postgres._conversation import Conversation, Rows, Statement
from eventsrc.stores.operations import NotAStore

_LOCK: Final = "SELECT pg_advisory_xact_lock({lock})"
# to_regnamespace may remember what was before the lock; a look at the table does not
_IS_SCHEMA: Final = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = %s)"
_MAKE_SCHEMA: Final = "CREATE SCHEMA {s}"
_HAS_MAKER: Final = "SELECT to_regprocedure(%s) IS NOT NULL"
_IS_THERE: Final = "SELECT to_regclass(%s) IS NOT NULL"
_MAKE_APPLIED: Final = """
    CREATE TABLE {s}.eventsrc_applied (scripts integer NOT NULL, at timestamptz NOT NULL DEFAULT now())
"""
_APPLIED: Final = """
    SELECT coalesce(max(scripts), 0), to_regclass(%s) IS NULL FROM {s}.eventsrc_applied
"""
_SET_APPLIED: Final = "INSERT INTO {s}.eventsrc_applied (scripts) VALUES (%s)"

# who has the lock: a session, or a prepared transaction, which is known by its lock on its own number
_HOLDERS: Final = """
    SELECT held.pid, coalesce(state, ''), coalesce(application_name, ''), gid,
        extract(epoch FROM clock_timestamp() - coalesce(xact_start, prepared))::double precision
    FROM pg_locks AS held
    LEFT JOIN pg_stat_activity AS session ON session.pid = held.pid
    LEFT JOIN pg_locks AS own ON held.pid IS NULL AND own.pid IS NULL
        AND own.locktype = 'transactionid' AND own.virtualtransaction = held.virtualtransaction
    LEFT JOIN pg_prepared_xacts AS left_behind ON left_behind.transaction = own.transactionid
    WHERE held.locktype = 'advisory' AND held.granted AND held.objsubid = 1
        AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND (held.classid::bigint << 32) + held.objid::bigint = {lock}
"""

_MARKS: Final = re.compile(r"\{s\}|\{lock\}|\$\$")


class Tables:
    """The tables of one schema, and the statements that ask for them.

    scripts: those that make the tables, one for each version.
    mark: one of the tables, by which they are told from other tables of this library.
    made_by: a schema in which there may be a function `make_schema(text)`, which is then called to make
        this one: so a role makes some schemas that may not make any.
    """

    def __init__(self, schema: str, scripts: Sequence[str], mark: str = "", made_by: str = "") -> None:
        self.schema: Final = schema
        self._made_by = made_by
        self._scripts = scripts
        self._mark = mark
        self._quoted = quoted(schema)
        self._marks = {"{s}": self._quoted, "{lock}": str(_lock_number(schema)), "$$": _tag(schema)}
        self._plain: dict[str, bytes] = {}
        self._filled: dict[str, bytes] = {}

    def ask(
        self,
        statement: str,
        parameters: Any = None,
        *,
        uses_cached_heads: bool = False,
        takes_lock_timeout: bool = False,
    ) -> Statement:
        """A statement with the schema's name in it. For the last two, see Statement."""
        known = (self._plain if parameters is None else self._filled).get(statement)
        if known is None:
            known = self._put_in(statement, has_parameters=parameters is not None)
        return Statement(known, parameters, uses_cached_heads, takes_lock_timeout)

    def holders(self) -> Statement:
        """Asks who has the schema's advisory lock: see who_holds."""
        return self.ask(_HOLDERS, ())

    def _put_in(self, statement: str, *, has_parameters: bool) -> bytes:
        """Puts the schema's name into a statement, where a % that is no parameter is doubled."""

        def value(mark: re.Match[str]) -> str:
            text = self._marks[mark[0]]
            return text.replace("%", "%%") if has_parameters else text

        known = self._filled if has_parameters else self._plain
        known[statement] = _MARKS.sub(value, statement).encode()
        return known[statement]

    def are_current(self) -> Conversation[bool]:
        """Whether the tables are there and up to date."""
        return (yield from self._applied()) == len(self._scripts)

    def migrate(self) -> Conversation[int]:
        """Brings the tables up to date, in the transaction in which this is asked.

        Answers how many scripts they had seen before. Raises NotAStore for tables of a newer version.
        """
        yield self.ask(_LOCK)
        ((exists,),) = yield self.ask(_IS_SCHEMA, (self.schema,))
        if not exists:
            yield from self.make_schema()
        applied = yield from self._applied()
        if not applied:
            yield self.ask(_MAKE_APPLIED)
        for script in self._scripts[applied:]:
            yield self.ask(script)
        if applied < len(self._scripts):
            yield self.ask(_SET_APPLIED, (len(self._scripts),))
        return applied

    def make_schema(self) -> Conversation[None]:
        """Makes the schema, in the transaction in which this is asked."""
        if self._made_by:
            maker = f"{quoted(self._made_by)}.make_schema"
            ((has_maker,),) = yield self.ask(_HAS_MAKER, (f"{maker}(text)",))
            if has_maker:
                call = f"SELECT {maker.replace('%', '%%')}(%s)"
                yield Statement(call.encode(), (self.schema,))
                return
        yield self.ask(_MAKE_SCHEMA)

    def _applied(self) -> Conversation[int]:
        ((exists,),) = yield self.ask(_IS_THERE, (f"{self._quoted}.eventsrc_applied",))
        if not exists:
            return 0
        ((applied, is_another),) = yield self.ask(_APPLIED, (f"{self._quoted}.{self._mark}",))
        if applied and is_another:
            raise NotAStore(
                f"schema {self.schema!r} has other tables of eventsrc: a store and its views need a "
                "schema each"
            )
        if applied > len(self._scripts):
            raise NotAStore(
                f"schema {self.schema!r} has version {applied} of its tables, and the newest known "
                f"here is {len(self._scripts)}: update eventsrc"
            )
        return int(applied)


def who_holds(rows: Rows) -> str:
    """Names the holders of the lock, by the rows that `Tables.holders` asks for; empty for nobody."""
    return " and ".join(
        f"the prepared transaction {gid or ''!r}, {age or 0:.1f} s old"
        if pid is None
        else f"process {pid} of Postgres ({name + ', ' if name else ''}{state}), "
        f"whose transaction is {age or 0:.1f} s old"
        for pid, state, name, gid, age in rows
    )


def quoted(name: str) -> str:
    """A name as SQL has it. Raises ValueError for one that cannot name a schema."""
    if not name or "\0" in name or len(name.encode(errors="surrogatepass")) > 63:
        raise ValueError(f"{name!r} cannot name a schema: use 1 to 63 bytes")
    if any("\ud800" <= letter <= "\udfff" for letter in name):
        raise ValueError(f"{name!r} cannot name a schema: it is no valid Unicode")
    return '"' + name.replace('"', '""') + '"'


def _tag(schema: str) -> str:
    """A tag that quotes a text in which the schema's name may stand."""
    tag, number = "$$", 0
    while tag in schema:
        tag, number = f"$body{number}$", number + 1
    return tag


def _lock_number(schema: str) -> int:
    """A number for the schema's advisory lock that nobody else in the database uses."""
    digest = hashlib.sha256(f"eventsrc {schema}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)

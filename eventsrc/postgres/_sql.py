"""The SQL of the Postgres store: its tables, the function that appends, and its statements.

What `{s}` and `{lock}` stand for is in postgres_schema.py.

**The order of the feed.** Whoever appends takes the store's advisory lock first and keeps it until the
commit, and positions are one more than the greatest that is visible then. So positions have no holes
and are visible in their order: a reader that has seen position n has seen all before it. The lock is
asked for in a statement of its own, inside a function, so that the next statement there sees what was
committed while it waited; where a statement takes the lock and inserts at once, it may see too little,
and then the unique position refuses what it inserts.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from eventsrc.postgres import _tags
from eventsrc.postgres._functions import APPEND as APPEND_FUNCTION
from eventsrc.postgres._functions import APPEND_KNOWN as APPEND_KNOWN_FUNCTION
from eventsrc.postgres._functions import APPEND_ONE as APPEND_ONE_FUNCTION
from eventsrc.postgres._functions import REACH as REACH  # which questions and tests ask for here
from eventsrc.postgres._functions import filled

SCRIPTS: Final = (
    # An event is found by its position in the feed, and by stream and version; the first event of an
    # append by the append's id, if the caller chose that.
    """
    CREATE TABLE {s}.store (id text NOT NULL);
    CREATE TABLE {s}.stream (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        name text COLLATE "C" NOT NULL UNIQUE
    );
    CREATE TABLE {s}.kind (
        id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        type text COLLATE "C" NOT NULL,
        schema bigint NOT NULL,
        codec text COLLATE "C" NOT NULL,
        UNIQUE (type, schema, codec)
    );
    CREATE TABLE {s}.event (
        position bigint PRIMARY KEY,
        stream bigint NOT NULL,
        version bigint NOT NULL,
        kind integer NOT NULL,
        recorded_at bigint NOT NULL,
        data bytea NOT NULL,
        data_crc bigint NOT NULL,
        rest bytea NOT NULL,
        UNIQUE (stream, version)
    );
    CREATE TABLE {s}.append (
        id bytea PRIMARY KEY,
        position bigint NOT NULL
    );
    CREATE TABLE {s}.snapshot (
        stream text COLLATE "C" NOT NULL,
        fold text COLLATE "C" NOT NULL,
        fold_version bigint NOT NULL,
        version bigint NOT NULL,
        data bytea NOT NULL,
        PRIMARY KEY (stream, fold, fold_version)
    );

    CREATE FUNCTION {s}.readable(data bytea) RETURNS json LANGUAGE plpgsql IMMUTABLE AS $$
    BEGIN
        RETURN convert_from(data, 'UTF8')::json;
    EXCEPTION WHEN others THEN
        RETURN NULL;  -- not of the codec "json"
    END $$;
    CREATE VIEW {s}.events AS
        SELECT position, name AS stream, version, type, schema,
            {s}.readable(data) AS data,
            {s}.readable(substring(rest FROM 25)) AS metadata,
            encode(substring(rest FOR 16), 'hex')::uuid AS append_id,
            to_timestamp(recorded_at / 1e6) AS recorded_at
        FROM {s}.event
        JOIN {s}.stream ON stream.id = event.stream
        JOIN {s}.kind ON kind.id = event.kind;
    """,
    # What the release of 0.1 has that commit 4fdead8 had not. The functions that append are made anew:
    # the caller says which epoch it knows of, and nothing is stored in another.
    """
    CREATE TABLE {s}.epoch (number bigint PRIMARY KEY, position bigint NOT NULL);
    INSERT INTO {s}.epoch VALUES (1, 0);

    -- The functions find what they call in pg_catalog alone, and name tables with their schema: a role
    -- that may make schemas could otherwise have others run functions of its own.
    -- U+0000, which JSON has and text has not, is shown as U+FFFD.
    CREATE OR REPLACE FUNCTION {s}.readable(data bytea) RETURNS json LANGUAGE plpgsql IMMUTABLE
    SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
        shown text := convert_from(data, 'UTF8');
    BEGIN
        IF position('\\u0000' IN shown) > 0 THEN
            shown := regexp_replace(shown, '(?<!\\\\)((?:\\\\\\\\)*)\\\\u0000', '\\1\\\\ufffd', 'g');
        END IF;
        RETURN shown::json;
    EXCEPTION WHEN others THEN
        RETURN NULL;  -- not of the codec "json"
    END $$;

    -- The epoch of the store. Being volatile, it sees what was committed while its statement waited.
    CREATE FUNCTION {s}.current_epoch() RETURNS bigint LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
        RETURN (SELECT max(number) FROM {s}.epoch);
    END $$;

    -- Begins another epoch; lowest: its number, if the last is less. patience: as of append.
    CREATE FUNCTION {s}.raise_epoch(patience integer, lowest bigint) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
        begun bigint;
    BEGIN
        IF patience > 0 THEN
            PERFORM set_config('lock_timeout', patience::text, true);
        END IF;
        PERFORM pg_advisory_xact_lock({lock});
        INSERT INTO {s}.epoch
        SELECT greatest(lowest, {s}.current_epoch() + 1), coalesce(max(position), 0) FROM {s}.event
        RETURNING number INTO begun;
        RETURN begun;
    END $$;

    -- Whoever takes events, streams or kinds out of the tables, as a test suite does that empties them
    -- between its tests, begins another epoch: so what processes know of them is not relied on.
    -- Snapshots, which may be states of what is gone, go with it.
    CREATE FUNCTION {s}.emptied() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
        INSERT INTO {s}.epoch
        SELECT
            greatest(
                (extract(epoch FROM clock_timestamp()) * 1000)::bigint,
                coalesce({s}.current_epoch(), 0) + 1
            ),
            coalesce(max(position), 0)
        FROM {s}.event;
        DELETE FROM {s}.snapshot;
        RETURN NULL;
    END $$;
    CREATE TRIGGER emptied AFTER TRUNCATE OR DELETE ON {s}.event EXECUTE FUNCTION {s}.emptied();
    CREATE TRIGGER emptied AFTER TRUNCATE OR DELETE ON {s}.stream EXECUTE FUNCTION {s}.emptied();
    CREATE TRIGGER emptied AFTER TRUNCATE OR DELETE ON {s}.kind EXECUTE FUNCTION {s}.emptied();

    DROP FUNCTION IF EXISTS {s}.append(
        integer, bigint, bytea[], boolean[], bigint[], integer[], text[], bigint[], integer[],
        integer[], bytea[], bigint[], bytea[]
    );
    DROP FUNCTION IF EXISTS {s}.append_known(
        bigint, text[], bigint[], bigint[], integer[], bytea[], bigint[], bytea[]
    );

    -- Whoever may execute the functions that write may append, and write nothing else: they run as the
    -- owner of the tables, and see to it that streams and kinds are what they must be.

    {append}
    {append_known}
    {append_one}

    -- Numbers types of events that have no number yet. patience: as of append.
    CREATE FUNCTION {s}.add_kinds(
        patience integer, types text[], schemas bigint[], codecs text[]
    ) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
        IF patience > 0 THEN
            PERFORM set_config('lock_timeout', patience::text, true);
        END IF;
        INSERT INTO {s}.kind (type, schema, codec) SELECT * FROM unnest(types, schemas, codecs)
        ON CONFLICT DO NOTHING;
    END $$;

    -- Keeps a snapshot, unless there is a newer one. patience: as of append.
    CREATE FUNCTION {s}.save_snapshot(
        patience integer, of_stream text, of_fold text, of_version bigint, at bigint, state bytea
    ) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
        IF patience > 0 THEN
            PERFORM set_config('lock_timeout', patience::text, true);
        END IF;
        INSERT INTO {s}.snapshot VALUES (of_stream, of_fold, of_version, at, state)
        ON CONFLICT (stream, fold, fold_version) DO UPDATE
        SET version = excluded.version, data = excluded.data
        WHERE excluded.version > snapshot.version;
    END $$;

    REVOKE EXECUTE ON FUNCTION {s}.append, {s}.append_known, {s}.append_one, {s}.add_kinds,
        {s}.save_snapshot FROM PUBLIC;

    -- The store's secret, of which ids are made that the store chooses. Those that were made without it
    -- are found by the index.
    ALTER TABLE {s}.store ADD COLUMN key bytea NOT NULL DEFAULT pg_catalog.decode(
        pg_catalog.replace(
            pg_catalog.gen_random_uuid()::text || pg_catalog.gen_random_uuid()::text, '-', ''
        ),
        'hex'
    );
    INSERT INTO {s}.append
    SELECT pg_catalog.substring(rest, 1, 16), position FROM {s}.event
    WHERE pg_catalog.substring(rest, 17, 4) = '\\x00000000'::bytea
        AND pg_catalog.substring(rest, 7, 1) BETWEEN '\\x80'::bytea AND '\\x8f'::bytea
    ON CONFLICT DO NOTHING;
    """.replace("{append}", filled(APPEND_FUNCTION, name="append"))
    .replace("{append_known}", filled(APPEND_KNOWN_FUNCTION, name="append_known"))
    .replace("{append_one}", filled(APPEND_ONE_FUNCTION, name="append_one")),
    _tags.SCRIPT,
)

# --- appending

APPEND: Final = """
    SELECT * FROM {s}.append(
        %s, %s, %s, %b::bytea[], %b::boolean[], %s::bigint[], %s::integer[], %b::text[], %s::bigint[],
        %s::integer[], %s::integer[], %b::bytea[], %s::bigint[], %b::bytea[]
    )
"""
APPEND_KNOWN: Final = """
    SELECT {s}.append_known(
        %s, %s, %s, %b::text[], %s::bigint[], %s::bigint[], %s::integer[], %b::bytea[], %s::bigint[],
        %b::bytea[]
    )
"""
APPEND_ONE: Final = """
    SELECT position FROM {s}.append_one(%s, %s, %s, %s, %b, %s, %b, %s, %s, %s) AS position
    WHERE position IS NOT NULL
"""

APPEND_TAGGED: Final = """
    SELECT * FROM {s}.append_tagged(
        %s, %s, %s, %b::bytea[], %b::boolean[], %s::bigint[], %s::integer[], %b::text[], %s::bigint[],
        %s::integer[], %s::integer[], %b::bytea[], %s::bigint[], %b::bytea[],
        %b::text[], %s::integer[], %s::integer[], %b::text[],
        %s, %s::integer[], %s::bigint[], %s::integer[],
        %s::bigint[], %b::text[], %b::text[], %b::text[], %b::text[]
    )
"""
APPEND_TAGGED_ONE: Final = """
    SELECT position FROM {s}.append_tagged_one(
        %s, %s, %s, %s, %b, %s, %b, %s, %s, %s, %b, %b::text[],
        %s, %s::bigint, %s::bigint, %s::integer[],
        %s::bigint[], %b::text[], %b::text[], %b::text[], %b::text[]
    ) AS position
    WHERE position IS NOT NULL
"""

# --- reading

# by stream's unique name, then event's unique (stream, version)
HEADS: Final = """
    SELECT name, id, coalesce((
        SELECT version FROM {s}.event WHERE stream = stream.id ORDER BY version DESC LIMIT 1
    ), 0)
    FROM {s}.stream WHERE name = ANY(%s)
"""


class PageOf(NamedTuple):
    """Two statements that answer the same page; the first is the faster, where all events are small.

    Data that may not have room comes as NULL, in the last column. In the first that is all that is
    larger than an equal share of the room, and no page can be made of such rows; in the second it is
    that of the last row, which does not fit any more. Neither reads what does not come: octet_length
    looks at the head of a value only.
    """

    of_small: str
    of_any: str

    def filtered(self, filters: str) -> PageOf:
        """With more conditions on an event."""
        return PageOf(*(statement.replace("{filters}", filters) for statement in self))


_OF_SMALL: Final = """
    SELECT {small} FROM {s}.event WHERE {where} ORDER BY {order} LIMIT %(limit)s
"""
_OF_ANY: Final = """
    SELECT {fitting} FROM (
        SELECT *, octet_length(data) + octet_length(rest) AS size,
            sum(octet_length(data) + octet_length(rest)) OVER so_far AS sizes,
            row_number() OVER so_far AS nth
        FROM (
            SELECT * FROM {s}.event WHERE {where} ORDER BY {order} LIMIT %(limit)s
        ) AS asked
        WINDOW so_far AS (ORDER BY {order} ROWS UNBOUNDED PRECEDING)
    ) AS sized
    WHERE sizes - size <= %(room)s OR nth <= %(least)s + 1
"""


def _page(statement: str, columns: str, where: str, order: str) -> PageOf:
    """Statements for a page. statement: the whole, in which the page stands as `{page}`."""

    def part(query: str) -> str:
        query = query.replace("{where}", where).replace("{order}", order)
        return statement.replace("{page}", query)

    small = _if(columns, "octet_length(data) + octet_length(rest) <= %(share)s")
    fitting = _if(columns, "sizes <= %(room)s OR nth <= %(least)s")
    return PageOf(
        part(_OF_SMALL).replace("{small}", small), part(_OF_ANY).replace("{fitting}", fitting)
    )


def _if(columns: str, fits: str) -> str:
    """Columns, of which those without a bound are NULL unless an event fits."""
    return re.sub(r"\b(rest|data)\b", rf"CASE WHEN {fits} THEN \1 END AS \1", columns)


def _of_stream(columns: str, where: str, order: str) -> PageOf:
    statement = """
        WITH known AS MATERIALIZED (
            SELECT id, coalesce((
                SELECT version FROM {s}.event WHERE stream = named.id ORDER BY version DESC LIMIT 1
            ), 0) AS head, (SELECT max(number) FROM {s}.epoch) AS epoch
            FROM {s}.stream AS named WHERE name = %(stream)s
        )
        SELECT id, head, epoch, page.* FROM known LEFT JOIN LATERAL ({page}) AS page ON true
    """
    return _page(statement, columns, f"stream = known.id AND {where}", order)


_WHOLE: Final = "position, version, kind, recorded_at, rest, data_crc, data"
READ: Final = _of_stream(_WHOLE, "version > %(after)s", "version")
READ_BACKWARDS: Final = _of_stream(_WHOLE, "version < %(after)s", "version DESC")
READ_DATA: Final = _of_stream(
    "kind, data_crc, data", "version > %(after)s AND version <= %(until)s", "version"
)

# by stream's unique name, then event's unique (stream, version); as many events as have room
READ_SEVERAL: Final = """
    WITH known AS MATERIALIZED (
        SELECT nth, after, most, id, coalesce((
            SELECT version FROM {s}.event WHERE stream = named.id ORDER BY version DESC LIMIT 1
        ), 0) AS head, (SELECT max(number) FROM {s}.epoch) AS epoch
        FROM ROWS FROM (
            pg_catalog.unnest(%b::text[]),
            pg_catalog.unnest(%s::bigint[]),
            pg_catalog.unnest(%s::bigint[])
        ) WITH ORDINALITY AS asked (name, after, most, nth)
        LEFT JOIN {s}.stream AS named ON named.name = asked.name
    ),
    found AS MATERIALIZED (
        SELECT nth, {columns},
            sum(octet_length(data) + octet_length(rest)) OVER (ORDER BY nth, version) AS size
        FROM known CROSS JOIN LATERAL (
            SELECT {columns} FROM {s}.event WHERE stream = known.id AND version > known.after
            ORDER BY version LIMIT known.most
        ) AS page
    )
    SELECT known.nth, id, head, epoch, {columns} FROM known
    LEFT JOIN found ON found.nth = known.nth AND size <= %s
    ORDER BY known.nth, version
""".replace("{columns}", _WHOLE)


def _of_feed(columns: str) -> PageOf:
    # by the primary key, in its order: what is left out is looked up for each event, which keeps
    # Postgres from looking at all streams, or all events that follow, for the sake of one page
    statement = """
        WITH feed AS MATERIALIZED (
            SELECT coalesce(max(position), 0) AS last, (SELECT max(number) FROM {s}.epoch) AS epoch
            FROM {s}.event
        ),
        page AS MATERIALIZED ({page})
        SELECT last, epoch, {columns}
        FROM feed LEFT JOIN (page JOIN {s}.stream ON stream.id = page.stream) ON true
        ORDER BY position
    """.replace("{columns}", columns.replace("stream", "name"))
    where = """
        position > %(after)s AND position <= %(until)s
            AND position <= (SELECT last FROM feed) {filters}
    """
    return _page(statement, columns, where, "position")


# by the primary key, at the positions that the index of tags finds
TAGGED: Final = PageOf(
    *(
        statement.replace("SELECT last,", f"SELECT {_tags.SEEN} AS seen, last,")
        for statement in _of_feed(
            "position, stream, version, kind, recorded_at, rest, data_crc, data"
        ).filtered(
            """
                AND position = ANY(ARRAY(
                    SELECT {s}.matching(
                        %(after)s, %(until)s, %(limit)s,
                        %(tags)b::text[], %(of)b::text[], %(prefixes)b::text[]
                    )
                ))
            """
        )
    )
)
FEED: Final = _of_feed("position, stream, version, kind, recorded_at, rest, data_crc, data")
FEED_DATA: Final = _of_feed("position, stream, version, kind, data_crc, data")
OF_PREFIX: Final = """
    AND (
        SELECT name >= %(prefix)s AND name < %(beyond)s FROM {s}.stream WHERE stream.id = event.stream
    )
"""
OF_TYPES: Final = " AND kind = ANY(%(kinds)s::integer[])"

# for connections that do not say how long to wait for others
_PATIENCE: Final = """
    WITH patience AS MATERIALIZED (
        SELECT CASE WHEN patience > 0 THEN set_config('lock_timeout', patience::text, true) END
        FROM (VALUES (%s::integer)) AS given (patience)
    )
"""
# Whoever asks for the lock now gets it after those who wait for it already: once this is answered, what
# they have stored is seen. A joined transaction keeps the lock, as if it had appended: of two that
# shared it, neither could append.
WAIT: Final = """
    {patience}
    SELECT pg_advisory_xact_lock_shared({lock}) FROM patience
""".replace("{patience}", _PATIENCE)
WAIT_IN_TRANSACTION: Final = WAIT.replace("_shared", "")
# by append's primary key
FIND_KEYED: Final = "SELECT position FROM {s}.append WHERE id = %b"
# by the primary key: a few rows
FIND_OWN: Final = """
    SELECT position FROM {s}.event WHERE position BETWEEN %s AND %s AND substring(rest FOR 20) = %b
    ORDER BY position LIMIT 1
"""
# by the primary key: the events of an append stand together
OF_APPEND: Final = """
    SELECT position, name, version, kind, recorded_at, data, data_crc, rest
    FROM {s}.event JOIN {s}.stream ON stream.id = event.stream
    WHERE position >= %s ORDER BY position LIMIT %s
"""

# --- the rest

EPOCHS: Final = "SELECT number, position FROM {s}.epoch ORDER BY number"
RAISE_EPOCH: Final = "SELECT {s}.raise_epoch(%s, %s)"
# by event's unique (stream, version)
POSITION: Final = """
    SELECT position FROM {s}.event
    WHERE stream = (SELECT id FROM {s}.stream WHERE name = %s) AND version = %s
"""
KINDS: Final = (
    "SELECT " + _tags.SEEN + " AS seen, id, type, schema, codec, tags, is_whole "
    "FROM (VALUES (1)) AS one LEFT JOIN {s}.kind ON true"
)
ADD_KINDS: Final = "SELECT {s}.add_kinds(%s, %b::text[], %s::bigint[], %b::text[])"
ADD_TAGGED_KINDS: Final = """
    SELECT {s}.add_tagged_kinds(%s, %b::text[], %s::bigint[], %b::text[], %b::text[])
"""
# kinds that are declared otherwise from now on: answers how they were
REDECLARE: Final = """
    UPDATE {s}.kind SET tags = declared, is_whole = false, indexed = 0
    FROM ROWS FROM (pg_catalog.unnest(%s::integer[]), pg_catalog.unnest(%b::text[]))
        AS given (number, declared)
    JOIN {s}.kind AS before ON before.id = given.number
    WHERE kind.id = given.number AND kind.tags <> declared
    RETURNING kind.id, before.tags
"""
UNTAG: Final = "DELETE FROM {s}.tagged WHERE kind = ANY(%s::integer[])"
UNFINISHED: Final = """
    SELECT id, indexed FROM {s}.kind WHERE id = ANY(%s::integer[]) AND NOT is_whole
"""
# by the primary key
TO_INDEX: Final = _of_feed("position, stream, version, kind, data_crc, data").filtered(
    " AND kind = ANY(%(kinds)s::integer[])"
)
ADD_TAGS: Final = """
    INSERT INTO {s}.tagged SELECT * FROM ROWS FROM (
        pg_catalog.unnest(%b::text[]), pg_catalog.unnest(%s::bigint[]), pg_catalog.unnest(%s::integer[])
    )
    ON CONFLICT DO NOTHING
"""
SET_INDEXED: Final = """
    UPDATE {s}.kind SET indexed = greatest(indexed, reached.position), is_whole = reached.is_end
    FROM (VALUES (%s::bigint, %s::boolean)) AS reached (position, is_end)
    WHERE id = ANY(%s::integer[])
"""
# before a copy keeps events, which come without their tags
OPEN: Final = """
    UPDATE {s}.kind SET is_whole = false,
        indexed = greatest(indexed, (SELECT coalesce(max(position), 0) FROM {s}.event))
    WHERE id = ANY(%s::integer[]) AND is_whole
"""
STORE: Final = "SELECT id, key, (SELECT coalesce(max(position), 0) FROM {s}.event) FROM {s}.store"
HOME: Final = "SELECT current_setting('transaction_isolation'), id FROM {s}.store"
ADD_STORE: Final = "INSERT INTO {s}.store (id) VALUES (%s)"
# --- copies

# by the primary key
RECORDS: Final = """
    SELECT position, name, version, kind, recorded_at, data, data_crc, rest
    FROM {s}.event JOIN {s}.stream ON stream.id = event.stream
    WHERE position BETWEEN %s AND %s ORDER BY position
"""
SET_STORE: Final = "UPDATE {s}.store SET id = %s, key = %b"
CLEAR_EPOCHS: Final = "DELETE FROM {s}.epoch"
ADD_EPOCHS: Final = "INSERT INTO {s}.epoch SELECT * FROM unnest(%s::bigint[], %s::bigint[])"
ADD_STREAMS: Final = "INSERT INTO {s}.stream (name) SELECT unnest(%b::text[])"
ADD_EVENTS: Final = """
    INSERT INTO {s}.event SELECT * FROM unnest(
        %s::bigint[], %s::bigint[], %s::bigint[], %s::integer[], %s::bigint[], %b::bytea[],
        %s::bigint[], %b::bytea[]
    )
"""
ADD_APPENDS: Final = "INSERT INTO {s}.append SELECT * FROM unnest(%b::bytea[], %s::bigint[])"

LOAD_SNAPSHOT: Final = """
    SELECT version, data FROM {s}.snapshot WHERE stream = %s AND fold = %s AND fold_version = %s
"""
SAVE_SNAPSHOT: Final = "SELECT {s}.save_snapshot(%s, %s, %s, %s, %s, %b)"

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

REACH: Final = 255
"""The positions by which an append may begin behind the one that its id names.

The id is made before the append is on its way, and others may be faster; where they are faster than
that, the id is put into the index of those that callers chose.
"""

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

    -- Stores appends one after the other, each if its conditions hold and it is not stored already.
    -- a_: one for each append, p_: for each of its streams, e_: for each of their events.
    -- a_id: the append's id; a_keyed: whether the caller chose it; a_place: the position that it names,
    -- if it may be one that a store made: see REACH.
    -- An append whose id was not chosen may come after its own retry, for which that was: it was held
    -- up on its way, and its caller was told that it is unknown.
    -- p_expected: a version, -1 for any, -2 for an existing stream; p_events: 0 for a mere condition.
    -- e_crc: without the version. Answers a row for each stream of what was stored, with its version
    -- and the position of its last event; or one row that says why an append was not.
    -- patience: how many milliseconds to wait for others, unless the session says that; 0 if it does.
    -- known: the epoch that the caller knows of; in another, one row says that, and nothing is stored.
    -- Each statement has one plan for all streams: one of its own would have all arrays copied into it.
    -- That plan must suit tables that have grown since it was made, so it goes by indexes.
    CREATE FUNCTION {s}.append(
        patience integer, known bigint, recorded bigint,
        a_id bytea[], a_keyed boolean[], a_place bigint[], a_parts integer[],
        p_name text[], p_expected bigint[], p_events integer[],
        e_kind integer[], e_data bytea[], e_crc bigint[], e_rest bytea[]
    ) RETURNS TABLE (
        nth_append integer, outcome text, nth_part integer, stream bigint, version bigint, place bigint
    ) LANGUAGE plpgsql SECURITY DEFINER
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off
    SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
        last bigint;
        began bigint;
        found bigint;
        first integer := 1;
        e integer := 0;
        streams bigint[];
        versions bigint[];
    BEGIN
        IF patience > 0 THEN
            PERFORM set_config('lock_timeout', patience::text, true);
        END IF;
        PERFORM pg_advisory_xact_lock({lock});
        IF known <> {s}.current_epoch() THEN
            nth_append := 0;
            outcome := 'epoch';
            RETURN NEXT;
            RETURN;
        END IF;
        SELECT coalesce(max(event.position), 0) INTO last FROM {s}.event;
        FOR a IN 1 .. cardinality(a_parts) LOOP
            nth_append := a - 1;
            outcome := 'appended';
            nth_part := 0;
            found := NULL;
            SELECT append.position INTO found FROM {s}.append WHERE append.id = a_id[a];
            IF found IS NULL AND a_keyed[a] AND a_place[a] IS NOT NULL THEN
                SELECT event.position INTO found FROM {s}.event
                WHERE event.position BETWEEN a_place[a] AND a_place[a] + {reach}
                    AND substring(event.rest FOR 20) = a_id[a] || '\\x00000000'::bytea
                ORDER BY event.position LIMIT 1;
            END IF;
            IF found IS NOT NULL THEN
                outcome := 'again';
                place := found;
                RETURN NEXT;
            ELSE
                FOR p IN first .. first + a_parts[a] - 1 LOOP
                    stream := NULL;
                    version := NULL;
                    SELECT known.id, (
                        SELECT event.version FROM {s}.event WHERE event.stream = known.id
                        ORDER BY event.version DESC LIMIT 1
                    ) INTO stream, version FROM {s}.stream AS known WHERE known.name = p_name[p];
                    version := coalesce(version, 0);
                    streams[p] := stream;
                    versions[p] := version;
                    IF outcome = 'appended' AND NOT (
                        p_expected[p] = version
                        OR p_expected[p] = -1
                        OR (p_expected[p] = -2 AND version > 0)
                    ) THEN
                        outcome := 'conflict';
                        nth_part := p - first;
                        RETURN NEXT;
                    END IF;
                END LOOP;
            END IF;
            began := last + 1;
            FOR p IN first .. first + a_parts[a] - 1 LOOP
                IF outcome = 'appended' AND p_events[p] > 0 THEN
                    nth_part := p - first;
                    stream := streams[p];
                    IF stream IS NULL THEN
                        INSERT INTO {s}.stream (name) VALUES (p_name[p]) RETURNING id INTO stream;
                    END IF;
                    -- element by element: a slice of an array goes through all that comes before it
                    INSERT INTO {s}.event
                    SELECT last + n, stream, versions[p] + n, e_kind[e + n], recorded, e_data[e + n],
                        e_crc[e + n] # ((versions[p] + n) # ((versions[p] + n) >> 32) & 4294967295),
                        e_rest[e + n]
                    FROM generate_series(1, p_events[p]) AS n;
                    last := last + p_events[p];
                    version := versions[p] + p_events[p];
                    place := last;
                    RETURN NEXT;
                END IF;
                e := e + p_events[p];
            END LOOP;
            IF outcome = 'appended'
                AND (a_keyed[a] OR NOT began BETWEEN a_place[a] AND a_place[a] + {reach})
            THEN
                INSERT INTO {s}.append VALUES (a_id[a], began);
            END IF;
            first := first + a_parts[a];
        END LOOP;
    END $$;

    -- Stores events at the end of the feed whose streams and versions the caller knows; the indexes of
    -- names and of streams and versions refuse all of them if it is wrong.
    -- foretold: the position of the first event that the ids go by: see REACH.
    -- new_name: of streams that there are not yet; e_stream: an id, or -1 for the first of those names.
    -- Answers the position before the first event, and the ids of the new streams; nothing, having
    -- stored nothing, in another epoch than the one that is known.
    CREATE FUNCTION {s}.append_known(
        known bigint, foretold bigint, recorded bigint, new_name text[],
        e_stream bigint[], e_version bigint[], e_kind integer[],
        e_data bytea[], e_crc bigint[], e_rest bytea[]
    ) RETURNS bigint[] LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
        place bigint;
        made bigint[] := '{}';
    BEGIN
        PERFORM pg_advisory_xact_lock({lock});
        IF known <> {s}.current_epoch() THEN
            RETURN '{}';
        END IF;
        IF cardinality(new_name) > 0 THEN
            INSERT INTO {s}.stream (name) SELECT unnest(new_name);
            SELECT array_agg((SELECT id FROM {s}.stream WHERE name = came.name) ORDER BY n) INTO made
            FROM unnest(new_name) WITH ORDINALITY AS came (name, n);
        END IF;
        IF EXISTS (
            SELECT FROM (
                SELECT stream AS its, version - 1 AS before, stream = lag(stream) OVER in_order
                    AND version = lag(version) OVER in_order + 1 AS follows
                FROM unnest(e_stream, e_version) WITH ORDINALITY AS came (stream, version, n)
                WINDOW in_order AS (ORDER BY n)
            ) AS came
            WHERE NOT coalesce(follows, false) AND NOT CASE
                WHEN its < 0 THEN before = 0
                ELSE EXISTS (SELECT FROM {s}.event WHERE stream = its AND version = before)
            END
        ) OR NOT e_kind <@ ARRAY (SELECT id FROM {s}.kind) THEN
            RAISE unique_violation USING MESSAGE = 'a version does not follow, or a kind is not there';
        END IF;
        SELECT coalesce(max(event.position), 0) INTO place FROM {s}.event;
        INSERT INTO {s}.event
        SELECT place + n, CASE WHEN stream < 0 THEN made[-stream] ELSE stream END,
            version, kind, recorded, data, crc, rest
        FROM unnest(e_stream, e_version, e_kind, e_data, e_crc, e_rest)
            WITH ORDINALITY AS came (stream, version, kind, data, crc, rest, n);
        IF NOT place + 1 BETWEEN foretold AND foretold + {reach} THEN
            INSERT INTO {s}.append
            SELECT substring(rest FOR 16), place + n
            FROM unnest(e_rest) WITH ORDINALITY AS came (rest, n)
            WHERE substring(rest FROM 17 FOR 4) = '\\x00000000'::bytea;
        END IF;
        RETURN place || made;
    END $$;

    -- Stores one event of a stream that has some, whose id and version the caller knows; the index of
    -- streams and versions refuses it if others have moved the head.
    -- nearest, farthest: the positions that its id may go by: see REACH.
    -- Answers its position; NULL in another epoch than the one that is known.
    CREATE FUNCTION {s}.append_one(
        e_stream bigint, e_version bigint, e_kind integer, recorded bigint,
        e_data bytea, e_crc bigint, e_rest bytea, known bigint, nearest bigint, farthest bigint
    ) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
        place bigint;
    BEGIN
        PERFORM pg_advisory_xact_lock({lock});
        IF known <> {s}.current_epoch() THEN
            RETURN NULL;
        END IF;
        IF NOT EXISTS (SELECT FROM {s}.event WHERE stream = e_stream AND version = e_version - 1)
            OR NOT EXISTS (SELECT FROM {s}.kind WHERE id = e_kind)
        THEN
            RAISE unique_violation USING MESSAGE = 'a version does not follow, or a kind is not there';
        END IF;
        SELECT coalesce(max(event.position), 0) INTO place FROM {s}.event;
        place := place + 1;
        INSERT INTO {s}.event VALUES (
            place, e_stream, e_version, e_kind, recorded, e_data, e_crc, e_rest
        );
        IF NOT place BETWEEN nearest AND farthest THEN
            INSERT INTO {s}.append VALUES (substring(e_rest FOR 16), place);
        END IF;
        RETURN place;
    END $$;

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
    """.replace("{reach}", str(REACH)),
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
KINDS: Final = "SELECT id, type, schema, codec FROM {s}.kind"
ADD_KINDS: Final = "SELECT {s}.add_kinds(%s, %b::text[], %s::bigint[], %b::text[])"
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

"""The functions of the Postgres store that append: what each asks of whom is said in its comment.

They are texts with marks such as `<<tags>>`, at which what events with tags need is put in: so the
function that appends such events is the one that appends plain ones, and these go without it.
"""

from __future__ import annotations

import re
from typing import Final

REACH: Final = 255
"""The positions by which an append may begin behind the one that its id names.

The id is made before the append is on its way, and others may be faster; where they are faster than
that, the id is put into the index of those that callers chose.
"""

_MARK: Final = re.compile(r"<<(\w+)>>")


def filled(function: str, **parts: str) -> str:
    """The statement that makes a function. parts: what stands at its marks; nothing at the others."""
    parts = {"create": "CREATE FUNCTION", "epoch": "{s}.current_epoch()", **parts}
    return _MARK.sub(lambda mark: parts.get(mark[1], ""), function).replace("{reach}", str(REACH))


APPEND: Final = """
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
    <<create>> {s}.<<name>>(
        patience integer, known bigint, recorded bigint,
        a_id bytea[], a_keyed boolean[], a_place bigint[], a_parts integer[],
        p_name text[], p_expected bigint[], p_events integer[],
        e_kind integer[], e_data bytea[], e_crc bigint[], e_rest bytea[]
        <<arguments>>
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
        versions bigint[];<<variables>>
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
<<check>>        SELECT coalesce(max(event.position), 0) INTO last FROM {s}.event;
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
<<conditions>>            began := last + 1;
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
<<tags>>            IF outcome = 'appended'
                AND (a_keyed[a] OR NOT began BETWEEN a_place[a] AND a_place[a] + {reach})
            THEN
                INSERT INTO {s}.append VALUES (a_id[a], began);
            END IF;
            first := first + a_parts[a];
        END LOOP;
    END $$;
"""

APPEND_KNOWN: Final = """
    -- Stores events at the end of the feed whose streams and versions the caller knows; the indexes of
    -- names and of streams and versions refuse all of them if it is wrong.
    -- foretold: the position of the first event that the ids go by: see REACH.
    -- new_name: of streams that there are not yet; e_stream: an id, or -1 for the first of those names.
    -- Answers the position before the first event, and the ids of the new streams; nothing, having
    -- stored nothing, in another epoch than the one that is known.
    <<create>> {s}.<<name>>(
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
        ) OR NOT e_kind <@ ARRAY (SELECT id FROM {s}.kind<<open>>) THEN
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
"""

APPEND_ONE: Final = """
    -- Stores one event of a stream that has some, whose id and version the caller knows; the index of
    -- streams and versions refuses it if others have moved the head.
    -- nearest, farthest: the positions that its id may go by: see REACH.
    -- Answers its position; NULL in another epoch than the one that is known.
    <<create>> {s}.<<name>>(
        e_stream bigint, e_version bigint, e_kind integer, recorded bigint,
        e_data bytea, e_crc bigint, e_rest bytea, known bigint, nearest bigint, farthest bigint
        <<arguments>>
    ) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER<<settings>>
    SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
        place bigint;<<variables>>
    BEGIN
        PERFORM pg_advisory_xact_lock({lock});
        IF known <> <<epoch>> THEN
            RETURN NULL;
        END IF;
        IF NOT EXISTS (SELECT FROM {s}.event WHERE stream = e_stream AND version = e_version - 1)
            OR NOT EXISTS (SELECT FROM {s}.kind WHERE id = e_kind<<open>>)
        THEN
            RAISE unique_violation USING MESSAGE = 'a version does not follow, or a kind is not there';
        END IF;
        SELECT coalesce(max(event.position), 0) INTO place FROM {s}.event;
<<conditions>>        place := place + 1;
        INSERT INTO {s}.event VALUES (
            place, e_stream, e_version, e_kind, recorded, e_data, e_crc, e_rest
        );
<<tags>>        IF NOT place BETWEEN nearest AND farthest THEN
            INSERT INTO {s}.append VALUES (substring(e_rest FOR 16), place);
        END IF;
        RETURN place;
    END $$;
"""

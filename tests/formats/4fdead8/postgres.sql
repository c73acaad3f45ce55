

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

CREATE SCHEMA eventsrc;

CREATE SCHEMA eventsrc_views;

CREATE SCHEMA "eventsrc_views_Nämen & co/x_1";

CREATE SCHEMA eventsrc_views_deadly_1;

CREATE SCHEMA eventsrc_views_half_1;

CREATE SCHEMA eventsrc_views_orders_1;

CREATE SCHEMA eventsrc_views_orders_2;

CREATE SCHEMA eventsrc_views_poison_1;

CREATE SCHEMA eventsrc_views_vain_1;

CREATE SCHEMA eventsrc_views_wide_3;

CREATE SCHEMA "shöp ""1"" of 100%";

CREATE FUNCTION eventsrc.append(patience integer, recorded bigint, a_id bytea[], a_keyed boolean[], a_end bigint[], a_parts integer[], p_name text[], p_expected bigint[], p_events integer[], e_kind integer[], e_data bytea[], e_crc bigint[], e_rest bytea[]) RETURNS TABLE(nth_append integer, outcome text, nth_part integer, stream bigint, version bigint, place bigint)
    LANGUAGE plpgsql
    AS $$
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
        PERFORM pg_advisory_xact_lock(486880171981922774);
        SELECT coalesce(max(event.position), 0) INTO last FROM "eventsrc".event;
        FOR a IN 1 .. cardinality(a_parts) LOOP
            nth_append := a - 1;
            outcome := 'appended';
            nth_part := 0;
            found := NULL;
            SELECT append.position INTO found FROM "eventsrc".append WHERE append.id = a_id[a];
            IF found IS NULL AND a_keyed[a] AND a_end[a] IS NOT NULL THEN
                SELECT event.position INTO found FROM "eventsrc".event
                WHERE event.position > a_end[a]
                    AND substring(event.rest FOR 20) = a_id[a] || '\x00000000'::bytea
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
                        SELECT event.version FROM "eventsrc".event WHERE event.stream = known.id
                        ORDER BY event.version DESC LIMIT 1
                    ) INTO stream, version FROM "eventsrc".stream AS known WHERE known.name = p_name[p];
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
                        INSERT INTO "eventsrc".stream (name) VALUES (p_name[p]) RETURNING id INTO stream;
                    END IF;
                    INSERT INTO "eventsrc".event
                    SELECT last + n, stream, versions[p] + n, kind, recorded, data,
                        crc # ((versions[p] + n) # ((versions[p] + n) >> 32) & 4294967295), rest
                    FROM unnest(
                        e_kind[e + 1 : e + p_events[p]], e_data[e + 1 : e + p_events[p]],
                        e_crc[e + 1 : e + p_events[p]], e_rest[e + 1 : e + p_events[p]]
                    ) WITH ORDINALITY AS came (kind, data, crc, rest, n);
                    last := last + p_events[p];
                    version := versions[p] + p_events[p];
                    place := last;
                    RETURN NEXT;
                END IF;
                e := e + p_events[p];
            END LOOP;
            IF outcome = 'appended' AND a_keyed[a] THEN
                INSERT INTO "eventsrc".append VALUES (a_id[a], began);
            END IF;
            first := first + a_parts[a];
        END LOOP;
    END $$;

CREATE FUNCTION eventsrc.append_known(recorded bigint, new_name text[], e_stream bigint[], e_version bigint[], e_kind integer[], e_data bytea[], e_crc bigint[], e_rest bytea[]) RETURNS bigint[]
    LANGUAGE plpgsql
    AS $$
    DECLARE
        place bigint;
        made bigint[] := '{}';
    BEGIN
        PERFORM pg_advisory_xact_lock(486880171981922774);
        IF cardinality(new_name) > 0 THEN
            INSERT INTO "eventsrc".stream (name) SELECT unnest(new_name);
            SELECT array_agg((SELECT id FROM "eventsrc".stream WHERE name = came.name) ORDER BY n) INTO made
            FROM unnest(new_name) WITH ORDINALITY AS came (name, n);
        END IF;
        SELECT coalesce(max(event.position), 0) INTO place FROM "eventsrc".event;
        INSERT INTO "eventsrc".event
        SELECT place + n, CASE WHEN stream < 0 THEN made[-stream] ELSE stream END,
            version, kind, recorded, data, crc, rest
        FROM unnest(e_stream, e_version, e_kind, e_data, e_crc, e_rest)
            WITH ORDINALITY AS came (stream, version, kind, data, crc, rest, n);
        RETURN place || made;
    END $$;

CREATE FUNCTION eventsrc.call() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
    BEGIN
        PERFORM pg_notify('eventsrc 486880171981922774', '');
        RETURN NULL;
    END $$;

CREATE FUNCTION eventsrc.readable(data bytea) RETURNS json
    LANGUAGE plpgsql IMMUTABLE
    AS $$
    BEGIN
        RETURN convert_from(data, 'UTF8')::json;
    EXCEPTION WHEN others THEN
        RETURN NULL;  -- not of the codec "json"
    END $$;

CREATE FUNCTION "eventsrc_views_Nämen & co/x_1".eventsrc_advance(streams text[], befores bigint[], afters bigint[]) RETURNS boolean
    LANGUAGE plpgsql
    SET enable_seqscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    AS $$
    DECLARE
        moved bigint;
        added bigint;
    BEGIN
        IF EXISTS (SELECT FROM "eventsrc_views_Nämen & co/x_1".eventsrc_parked WHERE stream = ANY (streams)) THEN
            RETURN false;
        END IF;
        UPDATE "eventsrc_views_Nämen & co/x_1".eventsrc_guard AS guard SET version = after
        FROM unnest(streams, befores, afters) AS came (stream, before, after)
        WHERE guard.stream = came.stream AND guard.version = before;
        GET DIAGNOSTICS moved = ROW_COUNT;
        INSERT INTO "eventsrc_views_Nämen & co/x_1".eventsrc_guard
        SELECT stream, after FROM unnest(streams, befores, afters) AS came (stream, before, after)
        WHERE before = 0
        ON CONFLICT DO NOTHING;
        GET DIAGNOSTICS added = ROW_COUNT;
        RETURN moved + added = cardinality(streams);
    END $$;

CREATE FUNCTION eventsrc_views_deadly_1.eventsrc_advance(streams text[], befores bigint[], afters bigint[]) RETURNS boolean
    LANGUAGE plpgsql
    SET enable_seqscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    AS $$
    DECLARE
        moved bigint;
        added bigint;
    BEGIN
        IF EXISTS (SELECT FROM "eventsrc_views_deadly_1".eventsrc_parked WHERE stream = ANY (streams)) THEN
            RETURN false;
        END IF;
        UPDATE "eventsrc_views_deadly_1".eventsrc_guard AS guard SET version = after
        FROM unnest(streams, befores, afters) AS came (stream, before, after)
        WHERE guard.stream = came.stream AND guard.version = before;
        GET DIAGNOSTICS moved = ROW_COUNT;
        INSERT INTO "eventsrc_views_deadly_1".eventsrc_guard
        SELECT stream, after FROM unnest(streams, befores, afters) AS came (stream, before, after)
        WHERE before = 0
        ON CONFLICT DO NOTHING;
        GET DIAGNOSTICS added = ROW_COUNT;
        RETURN moved + added = cardinality(streams);
    END $$;

CREATE FUNCTION eventsrc_views_half_1.eventsrc_advance(streams text[], befores bigint[], afters bigint[]) RETURNS boolean
    LANGUAGE plpgsql
    SET enable_seqscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    AS $$
    DECLARE
        moved bigint;
        added bigint;
    BEGIN
        IF EXISTS (SELECT FROM "eventsrc_views_half_1".eventsrc_parked WHERE stream = ANY (streams)) THEN
            RETURN false;
        END IF;
        UPDATE "eventsrc_views_half_1".eventsrc_guard AS guard SET version = after
        FROM unnest(streams, befores, afters) AS came (stream, before, after)
        WHERE guard.stream = came.stream AND guard.version = before;
        GET DIAGNOSTICS moved = ROW_COUNT;
        INSERT INTO "eventsrc_views_half_1".eventsrc_guard
        SELECT stream, after FROM unnest(streams, befores, afters) AS came (stream, before, after)
        WHERE before = 0
        ON CONFLICT DO NOTHING;
        GET DIAGNOSTICS added = ROW_COUNT;
        RETURN moved + added = cardinality(streams);
    END $$;

CREATE FUNCTION eventsrc_views_orders_1.eventsrc_advance(streams text[], befores bigint[], afters bigint[]) RETURNS boolean
    LANGUAGE plpgsql
    SET enable_seqscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    AS $$
    DECLARE
        moved bigint;
        added bigint;
    BEGIN
        IF EXISTS (SELECT FROM "eventsrc_views_orders_1".eventsrc_parked WHERE stream = ANY (streams)) THEN
            RETURN false;
        END IF;
        UPDATE "eventsrc_views_orders_1".eventsrc_guard AS guard SET version = after
        FROM unnest(streams, befores, afters) AS came (stream, before, after)
        WHERE guard.stream = came.stream AND guard.version = before;
        GET DIAGNOSTICS moved = ROW_COUNT;
        INSERT INTO "eventsrc_views_orders_1".eventsrc_guard
        SELECT stream, after FROM unnest(streams, befores, afters) AS came (stream, before, after)
        WHERE before = 0
        ON CONFLICT DO NOTHING;
        GET DIAGNOSTICS added = ROW_COUNT;
        RETURN moved + added = cardinality(streams);
    END $$;

CREATE FUNCTION eventsrc_views_orders_2.eventsrc_advance(streams text[], befores bigint[], afters bigint[]) RETURNS boolean
    LANGUAGE plpgsql
    SET enable_seqscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    AS $$
    DECLARE
        moved bigint;
        added bigint;
    BEGIN
        IF EXISTS (SELECT FROM "eventsrc_views_orders_2".eventsrc_parked WHERE stream = ANY (streams)) THEN
            RETURN false;
        END IF;
        UPDATE "eventsrc_views_orders_2".eventsrc_guard AS guard SET version = after
        FROM unnest(streams, befores, afters) AS came (stream, before, after)
        WHERE guard.stream = came.stream AND guard.version = before;
        GET DIAGNOSTICS moved = ROW_COUNT;
        INSERT INTO "eventsrc_views_orders_2".eventsrc_guard
        SELECT stream, after FROM unnest(streams, befores, afters) AS came (stream, before, after)
        WHERE before = 0
        ON CONFLICT DO NOTHING;
        GET DIAGNOSTICS added = ROW_COUNT;
        RETURN moved + added = cardinality(streams);
    END $$;

CREATE FUNCTION eventsrc_views_poison_1.eventsrc_advance(streams text[], befores bigint[], afters bigint[]) RETURNS boolean
    LANGUAGE plpgsql
    SET enable_seqscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    AS $$
    DECLARE
        moved bigint;
        added bigint;
    BEGIN
        IF EXISTS (SELECT FROM "eventsrc_views_poison_1".eventsrc_parked WHERE stream = ANY (streams)) THEN
            RETURN false;
        END IF;
        UPDATE "eventsrc_views_poison_1".eventsrc_guard AS guard SET version = after
        FROM unnest(streams, befores, afters) AS came (stream, before, after)
        WHERE guard.stream = came.stream AND guard.version = before;
        GET DIAGNOSTICS moved = ROW_COUNT;
        INSERT INTO "eventsrc_views_poison_1".eventsrc_guard
        SELECT stream, after FROM unnest(streams, befores, afters) AS came (stream, before, after)
        WHERE before = 0
        ON CONFLICT DO NOTHING;
        GET DIAGNOSTICS added = ROW_COUNT;
        RETURN moved + added = cardinality(streams);
    END $$;

CREATE FUNCTION eventsrc_views_vain_1.eventsrc_advance(streams text[], befores bigint[], afters bigint[]) RETURNS boolean
    LANGUAGE plpgsql
    SET enable_seqscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    AS $$
    DECLARE
        moved bigint;
        added bigint;
    BEGIN
        IF EXISTS (SELECT FROM "eventsrc_views_vain_1".eventsrc_parked WHERE stream = ANY (streams)) THEN
            RETURN false;
        END IF;
        UPDATE "eventsrc_views_vain_1".eventsrc_guard AS guard SET version = after
        FROM unnest(streams, befores, afters) AS came (stream, before, after)
        WHERE guard.stream = came.stream AND guard.version = before;
        GET DIAGNOSTICS moved = ROW_COUNT;
        INSERT INTO "eventsrc_views_vain_1".eventsrc_guard
        SELECT stream, after FROM unnest(streams, befores, afters) AS came (stream, before, after)
        WHERE before = 0
        ON CONFLICT DO NOTHING;
        GET DIAGNOSTICS added = ROW_COUNT;
        RETURN moved + added = cardinality(streams);
    END $$;

CREATE FUNCTION eventsrc_views_wide_3.eventsrc_advance(streams text[], befores bigint[], afters bigint[]) RETURNS boolean
    LANGUAGE plpgsql
    SET enable_seqscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    AS $$
    DECLARE
        moved bigint;
        added bigint;
    BEGIN
        IF EXISTS (SELECT FROM "eventsrc_views_wide_3".eventsrc_parked WHERE stream = ANY (streams)) THEN
            RETURN false;
        END IF;
        UPDATE "eventsrc_views_wide_3".eventsrc_guard AS guard SET version = after
        FROM unnest(streams, befores, afters) AS came (stream, before, after)
        WHERE guard.stream = came.stream AND guard.version = before;
        GET DIAGNOSTICS moved = ROW_COUNT;
        INSERT INTO "eventsrc_views_wide_3".eventsrc_guard
        SELECT stream, after FROM unnest(streams, befores, afters) AS came (stream, before, after)
        WHERE before = 0
        ON CONFLICT DO NOTHING;
        GET DIAGNOSTICS added = ROW_COUNT;
        RETURN moved + added = cardinality(streams);
    END $$;

CREATE FUNCTION "shöp ""1"" of 100%".append(patience integer, recorded bigint, a_id bytea[], a_keyed boolean[], a_end bigint[], a_parts integer[], p_name text[], p_expected bigint[], p_events integer[], e_kind integer[], e_data bytea[], e_crc bigint[], e_rest bytea[]) RETURNS TABLE(nth_append integer, outcome text, nth_part integer, stream bigint, version bigint, place bigint)
    LANGUAGE plpgsql
    AS $$
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
        PERFORM pg_advisory_xact_lock(-4113399737910113838);
        SELECT coalesce(max(event.position), 0) INTO last FROM "shöp ""1"" of 100%".event;
        FOR a IN 1 .. cardinality(a_parts) LOOP
            nth_append := a - 1;
            outcome := 'appended';
            nth_part := 0;
            found := NULL;
            SELECT append.position INTO found FROM "shöp ""1"" of 100%".append WHERE append.id = a_id[a];
            IF found IS NULL AND a_keyed[a] AND a_end[a] IS NOT NULL THEN
                SELECT event.position INTO found FROM "shöp ""1"" of 100%".event
                WHERE event.position > a_end[a]
                    AND substring(event.rest FOR 20) = a_id[a] || '\x00000000'::bytea
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
                        SELECT event.version FROM "shöp ""1"" of 100%".event WHERE event.stream = known.id
                        ORDER BY event.version DESC LIMIT 1
                    ) INTO stream, version FROM "shöp ""1"" of 100%".stream AS known WHERE known.name = p_name[p];
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
                        INSERT INTO "shöp ""1"" of 100%".stream (name) VALUES (p_name[p]) RETURNING id INTO stream;
                    END IF;
                    INSERT INTO "shöp ""1"" of 100%".event
                    SELECT last + n, stream, versions[p] + n, kind, recorded, data,
                        crc # ((versions[p] + n) # ((versions[p] + n) >> 32) & 4294967295), rest
                    FROM unnest(
                        e_kind[e + 1 : e + p_events[p]], e_data[e + 1 : e + p_events[p]],
                        e_crc[e + 1 : e + p_events[p]], e_rest[e + 1 : e + p_events[p]]
                    ) WITH ORDINALITY AS came (kind, data, crc, rest, n);
                    last := last + p_events[p];
                    version := versions[p] + p_events[p];
                    place := last;
                    RETURN NEXT;
                END IF;
                e := e + p_events[p];
            END LOOP;
            IF outcome = 'appended' AND a_keyed[a] THEN
                INSERT INTO "shöp ""1"" of 100%".append VALUES (a_id[a], began);
            END IF;
            first := first + a_parts[a];
        END LOOP;
    END $$;

CREATE FUNCTION "shöp ""1"" of 100%".append_known(recorded bigint, new_name text[], e_stream bigint[], e_version bigint[], e_kind integer[], e_data bytea[], e_crc bigint[], e_rest bytea[]) RETURNS bigint[]
    LANGUAGE plpgsql
    AS $$
    DECLARE
        place bigint;
        made bigint[] := '{}';
    BEGIN
        PERFORM pg_advisory_xact_lock(-4113399737910113838);
        IF cardinality(new_name) > 0 THEN
            INSERT INTO "shöp ""1"" of 100%".stream (name) SELECT unnest(new_name);
            SELECT array_agg((SELECT id FROM "shöp ""1"" of 100%".stream WHERE name = came.name) ORDER BY n) INTO made
            FROM unnest(new_name) WITH ORDINALITY AS came (name, n);
        END IF;
        SELECT coalesce(max(event.position), 0) INTO place FROM "shöp ""1"" of 100%".event;
        INSERT INTO "shöp ""1"" of 100%".event
        SELECT place + n, CASE WHEN stream < 0 THEN made[-stream] ELSE stream END,
            version, kind, recorded, data, crc, rest
        FROM unnest(e_stream, e_version, e_kind, e_data, e_crc, e_rest)
            WITH ORDINALITY AS came (stream, version, kind, data, crc, rest, n);
        RETURN place || made;
    END $$;

CREATE FUNCTION "shöp ""1"" of 100%".readable(data bytea) RETURNS json
    LANGUAGE plpgsql IMMUTABLE
    AS $$
    BEGIN
        RETURN convert_from(data, 'UTF8')::json;
    EXCEPTION WHEN others THEN
        RETURN NULL;  -- not of the codec "json"
    END $$;

SET default_tablespace = '';

SET default_table_access_method = heap;

CREATE TABLE eventsrc.append (
    id bytea NOT NULL,
    "position" bigint NOT NULL
);

CREATE TABLE eventsrc.event (
    "position" bigint NOT NULL,
    stream bigint NOT NULL,
    version bigint NOT NULL,
    kind integer NOT NULL,
    recorded_at bigint NOT NULL,
    data bytea NOT NULL,
    data_crc bigint NOT NULL,
    rest bytea NOT NULL
);

CREATE TABLE eventsrc.kind (
    id integer NOT NULL,
    type text NOT NULL COLLATE pg_catalog."C",
    schema bigint NOT NULL,
    codec text NOT NULL COLLATE pg_catalog."C"
);

CREATE TABLE eventsrc.stream (
    id bigint NOT NULL,
    name text NOT NULL COLLATE pg_catalog."C"
);

CREATE VIEW eventsrc.events AS
 SELECT event."position",
    stream.name AS stream,
    event.version,
    kind.type,
    kind.schema,
    eventsrc.readable(event.data) AS data,
    eventsrc.readable(SUBSTRING(event.rest FROM 25)) AS metadata,
    (encode(SUBSTRING(event.rest FROM 1 FOR 16), 'hex'::text))::uuid AS append_id,
    to_timestamp((((event.recorded_at)::numeric / '1000000'::numeric))::double precision) AS recorded_at
   FROM ((eventsrc.event
     JOIN eventsrc.stream ON ((stream.id = event.stream)))
     JOIN eventsrc.kind ON ((kind.id = event.kind)));

CREATE TABLE eventsrc.eventsrc_applied (
    scripts integer NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE eventsrc.kind ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME eventsrc.kind_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE eventsrc.snapshot (
    stream text NOT NULL COLLATE pg_catalog."C",
    fold text NOT NULL COLLATE pg_catalog."C",
    fold_version bigint NOT NULL,
    version bigint NOT NULL,
    data bytea NOT NULL
);

CREATE TABLE eventsrc.store (
    id text NOT NULL
);

ALTER TABLE eventsrc.stream ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME eventsrc.stream_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE eventsrc_views.eventsrc_applied (
    scripts integer NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE eventsrc_views.eventsrc_live (
    name text NOT NULL COLLATE pg_catalog."C",
    version bigint NOT NULL
);

CREATE TABLE "eventsrc_views_Nämen & co/x_1".eventsrc_applied (
    scripts integer NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE "eventsrc_views_Nämen & co/x_1".eventsrc_guard (
    stream text NOT NULL COLLATE pg_catalog."C",
    version bigint NOT NULL
)
WITH (fillfactor='50');

CREATE TABLE "eventsrc_views_Nämen & co/x_1".eventsrc_owner (
    owner text NOT NULL COLLATE pg_catalog."C",
    until double precision NOT NULL,
    seconds double precision NOT NULL
);

CREATE TABLE "eventsrc_views_Nämen & co/x_1".eventsrc_parked (
    stream text NOT NULL COLLATE pg_catalog."C",
    version bigint NOT NULL,
    "position" bigint NOT NULL,
    type text NOT NULL,
    error text NOT NULL,
    attempts bigint NOT NULL,
    held bigint NOT NULL,
    since text NOT NULL,
    is_deadly boolean NOT NULL
);

CREATE TABLE "eventsrc_views_Nämen & co/x_1".eventsrc_part (
    part integer NOT NULL,
    store text NOT NULL,
    "position" bigint NOT NULL,
    applied bigint NOT NULL,
    owner text COLLATE pg_catalog."C",
    token bigint NOT NULL,
    until double precision NOT NULL,
    seconds double precision NOT NULL,
    starts bigint NOT NULL,
    trying bigint NOT NULL,
    tries bigint NOT NULL
);

CREATE TABLE "eventsrc_views_Nämen & co/x_1".names (
    id text NOT NULL,
    name text
);

CREATE TABLE eventsrc_views_deadly_1.came (
    stream text,
    version integer,
    text text
);

CREATE TABLE eventsrc_views_deadly_1.eventsrc_applied (
    scripts integer NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE eventsrc_views_deadly_1.eventsrc_guard (
    stream text NOT NULL COLLATE pg_catalog."C",
    version bigint NOT NULL
)
WITH (fillfactor='50');

CREATE TABLE eventsrc_views_deadly_1.eventsrc_owner (
    owner text NOT NULL COLLATE pg_catalog."C",
    until double precision NOT NULL,
    seconds double precision NOT NULL
);

CREATE TABLE eventsrc_views_deadly_1.eventsrc_parked (
    stream text NOT NULL COLLATE pg_catalog."C",
    version bigint NOT NULL,
    "position" bigint NOT NULL,
    type text NOT NULL,
    error text NOT NULL,
    attempts bigint NOT NULL,
    held bigint NOT NULL,
    since text NOT NULL,
    is_deadly boolean NOT NULL
);

CREATE TABLE eventsrc_views_deadly_1.eventsrc_part (
    part integer NOT NULL,
    store text NOT NULL,
    "position" bigint NOT NULL,
    applied bigint NOT NULL,
    owner text COLLATE pg_catalog."C",
    token bigint NOT NULL,
    until double precision NOT NULL,
    seconds double precision NOT NULL,
    starts bigint NOT NULL,
    trying bigint NOT NULL,
    tries bigint NOT NULL
);

CREATE TABLE eventsrc_views_half_1.came (
    stream text,
    version integer,
    text text
);

CREATE TABLE eventsrc_views_half_1.eventsrc_applied (
    scripts integer NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE eventsrc_views_half_1.eventsrc_guard (
    stream text NOT NULL COLLATE pg_catalog."C",
    version bigint NOT NULL
)
WITH (fillfactor='50');

CREATE TABLE eventsrc_views_half_1.eventsrc_owner (
    owner text NOT NULL COLLATE pg_catalog."C",
    until double precision NOT NULL,
    seconds double precision NOT NULL
);

CREATE TABLE eventsrc_views_half_1.eventsrc_parked (
    stream text NOT NULL COLLATE pg_catalog."C",
    version bigint NOT NULL,
    "position" bigint NOT NULL,
    type text NOT NULL,
    error text NOT NULL,
    attempts bigint NOT NULL,
    held bigint NOT NULL,
    since text NOT NULL,
    is_deadly boolean NOT NULL
);

CREATE TABLE eventsrc_views_half_1.eventsrc_part (
    part integer NOT NULL,
    store text NOT NULL,
    "position" bigint NOT NULL,
    applied bigint NOT NULL,
    owner text COLLATE pg_catalog."C",
    token bigint NOT NULL,
    until double precision NOT NULL,
    seconds double precision NOT NULL,
    starts bigint NOT NULL,
    trying bigint NOT NULL,
    tries bigint NOT NULL
);

CREATE TABLE eventsrc_views_orders_1.eventsrc_applied (
    scripts integer NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE eventsrc_views_orders_1.eventsrc_guard (
    stream text NOT NULL COLLATE pg_catalog."C",
    version bigint NOT NULL
)
WITH (fillfactor='50');

CREATE TABLE eventsrc_views_orders_1.eventsrc_owner (
    owner text NOT NULL COLLATE pg_catalog."C",
    until double precision NOT NULL,
    seconds double precision NOT NULL
);

CREATE TABLE eventsrc_views_orders_1.eventsrc_parked (
    stream text NOT NULL COLLATE pg_catalog."C",
    version bigint NOT NULL,
    "position" bigint NOT NULL,
    type text NOT NULL,
    error text NOT NULL,
    attempts bigint NOT NULL,
    held bigint NOT NULL,
    since text NOT NULL,
    is_deadly boolean NOT NULL
);

CREATE TABLE eventsrc_views_orders_1.eventsrc_part (
    part integer NOT NULL,
    store text NOT NULL,
    "position" bigint NOT NULL,
    applied bigint NOT NULL,
    owner text COLLATE pg_catalog."C",
    token bigint NOT NULL,
    until double precision NOT NULL,
    seconds double precision NOT NULL,
    starts bigint NOT NULL,
    trying bigint NOT NULL,
    tries bigint NOT NULL
);

CREATE TABLE eventsrc_views_orders_1.orders (
    stream text,
    nth integer,
    item text,
    amount text
);

CREATE TABLE eventsrc_views_orders_2.eventsrc_applied (
    scripts integer NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE eventsrc_views_orders_2.eventsrc_guard (
    stream text NOT NULL COLLATE pg_catalog."C",
    version bigint NOT NULL
)
WITH (fillfactor='50');

CREATE TABLE eventsrc_views_orders_2.eventsrc_owner (
    owner text NOT NULL COLLATE pg_catalog."C",
    until double precision NOT NULL,
    seconds double precision NOT NULL
);

CREATE TABLE eventsrc_views_orders_2.eventsrc_parked (
    stream text NOT NULL COLLATE pg_catalog."C",
    version bigint NOT NULL,
    "position" bigint NOT NULL,
    type text NOT NULL,
    error text NOT NULL,
    attempts bigint NOT NULL,
    held bigint NOT NULL,
    since text NOT NULL,
    is_deadly boolean NOT NULL
);

CREATE TABLE eventsrc_views_orders_2.eventsrc_part (
    part integer NOT NULL,
    store text NOT NULL,
    "position" bigint NOT NULL,
    applied bigint NOT NULL,
    owner text COLLATE pg_catalog."C",
    token bigint NOT NULL,
    until double precision NOT NULL,
    seconds double precision NOT NULL,
    starts bigint NOT NULL,
    trying bigint NOT NULL,
    tries bigint NOT NULL
);

CREATE TABLE eventsrc_views_orders_2.orders (
    stream text,
    nth integer,
    item text,
    amount text,
    currency text NOT NULL
);

CREATE TABLE eventsrc_views_poison_1.came (
    stream text,
    version integer,
    text text
);

CREATE TABLE eventsrc_views_poison_1.eventsrc_applied (
    scripts integer NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE eventsrc_views_poison_1.eventsrc_guard (
    stream text NOT NULL COLLATE pg_catalog."C",
    version bigint NOT NULL
)
WITH (fillfactor='50');

CREATE TABLE eventsrc_views_poison_1.eventsrc_owner (
    owner text NOT NULL COLLATE pg_catalog."C",
    until double precision NOT NULL,
    seconds double precision NOT NULL
);

CREATE TABLE eventsrc_views_poison_1.eventsrc_parked (
    stream text NOT NULL COLLATE pg_catalog."C",
    version bigint NOT NULL,
    "position" bigint NOT NULL,
    type text NOT NULL,
    error text NOT NULL,
    attempts bigint NOT NULL,
    held bigint NOT NULL,
    since text NOT NULL,
    is_deadly boolean NOT NULL
);

CREATE TABLE eventsrc_views_poison_1.eventsrc_part (
    part integer NOT NULL,
    store text NOT NULL,
    "position" bigint NOT NULL,
    applied bigint NOT NULL,
    owner text COLLATE pg_catalog."C",
    token bigint NOT NULL,
    until double precision NOT NULL,
    seconds double precision NOT NULL,
    starts bigint NOT NULL,
    trying bigint NOT NULL,
    tries bigint NOT NULL
);

CREATE TABLE eventsrc_views_vain_1.came (
    stream text,
    version integer,
    text text
);

CREATE TABLE eventsrc_views_vain_1.eventsrc_applied (
    scripts integer NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE eventsrc_views_vain_1.eventsrc_guard (
    stream text NOT NULL COLLATE pg_catalog."C",
    version bigint NOT NULL
)
WITH (fillfactor='50');

CREATE TABLE eventsrc_views_vain_1.eventsrc_owner (
    owner text NOT NULL COLLATE pg_catalog."C",
    until double precision NOT NULL,
    seconds double precision NOT NULL
);

CREATE TABLE eventsrc_views_vain_1.eventsrc_parked (
    stream text NOT NULL COLLATE pg_catalog."C",
    version bigint NOT NULL,
    "position" bigint NOT NULL,
    type text NOT NULL,
    error text NOT NULL,
    attempts bigint NOT NULL,
    held bigint NOT NULL,
    since text NOT NULL,
    is_deadly boolean NOT NULL
);

CREATE TABLE eventsrc_views_vain_1.eventsrc_part (
    part integer NOT NULL,
    store text NOT NULL,
    "position" bigint NOT NULL,
    applied bigint NOT NULL,
    owner text COLLATE pg_catalog."C",
    token bigint NOT NULL,
    until double precision NOT NULL,
    seconds double precision NOT NULL,
    starts bigint NOT NULL,
    trying bigint NOT NULL,
    tries bigint NOT NULL
);

CREATE TABLE eventsrc_views_wide_3.came (
    stream text,
    version integer,
    text text
);

CREATE TABLE eventsrc_views_wide_3.eventsrc_applied (
    scripts integer NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE eventsrc_views_wide_3.eventsrc_guard (
    stream text NOT NULL COLLATE pg_catalog."C",
    version bigint NOT NULL
)
WITH (fillfactor='50');

CREATE TABLE eventsrc_views_wide_3.eventsrc_owner (
    owner text NOT NULL COLLATE pg_catalog."C",
    until double precision NOT NULL,
    seconds double precision NOT NULL
);

CREATE TABLE eventsrc_views_wide_3.eventsrc_parked (
    stream text NOT NULL COLLATE pg_catalog."C",
    version bigint NOT NULL,
    "position" bigint NOT NULL,
    type text NOT NULL,
    error text NOT NULL,
    attempts bigint NOT NULL,
    held bigint NOT NULL,
    since text NOT NULL,
    is_deadly boolean NOT NULL
);

CREATE TABLE eventsrc_views_wide_3.eventsrc_part (
    part integer NOT NULL,
    store text NOT NULL,
    "position" bigint NOT NULL,
    applied bigint NOT NULL,
    owner text COLLATE pg_catalog."C",
    token bigint NOT NULL,
    until double precision NOT NULL,
    seconds double precision NOT NULL,
    starts bigint NOT NULL,
    trying bigint NOT NULL,
    tries bigint NOT NULL
);

CREATE TABLE "shöp ""1"" of 100%".append (
    id bytea NOT NULL,
    "position" bigint NOT NULL
);

CREATE TABLE "shöp ""1"" of 100%".event (
    "position" bigint NOT NULL,
    stream bigint NOT NULL,
    version bigint NOT NULL,
    kind integer NOT NULL,
    recorded_at bigint NOT NULL,
    data bytea NOT NULL,
    data_crc bigint NOT NULL,
    rest bytea NOT NULL
);

CREATE TABLE "shöp ""1"" of 100%".kind (
    id integer NOT NULL,
    type text NOT NULL COLLATE pg_catalog."C",
    schema bigint NOT NULL,
    codec text NOT NULL COLLATE pg_catalog."C"
);

CREATE TABLE "shöp ""1"" of 100%".stream (
    id bigint NOT NULL,
    name text NOT NULL COLLATE pg_catalog."C"
);

CREATE VIEW "shöp ""1"" of 100%".events AS
 SELECT event."position",
    stream.name AS stream,
    event.version,
    kind.type,
    kind.schema,
    "shöp ""1"" of 100%".readable(event.data) AS data,
    "shöp ""1"" of 100%".readable(SUBSTRING(event.rest FROM 25)) AS metadata,
    (encode(SUBSTRING(event.rest FROM 1 FOR 16), 'hex'::text))::uuid AS append_id,
    to_timestamp((((event.recorded_at)::numeric / '1000000'::numeric))::double precision) AS recorded_at
   FROM (("shöp ""1"" of 100%".event
     JOIN "shöp ""1"" of 100%".stream ON ((stream.id = event.stream)))
     JOIN "shöp ""1"" of 100%".kind ON ((kind.id = event.kind)));

CREATE TABLE "shöp ""1"" of 100%".eventsrc_applied (
    scripts integer NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE "shöp ""1"" of 100%".kind ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME "shöp ""1"" of 100%".kind_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE "shöp ""1"" of 100%".snapshot (
    stream text NOT NULL COLLATE pg_catalog."C",
    fold text NOT NULL COLLATE pg_catalog."C",
    fold_version bigint NOT NULL,
    version bigint NOT NULL,
    data bytea NOT NULL
);

CREATE TABLE "shöp ""1"" of 100%".store (
    id text NOT NULL
);

ALTER TABLE "shöp ""1"" of 100%".stream ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME "shöp ""1"" of 100%".stream_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

INSERT INTO eventsrc.append VALUES ('\x35b3a1f9c7bc54ca8469f4280c41d9cd', 11);
INSERT INTO eventsrc.append VALUES ('\x0000000000038abc9def0123456789ab', 12);
INSERT INTO eventsrc.append VALUES ('\x31dc8bd7747659c2b87dd51094947d37', 13);
INSERT INTO eventsrc.append VALUES ('\x58fa86e5b035565296bb9343ac3858b6', 16);
INSERT INTO eventsrc.append VALUES ('\x697167d4ae55550e80482438dc890f38', 26);

INSERT INTO eventsrc.event VALUES (1, 1, 1, 1, 1700000001123456, '\x7b2263656e7473223a313939392c226974656d223a2261206368616972227d', 514996906, '\x0000000000008059a163ce0b572188130000000092c0a9af');
INSERT INTO eventsrc.event VALUES (2, 2, 1, 1, 1700000002123456, '\x7b2263656e7473223a352c226974656d223a22612073706f6f6e227d', 3679287707, '\x000000000001825d98d70c6170751305000000002228914c7b22636f7272656c6174696f6e223a22632d31227d');
INSERT INTO eventsrc.event VALUES (3, 2, 2, 1, 1700000002123456, '\x7b2263656e7473223a3132333435362c226974656d223a22612066c3b6686e227d', 502575444, '\x000000000001825d98d70c61707513050100000083b886a47b22636f7272656c6174696f6e223a22632d31227d');
INSERT INTO eventsrc.event VALUES (4, 1, 2, 2, 1700000003123456, '\x7b226974656d223a2261207461626c65222c227072696365223a223132302e3030227d', 2653459756, '\x00000000000388c5bdf4fe98e18d5e4c00000000b819ae527b226279223a2248c3b66d6572227d');
INSERT INTO eventsrc.event VALUES (5, 1, 3, 3, 1700000004123456, '\x7b226974656d223a2261206c616d70222c227072696365223a7b22616d6f756e74223a2233302e35222c2263757272656e6379223a22434846227d7d', 720757215, '\x000000000004819b966f3289bb6d9d6f00000000d24cc21d7b22636f7272656c6174696f6e223a2233343131396431362d656230342d353833362d613830322d643033346535633938663063222c22636175736174696f6e223a6e756c6c2c22c3a9223a5b312c2d322e352c747275652c7b226e6573746564223a2271756f7465202720616e64205c2220616e64205c6e222c224e554c223a225c7530303030227d5d2c22247365616c6564223a7b226b6579223a226b31222c22626f78223a225a6d3976227d7d');
INSERT INTO eventsrc.event VALUES (6, 3, 1, 4, 1700000005123456, '\x7b2274657874223a22706c61696e2c20c3a920286f6e65206c6574746572292c2065cc81202874776f292c20e697a5e69cac2c20f09f91a9e2808df09f91a9e2808df09f91a72c20e280a82c205c2271756f7465735c2220616e64205c5c2c204e554c3a205c7530303030222c2277686f6c65223a393232333337323033363835343737353830372c227265616c223a302e312c22796573223a747275652c227072696365223a22312e353030222c226174223a22323032362d30322d30335430343a30353a30362e3030303030375a222c227468657265223a22323032362d30322d30335430343a30353a30362b30353a3435222c226c6f63616c223a22313538322d31302d30345432333a35393a35392e393939393939222c22646179223a22323032342d30322d3239222c22686f7572223a2230313a30323a30332e303030303034222c2277616974223a3235393230303030303030312c226964223a2230303031303230332d303430352d343630372d383830392d306130623063306430653066222c22726177223a223030394336314f297e4d326e682d63333d49777335445e6a2b36637258313723534b4839333337584152215f6e4271622625434043727b45473b664346666c535347264d466949357c32794a55753d3f4b745621374c60366e4e4e4a2661644f69664e74502a47412d52383e7d3253586f2b495477507659557d30696f574d795626586c5a497c593b41364461422a5e54626169256a637a4a717a65305f64406650735238676f54454f683e3431656a45233c756b6463793b6c24446d336e333c5a4a6f536d4d5a70724e397071407c7b28734876297d74675775457528376855773628556b7856674821797548345e7a603f4039234b702450246a517066252b31637628397a503c29596144342a7842304b2b7d2b3b613b4e6a78713c6d4b6b293d3b60587e3f43744c4640625538565e2134606c60312428237b5164735f222c22636f6c6f7572223a322e352c226c6576656c223a322c227269676874223a332c2263757272656e6379223a22434846222c226f6e655f6f66223a312c227368616465223a322c2275736572223a22752d31222c22636f756e74223a332c226d61796265223a227468657265222c226d617962655f6964223a2266666666666666662d666666662d666666662d666666662d666666666666666666666666222c226d617962655f636f6c6f7572223a66616c73652c2263686f696365223a747275652c22776f72645f6f725f6e756d626572223a352c226d6f6e6579223a7b22616d6f756e74223a222d302e3035222c2263757272656e6379223a22455552227d2c227368617065223a7b2273696465223a322e302c226e616d65223a226d7920737175617265227d2c226d617962655f7368617065223a7b22726164697573223a31652b3330307d2c2274726565223a7b226c656166223a312c226c656674223a7b226c656166223a322c226c656674223a6e756c6c2c226f7468657273223a5b7b226c656166223a332c226c656674223a6e756c6c2c226f7468657273223a5b5d7d5d7d2c226f7468657273223a5b7b226c656166223a342c226c656674223a7b226c656166223a352c226c656674223a6e756c6c2c226f7468657273223a5b5d7d2c226f7468657273223a5b5d7d2c7b226c656166223a362c226c656674223a6e756c6c2c226f7468657273223a5b5d7d5d7d2c226d616e79223a5b332c312c325d2c2264617973223a5b22303030312d30312d3031222c22393939392d31322d3331225d2c22736f6d65223a5b2231452b33222c22302e3030225d2c2270616972223a5b226c656674222c2230303030303030302d303030302d303030302d303030302d303030303030303030303031225d2c226e756d62657273223a5b312c31302c395d2c22776f726473223a5b22c3a9222c2261222c2262225d2c22707269636573223a7b22cea9223a7b22616d6f756e74223a2231222c2263757272656e6379223a22455552227d2c22223a7b22616d6f756e74223a2232222c2263757272656e6379223a22434846227d7d2c2264656570223a7b2278223a5b5b312c6e756c6c5d2c5b322c7b22726164697573223a302e357d5d5d2c2279223a5b5d7d2c22616e797468696e67223a7b22247365616c6564223a5b312c322e352c6e756c6c2c7b22246279746573223a226e6f20626173653634227d5d2c226c697374223a5b5b5d2c7b7d5d2c226e223a2d393232333337323033363835343737353830387d2c225f70726976617465223a22736563726574222c226d6f7265223a377d', 504847275, '\x0000000000058f58957074dcc265f3e400000000635cd077');
INSERT INTO eventsrc.event VALUES (7, 3, 2, 4, 1700000005123456, '\x7b2274657874223a22222c2277686f6c65223a2d393232333337323033363835343737353830382c227265616c223a2d302e302c22796573223a66616c73652c227072696365223a2230222c226174223a22303030312d30312d30315430303a30303a30305a222c227468657265223a22393939392d31322d33315432333a35393a30302d31313a3330222c226c6f63616c223a22303030312d30312d30315430303a30303a3030222c22646179223a22303030312d30312d3031222c22686f7572223a2230303a30303a3030222c2277616974223a2d38363430303030303030312c226964223a2230303030303030302d303030302d303030302d303030302d303030303030303030303030222c22726177223a22222c22636f6c6f7572223a66616c73652c226c6576656c223a312c227269676874223a302c2263757272656e6379223a22455552222c226f6e655f6f66223a6e756c6c2c227368616465223a22726564222c2275736572223a22222c22636f756e74223a302c226d61796265223a6e756c6c2c226d617962655f6964223a6e756c6c2c226d617962655f636f6c6f7572223a6e756c6c2c2263686f696365223a6e756c6c2c22776f72645f6f725f6e756d626572223a22222c226d6f6e6579223a7b22616d6f756e74223a2231452d3230222c2263757272656e6379223a22434846227d2c227368617065223a7b22726164697573223a302e307d2c226d617962655f7368617065223a6e756c6c2c2274726565223a7b226c656166223a302c226c656674223a6e756c6c2c226f7468657273223a5b5d7d2c226d616e79223a5b5d2c2264617973223a5b5d2c22736f6d65223a5b5d2c2270616972223a5b22222c2230303030303030302d303030302d303030302d303030302d303030303030303030303030225d2c226e756d62657273223a5b5d2c22776f726473223a5b5d2c22707269636573223a7b7d2c2264656570223a7b7d2c22616e797468696e67223a6e756c6c2c225f70726976617465223a22222c226d6f7265223a307d', 2520562305, '\x0000000000058f58957074dcc265f3e4010000002567b712');
INSERT INTO eventsrc.event VALUES (8, 4, 1, 6, 1700000006123456, '\x7b226e756d626572223a393030373139393235343734303939327d', 4015784560, '\x0000000000078f438fe5b7270d8675b200000000a00b61e6');
INSERT INTO eventsrc.event VALUES (9, 4, 2, 5, 1700000006123456, '\x7b7d', 3122934614, '\x0000000000078f438fe5b7270d8675b201000000ebc96a4a');
INSERT INTO eventsrc.event VALUES (10, 4, 3, 6, 1700000006123456, '\x7b226e756d626572223a2d317d', 2060935463, '\x0000000000078f438fe5b7270d8675b2020000002c7daf2c');
INSERT INTO eventsrc.event VALUES (11, 5, 1, 7, 1700000007123456, '\x7b226964223a2261643636626564642d346331312d353036612d613061662d636537343635313166656565222c226e616d65223a224d61726765227d', 765066885, '\x35b3a1f9c7bc54ca8469f4280c41d9cd00000000b40968c6');
INSERT INTO eventsrc.event VALUES (12, 5, 2, 7, 1700000010123456, '\x7b226964223a2261643636626564642d346331312d353036612d613061662d636537343635313166656565222c226e616d65223a224d6172676520532e227d', 2607359636, '\x0000000000038abc9def0123456789ab00000000ceeb37fe');
INSERT INTO eventsrc.event VALUES (13, 6, 1, 8, 1700000012123456, '\x7b2274657874223a226a6f696e6564222c2261626f7574223a7b7d7d', 988650644, '\x31dc8bd7747659c2b87dd51094947d370000000045eba473');
INSERT INTO eventsrc.event VALUES (14, 7, 1, 8, 1700000013123456, '\x7b2274657874223a226f6e65222c2261626f7574223a7b22247365616c6564223a312c22246279746573223a2241414543222c22223a7b222461223a5b6e756c6c5d7d7d7d', 973300595, '\x00000000000d801093c8ff398aa7451400000000937f44a5');
INSERT INTO eventsrc.event VALUES (15, 7, 2, 8, 1700000014123456, '\x7b2274657874223a2274776f2c204e554c3a205c75303030302c20616e6420e280a8222c2261626f7574223a7b225c7530303030223a225c7530303030227d7d', 243415299, '\x00000000000e89138b751edf034bb1da00000000593ce166');
INSERT INTO eventsrc.event VALUES (16, 1, 4, 3, 1700000015123456, '\x7b226974656d223a2261206c616d70222c227072696365223a7b22616d6f756e74223a2233302e35222c2263757272656e6379223a22434846227d7d', 720757208, '\x58fa86e5b035565296bb9343ac3858b600000000182a9e8a7b22247365616c6564223a22616c6c206f66207468656d227d');
INSERT INTO eventsrc.event VALUES (17, 1, 5, 5, 1700000015123456, '\x7b7d', 708973836, '\x58fa86e5b035565296bb9343ac3858b60100000022fe3d027b22247365616c6564223a22616c6c206f66207468656d227d');
INSERT INTO eventsrc.event VALUES (18, 8, 1, 8, 1700000015123456, '\x7b2274657874223a22616c6c206174206f6e6365222c2261626f7574223a7b7d7d', 2841424724, '\x58fa86e5b035565296bb9343ac3858b60200000005c3dcf37b22247365616c6564223a22616c6c206f66207468656d227d');
INSERT INTO eventsrc.event VALUES (19, 5, 3, 7, 1700000015123456, '\x7b226964223a2261643636626564642d346331312d353036612d613061662d636537343635313166656565222c226e616d65223a224d2e227d', 3244280073, '\x58fa86e5b035565296bb9343ac3858b6030000003c490c0c7b22247365616c6564223a22616c6c206f66207468656d227d');
INSERT INTO eventsrc.event VALUES (20, 9, 1, 8, 1700000018123456, '\x7b2274657874223a2261742030222c2261626f7574223a7b7d7d', 3770405952, '\x0000000000138dc497a18ff1e254e78c0000000087327e8b');
INSERT INTO eventsrc.event VALUES (21, 10, 1, 8, 1700000018123456, '\x7b2274657874223a2261742031222c2261626f7574223a7b7d7d', 3388949503, '\x0000000000138dc497a18ff1e254e78c010000008405474d');
INSERT INTO eventsrc.event VALUES (22, 11, 1, 8, 1700000018123456, '\x7b2274657874223a2261742032222c2261626f7574223a7b7d7d', 4260977173, '\x0000000000138dc497a18ff1e254e78c020000001c7bdc0b');
INSERT INTO eventsrc.event VALUES (23, 12, 1, 8, 1700000018123456, '\x7b2274657874223a2261742033222c2261626f7574223a7b7d7d', 2453226260, '\x0000000000138dc497a18ff1e254e78c030000008a27a3bd');
INSERT INTO eventsrc.event VALUES (24, 13, 1, 8, 1700000018123456, '\x7b2274657874223a2261742034222c2261626f7574223a7b7d7d', 3656934900, '\x0000000000138dc497a18ff1e254e78c04000000bc446d2d');
INSERT INTO eventsrc.event VALUES (25, 14, 1, 8, 1700000018123456, '\x7b2274657874223a2261742035222c2261626f7574223a7b7d7d', 1050689677, '\x0000000000138dc497a18ff1e254e78c05000000cb1f9b53');
INSERT INTO eventsrc.event VALUES (26, 15, 1, 8, 1700000020123456, '\x7b2274657874223a2274686520317468222c2261626f7574223a7b7d7d', 2893428711, '\x697167d4ae55550e80482438dc890f380000000086dbf9047b226279223a226974227d');
INSERT INTO eventsrc.event VALUES (27, 15, 2, 8, 1700000020123456, '\x7b2274657874223a2274686520317468222c2261626f7574223a7b7d7d', 2893428708, '\x697167d4ae55550e80482438dc890f380100000057331e0a7b226279223a226974227d');
INSERT INTO eventsrc.event VALUES (28, 15, 3, 8, 1700000021123456, '\x7b2274657874223a2274686520337468222c2261626f7574223a7b7d7d', 735449734, '\x00000000001b8f3dad04852d29d0dfb100000000adc8bcb4');
INSERT INTO eventsrc.event VALUES (29, 15, 4, 8, 1700000021123456, '\x7b2274657874223a2274686520337468222c2261626f7574223a7b7d7d', 735449729, '\x00000000001b8f3dad04852d29d0dfb101000000ebf3dbd1');
INSERT INTO eventsrc.event VALUES (30, 16, 1, 10, 1700000022123456, '\x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff', 2833878048, '\x00000000001d88288a7add5a2d5a2f3d0000000050f66f56');
INSERT INTO eventsrc.event VALUES (31, 16, 2, 9, 1700000022123456, '\x7b22247365616c6564223a22746f70222c2278223a2031207d', 3495139172, '\x00000000001d88288a7add5a2d5a2f3d010000008ea1d9a7');
INSERT INTO eventsrc.event VALUES (32, 16, 3, 8, 1700000022123456, '\x7b22247365616c6564223a7b2261223a317d2c202274657874223a226f70656e222c2261626f7574223a7b7d7d', 2385283084, '\x00000000001d88288a7add5a2d5a2f3d02000000e9de966c');
INSERT INTO eventsrc.event VALUES (33, 17, 1, 11, 1700000023123456, '\x7b227468696e6773223a5b5d7d', 1937758142, '\x0000000000208874824aec4c4ac9426700000000e470d459');
INSERT INTO eventsrc.event VALUES (34, 18, 1, 8, 1699996424123456, '\x7b2274657874223a22616e20686f7572206265666f7265222c2261626f7574223a7b7d7d', 310823400, '\x000000000021801f8e979d00d37f83b500000000ac56cbe5');
INSERT INTO eventsrc.event VALUES (35, 18, 2, 8, -1000001, '\x7b2274657874223a226265666f72652031393730222c2261626f7574223a7b7d7d', 1159683875, '\x000000000022886ab1250ad7c93e25b4000000004ea571e9');
INSERT INTO eventsrc.event VALUES (36, 19, 1, 3, 1700000025123456, '\x7b226974656d223a226120726f7065222c227072696365223a7b22616d6f756e74223a2231222c2263757272656e6379223a22455552227d7d', 2103125437, '\x000000000023881e9019a102ece66c4c0000000076bf4996');
INSERT INTO eventsrc.event VALUES (37, 19, 2, 3, 1700000025123456, '\x7b226974656d223a2261206375727365222c227072696365223a7b22616d6f756e74223a2230222c2263757272656e6379223a22455552227d7d', 2777663957, '\x000000000023881e9019a102ece66c4c0100000030842ef3');
INSERT INTO eventsrc.event VALUES (38, 20, 1, 3, 1700000026123456, '\x7b226974656d223a22612066757365222c227072696365223a7b22616d6f756e74223a22322e3530222c2263757272656e6379223a22455552227d7d', 1195684413, '\x000000000025872484bff7b0efd7d29100000000e9102461');
INSERT INTO eventsrc.event VALUES (39, 20, 2, 3, 1700000026123456, '\x7b226974656d223a226120626f6d62222c227072696365223a7b22616d6f756e74223a2239222c2263757272656e6379223a22455552227d7d', 3250160926, '\x000000000025872484bff7b0efd7d29101000000af2b4304');
INSERT INTO eventsrc.event VALUES (40, 21, 1, 3, 1700000027123456, '\x7b226974656d223a22612076617365222c227072696365223a7b22616d6f756e74223a223434222c2263757272656e6379223a22455552227d7d', 2470673784, '\x00000000002786c885e3b5a77f57ae9900000000cce623b7');
INSERT INTO eventsrc.event VALUES (41, 19, 3, 3, 1700020001500000, '\x7b226974656d223a22626568696e6420746865206375727365222c227072696365223a7b22616d6f756e74223a2233222c2263757272656e6379223a22455552227d7d', 3859223906, '\x0000000000288efb8ba3866a1f0710ea00000000c5d26356');
INSERT INTO eventsrc.event VALUES (42, 20, 3, 3, 1700020002500000, '\x7b226974656d223a22626568696e642074686520626f6d62222c227072696365223a7b22616d6f756e74223a2234222c2263757272656e6379223a22455552227d7d', 2091906974, '\x000000000029817ab76cd6b41e46fe3500000000736b6f7a');
INSERT INTO eventsrc.event VALUES (43, 21, 2, 3, 1700020003500000, '\x7b226974656d223a22616e6f746865722076617365222c227072696365223a7b22616d6f756e74223a223435222c2263757272656e6379223a22455552227d7d', 558016915, '\x00000000002a8766bcf8bb0a0f9550e100000000bd6b1586');

INSERT INTO eventsrc.eventsrc_applied VALUES (1, '2026-12-01 00:36:13.335506+00');

INSERT INTO eventsrc.kind OVERRIDING SYSTEM VALUE VALUES (1, 'shop.placed', 1, 'json');
INSERT INTO eventsrc.kind OVERRIDING SYSTEM VALUE VALUES (2, 'shop.placed', 2, 'json');
INSERT INTO eventsrc.kind OVERRIDING SYSTEM VALUE VALUES (3, 'shop.placed', 3, 'json');
INSERT INTO eventsrc.kind OVERRIDING SYSTEM VALUE VALUES (4, 'shop.everything', 1, 'json');
INSERT INTO eventsrc.kind OVERRIDING SYSTEM VALUE VALUES (5, 'shop.cancelled', 1, 'json');
INSERT INTO eventsrc.kind OVERRIDING SYSTEM VALUE VALUES (6, 'Shop:odd/name_1.2-x', 1, 'json');
INSERT INTO eventsrc.kind OVERRIDING SYSTEM VALUE VALUES (7, 'user.name-set', 1, 'json');
INSERT INTO eventsrc.kind OVERRIDING SYSTEM VALUE VALUES (8, 'shop.noted', 1, 'json');
INSERT INTO eventsrc.kind OVERRIDING SYSTEM VALUE VALUES (9, 'gone.type', 1, 'json');
INSERT INTO eventsrc.kind OVERRIDING SYSTEM VALUE VALUES (10, 'gone.type', 7, 'bytes');
INSERT INTO eventsrc.kind OVERRIDING SYSTEM VALUE VALUES (11, 'shop.placed', 9, 'json');

INSERT INTO eventsrc.snapshot VALUES ('notes/a%2Fb%25 Ω', 'tëxts', 1, 2, '\x85a219af5b226f6e65222c2274776f2c204e554c3a205c75303030302c20616e6420e280a8225d');
INSERT INTO eventsrc.snapshot VALUES ('orders/1', 'basket', 2, 3, '\x9951f1927b2261206368616972223a7b22616d6f756e74223a2231392e3939222c2263757272656e6379223a22455552227d2c2261207461626c65223a7b22616d6f756e74223a223132302e3030222c2263757272656e6379223a22455552227d2c2261206c616d70223a7b22616d6f756e74223a2233302e35222c2263757272656e6379223a22434846227d7d');
INSERT INTO eventsrc.snapshot VALUES ('orders/1', 'basket', 1, 2, '\x299e5b3a7b2261206368616972223a2231392e3939222c2261207461626c65223a22313230227d');
INSERT INTO eventsrc.snapshot VALUES ('users', 'raw', 9223372036854775807, 3, '\x00736e6170ff');
INSERT INTO eventsrc.snapshot VALUES ('notes/decided', 'tëxts', 1, 2, '\xf85f6e3d5b2274686520317468222c2274686520317468225d');

INSERT INTO eventsrc.store VALUES ('c6e2b02a9c37a2ad');

INSERT INTO eventsrc.stream OVERRIDING SYSTEM VALUE VALUES (1, 'orders/1');
INSERT INTO eventsrc.stream OVERRIDING SYSTEM VALUE VALUES (2, 'orders/2');
INSERT INTO eventsrc.stream OVERRIDING SYSTEM VALUE VALUES (3, 'things');
INSERT INTO eventsrc.stream OVERRIDING SYSTEM VALUE VALUES (4, 'orders/3');
INSERT INTO eventsrc.stream OVERRIDING SYSTEM VALUE VALUES (5, 'users/ad66bedd-4c11-506a-a0af-ce746511feee/profile');
INSERT INTO eventsrc.stream OVERRIDING SYSTEM VALUE VALUES (6, 'users/4/groups/2');
INSERT INTO eventsrc.stream OVERRIDING SYSTEM VALUE VALUES (7, 'notes/a%2Fb%25 Ω');
INSERT INTO eventsrc.stream OVERRIDING SYSTEM VALUE VALUES (8, 'log/é');
INSERT INTO eventsrc.stream OVERRIDING SYSTEM VALUE VALUES (9, 'é');
INSERT INTO eventsrc.stream OVERRIDING SYSTEM VALUE VALUES (10, 'é');
INSERT INTO eventsrc.stream OVERRIDING SYSTEM VALUE VALUES (11, 'Orders/1');
INSERT INTO eventsrc.stream OVERRIDING SYSTEM VALUE VALUES (12, '日本/Ω/👩‍👩‍👧');
INSERT INTO eventsrc.stream OVERRIDING SYSTEM VALUE VALUES (13, 'o''dd;-- "x"
	%2F');
INSERT INTO eventsrc.stream OVERRIDING SYSTEM VALUE VALUES (14, 'long/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx');
INSERT INTO eventsrc.stream OVERRIDING SYSTEM VALUE VALUES (15, 'notes/decided');
INSERT INTO eventsrc.stream OVERRIDING SYSTEM VALUE VALUES (16, 'unknown');
INSERT INTO eventsrc.stream OVERRIDING SYSTEM VALUE VALUES (17, 'orders/7');
INSERT INTO eventsrc.stream OVERRIDING SYSTEM VALUE VALUES (18, 'notes/times');
INSERT INTO eventsrc.stream OVERRIDING SYSTEM VALUE VALUES (19, 'orders/4');
INSERT INTO eventsrc.stream OVERRIDING SYSTEM VALUE VALUES (20, 'orders/5');
INSERT INTO eventsrc.stream OVERRIDING SYSTEM VALUE VALUES (21, 'orders/6');

INSERT INTO eventsrc_views.eventsrc_applied VALUES (1, '2026-12-01 00:36:13.393582+00');

INSERT INTO eventsrc_views.eventsrc_live VALUES ('orders', 2);
INSERT INTO eventsrc_views.eventsrc_live VALUES ('half', 1);
INSERT INTO eventsrc_views.eventsrc_live VALUES ('poison', 1);
INSERT INTO eventsrc_views.eventsrc_live VALUES ('Nämen & co/x', 1);
INSERT INTO eventsrc_views.eventsrc_live VALUES ('wide', 3);
INSERT INTO eventsrc_views.eventsrc_live VALUES ('vain', 1);
INSERT INTO eventsrc_views.eventsrc_live VALUES ('deadly', 1);

INSERT INTO "eventsrc_views_Nämen & co/x_1".eventsrc_applied VALUES (1, '2026-12-01 00:36:13.467881+00');

INSERT INTO "eventsrc_views_Nämen & co/x_1".eventsrc_guard VALUES ('users/ad66bedd-4c11-506a-a0af-ce746511feee/profile', 3);

INSERT INTO "eventsrc_views_Nämen & co/x_1".eventsrc_part VALUES (0, 'c6e2b02a9c37a2ad', 0, 3, NULL, 0, 0, 0, 0, 0, 0);

INSERT INTO "eventsrc_views_Nämen & co/x_1".names VALUES ('ad66bedd-4c11-506a-a0af-ce746511feee', 'M.');

INSERT INTO eventsrc_views_deadly_1.came VALUES ('orders/1', 1, 'a chair');
INSERT INTO eventsrc_views_deadly_1.came VALUES ('orders/2', 1, 'a spoon');
INSERT INTO eventsrc_views_deadly_1.came VALUES ('orders/2', 2, 'a föhn');
INSERT INTO eventsrc_views_deadly_1.came VALUES ('orders/1', 2, 'a table');
INSERT INTO eventsrc_views_deadly_1.came VALUES ('orders/1', 3, 'a lamp');
INSERT INTO eventsrc_views_deadly_1.came VALUES ('orders/1', 4, 'a lamp');
INSERT INTO eventsrc_views_deadly_1.came VALUES ('orders/4', 1, 'a rope');
INSERT INTO eventsrc_views_deadly_1.came VALUES ('orders/4', 2, 'a curse');
INSERT INTO eventsrc_views_deadly_1.came VALUES ('orders/5', 1, 'a fuse');
INSERT INTO eventsrc_views_deadly_1.came VALUES ('orders/6', 1, 'a vase');
INSERT INTO eventsrc_views_deadly_1.came VALUES ('orders/4', 3, 'behind the curse');
INSERT INTO eventsrc_views_deadly_1.came VALUES ('orders/6', 2, 'another vase');

INSERT INTO eventsrc_views_deadly_1.eventsrc_applied VALUES (1, '2026-12-01 00:36:13.613913+00');

INSERT INTO eventsrc_views_deadly_1.eventsrc_guard VALUES ('orders/2', 2);
INSERT INTO eventsrc_views_deadly_1.eventsrc_guard VALUES ('things', 2);
INSERT INTO eventsrc_views_deadly_1.eventsrc_guard VALUES ('orders/3', 3);
INSERT INTO eventsrc_views_deadly_1.eventsrc_guard VALUES ('users/4/groups/2', 1);
INSERT INTO eventsrc_views_deadly_1.eventsrc_guard VALUES ('notes/a%2Fb%25 Ω', 2);
INSERT INTO eventsrc_views_deadly_1.eventsrc_guard VALUES ('orders/1', 5);
INSERT INTO eventsrc_views_deadly_1.eventsrc_guard VALUES ('log/é', 1);
INSERT INTO eventsrc_views_deadly_1.eventsrc_guard VALUES ('users/ad66bedd-4c11-506a-a0af-ce746511feee/profile', 3);
INSERT INTO eventsrc_views_deadly_1.eventsrc_guard VALUES ('é', 1);
INSERT INTO eventsrc_views_deadly_1.eventsrc_guard VALUES ('é', 1);
INSERT INTO eventsrc_views_deadly_1.eventsrc_guard VALUES ('Orders/1', 1);
INSERT INTO eventsrc_views_deadly_1.eventsrc_guard VALUES ('日本/Ω/👩‍👩‍👧', 1);
INSERT INTO eventsrc_views_deadly_1.eventsrc_guard VALUES ('o''dd;-- "x"
	%2F', 1);
INSERT INTO eventsrc_views_deadly_1.eventsrc_guard VALUES ('long/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx', 1);
INSERT INTO eventsrc_views_deadly_1.eventsrc_guard VALUES ('notes/decided', 4);
INSERT INTO eventsrc_views_deadly_1.eventsrc_guard VALUES ('unknown', 3);
INSERT INTO eventsrc_views_deadly_1.eventsrc_guard VALUES ('orders/7', 1);
INSERT INTO eventsrc_views_deadly_1.eventsrc_guard VALUES ('notes/times', 2);
INSERT INTO eventsrc_views_deadly_1.eventsrc_guard VALUES ('orders/5', 1);
INSERT INTO eventsrc_views_deadly_1.eventsrc_guard VALUES ('orders/4', 3);
INSERT INTO eventsrc_views_deadly_1.eventsrc_guard VALUES ('orders/6', 2);

INSERT INTO eventsrc_views_deadly_1.eventsrc_parked VALUES ('orders/5', 2, 39, 'shop.placed', '2 processes in a row ended while they applied this event', 1, 3, '2023-11-15T02:23:21Z', true);

INSERT INTO eventsrc_views_deadly_1.eventsrc_part VALUES (0, 'c6e2b02a9c37a2ad', 43, 41, NULL, 0, 0, 0, 0, 0, 0);

INSERT INTO eventsrc_views_half_1.came VALUES ('orders/1', 1, 'shop.placed');
INSERT INTO eventsrc_views_half_1.came VALUES ('orders/2', 1, 'shop.placed');
INSERT INTO eventsrc_views_half_1.came VALUES ('orders/2', 2, 'shop.placed');
INSERT INTO eventsrc_views_half_1.came VALUES ('orders/1', 2, 'shop.placed');
INSERT INTO eventsrc_views_half_1.came VALUES ('orders/1', 3, 'shop.placed');
INSERT INTO eventsrc_views_half_1.came VALUES ('things', 1, 'shop.everything');
INSERT INTO eventsrc_views_half_1.came VALUES ('things', 2, 'shop.everything');
INSERT INTO eventsrc_views_half_1.came VALUES ('orders/3', 1, 'Shop:odd/name_1.2-x');
INSERT INTO eventsrc_views_half_1.came VALUES ('orders/3', 2, 'shop.cancelled');
INSERT INTO eventsrc_views_half_1.came VALUES ('orders/3', 3, 'Shop:odd/name_1.2-x');
INSERT INTO eventsrc_views_half_1.came VALUES ('users/ad66bedd-4c11-506a-a0af-ce746511feee/profile', 1, 'user.name-set');
INSERT INTO eventsrc_views_half_1.came VALUES ('users/ad66bedd-4c11-506a-a0af-ce746511feee/profile', 2, 'user.name-set');
INSERT INTO eventsrc_views_half_1.came VALUES ('users/4/groups/2', 1, 'shop.noted');
INSERT INTO eventsrc_views_half_1.came VALUES ('notes/a%2Fb%25 Ω', 1, 'shop.noted');
INSERT INTO eventsrc_views_half_1.came VALUES ('notes/a%2Fb%25 Ω', 2, 'shop.noted');
INSERT INTO eventsrc_views_half_1.came VALUES ('orders/1', 4, 'shop.placed');
INSERT INTO eventsrc_views_half_1.came VALUES ('orders/1', 5, 'shop.cancelled');
INSERT INTO eventsrc_views_half_1.came VALUES ('log/é', 1, 'shop.noted');

INSERT INTO eventsrc_views_half_1.eventsrc_applied VALUES (1, '2026-12-01 00:36:13.424998+00');

INSERT INTO eventsrc_views_half_1.eventsrc_guard VALUES ('orders/2', 2);
INSERT INTO eventsrc_views_half_1.eventsrc_guard VALUES ('things', 2);
INSERT INTO eventsrc_views_half_1.eventsrc_guard VALUES ('orders/3', 3);
INSERT INTO eventsrc_views_half_1.eventsrc_guard VALUES ('orders/1', 5);
INSERT INTO eventsrc_views_half_1.eventsrc_guard VALUES ('users/ad66bedd-4c11-506a-a0af-ce746511feee/profile', 2);
INSERT INTO eventsrc_views_half_1.eventsrc_guard VALUES ('users/4/groups/2', 1);
INSERT INTO eventsrc_views_half_1.eventsrc_guard VALUES ('notes/a%2Fb%25 Ω', 2);
INSERT INTO eventsrc_views_half_1.eventsrc_guard VALUES ('log/é', 1);

INSERT INTO eventsrc_views_half_1.eventsrc_part VALUES (0, 'c6e2b02a9c37a2ad', 18, 18, NULL, 0, 0, 0, 0, 0, 0);

INSERT INTO eventsrc_views_orders_1.eventsrc_applied VALUES (1, '2026-12-01 00:36:13.398602+00');

INSERT INTO eventsrc_views_orders_1.eventsrc_guard VALUES ('orders/1', 5);
INSERT INTO eventsrc_views_orders_1.eventsrc_guard VALUES ('orders/2', 2);
INSERT INTO eventsrc_views_orders_1.eventsrc_guard VALUES ('orders/3', 3);
INSERT INTO eventsrc_views_orders_1.eventsrc_guard VALUES ('orders/7', 1);
INSERT INTO eventsrc_views_orders_1.eventsrc_guard VALUES ('orders/4', 2);
INSERT INTO eventsrc_views_orders_1.eventsrc_guard VALUES ('orders/5', 2);
INSERT INTO eventsrc_views_orders_1.eventsrc_guard VALUES ('orders/6', 1);

INSERT INTO eventsrc_views_orders_1.eventsrc_part VALUES (0, 'c6e2b02a9c37a2ad', 40, 16, NULL, 0, 0, 0, 0, 0, 0);

INSERT INTO eventsrc_views_orders_1.orders VALUES ('orders/2', 1, 'a spoon', '0.05');
INSERT INTO eventsrc_views_orders_1.orders VALUES ('orders/2', 2, 'a föhn', '1234.56');
INSERT INTO eventsrc_views_orders_1.orders VALUES ('orders/4', 1, 'a rope', '1');
INSERT INTO eventsrc_views_orders_1.orders VALUES ('orders/4', 2, 'a curse', '0');
INSERT INTO eventsrc_views_orders_1.orders VALUES ('orders/5', 1, 'a fuse', '2.50');
INSERT INTO eventsrc_views_orders_1.orders VALUES ('orders/5', 2, 'a bomb', '9');
INSERT INTO eventsrc_views_orders_1.orders VALUES ('orders/6', 1, 'a vase', '44');

INSERT INTO eventsrc_views_orders_2.eventsrc_applied VALUES (1, '2026-12-01 00:36:13.411588+00');

INSERT INTO eventsrc_views_orders_2.eventsrc_guard VALUES ('orders/1', 5);
INSERT INTO eventsrc_views_orders_2.eventsrc_guard VALUES ('orders/2', 2);
INSERT INTO eventsrc_views_orders_2.eventsrc_guard VALUES ('orders/3', 3);
INSERT INTO eventsrc_views_orders_2.eventsrc_guard VALUES ('orders/7', 1);
INSERT INTO eventsrc_views_orders_2.eventsrc_guard VALUES ('orders/4', 3);
INSERT INTO eventsrc_views_orders_2.eventsrc_guard VALUES ('orders/5', 3);
INSERT INTO eventsrc_views_orders_2.eventsrc_guard VALUES ('orders/6', 2);

INSERT INTO eventsrc_views_orders_2.eventsrc_part VALUES (0, 'c6e2b02a9c37a2ad', 43, 19, NULL, 0, 0, 0, 0, 0, 0);

INSERT INTO eventsrc_views_orders_2.orders VALUES ('orders/2', 1, 'a spoon', '0.05', 'EUR');
INSERT INTO eventsrc_views_orders_2.orders VALUES ('orders/2', 2, 'a föhn', '1234.56', 'EUR');
INSERT INTO eventsrc_views_orders_2.orders VALUES ('orders/4', 1, 'a rope', '1', 'EUR');
INSERT INTO eventsrc_views_orders_2.orders VALUES ('orders/4', 2, 'a curse', '0', 'EUR');
INSERT INTO eventsrc_views_orders_2.orders VALUES ('orders/5', 1, 'a fuse', '2.50', 'EUR');
INSERT INTO eventsrc_views_orders_2.orders VALUES ('orders/5', 2, 'a bomb', '9', 'EUR');
INSERT INTO eventsrc_views_orders_2.orders VALUES ('orders/6', 1, 'a vase', '44', 'EUR');
INSERT INTO eventsrc_views_orders_2.orders VALUES ('orders/4', 3, 'behind the curse', '3', 'EUR');
INSERT INTO eventsrc_views_orders_2.orders VALUES ('orders/5', 3, 'behind the bomb', '4', 'EUR');
INSERT INTO eventsrc_views_orders_2.orders VALUES ('orders/6', 2, 'another vase', '45', 'EUR');

INSERT INTO eventsrc_views_poison_1.came VALUES ('orders/1', 1, 'a chair');
INSERT INTO eventsrc_views_poison_1.came VALUES ('orders/2', 1, 'a spoon');
INSERT INTO eventsrc_views_poison_1.came VALUES ('orders/2', 2, 'a föhn');
INSERT INTO eventsrc_views_poison_1.came VALUES ('orders/1', 2, 'a table');
INSERT INTO eventsrc_views_poison_1.came VALUES ('orders/1', 3, 'a lamp');
INSERT INTO eventsrc_views_poison_1.came VALUES ('users/4/groups/2', 1, 'joined');
INSERT INTO eventsrc_views_poison_1.came VALUES ('notes/a%2Fb%25 Ω', 1, 'one');
INSERT INTO eventsrc_views_poison_1.came VALUES ('orders/1', 4, 'a lamp');
INSERT INTO eventsrc_views_poison_1.came VALUES ('log/é', 1, 'all at once');
INSERT INTO eventsrc_views_poison_1.came VALUES ('é', 1, 'at 0');
INSERT INTO eventsrc_views_poison_1.came VALUES ('é', 1, 'at 1');
INSERT INTO eventsrc_views_poison_1.came VALUES ('Orders/1', 1, 'at 2');
INSERT INTO eventsrc_views_poison_1.came VALUES ('日本/Ω/👩‍👩‍👧', 1, 'at 3');
INSERT INTO eventsrc_views_poison_1.came VALUES ('o''dd;-- "x"
	%2F', 1, 'at 4');
INSERT INTO eventsrc_views_poison_1.came VALUES ('long/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx', 1, 'at 5');
INSERT INTO eventsrc_views_poison_1.came VALUES ('notes/decided', 1, 'the 1th');
INSERT INTO eventsrc_views_poison_1.came VALUES ('notes/decided', 2, 'the 1th');
INSERT INTO eventsrc_views_poison_1.came VALUES ('notes/decided', 3, 'the 3th');
INSERT INTO eventsrc_views_poison_1.came VALUES ('notes/decided', 4, 'the 3th');
INSERT INTO eventsrc_views_poison_1.came VALUES ('unknown', 3, 'open');
INSERT INTO eventsrc_views_poison_1.came VALUES ('notes/times', 1, 'an hour before');
INSERT INTO eventsrc_views_poison_1.came VALUES ('notes/times', 2, 'before 1970');
INSERT INTO eventsrc_views_poison_1.came VALUES ('orders/4', 1, 'a rope');
INSERT INTO eventsrc_views_poison_1.came VALUES ('orders/5', 1, 'a fuse');
INSERT INTO eventsrc_views_poison_1.came VALUES ('orders/5', 2, 'a bomb');
INSERT INTO eventsrc_views_poison_1.came VALUES ('orders/6', 1, 'a vase');
INSERT INTO eventsrc_views_poison_1.came VALUES ('orders/5', 3, 'behind the bomb');
INSERT INTO eventsrc_views_poison_1.came VALUES ('orders/6', 2, 'another vase');

INSERT INTO eventsrc_views_poison_1.eventsrc_applied VALUES (1, '2026-12-01 00:36:13.438742+00');

INSERT INTO eventsrc_views_poison_1.eventsrc_guard VALUES ('orders/1', 5);
INSERT INTO eventsrc_views_poison_1.eventsrc_guard VALUES ('orders/2', 2);
INSERT INTO eventsrc_views_poison_1.eventsrc_guard VALUES ('things', 2);
INSERT INTO eventsrc_views_poison_1.eventsrc_guard VALUES ('orders/3', 3);
INSERT INTO eventsrc_views_poison_1.eventsrc_guard VALUES ('users/ad66bedd-4c11-506a-a0af-ce746511feee/profile', 3);
INSERT INTO eventsrc_views_poison_1.eventsrc_guard VALUES ('users/4/groups/2', 1);
INSERT INTO eventsrc_views_poison_1.eventsrc_guard VALUES ('notes/a%2Fb%25 Ω', 1);
INSERT INTO eventsrc_views_poison_1.eventsrc_guard VALUES ('log/é', 1);
INSERT INTO eventsrc_views_poison_1.eventsrc_guard VALUES ('é', 1);
INSERT INTO eventsrc_views_poison_1.eventsrc_guard VALUES ('é', 1);
INSERT INTO eventsrc_views_poison_1.eventsrc_guard VALUES ('Orders/1', 1);
INSERT INTO eventsrc_views_poison_1.eventsrc_guard VALUES ('日本/Ω/👩‍👩‍👧', 1);
INSERT INTO eventsrc_views_poison_1.eventsrc_guard VALUES ('o''dd;-- "x"
	%2F', 1);
INSERT INTO eventsrc_views_poison_1.eventsrc_guard VALUES ('long/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx', 1);
INSERT INTO eventsrc_views_poison_1.eventsrc_guard VALUES ('notes/decided', 4);
INSERT INTO eventsrc_views_poison_1.eventsrc_guard VALUES ('unknown', 3);
INSERT INTO eventsrc_views_poison_1.eventsrc_guard VALUES ('notes/times', 2);
INSERT INTO eventsrc_views_poison_1.eventsrc_guard VALUES ('orders/4', 1);
INSERT INTO eventsrc_views_poison_1.eventsrc_guard VALUES ('orders/5', 3);
INSERT INTO eventsrc_views_poison_1.eventsrc_guard VALUES ('orders/6', 2);

INSERT INTO eventsrc_views_poison_1.eventsrc_parked VALUES ('notes/a%2Fb%25 Ω', 2, 15, 'shop.noted', 'DataError: PostgreSQL text fields cannot contain NUL (0x00) bytes
while View(''poison'', version=1) applied <notes/a%2Fb%25 Ω@2: Noted(text=''two, NUL: \x00, and \u2028'', about={''\x00'': ''\x00''})>, position 15', 1, 2, '2023-11-15T01:00:01Z', false);
INSERT INTO eventsrc_views_poison_1.eventsrc_parked VALUES ('orders/7', 1, 33, 'shop.placed', 'UnknownEvent: ''shop.placed'' was stored in version 9, and the newest known here is 3: update this program
while View(''poison'', version=1) applied <orders/7@1: shop.placed version 9, undecoded>, position 33', 1, 1, '2023-11-15T01:00:02Z', false);
INSERT INTO eventsrc_views_poison_1.eventsrc_parked VALUES ('orders/4', 2, 37, 'shop.placed', 'ValueError: nobody takes a curse: é
while View(''poison'', version=1) applied <orders/4@2: Placed(item=''a curse'', price=Money(amount=Decimal(''0''), currency=''EUR''))>, position 37', 2, 3, '2023-11-15T01:00:03Z', false);

INSERT INTO eventsrc_views_poison_1.eventsrc_part VALUES (0, 'c6e2b02a9c37a2ad', 43, 39, NULL, 0, 0, 0, 0, 0, 0);

INSERT INTO eventsrc_views_vain_1.came VALUES ('orders/1', 1, 'a chair');
INSERT INTO eventsrc_views_vain_1.came VALUES ('orders/2', 1, 'a spoon');
INSERT INTO eventsrc_views_vain_1.came VALUES ('orders/2', 2, 'a föhn');
INSERT INTO eventsrc_views_vain_1.came VALUES ('orders/1', 2, 'a table');
INSERT INTO eventsrc_views_vain_1.came VALUES ('orders/1', 3, 'a lamp');
INSERT INTO eventsrc_views_vain_1.came VALUES ('orders/1', 4, 'a lamp');
INSERT INTO eventsrc_views_vain_1.came VALUES ('orders/4', 1, 'a rope');
INSERT INTO eventsrc_views_vain_1.came VALUES ('orders/4', 2, 'a curse');
INSERT INTO eventsrc_views_vain_1.came VALUES ('orders/5', 1, 'a fuse');

INSERT INTO eventsrc_views_vain_1.eventsrc_applied VALUES (1, '2026-12-01 00:36:13.52287+00');

INSERT INTO eventsrc_views_vain_1.eventsrc_guard VALUES ('orders/2', 2);
INSERT INTO eventsrc_views_vain_1.eventsrc_guard VALUES ('things', 2);
INSERT INTO eventsrc_views_vain_1.eventsrc_guard VALUES ('orders/3', 3);
INSERT INTO eventsrc_views_vain_1.eventsrc_guard VALUES ('users/4/groups/2', 1);
INSERT INTO eventsrc_views_vain_1.eventsrc_guard VALUES ('notes/a%2Fb%25 Ω', 2);
INSERT INTO eventsrc_views_vain_1.eventsrc_guard VALUES ('orders/1', 5);
INSERT INTO eventsrc_views_vain_1.eventsrc_guard VALUES ('log/é', 1);
INSERT INTO eventsrc_views_vain_1.eventsrc_guard VALUES ('users/ad66bedd-4c11-506a-a0af-ce746511feee/profile', 3);
INSERT INTO eventsrc_views_vain_1.eventsrc_guard VALUES ('é', 1);
INSERT INTO eventsrc_views_vain_1.eventsrc_guard VALUES ('é', 1);
INSERT INTO eventsrc_views_vain_1.eventsrc_guard VALUES ('Orders/1', 1);
INSERT INTO eventsrc_views_vain_1.eventsrc_guard VALUES ('日本/Ω/👩‍👩‍👧', 1);
INSERT INTO eventsrc_views_vain_1.eventsrc_guard VALUES ('o''dd;-- "x"
	%2F', 1);
INSERT INTO eventsrc_views_vain_1.eventsrc_guard VALUES ('long/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx', 1);
INSERT INTO eventsrc_views_vain_1.eventsrc_guard VALUES ('notes/decided', 4);
INSERT INTO eventsrc_views_vain_1.eventsrc_guard VALUES ('unknown', 3);
INSERT INTO eventsrc_views_vain_1.eventsrc_guard VALUES ('orders/7', 1);
INSERT INTO eventsrc_views_vain_1.eventsrc_guard VALUES ('notes/times', 2);
INSERT INTO eventsrc_views_vain_1.eventsrc_guard VALUES ('orders/4', 2);
INSERT INTO eventsrc_views_vain_1.eventsrc_guard VALUES ('orders/5', 1);

INSERT INTO eventsrc_views_vain_1.eventsrc_part VALUES (0, 'c6e2b02a9c37a2ad', 38, 38, NULL, 0, 0, 0, 2, 39, 1);

INSERT INTO eventsrc_views_wide_3.came VALUES ('orders/1', 1, 'a chair');
INSERT INTO eventsrc_views_wide_3.came VALUES ('orders/1', 2, 'a table');
INSERT INTO eventsrc_views_wide_3.came VALUES ('orders/1', 3, 'a lamp');
INSERT INTO eventsrc_views_wide_3.came VALUES ('orders/1', 4, 'a lamp');
INSERT INTO eventsrc_views_wide_3.came VALUES ('log/é', 1, '11');
INSERT INTO eventsrc_views_wide_3.came VALUES ('users/4/groups/2', 1, '6');
INSERT INTO eventsrc_views_wide_3.came VALUES ('orders/2', 1, 'a spoon');
INSERT INTO eventsrc_views_wide_3.came VALUES ('orders/2', 2, 'a föhn');
INSERT INTO eventsrc_views_wide_3.came VALUES ('notes/a%2Fb%25 Ω', 1, '3');
INSERT INTO eventsrc_views_wide_3.came VALUES ('notes/a%2Fb%25 Ω', 2, '18');
INSERT INTO eventsrc_views_wide_3.came VALUES ('é', 1, '4');
INSERT INTO eventsrc_views_wide_3.came VALUES ('Orders/1', 1, '4');
INSERT INTO eventsrc_views_wide_3.came VALUES ('notes/decided', 1, '7');
INSERT INTO eventsrc_views_wide_3.came VALUES ('notes/decided', 2, '7');
INSERT INTO eventsrc_views_wide_3.came VALUES ('notes/decided', 3, '7');
INSERT INTO eventsrc_views_wide_3.came VALUES ('notes/decided', 4, '7');

INSERT INTO eventsrc_views_wide_3.eventsrc_applied VALUES (1, '2026-12-01 00:36:13.479929+00');

INSERT INTO eventsrc_views_wide_3.eventsrc_guard VALUES ('orders/1', 5);
INSERT INTO eventsrc_views_wide_3.eventsrc_guard VALUES ('orders/3', 3);
INSERT INTO eventsrc_views_wide_3.eventsrc_guard VALUES ('users/ad66bedd-4c11-506a-a0af-ce746511feee/profile', 3);
INSERT INTO eventsrc_views_wide_3.eventsrc_guard VALUES ('log/é', 1);
INSERT INTO eventsrc_views_wide_3.eventsrc_guard VALUES ('things', 2);
INSERT INTO eventsrc_views_wide_3.eventsrc_guard VALUES ('users/4/groups/2', 1);
INSERT INTO eventsrc_views_wide_3.eventsrc_guard VALUES ('orders/2', 2);
INSERT INTO eventsrc_views_wide_3.eventsrc_guard VALUES ('notes/a%2Fb%25 Ω', 2);
INSERT INTO eventsrc_views_wide_3.eventsrc_guard VALUES ('é', 1);
INSERT INTO eventsrc_views_wide_3.eventsrc_guard VALUES ('Orders/1', 1);
INSERT INTO eventsrc_views_wide_3.eventsrc_guard VALUES ('notes/decided', 4);

INSERT INTO eventsrc_views_wide_3.eventsrc_owner VALUES ('host 1, process 4711', 2796085373.501995, 1000000000);
INSERT INTO eventsrc_views_wide_3.eventsrc_owner VALUES ('hôte 2', 1796085383.50382, 10);

INSERT INTO eventsrc_views_wide_3.eventsrc_part VALUES (0, 'c6e2b02a9c37a2ad', 20, 12, 'host 1, process 4711', 1, 2796085373.501995, 1000000000, 0, 0, 0);
INSERT INTO eventsrc_views_wide_3.eventsrc_part VALUES (1, 'c6e2b02a9c37a2ad', 20, 3, 'host 1, process 4711', 1, 2796085373.501995, 1000000000, 0, 0, 0);
INSERT INTO eventsrc_views_wide_3.eventsrc_part VALUES (2, 'c6e2b02a9c37a2ad', 40, 10, 'hôte 2', 2, 1796085383.50382, 10, 0, 0, 0);
INSERT INTO eventsrc_views_wide_3.eventsrc_part VALUES (3, 'c6e2b02a9c37a2ad', 25, 0, 'hôte 2', 2, 1796085383.50382, 10, 0, 0, 0);

INSERT INTO "shöp ""1"" of 100%".event VALUES (1, 1, 1, 1, 1700020004500000, '\x7b226974656d223a226120626f6f6b222c227072696365223a7b22616d6f756e74223a223132222c2263757272656e6379223a22455552227d7d', 3489064880, '\x000000000000882880b27635cb21e2ca00000000b72f211d');

INSERT INTO "shöp ""1"" of 100%".eventsrc_applied VALUES (1, '2026-12-01 00:36:13.762581+00');

INSERT INTO "shöp ""1"" of 100%".kind OVERRIDING SYSTEM VALUE VALUES (1, 'shop.placed', 3, 'json');

INSERT INTO "shöp ""1"" of 100%".store VALUES ('14114aa76a0e29af');

INSERT INTO "shöp ""1"" of 100%".stream OVERRIDING SYSTEM VALUE VALUES (1, 'orders/1');

SELECT pg_catalog.setval('eventsrc.kind_id_seq', 11, true);

SELECT pg_catalog.setval('eventsrc.stream_id_seq', 21, true);

SELECT pg_catalog.setval('"shöp ""1"" of 100%".kind_id_seq', 1, true);

SELECT pg_catalog.setval('"shöp ""1"" of 100%".stream_id_seq', 1, true);

ALTER TABLE ONLY eventsrc.append
    ADD CONSTRAINT append_pkey PRIMARY KEY (id);

ALTER TABLE ONLY eventsrc.event
    ADD CONSTRAINT event_pkey PRIMARY KEY ("position");

ALTER TABLE ONLY eventsrc.event
    ADD CONSTRAINT event_stream_version_key UNIQUE (stream, version);

ALTER TABLE ONLY eventsrc.kind
    ADD CONSTRAINT kind_pkey PRIMARY KEY (id);

ALTER TABLE ONLY eventsrc.kind
    ADD CONSTRAINT kind_type_schema_codec_key UNIQUE (type, schema, codec);

ALTER TABLE ONLY eventsrc.snapshot
    ADD CONSTRAINT snapshot_pkey PRIMARY KEY (stream, fold, fold_version);

ALTER TABLE ONLY eventsrc.stream
    ADD CONSTRAINT stream_name_key UNIQUE (name);

ALTER TABLE ONLY eventsrc.stream
    ADD CONSTRAINT stream_pkey PRIMARY KEY (id);

ALTER TABLE ONLY eventsrc_views.eventsrc_live
    ADD CONSTRAINT eventsrc_live_pkey PRIMARY KEY (name);

ALTER TABLE ONLY "eventsrc_views_Nämen & co/x_1".eventsrc_guard
    ADD CONSTRAINT eventsrc_guard_pkey PRIMARY KEY (stream);

ALTER TABLE ONLY "eventsrc_views_Nämen & co/x_1".eventsrc_owner
    ADD CONSTRAINT eventsrc_owner_pkey PRIMARY KEY (owner);

ALTER TABLE ONLY "eventsrc_views_Nämen & co/x_1".eventsrc_parked
    ADD CONSTRAINT eventsrc_parked_pkey PRIMARY KEY (stream);

ALTER TABLE ONLY "eventsrc_views_Nämen & co/x_1".eventsrc_part
    ADD CONSTRAINT eventsrc_part_pkey PRIMARY KEY (part);

ALTER TABLE ONLY "eventsrc_views_Nämen & co/x_1".names
    ADD CONSTRAINT names_pkey PRIMARY KEY (id);

ALTER TABLE ONLY eventsrc_views_deadly_1.eventsrc_guard
    ADD CONSTRAINT eventsrc_guard_pkey PRIMARY KEY (stream);

ALTER TABLE ONLY eventsrc_views_deadly_1.eventsrc_owner
    ADD CONSTRAINT eventsrc_owner_pkey PRIMARY KEY (owner);

ALTER TABLE ONLY eventsrc_views_deadly_1.eventsrc_parked
    ADD CONSTRAINT eventsrc_parked_pkey PRIMARY KEY (stream);

ALTER TABLE ONLY eventsrc_views_deadly_1.eventsrc_part
    ADD CONSTRAINT eventsrc_part_pkey PRIMARY KEY (part);

ALTER TABLE ONLY eventsrc_views_half_1.eventsrc_guard
    ADD CONSTRAINT eventsrc_guard_pkey PRIMARY KEY (stream);

ALTER TABLE ONLY eventsrc_views_half_1.eventsrc_owner
    ADD CONSTRAINT eventsrc_owner_pkey PRIMARY KEY (owner);

ALTER TABLE ONLY eventsrc_views_half_1.eventsrc_parked
    ADD CONSTRAINT eventsrc_parked_pkey PRIMARY KEY (stream);

ALTER TABLE ONLY eventsrc_views_half_1.eventsrc_part
    ADD CONSTRAINT eventsrc_part_pkey PRIMARY KEY (part);

ALTER TABLE ONLY eventsrc_views_orders_1.eventsrc_guard
    ADD CONSTRAINT eventsrc_guard_pkey PRIMARY KEY (stream);

ALTER TABLE ONLY eventsrc_views_orders_1.eventsrc_owner
    ADD CONSTRAINT eventsrc_owner_pkey PRIMARY KEY (owner);

ALTER TABLE ONLY eventsrc_views_orders_1.eventsrc_parked
    ADD CONSTRAINT eventsrc_parked_pkey PRIMARY KEY (stream);

ALTER TABLE ONLY eventsrc_views_orders_1.eventsrc_part
    ADD CONSTRAINT eventsrc_part_pkey PRIMARY KEY (part);

ALTER TABLE ONLY eventsrc_views_orders_2.eventsrc_guard
    ADD CONSTRAINT eventsrc_guard_pkey PRIMARY KEY (stream);

ALTER TABLE ONLY eventsrc_views_orders_2.eventsrc_owner
    ADD CONSTRAINT eventsrc_owner_pkey PRIMARY KEY (owner);

ALTER TABLE ONLY eventsrc_views_orders_2.eventsrc_parked
    ADD CONSTRAINT eventsrc_parked_pkey PRIMARY KEY (stream);

ALTER TABLE ONLY eventsrc_views_orders_2.eventsrc_part
    ADD CONSTRAINT eventsrc_part_pkey PRIMARY KEY (part);

ALTER TABLE ONLY eventsrc_views_poison_1.eventsrc_guard
    ADD CONSTRAINT eventsrc_guard_pkey PRIMARY KEY (stream);

ALTER TABLE ONLY eventsrc_views_poison_1.eventsrc_owner
    ADD CONSTRAINT eventsrc_owner_pkey PRIMARY KEY (owner);

ALTER TABLE ONLY eventsrc_views_poison_1.eventsrc_parked
    ADD CONSTRAINT eventsrc_parked_pkey PRIMARY KEY (stream);

ALTER TABLE ONLY eventsrc_views_poison_1.eventsrc_part
    ADD CONSTRAINT eventsrc_part_pkey PRIMARY KEY (part);

ALTER TABLE ONLY eventsrc_views_vain_1.eventsrc_guard
    ADD CONSTRAINT eventsrc_guard_pkey PRIMARY KEY (stream);

ALTER TABLE ONLY eventsrc_views_vain_1.eventsrc_owner
    ADD CONSTRAINT eventsrc_owner_pkey PRIMARY KEY (owner);

ALTER TABLE ONLY eventsrc_views_vain_1.eventsrc_parked
    ADD CONSTRAINT eventsrc_parked_pkey PRIMARY KEY (stream);

ALTER TABLE ONLY eventsrc_views_vain_1.eventsrc_part
    ADD CONSTRAINT eventsrc_part_pkey PRIMARY KEY (part);

ALTER TABLE ONLY eventsrc_views_wide_3.eventsrc_guard
    ADD CONSTRAINT eventsrc_guard_pkey PRIMARY KEY (stream);

ALTER TABLE ONLY eventsrc_views_wide_3.eventsrc_owner
    ADD CONSTRAINT eventsrc_owner_pkey PRIMARY KEY (owner);

ALTER TABLE ONLY eventsrc_views_wide_3.eventsrc_parked
    ADD CONSTRAINT eventsrc_parked_pkey PRIMARY KEY (stream);

ALTER TABLE ONLY eventsrc_views_wide_3.eventsrc_part
    ADD CONSTRAINT eventsrc_part_pkey PRIMARY KEY (part);

ALTER TABLE ONLY "shöp ""1"" of 100%".append
    ADD CONSTRAINT append_pkey PRIMARY KEY (id);

ALTER TABLE ONLY "shöp ""1"" of 100%".event
    ADD CONSTRAINT event_pkey PRIMARY KEY ("position");

ALTER TABLE ONLY "shöp ""1"" of 100%".event
    ADD CONSTRAINT event_stream_version_key UNIQUE (stream, version);

ALTER TABLE ONLY "shöp ""1"" of 100%".kind
    ADD CONSTRAINT kind_pkey PRIMARY KEY (id);

ALTER TABLE ONLY "shöp ""1"" of 100%".kind
    ADD CONSTRAINT kind_type_schema_codec_key UNIQUE (type, schema, codec);

ALTER TABLE ONLY "shöp ""1"" of 100%".snapshot
    ADD CONSTRAINT snapshot_pkey PRIMARY KEY (stream, fold, fold_version);

ALTER TABLE ONLY "shöp ""1"" of 100%".stream
    ADD CONSTRAINT stream_name_key UNIQUE (name);

ALTER TABLE ONLY "shöp ""1"" of 100%".stream
    ADD CONSTRAINT stream_pkey PRIMARY KEY (id);

CREATE INDEX orders_by_stream ON eventsrc_views_orders_1.orders USING btree (stream);

CREATE INDEX orders_by_stream ON eventsrc_views_orders_2.orders USING btree (stream);

CREATE TRIGGER call AFTER INSERT ON eventsrc.event FOR EACH STATEMENT EXECUTE FUNCTION eventsrc.call();


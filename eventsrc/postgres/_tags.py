"""Tags of events on Postgres: the script of their table, and of the functions that append with them.

A row of `tagged` says that the event at a position has a tag. A kind is *whole* once each of its events
has the rows that a declaration of tags (`kind.tags`) gives it: from then on, whoever appends such an
event otherwise, as a program without that declaration does, is refused. Until then all are let in, and
`index_tags` comes after them.

What an append is conditional on is looked at under the order lock, which each append takes anyway: so
nothing comes between the look and the commit, and the members of a group see those before them.
"""

from __future__ import annotations

from typing import Final

from eventsrc.postgres._functions import APPEND, APPEND_KNOWN, APPEND_ONE, filled

OTHER_TAGS: Final = "EV001"
"""The SQLSTATE of an append with other tags than those of a kind that is whole."""

SEEN: Final = "(SELECT coalesce(max(number), 0) FROM {s}.kind_change)"
"""A number that grows with each change of what is to be known of kinds."""

_ITEMS: Final = """
        i_after bigint[], i_tag text[], i_tags text[], i_kinds text[], i_prefix text[]"""
"""Items of boundaries, of which no event may match one after its position.

An item is the first of its tags, or NULL; the list of them, or NULL if that is all; a list of kinds, of
which an event is one, or NULL for any; and the beginning of its stream, or NULL for any.
"""

_MATCHES: Final = """{s}.next_tagged(
                        coalesce(i_tags[n]::text[], array_remove(ARRAY[i_tag[n]], NULL)),
                        i_kinds[n]::integer[], i_prefix[n], i_after[n], NULL
                    ) IS NOT NULL"""

_REFUSE: Final = """        IF EXISTS (SELECT FROM {s}.kind WHERE <<bad>>) THEN
            RAISE EXCEPTION USING ERRCODE = '<<state>>', MESSAGE = concat(
                'events of type "', (SELECT min(type) FROM {s}.kind WHERE <<bad>>),
                '" have other tags in this store than this program gives them'
            );
        END IF;
"""


def _refusing(bad: str) -> str:
    """Refuses kinds by an error, for which nothing is stored. bad: whether a row of kind is one."""
    return _REFUSE.replace("<<bad>>", bad).replace("<<state>>", OTHER_TAGS)


_APPEND_TAGGED: Final = filled(
    APPEND,
    name="append_tagged",
    arguments=f""",         e_declared text[], a_tags integer[], t_event integer[], t_tag text[],
        n_known bigint, c_append integer[], c_after bigint[], c_items integer[],{_ITEMS}""",
    variables="""
        c integer := 1;
        c_first integer;
        i integer := 1;
        t integer := 0;""",
    check=_refusing(
        "id = ANY(e_kind) AND is_whole AND EXISTS ("
        "SELECT FROM generate_subscripts(e_kind, 1) AS n "
        "WHERE e_kind[n] = kind.id AND e_declared[n] <> kind.tags)"
    )
    + f"""        IF cardinality(c_append) > 0 AND n_known <> {SEEN} THEN
            nth_append := 0;
            outcome := 'kinds';
            RETURN NEXT;
            RETURN;
        END IF;
""",
    conditions="""            c_first := c;
            WHILE c_append[c] = a LOOP
                IF outcome = 'appended' AND c_after[c] > last THEN
                    outcome := 'beyond';
                    nth_part := c - c_first;
                    RETURN NEXT;
                END IF;
                FOR n IN i .. i + c_items[c] - 1 LOOP
                    EXIT WHEN outcome <> 'appended' OR c_after[c] = last;
                    CONTINUE WHEN i_tag[n] IS NOT NULL AND NOT EXISTS (
                        SELECT FROM {s}.tagged WHERE tag = i_tag[n] AND position > i_after[n]
                    );
                    IF <<matches>> THEN
                        outcome := 'changed';
                        nth_part := c - c_first;
                        RETURN NEXT;
                    END IF;
                END LOOP;
                i := i + c_items[c];
                c := c + 1;
            END LOOP;
""".replace("<<matches>>", _MATCHES),
    tags="""            IF outcome = 'appended' AND a_tags[a] > 0 THEN
                -- e: of the last event of this append
                INSERT INTO {s}.tagged
                SELECT t_tag[n], began - 1 + t_event[n], kind.id
                FROM generate_series(t + 1, t + a_tags[a]) AS n
                JOIN {s}.kind ON kind.id = e_kind[e - (last + 1 - began) + t_event[n]]
                WHERE kind.tags = e_declared[e - (last + 1 - began) + t_event[n]];
            END IF;
            t := t + a_tags[a];
""",
)

_APPEND_TAGGED_ONE: Final = filled(
    APPEND_ONE,
    name="append_tagged_one",
    epoch="(SELECT max(number) FROM {s}.epoch)",
    settings="""
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off""",
    arguments=f""",         declared text, e_tags text[],
        n_known bigint, nearest_seen bigint, farthest_seen bigint, i_bound integer[],{_ITEMS}""",
    variables="""
        own_tags text;
        own_whole boolean;""",
    conditions="""        SELECT tags, is_whole INTO own_tags, own_whole FROM {s}.kind
        WHERE id = e_kind;
        IF own_whole AND own_tags <> declared THEN
            RETURN NULL;
        END IF;
        IF farthest_seen IS NOT NULL THEN
            IF farthest_seen > place OR n_known <> <<seen>> THEN
                RETURN NULL;
            END IF;
            -- a look at the first tag of each item settles most of them
            IF nearest_seen < place AND EXISTS (
                SELECT FROM unnest(i_tag, i_after) AS item (first_tag, since)
                WHERE first_tag IS NULL
                    OR EXISTS (SELECT FROM {s}.tagged WHERE tag = first_tag AND position > since)
            ) THEN
                FOR n IN 1 .. cardinality(i_after) LOOP
                    IF <<matches>> THEN
                        RETURN -i_bound[n];
                    END IF;
                END LOOP;
            END IF;
        END IF;
""".replace("<<matches>>", _MATCHES).replace("<<seen>>", SEEN),
    tags="""        IF own_tags = declared THEN
            INSERT INTO {s}.tagged SELECT tag, place, e_kind FROM unnest(e_tags) AS tag;
        END IF;
""",
)

_ANEW: Final = {"create": "CREATE OR REPLACE FUNCTION", "open": " AND NOT is_whole"}

SCRIPT: Final = "".join(
    (
        """
    -- tags: the declaration by which its events have tags; is_whole: whether all of them have them, or
    -- else those up to the position `indexed` and those that were appended by that declaration.
    ALTER TABLE {s}.kind
        ADD COLUMN tags text COLLATE "C" NOT NULL DEFAULT '',
        ADD COLUMN is_whole boolean NOT NULL DEFAULT false,
        ADD COLUMN indexed bigint NOT NULL DEFAULT 0;
    CREATE TABLE {s}.tagged (
        tag text COLLATE "C" NOT NULL,
        position bigint NOT NULL,
        kind integer NOT NULL,
        PRIMARY KEY (tag, position) INCLUDE (kind)
    );
    -- A row for each change of kinds. Their numbers are in the order of the commits: whoever changes
    -- kinds waits for those who do so too.
    CREATE TABLE {s}.kind_change (number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY);
    INSERT INTO {s}.kind_change DEFAULT VALUES;
    CREATE FUNCTION {s}.kinds_changed() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
        IF EXISTS (SELECT FROM changed) THEN
            LOCK TABLE {s}.kind_change IN SHARE ROW EXCLUSIVE MODE;
            INSERT INTO {s}.kind_change DEFAULT VALUES;
        END IF;
        RETURN NULL;
    END $$;
    CREATE TRIGGER added AFTER INSERT ON {s}.kind REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION {s}.kinds_changed();
    CREATE TRIGGER changed AFTER UPDATE ON {s}.kind REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION {s}.kinds_changed();

    -- The position of the next event that has all of some tags, is of one of some kinds (NULL: of any),
    -- and is in a stream whose name begins so. Without tags, events without any are looked at as well.
    -- until: the last that is looked at; NULL for all there are.
    -- It leaps: each tag's index is entered at the position that the tag before has come to, so the
    -- rarest decides how many steps it takes.
    CREATE FUNCTION {s}.next_tagged(
        tags text[], kinds integer[], prefix text, after bigint, until bigint
    ) RETURNS bigint LANGUAGE plpgsql STABLE
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off
    SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
        place bigint := after + 1;
        most bigint := coalesce(until, 9223372036854775807);
        nth integer := 0;
        agreed integer := 0;
        found bigint;
    BEGIN
        LOOP
            IF cardinality(tags) = 0 THEN
                found := (
                    SELECT position FROM {s}.event
                    WHERE position >= place AND position <= most
                        AND (kinds IS NULL OR kind = ANY(kinds))
                    ORDER BY position LIMIT 1
                );
            ELSE
                found := (
                    SELECT position FROM {s}.tagged
                    WHERE tag = tags[nth + 1] AND position >= place AND position <= most
                        AND (kinds IS NULL OR kind = ANY(kinds))
                    ORDER BY position LIMIT 1
                );
            END IF;
            IF found IS NULL THEN
                RETURN NULL;
            END IF;
            agreed := CASE WHEN found = place THEN agreed + 1 ELSE 1 END;
            place := found;
            IF agreed >= cardinality(tags) THEN
                IF coalesce(prefix, '') = '' OR starts_with(
                    (
                        SELECT name FROM {s}.stream
                        WHERE id = (SELECT stream FROM {s}.event WHERE position = place)
                    ),
                    prefix
                ) THEN
                    RETURN place;
                END IF;
                place := place + 1;
                agreed := 0;
            END IF;
            nth := (nth + 1) % greatest(cardinality(tags), 1);
        END LOOP;
    END $$;

    -- The positions of the first events that match one of some items, of each item the first ones.
    CREATE FUNCTION {s}.matching(
        after bigint, until bigint, most bigint, i_tags text[], i_kinds text[], i_prefix text[]
    ) RETURNS SETOF bigint LANGUAGE plpgsql STABLE
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off
    SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
        tags text[];
        kinds integer[];
        place bigint;
    BEGIN
        FOR n IN 1 .. cardinality(i_tags) LOOP
            tags := i_tags[n]::text[];
            kinds := i_kinds[n]::integer[];
            IF cardinality(tags) = 1 AND i_prefix[n] = '' THEN
                RETURN QUERY
                SELECT position FROM {s}.tagged
                WHERE tag = tags[1] AND position > after AND position <= until
                    AND (kinds IS NULL OR kind = ANY(kinds))
                ORDER BY position LIMIT most;
            ELSE
                place := after;
                FOR nth IN 1 .. most LOOP
                    place := {s}.next_tagged(tags, kinds, i_prefix[n], place, until);
                    EXIT WHEN place IS NULL;
                    RETURN NEXT place;
                END LOOP;
            END IF;
        END LOOP;
    END $$;
""",
        filled(
            APPEND,
            name="append",
            check=_refusing("id = ANY(e_kind) AND is_whole"),
            **_ANEW,
        ),
        filled(APPEND_KNOWN, name="append_known", **(_ANEW | {"open": " WHERE NOT is_whole"})),
        filled(APPEND_ONE, name="append_one", **_ANEW),
        _APPEND_TAGGED,
        _APPEND_TAGGED_ONE,
        """
    -- As add_kinds; those with a declaration are whole from their first event on.
    CREATE FUNCTION {s}.add_tagged_kinds(
        patience integer, types text[], schemas bigint[], codecs text[], declared text[]
    ) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
        IF patience > 0 THEN
            PERFORM set_config('lock_timeout', patience::text, true);
        END IF;
        INSERT INTO {s}.kind (type, schema, codec, tags, is_whole)
        SELECT type, schema, codec, tags, tags <> ''
        FROM unnest(types, schemas, codecs, declared) AS given (type, schema, codec, tags)
        ON CONFLICT DO NOTHING;
    END $$;

    -- What is taken out of the tables takes its tags with it, and a kind that has lost tags otherwise
    -- is not whole any more.
    CREATE OR REPLACE FUNCTION {s}.emptied() RETURNS trigger LANGUAGE plpgsql
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
        DELETE FROM {s}.tagged WHERE NOT EXISTS (
            SELECT FROM {s}.event WHERE event.position = tagged.position AND event.kind = tagged.kind
        );
        RETURN NULL;
    END $$;
    CREATE FUNCTION {s}.untagged() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
        of integer[];
    BEGIN
        IF pg_trigger_depth() > 1 THEN
            RETURN NULL;  -- their events have gone too
        END IF;
        IF TG_OP = 'DELETE' THEN
            of := ARRAY (SELECT DISTINCT gone.kind FROM gone);
        ELSE
            of := ARRAY (SELECT id FROM {s}.kind);
        END IF;
        UPDATE {s}.kind SET is_whole = false, indexed = 0
        WHERE id = ANY(of) AND is_whole AND EXISTS (SELECT FROM {s}.event WHERE event.kind = kind.id);
        RETURN NULL;
    END $$;
    CREATE TRIGGER untagged AFTER DELETE ON {s}.tagged REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION {s}.untagged();
    CREATE TRIGGER emptied AFTER TRUNCATE ON {s}.tagged EXECUTE FUNCTION {s}.untagged();

    REVOKE EXECUTE ON FUNCTION {s}.append_tagged, {s}.append_tagged_one, {s}.add_tagged_kinds
        FROM PUBLIC;

    -- Who could read and append until now can do so with tags.
    DO $$
    DECLARE
        event oid := pg_catalog.pg_typeof(NULL::{s}.event);
        own name := (
            SELECT nspname FROM pg_catalog.pg_type AS type
            JOIN pg_catalog.pg_namespace AS space ON space.oid = type.typnamespace
            WHERE type.oid = event
        );
        told text;
    BEGIN
        FOR told IN
            SELECT pg_catalog.format(
                'GRANT SELECT ON %1$I.tagged, %1$I.kind_change TO %2$s',
                own,
                CASE given.grantee WHEN 0 THEN 'PUBLIC' ELSE given.grantee::regrole::text END
            )
            FROM pg_catalog.pg_class AS its, pg_catalog.aclexplode(its.relacl) AS given
            WHERE its.reltype = event AND given.privilege_type = 'SELECT'
                AND given.grantee <> its.relowner
            UNION ALL
            SELECT pg_catalog.format(
                'GRANT EXECUTE ON FUNCTION %I.%I TO %s',
                own,
                CASE proname
                    WHEN 'append' THEN 'append_tagged'
                    WHEN 'append_one' THEN 'append_tagged_one'
                    ELSE 'add_tagged_kinds'
                END,
                CASE given.grantee WHEN 0 THEN 'PUBLIC' ELSE given.grantee::regrole::text END
            )
            FROM pg_catalog.pg_proc AS its, pg_catalog.aclexplode(its.proacl) AS given
            WHERE its.pronamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = own)
                AND its.proname IN ('append', 'append_one', 'add_kinds')
                AND given.privilege_type = 'EXECUTE' AND given.grantee <> its.proowner
        LOOP
            EXECUTE told;
        END LOOP;
    END $$;
""",
    )
)

"""The tables of a schema, and what else is in it, as text: to tell whether two have the same."""

from __future__ import annotations

from typing import Final

# the row without a text has the major version of the server, in whose words the others are
DESCRIBED: Final = """
    WITH own AS (
        SELECT oid, relname, relkind FROM pg_catalog.pg_class
        WHERE relnamespace = pg_catalog.to_regnamespace(pg_catalog.quote_ident(%(schema)s))
            AND relname NOT LIKE 'eventsrc\\_%%'
    ),
    texts AS (
        SELECT pg_catalog.format(
            'TABLE %%s (%%s)', relname,
            pg_catalog.string_agg(pg_catalog.concat(
                attname, ' ', pg_catalog.format_type(atttypid, atttypmod),
                CASE WHEN attnotnull THEN ' NOT NULL' END,
                CASE WHEN adbin IS NOT NULL
                    THEN ' DEFAULT ' || pg_catalog.pg_get_expr(adbin, adrelid) END,
                CASE WHEN attidentity <> '' THEN ' IDENTITY ' || attidentity::text END,
                CASE WHEN attgenerated <> '' THEN ' GENERATED' END
            ), ', ' ORDER BY attnum)
        ) AS its
        FROM own JOIN pg_catalog.pg_attribute ON attrelid = own.oid AND attnum > 0 AND NOT attisdropped
        LEFT JOIN pg_catalog.pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE relkind IN ('r', 'p', 'f') GROUP BY relname
        UNION ALL
        SELECT pg_catalog.format('VIEW %%s AS %%s', relname, pg_catalog.pg_get_viewdef(oid))
        FROM own WHERE relkind IN ('v', 'm')
        UNION ALL
        SELECT pg_catalog.format(
            'CONSTRAINT %%s OF %%s %%s', conname, relname,
            pg_catalog.pg_get_constraintdef(pg_constraint.oid)
        )
        FROM own JOIN pg_catalog.pg_constraint ON conrelid = own.oid
        WHERE contype IN ('c', 'f', 'p', 'u', 'x')
        UNION ALL
        SELECT pg_catalog.pg_get_indexdef(indexrelid)
        FROM own JOIN pg_catalog.pg_index ON indrelid = own.oid
        UNION ALL
        SELECT pg_catalog.pg_get_triggerdef(pg_trigger.oid)
        FROM own JOIN pg_catalog.pg_trigger ON tgrelid = own.oid WHERE NOT tgisinternal
        UNION ALL
        SELECT pg_catalog.pg_get_functiondef(oid) FROM pg_catalog.pg_proc
        WHERE pronamespace = pg_catalog.to_regnamespace(pg_catalog.quote_ident(%(schema)s))
            AND prokind IN ('f', 'p') AND proname NOT LIKE 'eventsrc\\_%%'
        UNION ALL
        SELECT pg_catalog.format(
            'ENUM %%s (%%s)', typname, pg_catalog.string_agg(enumlabel, ', ' ORDER BY enumsortorder)
        )
        FROM pg_catalog.pg_type JOIN pg_catalog.pg_enum ON enumtypid = pg_type.oid
        WHERE typnamespace = pg_catalog.to_regnamespace(pg_catalog.quote_ident(%(schema)s))
        GROUP BY typname
    )
    SELECT its, 0 FROM texts
    UNION ALL
    SELECT NULL, pg_catalog.current_setting('server_version_num')::integer / 10000
"""

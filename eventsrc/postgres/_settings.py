"""The settings of a session on which depends what a statement means, or whether it is done at all.

A setting that a handler changes would hold for the events after its own, and for whoever gets the
connection next. So those that matter are compared, and put back; of the others, statements that name
them tell (see `changes_settings`), and the connection is not used again.
"""

from __future__ import annotations

import re
from typing import Any, Final

NAMES: Final = [
    # who, before all others; then what names mean
    "session_authorization",
    "role",
    "search_path",
    # whether it is done
    "row_security",
    "session_replication_role",
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
    "synchronous_commit",
    # what values mean
    "TimeZone",
    "DateStyle",
    "IntervalStyle",
    "bytea_output",
    "extra_float_digits",
    "client_encoding",
    "standard_conforming_strings",
    "default_text_search_config",
    "lc_monetary",
    "lc_numeric",
    "lc_time",
    "array_nulls",
    "transform_null_equals",
    "xmloption",
    "xmlbinary",
]

SEPARATOR: Final = "\x1f"

SETTINGS: Final = (
    r"pg_catalog.concat_ws(E'\x1f', "
    + ", ".join([f"pg_catalog.current_setting('{name}')" for name in NAMES])
    + ")"
)
"""SQL for a text of the settings as they are."""

RESTORE: Final = """
    SELECT name
    FROM ROWS FROM (pg_catalog.unnest(%s::text[]), pg_catalog.unnest(%s::text[])) AS was (name, value)
    WHERE CASE
        WHEN pg_catalog.current_setting(name) <> value
        THEN pg_catalog.set_config(name, value, true) IS NOT NULL
        ELSE false
    END
"""
"""Sets those that have changed to what they were, until the end of the transaction; answers which."""

_TAGS: Final = frozenset({"SET", "RESET", "SET CONSTRAINTS"})
_IN_A_SCRIPT: Final = re.compile(r"set_config|;\s*(?:re)?set\b", re.IGNORECASE)


def changes_settings(query: Any, status: str | None) -> bool:
    """True if a statement, or one of several, that was executed may have changed a setting.

    status: what Postgres says of the first.
    """
    if status in _TAGS:
        return True
    text = query if isinstance(query, str) else str(query)
    if ";" in text or "_config" in text or "_CONFIG" in text:
        return _IN_A_SCRIPT.search(text) is not None
    return False

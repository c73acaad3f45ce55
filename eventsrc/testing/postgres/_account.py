"""As whom a Postgres for tests runs: it refuses to be root, so root has somebody else run it.

That is an account that exists, from a copy of the binaries if it can't reach them, or a user namespace.
Root writes nothing where that account may: it could put a link there that leads elsewhere.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

import attrs

from eventsrc.testing.postgres._binaries import DEADLINE
from eventsrc.testing.postgres._errors import ServerFailed

_ACCOUNTS: Final = ("nobody", "postgres", "daemon")


@attrs.frozen
class Way:
    """A way to run a program of Postgres as somebody who is not root."""

    prefix: tuple[str, ...] = ()
    user: int | None = None
    group: int | None = None
    client: str = ""
    """The name of the account of this process, as the server sees it."""

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


def as_whom(bin: Path, directory: Path, home: Path) -> tuple[Way, Path]:
    """The way to run Postgres, and its directory of binaries.

    directory: one that we have made, which stays ours. home: the server's own, in it, which is made.
    Raises ServerFailed if there is no way.
    """
    import pwd

    def account(key: str | int) -> pwd.struct_passwd | None:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(key) if isinstance(key, str) else pwd.getpwuid(key)
        return None

    me = os.geteuid()
    home.mkdir(0o700)
    mine = account(me)
    if me != 0 and mine is not None:  # initdb wants to know its user's name
        return Way(client=mine.pw_name), bin
    user = next(filter(None, map(account, _ACCOUNTS)), None)
    if user is None:
        raise ServerFailed(
            f"Postgres does not run as root, nor as a user without a name, and there is none of the "
            f"accounts {', '.join(_ACCOUNTS)}: run the tests as an ordinary user"
        )
    uid, gid = user.pw_uid, user.pw_gid
    if me == 0:
        way = Way(user=uid, group=gid, client="root" if mine is None else mine.pw_name)
        directory.chmod(0o711)
        os.chown(home, uid, gid)
        if way.reaches(home):
            if way.runs(bin):
                return way, bin
            copy = _copy(bin, directory / "copy")
            if copy is not None and way.runs(copy):
                return way, copy
        os.chown(home, 0, os.getegid())
        directory.chmod(0o700)
    unshare = shutil.which("unshare")
    if unshare is not None:
        prefix = unshare, "--user", f"--map-user={uid}", f"--map-group={gid}", "--"
        way = Way(prefix, client=user.pw_name)
        if way.reaches(home) and way.runs(bin):
            return way, bin
    raise ServerFailed(
        f"Postgres does not run as {'root' if me == 0 else f'the nameless user {me}'}; the account "
        f"{user.pw_name} can't use {directory.parent} or {bin}, and `unshare --user` is not there or "
        f"not allowed: set TMPDIR to a directory that everybody may enter, or run the tests as an "
        f"ordinary user"
    )


def _copy(bin: Path, to: Path) -> Path | None:
    """A copy of the binaries, and of what they need, for all; None if that is not beside them.

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
    for place, _, files in os.walk(to):
        Path(place).chmod(0o755)
        for path in (Path(place, name) for name in files):
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
    return copied / "bin"

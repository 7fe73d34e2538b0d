"""The command line of every service: ``serve`` and ``migrate``."""

from __future__ import annotations

import argparse
import ctypes
import gc
import logging
import os
import sys
import textwrap
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TypeVar

# libuv's io_uring backend loses wake-ups on some kernels and is refused in most containers;
# set before uvloop is loaded, which reads it once.
os.environ.setdefault("UV_USE_IO_URING", "0")

import uvloop

from vitne.errors import VitneError
from vitne.runtime.application import TaskFailed
from vitne.runtime.migrations import Migrations, migrate
from vitne.runtime.settings import EXIT_WRONG_SETTINGS, PREFIX, CommonSettings, load, load_with_database
from vitne.runtime.telemetry import start_logging
from vitne.runtime.telemetry.process import start_traces
from vitne.runtime.unknown_settings import unknown_settings

#: Exit code of a process that failed.
EXIT_FAILED: Final = 1
#: When the collector of cycles looks: after so many more objects were made than freed, then at each so manieth look at
#: what survived one, and two. Python's own 700, 10 and 10 look at a group of issuances dozens of times while it is on
#: its road, and find nothing: most of what lives here ends without a cycle. What waits to be found takes a few MiB.
GC_THRESHOLDS: Final = (50_000, 20, 20)

#: Parameters of glibc's malloc (mallopt(3)): two arenas, not one for each thread that was ever busy, and pieces of a
#: quarter MiB and more of their own, which go back to the system when they are freed.
ALLOCATOR: Final = {"M_ARENA_MAX": (-8, 2), "M_MMAP_THRESHOLD": (-3, 1 << 18), "M_TRIM_THRESHOLD": (-1, 1 << 18)}

_log = logging.getLogger(__name__)

S = TypeVar("S", bound=CommonSettings)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Command:
    """A command of a service beside ``serve`` and ``migrate``.

    Attributes:
        about: one line for ``--help``.
        run: is given the arguments after its name, and answers the exit code.
        arguments: whether it reads arguments of its own, ``--help`` among them; else it takes none.
    """

    about: str
    run: Callable[[list[str]], int]
    arguments: bool = False


def cli(
    name: str,
    description: str,
    *,
    serve: Callable[[S], Awaitable[None]],
    migrations: Sequence[Migrations],
    settings: type[S],
    further: Mapping[str, Command] = MappingProxyType({}),
    arguments: Sequence[str] | None = None,
) -> int:
    """Run a service's command line; answers the exit code.

    ``raise SystemExit(cli("issuer", "Issues credentials.", serve=serve, migrations=[…], settings=IssuerSettings))``

    Args:
        name: of the service.
        description: one sentence for ``--help``.
        serve: builds the application from the settings and runs it.
        migrations: what ``migrate`` applies, in order; empty without a database: then it is not offered.
        settings: class of the settings, read from the environment.
        further: the service's own commands, by name.
        arguments: of the command line; the process's own by default.

    Returns:
        0 after an orderly end, 1 after a failure, 2 for wrong arguments or settings.
    """
    # What was imported stays: enabled without that, the collector looks through all of it at once.
    gc.freeze()
    gc.enable()  # see vitne.runtime.uncollected
    parser = argparse.ArgumentParser(
        prog=f"python -m services.{name}",
        description=textwrap.fill(description, 100),
        epilog=explained(settings),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("serve", help="run the service until SIGTERM or SIGINT")
    if migrations:
        commands.add_parser("migrate", help="bring the database to this release's schema, then end")
    for further_name, more in further.items():
        commands.add_parser(further_name, help=more.about, description=more.about, add_help=not more.arguments)
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and given[0] in further and further[given[0]].arguments:
        return further[given[0]].run(given[1:])
    # Without a database it is not offered; a job that runs it for every service is told so, and does not fail.
    command = "migrate" if given == ["migrate"] else parser.parse_args(given).command
    if command in further:
        return further[command].run([])
    loaded = load(settings)
    if faults := loaded.protection_faults() if command == "serve" else loaded.database_faults():
        sys.stderr.writelines(f"{fault}\n" for fault in faults)
        return EXIT_WRONG_SETTINGS
    start_logging(loaded.log_level)
    for line in unknown_settings(settings, os.environ):
        _log.warning("%s", line)
    if command == "migrate":
        return _migrate(loaded, migrations)
    try:
        end_traces = start_traces(name, loaded)
    except VitneError as error:
        _log.critical("ended: %s", error)
        return EXIT_FAILED
    tune_collector()
    tune_allocator()
    try:
        uvloop.run(_awaited(serve, loaded))
    except (TaskFailed, VitneError, OSError) as error:
        _log.critical("ended: %s", error)
        return EXIT_FAILED
    except Exception as error:  # noqa: BLE001 - told through the redactor instead of Python's own traceback
        _log.critical("ended by an unexpected fault", exc_info=error)
        return EXIT_FAILED
    finally:
        end_traces()
    return 0


def tune_collector() -> None:
    """Let the collector of cycles look seldom, and never at what was there before the service began."""
    # Not looked through before: a seventh of the time until a service is ready, for some thousand objects.
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def tune_allocator() -> None:
    """Have freed memory go back to the system: a document or a derived key takes tens of MiB, for a moment."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # another C library
        return
    for parameter, value in ALLOCATOR.values():
        mallopt(parameter, value)


def report(settings: type[S], work: Callable[[S], Awaitable[Iterable[str]]]) -> int:
    """Run a command that works on the service's database, print the lines that it answers; answers the exit code.

    Raises:
        SystemExit: with 2, once the names of wrong variables were told.
    """
    loaded = load_with_database(settings)
    start_logging(loaded.log_level)
    try:
        lines = uvloop.run(_awaited(work, loaded))
    except VitneError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_FAILED
    sys.stdout.writelines(f"{line}\n" for line in lines)
    return 0


async def _awaited(work: Callable[[S], Awaitable[T]], settings: S) -> T:
    return await work(settings)


def explained(settings: type[CommonSettings]) -> str:
    """All settings, one a line, with their defaults."""
    lines = ["settings, as environment variables (docs of each: the service's settings.py):"]
    for name, field in settings.model_fields.items():
        default = "must be set" if field.is_required() else str(field.get_default(call_default_factory=True))
        lines.append(f"  {PREFIX + name.upper():<40} {default or '(empty)'}")
    return "\n".join(lines)


def _migrate(settings: CommonSettings, migrations: Sequence[Migrations]) -> int:
    if not migrations:
        sys.stdout.write("no database, nothing to migrate\n")
        return 0
    if not settings.database_dsn:
        sys.stderr.write("VITNE_DATABASE_DSN: must be set\n")
        return EXIT_WRONG_SETTINGS
    try:
        applied = uvloop.run(migrate(settings.database_dsn, migrations))
    except VitneError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_FAILED
    for migration in applied:
        sys.stdout.write(f"applied {migration}\n")
    sys.stdout.write(f"{len(applied)} applied, the schema is up to date\n")
    return 0

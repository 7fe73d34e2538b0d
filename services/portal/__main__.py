"""``python -m services.portal serve|migrate|rebuild|reconcile|parked``."""

from __future__ import annotations

import sys

import uvloop

from services.portal.settings import PortalSettings
from services.portal.wiring import CONSUMER, MIGRATIONS, rebuild, reconcile, serve
from vitne.errors import VitneError
from vitne.runtime.main import EXIT_FAILED, cli
from vitne.runtime.operations_command import parked_command
from vitne.runtime.settings import load_protected
from vitne.runtime.telemetry import start_logging

DESCRIPTION = (
    "Gathers one hub's learners' credentials from events, and shows them. Further commands: 'rebuild' gathers "
    "everything again from nothing; 'reconcile' ends registrations of which the topic says so, after a restore; "
    "'parked' is for events that could not be handled, see 'parked --help'."
)


def main(arguments: list[str]) -> int:
    """Run a command; answers the exit code."""
    if arguments == ["rebuild"]:
        return _rebuild()
    if arguments == ["reconcile"]:
        return _reconcile()
    if arguments[:1] == ["parked"]:
        return parked_command("portal", [CONSUMER], lambda: load_protected(PortalSettings).database_dsn, arguments[1:])
    return cli("portal", DESCRIPTION, serve=serve, migrations=MIGRATIONS, settings=PortalSettings, arguments=arguments)


def _reconcile() -> int:
    settings = load_protected(PortalSettings)
    start_logging(settings.log_level)
    try:
        sys.stdout.write(uvloop.run(reconcile(settings)).to_json() + "\n")
    except VitneError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_FAILED
    return 0


def _rebuild() -> int:
    settings = load_protected(PortalSettings)
    start_logging(settings.log_level)
    try:
        sys.stdout.write(uvloop.run(rebuild(settings)).to_json() + "\n")
    except VitneError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_FAILED
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

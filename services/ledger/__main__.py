"""``python -m services.ledger serve|migrate|keys|rebuild-lists|reconcile|parked``."""

from __future__ import annotations

import sys

import uvloop

from services.ledger.intake import CONSUMER
from services.ledger.settings import LedgerSettings
from services.ledger.wiring import MIGRATIONS, prepare, rebuild, reconcile, serve
from vitne.errors import VitneError
from vitne.runtime.main import EXIT_FAILED, cli
from vitne.runtime.operations_command import parked_command
from vitne.runtime.settings import load, load_protected
from vitne.runtime.telemetry import start_logging

DESCRIPTION = (
    "Keeps status lists and the append-only log. A further command, 'keys', prints the public keys that the "
    "operator registers, as JSON [{use, public_jwk}], and makes them and the list secret when there are none; "
    "'rebuild-lists' publishes every status list anew from its changes; 'parked' is for events that could not be "
    "handled, see 'parked --help'; 'reconcile', after the database was restored to an earlier instant, puts it in step "
    "with the topics, then does what 'rebuild-lists' does (docs/operating/restore.md)."
)


def main(arguments: list[str]) -> int:
    """Run a command; answers the exit code."""
    if arguments == ["keys"]:
        try:
            sys.stdout.write(prepare(load(LedgerSettings)).to_json() + "\n")
        except VitneError as error:
            sys.stderr.write(f"{error}\n")
            return EXIT_FAILED
        return 0
    if arguments == ["rebuild-lists"]:
        return _rebuild_lists()
    if arguments == ["reconcile"]:
        return _reconcile()
    if arguments[:1] == ["parked"]:
        return parked_command("ledger", [CONSUMER], lambda: load_protected(LedgerSettings).database_dsn, arguments[1:])
    return cli("ledger", DESCRIPTION, serve=serve, migrations=MIGRATIONS, settings=LedgerSettings, arguments=arguments)


def _reconcile() -> int:
    settings = load_protected(LedgerSettings)
    start_logging(settings.log_level)
    try:
        sys.stdout.write(uvloop.run(reconcile(settings)).to_json() + "\n")
    except VitneError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_FAILED
    return _rebuild_lists()


def _rebuild_lists() -> int:
    try:
        for rebuilt in uvloop.run(rebuild(load_protected(LedgerSettings))):
            sys.stdout.write(rebuilt.to_json() + "\n")
    except VitneError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_FAILED
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

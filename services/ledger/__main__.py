"""``python -m services.ledger COMMAND``; ``--help`` lists the commands."""

from __future__ import annotations

import sys

from vitne.runtime import uncollected  # noqa: F401 - for what it does

# isort: split
from services.ledger.closing_command import close_command, next_key_command, rotate_command
from services.ledger.intake import CONSUMER
from services.ledger.settings import LedgerSettings
from services.ledger.wiring import MIGRATIONS, prepare, rebuild, reconcile, serve, tell
from vitne.errors import VitneError
from vitne.runtime.main import EXIT_FAILED, Command, cli, report
from vitne.runtime.operations_command import parked_command
from vitne.runtime.settings import load, load_with_database

DESCRIPTION = "Keeps status lists and the append-only log."


def main(arguments: list[str]) -> int:
    """Run a command; answers the exit code."""
    return cli(
        "ledger",
        DESCRIPTION,
        serve=serve,
        migrations=MIGRATIONS,
        settings=LedgerSettings,
        further={
            "keys": Command(
                "print the public keys that the operator registers, as JSON [{use, public_jwk}]; makes them, and the "
                "list secret, where there are none",
                _keys,
            ),
            "next-key": Command(
                "make the log's next key, where there is none, and print what the operator registers",
                next_key_command,
                arguments=True,
            ),
            "close": Command(
                "end the log that grows, and have the next one go on (docs/operating/log.md)",
                close_command,
                arguments=True,
            ),
            "rotate-key": Command(
                "have the next key sign the log's checkpoints (docs/operating/log.md)", rotate_command, arguments=True
            ),
            "rebuild-lists": Command(
                "publish every status list anew from its changes", lambda _: report(LedgerSettings, _rebuilt)
            ),
            "tell-log": Command(
                "after an upgrade from a release that told nobody of the log's order: tell of all of it, so that it "
                "can be taken up again after a restore; repeated, it does nothing",
                lambda _: report(LedgerSettings, _told),
            ),
            "reconcile": Command(
                "after the database was restored to an earlier instant: put it in step with the topics, then do what "
                "rebuild-lists does (docs/operating/restore.md)",
                lambda _: report(LedgerSettings, _reconciled),
            ),
            "parked": Command("events that could not be handled: see, replay or drop them", _parked, arguments=True),
        },
        arguments=arguments,
    )


def _keys(_: list[str]) -> int:
    try:
        sys.stdout.write(prepare(load(LedgerSettings)).to_json() + "\n")
    except VitneError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_FAILED
    return 0


async def _rebuilt(settings: LedgerSettings) -> list[str]:
    return [rebuilt.to_json() for rebuilt in await rebuild(settings)]


async def _told(settings: LedgerSettings) -> list[str]:
    return [(await tell(settings)).to_json()]


async def _reconciled(settings: LedgerSettings) -> list[str]:
    return [(await reconcile(settings)).to_json(), *await _rebuilt(settings)]


def _parked(arguments: list[str]) -> int:
    return parked_command("ledger", [CONSUMER], lambda: load_with_database(LedgerSettings).database_dsn, arguments)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

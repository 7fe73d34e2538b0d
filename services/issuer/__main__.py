"""``python -m services.issuer serve|migrate|reconcile|parked``."""

from __future__ import annotations

import sys

import uvloop

from services.issuer.settings import IssuerSettings
from services.issuer.statuses import CONSUMER
from services.issuer.wiring import KEY_MIGRATIONS, MIGRATIONS, reconcile, serve
from vitne.errors import VitneError
from vitne.runtime.main import EXIT_FAILED, Command, cli, report
from vitne.runtime.migrations import migrate
from vitne.runtime.operations_command import parked_command
from vitne.runtime.settings import EXIT_WRONG_SETTINGS, load, load_with_database

DESCRIPTION = "Decides, issues and signs credentials; keeps learners' data encrypted; serves hubs."


def main(arguments: list[str]) -> int:
    """Run a command; answers the exit code."""
    code = cli(
        "issuer",
        DESCRIPTION,
        serve=serve,
        migrations=MIGRATIONS,
        settings=IssuerSettings,
        further={
            "reconcile": Command(
                "after the database was restored to an earlier instant: put it in step with the topics, and print what "
                "is lost (docs/operating/restore.md)",
                lambda _: report(IssuerSettings, _reconciled),
            ),
            "parked": Command("events that could not be handled: see, replay or drop them", _parked, arguments=True),
        },
        arguments=arguments,
    )
    return _migrate_keys() if arguments == ["migrate"] and code == 0 else code


async def _reconciled(settings: IssuerSettings) -> list[str]:
    return [(await reconcile(settings)).to_json()]


def _parked(arguments: list[str]) -> int:
    return parked_command("issuer", [CONSUMER], lambda: load_with_database(IssuerSettings).database_dsn, arguments)


def _migrate_keys() -> int:
    """Bring the second database, that of learners' keys, to this release's schema."""
    dsn = load(IssuerSettings).learner_keys_dsn
    if not dsn:
        sys.stderr.write("VITNE_LEARNER_KEYS_DSN: must be set\n")
        return EXIT_WRONG_SETTINGS
    try:
        applied = uvloop.run(migrate(dsn, KEY_MIGRATIONS))
    except VitneError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_FAILED
    for migration in applied:
        sys.stdout.write(f"applied {migration}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

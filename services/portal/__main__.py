"""``python -m services.portal serve|migrate|keys|register|rebuild|reconcile|parked``."""

from __future__ import annotations

import argparse
import json
import sys
from uuid import UUID

from services.portal.grounds import Outcome
from services.portal.settings import PortalSettings
from services.portal.signing import signing_keys
from services.portal.wiring import CONSUMER, MIGRATIONS, rebuild, reconcile, register_on_ground, serve
from vitne.errors import VitneError
from vitne.runtime.main import EXIT_FAILED, Command, cli, report
from vitne.runtime.operations_command import parked_command
from vitne.runtime.settings import CommonSettings, load, load_with_database

DESCRIPTION = "Gathers one hub's learners' credentials from events, and shows them."


def main(arguments: list[str]) -> int:
    """Run a command; answers the exit code."""
    return cli(
        "portal",
        DESCRIPTION,
        serve=serve,
        migrations=MIGRATIONS,
        settings=PortalSettings,
        further={
            "keys": Command(
                "print the public keys that sign documents and EMREX answers, as JSON [{label, key_id, public_jwk}]; "
                "makes them where there are none",
                _keys,
            ),
            "register": Command(
                "register learners on a legal ground that is granted to this hub: a national identity number a line, "
                "on the standard input",
                _register,
                arguments=True,
            ),
            "rebuild": Command("gather everything again from nothing", lambda _: report(PortalSettings, _rebuilt)),
            "reconcile": Command(
                "after a restore: end registrations that ended since, and what others may see "
                "(docs/operating/restore.md)",
                _reconcile,
                arguments=True,
            ),
            "parked": Command("events that could not be handled: see, replay or drop them", _parked, arguments=True),
        },
        arguments=arguments,
    )


def _keys(_: list[str]) -> int:
    try:
        # Where keys are made nothing else of the portal's settings need be there.
        keys = signing_keys(load(CommonSettings).state_dir)
    except VitneError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_FAILED
    told = [
        {"label": label, "key_id": signer.key_id, "public_jwk": signer.public_jwk} for label, signer in keys.items()
    ]
    sys.stdout.write(json.dumps(told, indent=2) + "\n")
    return 0


def _register(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m services.portal register",
        description="Register learners who did not ask for it, on a legal ground that the issuer's operator has "
        "granted to this hub: a national identity number a line, on the standard input. They see on what, and who "
        "decided.",
    )
    parser.add_argument("ground", type=UUID, help="id of the legal ground")
    ground = parser.parse_args(arguments).ground

    done = Outcome()

    async def registered(settings: PortalSettings) -> list[str]:
        try:
            await register_on_ground(settings, ground, sys.stdin, done)
        finally:  # An outage does not undo what was done before it.
            sys.stdout.write(f"{done.to_json()}\n")
        return []

    return report(PortalSettings, registered) or (EXIT_FAILED if done.refused else 0)


async def _rebuilt(settings: PortalSettings) -> list[str]:
    return [(await rebuild(settings)).to_json()]


def _reconcile(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m services.portal reconcile",
        description="After a restore (docs/operating/restore.md): end registrations of which the topic says that they "
        "ended. Shares, employers' access and log-ins end, too: learners may have ended them since, and nothing tells.",
    )
    parser.add_argument(
        "--keep-access", action="store_true", help="only the issuer was restored: shares and the like stay"
    )
    keep_access = parser.parse_args(arguments).keep_access

    async def reconciled(settings: PortalSettings) -> list[str]:
        return [(await reconcile(settings, keep_access=keep_access)).to_json()]

    return report(PortalSettings, reconciled)


def _parked(arguments: list[str]) -> int:
    return parked_command("portal", [CONSUMER], lambda: load_with_database(PortalSettings).database_dsn, arguments)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

"""``python -m services.registry serve|migrate|keys|due|reconcile``."""

from __future__ import annotations

import sys

from services.registry import due
from services.registry.settings import RegistrySettings
from services.registry.wiring import MIGRATIONS, put_in_step, serve, service_keys
from vitne.errors import VitneError
from vitne.runtime.main import EXIT_FAILED, Command, cli, report
from vitne.runtime.settings import load

DESCRIPTION = "Decides who may issue what."


def main(arguments: list[str]) -> int:
    """Run a command; answers the exit code."""
    return cli(
        "registry",
        DESCRIPTION,
        serve=serve,
        migrations=MIGRATIONS,
        settings=RegistrySettings,
        further={
            "keys": Command(
                "print the public key of the trust list, which the operator registers and verifiers pin, as JSON "
                "[{use, public_jwk}]; makes it where there is none",
                _keys,
            ),
            "reconcile": Command(
                "after the database was restored to an earlier instant: put it in step with the topics "
                "(docs/operating/restore.md)",
                lambda _: report(RegistrySettings, _reconciled),
            ),
            "due": Command("list accreditations that end soon", due.command, arguments=True),
        },
        arguments=arguments,
    )


async def _reconciled(settings: RegistrySettings) -> list[str]:
    return [(await put_in_step(settings)).to_json()]


def _keys(_: list[str]) -> int:
    try:
        sys.stdout.write(service_keys(load(RegistrySettings)) + "\n")
    except VitneError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_FAILED
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

"""``python -m services.registry serve|migrate|keys|due``."""

from __future__ import annotations

import sys

from services.registry import due
from services.registry.settings import RegistrySettings
from services.registry.wiring import MIGRATIONS, serve, service_keys
from vitne.errors import VitneError
from vitne.runtime.main import EXIT_FAILED, cli
from vitne.runtime.settings import load

DESCRIPTION = (
    "Decides who may issue what. A further command, 'keys', prints the public key of the trust list, which the "
    "operator registers and verifiers pin, as JSON [{use, public_jwk}], and makes it when there is none. 'due' lists "
    "accreditations that end soon, see 'due --help'."
)


def main(arguments: list[str]) -> int:
    """Run a command; answers the exit code."""
    if arguments == ["keys"]:
        try:
            sys.stdout.write(service_keys(load(RegistrySettings)) + "\n")
        except VitneError as error:
            sys.stderr.write(f"{error}\n")
            return EXIT_FAILED
        return 0
    if arguments[:1] == ["due"]:
        return due.command(arguments[1:])
    return cli(
        "registry", DESCRIPTION, serve=serve, migrations=MIGRATIONS, settings=RegistrySettings, arguments=arguments
    )


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

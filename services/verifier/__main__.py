"""``python -m services.verifier serve|check|collect|verify-bundle|status|verify-status|gather|bundle``."""

from __future__ import annotations

import sys

from services.verifier import bundles, collect, command, status_command, verify_command
from services.verifier.settings import VerifierSettings
from services.verifier.wiring import serve
from vitne.runtime.main import Command, cli

DESCRIPTION = "Says what a relying party may believe of a credential, check by check."


def main(arguments: list[str]) -> int:
    """Run a command; answers the exit code."""
    return cli(
        "verifier",
        DESCRIPTION,
        serve=serve,
        migrations=(),
        settings=VerifierSettings,
        further={
            "check": Command("verify one credential with public endpoints only", command.main, arguments=True),
            "gather": Command("put together what proves a credential's chain", bundles.gather_command, arguments=True),
            "bundle": Command(
                "check authority, provider and credential from a bundle, asking nobody",
                bundles.bundle_command,
                arguments=True,
            ),
            "collect": Command(
                "collect all that a credential's verification rests on into one file", collect.main, arguments=True
            ),
            "verify-bundle": Command(
                "verify such a file without a network, as vitne-verify", verify_command.main, arguments=True
            ),
            "status": Command(
                "ask what a credential's status was at an instant, with proof", status_command.main, arguments=True
            ),
            "verify-status": Command(
                "check what status kept, without a network", status_command.verify_main, arguments=True
            ),
        },
        arguments=arguments,
    )


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

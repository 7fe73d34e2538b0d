"""``python -m services.verifier serve|check``."""

from __future__ import annotations

import sys

from services.verifier import command
from services.verifier.settings import VerifierSettings
from services.verifier.wiring import serve
from vitne.runtime.main import cli

DESCRIPTION = (
    "Says what a relying party may believe of a credential, check by check. A further command, 'check', verifies one "
    "credential with public endpoints only; see 'check --help'."
)


def main(arguments: list[str]) -> int:
    """Run a command; answers the exit code."""
    if arguments[:1] == ["check"]:
        return command.main(arguments[1:])
    return cli("verifier", DESCRIPTION, serve=serve, migrations=(), settings=VerifierSettings, arguments=arguments)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

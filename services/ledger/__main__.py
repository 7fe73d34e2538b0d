"""``python -m services.ledger serve|migrate|keys``."""

from __future__ import annotations

import sys

from services.ledger.settings import LedgerSettings
from services.ledger.wiring import MIGRATIONS, prepare, serve
from vitne.errors import VitneError
from vitne.runtime.main import EXIT_FAILED, cli
from vitne.runtime.settings import load

DESCRIPTION = (
    "Keeps status lists and the append-only log. A further command, 'keys', prints the public keys that the "
    "operator registers, as JSON [{use, public_jwk}], and makes them and the list secret when there are none."
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
    return cli("ledger", DESCRIPTION, serve=serve, migrations=MIGRATIONS, settings=LedgerSettings, arguments=arguments)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

"""``next-key``, ``close`` and ``rotate-key``: a log ends with its year, a key for checkpoints follows another."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Awaitable, Callable

from services.ledger.closing import Closing, Succeeded
from services.ledger.settings import LedgerSettings
from services.ledger.wiring import next_key, succeed
from vitne.errors import VitneError
from vitne.runtime.main import EXIT_FAILED, report
from vitne.runtime.settings import load


def next_key_command(arguments: list[str]) -> int:
    """Run ``next-key``; answers the exit code."""
    made = argparse.ArgumentParser(
        prog="python -m services.ledger next-key",
        description="Make the log's next key for checkpoints in VITNE_STATE_DIR, where there is none, and print what "
        "the operator registers. It signs nothing until close or rotate-key says so.",
        epilog="Exit code: 0 it is there, 1 it is not, 2 wrong usage.",
    )
    made.add_argument(
        "--number", required=True, type=_later, metavar="N", help="one more than that of the key that signs: 2, then 3"
    )
    asked = made.parse_args(arguments)
    try:
        signer = next_key(load(LedgerSettings), asked.number)
    except VitneError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_FAILED
    sys.stdout.write(json.dumps([{"use": "KEY_USE_CHECKPOINT", "public_jwk": signer.public_jwk}], indent=2) + "\n")
    return 0


def close_command(arguments: list[str]) -> int:
    """Run ``close``; answers the exit code."""
    made = argparse.ArgumentParser(
        prog="python -m services.ledger close",
        description="End the log that grows by its last leaf, and have the next one go on under the next key, which "
        "next-key made. Whether the ledger runs or not; repeated, it answers the same and does nothing.",
        epilog="Exit code: 0 the log has ended, 1 it has not, 2 wrong usage. Prints the statement's number, both "
        "origins, and the new log's verifier key.",
    )
    made.add_argument("--next", required=True, metavar="ORIGIN", help="name of the log that goes on: host/2027")
    asked = made.parse_args(arguments)
    return _report(lambda closing: closing.close(asked.next))


def rotate_command(arguments: list[str]) -> int:
    """Run ``rotate-key``; answers the exit code."""
    made = argparse.ArgumentParser(
        prog="python -m services.ledger rotate-key",
        description="Have the next key, which next-key made, sign the log's checkpoints from now on; the one before "
        "signs, too, for a week. Repeated, it answers the same and does nothing.",
        epilog="Exit code: 0 the key signs, 1 it does not, 2 wrong usage.",
    )
    made.add_argument("--number", required=True, type=_later, metavar="N", help="of the key, as given to next-key")
    made.add_argument(
        "--compromised",
        action="store_true",
        help="others may know the key before: it signs nothing more, and readers that have it alone stop",
    )
    asked = made.parse_args(arguments)
    return _report(lambda closing: closing.rotate(asked.number, compromised=asked.compromised))


def _report(work: Callable[[Closing], Awaitable[Succeeded]]) -> int:
    async def done(settings: LedgerSettings) -> list[str]:
        return [(await succeed(settings, work)).to_json()]

    return report(LedgerSettings, done)


def _later(text: str) -> int:
    """The number of a key that is not the first."""
    number = int(text)
    if number < 2:
        raise ValueError(text)
    return number

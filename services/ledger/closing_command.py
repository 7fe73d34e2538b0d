"""``next-key``, ``close`` and ``rotate-key``: a log ends with its year, a key for checkpoints follows another."""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable

import msgspec

from services.ledger.closing import Closing, Succeeded
from services.ledger.settings import LedgerSettings
from services.ledger.wiring import next_key, succeed
from vitne.runtime.main import report


def next_key_command() -> int:
    """Run ``next-key``; answers the exit code."""

    async def work(settings: LedgerSettings) -> list[str]:
        return [msgspec.json.encode(await next_key(settings)).decode()]

    return report(LedgerSettings, work)


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
    made.add_argument("--number", required=True, type=int, metavar="N", help="of the key, as next-key printed it")
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

"""``status`` asks what a credential's status was at an instant, with proof; ``verify-status`` checks that, offline."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from services.verifier import presented
from services.verifier.collect import ask_status, fetch_list
from services.verifier.command import (
    EXIT_NOT_VALID,
    EXIT_USAGE,
    EXIT_VALID,
    add_endpoints,
    ledger_channel,
    read_credential,
)
from services.verifier.files import read_file, read_policy, write_file
from services.verifier.past_status import PastStatus, verify_past_status
from vitne.audit.status_evidence import ProvenStatus
from vitne.canonical import instant_text, parse_instant
from vitne.clock import Clock, SystemClock
from vitne.errors import InvalidArgument, VitneError
from vitne.merkle.policy import Policy
from vitne.runtime.arguments import parsed, thumbprint
from vitne.runtime.names import DEFAULT_LOG_ORIGIN, DEFAULT_REGISTRY_URI
from vitne.runtime.trust_list import trust_list_fetcher
from vitne_api.ledger.v1 import ledger_pb2_grpc

_EPILOG: Final = "Exit code: 0 proved, whatever the status was, 1 not proved, 2 wrong usage, or it could not be asked."


def main(arguments: Sequence[str]) -> int:
    """Run ``status``; answers the exit code."""
    made = argparse.ArgumentParser(
        prog="python -m services.verifier status",
        description="Ask the ledger what the status of a credential was at an instant, as known at another, and check "
        "what it answers: the signed lists that were in force, every change, and their proofs that they are in the "
        "log. The credential itself is not verified here.",
        epilog=_EPILOG,
    )
    add_endpoints(made)
    made.add_argument("--at", metavar="INSTANT", help="for which instant, as 2026-11-23T12:00:00Z (default: now)")
    made.add_argument("--known-at", metavar="INSTANT", help="by what was recorded up to then (default: now)")
    made.add_argument("--out", type=Path, metavar="STATUS_FILE", help="keep what proves it, for verify-status")
    asked = parsed(made, arguments)
    try:
        policy = read_policy(asked.log_policy)
        at, known_at = (_instant(asked, name) for name in ("at", "known_at"))
        kept = asyncio.run(_ask(asked, read_credential(asked.credential), at, known_at, SystemClock()))
        if asked.out:
            write_file(asked.out, kept.to_json(), "--out")
    except (VitneError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_USAGE
    return _tell(kept, asked, policy)


def verify_main(arguments: Sequence[str]) -> int:
    """Run ``verify-status``; answers the exit code."""
    made = argparse.ArgumentParser(
        prog="python -m services.verifier verify-status",
        description="Check, without a network, what the command status kept.",
        epilog=_EPILOG,
    )
    made.add_argument("file", type=Path, metavar="STATUS_FILE", help="as the command status writes it with --out")
    made.add_argument(
        "--registry-key",
        type=thumbprint,
        required=True,
        metavar="THUMBPRINT",
        help="RFC 7638 thumbprint of the key that signs the registry's list",
    )
    made.add_argument("--registry-uri", default=DEFAULT_REGISTRY_URI, metavar="URI", help="(default: %(default)s)")
    made.add_argument(
        "--log-policy",
        type=Path,
        metavar="FILE",
        help="policy (C2SP tlog-policy) of the log and its witnesses; without it, the log's own signature counts",
    )
    made.add_argument("--log-origin", default=DEFAULT_LOG_ORIGIN, metavar="NAME", help="(default: %(default)s)")
    asked = parsed(made, arguments)
    try:
        policy = read_policy(asked.log_policy)
        kept = PastStatus.from_json(read_file(asked.file, "STATUS_FILE"))
    except VitneError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_USAGE
    return _tell(kept, asked, policy)


def _tell(kept: PastStatus, asked: argparse.Namespace, policy: Policy | None) -> int:
    try:
        proved = verify_past_status(
            kept,
            registry_key=asked.registry_key,
            registry_uri=asked.registry_uri,
            log_origin=asked.log_origin,
            policy=policy,
        )
    except VitneError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_NOT_VALID
    sys.stdout.write(_text(kept, proved))
    return EXIT_VALID


def _text(kept: PastStatus, proved: ProvenStatus) -> str:
    lines = [f"{proved.status} at {instant_text(kept.at)}, as known at {instant_text(kept.known_at)}"]
    if proved.effective is None or proved.recorded is None:
        lines.append("nobody had changed it by then")
    else:
        lines.append(f"since {instant_text(proved.effective)}, recorded {instant_text(proved.recorded)}")
    first, second = instant_text(proved.then.issued_at), instant_text(proved.listed.issued_at)
    if first == second:
        lines.append(f"by the list of {first}: what was recorded after it may be missing")
    else:
        lines.append(
            f"by the lists of {first}, in force at that instant, and of {second}, in force when it was known: what was "
            "recorded after the first and undone before the second may be missing"
        )
    if proved.seen is None:
        lines.append("in the log, by its own word")
    else:
        lines.append(f"in the log, seen by the policy's witnesses by {instant_text(proved.seen)}")
    return "".join(f"{line}\n" for line in lines)


def _instant(asked: argparse.Namespace, name: str) -> datetime | None:
    text: str | None = getattr(asked, name)
    return None if text is None else parse_instant(text, field=f"--{name.replace('_', '-')}")


async def _ask(
    asked: argparse.Namespace, credential: str, at: datetime | None, known_at: datetime | None, clock: Clock
) -> PastStatus:
    read = presented.read(credential).credential
    reference = read.status
    if at is not None and at < read.issued_at:
        raise InvalidArgument(
            "AT_BEFORE_ISSUANCE",
            f"the credential says that it was issued at {instant_text(read.issued_at)}: it had no status before",
            field="--at",
            rule="an instant from its issuance on",
            remedy="give a later instant",
        )
    fetcher = trust_list_fetcher(asked.trust_list, development=True)
    channel = ledger_channel(asked)
    try:
        stub = ledger_pb2_grpc.LedgerServiceStub(channel)
        compact, _, facts = await fetch_list(
            fetcher, asked.trust_list, asked.registry_key, asked.registry_uri, clock.now()
        )
        evidence = await ask_status(stub, reference, at=at, known_at=known_at)
    finally:
        await fetcher.close()
        await channel.close()
    # Where no instant was named, the ledger answered for its own present.
    now = clock.now()
    known = known_at or now
    return PastStatus(at or known, known, now, compact, facts, evidence)

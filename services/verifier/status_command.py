"""``status`` asks what a credential's status was at an instant, with proof; ``verify-status`` checks that, offline."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
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
    list_fetcher,
    read_credential,
    told_of_ledger,
)
from services.verifier.files import CREDENTIAL_FILE, STATUS_FILE, Kept, read_policy, require_kind, told_of_credential
from services.verifier.past_status import PastStatus, verify_past_status
from vitne.accreditation.trust_list import CLOCK_SKEW
from vitne.audit.status_evidence import ProvenStatus
from vitne.canonical import instant_text, parse_instant
from vitne.clock import Clock, SystemClock
from vitne.credentials.model import Credential
from vitne.errors import FailedPrecondition, InvalidArgument, VitneError
from vitne.merkle.policy import Policy
from vitne.runtime.argument_files import read_file, write_file
from vitne.runtime.arguments import parsed, thumbprint, told_of_argument
from vitne.runtime.names import DEFAULT_LOG_ORIGIN, DEFAULT_REGISTRY_URI
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
    made.add_argument(
        "--out",
        type=Path,
        metavar=STATUS_FILE,
        help="keep what proves it, for verify-status; a file that is there is not written over",
    )
    asked = parsed(made, arguments)
    try:
        policy = read_policy(asked.log_policy)
        at, known_at = (_instant(asked, name) for name in ("at", "known_at"))
        credential = _read(asked.credential)
        kept = asyncio.run(_ask(asked, credential, at, known_at, SystemClock()))
        if asked.out:
            write_file(asked.out, kept.to_json(), "--out")
    except (VitneError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_USAGE
    return _tell(kept, credential, asked, policy)


def verify_main(arguments: Sequence[str]) -> int:
    """Run ``verify-status``; answers the exit code."""
    made = argparse.ArgumentParser(
        prog="python -m services.verifier verify-status",
        description="Check, without a network, what the command status kept, and whether it is of a credential. The "
        "credential itself is not verified here.",
        epilog=_EPILOG,
    )
    made.add_argument("file", type=Path, metavar=STATUS_FILE, help="as the command status writes it with --out")
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
    made.add_argument(
        "credential",
        nargs="?",
        metavar=CREDENTIAL_FILE,
        help="the credential whose status it is to be; without it, the output names the list and the index, and whose "
        "they are is not looked at",
    )
    asked = parsed(made, arguments)
    try:
        policy = read_policy(asked.log_policy)
        given = read_file(asked.file, STATUS_FILE)
        require_kind(given, Kept.STATUS, STATUS_FILE)
        with told_of_argument(STATUS_FILE, "file"):
            kept = PastStatus.from_json(given)
        credential = None if asked.credential is None else _read(asked.credential)
        # Of another place, that it is of another says more.
        if credential is not None and kept.evidence.is_of(credential.status):
            _require_issued(credential, kept.at, STATUS_FILE, "ask again, with an instant from then on (status, --at)")
    except VitneError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_USAGE
    return _tell(kept, credential, asked, policy)


def _tell(kept: PastStatus, credential: Credential | None, asked: argparse.Namespace, policy: Policy | None) -> int:
    try:
        proved = verify_past_status(
            kept,
            reference=None if credential is None else credential.status,
            registry_key=asked.registry_key,
            registry_uri=asked.registry_uri,
            log_origin=asked.log_origin,
            policy=policy,
        )
    except VitneError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_NOT_VALID
    sys.stdout.write(_text(kept, proved, held=credential is not None))
    return EXIT_VALID


def _text(kept: PastStatus, proved: ProvenStatus, *, held: bool) -> str:
    place = f"place {kept.evidence.index} of {kept.evidence.list_url}"
    lines = [
        f"{proved.status} at {instant_text(kept.at)}, as known at {instant_text(kept.known_at)}",
        f"{place}, as the credential has it"
        if held
        else f"{place}: WHOSE IT IS WAS NOT LOOKED AT; give the credential, too",
    ]
    if proved.effective is None or proved.recorded is None:
        lines.append("nobody had changed it by then")
    else:
        lines.append(f"since {instant_text(proved.effective)}, recorded {instant_text(proved.recorded)}")
    first, second = instant_text(proved.then.issued_at), instant_text(proved.listed.issued_at)
    # A list is dated by the second.
    if proved.recorded is not None and proved.recorded >= proved.listed.issued_at + timedelta(seconds=1):
        lines.append(f"by that change itself, and the list of {second}, from before it: what else came may be missing")
    elif first == second:
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


def _read(name: str) -> Credential:
    text = read_credential(name)
    with told_of_credential():
        return presented.read(text).credential


def _require_issued(credential: Credential, at: datetime, field: str, remedy: str) -> None:
    if at < credential.issued_at:
        raise InvalidArgument(
            "AT_BEFORE_ISSUANCE",
            f"the credential says that it was issued at {instant_text(credential.issued_at)}: it had no status before",
            field=field,
            rule="an instant from its issuance on",
            remedy=remedy,
        )


async def _ask(
    asked: argparse.Namespace, credential: Credential, at: datetime | None, known_at: datetime | None, clock: Clock
) -> PastStatus:
    if at is not None:
        _require_issued(credential, at, "--at", "give a later instant")
    fetcher = list_fetcher(asked)
    channel = ledger_channel(asked)
    try:
        stub = ledger_pb2_grpc.LedgerServiceStub(channel)
        with told_of_argument("--trust-list", "url"):
            compact, _, facts = await fetch_list(
                fetcher, asked.trust_list, asked.registry_key, asked.registry_uri, clock.now()
            )
        with told_of_ledger(asked):
            answered = await ask_status(stub, credential.status, at=at, known_at=known_at)
    finally:
        await fetcher.close()
        await channel.close()
    # Where no instant was named, the ledger answered for its own present, and says which that was (of an earlier
    # release it does not). That is held to our clock: it must not answer for an instant of before in place of now.
    now = clock.now()
    known = known_at or answered.known_at or now
    if known_at is None and abs(known - now) > CLOCK_SKEW:
        raise FailedPrecondition(
            "CLOCKS_DIFFER",
            f"the ledger answered for its present, {instant_text(known)}, and here it is {instant_text(now)}",
            field="--known-at",
            rule=f"clocks differ by {CLOCK_SKEW.total_seconds():.0f} s at most",
            remedy="set this machine's clock, or name the instant by --known-at; if it is right, the ledger's is not",
        )
    return PastStatus(at or answered.at or known, known, now, compact, facts, answered.evidence)

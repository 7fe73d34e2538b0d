"""``collect``: collects, from public endpoints, what a credential's verification rests on, into one file."""

from __future__ import annotations

import argparse
import asyncio
import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import urljoin

import grpc

from services.verifier import presented
from services.verifier.answers import to_text
from services.verifier.bundle_file import Bundle
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
from services.verifier.evidence import PROOF_TIMEOUT_SECONDS, Inclusion, LogProofs
from services.verifier.files import read_policy, told_of_credential
from services.verifier.offline import BundledStatus, knowledge_of, log_policy, verify_bundle
from services.verifier.verdict import NOT_DETERMINABLE
from services.verifier.verification import Verifier
from vitne.accreditation import Statement, read_statement
from vitne.accreditation.trust_list import MAX_STATEMENT_LENGTH
from vitne.audit.status_evidence import LoggedList, ProvenLeaf, StatusEvidence
from vitne.canonical import instant_text
from vitne.clock import Clock, ManualClock, SystemClock
from vitne.credentials.model import StatusReference
from vitne.errors import VitneError
from vitne.merkle.policy import Policy
from vitne.merkle.tlog_proof import LogProof
from vitne.runtime.argument_files import write_file
from vitne.runtime.arguments import interpreter, parsed, told_of_argument
from vitne.runtime.fetch import Fetches
from vitne.runtime.names import DEFAULT_LOG_ORIGIN, DEFAULT_REGISTRY_URI
from vitne.runtime.status import error_from_rpc
from vitne_api.ledger.v1 import ledger_pb2, ledger_pb2_grpc


def main(arguments: Sequence[str]) -> int:
    """Run the command; answers the exit code."""
    made = argparse.ArgumentParser(
        prog="python -m services.verifier collect",
        description="Collect, from public endpoints, what a credential's verification rests on, into one file that "
        "vitne-verify checks without a network, years later. What is collected is not verified here.",
        epilog="Exit code: 0 collected, 1 collected, and not determinable by what was given, 2 it could not be.",
    )
    add_endpoints(made)
    made.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="BUNDLE_FILE",
        help="where to write it; a file that is there is not written over",
    )
    asked = parsed(made, arguments)
    try:
        bundle = asyncio.run(_collect(asked, read_credential(asked.credential), SystemClock()))
        content = bundle.to_zip()
        write_file(asked.out, content, "--out")
    except (VitneError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_USAGE
    sys.stderr.write(
        f"{asked.out}: {len(content)} bytes, as at {instant_text(bundle.at)}. "
        f"To verify it takes no network, now or years later:\n{shlex.join(_next(asked))}\n"
    )
    return _tell_whether_determinable(asked, bundle)


def _tell_whether_determinable(asked: argparse.Namespace, bundle: Bundle) -> int:
    """What a bundle lacks is told while it can still be collected: years later it can't."""
    verified = asyncio.run(
        verify_bundle(
            bundle,
            registry_key=asked.registry_key,
            registry_uri=asked.registry_uri,
            log_origin=asked.log_origin,
            policy=read_policy(asked.log_policy),
        )
    )
    if verified.verdict != NOT_DETERMINABLE:
        return EXIT_VALID
    sys.stderr.write(
        f"As it is, that will say:\n{to_text(verified)}\nMend that, and collect it again into another file.\n"
    )
    return EXIT_NOT_VALID


def _next(asked: argparse.Namespace) -> list[str]:
    """The command that verifies what was collected, with the same keys and names."""
    named = {
        "--registry-uri": asked.registry_uri if asked.registry_uri != DEFAULT_REGISTRY_URI else None,
        "--log-origin": asked.log_origin if asked.log_origin != DEFAULT_LOG_ORIGIN else None,
        "--log-policy": asked.log_policy,
    }
    given = [f"{name}={value}" for name, value in named.items() if value is not None]
    command = [interpreter(), "-m", "services.verifier", "verify-bundle", str(asked.out)]
    return [*command, f"--registry-key={asked.registry_key}", *given]


async def _collect(asked: argparse.Namespace, credential: str, clock: Clock) -> Bundle:
    with told_of_credential():
        presented.read(credential)
    lists = list_fetcher(asked)
    channel = ledger_channel(asked)
    try:
        stub = ledger_pb2_grpc.LedgerServiceStub(channel)
        own_policy = read_policy(asked.log_policy)
        with told_of_ledger(asked), told_of_argument("--trust-list", "url"):
            return await collect(
                credential,
                stub=stub,
                fetcher=lists,
                trust_list=asked.trust_list,
                registry_key=asked.registry_key,
                registry_uri=asked.registry_uri,
                log_origin=asked.log_origin,
                own_policy=own_policy,
                clock=clock,
            )
    finally:
        await lists.close()
        await channel.close()


async def collect(
    credential: str,
    *,
    stub: Any,
    fetcher: Fetches,
    trust_list: str,
    registry_key: str,
    registry_uri: str,
    log_origin: str,
    own_policy: Policy | None,
    clock: Clock,
) -> Bundle:
    """Collect a bundle for the present instant.

    Args:
        credential: as presented, in any format that is accepted.
        stub: of ``vitne.ledger.v1.LedgerService``; its public methods are called.
        fetcher: of the registry's list.
        trust_list: address of the list's statement.
        registry_key: thumbprint of the key that signs it.
        registry_uri: who issues it.
        log_origin: name of the first log, where there is no policy.
        own_policy: what checkpoints need; None: the signature of the log's registered keys, or those that followed.
        clock: tells the present.

    Raises:
        VitneError: the credential can't be read, or something is not there yet.
    """
    presentation = presented.read(credential)
    now = clock.now()
    compact, statement, facts = await fetch_list(fetcher, trust_list, registry_key, registry_uri, now)
    # As known now by the ledger's own clock, which may differ from ours. So the list of then is the list of now.
    status = (await ask_status(stub, presentation.credential.status)).evidence
    at = ManualClock(clock.now())
    knowledge = knowledge_of(statement, facts, registry_key)
    policy = log_policy(knowledge, log_origin, at.now(), status.succession, own_policy)
    log = _Recorder(LogProofs(stub, witnessed=own_policy is not None), policy)
    # Which leaves a verification asks for is its own to say: it is made once, and what it asked for is kept.
    statuses = BundledStatus(status, presentation.credential.status, knowledge, policy, at)
    await Verifier(knowledge, statuses, log, at).verify(credential)
    return Bundle(at.now(), credential, compact, facts, log.proofs, status)


class _Recorder:
    """A :class:`~services.verifier.evidence.LogSource` that keeps the proofs that it was given."""

    def __init__(self, source: LogProofs, policy: Policy) -> None:
        self._source = source
        self._policy = policy
        self.proofs: dict[str, str] = {}

    async def inclusion(self, leaf_hash: bytes) -> Inclusion:
        return await self._prove(leaf_hash, first=False)

    async def earliest(self, leaf_hash: bytes) -> Inclusion:
        return await self._prove(leaf_hash, first=True)

    async def _prove(self, leaf_hash: bytes, *, first: bool) -> Inclusion:
        given = await self._source.prove(leaf_hash, first=first)
        proof = LogProof(given.leaf_index, tuple(given.path), given.checkpoint)
        witnessed = proof.verify(leaf_hash, self._policy)
        self.proofs[leaf_hash.hex()] = proof.text()
        return Inclusion(proof.index, witnessed.checkpoint, witnessed.log.text, witnessed.seen, before=witnessed.before)


async def fetch_list(
    fetcher: Fetches, address: str, registry_key: str, registry_uri: str, now: datetime
) -> tuple[str, Statement, bytes]:
    """The registry's signed list as it is now: as it was signed, read, and the facts that it names.

    Raises:
        VitneError: it can't be fetched, or is not one of that key.
    """
    compact = (await fetcher.fetch(address, max_bytes=MAX_STATEMENT_LENGTH)).body.decode("ascii", "replace")
    statement = read_statement(compact, pinned=registry_key, issuer=registry_uri, now=now)
    facts = await fetcher.fetch(urljoin(address, statement.facts.path), max_bytes=statement.facts.size)
    return compact, statement, facts.body


class AskedStatus(NamedTuple):
    """What the ledger answered of a status, and for which instants it says that it did; None: it does not say."""

    evidence: StatusEvidence
    at: datetime | None
    known_at: datetime | None


async def ask_status(
    stub: Any, reference: StatusReference, *, at: datetime | None = None, known_at: datetime | None = None
) -> AskedStatus:
    """What the ledger answers of a status; an instant that is None is the ledger's present.

    Raises:
        VitneError: as the ledger answers.
    """
    request = ledger_pb2.StatusAtRequest(list=reference.list, index=reference.index)
    for name, instant in (("at", at), ("known_at", known_at)):
        if instant is not None:
            getattr(request, name).FromDatetime(instant)
    try:
        answer: ledger_pb2.StatusAtResponse = await stub.StatusAt(request, timeout=PROOF_TIMEOUT_SECONDS)
    except grpc.aio.AioRpcError as error:
        raise error_from_rpc(error) from error
    evidence = StatusEvidence(
        reference.list,
        reference.index,
        answer.list_token,
        _proven(answer.list_leaf),
        [_proven(each) for each in answer.changes],
        tuple(answer.succession),
        LoggedList(answer.list_token_then, _proven(answer.list_leaf_then)) if answer.list_token_then else None,
    )
    return AskedStatus(evidence, _instant(answer, "at"), _instant(answer, "known_at"))


def _instant(answer: ledger_pb2.StatusAtResponse, name: Literal["at", "known_at"]) -> datetime | None:
    return getattr(answer, name).ToDatetime(tzinfo=UTC) if answer.HasField(name) else None


def _proven(leaf: ledger_pb2.ProvenLeaf) -> ProvenLeaf:
    return ProvenLeaf(leaf.record, leaf.proof)

"""``check``: verify one credential from a command line, with public endpoints only."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from services.verifier.answers import to_text
from services.verifier.evidence import Inclusions, LogProofs, StatusLists
from services.verifier.files import CREDENTIAL_FILE, read_argument, read_policy, told_of_credential
from services.verifier.knowledge import Knowledge
from services.verifier.memory import KeptMemory
from services.verifier.presented import MAX_BYTES, require_credential
from services.verifier.settings import DEFAULT_REGISTRY_STALENESS_SECONDS
from services.verifier.verdict import VALID, VALID_WITH_NOTES
from services.verifier.verification import Verification, Verifier
from vitne.accreditation import Projection
from vitne.clock import Clock, SystemClock
from vitne.credentials.trust_anchors import TrustAnchors
from vitne.credentials.w3c import baking
from vitne.errors import FailedPrecondition, InvalidArgument, Unavailable, VitneError
from vitne.frameworks import Frameworks, Standing
from vitne.inspection.log_memory import LogMemory
from vitne.runtime.argument_files import told_of
from vitne.runtime.arguments import host_and_port, parsed, thumbprint, told_of_argument, web_address
from vitne.runtime.channel import open_channel
from vitne.runtime.fetch import AllowRule, Fetcher
from vitne.runtime.names import DEFAULT_LOG_ORIGIN, DEFAULT_REGISTRY_URI
from vitne.runtime.status import DeadlineExceeded
from vitne.runtime.tls import TlsFiles, TlsMaterial
from vitne.runtime.trust_list import TrustListSource, trust_list_fetcher
from vitne_api.ledger.v1 import ledger_pb2_grpc

#: Exit codes.
EXIT_VALID: Final = 0
EXIT_NOT_VALID: Final = 1
EXIT_USAGE: Final = 2


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    made = argparse.ArgumentParser(
        prog="python -m services.verifier check",
        description="Verify a credential with public endpoints only: the registry's signed list of providers, keys and "
        "accreditations, the status lists, and the log. Prints the verdict in one line, then the checks.",
        epilog="Exit code: 0 valid (also with notes), 1 anything else, 2 wrong usage.",
    )
    add_endpoints(made)
    made.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="PREFIX=BASE",
        help="fetch status lists whose URL begins with PREFIX from BASE; nothing else is fetched (repeatable). A host "
        "name in BASE that resolves to a private address is called only with ';private' at the end",
    )
    made.add_argument(
        "--remember",
        type=Path,
        metavar="FILE",
        help="hold the log to what it showed the last time, and remember what it shows now; one that went back or was "
        "forked is not believed",
    )
    add_anchors(made)
    add_verbose(made)
    return made


def add_verbose(made: argparse.ArgumentParser) -> None:
    """The argument that asks for a line of every check."""
    made.add_argument("--verbose", action="store_true", help="a line for each check that was not made, too")


def add_anchors(made: argparse.ArgumentParser) -> None:
    """The argument that names trust anchors."""
    made.add_argument(
        "--trust-anchors",
        type=Path,
        metavar="FILE",
        help="certificates (PEM) of the authorities to which certificates beside a signature have to lead; without it, "
        "a key counts by the registry's word alone",
    )


def read_anchors(asked: argparse.Namespace) -> TrustAnchors | None:
    """The trust anchors that an argument names; raises InvalidArgument (``BAD_TRUST_ANCHORS``, ``FILE_UNREADABLE``)."""
    file: Path | None = asked.trust_anchors
    if file is None:
        return None
    with told_of(file, "--trust-anchors"):
        return TrustAnchors.parse(file.read_bytes())


def add_endpoints(made: argparse.ArgumentParser) -> None:
    """The arguments that say where registry and log are, whom to trust of them, and which credential is meant."""
    made.add_argument(
        "--trust-list", type=web_address, required=True, metavar="URL", help="where the registry's signed list is"
    )
    made.add_argument(
        "--registry-key",
        type=thumbprint,
        required=True,
        metavar="THUMBPRINT",
        help="RFC 7638 thumbprint of the key that signs it",
    )
    made.add_argument(
        "--registry-uri", default=DEFAULT_REGISTRY_URI, metavar="URI", help="who issues it (default: %(default)s)"
    )
    made.add_argument(
        "--ledger", type=host_and_port, required=True, metavar="HOST:PORT", help="gRPC address of the log"
    )
    made.add_argument(
        "--ledger-ca",
        type=Path,
        default=os.environ.get("VITNE_CHANNEL_AUTHORITY_FILE") or None,
        metavar="FILE",
        help="ask the log over TLS, and trust the certificates in this file (PEM; default: "
        "VITNE_CHANNEL_AUTHORITY_FILE); without it, in plain text, which only a ledger in development answers",
    )
    made.add_argument(
        "--ledger-certificate",
        type=Path,
        default=os.environ.get("VITNE_CHANNEL_CERTIFICATE_FILE") or None,
        metavar="FILE",
        help="certificate and key (PEM, in one file) to show to the log, where it wants to see one; needs --ledger-ca "
        "(default: VITNE_CHANNEL_CERTIFICATE_FILE)",
    )
    made.add_argument(
        "--log-origin",
        default=DEFAULT_LOG_ORIGIN,
        metavar="NAME",
        help="name of the first log: proofs from one that does not follow it count for nothing (default: %(default)s)",
    )
    made.add_argument(
        "--log-policy",
        type=Path,
        metavar="FILE",
        help="policy (C2SP tlog-policy): the log's key, its witnesses' and how many of them have to have cosigned",
    )
    add_credential(made)


def add_credential(
    made: argparse.ArgumentParser, what: str = "a credential, in any format that is accepted, or a baked badge"
) -> None:
    """The argument that names the credential."""
    made.add_argument(
        "credential",
        metavar=CREDENTIAL_FILE,
        help=f"file with {what}; - for stdin",
    )


def main(arguments: Sequence[str]) -> int:
    """Run the command; answers the exit code."""
    asked = parsed(parser(), arguments)
    try:
        with told_of_argument("--allow"):
            # Plain http goes to loopback only, and only where whoever runs this says so.
            fetcher = Fetcher([AllowRule.parse(text) for text in asked.allow], development=True)
        credential = read_credential(asked.credential)
        with told_of_credential():
            require_credential(credential)
        verification = asyncio.run(_check(asked, fetcher, credential, SystemClock()))
    except (InvalidArgument, FailedPrecondition) as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_USAGE
    sys.stdout.write(to_text(verification, verbose=asked.verbose) + "\n")
    return EXIT_VALID if verification.verdict in {VALID, VALID_WITH_NOTES} else EXIT_NOT_VALID


def read_credential(name: str) -> str:
    """The credential that an argument names, also one that is baked into an image.

    Raises:
        InvalidArgument: ``BAD_IMAGE``, ``NOT_BAKED``, ``TOO_LARGE``, ``FILE_UNREADABLE``.
    """
    data = read_argument(name, baking.MAX_IMAGE, CREDENTIAL_FILE)
    if baking.is_image(data):
        with told_of_credential():
            return baking.extract(data)
    # A byte beyond what is read is left, so that too long is told as that.
    return data[: MAX_BYTES + 1].decode("utf-8", "replace").strip()


def ledger_channel(asked: argparse.Namespace) -> Any:
    """A channel to the log, as the arguments say; close it.

    Raises:
        FailedPrecondition: the files of TLS can't be used.
        InvalidArgument: ``LEDGER_CA_MISSING``.
    """
    own = asked.ledger_certificate
    if own and not asked.ledger_ca:
        raise InvalidArgument(
            "LEDGER_CA_MISSING",
            "--ledger-certificate needs --ledger-ca",
            field="--ledger-ca",
            rule="a certificate is shown over TLS only, to a ledger whose own leads to an authority that is trusted",
            remedy="name the file of the certificates to trust, too, or leave --ledger-certificate out",
        )
    if not asked.ledger_ca:
        return open_channel(asked.ledger, None)
    # First one by one, so that it is told which of them can't be used.
    with told_of_argument("--ledger-ca", rule="a file of certificates in PEM"):
        TlsMaterial.read(TlsFiles(authority=asked.ledger_ca))
    pair = "a file with a certificate and its private key in PEM, the key without a password"
    with told_of_argument("--ledger-certificate", rule=pair):
        TlsMaterial.read(TlsFiles(own, own))
    return open_channel(asked.ledger, None, tls=TlsFiles(own, own, asked.ledger_ca))


@contextmanager
def told_of_ledger(asked: argparse.Namespace) -> Iterator[None]:
    """Say of a ledger that does not answer which argument names it.

    Raises:
        VitneError: as it comes; ``UNREACHABLE``, ``DEADLINE_EXCEEDED`` with ``--ledger``.
    """
    try:
        yield
    except (Unavailable, DeadlineExceeded) as error:
        if error.reason not in ("UNREACHABLE", "DEADLINE_EXCEEDED"):
            raise
        raise type(error)(
            error.reason,
            f"no ledger answers at {asked.ledger}",
            field="--ledger",
            rule="host and port at which the ledger serves gRPC",
            remedy="compare it with what the ledger's operator publishes; if it is right, try again later",
        ) from error


def list_fetcher(asked: argparse.Namespace) -> Fetcher:
    """What fetches the registry's list, as the arguments say; close it.

    Raises:
        InvalidArgument: as :func:`~vitne.runtime.trust_list.trust_list_fetcher`.
    """
    with (
        told_of_argument("--trust-list", "trust_list"),
        told_of_argument(
            "--trust-list",
            "allow",
            rule="https://host/path without a user, a query or a fragment; http to loopback only",
            remedy="give the address at which the registry publishes its list",
        ),
    ):
        # Plain http goes to loopback only, and only where whoever runs this says so.
        return trust_list_fetcher(asked.trust_list, development=True)


async def _check(asked: argparse.Namespace, fetcher: Fetcher, credential: str, clock: Clock) -> Verification:
    projection = Projection()
    lists = list_fetcher(asked)
    source = TrustListSource(asked.trust_list, asked.registry_key, asked.registry_uri, projection, clock, fetcher=lists)
    anchors = read_anchors(asked)
    policy = read_policy(asked.log_policy)
    memory = _read_memory(asked.remember)
    channel = ledger_channel(asked)
    try:
        async with fetcher:
            knowledge = Knowledge(
                projection=projection,
                # Which standings an issuer applied can't be asked in public; what rests on a pilot or a proposal is
                # noted.
                frameworks=Frameworks.load(Standing),
                operator="",
                registry_key=asked.registry_key,
                bound=timedelta(seconds=DEFAULT_REGISTRY_STALENESS_SECONDS),
                catalogue=False,
                refused=await _refused(source),
                anchors=anchors,
            )
            proofs = LogProofs(ledger_pb2_grpc.LedgerServiceStub(channel), witnessed=policy is not None)
            log = Inclusions(proofs, knowledge, asked.log_origin, clock, policy, memory=memory)
            verifier = Verifier(knowledge, StatusLists(fetcher, knowledge, clock), log, clock)
            verification = await verifier.verify(credential)
            if asked.remember:
                await KeptMemory(asked.remember, log, clock).keep()
            return verification
    finally:
        await lists.close()
        await channel.close()


def _read_memory(file: Path | None) -> LogMemory:
    try:
        if file is not None:
            file.parent.stat()  # a folder that is misspelt is not made
        with told_of_argument("--remember"):
            return LogMemory.read(file)
    except OSError as error:
        raise InvalidArgument(
            "FILE_UNREADABLE",
            f"{file} can't be read: {error.strerror}",
            field="--remember",
            rule="a file that this command wrote, or a name where none is yet",
            remedy="compare the name and its folder, and look who may read it",
        ) from error


async def _refused(source: TrustListSource) -> str:
    """Take the registry's list, once; why it was not taken, or nothing."""
    try:
        with told_of_argument("--trust-list", "url"):
            await source.refresh()
    except VitneError as error:
        sys.stderr.write(f"the registry's trust list was not taken: {error}\n")
        return f"the registry's trust list was not taken: {error.message}"
    return ""

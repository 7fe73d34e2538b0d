"""``vitne-verify``: verifies a bundle with public keys alone; nothing is fetched."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from services.verifier.answers import to_text
from services.verifier.bundle_file import Bundle
from services.verifier.checks.names import LOG_INCLUSION, PASSED
from services.verifier.command import EXIT_NOT_VALID, EXIT_USAGE, EXIT_VALID, add_anchors, add_verbose, read_anchors
from services.verifier.files import BUNDLE_FILE, Kept, read_policy, require_kind
from services.verifier.offline import verify_bundle
from services.verifier.verdict import VALID, VALID_WITH_NOTES
from vitne.canonical import instant_text
from vitne.errors import VitneError
from vitne.runtime.argument_files import read_file
from vitne.runtime.arguments import parsed, thumbprint
from vitne.runtime.names import DEFAULT_LOG_ORIGIN, DEFAULT_REGISTRY_URI

DESCRIPTION: Final = (
    "Verify a bundle without a network: the credential, the registry's list of authorities, providers, keys and "
    "accreditations, the proof of its issuance, and its status, all as at the instant the bundle was made for."
)


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    made = argparse.ArgumentParser(
        prog="vitne-verify",
        description=DESCRIPTION,
        epilog="Exit code: 0 valid (also with notes), 1 anything else, 2 wrong usage.",
    )
    made.add_argument("bundle", type=Path, metavar=BUNDLE_FILE, help="as the verifier's command collect makes it")
    made.add_argument(
        "--registry-key",
        type=thumbprint,
        required=True,
        metavar="THUMBPRINT",
        help="RFC 7638 thumbprint of the key that signs the list",
    )
    made.add_argument("--registry-uri", default=DEFAULT_REGISTRY_URI, metavar="URI", help="(default: %(default)s)")
    made.add_argument(
        "--log-policy",
        type=Path,
        metavar="FILE",
        help="policy (C2SP tlog-policy) of the log and its witnesses; without it, the log's own signature counts",
    )
    add_anchors(made)
    add_verbose(made)
    made.add_argument("--log-origin", default=DEFAULT_LOG_ORIGIN, metavar="NAME", help="(default: %(default)s)")
    return made


def main(arguments: Sequence[str]) -> int:
    """Run the command; answers the exit code."""
    asked = parsed(parser(), arguments)
    try:
        policy = read_policy(asked.log_policy)
        given = read_file(asked.bundle, BUNDLE_FILE)
        require_kind(given, Kept.BUNDLE, BUNDLE_FILE)
        bundle = Bundle.from_zip(given)
        anchors = read_anchors(asked)
    except VitneError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_USAGE
    try:
        verification = asyncio.run(
            verify_bundle(
                bundle,
                registry_key=asked.registry_key,
                registry_uri=asked.registry_uri,
                log_origin=asked.log_origin,
                policy=policy,
                anchors=anchors,
            )
        )
    except VitneError as error:
        # What is in the bundle can't be followed: that is no wrong usage.
        sys.stderr.write(f"{error}\n")
        return EXIT_NOT_VALID
    told = to_text(verification, verbose=asked.verbose)
    if any(check.name == LOG_INCLUSION and check.outcome == PASSED for check in verification.checks):
        witnesses = "seen by the policy's witnesses" if policy else "by the log's own word"
        told = f"{told}\nas at {instant_text(bundle.at)}, {witnesses}"
    sys.stdout.write(f"{told}\n")
    return EXIT_VALID if verification.verdict in {VALID, VALID_WITH_NOTES} else EXIT_NOT_VALID


def script() -> None:
    """Entry point of ``vitne-verify``."""
    raise SystemExit(main(sys.argv[1:]))

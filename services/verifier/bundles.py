"""``gather`` and ``bundle``: put together what proves a credential's chain, and check it without asking anyone."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from typing import Final

from services.verifier.answers import check_lines
from services.verifier.checks.names import PASSED
from services.verifier.command import (
    EXIT_NOT_VALID,
    EXIT_USAGE,
    EXIT_VALID,
    add_credential,
    add_verbose,
    read_credential,
)
from services.verifier.files import BUNDLE_FILE, Kept, read_argument, require_kind, told_of_credential
from services.verifier.presented import require_credential
from vitne.accreditation.chain import MAX_SIZE, Bundle, Chain, check_bundle, parse_bundle
from vitne.accreditation.credential import MAX_LENGTH, TYPE
from vitne.accreditation.dids import path_name
from vitne.accreditation.extract import Extract
from vitne.canonical import instant_text
from vitne.clock import Clock, SystemClock
from vitne.credentials import sd_jwt_vc
from vitne.credentials.jose import strict_json
from vitne.errors import InvalidArgument, VitneError
from vitne.frameworks import Frameworks, Standing
from vitne.runtime.arguments import parsed, thumbprint, told_of_argument, web_address
from vitne.runtime.fetch import PRIVATE, AllowRule, Fetcher, Fetches
from vitne.runtime.names import DEFAULT_REGISTRY_URI

#: The option that says where the registry is.
REGISTRY: Final = "--registry"
#: Seconds for each of the two answers that a bundle is made of.
GATHER_TIMEOUT_SECONDS: Final = 10.0


async def gather(credential: str, registry: str, fetcher: Fetches) -> Bundle:
    """Fetch what a credential's chain rests on from a registry.

    Args:
        credential: SD-JWT VC, compact.
        registry: where the registry's HTTP interface is, ending in ``/``.
        fetcher: may fetch from there.

    Raises:
        InvalidArgument: the credential can't be read; ``BAD_EXTRACT``.
        Unavailable: ``FETCH_FAILED`` and its kin.
    """
    stated = sd_jwt_vc.parse(credential).credential
    decision = stated.decision
    place = f"{registry}v1/accreditations/{decision.accreditation_id}/revisions/{decision.accreditation_revision}"
    accreditation = await fetcher.fetch(place, accept=f"application/{TYPE}", max_bytes=MAX_LENGTH)
    about = path_name(str(stated.awarding_body.id))
    answer = await fetcher.fetch(f"{registry}v1/trust-list/extracts/{about}", max_bytes=MAX_SIZE)
    members = strict_json(answer.body, field="extract")
    statement, facts = (members.get(name) if isinstance(members, dict) else None for name in ("statement", "facts"))
    if not isinstance(statement, str) or not isinstance(facts, str):
        raise InvalidArgument(
            "BAD_EXTRACT",
            "what the registry answered is no extract of its list",
            field="extract",
            rule="a JSON object with statement and facts",
            remedy="compare the address with that of the registry",
        )
    return Bundle(credential, accreditation.body.decode("ascii", "replace"), Extract(statement, facts.encode()))


def to_text(chain: Chain, *, verbose: bool = False) -> str:
    """A chain as the command line prints it: the answer in one line, then its steps, as checks are told."""
    broken = next((step for step in chain.steps if step.outcome != PASSED), chain.steps[0])
    if chain.holds and chain.as_of is not None:
        answer = f"The chain holds, as of {instant_text(chain.as_of)}. Status and log were not looked at."
    else:
        answer = f"The chain does not hold: {broken.detail}."
    return "\n".join([answer, *check_lines(chain.steps, verbose=verbose)])


def gather_command(arguments: Sequence[str]) -> int:
    """Run ``gather``; answers the exit code."""
    made = argparse.ArgumentParser(
        prog="python -m services.verifier gather",
        description="Put together what proves a credential's chain, from public endpoints: the credential, that of the "
        "accreditation it cites, and an extract of the registry's signed list. Prints a JSON file.",
        epilog="Exit code: 0 done, 1 something could not be had, 2 wrong usage.",
    )
    made.add_argument(
        REGISTRY, type=web_address, required=True, metavar="URL", help="the registry's HTTP interface, https://host"
    )
    add_credential(made, "an SD-JWT VC")
    asked = parsed(made, arguments)
    registry = asked.registry.rstrip("/") + "/"
    try:
        with told_of_argument(
            REGISTRY,
            rule="https://host, perhaps with a path, without a user, a query or a fragment; http to loopback only",
            remedy="give the address of the registry's HTTP interface",
        ):
            # Plain http goes to loopback only, and only where whoever runs this says so.
            fetcher = Fetcher(
                [AllowRule.parse(registry + PRIVATE)], development=True, timeout_seconds=GATHER_TIMEOUT_SECONDS
            )
        credential = read_credential(asked.credential)
        with told_of_credential():
            require_credential(credential)
    except InvalidArgument as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_USAGE
    try:
        with told_of_credential():
            sd_jwt_vc.parse(credential)
        with told_of_argument(REGISTRY, "url", "extract"):
            bundle = asyncio.run(_gather(credential, registry, fetcher))
    except VitneError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_NOT_VALID
    sys.stdout.write(bundle.to_bytes().decode())
    return EXIT_VALID


def bundle_command(arguments: Sequence[str]) -> int:
    """Run ``bundle``; answers the exit code."""
    made = argparse.ArgumentParser(
        prog="python -m services.verifier bundle",
        description="Check the chain authority, provider, credential from a bundle, without asking anyone.",
        epilog="Exit code: 0 the chain holds, 1 it does not, 2 wrong usage.",
    )
    made.add_argument(
        "--registry-key",
        type=thumbprint,
        required=True,
        metavar="THUMBPRINT",
        help="RFC 7638 thumbprint of the key of its list",
    )
    made.add_argument(
        "--registry-uri", default=DEFAULT_REGISTRY_URI, metavar="URI", help="who issues it (default: %(default)s)"
    )
    add_verbose(made)
    made.add_argument("bundle", metavar=BUNDLE_FILE, help="what gather printed; - for stdin")
    asked = parsed(made, arguments)
    try:
        given = read_argument(asked.bundle, MAX_SIZE, BUNDLE_FILE)
        require_kind(given, Kept.CHAIN, BUNDLE_FILE)
        bundle = parse_bundle(given)
    except InvalidArgument as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_USAGE
    clock: Clock = SystemClock()
    chain = check_bundle(
        bundle,
        pinned=asked.registry_key,
        registry_uri=asked.registry_uri,
        # As in check: which standings an issuer applied is no part of what a bundle holds.
        frameworks=Frameworks.load(Standing),
        now=clock.now(),
    )
    sys.stdout.write(to_text(chain, verbose=asked.verbose) + "\n")
    return EXIT_VALID if chain.holds else EXIT_NOT_VALID


async def _gather(credential: str, registry: str, fetcher: Fetcher) -> Bundle:
    async with fetcher:
        return await gather(credential, registry, fetcher)

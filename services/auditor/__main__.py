"""``vitne-audit``, or ``python -m services.auditor``: one look at everything, an exit code, the end."""

from __future__ import annotations

import argparse
import json
import os
import sys
import textwrap
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import aiohttp
import uvloop

from services.auditor import log_command
from services.auditor.exit_codes import AGREES, DISAGREES, NOT_LOOKED
from services.auditor.log_arguments import prefix_named, read_policy, remembered
from services.auditor.log_command import URL_OPTION
from services.auditor.log_look import Beside, look
from services.auditor.log_report import summary
from services.auditor.report import as_json, as_text
from services.auditor.settings import AuditorSettings
from vitne.audit.agreement import Disagreement
from vitne.audit.snapshots import WorldSnapshot
from vitne.canonical import b64url
from vitne.clock import SystemClock
from vitne.credentials.jose import PublicKey
from vitne.errors import DataLoss, FailedPrecondition, VitneError
from vitne.inspection.installation import Findings, Installation, observe, settle
from vitne.inspection.lists import status_list_keys
from vitne.inspection.published_log import FILE_SECONDS
from vitne.merkle.policy import Policy
from vitne.messaging import topics
from vitne.messaging.kafka import KafkaSettings
from vitne.runtime.arguments import some_seconds
from vitne.runtime.main import explained
from vitne.runtime.objects.folder import replace_file
from vitne.runtime.settings import load
from vitne.runtime.telemetry import start_logging
from vitne.runtime.tls import client_context
from vitne.runtime.unknown_settings import unknown_settings

DESCRIPTION: Final = (
    "Reads the databases of issuer, ledger, registry and portals, all topics and the published status lists, and says "
    "whether they agree: nothing lost, nothing twice, nothing without a reason. Changes nothing. While things are "
    "under way it looks again, for --settle seconds. Where VITNE_LOG_URL is set it walks the published log, too. "
    "Exit code: 0 all agrees, 1 it does not, 2 it could not look, or wrong usage."
)
OTHER: Final = (
    "With `log` as the first argument (or --url, without it) it knows nothing but what is public, and needs none of "
    "the settings: it walks the published log, and compares it with its lists and witnesses (vitne-audit log --help)."
)
#: First argument of the walk with what is public alone.
LOG_COMMAND: Final = "log"
#: Seconds in which what is under way must have arrived.
DEFAULT_SETTLE_SECONDS: Final = 60.0


def main(arguments: list[str]) -> int:
    """Run the command; answers the exit code."""
    if arguments[:1] == [LOG_COMMAND]:
        return log_command.main(arguments[1:])
    # Only that walk has it, and needs it: with it, the first argument may be left out.
    if any(each.partition("=")[0] == URL_OPTION for each in arguments):
        return log_command.main(arguments)
    parser = argparse.ArgumentParser(
        prog="vitne-audit",
        usage="%(prog)s [-h] [--settle SECONDS] [--json]\n       %(prog)s log [-h] --url URL …",
        description="\n\n".join(textwrap.fill(text, 100) for text in (DESCRIPTION, OTHER)),
        epilog=explained(AuditorSettings),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--settle",
        type=some_seconds,
        default=DEFAULT_SETTLE_SECONDS,
        metavar="SECONDS",
        help="how long to look again while something does not agree (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="the report as one JSON object")
    options = parser.parse_args(arguments)
    settings = load(AuditorSettings)
    if faults := settings.faults():
        sys.stderr.writelines(f"{fault}\n" for fault in faults)
        sys.stderr.write(
            "without any of an installation's settings a published log is looked at: vitne-audit log --help\n"
        )
        return NOT_LOOKED
    start_logging(settings.log_level)
    for line in unknown_settings(AuditorSettings, os.environ):
        _tell(line)
    try:
        findings = uvloop.run(audit(settings, options.settle, _tell))
    except VitneError as error:
        sys.stderr.write(f"{error}\n")
        return NOT_LOOKED
    except Exception as error:  # noqa: BLE001 - Python would end with 1, and that says that records disagree
        # Where, and not what: the text of a foreign error may hold an address with a password.
        place = traceback.extract_tb(error.__traceback__)[-1]
        sys.stderr.write(f"{type(error).__name__} in {place.filename}, line {place.lineno}: a fault of the auditor\n")
        return NOT_LOOKED
    if options.json:
        sys.stdout.write(json.dumps(as_json(findings)) + "\n")
    else:
        sys.stdout.writelines(f"{line}\n" for line in as_text(findings))
    if findings.world is None:
        return NOT_LOOKED
    return DISAGREES if findings.disagreements else AGREES


async def audit(settings: AuditorSettings, seconds: float, progress: Callable[[str], None]) -> Findings:
    """Look, and look again for ``seconds`` while something does not agree.

    Raises:
        FailedPrecondition: the files of TLS can't be used; ``BAD_LOG_POLICY``.
        VitneError: the published log can't be walked, and all else agrees.
    """
    # First: nobody waits for what is refused then.
    policy = _read_policy(settings.log_policy_file) if settings.log_policy_file else None
    installation = Installation(
        issuer=settings.issuer_dsn,
        ledger=settings.ledger_dsn,
        registry=settings.registry_dsn,
        portals=settings.portals,
        hubs=settings.hubs,
        lists_served_at=settings.lists_served_at,
        lists_trust=client_context(settings.channel_tls),
        kafka=KafkaSettings(
            settings.kafka_bootstrap_servers, "auditor", groups=False, tls=client_context(settings.kafka_tls)
        ),
    )

    # Of the first look; the others are told as that.
    telling = iter([progress])

    async def look_inside() -> WorldSnapshot:
        return await observe(installation, progress=next(telling, lambda _text: None))

    clock = SystemClock()
    findings = await settle(look_inside, seconds, clock, progress)
    if findings.world is None or policy is None:
        return findings
    timeout = aiohttp.ClientTimeout(total=FILE_SECONDS)
    async with aiohttp.ClientSession(
        timeout=timeout, connector=aiohttp.TCPConnector(ssl=installation.lists_trust or True)
    ) as session:
        try:
            # Compared already with the ledger's database; here with the log as others see it.
            beside = Beside(
                _list_keys(findings.world),
                dict(settings.lists_served_at),
                remembered(settings.log_memory_file, "VITNE_LOG_MEMORY_FILE"),
                named=[each.url for each in findings.world.ledger.lists],
                issued=_issued(findings.world),
            )
            with prefix_named("VITNE_LOG_URL", settings.log_url):
                looked = await look(
                    session,
                    settings.log_url,
                    policy,
                    beside,
                    seconds=seconds,
                    clock=clock,
                    progress=progress,
                )
        except DataLoss as error:
            # What was served contradicts itself.
            told = Disagreement("log.forked", settings.log_url, str(error))
            return replace(findings, disagreements=[*findings.disagreements, told])
        except VitneError as error:
            if not findings.disagreements:
                raise
            progress(f"the published log could not be walked: {error}")
            return findings
    for line in summary(looked):
        progress(f"published log: {line}")
    found = [*findings.disagreements, *looked.disagreements]
    for unknown in dict.fromkeys(looked.unreachable.values()):
        if not found:
            raise unknown
        progress(f"not all lists could be looked at: {unknown}")
    if settings.log_memory_file is not None and not (looked.disagreements or looked.unreachable):
        replace_file(settings.log_memory_file, looked.shown.to_bytes())
    return replace(findings, disagreements=found)


def script() -> None:
    """Entry point of ``vitne-audit``."""
    raise SystemExit(main(sys.argv[1:]))


def _read_policy(file: Path) -> Policy:
    """The log's policy.

    Raises:
        FailedPrecondition: ``BAD_LOG_POLICY``: it can't be read, is none, or is still to be filled in.
    """
    try:
        policy = read_policy(file.read_bytes())
        if not policy.logs:
            raise ValueError("it names no log")
    except (OSError, ValueError, VitneError) as error:
        why = error.message if isinstance(error, VitneError) else getattr(error, "strerror", None) or str(error)
        raise FailedPrecondition(
            "BAD_LOG_POLICY",
            f"{file} can't be used: {why}",
            field="VITNE_LOG_POLICY_FILE",
            rule="a policy (C2SP tlog-policy) with the log's verifier key, before anything is looked at",
            remedy="fill in the keys of the log and its witnesses (in a cluster: the overlay's file log-policy), or "
            "leave out VITNE_LOG_URL and VITNE_LOG_POLICY_FILE, and the published log is not walked",
        ) from error
    return policy


def _issued(world: WorldSnapshot) -> dict[bytes, str]:
    """What the issuer knows to have issued, in further formats and what a restore lost, too, by artefacts' digests."""
    known = {each.digest: str(each.id) for each in world.issuer.credentials if each.digest}
    known |= {digest: str(credential) for digest, credential in world.issuer.artefacts.items()}
    return known | {each.digest: str(each.credential or b64url(each.digest)) for each in world.issuer.lost}


def _list_keys(world: WorldSnapshot) -> dict[str, PublicKey]:
    """The keys for status lists that the registry's topic names, by thumbprint."""
    facts = world.topics.get(topics.REGISTRY_FACTS)
    return status_list_keys(record.value for record in facts.records) if facts else {}


def _tell(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

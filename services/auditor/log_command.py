"""``vitne-audit log``: walks a published log with what is public; do it, its lists and its witnesses agree?"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Final

import aiohttp

from services.auditor.exit_codes import AGREES, DISAGREES, NOT_LOOKED
from services.auditor.log_arguments import copy_in, list_key, log_address, log_key, policy_of, prefix_named, remembered
from services.auditor.log_look import Beside, Looked, look
from services.auditor.log_report import as_json, as_text
from vitne.clock import SystemClock
from vitne.errors import DataLoss, InvalidArgument, VitneError
from vitne.inspection.lists import registered_list_keys
from vitne.inspection.published_log import FILE_SECONDS
from vitne.merkle.policy import Policy
from vitne.runtime.arguments import parsed, served_elsewhere, some_seconds, thumbprint, web_address
from vitne.runtime.names import DEFAULT_REGISTRY_URI
from vitne.runtime.objects.folder import FolderObjects, replace_file

DESCRIPTION: Final = (
    "Walks a log (C2SP tlog-tiles) from its first entry, and those that followed it: recomputes every hash, tile and "
    "root, compares them with what was remembered and with what witnesses cosigned, and the status lists with them. "
    "Knows nothing but what is public, changes nothing but the file of --remember and the folder of --mirror."
)
EPILOG: Final = "Exit code: 0 all agrees, 1 it does not, 2 it could not look or wrong usage."
#: Says where the first log is.
URL_OPTION: Final = "--url"
#: Seconds in which what a list shows must have come into a checkpoint.
DEFAULT_SETTLE_SECONDS: Final = 30.0


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    made = argparse.ArgumentParser(prog="vitne-audit log", description=DESCRIPTION, epilog=EPILOG)
    made.add_argument(
        URL_OPTION,
        required=True,
        type=log_address,
        metavar="URL",
        help="the first log's prefix, below which /checkpoint and /tile/ are",
    )
    trusted = made.add_mutually_exclusive_group(required=True)
    trusted.add_argument(
        "--policy", type=Path, metavar="FILE", help="policy (C2SP tlog-policy): the log's key, witnesses, quorum"
    )
    trusted.add_argument(
        "--key", type=log_key, metavar="VKEY", help="the log's verifier key, where no witness is asked for"
    )
    made.add_argument("--remember", type=Path, metavar="FILE", help="holds what was believed the last time")
    made.add_argument(
        "--mirror",
        type=Path,
        metavar="FOLDER",
        help="keep a copy of the log there that any HTTP server can serve; what never changes and is there is not "
        "fetched again",
    )
    made.add_argument(
        "--list-key", action="append", type=Path, default=[], metavar="FILE", help="public JWK that signs status lists"
    )
    made.add_argument(
        "--list",
        action="append",
        type=web_address,
        default=[],
        metavar="URL",
        help="a status list that is compared, too, though no leaf may name it: as a credential has it; repeatable",
    )
    made.add_argument(
        "--trust-list",
        type=web_address,
        metavar="URL",
        help="the registry's signed list, which names these keys; with --registry-key",
    )
    made.add_argument(
        "--registry-key",
        type=thumbprint,
        metavar="THUMBPRINT",
        help="RFC 7638 thumbprint of the key that signs it",
    )
    made.add_argument("--registry-uri", default=DEFAULT_REGISTRY_URI, metavar="URI", help="(default: %(default)s)")
    made.add_argument(
        "--served-at",
        action="append",
        type=served_elsewhere,
        default=[],
        metavar="PREFIX=BASE",
        help="where lists are really fetched",
    )
    made.add_argument(
        "--settle", type=some_seconds, default=DEFAULT_SETTLE_SECONDS, metavar="SECONDS", help="(%(default)s)"
    )
    made.add_argument("--json", action="store_true", help="the report as one JSON object")
    return made


def main(arguments: Sequence[str]) -> int:
    """Run the command; answers the exit code."""
    asked = parsed(parser(), arguments)
    try:
        policy = Policy.of_log(asked.key) if asked.key is not None else policy_of(asked.policy)
        if bool(asked.trust_list) is not bool(asked.registry_key):
            raise InvalidArgument(
                "OPTIONS_BELONG_TOGETHER",
                "the one says where the registry's list is, the other who signs it",
                field="--registry-key" if asked.trust_list else "--trust-list",
                rule="--trust-list and --registry-key go together",
                remedy="give both, or neither",
            )
        keys = {key.key_id: key for key in map(list_key, asked.list_key)}
        beside = Beside(keys, dict(asked.served_at), remembered(asked.remember, "--remember"), named=asked.list)
        looked = asyncio.run(_run(asked, policy, beside, copy_in(asked.mirror)))
        if asked.remember and not (looked.disagreements or looked.unreachable):
            replace_file(asked.remember, looked.shown.to_bytes())
    except DataLoss as error:
        # What was served contradicts itself: nothing that a second look would mend.
        sys.stderr.write(f"{error}\n")
        return DISAGREES
    except (VitneError, OSError, ValueError, ArithmeticError) as error:
        sys.stderr.write(f"{error}\n")
        return NOT_LOOKED
    sys.stdout.write(json.dumps(as_json(looked)) + "\n" if asked.json else as_text(looked))
    # The remedy is the same for all, which the report names.
    sys.stderr.writelines(f"{each}\n" for each in islice(looked.unreachable.values(), 1))
    if looked.disagreements:
        return DISAGREES
    return NOT_LOOKED if looked.unreachable else AGREES


async def _run(asked: argparse.Namespace, policy: Policy, beside: Beside, copy: FolderObjects | None) -> Looked:
    clock, timeout = SystemClock(), aiohttp.ClientTimeout(total=FILE_SECONDS)
    if asked.trust_list:
        # Plain http goes to loopback only, and not at all in an installation's environment.
        development = os.environ.get("VITNE_ENVIRONMENT", "").lower() != "production"
        registered = await registered_list_keys(
            asked.trust_list, asked.registry_key, asked.registry_uri, clock, development=development
        )
        beside = replace(beside, keys={**beside.keys, **registered})
    async with aiohttp.ClientSession(timeout=timeout) as session:
        with prefix_named(URL_OPTION, asked.url):
            return await look(
                session,
                asked.url,
                policy,
                beside,
                copy=copy,
                seconds=asked.settle,
                clock=clock,
                progress=lambda text: print(text, file=sys.stderr),  # noqa: T201 - this is a command
            )

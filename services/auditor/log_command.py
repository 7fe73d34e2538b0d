"""``vitne-audit log``: walks a published log with what is public; do it, its lists and its witnesses agree?"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp

from vitne.audit.agreement import Disagreement
from vitne.audit.log_contents import Forms, LogContents, SeenList
from vitne.clock import Clock, SystemClock
from vitne.credentials.jose import PublicKey, parse_public_jwk, strict_json
from vitne.errors import DataLoss, InvalidArgument, Unavailable, VitneError
from vitne.inspection.lists import fetch_logged, fetch_seen, registered_list_keys
from vitne.inspection.log_memory import LogMemory
from vitne.inspection.mirror import Mirror
from vitne.inspection.published_log import FILE_SECONDS, Fetch, Unanswered, over_http, witness_marks
from vitne.inspection.published_logs import PublishedLogs
from vitne.merkle.notes import NoteKey
from vitne.merkle.policy import Policy
from vitne.runtime.argument_files import read_file, told_of
from vitne.runtime.arguments import parsed, served_elsewhere, some_seconds, thumbprint, web_address
from vitne.runtime.names import DEFAULT_REGISTRY_URI
from vitne.runtime.objects import Objects
from vitne.runtime.objects.folder import FolderObjects, replace_file

DESCRIPTION: Final = (
    "Walks a log (C2SP tlog-tiles) from its first entry, and those that followed it: recomputes every hash, tile and "
    "root, compares them with what was remembered and with what witnesses cosigned, and the status lists with them. "
    "Knows nothing but what is public, changes nothing but the file of --remember and the folder of --mirror."
)
EPILOG: Final = "Exit code: 0 all agrees, 1 it does not, 2 it could not look or wrong usage."
AGREES: Final = 0
DISAGREES: Final = 1
NOT_LOOKED: Final = 2
#: Says where the first log is.
URL_OPTION: Final = "--url"
#: What stands in the place of a key in policies that are to be filled in (deploy/k8s/overlays).
PLACEHOLDER: Final = "+REPLACE+ME"
#: Reasons by which what is served below an address is no log.
_NO_LOG: Final = ("LOG_UNREACHABLE", "BAD_NOTE")
#: Seconds in which what a list shows must have come into a checkpoint.
DEFAULT_SETTLE_SECONDS: Final = 30.0
#: Seconds between two looks.
LOOK_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look came to.

    Attributes:
        shown: what was walked to, to be remembered.
        leaves: entries of the log, and of those that it followed.
        issued: issuances among them.
        lists: status lists of which some form could be read, and was compared.
        logged: of how many of them also the version that the log has last, by its digest.
        looked_at: whether lists were looked at; without a key for them nobody can.
        witnesses: names of those that were asked, and why one said nothing; empty where it answered.
        disagreements: all of them.
        unreachable: why of some lists, by URL, nobody knows anything: where they are fetched, nothing answers.
    """

    shown: LogMemory = field(repr=False)
    leaves: int
    issued: int
    lists: int
    logged: int
    looked_at: bool
    witnesses: dict[str, str]
    disagreements: list[Disagreement]
    unreachable: dict[str, Unavailable]


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    made = argparse.ArgumentParser(prog="vitne-audit log", description=DESCRIPTION, epilog=EPILOG)
    made.add_argument(
        URL_OPTION,
        required=True,
        type=_prefix,
        metavar="URL",
        help="the first log's prefix, below which /checkpoint and /tile/ are",
    )
    trusted = made.add_mutually_exclusive_group(required=True)
    trusted.add_argument(
        "--policy", type=Path, metavar="FILE", help="policy (C2SP tlog-policy): the log's key, witnesses, quorum"
    )
    trusted.add_argument(
        "--key", type=_log_key, metavar="VKEY", help="the log's verifier key, where no witness is asked for"
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
        policy = Policy.of_log(asked.key) if asked.key is not None else _policy(asked.policy)
        if bool(asked.trust_list) is not bool(asked.registry_key):
            raise InvalidArgument(
                "OPTIONS_BELONG_TOGETHER",
                "the one says where the registry's list is, the other who signs it",
                field="--registry-key" if asked.trust_list else "--trust-list",
                rule="--trust-list and --registry-key go together",
                remedy="give both, or neither",
            )
        keys = [_list_key(file) for file in asked.list_key]
        _require_usable(asked.remember, asked.mirror)
        looked = asyncio.run(_run(asked, policy, {key.key_id: key for key in keys}, dict(asked.served_at)))
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


async def _run(
    asked: argparse.Namespace, policy: Policy, keys: dict[str, PublicKey], served_at: dict[str, str]
) -> Looked:
    clock, timeout = SystemClock(), aiohttp.ClientTimeout(total=FILE_SECONDS)
    if asked.trust_list:
        # Plain http goes to loopback only, and not at all in an installation's environment.
        development = os.environ.get("VITNE_ENVIRONMENT", "").lower() != "production"
        keys = keys | await registered_list_keys(
            asked.trust_list, asked.registry_key, asked.registry_uri, clock, development=development
        )
    async with aiohttp.ClientSession(timeout=timeout) as session:
        with prefix_named(URL_OPTION, asked.url):
            return await look(
                session,
                asked.url,
                policy,
                keys=keys,
                served_at=served_at,
                named=asked.list,
                memory=asked.remember,
                copy=FolderObjects(asked.mirror) if asked.mirror else None,
                seconds=asked.settle,
                clock=clock,
                progress=lambda text: print(text, file=sys.stderr),  # noqa: T201 - this is a command
            )


async def look(
    session: aiohttp.ClientSession,
    url: str,
    policy: Policy,
    *,
    keys: dict[str, PublicKey],
    served_at: dict[str, str],
    named: Sequence[str] = (),
    issued: Mapping[bytes, str] = MappingProxyType({}),
    memory: Path | None,
    copy: Objects | None = None,
    seconds: float,
    clock: Clock,
    progress: Callable[[str], None] = lambda _text: None,
) -> Looked:
    """Walk the log and those that followed it; then fetch the lists that they name, and walk on to what these show.

    Args:
        session: fetches.
        url: the first log's prefix.
        policy: what its checkpoints need.
        keys: of status lists, by thumbprint; without any, lists are not compared.
        served_at: where addresses of lists that begin so are really fetched.
        named: lists that are compared though no leaf may name them.
        issued: what an issuer knows to have issued, by digest, with what to call it.
        memory: file of what is remembered.
        copy: where a copy of the logs is kept; its checkpoints are set where the logs agree. None: nowhere.
        seconds: how long lists and log may be on their way to each other.
        clock: of the pauses.
        progress: is told how far the walk is.

    Raises:
        VitneError: there is nothing to look at.
    """
    fetch = over_http(session, url)
    mirror = None if copy is None else await Mirror.of(fetch, copy, policy)

    async def walked() -> tuple[Looked, list[Disagreement]]:
        return await _walked(
            session,
            mirror.fetch if mirror else fetch,
            policy,
            keys=keys,
            served_at=served_at,
            named=named,
            issued=issued,
            memory=memory,
            mirror=mirror,
            seconds=seconds,
            clock=clock,
            progress=progress,
        )

    looked, own = await walked()
    if mirror and mirror.relied and own:
        # By what is kept, or by the log itself? It is walked once more, and nothing is taken from the copy.
        progress("something does not agree: once more, without what is kept")
        mirror.distrust()
        again, own_again = await walked()
        if own_again or mirror.differs:
            looked, own = again, own_again
    if mirror and not own:
        looked.disagreements.extend(mirror.faults)
        await mirror.conclude(looked.shown)
        progress(f"the copy has {looked.leaves} leaves; {mirror.fetched} files were fetched")
    return looked


async def _walked(
    session: aiohttp.ClientSession,
    fetch: Fetch,
    policy: Policy,
    *,
    keys: dict[str, PublicKey],
    served_at: dict[str, str],
    named: Sequence[str],
    issued: Mapping[bytes, str],
    memory: Path | None,
    mirror: Mirror | None,
    seconds: float,
    clock: Clock,
    progress: Callable[[str], None],
) -> tuple[Looked, list[Disagreement]]:
    """Walk the logs once; answers also what of the disagreements is the logs' own."""
    logs = PublishedLogs(fetch, policy)
    await logs.read_statements()
    known = LogMemory.read(memory)
    copied = mirror.known if mirror else LogMemory()
    marks, silent = await witness_marks(session, logs.policy)
    asked = {name: silent.get(name, "") for name, key in policy.witnesses.items() if key.name in policy.urls}
    logs.hold_to([*marks, *known.marks(logs.policy), *(mirror.marks if mirror else ())])
    # After the witnesses were asked: what they saw is shown by now, or soon.
    await logs.walk_on(progress)
    contents = logs.contents
    started = clock.monotonic()
    kept: dict[str, SeenList] = {}
    told = False
    while True:
        lists: dict[str, Forms] = {}
        unreachable: dict[str, Unavailable] = {}
        # Before the lists: however long it takes to fetch them and to walk on, none of them looks older for it.
        fetched = clock.now()
        if keys:
            urls = sorted(contents.changes.keys() | contents.versions.keys() | set(named))
            lists, unreachable = await fetch_seen(session, urls, keys.get, served_at)
        # After the lists: what they show has to be in it.
        await logs.walk_on(progress)
        own = [*logs.finish()]
        for before in (known, copied):
            # A log that is there, and not believed, is not missing: it is told what keeps it from being believed.
            own += [
                each
                for each in before.compare(logs.shown, logs.policy)
                if each not in own and not (each.kind == "log.missing" and each.subject in logs.walked)
            ]
        kept = await _fetch_logged(session, contents, lists, kept, fetched, keys=keys, served_at=served_at)
        among = [
            *(contents.check_lists(lists, fetched, unknown=unreachable) if keys else ()),
            *(each for url, seen in kept.items() if seen != lists[url][""] for each in contents.check_list(url, seen)),
            *contents.check_issued(issued),
        ]
        # What is wrong with the log stays so. But while it is behind, it is not known what is, and what will have come.
        behind = logs.behind()
        waits = behind or (not own and (among or unreachable))
        waited = clock.monotonic() - started
        if not waits or waited >= seconds:
            break
        if not told:
            progress(f"not all agrees yet, or answers: looking again for up to {seconds:.0f} s (--settle)")
            told = True
        await clock.sleep(LOOK_SECONDS)
    own += behind
    unheard = [Disagreement("witness.silent", name, why) for name, why in asked.items() if why]
    found = [*own, *among, *unheard]
    read = sum(any(isinstance(form, SeenList) for form in forms.values()) for forms in lists.values())
    compared = read, len(kept), bool(keys)
    return Looked(logs.shown, contents.leaves, contents.issued, *compared, asked, found, unreachable), own


async def _fetch_logged(
    session: aiohttp.ClientSession,
    contents: LogContents,
    lists: Mapping[str, Forms],
    kept: Mapping[str, SeenList],
    now: datetime,
    *,
    keys: Mapping[str, PublicKey],
    served_at: Mapping[str, str],
) -> dict[str, SeenList]:
    """Of each list the version that was logged last, by URL, where it is what is served, or can be fetched.

    Args:
        session: fetches.
        contents: of the log.
        lists: as they are published.
        kept: what was found the last time.
        now: when they were fetched.
        keys: of status lists, by thumbprint.
        served_at: where addresses of lists that begin so are really fetched.
    """
    found = {}
    for url, forms in lists.items():
        newest = forms[""]
        if isinstance(newest, str) or url not in contents.versions:
            continue
        for seen in (newest, kept.get(url)):
            if seen is not None and contents.is_logged(url, seen.digest):
                found[url] = seen
                break
        else:
            # Changes are logged in about the order of their dates; and no list is newer than what is published.
            there_by = contents.there_by(url, now) or newest.issued_at
            by = min(there_by + timedelta(seconds=1), newest.issued_at)
            digest = contents.versions[url].digest
            past = await fetch_logged(session, url, digest, by, find_key=keys.get, served_at=served_at)
            if past is not None:
                found[url] = past
    return found


def as_json(looked: Looked) -> dict[str, Any]:
    """The report for machines."""
    return {
        "agrees": not (looked.disagreements or looked.unreachable),
        "leaves": looked.leaves,
        "issued": looked.issued,
        "lists": looked.lists,
        "logged_lists": looked.logged,
        "witnesses": looked.witnesses,
        "disagreements": [asdict(each) for each in looked.disagreements],
        "unreachable": {url: error.message for url, error in looked.unreachable.items()},
    }


def summary(looked: Looked) -> list[str]:
    """What was walked, compared and asked, a line each."""
    lines = [f"{looked.leaves} leaves, {looked.issued} issuances, {looked.lists} lists compared"]
    if looked.lists:
        lines[0] += f", of {looked.logged} of them the version that was logged last"
    contradicting = {each.subject for each in looked.disagreements}
    for name, why in looked.witnesses.items():
        saw = "saw another log" if f"witness {name}" in contradicting else "saw the same log"
        lines.append(f"witness {name}: {why or saw}")
    return lines


def as_text(looked: Looked) -> str:
    """The report for people."""
    lines = summary(looked)
    lines += [str(each) for each in looked.disagreements] or [_verdict(looked)]
    lines += [f"not looked at: {url}: {error.message}" for url, error in looked.unreachable.items()]
    return "".join(f"{line}\n" for line in lines)


def _verdict(looked: Looked) -> str:
    """What agrees, where nothing disagrees; of what was not looked at, that it was not."""
    agreeing, but = ["the log"], []
    if looked.lists:
        agreeing.append("those of its lists that answered" if looked.unreachable else "its lists")
    elif looked.unreachable:
        but.append("its lists could not be looked at")
    elif looked.looked_at:
        but.append("it names no list")
    else:
        but.append("its lists were not looked at (--trust-list or --list-key)")
    if looked.witnesses:
        agreeing.append("its witnesses")
    else:
        but.append("no witness was asked (--policy with their addresses)")
    *first, last = agreeing
    agree = f"{', '.join(first)} and {last} agree" if first else f"{last} agrees with itself"
    return "; ".join([agree, *but])


@contextmanager
def prefix_named(option: str, url: str) -> Iterator[None]:
    """Say of what is no log where its address comes from, and how that is mended.

    Args:
        option: or variable, that holds it.
        url: the first log's prefix.

    Raises:
        Unavailable, InvalidArgument: as they come; ``LOG_UNREACHABLE`` and ``BAD_NOTE`` with option and address.
    """
    try:
        yield
    except (Unavailable, InvalidArgument) as error:
        if error.reason not in _NO_LOG:
            raise
        # Where nobody answers, it does not matter which file was asked for first.
        named = "" if isinstance(error, Unanswered) else error.field
        place = named if "://" in named else f"{url.rstrip('/')}/{named}".rstrip("/")
        raise type(error)(
            error.reason,
            f"{place}: {error.message}",
            field=option,
            rule="the first log's prefix, below which checkpoint and tile/ are served (C2SP tlog-tiles)",
            remedy=f"if the log is served elsewhere, give {option} that address (its operator publishes it); if it is "
            "served there, try again later, or ask its operator",
        ) from error


def _prefix(text: str) -> str:
    try:
        parts = urlsplit(text)
        _ = parts.port  # which is read only then
        served = parts.scheme in ("http", "https") and parts.hostname and not parts.query and not parts.fragment
    except ValueError:
        served = False
    if not served:
        raise argparse.ArgumentTypeError(
            f"{text} is no address that can be fetched from; rule: http:// or https:// with host and path, the first "
            "log's prefix; remedy: give the address that the log's operator publishes; of a folder, serve it "
            "first: python -m http.server --directory FOLDER"
        )
    return text


def _log_key(text: str) -> NoteKey:
    try:
        return NoteKey.parse(text)
    except InvalidArgument as error:
        raise argparse.ArgumentTypeError(f"{error.message}; rule: {error.rule}; remedy: {error.remedy}") from error


def _policy(file: Path) -> Policy:
    with told_of(file, "--policy"):
        return read_policy(file.read_bytes().decode("utf-8", "replace"))


def read_policy(text: str) -> Policy:
    """A policy whose keys are filled in.

    Args:
        text: of a policy's file (C2SP tlog-policy).

    Raises:
        InvalidArgument: ``BAD_LOG_POLICY``, also where it still holds :data:`PLACEHOLDER`; ``BAD_NOTE_KEY``.
    """
    for number, line in enumerate(text.splitlines(), 1):
        if PLACEHOLDER in line and not line.lstrip().startswith("#"):
            raise InvalidArgument(
                "BAD_LOG_POLICY",
                f"keys are still to be filled in: line {number} says {PLACEHOLDER}",
                rule="a policy (C2SP tlog-policy) with the log's verifier key",
                remedy="fill in the keys that the log's operator and its witnesses publish",
            )
    return Policy.parse(text)


def _require_usable(memory: Path | None, mirror: Path | None) -> None:
    """Before anything is looked at: what comes of it has to be kept there."""
    if memory is not None:
        if not memory.parent.is_dir():  # one that is misspelt is not made
            raise InvalidArgument(
                "FOLDER_MISSING",
                f"there is no folder {memory.parent}",
                field="--remember",
                rule="a file in a folder that is there; the file itself is made",
                remedy="make the folder, or name a file elsewhere",
            )
        with told_of(memory, "--remember"):
            LogMemory.read(memory)
    if mirror is not None:
        try:
            mirror.mkdir(exist_ok=True)  # and no folder above it: that would be misspelt
        except OSError as error:
            raise InvalidArgument(
                "FOLDER_MISSING",
                f"{mirror} is no folder, and can't be made: {error.strerror}",
                field="--mirror",
                rule="a folder that is there, or that can be made in one that is there",
                remedy="make the folder, or name another",
            ) from error


def _list_key(file: Path) -> PublicKey:
    data = read_file(file, "--list-key")
    try:
        return parse_public_jwk(strict_json(data))
    except VitneError as error:
        raise InvalidArgument(
            "BAD_LIST_KEY",
            f"{file} holds no public key: {error.message}",
            field="--list-key",
            rule="a public JWK (RFC 7517): a JSON object of one key",
            remedy="write one of the keys there that the registry shows of the operator, for status lists",
        ) from error

"""Reads a published log as anybody can: over HTTP or from files, from its first entry to its checkpoint."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import chain, count, islice
from typing import Final

import aiohttp

from vitne.audit.log_walk import LogWalk, Mark
from vitne.errors import InvalidArgument, NotFound, Unavailable, VitneError
from vitne.merkle.policy import LOG_KEY_ENDED, Policy
from vitne.merkle.resources import CHECKPOINT_PATH, Resource, resources_at
from vitne.runtime.bodies import read_bounded

#: Files that are asked for at once.
CONCURRENCY: Final = 16
#: Seconds that one file may take.
FILE_SECONDS: Final = 30.0
#: Largest file: a bundle of 256 entries of the most that its length allows.
MAX_FILE_BYTES: Final = 256 * (1 << 16)
#: Bundles between two words of progress.
PROGRESS_EVERY: Final = 256

#: Bundles in a row that are served neither as entries nor as hashes, after which nothing more is looked for.
MOST_MISSING: Final = 1024

#: Why a checkpoint of another log, however well signed, is not walked to.
ANOTHER_LOG: Final = "ANOTHER_LOG"


class Unanswered(Unavailable):
    """Nobody answers at an address, or not in time: whether the file is there, nobody knows."""


class Unconnected(Unanswered):
    """Nothing takes a connection there, for whatever file."""


#: Fetches a file by its path below the log's prefix; None: it is not there.
Fetch = Callable[[str], Awaitable[bytes | None]]


async def walk_on(
    fetch: Fetch,
    policy: Policy,
    walk: LogWalk,
    progress: Callable[[str], None] = lambda _text: None,
    *,
    origin: str | None = None,
) -> str:
    """Walk a log on to its present checkpoint; answers that one, the signed note.

    Args:
        fetch: of the log's files.
        policy: what a checkpoint needs to count.
        walk: takes them.
        progress: is told how far the walk is.
        origin: of the log; None: whichever of the policy's is there.

    Raises:
        InvalidArgument: ``ANOTHER_LOG``.
        Unavailable: ``LOG_UNREACHABLE``: there is no checkpoint.
        VitneError: as :meth:`Policy.open`.
    """
    note = await fetch(CHECKPOINT_PATH)
    if note is None:
        raise no_checkpoint()
    checkpoint = policy.open(note).checkpoint
    if origin is not None and checkpoint.origin != origin:
        raise InvalidArgument(
            ANOTHER_LOG,
            f"the checkpoint of {checkpoint.origin} is served in its place",
            field=CHECKPOINT_PATH,
            rule="C2SP tlog-checkpoint: the first line is the log's origin",
            remedy="keep what was served, which is signed, and ask the log's operator",
        )
    walk.aim(checkpoint)
    # As they come, since how many there are is what the checkpoint says, whatever is behind it.
    resources = resources_at(checkpoint.size, walk.size) if checkpoint.size > walk.size else iter(())
    above: list[Resource] = []
    missing = 0
    for at in count(step=CONCURRENCY):
        batch = list(islice(resources, CONCURRENCY))
        bundles = [each for each in batch if each.level is None]
        above += [each for each in batch if each.level]
        if not bundles:
            break
        read = await asyncio.gather(*(_beside(fetch, bundle) for bundle in bundles))
        for bundle, (entries, tile) in zip(bundles, read, strict=True):
            walk.take(bundle, entries, tile)
        missing = missing + len(read) if all(each == (None, None) for each in read) else 0
        if missing >= MOST_MISSING:
            walk.give_up()  # there may be no end of it
            return note.decode()
        if at % PROGRESS_EVERY == 0:
            progress(f"{walk.size} of {checkpoint.size} leaves")
    tiles = chain(above, (each for each in resources if each.level))
    while some := list(islice(tiles, CONCURRENCY)):
        for tile_, content in zip(some, await asyncio.gather(*(fetch(each.path) for each in some)), strict=True):
            walk.check_tile(tile_, content)
    return note.decode()


async def _beside(fetch: Fetch, bundle: Resource) -> tuple[bytes | None, bytes | None]:
    tile = Resource(0, bundle.number, bundle.width)
    return await fetch(bundle.path), await fetch(tile.path)


async def witness_marks(session: aiohttp.ClientSession, policy: Policy) -> tuple[list[Mark], dict[str, str]]:
    """What the policy's witnesses say that they saw of its logs, and why others said nothing, by their names.

    Only a policy that names the witnesses' addresses can be followed to them.
    """
    marks, silent = [], {}
    for name, key in policy.witnesses.items():
        url = policy.urls.get(key.name)
        if url is None:
            continue
        for origin in dict.fromkeys(log.name for log in policy.logs):
            address = f"{url.rstrip('/')}/{hashlib.sha256(origin.encode()).hexdigest()}/checkpoint"
            try:
                note = await fetch_file(session, address)
                if note is None:
                    raise NotFound("LOG_UNKNOWN", f"it never cosigned a checkpoint of {origin}")
                # Its own word is enough here: what it saw, whoever else did.
                alone = replace(policy, logs=[log for log in policy.logs if log.name == origin], quorum=name)
                seen = alone.open(note)
                marks.append(Mark(f"witness {name}", seen.checkpoint))
                if seen.log in policy.lineage.followed and origin not in policy.lineage.closed:
                    raise InvalidArgument(LOG_KEY_ENDED, f"it cosigned {origin} last under a key that was replaced")
            except Unanswered as error:
                silent[name] = f"WITNESS_UNREACHABLE: {error.field}: {error.message}"
            except VitneError as error:
                silent[name] = f"{error.reason}: {error.message}{_untold(error, origin, policy)}"
    return marks, silent


def _untold(error: VitneError, origin: str, policy: Policy) -> str:
    """What helps a witness that does not know the log, or the key, that followed; nothing for any other trouble."""
    if error.reason not in ("LOG_UNKNOWN", LOG_KEY_ENDED) or not policy.lineage.followed:
        return ""
    newest = [log for log in policy.logs if log.name == origin][-1]
    return (
        f". Its operator has to be told of the key that followed: --log {newest.text}, and where one log's key was "
        "replaced --succession with the statement (docs/operating/log.md)"
    )


async def fetch_file(session: aiohttp.ClientSession, url: str, *, accept: str = "*/*") -> bytes | None:
    """A file over HTTP; None: it is not there.

    Args:
        session: fetches.
        url: of the file.
        accept: the media type that is asked for.

    Raises:
        Unavailable: ``LOG_UNREACHABLE``; as :class:`Unanswered` where there was no answer.
    """
    try:
        # Bundles SHOULD be compressed, and clients SHOULD take both (C2SP tlog-tiles, Log Entries).
        headers = {"Accept": accept, "Accept-Encoding": "gzip, identity"}
        async with session.get(url, headers=headers, allow_redirects=False) as answer:
            if answer.status == 404:
                return None
            if answer.status != 200:
                raise _unreachable(url, f"it answered {answer.status}")
            body = await read_bounded(answer, MAX_FILE_BYTES)
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        why = "no answer came in time" if isinstance(error, TimeoutError) else "nobody answers there"
        kind = Unconnected if isinstance(error, aiohttp.ClientConnectorError) else Unanswered
        raise _unreachable(url, why, kind) from error
    if body is None:
        raise _unreachable(url, f"it is larger than {MAX_FILE_BYTES} bytes")
    return body


def no_checkpoint() -> Unavailable:
    """``LOG_UNREACHABLE``: what answers there is no log."""
    return Unavailable(
        "LOG_UNREACHABLE",
        "there is no checkpoint where the log is to be",
        field=CHECKPOINT_PATH,
        rule="C2SP tlog-tiles, Checkpoints: /checkpoint below the first log's prefix",
        remedy="compare the address with the one at which the log's operator publishes it; of a log that has just "
        "begun, wait a moment",
    )


def _unreachable(url: str, why: str, kind: type[Unavailable] = Unavailable) -> Unavailable:
    return kind(
        "LOG_UNREACHABLE",
        f"a file can't be fetched: {why}",
        field=url,
        rule="static files over HTTP below the log's prefix (C2SP tlog-tiles)",
        remedy="compare the address with the one at which it is published, and look whether it is up",
    )


def over_http(session: aiohttp.ClientSession, prefix: str) -> Fetch:
    """Fetches a log's files from below an address."""

    async def fetch(path: str) -> bytes | None:
        return await fetch_file(session, f"{prefix.rstrip('/')}/{path}")

    return fetch

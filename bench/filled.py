"""A portal's database with as many learners as a country has: made up, sealed by the portal's own code, copied in."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Final

from bench.cases.pure import issue, sample
from bench.world import strangers
from services.portal.sealing import DataKey, PortalKeys
from vitne.canonical import b64url
from vitne.identifiers import LearnerId
from vitne_api.credential.v1 import credential_pb2

#: Bytes of pseudonyms and handles (RECORDS: Pseudonyms and handles).
_NAME_BYTES: Final = 32
#: Achievements that are there to be gathered: more than any process remembers.
ACHIEVEMENTS: Final = 2_000
#: Rows that are copied in one transaction.
BATCH: Final = 10_000
_STATUS: Final = "valid"
_COLUMNS: Final = (
    "handle",
    "pseudonym",
    "kind",
    "provider",
    "content",
    "status",
    "fetched_at",
    "statuses",
    "statuses_at",
)
_FIRST: Final = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Template:
    """A credential as its issuer signed it, and what its notice would tell of it."""

    kind: str
    provider: str
    artefact: str


@dataclass(frozen=True, slots=True)
class Size:
    """How many learners, and how many credentials each of them has."""

    learners: int
    each: int

    @property
    def credentials(self) -> int:
        """Of all of them."""
        return self.learners * self.each


def templates(published: Sequence[str], count: int = ACHIEVEMENTS) -> list[Template]:
    """Credentials for different achievements, each tenth for one that the registry knows.

    Args:
        published: ids of those.
        count: how many.
    """
    credential, signer = sample()
    made = []
    for number in range(count):
        achievement = credential_pb2.Achievement()
        achievement.CopyFrom(credential.achievement)
        known = number % 10 == 0 and published
        achievement.id = published[number // 10 % len(published)] if known else f"{achievement.id[:-6]}{number:06x}"
        achievement.title[0].text = f"{achievement.title[0].text} {number}"
        one = replace(
            credential,
            achievement=achievement,
            awarded_on=(_FIRST + timedelta(days=number % 300)).date(),
        )
        made.append(Template(achievement.kind, achievement.provider, issue(one, signer)))
    return made


def learners(count: int) -> Iterator[LearnerId]:
    """Synthetic learners, the same ones each time."""
    return (LearnerId(one.scheme, one.value) for one in islice(strangers(), count))


async def fill(connection: Any, keys: PortalKeys, choice: Sequence[Template], size: Size, seconds: float) -> bool:
    """Copy in what is missing; whether all is there within the time. Called again it goes on.

    Credentials come in rounds, one for each learner, as they do over the years: hers lie far from one another.

    Args:
        connection: to the database, which has the portal's tables.
        keys: of the portal that is to read it.
        choice: what is gathered.
        size: of it.
        seconds: that it may take.
    """
    deadline = time.monotonic() + seconds
    count = size.learners
    await _subscribe(connection, keys, count)
    rows = await connection.fetch("SELECT pseudonym, wrapped_key FROM subscriber ORDER BY pseudonym LIMIT $1", count)
    owners = [(row["pseudonym"], keys.data_key(row["wrapped_key"], row["pseudonym"])) for row in rows]
    there = int(await connection.fetchval("SELECT count(*) FROM credential"))
    for begin in range(there, size.credentials, BATCH):
        if time.monotonic() > deadline:
            return False
        numbers = range(begin, min(begin + BATCH, size.credentials))
        records = await asyncio.to_thread(lambda: [_row(owners[n % count], choice, n) for n in numbers])  # noqa: B023
        await connection.copy_records_to_table("credential", records=records, columns=_COLUMNS)
    return True


async def _subscribe(connection: Any, keys: PortalKeys, count: int) -> None:
    """Have so many learners registered."""
    known = {row["lookup"] for row in await connection.fetch("SELECT lookup FROM subscriber")}
    missing = [lookup for one in learners(count) if (lookup := keys.lookup(one)) not in known]
    pseudonyms = [b64url(secrets.token_bytes(_NAME_BYTES)) for _ in missing]
    await connection.copy_records_to_table(
        "subscriber",
        records=[
            (pseudonym, keys.new_data_key(pseudonym), lookup, _FIRST, _FIRST)
            for pseudonym, lookup in zip(pseudonyms, missing, strict=True)
        ],
        columns=("pseudonym", "wrapped_key", "lookup", "created_at", "registered_at"),
    )


def _row(owner: tuple[str, DataKey], choice: Sequence[Template], number: int) -> tuple[Any, ...]:
    """One credential as the fetcher would have kept it."""
    pseudonym, key = owner
    one, handle = random.choice(choice), b64url(secrets.token_bytes(_NAME_BYTES))
    at = _FIRST + timedelta(seconds=number)
    content = key.seal(one.artefact.encode(), "credential", handle, "content")
    return handle, pseudonym, one.kind, one.provider, content, _STATUS, at, [_STATUS], [at]

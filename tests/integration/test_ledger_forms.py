"""Whoever reads a list while it changes sees a state that was, never an earlier one than before, in any form."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import aiohttp
import asyncpg
import pytest

from services.ledger.transitions import Change
from tests.integration.ledger_harness import BASE_URL, Ledger, make_ledger, request, served
from vitne.canonical import from_b64url
from vitne.clock import SystemClock
from vitne.credentials.bitstring_status_list import decode, is_set
from vitne.credentials.jose import parse_public_jwk, strict_json
from vitne.credentials.status_list import INVALID, SUSPENDED, VALID, verify_token
from vitne.credentials.status_list_cwt import verify_cwt

#: Places that change, and changes.
PLACES, CHANGES = 12, 40


@pytest.fixture
async def ledger(database_dsn: str, pool: asyncpg.Pool, tmp_path: Path) -> Ledger:
    return await make_ledger(database_dsn, pool, SystemClock(), tmp_path)


class Reader:
    """Fetches all forms in turns, and holds each to the history of changes: it is a state that was, and no earlier one
    than any form showed before."""

    def __init__(self, ledger: Ledger, url: str, indexes: list[int], history: list[tuple[int, ...]]) -> None:
        self._key = parse_public_jwk(ledger.keys.status_list.public_jwk)
        self._clock = ledger.clock
        self._url = url
        self._indexes = indexes
        self._history = history
        self.seen = 0

    async def read(self, session: aiohttp.ClientSession, site: str) -> None:
        bitstrings = ((".revocation", {INVALID}), (".suspension", {INVALID, SUSPENDED}))
        for form, told in (("", None), (".cwt", None), *bitstrings):
            async with session.get(site + form) as answer:
                assert answer.status == 200
                body = await answer.read()
            states = self._history[self.seen :]
            if told is None:
                shown = self._statuses(form, body)
                matching = [at for at, state in enumerate(states) if state == shown]
            else:
                bits = decode(strict_json(from_b64url(body.decode().split(".")[1]))["credentialSubject"]["encodedList"])
                set_ = [is_set(bits, index) for index in self._indexes]
                matching = [at for at, state in enumerate(states) if [status in told for status in state] == set_]
            assert matching, f"{form or 'the token'} shows what never was, or was before"
            self.seen += matching[0]

    def _statuses(self, form: str, body: bytes) -> tuple[int, ...]:
        find = {self._key.key_id: self._key}.get
        now = self._clock.now()
        listed = (
            verify_cwt(body, uri=self._url, find_key=find, now=now)
            if form
            else verify_token(body.decode(), uri=self._url, find_key=find, now=now)
        )
        return tuple(listed.status_at(index) for index in self._indexes)


async def test_readers_see_one_history_in_all_forms_while_lists_are_published(ledger: Ledger) -> None:
    chance = random.Random(7)
    lease = await ledger.lease(PLACES)
    indexes = list(lease.indexes)
    other = ledger.replica()
    for each in (ledger, other):
        await each.publisher.publish_due()
    publishing = [asyncio.create_task(each.publisher.run()) for each in (ledger, other)]
    state = [VALID] * PLACES
    history = [tuple(state)]
    ended = asyncio.Event()

    async def change() -> None:
        for number in range(1, CHANGES + 1):
            place = chance.choice([at for at, status in enumerate(state) if status != INVALID])
            # The last one is final, so that the last state is like none before.
            what = Change.REVOKE if number == CHANGES else chance.choices([Change.REVOKE, Change.SUSPEND], [1, 9])[0]
            if state[place] == SUSPENDED and what is Change.SUSPEND:
                what = Change.REINSTATE
            state[place] = {Change.REVOKE: INVALID, Change.SUSPEND: SUSPENDED, Change.REINSTATE: VALID}[what]
            history.append(tuple(state))  # before it is made: a reader may see it before we hear that it was
            await ledger.set(request(lease.list, indexes[place], what))
            ledger.publisher.wake()
            await asyncio.sleep(chance.random() / 100)
        ended.set()

    async def read(replica: Ledger) -> int:
        reader = Reader(ledger, lease.list, indexes, history)
        async with served(replica.pages()) as site, aiohttp.ClientSession() as session:
            url = site + lease.list.removeprefix(BASE_URL)
            rounds = 0
            while not ended.is_set() or reader.seen < CHANGES:
                await reader.read(session, url)
                rounds += 1
                await asyncio.sleep(0.02)  # let the others come to their turn, too
        return rounds

    try:
        async with asyncio.timeout(100):
            *rounds, _ = await asyncio.gather(read(ledger), read(ledger), read(other), change())
        assert min(rounds) > 2
    finally:
        for task in publishing:
            task.cancel()
        await asyncio.gather(*publishing, return_exceptions=True)

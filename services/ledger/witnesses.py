"""Asks the witnesses for their cosignatures (C2SP tlog-witness), and keeps what enough of them cosigned."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus
from typing import Final, NoReturn

import aiohttp

from services.ledger.log_store import LogStore
from services.ledger.metrics import LOG_WITNESSED, WITNESS_ANSWERS
from services.ledger.shards import StoredCheckpoint
from services.ledger.witnessed import WitnessedCheckpoint, WitnessedCheckpoints
from vitne.clock import Clock
from vitne.errors import Aborted, DataLoss, InvalidArgument, Unavailable, VitneError
from vitne.merkle.cosignatures import CosignerKey
from vitne.merkle.lines import from_decimal
from vitne.merkle.witnessing import SIZE_MEDIA_TYPE, AddCheckpoint, cosignatures_of
from vitne.runtime.bodies import read_bounded

#: Seconds that a witness may take: it only verifies a signature and a few hashes, and writes a file.
TIMEOUT_SECONDS: Final = 2.0
#: Largest answer that is read: a few signature lines.
MAX_ANSWER_BYTES: Final = 16 * 1024
#: A log at rest is cosigned again so often: a checkpoint tells its time by its cosignatures.
COSIGN_EVERY: Final = timedelta(minutes=1)

#: Seconds by which what is kept in one second may be dated ahead, being dated after each other.
_TICKS: Final = 1.0
#: Characters of a refusal's text that are told.
_QUOTED: Final = 200

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Proved:
    """That the log contradicts what it was: who has the proof, and the reason by which it may not be written."""

    who: str
    reason: str


@dataclass(slots=True)
class Witness:
    """A witness.

    Attributes:
        key: what verifies its cosignatures.
        url: its submission prefix, without a slash at the end.
        sizes: of the checkpoints that it cosigned last for us, by the log's number.
    """

    key: CosignerKey
    url: str
    sizes: dict[int, int] = field(default_factory=dict)


class Cosigning:
    """Has checkpoints cosigned.

    Args:
        store: the log.
        witnessed: keeps them.
        witnesses: who is asked.
        quorum: how many have to cosign.
        clock: tells for how long none was.
        contradicted: is called after a witness said that the log contradicts what it cosigned, and answers what is
            proved, or None: by itself it is a witness's word; None: nobody is.
    """

    def __init__(
        self,
        store: LogStore,
        witnessed: WitnessedCheckpoints,
        witnesses: Sequence[Witness],
        quorum: int,
        clock: Clock,
        *,
        contradicted: Callable[[], Awaitable[Proved | None]] | None = None,
    ) -> None:
        self._store = store
        self._witnessed = witnessed
        self._witnesses = witnesses
        self._quorum = quorum
        self._clock = clock
        self._contradicted = contradicted
        #: Logs that ended and were cosigned to their end.
        self._complete: set[int] = set()
        #: When enough last cosigned for us, by the log's number, and when it was looked at first; by a clock that only
        #: goes forward.
        self._last: dict[int, float] = {}
        self._looked_at: dict[int, float] = {}

    async def cosign_due(self) -> bool:
        """Have the newest checkpoints cosigned, where that is due; whether enough witnesses did.

        The last checkpoint of a log that ended is cosigned once: it says when all of that log was seen.

        Raises:
            Unavailable: ``LOG_NOT_STARTED``.
        """
        enough = True
        *ended, growing = await self._store.logs()
        for log in ended:
            if log.shard.number not in self._complete:
                if await self._is_due(log, None):
                    enough &= await self._cosign(log)
                else:
                    self._complete.add(log.shard.number)
        if await self._is_due(growing, COSIGN_EVERY):
            enough &= await self._cosign(growing)
        await self._tell(growing)
        return enough

    async def _tell(self, growing: StoredCheckpoint) -> None:
        """Measure when the log was last cosigned; of one that never was, since when it was not."""
        silent = self._silent_for(growing, await self._witnessed.newest_of(growing.shard))
        if silent is None:
            now = self._clock.monotonic()
            silent = now - self._looked_at.setdefault(growing.shard.number, now)
        LOG_WITNESSED.set(self._clock.now().timestamp() - silent)

    async def _is_due(self, log: StoredCheckpoint, every: timedelta | None) -> bool:
        last = await self._witnessed.newest_of(log.shard)
        if last is None or last.size != log.size:
            return True
        if every is None:
            return False
        silent = self._silent_for(log, last)
        return silent is None or silent >= every.total_seconds()

    def _silent_for(self, log: StoredCheckpoint, last: WitnessedCheckpoint | None) -> float | None:
        """Seconds since enough witnesses cosigned; None: nobody can tell.

        What is kept is dated after what was kept before: once a clock was ahead, it says nothing until that is past.
        """
        known = self._last.get(log.shard.number)
        ages = [] if known is None else [self._clock.monotonic() - known]
        if last is not None and (age := (self._clock.now() - last.cosigned).total_seconds()) > -_TICKS:
            ages.append(max(0.0, age))
        return min(ages, default=None)

    async def _cosign(self, newest: StoredCheckpoint) -> bool:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            found = await asyncio.gather(*(self._ask(session, each, newest) for each in self._witnesses))
        lines = [line for each in found for line in each or ()]
        enough = sum(bool(each) for each in found) >= self._quorum
        # First what is in hand: whatever comes of the contradiction, these have cosigned.
        if enough:
            await self._witnessed.add(newest, newest.note + "".join(lines))
            self._last[newest.shard.number] = self._clock.monotonic()
        if None in found and self._contradicted is not None and (proved := await self._contradicted()):
            WITNESS_ANSWERS.add(1, proved.who, proved.reason)
        return enough

    async def _ask(
        self, session: aiohttp.ClientSession, witness: Witness, newest: StoredCheckpoint
    ) -> list[str] | None:
        """A witness's lines; none where it gave none, and None where it says that the log contradicts itself."""
        try:
            lines = await self._cosignatures(session, witness, newest)
        except VitneError as error:
            _log.warning("witness %s did not cosign: %s", witness.key.name, error)
            WITNESS_ANSWERS.add(1, witness.key.name, error.reason)
            return None if isinstance(error, DataLoss) else []
        WITNESS_ANSWERS.add(1, witness.key.name, "")
        return lines

    async def _cosignatures(
        self, session: aiohttp.ClientSession, witness: Witness, newest: StoredCheckpoint
    ) -> list[str]:
        # Twice at most: the first answer may tell us what size to begin from. That counts for this once: what a
        # witness merely says is not kept.
        size = witness.sizes.get(newest.shard.number, 0)
        for _ in range(2):
            if size > newest.size:
                await self._require_size(size, newest)
            proof = await self._store.prove_consistency(size, newest.size, newest.shard.origin) if size else None
            request = AddCheckpoint(size, tuple(proof.path) if proof else (), newest.note)
            status, kind, answer = await self._post(session, witness, request)
            if status == HTTPStatus.OK:
                lines = cosignatures_of(answer, newest.note, [witness.key])
                witness.sizes[newest.shard.number] = newest.size
                return lines
            if status == HTTPStatus.UNPROCESSABLE_ENTITY:
                from_what = f"the {size} that it cosigned" if size else "what it cosigned"
                raise _contradicts(f"{newest.size} leaves do not follow from {from_what}")
            if status != HTTPStatus.CONFLICT or kind != SIZE_MEDIA_TYPE:
                break
            size = from_decimal(answer.removesuffix("\n"), _bad_answer)
        raise _refused(status, answer)

    async def _require_size(self, size: int, newest: StoredCheckpoint) -> NoReturn:
        """A witness has more than is to be cosigned: the log went back, or another replica was at it meanwhile."""
        present = await self._store.checkpoint(newest.shard.origin)
        if size > present.size:
            raise _contradicts(f"it cosigned {size} leaves, where the log has {present.size}")
        raise Aborted(
            "WITNESS_AHEAD",
            f"the witness cosigned {size} leaves already, and was asked for {newest.size}",
            rule="a witness cosigns no earlier checkpoint after a later one (C2SP tlog-witness)",
            remedy="nothing: the next round asks for the newest",
        )

    @staticmethod
    async def _post(session: aiohttp.ClientSession, witness: Witness, request: AddCheckpoint) -> tuple[int, str, str]:
        try:
            async with session.post(
                f"{witness.url}/add-checkpoint", data=request.text().encode(), allow_redirects=False
            ) as answer:
                if answer.status not in (HTTPStatus.OK, HTTPStatus.CONFLICT):
                    # Whatever it is, and however long: it is quoted as far as it can be read.
                    beginning = await answer.content.read(MAX_ANSWER_BYTES)
                    return answer.status, answer.content_type, beginning.decode("utf-8", "replace")
                body = await read_bounded(answer, MAX_ANSWER_BYTES)
                if body is None:
                    raise _bad_answer(f"it is longer than {MAX_ANSWER_BYTES} bytes")
                return answer.status, answer.content_type, body.decode()
        except (aiohttp.ClientError, OSError, TimeoutError, UnicodeDecodeError) as error:
            raise Unavailable(
                "WITNESS_UNREACHABLE",
                f"the witness did not answer: {type(error).__name__}",
                remedy="wait: the log goes on, and the quorum may do without it",
            ) from error


def _contradicts(claim: str) -> DataLoss:
    """Its word; whether it has anything that this ledger signed is found out from what it serves."""
    return DataLoss(
        "WITNESS_CONTRADICTS",
        f"the witness says that {claim}",
        rule="a log only grows (RFC 6962, section 2.1.2)",
        remedy="nothing, where the log stands still by now: then it is proved, and the log says what to do; else ask "
        "the witness's operator for the checkpoint that it cosigned last",
    )


def _refused(status: int, answer: str) -> Unavailable:
    """What a witness answered that is no cosignature; its own words are quoted, as far as they are plain."""
    # Without its quotation marks: it must not seem to end before it does.
    plain = (each if each.isascii() and each.isprintable() else " " for each in answer.replace('"', "'"))
    words = " ".join("".join(plain).split())
    said = f', and says: "{words[:_QUOTED]}"' if words else ""
    if status in (HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN):
        rule = "C2SP tlog-witness: 404 for a log that it was not given, 403 for a key that it was not given"
        remedy = (
            "if the log or its key was succeeded, tell the witness's operator: --log with the new verifier key, "
            "and --succession (docs/operating/log.md); else ask them why"
        )
    else:
        rule = "C2SP tlog-witness: 200 with its cosignature"
        remedy = "nothing, where it passes; else ask the witness's operator why"
    return Unavailable("WITNESS_REFUSED", f"the witness answered {status}{said}", rule=rule, remedy=remedy)


def _bad_answer(why: str) -> InvalidArgument:
    return InvalidArgument("BAD_WITNESS_ANSWER", f"the witness's answer is none: {why}", rule="C2SP tlog-witness")

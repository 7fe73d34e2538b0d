"""What the portal keeps of offers to wallets. Plain SQL."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from services.portal.wallet import codes
from services.portal.wallet.codes import OfferSecrets
from services.portal.wallet.terms import (
    A_DAY,
    MAX_OFFERS,
    MAX_TRIES,
    OFFER_LIFETIME,
    TOKEN_LIFETIME,
    Offer,
    bad_grant,
    bad_token,
    unknown_offer,
)
from vitne.errors import FailedPrecondition, NotFound, ResourceExhausted

_OFFER: Final = "id, handle, reference_hash, made_at, expires_at, tries, token_expires_at, taken_at, ended_at"
#: Whether a wallet can still ask with an offer, at $2, having tried fewer than $3 transaction codes.
_OPEN: Final = "token_hash IS NULL AND ended_at IS NULL AND expires_at > $2 AND tries < $3"


class Offers:
    """The offers in the portal's database.

    Args:
        pool: of asyncpg.
    """

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    # -- The learner's ---------------------------------------------------------------------------

    async def make(self, lookup: bytes, id_: UUID, handle: str, secrets: OfferSecrets, now: datetime) -> None:
        """Offer a credential of hers; an offer of the same one that no wallet has asked with yet is over.

        Raises:
            FailedPrecondition: ``NOT_REGISTERED``.
            NotFound: ``CREDENTIAL_UNKNOWN``: it was withdrawn meanwhile.
            ResourceExhausted: ``TOO_MANY_OFFERS``.
        """
        async with self._pool.acquire() as conn, conn.transaction():
            # Locked, so that offers at once are counted each; first, as by an erasure, with which what is hers goes.
            pseudonym = await conn.fetchval(
                "SELECT pseudonym FROM subscriber WHERE lookup = $1 FOR NO KEY UPDATE", lookup
            )
            if pseudonym is None:
                raise FailedPrecondition(
                    "NOT_REGISTERED", "nothing is held here that could be taken over", remedy="register first"
                )
            count = await conn.fetchval(
                "SELECT count(*) FROM wallet_offer WHERE pseudonym = $1 AND made_at > $2", pseudonym, now - A_DAY
            )
            if count >= MAX_OFFERS:
                raise ResourceExhausted(
                    "TOO_MANY_OFFERS",
                    f"there were {count} offers within a day",
                    rule=f"at most {MAX_OFFERS} within {A_DAY}",
                    remedy="try again tomorrow",
                )
            # Not locked: the consumer of the topic waits for no page.
            told = await conn.fetchrow(
                "SELECT happened FROM credential WHERE handle = $1 AND pseudonym = $2", handle, pseudonym
            )
            if told is None:
                raise NotFound("CREDENTIAL_UNKNOWN", "the credential was withdrawn meanwhile", remedy="begin anew")
            await conn.execute(
                "UPDATE wallet_offer SET ended_at = $3 "
                "WHERE pseudonym = $1 AND handle = $2 AND token_hash IS NULL AND ended_at IS NULL",
                pseudonym,
                handle,
                now,
            )
            await conn.execute(
                """
                INSERT INTO wallet_offer
                    (id, pseudonym, handle, reference_hash, code_hash, tx_code_hash, made_at, expires_at, told_at)
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
                """,
                id_,
                pseudonym,
                handle,
                codes.hash_of(secrets.reference),
                codes.hash_of(secrets.code),
                codes.tx_code_hash(secrets.code, secrets.tx_code),
                now,
                now + OFFER_LIFETIME,
                told["happened"],
            )

    async def sweep(self, now: datetime) -> None:
        """Delete what nobody took: it says nothing any more, since her history is of what was handed over.

        Apart from :meth:`make`, and passing over what is locked: it concerns many learners, in no order, and an
        erasure takes several of these rows at once.
        """
        await self._pool.execute(
            """
            DELETE FROM wallet_offer WHERE id IN (
                SELECT id FROM wallet_offer WHERE taken_at IS NULL AND expires_at < $1 FOR UPDATE SKIP LOCKED)
            """,
            now - A_DAY,
        )

    async def of_learner(self, lookup: bytes, handle: str | None = None) -> list[Offer]:
        """A learner's offers, the newest first; of one credential where ``handle`` names it."""
        rows = await self._pool.fetch(
            f"""
            SELECT {_OFFER} FROM wallet_offer JOIN subscriber USING (pseudonym)
            WHERE lookup = $1 AND ($2::text IS NULL OR handle = $2) ORDER BY made_at DESC, id DESC
            """,  # noqa: S608 - a constant
            lookup,
            handle,
        )
        return [Offer(**row) for row in rows]

    async def end(self, lookup: bytes, id_: UUID, now: datetime) -> Offer:
        """End an offer: no wallet gets anything by it any more, if none has yet. Repeating it is harmless.

        Returns:
            The offer, ended.

        Raises:
            NotFound: ``WALLET_OFFER_UNKNOWN``.
        """
        row = await self._pool.fetchrow(
            f"""
            UPDATE wallet_offer o SET ended_at = coalesce(o.ended_at, $3) FROM subscriber s
            WHERE o.id = $1 AND s.pseudonym = o.pseudonym AND s.lookup = $2 RETURNING {_OFFER}
            """,  # noqa: S608 - a constant
            id_,
            lookup,
            now,
        )
        if row is None:
            raise unknown_offer()
        return Offer(**row)

    # -- The wallet's ----------------------------------------------------------------------------

    async def require_open(self, reference: str, now: datetime) -> None:
        """Return where a wallet can ask with the offer.

        Raises:
            NotFound: ``WALLET_OFFER_UNKNOWN``.
        """
        found = await self._pool.fetchval(
            f"SELECT true FROM wallet_offer WHERE reference_hash = $1 AND {_OPEN}",  # noqa: S608 - a constant
            codes.hash_of(reference),
            now,
            MAX_TRIES,
        )
        if found is None:
            raise unknown_offer()

    async def redeem(self, code: str, tx_code: str, now: datetime) -> str:
        """An access token for the codes, once.

        A try is counted before the transaction code is looked at, so that tries at once are counted each; of right
        ones at once one gets the token.

        Raises:
            InvalidArgument: ``WALLET_GRANT_REFUSED``.
        """
        code_hash = codes.hash_of(code)
        kept = await self._pool.fetchval(
            f"UPDATE wallet_offer SET tries = tries + 1 WHERE code_hash = $1 AND {_OPEN} "  # noqa: S608 - a constant
            "RETURNING tx_code_hash",
            code_hash,
            now,
            MAX_TRIES,
        )
        if kept is None or not codes.is_tx_code(code, tx_code, kept):
            raise bad_grant()
        token = codes.new_access_token()
        done = await self._pool.fetchval(
            "UPDATE wallet_offer SET token_hash = $3, token_expires_at = $4 "
            "WHERE code_hash = $1 AND token_hash IS NULL AND ended_at IS NULL AND expires_at > $2 RETURNING true",
            code_hash,
            now,
            codes.hash_of(token),
            now + TOKEN_LIFETIME,
        )
        if done is None:
            raise bad_grant()
        return token

    async def opened_by(self, token: str, now: datetime) -> tuple[bytes, str]:
        """Lookup and handle of what an access token opens.

        Raises:
            Unauthenticated: ``WALLET_TOKEN_REFUSED``.
        """
        row = await self._pool.fetchrow(
            """
            SELECT lookup, handle FROM wallet_offer JOIN subscriber USING (pseudonym)
            WHERE token_hash = $1 AND token_expires_at > $2 AND ended_at IS NULL AND lookup IS NOT NULL
            """,
            codes.hash_of(token),
            now,
        )
        if row is None:
            raise bad_token()
        return row["lookup"], row["handle"]

    async def take(self, token: str, now: datetime) -> bool:
        """Note that the credential is handed over; whether it is for the first time.

        Raises:
            Unauthenticated: ``WALLET_TOKEN_REFUSED``: it was ended meanwhile.
        """
        row = await self._pool.fetchrow(
            """
            WITH before AS (
                SELECT id, taken_at FROM wallet_offer
                WHERE token_hash = $1 AND token_expires_at > $2 AND ended_at IS NULL FOR UPDATE
            )
            UPDATE wallet_offer o SET taken_at = coalesce(o.taken_at, $2) FROM before WHERE o.id = before.id
            RETURNING before.taken_at IS NULL AS first
            """,
            codes.hash_of(token),
            now,
        )
        if row is None:
            raise bad_token()
        return bool(row["first"])

"""The end of offers with the credential: what is withdrawn from this hub goes to no wallet from here any more."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any


async def end_offers(conn: Any, gone: Mapping[str, datetime]) -> None:
    """End the offers of credentials that had been told of when these were withdrawn.

    So an offer that stands while its credential's row is missing is one whose row is being gathered anew. An offer that
    was made after a withdrawal that had not been read yet ends, too: its credential was told of before that.

    Args:
        conn: with the transaction in which the credentials go.
        gone: names of the credentials for this hub, and when they were withdrawn. A rebuild reads of withdrawals from
            before a learner registered again: what she offered since is left alone.
    """
    await conn.execute(
        "UPDATE wallet_offer o SET ended_at = gone.at "
        "FROM unnest($1::text[], $2::timestamptz[]) AS gone (handle, at) "
        "WHERE o.handle = gone.handle AND coalesce(o.told_at, o.made_at) <= gone.at AND o.ended_at IS NULL",
        list(gone),
        list(gone.values()),
    )

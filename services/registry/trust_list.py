"""The signed list of authorities, providers, keys and accreditations, as it is served."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from vitne.accreditation import Projection, render, sign_trust_list
from vitne.canonical import digest_text
from vitne.credentials.jose import ES256, Signer
from vitne.runtime.custody import KeyCustody

#: Name of the key in custody.
LABEL: Final = "trust-list"
#: An unchanged list is signed again when it is older than this: a reader can then tell a list that is
#: fresh from one that somebody kept back, and signing costs nothing to speak of.
SIGN_AGAIN_AFTER: Final = timedelta(seconds=2)


def trust_list_signer(custody: KeyCustody) -> Signer:
    """The key of the list, made when there is none."""
    return custody.ensure(LABEL, ES256)


@dataclass(frozen=True, slots=True)
class SignedList:
    """A list as it is served."""

    token: str
    etag: str
    revision: int
    #: What dates it.
    as_of: datetime


class TrustListPublisher:
    """Signs the list when it is asked for, and it has changed or is two seconds old.

    Facts never change, so each is rendered once.

    Args:
        projection: what is known.
        signer: the key of the list.
        as_of: up to when it is known whole. That dates the list, not the hour of signing: a registry
            that lost its database must not look fresh.
        issuer: URI of the registry.
    """

    def __init__(self, projection: Projection, signer: Signer, as_of: Callable[[], datetime], issuer: str) -> None:
        self._projection = projection
        self._signer = signer
        self._as_of = as_of
        self._issuer = issuer
        self._rendered: list[bytes] = []
        self._rendered_to = 0
        self._newest: SignedList | None = None

    def current(self) -> SignedList:
        """The list now.

        Raises:
            Unavailable: as ``as_of``.
        """
        as_of, revision = self._as_of(), self._projection.revision
        newest = self._newest
        if newest is None or newest.revision != revision or as_of - newest.as_of >= SIGN_AGAIN_AFTER:
            self._rendered += map(render, self._projection.trusted_facts(after=self._rendered_to))
            self._rendered_to = revision
            token = sign_trust_list(self._rendered, revision, issuer=self._issuer, at=as_of, signer=self._signer)
            newest = self._newest = SignedList(token, f'"{digest_text(token.encode())}"', revision, as_of)
        return newest

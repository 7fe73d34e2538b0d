"""A learner's own act, shown by a hub: an ID token of a log-in that was just made there."""

from __future__ import annotations

from collections.abc import Mapping

from vitne.errors import InvalidArgument, PermissionDenied, Unauthenticated
from vitne.identifiers import OrganisationId
from vitne.runtime.identity import IdTokenVerifier, LearnerIdentity


class LearnerActs:
    """Says who acts.

    Args:
        verifier: of learners' ID tokens.
        clients: the hubs that are served: organisation id to the client id that its learners' ID tokens are made for.
    """

    def __init__(self, verifier: IdTokenVerifier, clients: Mapping[str, str]) -> None:
        self._verifier = verifier
        self._clients = clients

    def require_hub(self, hub: OrganisationId) -> str:
        """The client id of a hub that is served here.

        Raises:
            PermissionDenied: ``HUB_UNKNOWN``.
        """
        if client := self._clients.get(str(hub)):
            return client
        raise PermissionDenied(
            "HUB_UNKNOWN",
            "the calling organisation is not a hub of this issuer",
            rule="hubs are named in the issuer's settings",
            remedy="ask the operator to enter the hub",
            metadata={"organisation": str(hub)},
        )

    async def who(self, hub: OrganisationId, id_token: str) -> LearnerIdentity:
        """The learner who logged in at a hub.

        Raises:
            PermissionDenied: ``HUB_UNKNOWN``.
            InvalidArgument: why the ID token does not hold (``TOKEN_EXPIRED``, ``TOKEN_ASSURANCE``…).
        """
        client = self.require_hub(hub)
        try:
            return await self._verifier.verify(id_token, audience=client)
        except Unauthenticated as error:
            # The caller did authenticate: it is what it sent that does not hold.
            raise InvalidArgument(
                error.reason, error.message, field="id_token", rule=error.rule, remedy=error.remedy
            ) from error

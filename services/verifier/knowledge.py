"""What a verifier knows of the registry, whichever way it came by it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from vitne.accreditation import DecisionOutcome, Projection, decide, judge, public_keys
from vitne.accreditation.decide import offer_of
from vitne.credentials.jose import PublicKey, parse_public_jwk
from vitne.credentials.model import Credential
from vitne.credentials.trust_anchors import TrustAnchors
from vitne.errors import VitneError
from vitne.frameworks import Frameworks
from vitne_api.registry.v1 import facts_pb2


@dataclass(frozen=True, slots=True)
class Knowledge:
    """The registry's facts, the national rules, and who operates the log and the lists.

    Attributes:
        projection: the facts.
        frameworks: the rules.
        operator: organisation whose keys sign status lists and checkpoints; empty: the owner of
            ``registry_key``.
        registry_key: thumbprint of the key that is pinned for the registry's trust list; empty without one.
        bound: age past which the registry's word does not count.
        catalogue: whether the facts hold the achievements; a trust list leaves them out.
        refused: why the registry's list was not taken, where it is not asked for again; empty otherwise.
        anchors: authorities to which certificates that come along have to lead; None: they are not looked at.
    """

    projection: Projection
    frameworks: Frameworks
    operator: str
    registry_key: str
    bound: timedelta
    catalogue: bool
    anchors: TrustAnchors | None = None
    refused: str = ""

    def decide(self, credential: Credential, at: datetime, known_at: int | None, *, under: str = "") -> DecisionOutcome:
        """Whether the provider might issue the credential's achievement at an instant, as known at a revision.

        Without a catalogue, what is judged is what the credential says of the achievement.

        Args:
            credential: whose achievement and provider are asked about.
            at: the instant.
            known_at: a registry revision; None: the newest.
            under: id of the one accreditation that counts; empty: any.

        Raises:
            FailedPrecondition: ``REVISION_NOT_KNOWN``.
        """
        achievement, provider = credential.achievement, str(credential.awarding_body.id)
        if self.catalogue:
            return decide(
                self.projection,
                self.frameworks,
                provider,
                achievement.id,
                achievement.version,
                at=at,
                known_at=known_at,
                under=under,
            )
        offer = offer_of(achievement)
        outcome = judge(self.projection, self.frameworks, provider, offer, at=at, known_at=known_at, under=under)
        return outcome._replace(achievement_id=achievement.id, achievement_version=achievement.version)

    def operator_keys_ever(self, use: facts_pb2.KeyUse.ValueType) -> list[PublicKey]:
        """The operator's public keys for a use, also those that count no longer."""
        found = []
        for key in self.projection.keys_of(self.owner, use):
            try:
                found.append(parse_public_jwk(key.public_jwk))
            except VitneError:
                continue  # a key that can't be read verifies nothing
        return found

    def operator_keys(self, use: facts_pb2.KeyUse.ValueType, at: datetime) -> dict[str, PublicKey]:
        """The operator's public keys for a use that count at an instant, by thumbprint."""
        return public_keys(self.projection, self.owner, use, at)

    @property
    def owner(self) -> str:
        """The operator, whether it was named or is the owner of the registry's key."""
        own = None if self.operator else self.projection.key(self.registry_key)
        return self.operator if own is None else own.owner

"""What the registry says, as far as this process has folded its topics."""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from uuid import UUID

from vitne.accreditation import Projection, decide, instant, key_counts_at, record_of
from vitne.accreditation.logged import logged_accreditation
from vitne.clock import Clock
from vitne.credentials.certificates import Certificate
from vitne.credentials.model import AwardingBody, Credential, DecisionReference, by_language
from vitne.credentials.setting import Accreditor, Setting
from vitne.errors import DataLoss, FailedPrecondition, Unavailable
from vitne.frameworks import Frameworks
from vitne.identifiers import OrganisationId
from vitne.messaging.event_types import REGISTRY_FACT, REGISTRY_HEARTBEAT
from vitne.messaging.headers import Message
from vitne.stacking import by_recognition, check_recognition
from vitne_api.credential.v1 import credential_pb2
from vitne_api.events.v1 import events_pb2
from vitne_api.registry.v1 import facts_pb2


@dataclass(frozen=True, slots=True)
class Permission:
    """A decision that allows, and what is issued by it. ``achievement`` is read-only."""

    decision: DecisionReference
    achievement: credential_pb2.Achievement
    awarding_body: AwardingBody
    #: Of the fact that the decision's accreditation is at its revision, base64url.
    accreditation_digest: str
    #: Thumbprint of the key that will sign; empty until it is chosen.
    key_id: str = ""
    #: That its token carries, the key's own first.
    certificates: tuple[Certificate, ...] = ()
    #: Of prior learning, with the rule that it rests on. Read-only.
    recognition: credential_pb2.Recognition | None = None


class RegistryView:
    """The registry's projection, asked for what an issuance needs, and only while it is fresh.

    Args:
        projection: folded by a follower of the registry's topics.
        frameworks: the national rules.
        clock: tells how old the projection is.
        bound: age past which nothing is decided.
    """

    def __init__(self, projection: Projection, frameworks: Frameworks, clock: Clock, bound: timedelta) -> None:
        self._projection = projection
        self._frameworks = frameworks
        self._clock = clock
        self._bound = bound
        self._countries: tuple[int, frozenset[str]] = (0, frozenset())

    def require_fresh(self) -> None:
        """Return while the registry has been heard of lately.

        Raises:
            Unavailable: ``REGISTRY_STALE``.
        """
        if self._projection.staleness(self._clock.now()) > self._bound:
            raise Unavailable(
                "REGISTRY_STALE",
                "the registry has not been heard of for too long: what it says now is not known",
                rule=f"nothing is issued on accreditations older than {self._bound.total_seconds():.0f} s",
                remedy="try again with the same request id; an operator should look at the registry and the broker",
                metadata={"registry_revision": str(self._projection.revision)},
            )

    def decide(self, provider: str, achievement: UUID, version: int, at: datetime) -> Permission:
        """Whether ``provider`` may issue the achievement at ``at``, as known now.

        Raises:
            Unavailable: ``REGISTRY_STALE``.
            FailedPrecondition: the decision's reason, with rule, basis and remedy; ``field`` is ``achievement_id``.
        """
        self.require_fresh()
        outcome = decide(
            self._projection,
            self._frameworks,
            provider=provider,
            achievement_id=str(achievement),
            version=version,
            at=at,
        )
        if not outcome.allowed:
            error = outcome.to_error("achievement_id")
            error.metadata["basis"] = outcome.basis
            raise error
        published = self._projection.achievement(str(achievement), version, outcome.known_at)
        entry = self._projection.provider(provider, outcome.known_at)
        accreditation = logged_accreditation(
            self._projection, provider, outcome.accreditation_id, outcome.accreditation_revision
        )
        if published is None or entry is None or accreditation is None:
            raise RuntimeError("a decision allowed what is not known")
        # A credential says what was achieved, not where and when that is on offer.
        published.ClearField("catalogue")
        decision = DecisionReference.parse(record_of(outcome).record)
        return Permission(decision, published, AwardingBody.of(entry), accreditation.digest)

    def recognise(self, permission: Permission, act: credential_pb2.Recognition | None, decided_on: date) -> Permission:
        """The permission with the act of recognition that an institution states, which is checked.

        Raises:
            FailedPrecondition: ``RECOGNITION_MISSING``, ``UNKNOWN_ACHIEVEMENT``; and as
                :func:`vitne.stacking.check_recognition`.
            InvalidArgument: as there.
        """
        if act is None:
            if by_recognition(permission.achievement):
                raise FailedPrecondition(
                    "RECOGNITION_MISSING",
                    "it does not say what was recognised, by whom assessed, and how",
                    field="recognition",
                    rule="a credential whose assessment is recognition of prior learning says what was assessed",
                    remedy="state the recognition",
                )
            return permission
        known_at = permission.decision.registry_revision
        body = self._projection.provider(permission.decision.provider, known_at)
        against = self._projection.achievement(act.achievement_id, act.achievement_version, known_at)
        if body is None or against is None:
            raise FailedPrecondition(
                "UNKNOWN_ACHIEVEMENT",
                f"no version {act.achievement_version} of achievement {act.achievement_id} was published",
                field="recognition.achievement_id",
                rule="prior learning is recognised against an achievement of the catalogue",
                remedy="correct the id or the version, or publish the achievement first",
            )
        rule = check_recognition(act, permission.achievement, against, body, self._frameworks, decided_on=decided_on)
        rested = credential_pb2.Recognition()
        rested.CopyFrom(act)
        rested.rule = rule.id
        return replace(permission, recognition=rested)

    def signing_keys(self, provider: str, at: datetime) -> list[str]:
        """Thumbprints of the provider's keys whose signatures on credentials count at ``at``, the newest first."""
        keys = self._projection.keys_of(provider, facts_pb2.KEY_USE_CREDENTIAL)
        counting = [key for key in keys if key_counts_at(key, at)]
        counting.sort(key=lambda key: (key.valid_from.ToNanoseconds(), key.id), reverse=True)
        return [key.id for key in counting]

    def setting(self, credential: Credential) -> Setting:
        """What stands beside a credential: the level of EQF, and who accredits, by the newest word of both."""
        country = self._frameworks.country(credential.awarding_body.country)
        level = credential.achievement.level
        held = self._projection.accreditation(str(credential.decision.accreditation_id))
        authority = self._projection.authority(held.authority) if held else None
        return Setting(
            eqf_level=country.levels.get((level.framework, level.level), "") if country else "",
            accreditor=authority
            and Accreditor(
                OrganisationId.parse(authority.id),
                by_language(authority.name, "authority.name"),
                authority.remit.country,
            ),
        )

    def countries(self) -> Set[str]:
        """The countries that providers are in."""
        revision, countries = self._countries
        if revision != self._projection.revision:
            revision = self._projection.revision
            entries = (self._projection.provider(provider) for provider in self._projection.provider_ids())
            countries = frozenset(entry.country for entry in entries if entry is not None)
            self._countries = revision, countries
        return countries


def folder(projection: Projection, clock: Clock) -> Callable[[Message], None]:
    """What folds the registry's events into a projection, for a follower of its topics.

    It raises ``DataLoss`` (``UNKNOWN_EVENT_TYPE``, ``EMPTY_EVENT``, and what :meth:`Projection.fold` raises) and
    protobuf's ``DecodeError``. What can't be folded leaves a gap before which the projection grows stale: it is
    never passed over.
    """

    def fold(message: Message) -> None:
        if message.type == REGISTRY_FACT:
            recorded = events_pb2.RegistryFactRecorded.FromString(message.value)
            if not recorded.HasField("fact"):
                raise DataLoss("EMPTY_EVENT", "the event holds no fact")
            projection.fold(recorded.fact)
        elif message.type == REGISTRY_HEARTBEAT:
            beat = events_pb2.RegistryHeartbeat.FromString(message.value)
            projection.heartbeat(beat.registry_revision, instant(beat.at), clock.now())
        else:
            raise DataLoss("UNKNOWN_EVENT_TYPE", f"the issuer does not know events of type {message.type[:64]}")

    return fold

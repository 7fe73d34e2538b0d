"""Authority → provider → credential, checked from a bundle, without asking anyone.

A **bundle** holds a provider's credential, the credential of the accreditation that it
cites, and an extract of the registry's trust list about the organisations concerned. The
one thing to know before is the thumbprint of the list's key. What a bundle shows held
when its extract was made; whether the credential was suspended or revoked, and whether it
is in the log, only a status list and the log can tell (services/verifier).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from vitne.accreditation.credential import AccreditationCredential, read_accreditation
from vitne.accreditation.decide import Check, judge, offer_of
from vitne.accreditation.decision import record_of
from vitne.accreditation.extract import Extract, read_extract
from vitne.accreditation.facts import fact_digest_text, key_counts_at
from vitne.accreditation.projection import Projection
from vitne.canonical import instant_text
from vitne.credentials import sd_jwt_vc
from vitne.credentials.jose import PublicKey, parse_public_jwk, strict_json
from vitne.credentials.model import AwardingBody
from vitne.credentials.sd_jwt_vc import Presentation
from vitne.errors import InvalidArgument, VitneError
from vitne.frameworks import Frameworks
from vitne_api.credential.v1 import credential_pb2
from vitne_api.registry.v1 import facts_pb2

#: What a bundle says to be.
TYPE: Final = "vitne-bundle"
#: Its version.
VERSION: Final = 1
#: Longest bundle that is read, in bytes: an extract of a provider with a thousand facts has half of it.
MAX_SIZE: Final = 2 * 1024 * 1024

#: The steps, in their order.
STEPS: Final = (
    "trust_list",
    "structure",
    "authority",
    "accreditation",
    "citation",
    "provider",
    "signature",
    "decision",
    "not_withdrawn_backwards",
)

_PASSED: Final = credential_pb2.Check.OUTCOME_PASSED
_FAILED: Final = credential_pb2.Check.OUTCOME_FAILED
_NOT_DETERMINABLE: Final = credential_pb2.Check.OUTCOME_NOT_DETERMINABLE
_SKIPPED: Final = credential_pb2.Check.OUTCOME_SKIPPED


@dataclass(frozen=True, slots=True)
class Bundle:
    """What is needed to check one credential's chain."""

    #: SD-JWT VC, compact.
    credential: str
    #: The accreditation's credential, compact.
    accreditation: str
    trust_list: Extract

    def to_bytes(self) -> bytes:
        """The bundle as a JSON file."""
        members = {
            "type": TYPE,
            "v": VERSION,
            "credential": self.credential,
            "accreditation": self.accreditation,
            "trust_list": {"statement": self.trust_list.statement, "facts": self.trust_list.facts.decode()},
        }
        return json.dumps(members, indent=2, ensure_ascii=False).encode() + b"\n"


def parse_bundle(data: bytes) -> Bundle:
    """Read a bundle's file; nothing in it is verified.

    Raises:
        InvalidArgument: ``BAD_BUNDLE``, ``BAD_JSON``.
    """
    members = strict_json(data, field="bundle") if len(data) <= MAX_SIZE else {}
    listed = members.get("trust_list") if isinstance(members, dict) else None
    texts = [
        holder.get(name) if isinstance(holder, dict) else None
        for holder, name in (
            (members, "credential"),
            (members, "accreditation"),
            (listed, "statement"),
            (listed, "facts"),
        )
    ]
    known = isinstance(members, dict) and (members.get("type"), members.get("v")) == (TYPE, VERSION)
    credential, accreditation, statement, facts = (text if isinstance(text, str) else "" for text in texts)
    if not known or not all((credential, accreditation, statement, facts)):
        raise InvalidArgument(
            "BAD_BUNDLE",
            "not a bundle that is known here",
            field="bundle",
            rule=f"JSON of type {TYPE}, version {VERSION}, of at most {MAX_SIZE} bytes",
            remedy="make it anew from the credential",
        )
    return Bundle(credential, accreditation, Extract(statement, facts.encode()))


@dataclass(frozen=True, slots=True)
class Chain:
    """What a bundle shows."""

    #: One a step, in the order of :data:`STEPS`; those after the first that does not hold are skipped.
    steps: tuple[Check, ...]
    #: When the extract was made, and the chain held; None where it could not be read.
    as_of: datetime | None

    @property
    def holds(self) -> bool:
        """Whether every step does."""
        return all(step.outcome == _PASSED for step in self.steps)


def check_bundle(
    bundle: Bundle, *, pinned: PublicKey | str, registry_uri: str, frameworks: Frameworks, now: datetime
) -> Chain:
    """Check a bundle's chain from the pinned key down. A bad bundle is an answer, never an error.

    Args:
        bundle: as it came.
        pinned: the trust list's key, or its RFC 7638 thumbprint.
        registry_uri: URI of the registry.
        frameworks: the national rules.
        now: the present instant: what is from the future is refused.
    """
    try:
        statement, facts = read_extract(bundle.trust_list, pinned=pinned, issuer=registry_uri, now=now)
        projection = Projection()
        statement.fold_into(projection, facts)
    except VitneError as error:
        return Chain(_in_order([Check(STEPS[0], _FAILED, _told(error), "")]), None)
    as_of = statement.issued_at
    root = Check(
        STEPS[0],
        _PASSED,
        f"the registry's list at {instant_text(as_of)} is signed with the pinned key",
        f"{registry_uri}, registry revision {statement.registry_revision}",
    )
    return Chain(
        _in_order([root, *check_chain(bundle.credential, bundle.accreditation, projection, registry_uri, frameworks)]),
        as_of,
    )


def check_chain(
    credential: str, accreditation: str, projection: Projection, registry_uri: str, frameworks: Frameworks
) -> list[Check]:
    """Check the steps below the list, for whoever holds the list otherwise: a mirror of the whole.

    Args:
        credential: SD-JWT VC, compact.
        accreditation: the accreditation's credential, compact.
        projection: folded from the list.
        registry_uri: URI of the registry.
        frameworks: the national rules.

    Returns:
        The steps up to the first that does not hold.
    """
    try:
        links = _Links(
            sd_jwt_vc.parse(credential), read_accreditation(accreditation, registry_uri=registry_uri), projection
        )
    except VitneError as error:
        return [Check(STEPS[1], _FAILED, f"a credential can't be read: {_told(error)}", error.field)]
    made = [Check(STEPS[1], _PASSED, "credential and accreditation can be read", sd_jwt_vc.VCT)]
    steps: tuple[Callable[[], Check], ...] = (
        links.authority,
        links.accreditation,
        links.citation,
        links.provider,
        links.signature,
        lambda: links.decision(frameworks),
        lambda: links.since(frameworks),
    )
    for name, step in zip(STEPS[2:], steps, strict=True):
        try:
            made.append(step())
        except VitneError as error:
            made.append(Check(name, _FAILED, _told(error), ""))
        if made[-1].outcome != _PASSED:
            break
    return made


@dataclass(frozen=True, slots=True)
class _Links:
    """The parts of one chain, and what each step says of them."""

    presentation: Presentation
    given: AccreditationCredential
    projection: Projection

    def authority(self) -> Check:
        """Had the operator set the authority up, and was such an accreditation of such a provider within its remit?"""
        said, known_at = self.given.fact.accreditation, self.given.fact.registry_revision
        entry = self.projection.authority(said.authority, known_at)
        if entry is None:
            return Check("authority", _FAILED, f"the list knew no authority {said.authority} then", said.authority)
        remit, holder = entry.remit, self.projection.provider(said.provider, known_at)
        if said.kind not in remit.accreditation_kinds:
            return Check("authority", _FAILED, f"{said.kind} was not within its remit", said.authority)
        if holder is None or holder.country != remit.country or holder.kind not in remit.provider_kinds:
            return Check("authority", _FAILED, f"{said.provider} was not within its remit", said.authority)
        name = entry.name[0].text if entry.name else said.authority
        return Check("authority", _PASSED, f"{name} may give {said.kind} in {entry.remit.country}", said.authority)

    def accreditation(self) -> Check:
        """Did the authority sign it, and does the list say the same?"""
        fact = self.given.fact
        evidence = f"accreditation {fact.accreditation.id} revision {fact.accreditation.revision}, {self.given.digest}"
        key = self._key(self.given.key_id, fact.accreditation.authority, facts_pb2.KEY_USE_ACCREDITATION)
        if isinstance(key, str):
            return Check("accreditation", _FAILED, key, self.given.key_id[:100])
        if not key_counts_at(key, self.given.signed_at):
            return Check("accreditation", _FAILED, "the authority's key did not count when it was signed", key.id)
        if not self.given.verified_by(parse_public_jwk(key.public_jwk)):
            return Check("accreditation", _FAILED, "the authority's signature does not hold", key.id)
        listed = self.projection.accreditation_fact(fact.accreditation.id, fact.accreditation.revision)
        if listed is None or fact_digest_text(listed) != self.given.digest:
            return Check("accreditation", _FAILED, "the list says something else of it, or nothing", evidence)
        return Check("accreditation", _PASSED, "the authority signed it, and the list says the same", evidence)

    def citation(self) -> Check:
        """Does the credential cite this accreditation, by id, revision and digest?"""
        credential, said = self.presentation.credential, self.given.fact.accreditation
        decision = credential.decision
        cited = (str(decision.accreditation_id), decision.accreditation_revision, credential.accreditation_digest)
        evidence = " ".join(map(str, cited)).strip()
        if not credential.accreditation_digest:
            return Check("citation", _FAILED, "the credential cites no accreditation by its digest", evidence)
        if cited != (said.id, said.revision, self.given.digest):
            return Check("citation", _FAILED, "the credential cites another accreditation", evidence)
        return Check("citation", _PASSED, "the credential cites it by id, revision and digest", evidence)

    def provider(self) -> Check:
        """Is the awarding body the provider that was accredited, as the list knew it at issuance?"""
        credential = self.presentation.credential
        body, known_at = credential.awarding_body, credential.decision.registry_revision
        entry = self.projection.provider(str(body.id), known_at) if known_at <= self.projection.revision else None
        if entry is None:
            return Check("provider", _FAILED, "the list knew no such provider at issuance", str(body.id))
        if str(body.id) != self.given.fact.accreditation.provider or AwardingBody.of(entry) != body:
            return Check("provider", _FAILED, "the awarding body is not the provider that was accredited", str(body.id))
        return Check("provider", _PASSED, f"{next(iter(body.name.values()))} is who was accredited", str(body.id))

    def signature(self) -> Check:
        """Did the provider sign the credential, with a key that counted?"""
        credential, key_id = self.presentation.credential, self.presentation.key_id
        key = self._key(key_id, str(credential.awarding_body.id), facts_pb2.KEY_USE_CREDENTIAL)
        if isinstance(key, str):
            return Check("signature", _FAILED, key, key_id[:100])
        if not key_counts_at(key, credential.issued_at):
            return Check("signature", _FAILED, "the provider's key did not count at issuance", key_id)
        if not self.presentation.sd_jwt.jws.verified_by(parse_public_jwk(key.public_jwk)):
            return Check("signature", _FAILED, "the provider's signature does not hold", key_id)
        if key.HasField("compromised_from"):
            # Whoever has the key dates back what they sign; a bundle has nothing that says when it was.
            detail = "others may know the provider's key by now: only the log can tell that the credential is older"
            return Check("signature", _NOT_DETERMINABLE, detail, key_id)
        return Check("signature", _PASSED, "the provider signed it, with a key that counted", key_id)

    def decision(self, frameworks: Frameworks) -> Check:
        """Do accreditation and rules give the decision that is bound in, byte for byte?"""
        credential = self.presentation.credential
        reference, achievement = credential.decision, credential.achievement
        then = judge(
            self.projection,
            frameworks,
            reference.provider,
            offer_of(achievement),
            credential.issued_at,
            reference.registry_revision,
        )
        if then.allowed:
            # The list holds no catalogue, and the version of the rules is the issuer's.
            same = then._replace(
                achievement_id=achievement.id,
                achievement_version=achievement.version,
                framework_version=reference.framework_version,
            )
            if record_of(same).digest == reference.digest:
                detail = "the accreditation and the national rules allowed it at issuance"
                return Check("decision", _PASSED, detail, f"{then.rule}, {reference.digest}")
        if then.framework_version != reference.framework_version:
            detail = f"version {reference.framework_version} of the national rules is not known here"
            return Check("decision", _NOT_DETERMINABLE, detail, reference.digest)
        detail = "another decision is bound in" if then.allowed else then.message
        return Check("decision", _FAILED, detail, then.rule)

    def since(self, frameworks: Frameworks) -> Check:
        """Does it still count, as known when the list was made?"""
        credential = self.presentation.credential
        known = judge(
            self.projection,
            frameworks,
            credential.decision.provider,
            offer_of(credential.achievement),
            credential.issued_at,
            under=str(credential.decision.accreditation_id),
        )
        evidence = f"registry revision {known.known_at}"
        if known.allowed:
            return Check(STEPS[-1], _PASSED, "what became known since issuance does not touch it", evidence)
        return Check(STEPS[-1], _FAILED, f"rightfully issued, but it no longer counts: {known.message}", evidence)

    def _key(self, key_id: str, owner: str, use: facts_pb2.KeyUse.ValueType) -> facts_pb2.Key | str:
        """The list's entry of a key, or why it is none for this."""
        key = self.projection.key(key_id)
        if key is None or (key.owner, key.use) != (owner, use):
            return f"the key that it names is not {owner}'s for this use"
        return key


def _in_order(made: list[Check]) -> tuple[Check, ...]:
    """All steps, those that were not made as skipped."""
    by_name = {check.name: check for check in made}
    broken = next((check.name for check in made if check.outcome != _PASSED), "an earlier step")
    left = Check("", _SKIPPED, f"not looked at, since {broken} decided", "")
    return tuple(by_name.get(name) or left._replace(name=name) for name in STEPS)


def _told(error: VitneError) -> str:
    return f"{error.message} ({error.reason})"

"""The registry in the shape of EBSI's Trusted Issuers Registry, API version 5 (read endpoints).

Providers are its trusted issuers (*TI*), authorities its trusted accreditation
organisations (*TAO*), the operator its root (*RootTAO*). An accreditation is an
attribute: its body is the credential that the authority signed, its revisions are the
accreditation's. Identifiers are did:web, not did:ebsi, which only EBSI's own ledger can
give out (docs/decisions/0019). An attribute's id is the SHA-256 of the accreditation's
id, in hex; it may also be asked for by the hash of any of its revisions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final, TypeVar

from fastapi import APIRouter, Path, Response
from fastapi import Query as Parameter
from pydantic import BaseModel, Field

from services.registry.accreditation_credentials import AccreditationCredentials
from services.registry.recorder import Recorder
from vitne.accreditation import Held, fact_digest
from vitne.accreditation.dids import organisation_did, organisation_of_did
from vitne.accreditation.facts import milliseconds, stamp_milliseconds
from vitne.accreditation.logged import logged_accreditation
from vitne.accreditation.projection import HeldRevision
from vitne.canonical import from_b64url, sha256
from vitne.errors import FailedPrecondition, NotFound
from vitne_api.registry.v1 import facts_pb2

#: Where it lies.
PREFIX: Final = "/v5"
#: The same where EBSI has it.
EBSI_PREFIX: Final = "/trusted-issuers-registry/v5"
#: Items on a page where the request does not say, and at most; as EBSI.
DEFAULT_PAGE_SIZE: Final = 10
MAX_PAGE_SIZE: Final = 50
#: What an accreditation makes of who holds it, and what it says once it counts no longer.
TRUSTED_ISSUER: Final = "TI"
REVOKED: Final = "Revoked"
_HEADERS: Final = {"Access-Control-Allow-Origin": "*", "Cache-Control": "max-age=1"}


_T = TypeVar("_T")


class IssuerItem(BaseModel):
    """One issuer of a collection."""

    did: str
    href: str


class AttributeItem(BaseModel):
    """One attribute of a collection."""

    id: str
    href: str


class Attribute(BaseModel):
    """A revision of an attribute."""

    hash: str = Field(description="SHA-256 of the body, in hex; of the fact where there is no body yet.")
    body: str | None = Field(description="The accreditation's credential, compact (vc+jwt); null: not signed yet.")
    issuerType: str = Field(description="RootTAO, TAO, TI, Revoked or Undefined.")  # noqa: N815 - EBSI's names
    tao: str = Field(description="DID of the authority that accredited.")
    rootTao: str = Field(description="DID of the operator, which set the authority up.")  # noqa: N815


class Links(BaseModel):
    """Pages of a collection."""

    first: str
    prev: str
    next: str
    last: str


class _Collection(BaseModel):
    self: str
    total: int
    pageSize: int  # noqa: N815
    links: Links


class Issuers(_Collection):
    """A page of issuers."""

    items: list[IssuerItem]


class Attributes(_Collection):
    """A page of an issuer's attributes."""

    items: list[AttributeItem]


class Revisions(_Collection):
    """A page of an attribute's revisions."""

    items: list[Attribute]


class IssuerAnswer(BaseModel):
    """An issuer."""

    did: str
    attributes: str = Field(description="Where its attributes are.")
    hasAttributes: bool = Field(description="False: nobody has accredited it.")  # noqa: N815


class AttributeAnswer(BaseModel):
    """An attribute's newest revision."""

    did: str
    attribute: Attribute


_After = Annotated[int, Parameter(alias="page[after]", ge=1, le=1_000_000, description="Number of the page, from 1.")]
_Size = Annotated[int, Parameter(alias="page[size]", ge=1, le=MAX_PAGE_SIZE)]
_Did = Annotated[str, Path(max_length=300)]
_Hash = Annotated[str, Path(pattern="^[0-9a-f]{64}$")]


def issuer_routes(
    recorder: Recorder, credentials: AccreditationCredentials, registry_uri: str, prefix: str
) -> APIRouter:
    """The routes under a prefix; nothing is shown before the facts are read."""
    routes = APIRouter(prefix=prefix)
    base = f"{registry_uri}{prefix}/issuers"
    attributes = _AttributeDesk(recorder, credentials, registry_uri)

    def organisation_of(did: str) -> str:
        recorder.as_of()
        organisation = organisation_of_did(registry_uri, did)
        projection = recorder.projection
        if projection.provider(organisation) is None and projection.authority(organisation) is None:
            raise NotFound(
                "ISSUER_UNKNOWN",
                "no such issuer is trusted here",
                field="did",
                rule="providers and authorities that the registry knows are its issuers",
                remedy=f"take the DID from {prefix}/issuers",
            )
        return organisation

    @routes.get("/issuers")
    async def list_issuers(response: Response, page: _After = 1, size: _Size = DEFAULT_PAGE_SIZE) -> Issuers:
        """Authorities and providers, by DID."""
        recorder.as_of()
        response.headers.update(_HEADERS)
        projection = recorder.projection
        everybody = sorted({*projection.authority_ids(), *projection.provider_ids()})
        shown = (organisation_did(registry_uri, one) for one in _page(everybody, page, size))
        return Issuers(
            items=[IssuerItem(did=did, href=f"{base}/{did}") for did in shown],
            **_collection(base, page, size, len(everybody)),
        )

    @routes.get("/issuers/{did}")
    async def get_issuer(response: Response, did: _Did) -> IssuerAnswer:
        """One issuer."""
        held = recorder.projection.accreditations_of(organisation_of(did))
        response.headers.update(_HEADERS)
        return IssuerAnswer(did=did, attributes=f"{base}/{did}/attributes", hasAttributes=bool(held))

    @routes.get("/issuers/{did}/attributes")
    async def list_attributes(
        response: Response, did: _Did, page: _After = 1, size: _Size = DEFAULT_PAGE_SIZE
    ) -> Attributes:
        """The accreditations of an issuer."""
        held = recorder.projection.accreditations_of(organisation_of(did))
        response.headers.update(_HEADERS)
        place = f"{base}/{did}/attributes"
        ids = [attribute_id(one.id) for one in _page(held, page, size)]
        return Attributes(
            items=[AttributeItem(id=one, href=f"{place}/{one}") for one in ids],
            **_collection(place, page, size, len(held)),
        )

    @routes.get("/issuers/{did}/attributes/{attribute}")
    async def get_attribute(response: Response, did: _Did, attribute: _Hash) -> AttributeAnswer:
        """The newest revision of an accreditation."""
        held = await attributes.find(organisation_of(did), attribute)
        response.headers.update(_HEADERS)
        return AttributeAnswer(did=did, attribute=await attributes.show(held, held.newest))

    @routes.get("/issuers/{did}/attributes/{attribute}/revisions")
    async def list_revisions(
        response: Response, did: _Did, attribute: _Hash, page: _After = 1, size: _Size = DEFAULT_PAGE_SIZE
    ) -> Revisions:
        """Every revision of an accreditation, the oldest first."""
        held = await attributes.find(organisation_of(did), attribute)
        response.headers.update(_HEADERS)
        place = f"{base}/{did}/attributes/{attribute}/revisions"
        return Revisions(
            items=[await attributes.show(held, one) for one in _page(held.revisions, page, size)],
            **_collection(place, page, size, len(held.revisions)),
        )

    @routes.get("/issuers/{did}/attributes/{attribute}/revisions/{revision}")
    async def get_revision(response: Response, did: _Did, attribute: _Hash, revision: _Hash) -> AttributeAnswer:
        """One revision of an accreditation, by its hash."""
        held = await attributes.find(organisation_of(did), attribute)
        response.headers.update(_HEADERS)
        for one in held.revisions:
            shown = await attributes.show(held, one)
            if shown.hash == revision:
                return AttributeAnswer(did=did, attribute=shown)
        raise _unknown_attribute("revision")

    return routes


def attribute_id(accreditation_id: str) -> str:
    """The id of an accreditation's attribute: SHA-256 of its UUID's text, in hex."""
    return sha256(accreditation_id.encode("ascii")).hex()


class _AttributeDesk:
    """Finds and shows attributes."""

    def __init__(self, recorder: Recorder, credentials: AccreditationCredentials, registry_uri: str) -> None:
        self._projection = recorder.projection
        self._recorder = recorder
        self._operator = recorder.operator or ""
        self._credentials = credentials
        self._registry_uri = registry_uri

    async def find(self, organisation: str, attribute: str) -> Held:
        """An accreditation by its attribute's id, or by the hash of a revision of it."""
        held = {one.id: one for one in self._projection.accreditations_of(organisation)}
        for one in held.values():
            if attribute_id(one.id) == attribute or self._is_unsigned(one, attribute):
                return one
        # Anybody may ask for any hash: what that costs must not grow with what the organisation holds.
        signed = await self._credentials.signed_as(held, bytes.fromhex(attribute))
        if signed is not None:
            return held[signed]
        raise _unknown_attribute("attribute")

    def _is_unsigned(self, held: Held, digest: str) -> bool:
        """Whether a hash is of a revision's fact, as it is shown until there is a body."""
        known = (logged_accreditation(self._projection, held.provider, held.id, one.revision) for one in held.revisions)
        return any(one is not None and from_b64url(one.digest).hex() == digest for one in known)

    async def show(self, held: Held, revision: HeldRevision) -> Attribute:
        """A revision as EBSI shows it."""
        try:
            body: str | None = await self._credentials.find(held.id, revision.revision)
        except FailedPrecondition:
            body = None
        return Attribute(
            hash=(sha256(body.encode("ascii")) if body is not None else fact_digest(revision.fact)).hex(),
            body=body,
            issuerType=TRUSTED_ISSUER if self._is_trusted(held, revision) else REVOKED,
            tao=organisation_did(self._registry_uri, held.authority),
            rootTao=organisation_did(self._registry_uri, self._operator) if self._operator else "",
        )

    def _is_trusted(self, held: Held, revision: HeldRevision) -> bool:
        """Whether what a revision says may be issued under now: an end that is to come has not come.

        A revision that grants says so for ever; of one that ends it, it counts from when.
        """
        now = milliseconds(self._recorder.now())
        if revision.effective_from > now:
            revision = held.at(now) or revision
        provider = self._projection.provider(held.provider)
        if provider is not None and provider.HasField("closed_at") and stamp_milliseconds(provider.closed_at) <= now:
            return False
        return revision.state == facts_pb2.ACCREDITATION_STATE_GRANTED and now < revision.valid_until


def _page(items: Sequence[_T], page: int, size: int) -> Sequence[_T]:
    return items[(page - 1) * size : page * size]


def _collection(place: str, page: int, size: int, total: int) -> dict[str, Any]:
    """What EBSI says of every collection; its first page is number one."""
    last = max(1, -(-total // size))

    def link(number: int) -> str:
        return f"{place}?page[after]={number}&page[size]={size}"

    return {
        "self": link(page),
        "total": total,
        "pageSize": size,
        "links": Links(
            first=link(1), prev=link(min(max(1, page - 1), last)), next=link(min(page + 1, last)), last=link(last)
        ),
    }


def _unknown_attribute(field: str) -> NotFound:
    return NotFound(
        "ATTRIBUTE_UNKNOWN",
        "the issuer has no such attribute",
        field=field,
        rule="an attribute's id, or the hash of one of its revisions",
        remedy="take it from the issuer's attributes",
    )

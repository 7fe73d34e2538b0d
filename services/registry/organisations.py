"""Authorities and their remit; providers."""

from __future__ import annotations

from services.registry.desk import Desk, check_base_revision, check_languages, check_responsible
from vitne.errors import AlreadyExists, InvalidArgument, NotFound
from vitne.identifiers import OrganisationId
from vitne_api.registry.v1 import facts_pb2, registry_pb2


def register_authority(desk: Desk, request: registry_pb2.RegisterAuthorityRequest) -> facts_pb2.Fact:
    """Set up an authority; the operator's.

    Raises:
        PermissionDenied: ``NOT_THE_OPERATOR``.
        AlreadyExists: ``AUTHORITY_EXISTS``.
        InvalidArgument: ``UNKNOWN_COUNTRY``, ``UNKNOWN_TERM``, ``REMIT_CONTRADICTS``, ``LANGUAGE_REPEATED``.
    """
    desk.require_operator("authorities are set up by the operator")
    authority = facts_pb2.Authority()
    authority.CopyFrom(request.authority)
    authority.revision = 1
    authority.ClearField("ground")
    check_languages(list(authority.name), field="authority.name")
    _check_remit(desk, authority.remit, field="authority.remit")
    if desk.projection.authority(authority.id) is not None:
        raise AlreadyExists(
            "AUTHORITY_EXISTS",
            f"{authority.id} is an authority already",
            field="authority.id",
            rule="an authority is set up once",
            remedy="nothing is to be done",
        )
    return facts_pb2.Fact(subject=authority.id, authority=authority)


def amend_authority(desk: Desk, request: registry_pb2.AmendAuthorityRequest) -> facts_pb2.Fact:
    """Give an authority a new name and remit; the operator's. What it decided before stands.

    Raises:
        PermissionDenied: ``NOT_THE_OPERATOR``.
        NotFound: ``AUTHORITY_UNKNOWN``.
        Aborted: ``REVISION_MOVED``.
        InvalidArgument: ``UNKNOWN_COUNTRY``, ``UNKNOWN_TERM``, ``REMIT_CONTRADICTS``, ``COUNTRY_CONTRADICTS``,
            ``LANGUAGE_REPEATED``.
    """
    desk.require_operator("authorities' remits are the operator's to change")
    known = desk.projection.authority(request.authority)
    if known is None:
        raise NotFound(
            "AUTHORITY_UNKNOWN",
            f"{request.authority} is not an authority here",
            field="authority",
            rule="an authority is set up before its remit is changed",
            remedy="set it up",
        )
    check_base_revision(known.revision, request.base_revision, "authority's entry")
    check_languages(list(request.name), field="name")
    if request.remit.country != known.remit.country:
        raise InvalidArgument(
            "COUNTRY_CONTRADICTS",
            f"{request.authority} acts in {known.remit.country}",
            field="remit.country",
            rule="an authority acts in one country",
            remedy="set up another authority for another country",
        )
    _check_remit(desk, request.remit, field="remit")
    said = facts_pb2.Authority(
        id=known.id,
        name=request.name,
        remit=request.remit,
        synthetic=known.synthetic,
        revision=known.revision + 1,
        ground=request.ground,
    )
    return facts_pb2.Fact(subject=said.id, authority=said)


def register_provider(desk: Desk, request: registry_pb2.RegisterProviderRequest) -> facts_pb2.Fact:
    """Enter a provider of a kind within the calling authority's remit.

    Raises:
        PermissionDenied: ``NOT_AN_AUTHORITY``, ``OUTSIDE_REMIT``.
        AlreadyExists: ``PROVIDER_EXISTS``, ``ISSUER_URI_TAKEN``.
        InvalidArgument: ``UNKNOWN_COUNTRY``, ``UNKNOWN_TERM``, ``COUNTRY_CONTRADICTS``, ``LANGUAGE_REPEATED``.
    """
    desk.authority()
    provider = facts_pb2.Provider()
    provider.CopyFrom(request.provider)
    provider.revision = 1
    for name in ("closed_at", "ground", "succeeded_by", "closing_case", "closing_proposed_by"):
        provider.ClearField(name)
    check_languages(list(provider.name), field="provider.name")
    framework = desk.framework_of(provider.country, field="provider.country")
    framework.known(framework.provider_kinds, provider.kind, "kind of provider", field="provider.kind")
    if OrganisationId.parse(provider.id, field="provider.id").country != provider.country:
        raise InvalidArgument(
            "COUNTRY_CONTRADICTS",
            f"{provider.id} is not an organisation of {provider.country}",
            field="provider.country",
            rule="a provider is named by its number in the register of its own country",
            remedy="correct the country or the identifier",
        )
    check_responsible(desk, provider, country_field="provider.country", kind_field="provider.kind")
    if desk.projection.provider(provider.id) is not None:
        raise AlreadyExists(
            "PROVIDER_EXISTS",
            f"{provider.id} is a provider already",
            field="provider.id",
            rule="a provider is entered once",
            remedy="grant it an accreditation, if that is what is meant",
        )
    if desk.projection.provider_by_issuer(provider.issuer_uri) is not None:
        raise AlreadyExists(
            "ISSUER_URI_TAKEN",
            "another provider's credentials carry this URI as their issuer",
            field="provider.issuer_uri",
            rule="an issuer URI names one provider",
            remedy="choose another URI",
        )
    return facts_pb2.Fact(subject=provider.id, provider=provider)


def amend_provider(desk: Desk, request: registry_pb2.AmendProviderRequest) -> facts_pb2.Fact:
    """Give a provider another name; what it issued before carries the old one, as known then.

    Raises:
        PermissionDenied: ``NOT_AN_AUTHORITY``, ``OUTSIDE_REMIT``.
        NotFound: ``PROVIDER_UNKNOWN``.
        Aborted: ``REVISION_MOVED``.
        FailedPrecondition: ``PROVIDER_CLOSED``.
        InvalidArgument: ``LANGUAGE_REPEATED``.
    """
    desk.authority()
    known = desk.open_provider(request.provider, field="provider")
    check_responsible(desk, known, country_field="provider", kind_field="provider")
    check_base_revision(known.revision, request.base_revision, "provider's entry")
    check_languages(list(request.name), field="name")
    said = facts_pb2.Provider()
    said.CopyFrom(known)
    said.revision += 1
    del said.name[:]
    said.name.extend(request.name)
    said.ground = request.ground
    return facts_pb2.Fact(subject=said.id, provider=said)


def _check_remit(desk: Desk, remit: facts_pb2.Remit, *, field: str) -> None:
    """Refuse a remit that the country's rules have no words for.

    Raises:
        InvalidArgument: ``UNKNOWN_COUNTRY``, ``UNKNOWN_TERM``, ``REMIT_CONTRADICTS``.
    """
    framework = desk.framework_of(remit.country, field=f"{field}.country")
    for number, kind in enumerate(remit.provider_kinds):
        where = f"{field}.provider_kinds[{number}]"
        framework.known(framework.provider_kinds, kind, "kind of provider", field=where)
    for number, kind in enumerate(remit.accreditation_kinds):
        where = f"{field}.accreditation_kinds[{number}]"
        framework.known(framework.accreditation_kinds, kind, "kind of accreditation", field=where)
        held_by = framework.accreditation_kinds[kind].held_by
        if held_by.isdisjoint(remit.provider_kinds):
            raise InvalidArgument(
                "REMIT_CONTRADICTS",
                f"no kind of provider of the remit can hold {kind}",
                field=where,
                rule=f"{kind} is held by {', '.join(sorted(held_by))}",
                remedy="add a kind of provider that can hold it, or leave it out",
            )

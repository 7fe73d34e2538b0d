"""Authorities and their remit; providers."""

from __future__ import annotations

from services.registry.desk import Desk, check_languages, outside_remit
from vitne.errors import AlreadyExists, InvalidArgument
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
    authority, remit = request.authority, request.authority.remit
    check_languages(list(authority.name), field="authority.name")
    framework = desk.framework_of(remit.country, field="authority.remit.country")
    for number, kind in enumerate(remit.provider_kinds):
        field = f"authority.remit.provider_kinds[{number}]"
        framework.known(framework.provider_kinds, kind, "kind of provider", field=field)
    for number, kind in enumerate(remit.accreditation_kinds):
        field = f"authority.remit.accreditation_kinds[{number}]"
        framework.known(framework.accreditation_kinds, kind, "kind of accreditation", field=field)
        held_by = framework.accreditation_kinds[kind].held_by
        if held_by.isdisjoint(remit.provider_kinds):
            raise InvalidArgument(
                "REMIT_CONTRADICTS",
                f"no kind of provider of the remit can hold {kind}",
                field=field,
                rule=f"{kind} is held by {', '.join(sorted(held_by))}",
                remedy="add a kind of provider that can hold it, or leave it out",
            )
    if desk.projection.authority(authority.id) is not None:
        raise AlreadyExists(
            "AUTHORITY_EXISTS",
            f"{authority.id} is an authority already",
            field="authority.id",
            rule="an authority is set up once",
            remedy="nothing is to be done",
        )
    return facts_pb2.Fact(subject=authority.id, authority=authority)


def register_provider(desk: Desk, request: registry_pb2.RegisterProviderRequest) -> facts_pb2.Fact:
    """Enter a provider of a kind within the calling authority's remit.

    Raises:
        PermissionDenied: ``NOT_AN_AUTHORITY``, ``OUTSIDE_REMIT``.
        AlreadyExists: ``PROVIDER_EXISTS``, ``ISSUER_URI_TAKEN``.
        InvalidArgument: ``UNKNOWN_COUNTRY``, ``UNKNOWN_TERM``, ``COUNTRY_CONTRADICTS``, ``LANGUAGE_REPEATED``.
    """
    remit = desk.authority().remit
    provider = facts_pb2.Provider()
    provider.CopyFrom(request.provider)
    provider.revision = 1
    provider.ClearField("closed_at")
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
    if provider.country != remit.country:
        raise outside_remit(f"{desk.caller} acts in {remit.country}", field="provider.country")
    if provider.kind not in remit.provider_kinds:
        raise outside_remit(f"{desk.caller} is not responsible for {provider.kind}", field="provider.kind")
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

"""The desk at which a change is decided: what is known, who asks, and when."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from vitne.accreditation import Projection, instant
from vitne.errors import Aborted, FailedPrecondition, InvalidArgument, NotFound, PermissionDenied
from vitne.frameworks import Framework, Frameworks
from vitne_api.credential.v1 import credential_pb2
from vitne_api.registry.v1 import facts_pb2

#: How far an "effective from now" may lie back: the way of a request, and clocks that differ.
TOLERANCE: Final = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Desk:
    """Everything that decides about a change. The projection is whole up to the newest fact.

    Attributes:
        projection: what is known.
        frameworks: the national rules.
        operator: the organisation that operates the installation; None: nobody does.
        caller: the organisation that asks.
        now: the instant of the change.
        new_id: makes UUIDv7.
        officer: the caller's officer, by a name that counts in the case at hand alone; empty: nobody in particular.
    """

    projection: Projection
    frameworks: Frameworks
    operator: str | None
    caller: str
    now: datetime
    new_id: Callable[[], UUID]
    officer: str = ""

    def require_officer(self) -> str:
        """The officer's name in the case at hand.

        Raises:
            PermissionDenied: ``OFFICER_MISSING``.
        """
        if not self.officer:
            raise PermissionDenied(
                "OFFICER_MISSING",
                "the access token does not say which officer of the authority decides",
                field="authorization",
                rule="an accreditation is decided by officers (RFC 9068, section 2.2: sub)",
                remedy="ask the token issuer for a token on behalf of the officer",
            )
        return self.officer

    def require_operator(self, rule: str) -> None:
        """Return when the caller operates the installation.

        Raises:
            PermissionDenied: ``NOT_THE_OPERATOR``.
        """
        if self.operator is None or self.caller != self.operator:
            raise PermissionDenied(
                "NOT_THE_OPERATOR",
                "only the organisation that operates this installation may do this",
                rule=rule,
                remedy="ask the operator",
            )

    def authority(self) -> facts_pb2.Authority:
        """The caller as an authority.

        Raises:
            PermissionDenied: ``NOT_AN_AUTHORITY``.
        """
        found = self.projection.authority(self.caller)
        if found is None:
            raise PermissionDenied(
                "NOT_AN_AUTHORITY",
                f"{self.caller} is not an authority here",
                rule="only authorities that the operator set up enter and accredit providers",
                remedy="ask the operator to register the authority and its remit",
            )
        return found

    def open_provider(self, provider: str, *, field: str) -> facts_pb2.Provider:
        """A provider that is known and open.

        Raises:
            NotFound: ``PROVIDER_UNKNOWN``.
            FailedPrecondition: ``PROVIDER_CLOSED``.
        """
        found = self.projection.provider(provider)
        if found is None:
            raise NotFound(
                "PROVIDER_UNKNOWN",
                f"{provider} is not a provider that the registry knows",
                field=field,
                rule="a provider is entered by an authority that is responsible for its kind",
                remedy="have the provider registered first",
            )
        if found.HasField("closed_at") and instant(found.closed_at) <= self.now:
            raise FailedPrecondition(
                "PROVIDER_CLOSED",
                f"{provider} has closed",
                field=field,
                rule="a closed provider holds and publishes nothing new",
                remedy="name the provider that took over",
            )
        return found

    def framework_of(self, country: str, *, field: str) -> Framework:
        """The rules of a country.

        Raises:
            InvalidArgument: ``UNKNOWN_COUNTRY``.
        """
        return self.frameworks.require(country, field=field)


def check_responsible(desk: Desk, provider: facts_pb2.Provider, *, country_field: str, kind_field: str) -> None:
    """Refuse what is about a provider that is not within the calling authority's remit.

    Raises:
        PermissionDenied: ``NOT_AN_AUTHORITY``, ``OUTSIDE_REMIT``.
    """
    remit = desk.authority().remit
    if provider.country != remit.country:
        raise outside_remit(f"{desk.caller} acts in {remit.country}", field=country_field)
    if provider.kind not in remit.provider_kinds:
        raise outside_remit(f"{desk.caller} is not responsible for {provider.kind}", field=kind_field)


def check_base_revision(newest: int, base: int, what: str) -> None:
    """Refuse a change that was decided on another revision than the newest.

    Raises:
        Aborted: ``REVISION_MOVED``.
    """
    if base != newest:
        raise Aborted(
            "REVISION_MOVED",
            f"the {what} is at revision {newest}",
            field="base_revision",
            rule="a change is based on the newest revision",
            remedy="read the newest revision, decide again, and send the change with a new request id",
            metadata={"revision": str(newest)},
        )


def check_languages(texts: list[credential_pb2.LocalisedText], *, field: str) -> None:
    """Refuse a text that is there twice in one language.

    Raises:
        InvalidArgument: ``LANGUAGE_REPEATED``.
    """
    seen: set[str] = set()
    for number, text in enumerate(texts):
        if text.language.lower() in seen:
            raise InvalidArgument(
                "LANGUAGE_REPEATED",
                f"there are two texts in {text.language}",
                field=f"{field}[{number}].language",
                rule="one text a language",
                remedy="leave one of them out",
            )
        seen.add(text.language.lower())


def outside_remit(message: str, *, field: str) -> PermissionDenied:
    """The refusal of what the calling authority is not responsible for."""
    return PermissionDenied(
        "OUTSIDE_REMIT",
        message,
        field=field,
        rule="an authority acts only within its remit: country, kinds of provider, kinds of accreditation",
        remedy="let the responsible authority do it, or have the operator correct the remit",
    )


def check_next_version(what: str, version: int, newest: int) -> None:
    """Check that what is published follows what was; ``what`` is its name in the request, ``newest`` 0 for the first.

    Raises:
        FailedPrecondition: ``VERSION_NOT_NEXT``.
    """
    expected = newest + 1
    if version != expected:
        raise FailedPrecondition(
            "VERSION_NOT_NEXT",
            f"the next version of this {what} is {expected}",
            field=f"{what}.version",
            rule="versions count from 1 without gaps, and are never changed",
            remedy="publish it as the next version",
            metadata={"next_version": str(expected)},
        )

"""What the portal is told by its environment, beside what every service is told."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Final, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from services.portal.providers import FEIDE_NUMBER_CLAIM, FEIDE_SCOPE, FeideClient
from vitne.identifiers import OrganisationId
from vitne.runtime.settings import Address, CommonSettings, OptionalAddress, OrganisationText

#: The hub that the reference portal is: HK-dir, which runs Vitnemålsportalen's successor in the examples.
DEFAULT_HUB: Final = "0192:919477822"
#: How long a learner stays logged in: long enough to read, short enough for a borrowed machine.
DEFAULT_SESSION_SECONDS: Final = 3600


def _check_origin(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("https", "http") or not parts.hostname or parts.path or parts.query or parts.fragment:
        raise ValueError("write it as https://host, without a slash at the end")
    return text


class PortalSettings(CommonSettings):
    """Settings of the portal.

    Attributes:
        hub: the organisation that the portal is; its topic and pseudonyms are its own.
        issuer_address: gRPC address of the issuer.
        registry_address: gRPC address of the registry, which says what credentials add up to; empty: the pages don't.
        registry_audience: what access tokens for the registry name as ``aud``; empty: the same as ``audience``.
        issuer_audience: what access tokens for the issuer name as ``aud``; empty: the same as ``audience``.
        public_url: where learners find the portal; ``/callback`` under it is registered with the OpenID provider.
        learner_issuer: OpenID provider (ID-porten); empty: the same as ``identity_issuer``.
        learner_client_id: the portal's client there; empty: the same as ``client_id``.
        feide_issuer: Feide, as a second way to log in; empty: it is not offered.
        feide_client_id: the portal's client there; ``/callback/feide`` under ``public_url`` is registered with it.
        feide_secret_file: holds its secret.
        feide_scope: what is asked for, with the attribute group that opens the national identity number.
        feide_number_claim: where ``userinfo`` has the number.
        feide_acr: the level of assurance that is demanded; empty: none, since Feide states none by itself.
        verifier_address: gRPC address of the verifier, which says what may be believed of what is shared; empty:
            nothing can be checked, and pages say so.
        certificates: folder with the certificate of the key that signs documents, ``<thumbprint>.pem``; None: none are
            signed, or in development with a certificate of the portal's own.
        emrex_clients_file: EMREX clients that results may be taken to (docs/emrex.md); None: to none.
        emrex_providers_file: EMREX data providers to fetch results from, as EMREG lists them; None: there are none.
        session_seconds: how long a learner stays logged in.
    """

    identity_issuers: ClassVar[tuple[str, ...]] = ("identity_issuer", "learner_issuer", "feide_issuer")
    grpc_targets: ClassVar[tuple[str, ...]] = ("issuer_address", "registry_address", "verifier_address")

    hub: OrganisationText = DEFAULT_HUB
    issuer_address: Address
    issuer_audience: str = ""
    registry_address: OptionalAddress = ""
    registry_audience: str = ""
    public_url: Annotated[str, AfterValidator(_check_origin)]
    learner_issuer: str = ""
    learner_client_id: str = ""
    verifier_address: OptionalAddress = ""
    certificates: Path | None = None
    emrex_clients_file: Path | None = None
    emrex_providers_file: Path | None = None
    feide_issuer: str = ""
    feide_client_id: str = ""
    feide_secret_file: Path | None = None
    feide_scope: str = FEIDE_SCOPE
    feide_number_claim: str = FEIDE_NUMBER_CLAIM
    feide_acr: str = ""
    session_seconds: int = Field(default=DEFAULT_SESSION_SECONDS, ge=60, le=86_400)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        for name in ("database_dsn", "kafka_bootstrap_servers", "identity_issuer", "audience", "client_id"):
            if not getattr(self, name):
                raise ValueError(f"VITNE_{name.upper()} must be set")
        if self.client_key_file is None:
            raise ValueError("VITNE_CLIENT_KEY_FILE must be set")
        if self.feide_issuer and not (self.feide_client_id and self.feide_secret_file):
            raise ValueError("VITNE_FEIDE_ISSUER needs VITNE_FEIDE_CLIENT_ID and VITNE_FEIDE_SECRET_FILE")
        if self.environment == "production" and not self.public_url.startswith("https://"):
            raise ValueError("VITNE_PUBLIC_URL must be https in production")
        return self

    @property
    def hub_id(self) -> OrganisationId:
        """The hub."""
        return OrganisationId.parse(self.hub)

    @property
    def openid_issuer(self) -> str:
        """Who learners log in with."""
        return self.learner_issuer or self.identity_issuer

    @property
    def openid_client_id(self) -> str:
        """The portal's client there: the audience of ID tokens."""
        return self.learner_client_id or self.client_id

    def feide(self) -> FeideClient:
        """The portal's client at Feide, which must be set (``feide_issuer``)."""
        assert self.feide_secret_file is not None  # noqa: S101  (the settings' own check, told to the type checker)
        return FeideClient(
            url=self.feide_issuer,
            client_id=self.feide_client_id,
            secret=self.feide_secret_file.read_text("utf-8").strip(),
            scope=self.feide_scope,
            number_claim=self.feide_number_claim,
            acr=self.feide_acr,
        )

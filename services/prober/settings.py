"""What the prober is told by its environment, beside what every service is told."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Final, Self

from pydantic import AfterValidator, Field, model_validator

from vitne.errors import InvalidArgument
from vitne.identifiers import NORWEGIAN_NATIONAL_ID, LearnerId, parse_uuid
from vitne.runtime.fetch import AllowRule, Fetcher
from vitne.runtime.names import DEFAULT_LOG_ORIGIN, DEFAULT_REGISTRY_URI
from vitne.runtime.settings import Address, AllowRuleText, CommonSettings, OrganisationText, Thumbprint

#: Once a minute: an alert that waits for five failures speaks within five minutes.
DEFAULT_INTERVAL_SECONDS: Final = 60.0
#: What a step may take before it counts as failed: far beyond every objective, so that it means "does not happen".
DEFAULT_STEP_SECONDS: Final = 20.0
#: What Skatteetaten adds to the month of a number of the synthetic population.
_SYNTHETIC_MONTHS: Final = range(81, 93)


def _check_synthetic(value: str) -> str:
    try:
        LearnerId.parse(NORWEGIAN_NATIONAL_ID, value)
    except InvalidArgument as error:
        raise ValueError(str(error)) from error
    if int(value[2:4]) not in _SYNTHETIC_MONTHS:
        raise ValueError("must be a synthetic number, with 80 added to the month: a real learner is never probed with")
    return value


def _check_uuid(text: str) -> str:
    try:
        return str(parse_uuid(text))
    except InvalidArgument as error:
        raise ValueError(str(error)) from error


class ProberSettings(CommonSettings):
    """Settings of the prober.

    Attributes:
        issuer_address: ``host:port`` of the issuer's gRPC, as institutions reach it.
        ledger_address: ``host:port`` of the ledger's public gRPC methods.
        verifier_url: the verifier's HTTP address, without a slash at the end.
        trust_list_url: where the registry's trust list is fetched.
        registry_key: RFC 7638 thumbprint of the key that signs it; pinned.
        registry_uri: who issues it.
        log_origin: name of the first log, which its checkpoints begin with; those that followed are taken, too.
        allow: allow-rules: which addresses of status lists are fetched, and from where.
        achievement: id of an achievement of the prober's own provider, for nothing but this.
        achievement_version: its version.
        learner: synthetic national identity number (Skatteetaten: 80 added to the month).
        hub: a hub at which the learner is registered, by her own act; None: none is watched.
        hub_client_id: the hub's client at the token issuer; empty: the same as ``client_id``.
        hub_client_key_file: private JWK that proves it; None: the same as ``client_key_file``.
        interval_seconds: from the beginning of a round to that of the next.
        step_seconds: what a step may take.
    """

    grpc_targets: ClassVar[tuple[str, ...]] = ("issuer_address", "ledger_address")

    issuer_address: Address
    ledger_address: Address
    verifier_url: str = Field(pattern=r"^https?://[^/?#]+$")
    trust_list_url: str
    registry_key: Thumbprint
    registry_uri: str = DEFAULT_REGISTRY_URI
    log_origin: str = Field(default=DEFAULT_LOG_ORIGIN, min_length=1)
    allow: tuple[AllowRuleText, ...] = Field(min_length=1)
    achievement: Annotated[str, AfterValidator(_check_uuid)]
    achievement_version: int = Field(default=1, ge=1)
    learner: Annotated[str, AfterValidator(_check_synthetic)]
    hub: OrganisationText | None = None
    hub_client_id: str = ""
    hub_client_key_file: Path | None = None
    interval_seconds: float = Field(default=DEFAULT_INTERVAL_SECONDS, ge=0.1, le=3600)
    step_seconds: float = Field(default=DEFAULT_STEP_SECONDS, ge=0.1, le=300)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        for name in ("identity_issuer", "audience", "client_id", "client_key_file", "operator"):
            if not getattr(self, name):
                raise ValueError(f"VITNE_{name.upper()} must be set")
        if self.hub and not self.kafka_bootstrap_servers:
            raise ValueError("VITNE_KAFKA_BOOTSTRAP_SERVERS must be set, since VITNE_HUB is")
        if self.environment == "production" and not self.verifier_url.startswith("https://"):
            raise ValueError("VITNE_VERIFIER_URL must be https in production")
        try:
            Fetcher(self.allow_rules, development=self.environment == "development")
        except InvalidArgument as error:
            raise ValueError(str(error)) from error
        return self

    @property
    def allow_rules(self) -> tuple[AllowRule, ...]:
        """The allow-rules, read."""
        return tuple(AllowRule.parse(text) for text in self.allow)

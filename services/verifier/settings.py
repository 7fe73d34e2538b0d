"""What the verifier is told by its environment, beside what every service is told."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from vitne.credentials.trust_anchors import TrustAnchors
from vitne.errors import InvalidArgument
from vitne.frameworks import LAW, Standing
from vitne.inspection.log_memory import LogMemory
from vitne.merkle.policy import Policy
from vitne.runtime.fetch import AllowRule, Fetcher
from vitne.runtime.names import DEFAULT_LOG_ORIGIN, DEFAULT_REGISTRY_URI
from vitne.runtime.settings import Address, AllowRuleText, CommonSettings, OptionalThumbprint

#: How old the registry's word may be (DESIGN: ten minutes): past it nothing is called valid.
DEFAULT_REGISTRY_STALENESS_SECONDS: Final = 600
#: How often the trust list is fetched: a withdrawal is seen within it.
DEFAULT_TRUST_LIST_REFRESH_SECONDS: Final = 5.0


class VerifierSettings(CommonSettings):
    """Settings of the verifier.

    Attributes:
        verifier_source: how the registry is known: by its ``topics``, or by its signed ``trust-list`` over HTTP.
        trust_list_url: where the trust list is fetched.
        registry_key: RFC 7638 thumbprint of the key that signs the trust list; pinned.
        registry_uri: who issues the trust list, its ``iss``.
        trust_list_refresh_seconds: between two fetches of the trust list.
        ledger_address: ``host:port`` of the ledger's gRPC, whose public methods prove inclusion.
        log_origin: name of the first log, which its checkpoints begin with; those that followed it by statements of
            succession count, too, and no other.
        log_policy_file: policy (C2SP tlog-policy) that checkpoints have to meet: the log's key, the witnesses' and how
            many of these; none: the operator's signature alone counts.
        log_memory_file: holds the largest checkpoint that was seen of each log, and is written to: a log that goes back
            or forks is refused after a restart, too; none: it is remembered while the verifier runs.
        trust_anchors: certificates in PEM of the authorities to which certificates beside a signature have to lead;
            none: these are not looked at, and a key counts by the registry's word alone.
        allow: allow-rules ``PREFIX=BASE`` or ``PREFIX=BASE;private``: which addresses of status lists are fetched, and
            from where.
        registry_staleness_seconds: age of the registry's word past which nothing is called valid.
        standings: standings of national rules that are applied; the same as the registry's and the issuer's, since what
            they allow by a pilot's rule was rightfully issued.
    """

    grpc_targets: ClassVar[tuple[str, ...]] = ("ledger_address",)

    verifier_source: Literal["topics", "trust-list"] = "topics"
    trust_list_url: str = ""
    registry_key: OptionalThumbprint = ""
    registry_uri: str = DEFAULT_REGISTRY_URI
    trust_list_refresh_seconds: float = Field(default=DEFAULT_TRUST_LIST_REFRESH_SECONDS, ge=0.1, le=300)
    ledger_address: Address
    log_origin: str = Field(default=DEFAULT_LOG_ORIGIN, min_length=1)
    log_policy_file: Path | None = None
    log_memory_file: Path | None = None
    trust_anchors: Path | None = None
    allow: tuple[AllowRuleText, ...] = ()
    registry_staleness_seconds: int = Field(default=DEFAULT_REGISTRY_STALENESS_SECONDS, ge=5, le=86_400)
    standings: tuple[Standing, ...] = LAW

    @model_validator(mode="after")
    def _complete(self) -> Self:
        needed = {
            "topics": ("kafka_bootstrap_servers", "operator"),
            "trust-list": ("trust_list_url", "registry_key"),
        }[self.verifier_source]
        for name in needed:
            if not getattr(self, name):
                raise ValueError(f"VITNE_{name.upper()} must be set for the source {self.verifier_source}")
        try:
            Fetcher(self.allow_rules, development=self.environment == "development")
        except InvalidArgument as error:
            raise ValueError(str(error)) from error
        return self

    @property
    def log_policy(self) -> Policy | None:
        """The policy, read.

        Raises:
            InvalidArgument: ``BAD_LOG_POLICY``, ``BAD_NOTE_KEY``.
            OSError: the file can't be read.
        """
        return None if self.log_policy_file is None else Policy.read(self.log_policy_file.read_bytes())

    @property
    def log_memory(self) -> LogMemory:
        """What is remembered of the log, read.

        Raises:
            InvalidArgument: ``LOG_MEMORY_UNREADABLE``.
            OSError: the file can't be read.
        """
        return LogMemory.read(self.log_memory_file)

    @property
    def anchors(self) -> TrustAnchors | None:
        """The trust anchors, read.

        Raises:
            InvalidArgument: ``BAD_TRUST_ANCHORS``.
            OSError: the file can't be read.
        """
        return None if self.trust_anchors is None else TrustAnchors.parse(self.trust_anchors.read_bytes())

    @property
    def allow_rules(self) -> tuple[AllowRule, ...]:
        """The allow-rules, read."""
        return tuple(AllowRule.parse(text) for text in self.allow)

    @property
    def registry_staleness(self) -> timedelta:
        """Age of the registry's word past which nothing is called valid."""
        return timedelta(seconds=self.registry_staleness_seconds)

"""What the issuer is told by its environment, beside what every service is told."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, ClassVar, Final

from pydantic import Field, model_validator

from services.issuer.leases import MAX_BLOCK
from vitne.frameworks import LAW, Standing
from vitne.runtime.settings import CommonSettings, OrganisationText

#: How old the registry's word may be (DESIGN: ten minutes). Longer issues on accreditations that may be gone;
#: shorter stops all institutions whenever the registry is upgraded.
DEFAULT_REGISTRY_STALENESS_SECONDS: Final = 600
#: Indexes asked for at once: a large batch's worth, a twentieth of a list.
DEFAULT_LEASE_BLOCK: Final = 5_000
#: Stock below which more are asked for: how long issuance goes on while the ledger is down.
DEFAULT_LEASE_LOW_WATER: Final = 10_000
#: Connections to the store of learners' keys: each group of issuances asks it twice, briefly.
DEFAULT_KEY_STORE_CONNECTIONS: Final = 4
#: Credentials that a provider may issue by batches in 24 hours: a large university's year in one go, and not a
#: loop that never ends.
DEFAULT_DAILY_QUOTA: Final = 100_000
#: Days that an institution has to look at a whole of which a part was revoked.
DEFAULT_PART_GRACE_DAYS: Final = 30


class IssuerSettings(CommonSettings):
    """Settings of the issuer.

    Attributes:
        learner_keys_dsn: database of learners' data keys, another one than ``database_dsn``.
        learner_keys_connections: most connections to it.
        ledger_address: ``host:port`` of the ledger's gRPC.
        ledger_audience: what access tokens for the ledger name as ``aud``.
        learner_issuer: issuer URL of learners' ID tokens; empty: the same as ``identity_issuer``.
        hubs: the hubs that are served: organisation id to the client id that its learners' ID tokens are made for.
        hub_registration_ends: whether hubs are told that a registration ended; off while one runs a release that would
            park the notice (0.1.0). ``reconcile`` tells what was not told.
        registry_staleness_seconds: age of the registry's word past which nothing is issued.
        lease_block: status indexes that are leased at once.
        lease_low_water: stock of indexes, by country, below which more are leased.
        daily_quota: credentials that a provider may have issued in 24 hours, past which batches are refused.
        daily_quotas: the same for providers that have another: organisation id to number.
        part_grace_days: days that an institution has to look at a credential of which a part was revoked.
        certificates: folder with the certificates of signing keys, ``<thumbprint>.pem``; None: ELMO and EDC are not
            made, or in development with certificates of the issuer's own.
        x5c: organisations whose SD-JWT VCs and ``vc+jwt`` carry these certificates; nobody's unless said.
        standings: standings of national rules that are applied; the same as the registry's.
    """

    databases: ClassVar[tuple[str, ...]] = ("database_dsn", "learner_keys_dsn")
    identity_issuers: ClassVar[tuple[str, ...]] = ("identity_issuer", "learner_issuer")
    grpc_targets: ClassVar[tuple[str, ...]] = ("ledger_address",)

    learner_keys_dsn: str = ""
    learner_keys_connections: int = Field(default=DEFAULT_KEY_STORE_CONNECTIONS, ge=1, le=100)
    ledger_address: str = ""
    ledger_audience: str = ""
    learner_issuer: str = ""
    hubs: dict[OrganisationText, str] = Field(default_factory=dict)
    hub_registration_ends: bool = True
    registry_staleness_seconds: int = Field(default=DEFAULT_REGISTRY_STALENESS_SECONDS, ge=5, le=86_400)
    lease_block: int = Field(default=DEFAULT_LEASE_BLOCK, ge=1, le=MAX_BLOCK)
    lease_low_water: int = Field(default=DEFAULT_LEASE_LOW_WATER, ge=1, le=1_000_000)
    daily_quota: int = Field(default=DEFAULT_DAILY_QUOTA, ge=1)
    daily_quotas: dict[OrganisationText, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)
    part_grace_days: int = Field(default=DEFAULT_PART_GRACE_DAYS, ge=1, le=365)
    certificates: Path | None = None
    x5c: tuple[OrganisationText, ...] = ()
    standings: tuple[Standing, ...] = LAW

    @model_validator(mode="after")
    def _check_databases(self) -> IssuerSettings:
        if self.database_dsn and self.database_dsn == self.learner_keys_dsn:
            raise ValueError("learner_keys_dsn has to be another database than database_dsn")
        return self

    @property
    def registry_staleness(self) -> timedelta:
        """Age of the registry's word past which nothing is issued."""
        return timedelta(seconds=self.registry_staleness_seconds)

    @property
    def part_grace(self) -> timedelta:
        """How long an institution has to look at a credential of which a part was revoked."""
        return timedelta(days=self.part_grace_days)

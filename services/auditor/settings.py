"""What the auditor is told by its environment, beside what every service is told."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

from pydantic import Field, field_validator, model_validator

from vitne.runtime.settings import CommonSettings, OrganisationText, is_verified


class AuditorSettings(CommonSettings):
    """Settings of the auditor. Its database users need no more than SELECT.

    Attributes:
        issuer_dsn: the issuer's database; never that of learners' keys.
        ledger_dsn: the ledger's.
        registry_dsn: the registry's.
        portals: databases of portals, by their hub's organisation id; may be empty.
        hubs: hubs whose topics are read although their portals' databases are not.
        lists_served_at: where addresses of status lists that begin so are really fetched, where that differs.
        log_url: prefix of the published log, which is then walked from its first entry and compared with the rest.
        log_policy_file: policy (C2SP tlog-policy) of the log: its key, and its witnesses with their addresses.
        log_memory_file: holds the last checkpoint that was believed; none: nothing is remembered.
    """

    databases: ClassVar[tuple[str, ...]] = ("issuer_dsn", "ledger_dsn", "registry_dsn")

    issuer_dsn: str = Field(min_length=1)
    ledger_dsn: str = Field(min_length=1)
    registry_dsn: str = Field(min_length=1)
    kafka_bootstrap_servers: str = Field(min_length=1)
    portals: dict[OrganisationText, str] = Field(default_factory=dict)
    hubs: tuple[OrganisationText, ...] = ()
    lists_served_at: dict[str, str] = Field(default_factory=dict)
    log_url: str = Field(default="", pattern=r"^($|https?://[^?#]+$)")
    log_policy_file: Path | None = None
    log_memory_file: Path | None = None

    @field_validator("lists_served_at")
    @classmethod
    def _check_prefixes(cls, value: dict[str, str]) -> dict[str, str]:
        if not all(text.endswith("/") for pair in value.items() for text in pair):
            raise ValueError("addresses end with a slash")
        return value

    @model_validator(mode="after")
    def _check_log(self) -> Self:
        if bool(self.log_url) != (self.log_policy_file is not None):
            raise ValueError("log_url and log_policy_file are set together")
        return self

    def faults(self) -> list[str]:
        """Why nothing is read: a line for each variable by which something would cross the network unprotected."""
        if self.environment != "production":
            return []
        faults = self.database_faults()
        if not all(is_verified(dsn) for dsn in self.portals.values()):
            faults.append("VITNE_PORTALS: must say sslmode=verify-full in production")
        if self.kafka_authority_file is None:
            faults.append("VITNE_KAFKA_AUTHORITY_FILE: must be set in production: Kafka is reached over TLS only")
        return faults

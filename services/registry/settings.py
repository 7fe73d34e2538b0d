"""What the registry is told by its environment, beside what every service is told."""

from __future__ import annotations

from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from vitne.frameworks import LAW, Standing
from vitne.runtime.names import DEFAULT_REGISTRY_URI
from vitne.runtime.settings import CommonSettings

#: Every two seconds (RECORDS: Events): three hundred may be missed before readers refuse.
DEFAULT_HEARTBEAT_SECONDS: Final = 2.0
#: How often facts that another replica wrote are looked for: below what a person notices.
DEFAULT_REFRESH_SECONDS: Final = 0.25
#: Half a year in which an authority can review, a quarter in which it can decide, a month in which it must.
DEFAULT_DUE_LEAD_DAYS: Final = (180, 90, 30)


def _check_uri(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("https", "http") or not parts.hostname or text.endswith("/"):
        raise ValueError("write it as https://host, without a slash at the end")
    return text


class RegistrySettings(CommonSettings):
    """Settings of the registry.

    Attributes:
        registry_uri: who issues the trust list, its ``iss``.
        standings: standings of national rules that are applied; by default law and readings of it, so that what a pilot
            tries or a committee proposes is issued only where the operator chose it.
        heartbeat_seconds: between two heartbeats, of all replicas together.
        refresh_seconds: between two looks for facts that another replica wrote.
        due_lead_days: how many days ahead ends, reviews and conditions of accreditations are told, once each.
    """

    registry_uri: Annotated[str, AfterValidator(_check_uri)] = DEFAULT_REGISTRY_URI
    standings: tuple[Standing, ...] = LAW
    heartbeat_seconds: float = Field(default=DEFAULT_HEARTBEAT_SECONDS, ge=0.05, le=60)
    refresh_seconds: float = Field(default=DEFAULT_REFRESH_SECONDS, ge=0.01, le=10)
    due_lead_days: tuple[Annotated[int, Field(ge=1, le=3650)], ...] = DEFAULT_DUE_LEAD_DAYS

"""What the ledger is told by its environment, beside what every service is told."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, ClassVar, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from vitne.runtime.settings import CommonSettings

#: Lists' URLs begin with it. They are signed into credentials, so it can't change for credentials that exist.
DEFAULT_STATUS_BASE_URL: Final = "https://status.vitne.example"
#: The log's name for ever; a year a shard, so that a log can end.
DEFAULT_LOG_ORIGIN: Final = "log.vitne.example/2026"
#: Places of a list: the least in which one hides well enough among others (W3C Bitstring Status List, section 6.1).
MIN_LIST_SIZE: Final = 131_072
#: Most places: what one MiB of two-bit statuses holds; beyond, verifiers may refuse to unpack a list.
MAX_LIST_SIZE: Final = 1 << 22
#: How long a relying party may keep a list: a revocation is published within a second and seen within this.
#: Short, since asking again costs it a 304 without a body.
DEFAULT_LIST_TTL_SECONDS: Final = 10
#: How long a signed list can be shown to somebody before it counts as stale: what an attacker gains by keeping an old
#: list back, and what an outage of the ledger may last before credentials become not determinable.
DEFAULT_LIST_LIFETIME_SECONDS: Final = 900
#: A twentieth of the second in which a revocation is to be published.
DEFAULT_PUBLISH_INTERVAL_SECONDS: Final = 0.05
#: A tenth of the second in which a leaf is to be integrated.
DEFAULT_SEQUENCE_INTERVAL_SECONDS: Final = 0.1


def _check_base_url(text: str) -> str:
    parts = urlsplit(text)
    plain = not (parts.query or parts.fragment or parts.username or parts.password)
    if parts.scheme not in ("https", "http") or not parts.hostname or not plain or text.endswith("/"):
        raise ValueError("write it as https://host or https://host/path, without a slash at the end")
    return text


def _check_origin(text: str) -> str:
    if not text or not text.isascii() or not text.isprintable() or " " in text or "+" in text or "://" in text:
        raise ValueError("write it as host/path, without a scheme, spaces and plus signs (C2SP tlog-checkpoint)")
    return text


class LedgerSettings(CommonSettings):
    """Settings of the ledger.

    Attributes:
        status_base_url: what lists' URLs begin with.
        log_origin: name of the log: first line of its checkpoints, and its key's name.
        list_size: places of a list that is opened from now on.
        list_ttl_seconds: how long a copy of a list may be kept.
        list_lifetime_seconds: how long a signed list may be relied on.
        publish_interval_seconds: time at least between two versions of a list.
        sequence_interval_seconds: time between looks at the queue of leaves.
    """

    service_scopes: ClassVar[tuple[str, ...]] = ("vitne:ledger.lease", "vitne:ledger.status")

    status_base_url: Annotated[str, AfterValidator(_check_base_url)] = DEFAULT_STATUS_BASE_URL
    log_origin: Annotated[str, AfterValidator(_check_origin)] = DEFAULT_LOG_ORIGIN
    list_size: int = Field(default=MIN_LIST_SIZE, ge=MIN_LIST_SIZE, le=MAX_LIST_SIZE)
    list_ttl_seconds: int = Field(default=DEFAULT_LIST_TTL_SECONDS, ge=1, le=86_400)
    list_lifetime_seconds: int = Field(default=DEFAULT_LIST_LIFETIME_SECONDS, ge=3, le=7 * 86_400)
    publish_interval_seconds: float = Field(default=DEFAULT_PUBLISH_INTERVAL_SECONDS, gt=0, le=1)
    sequence_interval_seconds: float = Field(default=DEFAULT_SEQUENCE_INTERVAL_SECONDS, gt=0, le=1)

    @model_validator(mode="after")
    def _check_times(self) -> LedgerSettings:
        if self.list_ttl_seconds * 2 > self.list_lifetime_seconds:
            raise ValueError("list_lifetime_seconds has to be twice list_ttl_seconds or more")
        return self

    @property
    def list_ttl(self) -> timedelta:
        """How long a copy of a list may be kept."""
        return timedelta(seconds=self.list_ttl_seconds)

    @property
    def list_lifetime(self) -> timedelta:
        """How long a signed list may be relied on."""
        return timedelta(seconds=self.list_lifetime_seconds)

"""What the ledger is told by its environment, beside what every service is told."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, ClassVar, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from services.ledger.statuses import MAX_TOLD_TOGETHER
from vitne.errors import InvalidArgument
from vitne.merkle.cosignatures import CosignerKey
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
#: A seventh of the second in which a revocation is to be published: each version costs the lists' locks for some
#: milliseconds, in which nobody else's changes are written.
DEFAULT_PUBLISH_INTERVAL_SECONDS: Final = 0.15
#: A fifth of the second in which a leaf is to be integrated: a batch costs much the same whatever its size.
DEFAULT_SEQUENCE_INTERVAL_SECONDS: Final = 0.2


#: How often witnesses are asked while the log grows. A checkpoint is cosigned within this and their answer.
DEFAULT_WITNESS_INTERVAL_SECONDS: Final = 1.0
#: How often the static files follow the log.
DEFAULT_PUBLICATION_INTERVAL_SECONDS: Final = 0.5
#: Region that object storages are asked in which know none.
DEFAULT_STORAGE_REGION: Final = "us-east-1"


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


def _check_witness_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("https", "http") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("write it as https://host or https://host/path")
    return text.rstrip("/")


def _check_witness_key(text: str) -> str:
    try:
        return CosignerKey.parse(text).text
    except InvalidArgument as error:
        raise ValueError(str(error)) from error


#: A witness's verifier key (vkey) of type 04, and its submission prefix.
WitnessKey = Annotated[str, AfterValidator(_check_witness_key)]
WitnessUrl = Annotated[str, AfterValidator(_check_witness_url)]


class LedgerSettings(CommonSettings):
    """Settings of the ledger.

    Attributes:
        status_base_url: what lists' URLs begin with.
        log_origin: name of the first log: first line of its checkpoints, its key's name. It stays when others follow.
        list_size: places of a list that is opened from now on.
        list_ttl_seconds: how long a copy of a list may be kept.
        list_lifetime_seconds: how long a signed list may be relied on.
        publish_interval_seconds: time at least between two versions of a list.
        sequence_interval_seconds: time between looks at the queue of leaves.
        changes_told_together: most changes of a list that one event tells of; 1 while an issuer runs a release that
            knows only events of one change.
        witnesses: who is asked to cosign checkpoints: submission prefixes by verifier keys.
        witness_quorum: how many of them have to, for a checkpoint to be shown as witnessed; 0: all.
        witness_interval_seconds: time between two rounds of asking.
        storage: where the log and the lists are copied to as static files: a folder (``file:///…``), or a bucket with a
            prefix or without (``https://endpoint/bucket/prefix``), in a storage that holds writes to conditions
            (docs/decisions/0045); empty: nowhere.
        storage_key_id: access key of the bucket.
        storage_secret_file: file that holds its secret part.
        storage_region: what the bucket is signed for in.
        publication_interval_seconds: time between two copies.
    """

    service_scopes: ClassVar[tuple[str, ...]] = ("vitne:ledger.lease", "vitne:ledger.status")

    status_base_url: Annotated[str, AfterValidator(_check_base_url)] = DEFAULT_STATUS_BASE_URL
    log_origin: Annotated[str, AfterValidator(_check_origin)] = DEFAULT_LOG_ORIGIN
    list_size: int = Field(default=MIN_LIST_SIZE, ge=MIN_LIST_SIZE, le=MAX_LIST_SIZE)
    list_ttl_seconds: int = Field(default=DEFAULT_LIST_TTL_SECONDS, ge=1, le=86_400)
    list_lifetime_seconds: int = Field(default=DEFAULT_LIST_LIFETIME_SECONDS, ge=3, le=7 * 86_400)
    publish_interval_seconds: float = Field(default=DEFAULT_PUBLISH_INTERVAL_SECONDS, gt=0, le=1)
    sequence_interval_seconds: float = Field(default=DEFAULT_SEQUENCE_INTERVAL_SECONDS, gt=0, le=1)
    changes_told_together: int = Field(default=MAX_TOLD_TOGETHER, ge=1, le=MAX_TOLD_TOGETHER)
    witnesses: dict[WitnessKey, WitnessUrl] = Field(default_factory=dict)
    witness_quorum: int = Field(default=0, ge=0)
    witness_interval_seconds: float = Field(default=DEFAULT_WITNESS_INTERVAL_SECONDS, gt=0, le=60)
    storage: str = Field(default="", pattern=r"^($|file:///.+|https?://[^/?#]+/[A-Za-z0-9._/-]*[A-Za-z0-9._-]$)")
    storage_key_id: str = ""
    storage_secret_file: Path | None = None
    storage_region: str = DEFAULT_STORAGE_REGION
    publication_interval_seconds: float = Field(default=DEFAULT_PUBLICATION_INTERVAL_SECONDS, gt=0, le=60)

    @model_validator(mode="after")
    def _check_times(self) -> LedgerSettings:
        if self.list_ttl_seconds * 2 > self.list_lifetime_seconds:
            raise ValueError("list_lifetime_seconds has to be twice list_ttl_seconds or more")
        return self

    @model_validator(mode="after")
    def _check_outside(self) -> LedgerSettings:
        if self.witness_quorum > len(self.witnesses):
            raise ValueError("witness_quorum is more than there are witnesses")
        if self.storage.startswith("http") and not (self.storage_key_id and self.storage_secret_file):
            raise ValueError("storage_key_id and storage_secret_file have to be set for a bucket")
        if self.environment == "production" and any(
            url.startswith("http://") for url in (self.storage, *self.witnesses.values())
        ):
            raise ValueError("in production, storage and witnesses are reached over https")
        return self

    @property
    def quorum(self) -> int:
        """How many witnesses have to cosign."""
        return self.witness_quorum or len(self.witnesses)

    @property
    def list_ttl(self) -> timedelta:
        """How long a copy of a list may be kept."""
        return timedelta(seconds=self.list_ttl_seconds)

    @property
    def list_lifetime(self) -> timedelta:
        """How long a signed list may be relied on."""
        return timedelta(seconds=self.list_lifetime_seconds)

"""AWS Signature Version 4, as far as objects are put and got: one header that proves who asks.

https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_SERVICE: Final = "s3"


@dataclass(frozen=True, slots=True)
class Credentials:
    """An access key of an object storage.

    Attributes:
        key_id: its public name.
        secret: its secret part.
        region: what it is used in; ``us-east-1`` where the storage knows none.
    """

    key_id: str
    secret: str = field(repr=False)
    region: str


def signed_headers(
    method: str, url: str, headers: dict[str, str], body: bytes, *, credentials: Credentials, now: datetime
) -> dict[str, str]:
    """The headers of a request with those that sign it.

    Args:
        method: ``GET`` or ``PUT``.
        url: absolute, without a query, of characters that need no escape.
        headers: further ones, signed too.
        body: of the request.
        credentials: who asks.
        now: the present; the storage refuses what is more than a quarter of an hour old.
    """
    parts = urlsplit(url)
    instant = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    digest = hashlib.sha256(body).hexdigest()
    signed = {name.lower(): value.strip() for name, value in headers.items()}
    signed |= {"host": parts.netloc, "x-amz-content-sha256": digest, "x-amz-date": instant}
    names = ";".join(sorted(signed))
    canonical = "\n".join(
        [method, parts.path, parts.query, *(f"{name}:{signed[name]}" for name in sorted(signed)), "", names, digest]
    )
    scope = f"{instant[:8]}/{credentials.region}/{_SERVICE}/aws4_request"
    text = "\n".join([_ALGORITHM, instant, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{credentials.secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    signed["authorization"] = (
        f"{_ALGORITHM} Credential={credentials.key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return signed

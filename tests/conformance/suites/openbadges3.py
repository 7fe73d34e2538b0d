"""Open Badges 3.0: the test resources of 1EdTech's validator. Names with ``err`` are refused, signed ones verified.

Keys are found as that validator's own tests find them: in the verification method, as did:key or behind ``#``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from tests.conformance.frame import Case, Suite, expect_refusal
from vitne.credentials.data_integrity import multikey, proof
from vitne.credentials.date_times import parse_date_time
from vitne.credentials.w3c.open_badges import require_badge
from vitne.credentials.w3c.vcdm import require_credential
from vitne.errors import InvalidArgument

NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)
#: Secured by what is not spoken here: the first version of the data model (two), RSA.
OTHER_TIMES = {"simple_v1.json", "simple-eddsa-2022.json", "simple.jwt"}
#: Not secured at all.
UNSIGNED = {"simple-noproof.json"}


def cases(folder: Path) -> Iterator[Case]:
    for path in sorted(folder.iterdir()):
        yield Case(path.name, partial(check, path))


def check(path: Path) -> None:
    refused = "err" in path.name or path.name in OTHER_TIMES | UNSIGNED
    if refused:
        expect_refusal(lambda: accept(path))
    else:
        accept(path)


def accept(path: Path) -> None:
    try:
        document = json.loads(path.read_text())
    except ValueError as error:
        raise InvalidArgument("BAD_JSON", "not JSON") from error
    read = proof.read(document)
    for one in read:
        one.require(purpose=proof.ASSERTION, now=NOW)
        if not one.verified_by(key_of(one.verification_method)):
            raise InvalidArgument("SIGNATURE", "the signature does not hold")
    (require_credential if "EndorsementCredential" in document["type"] else require_badge)(document)
    require_current(document)


def require_current(document: dict[str, Any]) -> None:
    if "validUntil" in document and parse_date_time(document["validUntil"]) <= NOW:
        raise InvalidArgument("EXPIRED", "the credential has expired")


def key_of(method: str) -> multikey.VerificationKey:
    if method.startswith(multikey.DID_KEY):
        return multikey.parse_did_key(method)
    if not method.startswith("https://"):
        raise InvalidArgument("KEY_UNKNOWN", "the method is not one that can be resolved")
    return multikey.parse(method.partition("#")[2])


SUITE = Suite("openbadges3", "Open Badges 3.0: signed badges verified, faulty ones refused", cases)

"""The portal's own signing keys, and their certificates: one key for documents, one for EMREX answers."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from services.portal.emrex.answering import KEY_LABEL as ANSWERS
from services.portal.sharing.signature import KEY_LABEL as DOCUMENTS
from vitne.clock import Clock
from vitne.credentials.jose import ES256, Signer
from vitne.credentials.model import AwardingBody
from vitne.identifiers import OrganisationId
from vitne.runtime.certificates import CertificateFiles, Certificates, DevelopmentCertificates
from vitne.runtime.custody import FileKeyCustody, KeyCustody

#: Labels of the keys.
LABELS: Final = (DOCUMENTS, ANSWERS)


def signing_keys(state_dir: Path) -> dict[str, Signer]:
    """The keys by label; made where there are none.

    Raises:
        Unavailable: ``CUSTODY_UNAVAILABLE``.
    """
    custody = FileKeyCustody(state_dir)
    return {label: custody.ensure(label, ES256) for label in LABELS}


def certificates_of(custody: KeyCustody, folder: Path | None, *, development: bool, clock: Clock) -> Certificates:
    """Certificates of the keys: from the operator's folder; in development without one they are made."""
    if development and folder is None:
        return DevelopmentCertificates(custody, clock)
    return CertificateFiles(folder)


def organisation_of(hub: OrganisationId, public_url: str) -> AwardingBody:
    """The portal as its certificates call it in development: by its host."""
    name = urlsplit(public_url).hostname or str(hub)
    return AwardingBody(id=hub, name={"en": name}, country=hub.country, issuer_uri=public_url)

"""What an artefact is known by in the log (RECORDS: Artefact digest).

The digest is over bytes that no presentation changes, so that a holder who
shows less still proves that the same artefact was logged.
"""

from __future__ import annotations

from vitne.canonical import digest_text


def sd_jwt_digest(presentation: str) -> str:
    """SHA-256, base64url, of an SD-JWT's issuer-signed JWT: neither disclosures nor key binding count.

    Args:
        presentation: the compact SD-JWT, or its issuer-signed JWT alone; ASCII.
    """
    issuer_signed, _, _ = presentation.partition("~")
    return digest_text(issuer_signed.encode("ascii"))

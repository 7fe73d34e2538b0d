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


def data_integrity_digest(hash_data: bytes, signature: bytes) -> str:
    """SHA-256, base64url, of what a proof is over and its value: how the document is spelled does not count.

    Args:
        hash_data: hash of the proof's options, then that of the document.
        signature: the bytes of ``proofValue``.
    """
    return digest_text(hash_data + signature)


def jwt_digest(compact: str) -> str:
    """SHA-256, base64url, of a JWT as issued.

    Args:
        compact: three segments; ASCII.
    """
    return digest_text(compact.encode("ascii"))

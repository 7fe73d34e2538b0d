"""A credential as somebody presents it, in any format that is accepted: told apart by how it begins, and by ``~``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from vitne.credentials import sd_jwt_vc
from vitne.credentials.artefact import sd_jwt_digest
from vitne.credentials.certificates import Certificate
from vitne.credentials.data_integrity import ecdsa_sd_2023
from vitne.credentials.elm import seal
from vitne.credentials.elm.reading import RULE as ELM_RULE
from vitne.credentials.elmo import reading as elmo_reading
from vitne.credentials.elmo import signature
from vitne.credentials.elmo.names import ELMO
from vitne.credentials.jose import PublicKey, claimed_type, strict_json, too_large
from vitne.credentials.model import Credential
from vitne.credentials.sd_jwt import MAX_LENGTH as MAX_SD_JWT
from vitne.credentials.sd_jwt import open_key_binding
from vitne.credentials.type_metadata import DISCLOSABLE
from vitne.credentials.w3c import documents, renditions, selective
from vitne.credentials.w3c.renditions import Form
from vitne.errors import InvalidArgument

#: Longest credential of any format, in characters, and largest, in bytes: the readers' own limits are the smaller ones.
MAX_LENGTH: Final = max(MAX_SD_JWT, renditions.MAX_LENGTH, seal.MAX_BYTES, elmo_reading.MAX_BYTES)
MAX_BYTES: Final = max(MAX_LENGTH, 4 * renditions.MAX_LENGTH)

_JSON: Final = "{"
_XML: Final = "<"
_DISCLOSURES: Final = "~"
#: How base64url of a JSON object begins.
_JOSE: Final = "ey"
_PROOF: Final = "proof"
_SEAL: Final = ("payload", "signatures")
_DESCRIBED: Final = {
    Form.JWT: "a credential of W3C's data model, as a JWT",
    Form.DATA_INTEGRITY: "a credential of W3C's data model, with a Data Integrity proof",
    Form.JCS: "a credential of W3C's data model, with a Data Integrity proof over its JSON",
    Form.BADGE: "an Open Badge, with a Data Integrity proof",
    Form.BADGE_JWT: "an Open Badge, as a JWT",
}


class NotACredential(InvalidArgument):
    """``NOT_A_CREDENTIAL``: in none of the formats that are read here, so that there is nothing to verify."""


@dataclass(frozen=True, slots=True)
class Presented:
    """What the checks ask of a presentation. It was read, and nothing of it is verified but its form.

    Attributes:
        credential: what it says.
        described: what it is, in a few words.
        type: what says how it is to be read.
        key_id: RFC 7638 thumbprint of the key that it says to be signed with.
        algorithm: of the signature.
        digest: what the log knows it by, base64url (RECORDS: Artefact digest).
        signed_at: when it says that it was signed.
        verified_by: whether a key signed it.
        read_certificates: see :attr:`certificates`.
        certified_uri: what a certificate that is for addresses has to name: ``iss`` of a token; of others empty.
        withheld: how many claims its holder does not show.
        bound: whether its holder made this presentation; raises VitneError when somebody else did.
    """

    credential: Credential = field(repr=False)
    described: str
    type: str
    key_id: str
    algorithm: str
    digest: str
    signed_at: datetime
    verified_by: Callable[[PublicKey], bool] = field(repr=False)
    read_certificates: Callable[[], tuple[Certificate, ...]] = field(repr=False)
    certified_uri: str = ""
    withheld: int = 0
    bound: Callable[[], bool] = field(default=lambda: False, repr=False)

    @property
    def certificates(self) -> tuple[Certificate, ...]:
        """Of that key, with its chain, as they came along; none where its format or its issuer sends none.

        Raises:
            InvalidArgument: ``BAD_CERTIFICATE``.
        """
        return self.read_certificates()


def read(text: str) -> Presented:
    """Read a presentation: an SD-JWT VC, ``vc+jwt`` (also of a badge), a document with a Data Integrity proof, also one
    that its holder derived, a sealed European Digital Credential, or an ELMO document of one credential.

    Raises:
        NotACredential: it is in none of them.
        InvalidArgument: what the format's own reader refuses; ``NOT_ONE_CREDENTIAL``; ``PROOF_MALFORMED``.
    """
    _require_beginning(text)
    if text.startswith(_JSON):
        return _read_json(text)
    if text.startswith(_XML):
        signed = signature.parse_signed(text.encode("utf-8", "surrogatepass"))
        credentials = [node.credential for node in signed.document.nodes()]
        if len(credentials) != 1:
            raise InvalidArgument(
                "NOT_ONE_CREDENTIAL",
                f"the document holds {len(credentials)} credentials",
                field="credential",
                rule="one credential is verified at a time",
                remedy="present each credential as its issuer signed it",
            )
        return _elmo(signed, credentials[0])
    # One that was cut at its first disclosure is told as that, and not as a credential of another kind.
    if _DISCLOSURES not in text and claimed_type(text) != sd_jwt_vc.TYPE:
        return _w3c(renditions.parse(text))
    return _sd_jwt(sd_jwt_vc.parse(text))


def require_credential(text: str) -> None:
    """Refuse a text that is no credential, as :func:`read` does; one that is a bad one is not looked at further.

    Of a text that is none it is not told that it is a bad one.

    Raises:
        NotACredential: it is none.
    """
    _require_beginning(text)
    if text.startswith(_JSON):
        try:
            _document(text)
        except NotACredential:
            raise
        except InvalidArgument:  # a bad one, as whoever reads it is told
            return


def _require_beginning(text: str) -> None:
    if not text.startswith((_JSON, _XML, _JOSE)):
        raise _no_credential()


def _no_credential() -> NotACredential:
    return NotACredential(
        "NOT_A_CREDENTIAL",
        "it is no credential in any format that is read here",
        field="credential",
        rule="an SD-JWT VC, a credential of W3C's data model or an Open Badge (as JWT or JSON), a sealed European "
        "Digital Credential (JSON), or a signed ELMO document (XML)",
        remedy="give the credential itself, whole, as it was handed over: it begins with eyJ, { or <",
    )


def one_required(*, both: bool) -> InvalidArgument:
    """``ONE_REQUIRED``, the refusal of a request that shows no credential, or two."""
    return InvalidArgument(
        "ONE_REQUIRED",
        "both credential and badge_image came" if both else "neither credential nor badge_image came",
        field="credential",
        rule="either credential or badge_image",
        remedy="leave one of them out" if both else "send the credential, or the image that it was baked into",
    )


def _document(text: str) -> dict[str, Any]:
    seal.require_size(text)
    document = strict_json(text, field="credential")
    if not isinstance(document, dict) or not document.keys() & {_PROOF, *_SEAL}:
        raise _no_credential()
    return document


def _read_json(text: str) -> Presented:
    document = _document(text)
    if _PROOF not in document:
        return _sealed(seal.parse_read(text, document))
    if len(text) > renditions.MAX_LENGTH:
        raise too_large(renditions.MAX_LENGTH, "credential")
    if selective.is_selective(document):
        return _derived(selective.read(document))
    return _w3c(renditions.read(document))


def _sd_jwt(presentation: sd_jwt_vc.Presentation) -> Presented:
    sd_jwt, credential = presentation.sd_jwt, presentation.credential
    shown, withheld = len(sd_jwt.disclosures), sd_jwt.withheld

    def bound() -> bool:
        """A key binding is checked as far as it can be here: that the credential's holder made it, for these
        disclosures. Whether it was made for us, only who asked for it can tell.
        """
        if sd_jwt.key_binding:
            open_key_binding(sd_jwt)
        return bool(sd_jwt.key_binding)

    return Presented(
        credential,
        f"an SD-JWT VC with {shown} disclosed and {withheld} withheld claims",
        sd_jwt_vc.VCT,
        presentation.key_id,
        sd_jwt.jws.header.algorithm,
        sd_jwt_digest(sd_jwt.issuer_signed),
        credential.issued_at,
        sd_jwt.jws.verified_by,
        lambda: presentation.certificates,
        certified_uri=credential.awarding_body.issuer_uri,
        withheld=withheld,
        bound=bound,
    )


def _w3c(rendition: renditions.Rendition) -> Presented:
    """What secures it is over all of it: nothing can be withheld."""
    credential = rendition.credential
    return Presented(
        credential,
        _DESCRIBED[rendition.form],
        documents.CONTEXT,
        rendition.key_id,
        rendition.algorithm,
        rendition.digest,
        credential.issued_at,
        rendition.verified_by,
        lambda: rendition.certificates,
        certified_uri=credential.awarding_body.issuer_uri,
    )


def _derived(shown: selective.Shown) -> Presented:
    """Withheld are also those claims that the credential may lack: nobody is told. The proof names its key by its
    address, so no certificates come along.
    """
    return Presented(
        shown.credential,
        "a credential of W3C's data model, of which its holder shows parts: "
        f"{len(shown.claims)} of the {len(DISCLOSABLE)} claims that may be withheld",
        documents.CONTEXT,
        shown.key_id,
        ecdsa_sd_2023.NAME,
        shown.digest,
        shown.credential.issued_at,
        shown.verified_by,
        lambda: (),
        withheld=len(DISCLOSABLE) - len(shown.claims),
    )


def _sealed(sealed: seal.Sealed) -> Presented:
    """A seal is over all of it."""
    return Presented(
        sealed.credential(),
        "a sealed European Digital Credential",
        ELM_RULE,
        sealed.key_id,
        sealed.algorithm,
        sealed.digest,
        sealed.sealed_at,
        sealed.verified_by,
        lambda: sealed.certificates,
    )


def _elmo(signed: signature.Signed, credential: Credential) -> Presented:
    """The signature is over all of it."""
    return Presented(
        credential,
        "a signed ELMO document of one credential",
        ELMO,
        signed.key_id,
        "XML signature",
        signed.document.digest,
        signed.document.generated_at,
        signed.verified_by,
        lambda: signed.certificates,
    )

"""A credential as somebody presents it, in any format that is accepted: told apart by how it begins, and by ``~``."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Final, Protocol

from vitne.credentials import sd_jwt_vc
from vitne.credentials.artefact import sd_jwt_digest
from vitne.credentials.certificates import Certificate
from vitne.credentials.data_integrity import ecdsa_sd_2023
from vitne.credentials.elm import seal
from vitne.credentials.elm.reading import RULE as ELM_RULE
from vitne.credentials.elmo import reading as elmo_reading
from vitne.credentials.elmo import signature
from vitne.credentials.elmo.names import ELMO
from vitne.credentials.jose import PublicKey, strict_json, too_large
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
_PROOF: Final = "proof"
_DESCRIBED: Final = {
    Form.JWT: "a credential of W3C's data model, as a JWT",
    Form.DATA_INTEGRITY: "a credential of W3C's data model, with a Data Integrity proof",
    Form.JCS: "a credential of W3C's data model, with a Data Integrity proof over its JSON",
    Form.BADGE: "an Open Badge, with a Data Integrity proof",
    Form.BADGE_JWT: "an Open Badge, as a JWT",
}


class Presented(Protocol):
    """What the checks ask of a presentation. It was read, and nothing of it is verified but its form."""

    @property
    def credential(self) -> Credential:
        """What it says."""
        ...

    @property
    def described(self) -> str:
        """What it is, in a few words."""
        ...

    @property
    def type(self) -> str:
        """What says how it is to be read."""
        ...

    @property
    def key_id(self) -> str:
        """RFC 7638 thumbprint of the key that it says to be signed with."""
        ...

    @property
    def algorithm(self) -> str:
        """Of the signature."""
        ...

    @property
    def withheld(self) -> int:
        """How many claims its holder does not show."""
        ...

    @property
    def digest(self) -> str:
        """What the log knows it by, base64url (RECORDS: Artefact digest)."""
        ...

    @property
    def certificates(self) -> tuple[Certificate, ...]:
        """Of that key, with its chain, as they came along; none where its format or its issuer sends none.

        Raises:
            InvalidArgument: ``BAD_CERTIFICATE``.
        """
        ...

    @property
    def certified_uri(self) -> str:
        """What a certificate that is for addresses has to name: ``iss`` of a token; empty for other formats."""
        ...

    @property
    def signed_at(self) -> datetime:
        """When it says that it was signed."""
        ...

    def verified_by(self, key: PublicKey) -> bool:
        """Whether ``key`` signed it."""
        ...

    def bound(self) -> bool:
        """Whether its holder made this presentation; raises VitneError when somebody else did."""
        ...


def read(text: str) -> Presented:
    """Read a presentation: an SD-JWT VC, ``vc+jwt`` (also of a badge), a document with a Data Integrity proof, also one
    that its holder derived, a sealed European Digital Credential, or an ELMO document of one credential.

    Raises:
        InvalidArgument: what the format's own reader refuses; ``NOT_ONE_CREDENTIAL``; ``PROOF_MALFORMED``.
    """
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
        return _Elmo(signed, credentials[0])
    if _DISCLOSURES not in text:
        return _W3c(renditions.parse(text))
    return _SdJwt(sd_jwt_vc.parse(text))


def _read_json(text: str) -> Presented:
    seal.require_size(text)
    document = strict_json(text, field="credential")
    if not isinstance(document, dict) or _PROOF not in document:
        sealed = seal.parse_read(text, document)
        return _Sealed(sealed, sealed.credential())
    if len(text) > renditions.MAX_LENGTH:
        raise too_large(renditions.MAX_LENGTH, "credential")
    if selective.is_selective(document):
        return _Derived(selective.read(document))
    return _W3c(renditions.read(document))


@dataclass(frozen=True, slots=True)
class _SdJwt:
    presentation: sd_jwt_vc.Presentation = field(repr=False)

    type: ClassVar[str] = sd_jwt_vc.VCT

    @property
    def credential(self) -> Credential:
        return self.presentation.credential

    @property
    def described(self) -> str:
        shown = len(self.presentation.sd_jwt.disclosures)
        return f"an SD-JWT VC with {shown} disclosed and {self.withheld} withheld claims"

    @property
    def key_id(self) -> str:
        return self.presentation.key_id

    @property
    def algorithm(self) -> str:
        return self.presentation.sd_jwt.jws.header.algorithm

    @property
    def withheld(self) -> int:
        return self.presentation.sd_jwt.withheld

    @property
    def digest(self) -> str:
        return sd_jwt_digest(self.presentation.sd_jwt.issuer_signed)

    @property
    def certificates(self) -> tuple[Certificate, ...]:
        return self.presentation.certificates

    @property
    def certified_uri(self) -> str:
        return self.credential.awarding_body.issuer_uri

    @property
    def signed_at(self) -> datetime:
        return self.credential.issued_at

    def verified_by(self, key: PublicKey) -> bool:
        return self.presentation.sd_jwt.jws.verified_by(key)

    def bound(self) -> bool:
        """A key binding is checked as far as it can be here: that the credential's holder made it, for these
        disclosures. Whether it was made for us, only who asked for it can tell.
        """
        if not self.presentation.sd_jwt.key_binding:
            return False
        open_key_binding(self.presentation.sd_jwt)
        return True


@dataclass(frozen=True, slots=True)
class _W3c:
    rendition: renditions.Rendition = field(repr=False)

    type: ClassVar[str] = documents.CONTEXT
    #: What secures it is over all of it.
    withheld: ClassVar[int] = 0

    @property
    def credential(self) -> Credential:
        return self.rendition.credential

    @property
    def described(self) -> str:
        return _DESCRIBED[self.rendition.form]

    @property
    def key_id(self) -> str:
        return self.rendition.key_id

    @property
    def algorithm(self) -> str:
        return self.rendition.algorithm

    @property
    def digest(self) -> str:
        return self.rendition.digest

    @property
    def certificates(self) -> tuple[Certificate, ...]:
        return self.rendition.certificates

    @property
    def certified_uri(self) -> str:
        return self.credential.awarding_body.issuer_uri

    @property
    def signed_at(self) -> datetime:
        return self.credential.issued_at

    def verified_by(self, key: PublicKey) -> bool:
        return self.rendition.verified_by(key)

    def bound(self) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class _Derived:
    shown: selective.Shown = field(repr=False)

    type: ClassVar[str] = documents.CONTEXT
    algorithm: ClassVar[str] = ecdsa_sd_2023.NAME
    #: A proof names its key by its address.
    certificates: ClassVar[tuple[Certificate, ...]] = ()
    certified_uri: ClassVar[str] = ""

    @property
    def credential(self) -> Credential:
        return self.shown.credential

    @property
    def described(self) -> str:
        return (
            "a credential of W3C's data model, of which its holder shows parts: "
            f"{len(self.shown.claims)} of the {len(DISCLOSABLE)} claims that may be withheld"
        )

    @property
    def key_id(self) -> str:
        return self.shown.key_id

    @property
    def withheld(self) -> int:
        """Also those that the credential may lack: nobody is told."""
        return len(DISCLOSABLE) - len(self.shown.claims)

    @property
    def digest(self) -> str:
        return self.shown.digest

    @property
    def signed_at(self) -> datetime:
        return self.credential.issued_at

    def verified_by(self, key: PublicKey) -> bool:
        return self.shown.verified_by(key)

    def bound(self) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class _Sealed:
    sealed: seal.Sealed = field(repr=False)
    credential: Credential

    described: ClassVar[str] = "a sealed European Digital Credential"
    type: ClassVar[str] = ELM_RULE
    #: A seal is over all of it.
    withheld: ClassVar[int] = 0
    certified_uri: ClassVar[str] = ""

    @property
    def key_id(self) -> str:
        return self.sealed.key_id

    @property
    def algorithm(self) -> str:
        return self.sealed.algorithm

    @property
    def digest(self) -> str:
        return self.sealed.digest

    @property
    def certificates(self) -> tuple[Certificate, ...]:
        return self.sealed.certificates

    @property
    def signed_at(self) -> datetime:
        return self.sealed.sealed_at

    def verified_by(self, key: PublicKey) -> bool:
        return self.sealed.verified_by(key)

    def bound(self) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class _Elmo:
    signed: signature.Signed = field(repr=False)
    credential: Credential

    described: ClassVar[str] = "a signed ELMO document of one credential"
    type: ClassVar[str] = ELMO
    algorithm: ClassVar[str] = "XML signature"
    #: The signature is over all of it.
    withheld: ClassVar[int] = 0
    certified_uri: ClassVar[str] = ""

    @property
    def key_id(self) -> str:
        return self.signed.key_id

    @property
    def digest(self) -> str:
        return self.signed.document.digest

    @property
    def certificates(self) -> tuple[Certificate, ...]:
        return self.signed.certificates

    @property
    def signed_at(self) -> datetime:
        return self.signed.document.generated_at

    def verified_by(self, key: PublicKey) -> bool:
        return self.signed.verified_by(key)

    def bound(self) -> bool:
        return False

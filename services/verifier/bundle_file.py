"""A credential with all that its verification rests on, in one file that can be checked without a network, years later.

Every part is signed or proved by itself; the file adds nothing that has to be believed but
the instant for which it was made, and each part says whether it held then. What is told is
therefore what was true *at that instant*.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from services.verifier.presented import MAX_BYTES
from vitne.accreditation.trust_list import MAX_FACTS_SIZE, MAX_STATEMENT_LENGTH
from vitne.audit.status_evidence import StatusEvidence
from vitne.canonical import instant_text, parse_instant
from vitne.credentials.jose import strict_json
from vitne.credentials.status_list import MAX_TOKEN_LENGTH
from vitne.errors import InvalidArgument
from vitne.merkle.tlog_proof import MAX_PROOF_BYTES

#: Version of the form.
VERSION: Final = 1

_MANIFEST: Final = "bundle.json"
_CREDENTIAL: Final = "credential.sd-jwt"
_STATEMENT: Final = "trust-list.jwt"
_FACTS: Final = "trust-list.jsonl"
_PROOFS: Final = "log-proofs.json"
_STATUS: Final = "status.json"
#: Leaves that a verification asks for: the issuance, and a few facts of the registry.
MAX_PROOFS: Final = 16
#: Largest size of each file, in bytes: a zip may promise anything.
_LIMITS: Final = {
    _MANIFEST: 4096,
    _CREDENTIAL: MAX_BYTES,
    _STATEMENT: MAX_STATEMENT_LENGTH,
    _FACTS: MAX_FACTS_SIZE,
    _PROOFS: MAX_PROOFS * MAX_PROOF_BYTES,
    _STATUS: MAX_TOKEN_LENGTH + 16 * MAX_PROOF_BYTES,
}
#: Every file is of one date, so that the same evidence is the same bundle, byte for byte.
_DATE: Final = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Bundle:
    """What is in the file.

    Attributes:
        at: for which instant it was made.
        credential: as presented, in any format that is accepted.
        statement: the registry's signed list: authorities, providers, keys and accreditations.
        facts: what the list names.
        proofs: of the leaves that a verification asks for (C2SP tlog-proof), by leaf hash in hexadecimal: the issuance,
            the accreditation and the keys that it rests on.
        status: what the status was.
    """

    at: datetime
    credential: str = field(repr=False)
    statement: str = field(repr=False)
    facts: bytes = field(repr=False)
    proofs: Mapping[str, str] = field(repr=False)
    status: StatusEvidence = field(repr=False)

    def to_zip(self) -> bytes:
        """As a file."""
        files = {
            _MANIFEST: json.dumps({"at": instant_text(self.at), "v": VERSION}).encode(),
            _CREDENTIAL: self.credential.encode(),
            _STATEMENT: self.statement.encode(),
            _FACTS: self.facts,
            _PROOFS: json.dumps(dict(sorted(self.proofs.items())), indent=1).encode(),
            _STATUS: self.status.to_json(),
        }
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files.items():
                archive.writestr(zipfile.ZipInfo(name, _DATE), data, zipfile.ZIP_DEFLATED)
        return made.getvalue()

    @classmethod
    def from_zip(cls, data: bytes) -> Bundle:
        """Read a file; what it says is still to be verified.

        Raises:
            InvalidArgument: ``BAD_BUNDLE``, or as :meth:`StatusEvidence.from_json`.
        """
        files = _unpack(data)
        match strict_json(files[_MANIFEST], field=_MANIFEST):
            case {"at": str(at), "v": 1, **more} if not more:
                instant = parse_instant(at, field="at")
            case _:
                raise _bad("its manifest is of another version")
        try:
            return cls(
                instant,
                files[_CREDENTIAL].decode(),
                files[_STATEMENT].decode(),
                files[_FACTS],
                _read_proofs(files[_PROOFS]),
                StatusEvidence.from_json(files[_STATUS]),
            )
        except UnicodeDecodeError as error:
            raise _bad("a file of it is not UTF-8") from error


def _unpack(data: bytes) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            if sorted(entry.filename for entry in entries) != sorted(_LIMITS):
                raise _bad(f"it has not got exactly these files: {', '.join(_LIMITS)}")
            files = {}
            for entry in entries:
                if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise _bad(f"{entry.filename} is compressed in a way that no bundle is")
                limit = _LIMITS[entry.filename]
                with archive.open(entry) as file:
                    # What the entry says of its size counts for nothing: a byte beyond the bound is looked for.
                    files[entry.filename] = file.read(limit + 1)
                if len(files[entry.filename]) > limit:
                    raise _bad(f"{entry.filename} has more than {limit} bytes")
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise _bad("it is not a zip file that can be read") from error
    return files


def _read_proofs(data: bytes) -> dict[str, str]:
    proofs = strict_json(data, field=_PROOFS)
    if not isinstance(proofs, dict) or not all(isinstance(proof, str) for proof in proofs.values()):
        raise _bad("its proofs are not texts by leaf hash")
    return proofs


def _bad(why: str) -> InvalidArgument:
    return InvalidArgument(
        "BAD_BUNDLE",
        f"not a bundle: {why}",
        rule="docs/verify.md, Years later",
        remedy="collect it again with the verifier's command collect",
    )

"""What a credential does not say of itself, and some formats want: from the national rules and the registry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vitne.identifiers import OrganisationId


@dataclass(frozen=True, slots=True)
class Accreditor:
    """The authority whose accreditation an issuance rests on."""

    id: OrganisationId
    #: Name by language; at least one.
    name: Mapping[str, str] = field(hash=False)
    #: ISO 3166-1 alpha-2.
    country: str


@dataclass(frozen=True, slots=True)
class Setting:
    """Facts beside a credential. All of them follow from what it names, so that none is read back from a format."""

    #: Level of EQF, ``1`` to ``8``, that the credential's own level was referred to; empty: none was.
    eqf_level: str = ""
    #: None: the authority is not told.
    accreditor: Accreditor | None = None
    #: What the grades mean, by language; empty: not told.
    grading: Mapping[str, str] = field(default_factory=dict, hash=False)


#: Nothing is known beside the credential.
ALONE = Setting()

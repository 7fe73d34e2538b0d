"""Is what a document says of its learner true of somebody? ELMO and EDC name people, and travel through their hands."""

from __future__ import annotations

import unicodedata

from vitne.credentials.model import Learner


def same_person(stated: Learner, expected: Learner) -> bool:
    """Whether a document's learner can be the one who is expected.

    Names must be equal but for case, Unicode's composition and white space; identifiers of one scheme, and days of
    birth, must be equal where both sides have them. A name that is missing on either side is never the same.
    """
    if stated.id and expected.id and stated.id.scheme == expected.id.scheme and stated.id != expected.id:
        return False
    if stated.birth_date and expected.birth_date and stated.birth_date != expected.birth_date:
        return False
    return all(
        ours is not None and theirs is not None and _folded(ours) == _folded(theirs)
        for ours, theirs in (
            (stated.given_name, expected.given_name),
            (stated.family_name, expected.family_name),
        )
    )


def _folded(name: str) -> str:
    return " ".join(unicodedata.normalize("NFC", unicodedata.normalize("NFKD", name).casefold()).split())

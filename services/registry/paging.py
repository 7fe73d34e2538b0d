"""Opaque page tokens (AIP-158): where a list of facts goes on."""

from __future__ import annotations

from dataclasses import dataclass

from vitne.canonical import b64url, canonical_bytes, from_b64url
from vitne.credentials.jose import strict_json
from vitne.errors import InvalidArgument


@dataclass(frozen=True, slots=True)
class PageToken:
    """After which revision a page begins, and of which subject's facts the list is; empty: of all."""

    after: int
    subject: str

    def to_text(self) -> str:
        """What the client is given."""
        return b64url(canonical_bytes({"after": self.after, "subject": self.subject}))

    @classmethod
    def parse(cls, text: str, subject: str) -> PageToken:
        """Read what a client sent back; empty: the first page.

        Raises:
            InvalidArgument: ``BAD_PAGE_TOKEN``, also when the token is another list's.
        """
        if not text:
            return cls(0, subject)
        try:
            record = strict_json(from_b64url(text))
            token = cls(record["after"], record["subject"])
            # Another spelling, type or member would make another text.
            if type(token.after) is not int or token.after < 0 or token.to_text() != text:
                raise ValueError
            if token.subject != subject:
                raise ValueError
        except (InvalidArgument, ValueError, TypeError, KeyError, AttributeError) as error:
            raise InvalidArgument(
                "BAD_PAGE_TOKEN",
                "not a page token of this list",
                field="page_token",
                rule="AIP-158: the next_page_token of the previous response, with the same subject",
                remedy="begin again without a token",
            ) from error
        return token

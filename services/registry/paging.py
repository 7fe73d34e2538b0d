"""Opaque page tokens (AIP-158): where a list goes on."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from vitne.canonical import b64url, canonical_bytes, from_b64url
from vitne.credentials.jose import strict_json
from vitne.errors import InvalidArgument
from vitne.identifiers import parse_uuid


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
            raise _bad_token("subject") from error
        return token


@dataclass(frozen=True, slots=True)
class IdPageToken:
    """After which id a page begins, and of which provider's things the list is; empty: of everybody's."""

    after: UUID | None
    provider: str

    def to_text(self) -> str:
        """What the client is given."""
        return b64url(canonical_bytes({"after": str(self.after), "provider": self.provider}))

    @classmethod
    def parse(cls, text: str, provider: str) -> IdPageToken:
        """Read what a client sent back; empty: the first page.

        Raises:
            InvalidArgument: ``BAD_PAGE_TOKEN``, also when the token is another list's.
        """
        if not text:
            return cls(None, provider)
        try:
            token = cls(parse_uuid(strict_json(from_b64url(text))["after"]), provider)
            # Another spelling, provider or member would make another text.
            if token.to_text() != text:
                raise ValueError
        except (InvalidArgument, ValueError, TypeError, KeyError, AttributeError) as error:
            raise _bad_token("provider") from error
        return token


def _bad_token(filtered_by: str) -> InvalidArgument:
    return InvalidArgument(
        "BAD_PAGE_TOKEN",
        "not a page token of this list",
        field="page_token",
        rule=f"AIP-158: the next_page_token of the previous response, with the same {filtered_by}",
        remedy="begin again without a token",
    )

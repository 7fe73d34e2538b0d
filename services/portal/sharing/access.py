"""What opens a share: a link that nobody can guess, and a short code that is told apart from it."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from services.portal.sharing.terms import MAX_WRONG_CODES
from vitne.canonical import sha256
from vitne.errors import ResourceExhausted

#: Random bytes of a link's token, and its characters.
TOKEN_BYTES: Final = 32
TOKEN_LENGTH: Final = 43
#: Digits and letters that nobody takes for one another, also read out aloud: 30^6, some 7·10^8 codes.
CODE_ALPHABET: Final = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
CODE_LENGTH: Final = 6
#: scrypt (RFC 7914): 16 MiB and some 30 ms a try. What really guards the code is its salt, the token: it is not kept.
_SCRYPT_COST: Final = 2**14
_SCRYPT_BLOCKS: Final = 8
_HASH_BYTES: Final = 32
#: One thread, since each that has once derived a key keeps its 16 MiB: the C library gives none back.
_THREAD: Final = ThreadPoolExecutor(max_workers=1, thread_name_prefix="share-codes")
#: Strangers' tries under way in a process, at most: some two seconds' work of that thread.
MAX_TRIES: Final = 64
_DOMAIN: Final = b"vitne/portal/share-code/v1\x00"


@dataclass(frozen=True, slots=True)
class Access:
    """A share's link and code, as told once.

    Attributes:
        token: ends the link.
        code: of :data:`CODE_LENGTH` characters.
    """

    token: str = field(repr=False)
    code: str = field(repr=False)

    @property
    def token_hash(self) -> bytes:
        """What the share is found by."""
        return token_hash(self.token)

    async def code_hash(self) -> bytes:
        """What is kept of the code. Takes some 30 ms of a core, one at a time; the loop goes on meanwhile."""
        return await derived(self.token, self.code)


def new_access() -> Access:
    """A fresh link and code."""
    code = "".join(secrets.choice(CODE_ALPHABET) for _ in range(CODE_LENGTH))
    return Access(secrets.token_urlsafe(TOKEN_BYTES), code)


def token_hash(token: str) -> bytes:
    """What is kept of a token, which has as many random bits as any hash."""
    return sha256(token.encode())


def written(code: str) -> str:
    """A code as somebody types it, in the form in which it was made."""
    return "".join(code.split()).replace("-", "").upper()[: CODE_LENGTH + 1]


def is_code(code: str) -> bool:
    """Whether what somebody typed can be a code at all; what can't be is no guess, and takes no derivation."""
    typed = written(code)
    return len(typed) == CODE_LENGTH and set(typed) <= set(CODE_ALPHABET)


async def derived(token: str, code: str) -> bytes:
    """What a code that somebody gives for a link derives to; it may be written with blanks, or in small letters."""

    def derive() -> bytes:
        return hashlib.scrypt(
            written(code).encode("utf-8", "replace"),
            salt=_DOMAIN + token.encode(),
            n=_SCRYPT_COST,
            r=_SCRYPT_BLOCKS,
            p=1,
            dklen=_HASH_BYTES,
        )

    return await asyncio.get_running_loop().run_in_executor(_THREAD, derive)


class Tries:
    """Strangers' tries that are under way in this process: whoever has a link can't keep the one thread for themselves.

    Of one link so many at a time as would lock it: until they are counted no further one can be of use to a guesser.
    """

    def __init__(self) -> None:
        self._links: Counter[bytes] = Counter()

    @contextmanager
    def one(self, token: str) -> Iterator[None]:
        """A try of a code for a link, from before it is derived until it has counted.

        Raises:
            ResourceExhausted: ``CODES_BEING_TRIED``.
        """
        link = token_hash(token)
        if self._links[link] >= MAX_WRONG_CODES or self._links.total() >= MAX_TRIES:
            raise ResourceExhausted(
                "CODES_BEING_TRIED",
                "too many codes are being tried at this moment",
                rule=f"{MAX_WRONG_CODES} at a time of one link, {MAX_TRIES} of all",
                remedy="wait a moment, and try again",
            )
        self._links[link] += 1
        try:
            yield
        finally:
            self._links[link] -= 1
            if not self._links[link]:
                del self._links[link]

"""What EMREX sends between browsers: a request with two fields, an answer with four (EMREX standard, 2016). Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from vitne.errors import InvalidArgument

#: Fields of a request; the first is in the answer, too.
SESSION_ID: Final = "sessionId"
RETURN_URL: Final = "returnUrl"
#: Fields of an answer.
RETURN_CODE: Final = "returnCode"
RETURN_MESSAGE: Final = "returnMessage"
ELMO: Final = "elmo"

#: Characters of a session id. The standard has 32 of them; clients send what their frameworks make.
MIN_SESSION_ID: Final = 8
MAX_SESSION_ID: Final = 128
_SESSION_ID: Final = re.compile(rf"[A-Za-z0-9._~+/=:!*@-]{{{MIN_SESSION_ID},{MAX_SESSION_ID}}}\Z", re.ASCII)


class ReturnCode(StrEnum):
    """What came of a request."""

    OK = "NCP_OK"
    CANCEL = "NCP_CANCEL"
    ERROR = "NCP_ERROR"
    NO_RESULTS = "NCP_NO_RESULTS"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as its form carries it.

    Attributes:
        session_id: of the request.
        code: what came of it.
        message: for people, where the code is ``NCP_ERROR``; says nothing of anybody.
        elmo: the results (:mod:`services.portal.emrex.envelope`) where it is ``NCP_OK``; else empty.
    """

    session_id: str = field(repr=False)
    code: ReturnCode
    message: str = ""
    elmo: str = field(default="", repr=False)

    def fields(self) -> dict[str, str]:
        """Names and values, in the standard's order."""
        return {
            SESSION_ID: self.session_id,
            RETURN_CODE: self.code.value,
            RETURN_MESSAGE: self.message,
            ELMO: self.elmo,
        }


def session_id(text: str) -> str:
    """A session id as a request names it.

    Raises:
        InvalidArgument: ``SESSION_ID_REFUSED``.
    """
    if not _SESSION_ID.match(text):
        raise InvalidArgument(
            "SESSION_ID_REFUSED",
            "the session id is missing, too long, or has characters that none needs",
            field=SESSION_ID,
            rule=f"{MIN_SESSION_ID} to {MAX_SESSION_ID} letters, digits and . _ ~ + / = : ! * @ -",
            remedy="the client makes a random one of 32 letters and digits",
        )
    return text


def return_code(text: str) -> ReturnCode:
    """A return code as an answer names it.

    Raises:
        InvalidArgument: ``RETURN_CODE_UNKNOWN``.
    """
    if text not in set(ReturnCode):
        raise InvalidArgument(
            "RETURN_CODE_UNKNOWN",
            "the answer has a return code that EMREX does not know",
            field=RETURN_CODE,
            rule=f"one of {', '.join(ReturnCode)}",
            remedy="ask the data provider",
        )
    return ReturnCode(text)

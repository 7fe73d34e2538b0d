"""The page for people: a form, and what was found, in the reader's language; the verdict in plain words comes first."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from importlib.resources import files
from typing import Any, Final

from fastapi import Request
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined

from services.verifier.answers import VerifyAnswer, outcome_word
from services.verifier.checks.names import SKIPPED, STRUCTURE
from services.verifier.details import in_language
from vitne.runtime.languages import NEIGHBOURS, best_table, best_text, reader_languages

#: The language of who asks for none that is here.
DEFAULT_LANGUAGE: Final = "en"
#: The address's parameter that chooses a language.
_LANGUAGE: Final = "lang"
_UNKNOWN_LANGUAGE: Final = "unknown_language"
#: What the page is called that refuses something, where it is not for want of a credential.
_REFUSED_TITLES: Final = {_UNKNOWN_LANGUAGE: "unknown_language_title"}
_SKIPPED: Final = outcome_word(SKIPPED)
#: The page loads nothing and posts to itself only; the credential in it goes nowhere else, nor into a cache.
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept-Language",
    "X-Content-Type-Options": "nosniff",
}

TEXTS: Final[Mapping[str, Mapping[str, Any]]] = tomllib.loads(
    files(__package__).joinpath("page_texts.toml").read_text("utf-8")
)


class FormPage:
    """Renders the page."""

    def __init__(self) -> None:
        templates = Environment(
            loader=PackageLoader("services.verifier"),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=StrictUndefined,
        )
        templates.filters["in_language"] = in_language
        self._template = templates.get_template("page.html")

    def form(self, request: Request) -> Response:
        """The form alone."""
        return self._render(request, HTTPStatus.OK)

    def nothing_given(self, request: Request) -> Response:
        """The form, for who sent nothing: of no credential nothing was found, least of all that it is invalid."""
        return self._render(request, HTTPStatus.BAD_REQUEST, refused="nothing_given")

    def no_credential(self, request: Request, answer: VerifyAnswer) -> Response:
        """The form, for who sent something else, with what machines are told of it; the verdict is not shown."""
        words = next(check.detail for check in answer.checks if check.name == STRUCTURE)
        return self._render(request, HTTPStatus.BAD_REQUEST, refused="no_credential", words=words)

    def answer(self, request: Request, answer: VerifyAnswer) -> Response:
        """What was found, and the form for another."""
        return self._render(request, HTTPStatus.OK, answer=answer)

    def _render(
        self,
        request: Request,
        status: HTTPStatus,
        *,
        answer: VerifyAnswer | None = None,
        refused: str = "",
        words: str = "",
    ) -> Response:
        chosen = request.query_params.get(_LANGUAGE, "")
        if chosen and chosen not in NEIGHBOURS:
            # Whatever came with it is not told in a language that was not asked for.
            chosen, status, answer, refused, words = "", HTTPStatus.BAD_REQUEST, None, _UNKNOWN_LANGUAGE, ""
        asked = reader_languages(request.headers.get("accept-language", ""))
        reads = [chosen, *asked] if chosen else asked
        texts = best_table(TEXTS, reads, DEFAULT_LANGUAGE)
        checks = answer.checks if answer is not None else []
        html = self._template.render(
            t=texts,
            neighbour=bool(chosen) and chosen != texts["language"],
            answer=answer,
            credential=_shown(answer, [texts["language"], *reads]),
            made=[check for check in checks if check.outcome != _SKIPPED],
            skipped=[check for check in checks if check.outcome == _SKIPPED],
            refused=texts[refused] if refused else "",
            words=words,
            refused_title="" if not refused else texts[_REFUSED_TITLES.get(refused, "nothing_title")],
            action=f"/?{_LANGUAGE}={chosen}" if chosen else "/",
            # What was pasted is in no address, so another language begins with the form.
            switches=[
                (language, told["language_name"], f"/?{_LANGUAGE}={language}") for language, told in TEXTS.items()
            ],
        )
        return HTMLResponse(html, status, _HEADERS | {"Content-Language": texts["language"]})


def _shown(answer: VerifyAnswer | None, reads: Sequence[str]) -> Mapping[str, str] | None:
    """What was verified, in texts of a reader's languages; None where nobody is known to have signed it."""
    if answer is None or answer.credential is None:
        return None
    told = answer.credential
    return {
        "title": best_text(told.title, reads, DEFAULT_LANGUAGE)[1],
        "issuer": best_text(told.issuer, reads, DEFAULT_LANGUAGE)[1],
        "issued_on": told.issued_on,
        "learner": " ".join(part for part in (told.given_name, told.family_name) if part),
        "birth_date": told.birth_date or "",
    }

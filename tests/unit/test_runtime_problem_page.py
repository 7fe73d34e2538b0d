"""Refusals are pages for browsers, and problem details for all others."""

from __future__ import annotations

import json

import pytest

from services.verifier.pages import pasted
from vitne.errors import InvalidArgument, Unauthenticated
from vitne.runtime.http import problem

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        (BROWSER, "text/html"),
        ("TEXT/HTML", "text/html"),
        ("application/json;q=0.5, text/html;q=0.6", "text/html"),
        ("", "application/problem+json"),
        ("*/*", "application/problem+json"),
        ("application/json", "application/problem+json"),
        ("text/html, application/problem+json", "application/problem+json"),
        ("text/html;q=0", "application/problem+json"),
        ("text/html;q=0.1, application/json", "application/problem+json"),
    ],
)
def test_who_names_html_reads_a_page(accept: str, media_type: str) -> None:
    answer = problem(InvalidArgument("BAD", "it is wrong"), accept)
    assert (answer.status_code, answer.headers["Content-Type"].partition(";")[0]) == (400, media_type)


def test_both_say_the_same_and_the_page_runs_nothing() -> None:
    error = InvalidArgument(
        "BAD_FIELD", "<script>no</script>", field="a&b", rule="at most 3", remedy="send less", metadata={"x": "y"}
    )
    told = json.loads(bytes(problem(error).body))
    assert (told["detail"], told["field"], told["reason"]) == ("<script>no</script>", "a&b", "BAD_FIELD")
    answer = problem(error, BROWSER)
    page = bytes(answer.body).decode()
    for words in ("400 Bad Request", "&lt;script&gt;no", "a&amp;b", "at most 3", "send less", "BAD_FIELD"):
        assert words in page
    assert "<script>" not in page
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert answer.headers["Vary"] == "Accept"
    assert problem(Unauthenticated("NO", "no"), BROWSER).headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("  eyJh.eyJi.c~\n  d~  ", "eyJh.eyJi.c~d~"),
        ("eyJh.\r\neyJi.c~", "eyJh.eyJi.c~"),
        ('\n{"a": "b c"}\n', '{"a": "b c"}'),
        (" <elmo> a b </elmo>", "<elmo> a b </elmo>"),
        ("", ""),
    ],
)
def test_a_pasted_credential_may_have_been_broken_into_lines(text: str, meant: str) -> None:
    assert pasted(text) == meant

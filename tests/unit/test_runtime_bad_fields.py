"""A request of another form than the documented one is refused in our words, whatever the framework calls it."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import pytest
from fastapi import FastAPI, Query
from pydantic import BaseModel, Field

from tests.unit.asgi import Answer, call
from vitne.runtime import http


class Sent(BaseModel, extra="forbid"):
    text: str = Field(min_length=2, max_length=3)
    count: int = Field(default=1, ge=1, le=9)
    share: float = Field(default=0.5, gt=0, lt=1)
    sure: bool = False
    kind: Literal["a", "b"] = "a"
    names: list[str] = Field(default=[], max_length=2)


app = FastAPI()
edge = http.install(app)


@app.post("/sent")
async def take(body: Sent) -> None:
    pass


@app.get("/page")
async def page(limit: Annotated[int, Query(ge=1)] = 1, name: Annotated[str, Query(pattern="^[a-z]+$")] = "a") -> None:
    pass


async def send(body: Any, media_type: str = "application/json") -> Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await call(edge, "/sent", form=content, headers={"content-type": media_type})


def told(answer: Answer) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(answer.body)
    assert (answer.status, body["reason"]) == (400, "BAD_FIELD")
    assert {"type", "title", "status", "detail", "field", "rule", "remedy", "violations"} <= body.keys()
    for words in (body, *body["violations"]):
        assert all(words[name] for name in ("field", "rule", "remedy"))
    # What pydantic and FastAPI would have said.
    for word in ("Input", "should be", "valid ", "Field required", "String"):
        assert word not in answer.text
    return body


@pytest.mark.parametrize(
    ("body", "field", "rule"),
    [
        ({}, "text", "required"),
        ({"text": None}, "text", "a text"),
        ({"text": 7}, "text", "a text"),
        ({"text": "a"}, "text", "at least 2 characters"),
        ({"text": "long"}, "text", "at most 3 characters"),
        ({"text": "ab", "count": "x"}, "count", "a whole number"),
        ({"text": "ab", "count": 1.5}, "count", "a whole number"),
        ({"text": "ab", "count": 0}, "count", "at least 1"),
        ({"text": "ab", "count": 10}, "count", "at most 9"),
        ({"text": "ab", "share": 0}, "share", "more than 0.0"),
        ({"text": "ab", "share": 1}, "share", "less than 1.0"),
        ({"text": "ab", "share": "x"}, "share", "a number"),
        ({"text": "ab", "sure": "perhaps"}, "sure", "true or false"),
        ({"text": "ab", "kind": "c"}, "kind", "one of 'a' or 'b'"),
        ({"text": "ab", "names": "x"}, "names", "a JSON array"),
        ({"text": "ab", "names": ["a", 2]}, "names[1]", "a text"),
        ({"text": "ab", "names": ["a", "b", "c"]}, "names", "at most 2 entries"),
        ({"text": "ab", "colour": "red"}, "colour", "no member of that name"),
        ([], "body", "a JSON object"),
        ("text", "body", "a JSON object"),
        (b"", "body", "required"),
        (b"{", "body[1]", "well-formed JSON (RFC 8259)"),
    ],
    ids=str,
)
async def test_a_wrong_body_is_told_by_field_rule_and_remedy(body: Any, field: str, rule: str) -> None:
    answer = told(await send(body))
    assert (answer["field"], answer["rule"]) == (field, rule)


async def test_what_a_member_is_called_is_not_told_without_end() -> None:
    answer = told(await send({"text": "ab", "n" * 5_000: 1}))
    assert answer["field"] == "n" * 200
    assert answer["remedy"] == "correct the name, or leave it out"


async def test_a_body_under_another_media_type_is_no_object() -> None:
    answer = told(await send({"text": "ab"}, "application/x-www-form-urlencoded"))
    assert (answer["field"], answer["rule"]) == ("body", "a JSON object")
    assert "application/json" in answer["remedy"]


async def test_every_field_is_told_and_no_value() -> None:
    answer = await send({"text": ["Nordmann"], "count": "Nordmann"})
    assert [each["field"] for each in told(answer)["violations"]] == ["text", "count"]
    assert "Nordmann" not in answer.text


@pytest.mark.parametrize(
    ("query", "field", "rule"),
    [
        ("limit=x", "limit", "a whole number"),
        ("limit=0", "limit", "at least 1"),
        ("name=A", "name", "of the form ^[a-z]+$"),
    ],
)
async def test_a_wrong_parameter_is_told_likewise(query: str, field: str, rule: str) -> None:
    answer = told(await call(edge, f"/page?{query}"))
    assert (answer["field"], answer["rule"]) == (field, rule)


@pytest.mark.parametrize(("path", "method", "status"), [("/nowhere", "GET", 404), ("/sent", "GET", 405)])
async def test_what_the_router_refuses_has_the_same_shape(path: str, method: str, status: int) -> None:
    answer = await call(edge, path, method=method)
    body = json.loads(answer.body)
    assert (answer.status, body["status"]) == (status, status)
    assert all(body[name] for name in ("type", "title", "detail", "reason", "rule", "remedy"))
    assert status == 404 or body["rule"].endswith(": POST")

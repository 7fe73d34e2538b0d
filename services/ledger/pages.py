"""What anyone may fetch over HTTP: the lists, the checkpoint, and a page that tells what is here."""

from __future__ import annotations

from html import escape
from http import HTTPStatus
from typing import Final

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, PlainTextResponse, Response

from services.ledger.lists import ListPublisher
from services.ledger.log_store import LogStore
from vitne.credentials.status_list import MEDIA_TYPE
from vitne.errors import NotFound, VitneError
from vitne.runtime.status import Unimplemented

#: The checkpoint may be cached this long, in seconds (tlog-tiles: not "beyond a few seconds").
CHECKPOINT_MAX_AGE: Final = 1
#: Wallets in browsers fetch lists from anywhere (draft-ietf-oauth-status-list-20, section 8.1, recommends CORS).
_CORS: Final = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "ETag"}
_PREFLIGHT: Final = _CORS | {
    "Access-Control-Allow-Methods": "GET, HEAD",
    # Neither is among those that browsers send unasked.
    "Access-Control-Allow-Headers": "If-None-Match",
    "Access-Control-Max-Age": "86400",
}

_PAGE: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Vitne: status lists and log</title>
<h1>Status lists and log</h1>
<p>Whether a credential is valid, suspended or revoked is said by the signed list that it names
(Token Status List; <code>{media_type}</code>).
What was issued, changed and published is in an append-only log,
whose state is its <a href="/checkpoint">checkpoint</a>.</p>
<h2>Lists</h2>
<ul>{lists}</ul>
<h2>Checkpoint</h2>
<pre>{checkpoint}</pre>
</html>
"""


def build_pages(publisher: ListPublisher, store: LogStore) -> FastAPI:
    """The ledger's HTTP application."""
    app = FastAPI(title="Vitne ledger", openapi_url=None)
    max_age = int(publisher.ttl.total_seconds())

    @app.api_route("/", methods=["GET", "HEAD"])
    async def index() -> Response:
        items = "".join(
            f'<li><a href="{escape(entry.path)}">{escape(entry.url)}</a>, version {entry.version} of '
            f"{entry.published:%Y-%m-%d %H:%M:%S} UTC</li>"
            for entry in publisher.published()
        )
        try:
            checkpoint = (await store.checkpoint()).note
        except VitneError as error:
            checkpoint = error.message
        page = _PAGE.format(media_type=MEDIA_TYPE, lists=items, checkpoint=escape(checkpoint))
        return HTMLResponse(page, headers={"Cache-Control": f"max-age={CHECKPOINT_MAX_AGE}"})

    @app.api_route("/checkpoint", methods=["GET", "HEAD"])
    async def checkpoint() -> Response:
        newest = await store.checkpoint()
        return PlainTextResponse(newest.note, headers=_CORS | {"Cache-Control": f"max-age={CHECKPOINT_MAX_AGE}"})

    @app.api_route("/{path:path}", methods=["GET", "HEAD"])
    async def status_list(request: Request) -> Response:
        newest = publisher.find(request.url.path)
        if newest is None:
            raise NotFound(
                "PAGE_UNKNOWN",
                "nothing is published here",
                rule="lists are served at the path of their URL",
                remedy="see / for what there is",
            )
        if "time" in request.query_params:
            raise Unimplemented(
                "HISTORY_NOT_SUPPORTED",
                "lists are served as they are now",
                field="time",
                rule="draft-ietf-oauth-status-list-20, section 8.4",
                remedy="ask without it; when a status changed is in the log",
            )
        headers = _CORS | {"ETag": newest.etag, "Cache-Control": f"max-age={max_age}"}
        if _matches(request.headers.getlist("if-none-match"), newest.etag):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        return Response(newest.token, media_type=MEDIA_TYPE, headers=headers)

    @app.options("/{path:path}")
    async def preflight() -> Response:
        return Response(status_code=HTTPStatus.NO_CONTENT, headers=_PREFLIGHT)

    return app


def _matches(conditions: list[str], etag: str) -> bool:
    """If-None-Match (RFC 9110, section 13.1.2): weak comparison with any of the tags; ours hold no comma."""
    tags = [tag.strip() for condition in conditions for tag in condition.split(",")]
    return "*" in tags or etag in (tag.removeprefix("W/") for tag in tags)

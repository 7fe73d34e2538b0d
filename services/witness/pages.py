"""The witness over HTTP (C2SP tlog-witness): ``add-checkpoint``, what it cosigned last, and its key."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse, Response

from services.witness.witness import Witness
from vitne.errors import Aborted, NotFound
from vitne.merkle.witnessing import SIZE, SIZE_MEDIA_TYPE, Inconsistent

#: What a monitor may lag behind.
MAX_AGE_SECONDS: Final = 5


def build_pages(witness: Witness) -> FastAPI:
    """The witness's HTTP application."""
    app = FastAPI(title="Vitne witness", openapi_url=None)

    @app.post("/add-checkpoint")
    async def add_checkpoint(request: Request) -> Response:
        try:
            return PlainTextResponse(await witness.add_checkpoint(await request.body()))
        except Aborted as conflict:  # A log that asks for the first time does not know the size.
            # Without a charset, which a media type that is given would get: clients compare it as a whole.
            told = {"Content-Type": SIZE_MEDIA_TYPE}
            return Response(f"{conflict.metadata[SIZE]}\n", status_code=HTTPStatus.CONFLICT, headers=told)
        except Inconsistent as error:
            return PlainTextResponse(f"{error}\n", status_code=HTTPStatus.UNPROCESSABLE_ENTITY)

    @app.api_route("/{hashed}/checkpoint", methods=["GET", "HEAD"])
    async def checkpoint(hashed: str) -> Response:
        note = witness.checkpoint(hashed)
        if note is None:
            raise NotFound(
                "LOG_UNKNOWN",
                "this witness never cosigned a checkpoint of that log",
                rule="C2SP tlog-witness, Monitor Retrieval Mechanism",
                remedy="give the SHA-256 of the log's origin in lower-case hexadecimal",
            )
        return PlainTextResponse(note, headers={"Cache-Control": f"max-age={MAX_AGE_SECONDS}"})

    @app.api_route("/", methods=["GET", "HEAD"])
    async def about() -> Response:
        lines = [f"witness {witness.key}", *(f"log {key.text}" for key in witness.logs)]
        return PlainTextResponse("".join(f"{line}\n" for line in lines))

    return app

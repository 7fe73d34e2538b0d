"""HTTP: ``POST /v1/verify`` for machines, and one page with a form for people; it needs no script."""

from __future__ import annotations

import base64
from typing import Annotated, Any, Final

from fastapi import FastAPI, Form, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from services.verifier.answers import VerifyAnswer, to_json, to_json_bytes
from services.verifier.form_page import FormPage
from services.verifier.presented import MAX_LENGTH, NotACredential, one_required
from services.verifier.verification import Verifier
from vitne.credentials.w3c.baking import MAX_IMAGE
from vitne.errors import InvalidArgument

#: Largest request body in bytes: a credential that a form's encoding made three times as long.
MAX_BODY: Final = 3 * MAX_LENGTH + 4_096
#: Most characters of an image in base64.
MAX_BASE64: Final = (MAX_IMAGE + 2) // 3 * 4

_PROBLEM: Final[dict[str, Any]] = {"content": {"application/problem+json": {}}}


class VerifyRequest(BaseModel, extra="forbid"):
    """A credential to verify, or the image that a badge was baked into. What else somebody wants checked is refused."""

    credential: str | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_LENGTH,
        description="The credential as presented: an SD-JWT VC in compact form; a W3C credential or badge as vc+jwt "
        "or with a Data Integrity proof; a European Digital Credential sealed with JAdES; or a signed ELMO document of "
        "one credential.",
    )
    badge_image: str | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_BASE64,
        description=f"Instead: a PNG or SVG of at most {MAX_IMAGE} bytes that a badge was baked into, in base64.",
    )

    def shown(self) -> str | bytes:
        """What is to be verified.

        Raises:
            InvalidArgument: ``ONE_REQUIRED``, ``BAD_BASE64``.
        """
        match self.credential, self.badge_image:
            case str(credential), None:
                return credential
            case None, str(image):
                return _decoded(image)
            case credential, _:
                raise one_required(both=credential is not None)


def _decoded(image: str) -> bytes:
    try:
        return base64.b64decode(image, validate=True)
    except ValueError:
        raise InvalidArgument(
            "BAD_BASE64",
            "the image can't be decoded",
            field="badge_image",
            rule="base64 with padding (RFC 4648, section 4)",
            remedy="encode the image's bytes, without line breaks",
        ) from None


def build_pages(verifier: Verifier) -> FastAPI:
    """The verifier's HTTP application."""
    app = FastAPI(
        title="Vitne verifier",
        version="1",
        description="What may be believed of a credential, check by check, and why.",
        docs_url=None,
        redoc_url=None,
    )
    page = FormPage()

    @app.post(
        "/v1/verify",
        operation_id="verify",
        summary="Verify one credential. A bad credential is an answer (200), not an error.",
        response_model=VerifyAnswer,
        responses={
            400: {
                "description": "The request is no JSON object with a credential, or has a member beside it.",
                **_PROBLEM,
            },
            413: {"description": "The request is too large.", **_PROBLEM},
            429: {"description": "Too many large credentials and images are being read.", **_PROBLEM},
        },
    )
    async def verify(request: VerifyRequest) -> Response:
        # Bytes rather than a model: FastAPI would validate again what was made here, and write it once more.
        return Response(to_json_bytes(await verifier.verify(request.shown())), media_type="application/json")

    @app.get("/", include_in_schema=False)
    async def form(request: Request) -> Response:
        return page.form(request)

    @app.post("/", include_in_schema=False)
    async def result(request: Request, credential: Annotated[str, Form(max_length=MAX_LENGTH)] = "") -> Response:
        given = pasted(credential)
        if not given:
            return page.nothing_given(request)
        verification = await verifier.verify(given)
        if isinstance(verification.unread, NotACredential):
            return page.no_credential(request, to_json(verification))
        return page.answer(request, to_json(verification))

    return app


def pasted(text: str) -> str:
    """What somebody meant who pasted a credential: mail programs break long lines, and selections begin too early.

    No compact form has spaces; within JSON and XML they are left as they are.
    """
    text = text.strip()
    return text if text.startswith(("{", "<")) else "".join(text.split())

"""Routes of pages whose refusals are pages, too, in the reader's language."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from vitne.errors import InvalidArgument, NotFound, VitneError
from vitne.runtime.bad_fields import bad_fields
from vitne.runtime.problem_page import wants_page


def refusing(told: Callable[[Request, VitneError], Response | None]) -> type[APIRoute]:
    """A class of routes.

    Args:
        told: makes a page of a refusal; None where it has no words for it, which is told as everywhere then.
    """

    class RefusingRoute(APIRoute):
        """Shows refusals to those who read pages; programs are told as everywhere."""

        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            """Serves a request."""
            serve = super().get_route_handler()

            async def handle(request: Request) -> Response:
                try:
                    return await serve(request)
                except (RequestValidationError, InvalidArgument, NotFound) as error:
                    if not wants_page(",".join(request.headers.getlist("accept"))):
                        raise
                    refusal = error if isinstance(error, VitneError) else bad_fields(error.errors())
                    page = told(request, refusal)
                    if page is None:
                        raise
                    return page

            return handle

    return RefusingRoute

"""A learner's browser without a screen: logs in by choosing a name on the development issuer's page."""

from __future__ import annotations

import html
import re
from typing import Final

import aiohttp

from vitne.errors import FailedPrecondition

_FORM: Final = re.compile(r'<form method="post" action="([^"]+)">')
_TRANSACTION: Final = re.compile(r'name="transaction" value="([^"]+)"')


async def log_in(session: aiohttp.ClientSession, url: str, pid: str) -> tuple[str, str]:
    """Open ``url``, which asks for a log-in, choose the learner, and follow the way back.

    A learner who has a session at the issuer already is let through as who she is.

    Args:
        session: with a cookie jar of its own that takes cookies of bare addresses:
            ``aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))``.
        url: a page that redirects to the issuer, such as the portal's ``/login``.
        pid: whom to choose.

    Returns:
        Address and text of the page that it ends at.

    Raises:
        FailedPrecondition: ``LOG_IN_FAILED`` when a page answers with an error.
    """
    async with session.get(url) as response:
        address, text = str(response.url), await response.text()
        _require_success(response.status, address)
    return await confirm(session, address, text, pid)


async def confirm(session: aiohttp.ClientSession, address: str, text: str, pid: str) -> tuple[str, str]:
    """Choose the learner if a page is the issuer's question who she is; else it is answered as it is.

    Args:
        session: that got the page.
        address: of the page.
        text: of the page.
        pid: whom to choose.

    Returns:
        Address and text of the page that it ends at.

    Raises:
        FailedPrecondition: ``LOG_IN_FAILED`` when a page answers with an error.
    """
    form, transaction = _FORM.search(text), _TRANSACTION.search(text)
    if form is None or transaction is None:
        return address, text
    choice = {"transaction": html.unescape(transaction[1]), "learner": pid}
    async with session.post(html.unescape(form[1]), data=choice) as response:
        address, text = str(response.url), await response.text()
        _require_success(response.status, address)
    return address, text


def _require_success(status: int, address: str) -> None:
    if status >= 400:
        raise FailedPrecondition("LOG_IN_FAILED", f"{address.split('?', maxsplit=1)[0]} answered {status}")

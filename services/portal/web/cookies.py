"""Names and attributes of the portal's cookies (RFC 6265bis)."""

from __future__ import annotations

from fastapi import Response


class Cookies:
    """Cookies that only our pages get: ``HttpOnly``, ``SameSite=Lax``, and ``Secure`` wherever there is TLS.

    Args:
        secure: whether learners find the portal at https.
    """

    def __init__(self, *, secure: bool) -> None:
        self._secure = secure
        # `__Host-`: no other host of the domain can plant the cookie (section 4.1.3.2).
        self._prefix = "__Host-" if secure else ""

    def name(self, plain: str) -> str:
        """The name under which a cookie is set."""
        return f"{self._prefix}{plain}"

    def set(self, response: Response, plain: str, value: str, seconds: int) -> None:
        """Let the browser keep ``value`` for so long."""
        response.set_cookie(
            self.name(plain), value, max_age=seconds, path="/", secure=self._secure, httponly=True, samesite="lax"
        )

    def delete(self, response: Response, plain: str) -> None:
        """Let the browser forget it."""
        response.delete_cookie(self.name(plain), path="/", secure=self._secure, httponly=True, samesite="lax")

"""HTTP/1.1 on the wire: uvicorn's protocol over llhttp, half the CPU of its other one, with a bound on heads."""

from __future__ import annotations

from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: Most bytes of a request that are no body: its line and headers, as much as h11, the other parser, takes; then what
#: chunks and trailers add.
MAX_HEAD: Final = 64 * 1024


class BoundedHttp(HttpToolsProtocol):
    """Answers 400 and ends the connection where a head or trailer does not end: llhttp would collect it for ever.

    What came with the last bytes of a head is not counted, so there may be some more.
    """

    _collected = 0

    def data_received(self, data: bytes) -> None:
        """Take what came in."""
        self._collected += len(data)
        super().data_received(data)
        if self._collected > MAX_HEAD and not self.transport.is_closing():
            self.send_400_response("The request's headers are too long.")

    def on_headers_complete(self) -> None:
        """A request's head is there."""
        self._collected = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of its body is there."""
        self._collected -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """All of it is there."""
        self._collected = 0
        super().on_message_complete()

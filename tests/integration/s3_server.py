"""The S3 server of the tests, on a port of loopback: moto's, which answers one request after the other here.

It looks whether a write's condition holds, and then writes, in two steps; a storage that is used does that in one.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

from vitne.dev.ports import LOOPBACK

_application = DomainDispatcherApplication(create_backend_app)
_one_at_a_time = threading.Lock()


def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """A WSGI application: all of a request is answered before the next begins."""
    with _one_at_a_time:
        return list(_application(environ, start_response))


if __name__ == "__main__":
    run_simple(LOOPBACK, int(sys.argv[1]), answer, threaded=True)

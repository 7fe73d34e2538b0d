"""``python -m vitne.dev.identity --config FILE --listen HOST:PORT``: the development issuer as a process."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import uvicorn

from vitne.clock import SystemClock
from vitne.dev.identity.application import create_app
from vitne.dev.identity.configuration import Configuration, require_development
from vitne.errors import VitneError
from vitne.runtime.http_protocol import BoundedHttp


def main(arguments: list[str] | None = None) -> int:
    """Serve until told to stop; 2 when it may not or can't."""
    parser = argparse.ArgumentParser(
        prog="python -m vitne.dev.identity",
        description="Stand-in for Maskinporten, ID-porten and Feide: real protocols, nobody real. Never in production.",
    )
    parser.add_argument("--config", type=Path, required=True, help="JSON file as DevelopmentIdentity writes it")
    parser.add_argument("--listen", default="127.0.0.1:7100", help="address to listen on (default: %(default)s)")
    parser.add_argument("--certificate", type=Path, help="PEM, certificate and key: serve https (default: plain http)")
    options = parser.parse_args(arguments)
    host, _, port = options.listen.rpartition(":")
    try:
        require_development()
        app = create_app(Configuration.read(options.config), SystemClock())
    except (VitneError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    # No access log: what learners choose is nobody's business, made up or not.
    uvicorn.run(
        app,
        host=host,
        port=int(port),
        http=BoundedHttp,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=2,
        ssl_certfile=options.certificate,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

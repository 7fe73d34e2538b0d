"""``python -m vitne.dev.apache_kafka run FOLDER``: an Apache Kafka until Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from pathlib import Path

from vitne.dev.apache_kafka.jars import fetch_jars
from vitne.dev.apache_kafka.server import EmbeddedKafka
from vitne.errors import VitneError


def main(arguments: list[str] | None = None) -> int:
    """Run until told to stop; 1 when the broker ended by itself, 2 when it can't be run."""
    parser = argparse.ArgumentParser(
        prog="python -m vitne.dev.apache_kafka",
        description="A real Apache Kafka for development: one node in KRaft mode on 127.0.0.1.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run it until Ctrl-C; prints its bootstrap address")
    run.add_argument("folder", type=Path, help="where its data lives; created when missing")
    run.add_argument("--port", type=int, default=0, help="port for clients (default: a free one)")
    run.add_argument("--secure", action="store_true", help="TLS with client certificates, and access rules")
    run.add_argument(
        "--client",
        action="append",
        default=[],
        metavar="PRINCIPAL",
        help="with --secure: issue a certificate for it; may be repeated",
    )
    commands.add_parser("fetch", help="fetch the jars when missing; prints their folder")
    options = parser.parse_args(arguments)
    try:
        if options.command == "fetch":
            print(fetch_jars())
            return 0
        kafka = EmbeddedKafka(options.folder, options.port, secure=options.secure)
        return asyncio.run(_run(kafka, options.client))
    except (VitneError, OSError) as error:
        print(error, file=sys.stderr)
        return 2


async def _run(kafka: EmbeddedKafka, clients: list[str]) -> int:
    """Returns 0 when told to stop, 1 when the broker ended before."""
    told = asyncio.Event()
    for signum in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signum, told.set)
    files = {principal: kafka.identity_path(principal) for principal in clients}
    async with kafka:
        print(kafka.bootstrap_servers, flush=True)
        if kafka.secure:
            print(f"trust {kafka.authority_path}", flush=True)
        for principal, file in files.items():
            print(f"{principal} {file}", flush=True)
        waits = [asyncio.ensure_future(told.wait()), asyncio.ensure_future(kafka.wait())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        if told.is_set():
            return 0
    print(f"Apache Kafka ended by itself: see {kafka.log_path}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())

"""``python -m services.witness serve|key``: needs a folder, and nothing else of ours."""

from __future__ import annotations

import argparse
import asyncio
import logging
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import uvicorn

from services.witness.memory import Memory, keep_name
from services.witness.pages import build_pages
from services.witness.witness import Witness
from vitne.canonical import from_b64url
from vitne.clock import SystemClock
from vitne.credentials.jose import ED25519
from vitne.errors import FailedPrecondition, VitneError
from vitne.merkle.cosignatures import Cosigner, CosignerKey
from vitne.merkle.notes import NoteKey
from vitne.merkle.witnessing import MAX_REQUEST_BYTES
from vitne.runtime import http
from vitne.runtime.argument_files import read_file
from vitne.runtime.arguments import told_of_argument
from vitne.runtime.custody import FileKeyCustody
from vitne.runtime.http_protocol import BoundedHttp
from vitne.runtime.telemetry import start_logging

DESCRIPTION: Final = (
    "Watches transparency logs: cosigns a log's checkpoint (C2SP tlog-witness) when it follows from the last one "
    "that was cosigned, and refuses it otherwise. Run it where the log's operator has no say."
)
#: Label of the key in the folder.
KEY_LABEL: Final = "witness"
_LAST_PORT: Final = 65_535
_log = logging.getLogger(__name__)
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    made = argparse.ArgumentParser(prog="python -m services.witness", description=DESCRIPTION)
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")
    serve = commands.add_parser("serve", help="run until SIGTERM or SIGINT")
    key = commands.add_parser("key", help="print the verifier key, for logs and policies; makes it where there is none")
    for each in (serve, key):
        each.add_argument("--name", required=True, help="of the witness: a host and path without a scheme")
        each.add_argument("--folder", type=Path, required=True, help="where its key and its memory are")
    serve.add_argument(
        "--log", action="append", required=True, metavar="VKEY", help="verifier key of a log to look after; repeatable"
    )
    serve.add_argument(
        "--succession",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="statement by which one of these keys follows another, as the log serves it at /succession/N; repeatable",
    )
    serve.add_argument(
        "--listen", type=_place, default="127.0.0.1:8080", metavar="HOST:PORT", help="(default: %(default)s)"
    )
    serve.add_argument(
        "--clock-was-ahead",
        action="store_true",
        help="cosign although what was said last is of a later time than now: for once, after the clock was ahead and "
        "is right again",
    )
    serve.add_argument("--certificate", type=Path, metavar="FILE", help="PEM, certificate and key; without it, plain")
    return made


def main(arguments: Sequence[str]) -> int:
    """Run a command; answers the exit code."""
    asked = parser().parse_args(arguments)
    start_logging("info")
    try:
        cosigner = load_cosigner(asked.folder, asked.name)
        if asked.command == "key":
            sys.stdout.write(f"{cosigner.key.text}\n")
            return 0
        logs = [NoteKey.parse(text) for text in asked.log]
        with Memory(asked.folder) as memory:
            statements = [read_file(file, "--succession").decode("utf-8", "replace") for file in asked.succession]
            was_ahead = asked.clock_was_ahead
            witness = Witness(cosigner, logs, memory, SystemClock(), statements, was_ahead=was_ahead)
            asyncio.run(_serve(witness, asked.listen, asked.certificate))
    except VitneError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_USAGE
    except OSError as error:
        sys.stderr.write(f"{error.strerror}\n")
        return EXIT_FAILED
    return 0


def script() -> None:
    """Entry point of ``vitne-witness``."""
    raise SystemExit(main(sys.argv[1:]))


def load_cosigner(folder: Path, name: str) -> Cosigner:
    """The witness's key, made where there is none.

    Raises:
        InvalidArgument: ``BAD_NOTE_KEY``: the name is none.
        FailedPrecondition: ``WITNESS_NAMED_ALREADY``.
        Unavailable: ``CUSTODY_UNAVAILABLE``, ``STORAGE_UNAVAILABLE``.
    """
    signer = FileKeyCustody(folder).ensure(KEY_LABEL, ED25519)
    with told_of_argument("--name", remedy="give a host and path without a scheme, as witness.example/w1"):
        key = CosignerKey(name, from_b64url(signer.public_jwk["x"]))
    keep_name(folder, name)
    return Cosigner(key, signer.sign)


def _place(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > _LAST_PORT:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no place to listen at; rule: HOST:PORT; remedy: 127.0.0.1:8080, or [::]:8080 for all"
        )
    return text


async def _serve(witness: Witness, listen: str, certificate: Path | None) -> None:
    host, _, port = listen.rpartition(":")
    place = host.strip("[]")
    try:
        # By ourselves, since the server would only log that it can't.
        v6 = ":" in place
        listening = socket.create_server(
            (place, int(port)),
            family=socket.AF_INET6 if v6 else socket.AF_INET,
            dualstack_ipv6=v6 and socket.has_dualstack_ipv6(),  # [::] is for all
        )
    except OSError as error:
        raise FailedPrecondition(
            "PLACE_UNAVAILABLE",
            f"nothing can listen at {listen}: {error.strerror}",
            field="--listen",
            rule="a place of this machine's that is free, and open to this user",
            remedy="name another by --listen HOST:PORT, or end what listens there",
        ) from error
    bound = listening.getsockname()[1]  # which is the system's choice where 0 was asked for
    _log.info("%s listens at %s:%d, for %s", witness.key, host, bound, ", ".join(key.text for key in witness.logs))
    server = uvicorn.Server(
        uvicorn.Config(
            http.install(build_pages(witness), max_body=MAX_REQUEST_BYTES),
            http=BoundedHttp,
            ssl_certfile=certificate,
            log_config=None,
            access_log=False,
            server_header=False,
        )
    )
    await server.serve(sockets=[listening])


if __name__ == "__main__":
    script()

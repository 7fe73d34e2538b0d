"""``python -m services.NAME parked …``: what :mod:`vitne.runtime.operations` serves, on the service's own database.

For an operator who is on the machine, also while the service is down. It prints one JSON object a line, as the
contract names its fields, and places as log lines write them: ``topic[partition]@offset``.
"""

from __future__ import annotations

import argparse
import asyncio
import getpass
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final
from uuid import UUID

import asyncpg
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from vitne.clock import Clock, SystemClock
from vitne.errors import InvalidArgument, Unavailable, VitneError
from vitne.identifiers import UuidFactory, parse_uuid
from vitne.messaging import desk, parked
from vitne.outages import DATABASE_OUTAGES
from vitne.runtime.main import EXIT_FAILED
from vitne.runtime.operations import show, show_act

_PLACE: Final = re.compile(r"(?P<topic>[A-Za-z0-9._-]{1,249})\[(?P<partition>\d{1,9})\]@(?P<offset>\d{1,18})")
#: Rows that a command prints where no number is given.
DEFAULT_LIMIT: Final = 100
#: Most characters of a ground, as in the contract.
MAX_GROUND: Final = 500


def parked_command(
    service: str,
    consumers: Sequence[str],
    dsn: Callable[[], str],
    arguments: Sequence[str],
    *,
    clock: Clock | None = None,
) -> int:
    """Run ``parked list|show|replay|drop|skip|acts``; answers the exit code.

    Args:
        service: its name.
        consumers: names of its consumers.
        dsn: answers that of its database, once the arguments are known to be right.
        arguments: those after ``parked``.
        clock: dates acts; the machine's own by default.
    """
    parsed = _parser(service, consumers).parse_args(arguments)
    try:
        asyncio.run(_run(parsed, dsn(), clock or SystemClock()))
    except VitneError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_FAILED
    return 0


def _parser(service: str, consumers: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m services.{service} parked",
        description="Events that the service could not handle, and those that wait behind them.",
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--consumer",
        choices=sorted(consumers),
        default=consumers[0] if len(consumers) == 1 else None,
        required=len(consumers) > 1,
        help="whose",
    )
    acting = argparse.ArgumentParser(add_help=False, parents=[common])
    acting.add_argument("--ground", required=True, help="why; kept for ever, so name no person")
    acting.add_argument("--request-id", type=_uuid, help="a UUID: repeated, the act is done once")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    listing = commands.add_parser("list", parents=[common], help="what is parked: failed messages first, oldest first")
    listing.add_argument("--limit", type=int, default=DEFAULT_LIMIT, help="most rows")
    for name, parents, text in (
        ("show", common, "one message with its headers; never its value"),
        ("replay", acting, "try a failed message again"),
        ("drop", acting, "give a failed message up; those behind it go on"),
    ):
        command = commands.add_parser(name, parents=[parents], help=text)
        command.add_argument("place", type=_place, help="topic[partition]@offset")
    skipping = commands.add_parser("skip", parents=[acting], help="declare the revisions before a waiting message lost")
    skipping.add_argument("topic")
    skipping.add_argument("key")
    skipping.add_argument("through", type=int, help="the last missing revision: the one before the first that waits")
    recorded = commands.add_parser("acts", parents=[common], help="what operators did, newest first")
    recorded.add_argument("--limit", type=int, default=DEFAULT_LIMIT, help="most rows")
    return parser


async def _run(parsed: argparse.Namespace, dsn: str, clock: Clock) -> None:
    try:
        conn = await asyncpg.connect(dsn)
    except DATABASE_OUTAGES as error:
        raise Unavailable(
            "DATABASE_UNREACHABLE", "the service's database does not answer", remedy="look at VITNE_DATABASE_DSN"
        ) from error
    try:
        for message in await _perform(conn, parsed, clock):
            sys.stdout.write(json.dumps(_plain(message), ensure_ascii=False) + "\n")
    finally:
        await conn.close()


async def _perform(conn: asyncpg.Connection, parsed: argparse.Namespace, clock: Clock) -> Sequence[Message]:
    consumer: str = parsed.consumer
    match parsed.command:
        case "list":
            found = await parked.list_parked(conn, consumer, limit=parsed.limit)
            return [await show(conn, consumer, message) for message in found]
        case "acts":
            return [show_act(act) for act in await desk.acts(conn, consumer, limit=parsed.limit)]
        case "show":
            message = await parked.get_parked(conn, consumer, *parsed.place)
            return [await show(conn, consumer, message, headers=True)]
        case "replay":
            act = await desk.replay(conn, desk.Place(consumer, *parsed.place), _mandate(parsed, clock))
        case "drop":
            act = await desk.drop(conn, desk.Place(consumer, *parsed.place), _mandate(parsed, clock))
        case _:
            by = _mandate(parsed, clock)
            act = await desk.skip(conn, consumer, parsed.topic, key=parsed.key, revision=parsed.through, by=by)
    return [show_act(act)]


def _mandate(parsed: argparse.Namespace, clock: Clock) -> desk.Mandate:
    ground = parsed.ground.strip()
    if not 0 < len(ground) <= MAX_GROUND:
        raise InvalidArgument(
            "BAD_GROUND", "an act needs a ground", field="ground", rule=f"1 to {MAX_GROUND} characters"
        )
    id_ = parsed.request_id or UuidFactory(clock)()
    return desk.Mandate(id_, f"command {_user()}", ground, clock.now())


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # A container's user may have no name.
        return str(os.getuid())


def _plain(message: Message) -> dict[str, Any]:
    return MessageToDict(message, preserving_proto_field_name=True)


def _place(text: str) -> tuple[str, int, int]:
    match = _PLACE.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError("write it like vitne.ledger.status.v1[0]@17")
    return match["topic"], int(match["partition"]), int(match["offset"])


def _uuid(text: str) -> UUID:
    try:
        return parse_uuid(text)
    except InvalidArgument as error:
        raise argparse.ArgumentTypeError(error.message) from error

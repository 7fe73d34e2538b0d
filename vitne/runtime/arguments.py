"""Arguments of commands, where :mod:`argparse` would take them for something else, or speak of something else."""

from __future__ import annotations

import argparse
import math
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from vitne.errors import VitneError

#: An RFC 7638 thumbprint (SHA-256, base64url) whose first of 64 possible characters is the hyphen.
_HYPHENATED: Final = re.compile(r"-[A-Za-z0-9_-]{42}")
_THUMBPRINT: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_HOST_AND_PORT: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}")
#: What :mod:`argparse` takes for an option: no number, nothing with a space.
_OPTION: Final = re.compile(r"--?[A-Za-z][^ ]*")


def parsed(parser: argparse.ArgumentParser, arguments: Iterable[str]) -> argparse.Namespace:
    """What a command's arguments say, thumbprints that begin with a hyphen included.

    An option that the command does not have is named before any that is missing: mistyped, it is often the same.

    Args:
        parser: of a command without commands of its own.
        arguments: without the program's name.
    """
    joined = _thumbprints_joined(parser, arguments)
    options = joined[: joined.index("--")] if "--" in joined else joined
    unknown = [each for each in options if _OPTION.fullmatch(each) and not _is_known(parser, each)]
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)} (--help tells which there are)")
    return parser.parse_args(joined)


@contextmanager
def told_of_argument(argument: str, *fields: str, rule: str = "", remedy: str = "") -> Iterator[None]:
    """Say of what is refused which argument is at fault: what refuses it knows of none.

    Args:
        argument: as the command's help calls it.
        fields: what refusals name that are meant; without any, all are.
        rule: of the argument, where that of the refusal is about something else.
        remedy: likewise.

    Raises:
        VitneError: as it comes, with the argument as its field.
    """
    try:
        yield
    except VitneError as error:
        if fields and error.field not in fields:
            raise
        raise type(error)(
            error.reason,
            error.message,
            field=argument,
            rule=rule or error.rule,
            remedy=remedy or error.remedy,
            metadata=error.metadata,
        ) from error


def interpreter() -> str:
    """By what name the Python that runs this is reached from here: what is printed to be run next begins with it."""
    own = Path(sys.executable).absolute()  # not resolved: an environment's leads to the system's, and is not it
    found = shutil.which("python")
    if found is not None and Path(found).absolute() == own:
        return "python"
    return str(own.relative_to(Path.cwd()) if own.is_relative_to(Path.cwd()) else own)


def thumbprint(text: str) -> str:
    """The type of an argument that pins a key: a thumbprint, or a usage error.

    Raises:
        argparse.ArgumentTypeError: naming rule and remedy; argparse names the option.
    """
    try:
        return check_thumbprint(text)
    except ValueError as error:  # of which argparse would say its own, with what was given
        raise argparse.ArgumentTypeError(str(error)) from error


def web_address(text: str) -> str:
    """The type of an argument that says where something is served over HTTP.

    Raises:
        argparse.ArgumentTypeError: naming rule and remedy; argparse names the option.
    """
    if not is_web_address(text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no address of the web; rule: https://host/path; remedy: copy the address at which it is "
            "published, with https:// in front"
        )
    return text


def some_seconds(text: str) -> float:
    """The type of an argument that is a time in seconds: 0 or more.

    Raises:
        argparse.ArgumentTypeError: naming rule and remedy; argparse names the option.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; rule: seconds, 0 or more; remedy: write a number, 30")
    return value


def host_and_port(text: str) -> str:
    """The type of an argument that says where gRPC is served: ``ledger.example:443``.

    Raises:
        argparse.ArgumentTypeError: naming rule and remedy; argparse names the option.
    """
    if _HOST_AND_PORT.fullmatch(text) is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no address of gRPC; rule: HOST:PORT, without https:// and without a path; remedy: give the "
            "host's name or address, a colon and the port, ledger.example:443"
        )
    return text


def served_elsewhere(text: str) -> tuple[str, str]:
    """The type of an argument ``PREFIX=BASE``: addresses that begin with the one are really fetched from the other.

    Raises:
        argparse.ArgumentTypeError: naming rule and remedy; argparse names the option.
    """
    prefix, _, base = text.partition("=")
    if not all(each.endswith("/") and is_web_address(each) for each in (prefix, base)):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no pair of addresses; rule: PREFIX=BASE, both of the web and with a slash at the end; "
            "remedy: https://status.example/=https://mirror.example/"
        )
    return prefix, base


def is_web_address(text: str) -> bool:
    """Whether a text is an absolute URL of the web."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("https", "http") and bool(parts.hostname) and text.split() == [text]


def check_thumbprint(text: str) -> str:
    """A thumbprint as it was given: RFC 7638, of a key that is pinned.

    What is no thumbprint fits no key: it would be told as a list that somebody else signed. It is not repeated: it may
    be what nobody should see.

    Raises:
        ValueError: naming rule and remedy.
    """
    if _THUMBPRINT.fullmatch(text) is None:
        raise ValueError(
            f"this is no thumbprint; rule: an RFC 7638 thumbprint (SHA-256) has 43 characters of base64url without "
            f"padding, and this has {len(text)}; remedy: copy the one that the registry's operator publishes, whole"
        )
    return text


def _thumbprints_joined(parser: argparse.ArgumentParser, arguments: Iterable[str]) -> list[str]:
    """Arguments of which each thumbprint that begins with a hyphen is joined to its option: ``--registry-key=-Ab…``.

    argparse takes it for an option of its own otherwise, and says that the one before has no value.
    """
    joined: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if joined and _is_meant_as_thumbprint(parser, argument, joined[-1]):
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
        if argument == "--":  # None of what follows is an option.
            break
    return [*joined, *rest]


def _is_meant_as_thumbprint(parser: argparse.ArgumentParser, argument: str, before: str) -> bool:
    """Whether an argument is the value of the option before it, though it begins with a hyphen.

    Also where a character of it was lost: that is to be told of the option whose value it is.
    """
    if _HYPHENATED.fullmatch(argument):
        return _awaits_value(parser, before)
    shortened = _OPTION.fullmatch(argument) and not argument.startswith("--") and not _is_known(parser, argument)
    return bool(shortened) and "=" not in before and any(each.type is thumbprint for each in _meant(parser, before))


def _awaits_value(parser: argparse.ArgumentParser, argument: str) -> bool:
    """Whether an argument is an option of the parser's whose value is the next one."""
    return "=" not in argument and any(action.nargs != 0 for action in _meant(parser, argument))


def _is_known(parser: argparse.ArgumentParser, argument: str) -> bool:
    """Whether an argument is an option of the parser's."""
    return bool(_meant(parser, argument))


def _meant(parser: argparse.ArgumentParser, argument: str) -> list[argparse.Action]:
    """The options of the parser's that an argument may be, also where it is written in short; none where it is none."""
    # Where argparse itself looks; it tells nobody otherwise.
    known = parser._option_string_actions
    if argument.startswith("--"):
        name = argument.partition("=")[0]
        return [action for option, action in known.items() if name != "--" and option.startswith(name)]
    return [known[argument[:2]]] if argument[:2] in known else []

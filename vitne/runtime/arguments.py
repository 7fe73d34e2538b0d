"""Arguments of commands, where :mod:`argparse` would take them for something else, or speak of something else."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable
from typing import Final

#: An RFC 7638 thumbprint (SHA-256, base64url) whose first of 64 possible characters is the hyphen.
_HYPHENATED: Final = re.compile(r"-[A-Za-z0-9_-]{42}")
#: What :mod:`argparse` takes for an option: no number, nothing with a space.
_OPTION: Final = re.compile(r"--?[A-Za-z][^ ]*")


def parsed(parser: argparse.ArgumentParser, arguments: Iterable[str]) -> argparse.Namespace:
    """What a command's arguments say, thumbprints that begin with a hyphen included.

    An option that the command does not have is named before any that is missing: mistyped, it is often the same.

    Args:
        parser: of a command without commands of its own.
        arguments: without the program's name.
    """
    joined = thumbprints_joined(arguments)
    options = joined[: joined.index("--")] if "--" in joined else joined
    unknown = [each for each in options if _OPTION.fullmatch(each) and not _is_known(parser, each)]
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)} (--help tells which there are)")
    return parser.parse_args(joined)


def thumbprints_joined(arguments: Iterable[str]) -> list[str]:
    """Arguments of which each thumbprint that begins with a hyphen is joined to its option: ``--registry-key=-Ab…``.

    argparse takes it for an option of its own otherwise, and says that the one before has no value.
    """
    joined: list[str] = []
    for argument in arguments:
        if joined and joined[-1].startswith("--") and "=" not in joined[-1] and _HYPHENATED.fullmatch(argument):
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def _is_known(parser: argparse.ArgumentParser, argument: str) -> bool:
    """Whether an argument is an option of the parser's, also one that is written in short."""
    # Where argparse itself looks; it tells nobody otherwise.
    known = parser._option_string_actions
    if argument.startswith("--"):
        return any(option.startswith(argument.partition("=")[0]) for option in known)
    return argument[:2] in known

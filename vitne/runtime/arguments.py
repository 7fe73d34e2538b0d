"""Arguments of commands that :mod:`argparse` takes for something else."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

#: An RFC 7638 thumbprint (SHA-256, base64url) whose first of 64 possible characters is the hyphen.
_HYPHENATED: Final = re.compile(r"-[A-Za-z0-9_-]{42}")


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

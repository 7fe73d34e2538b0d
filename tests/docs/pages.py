"""The commands on the pages, as a reader would type them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
#: Pages whose every command is run by a test, in the order in which a reader would follow them: what one makes, the
#: next uses.
PAGES: Final = (
    "docs/integrate.md",
    "docs/verify.md",
    "docs/log.md",
    "docs/trust.md",
    "docs/subscribe.md",
    "docs/portal-sharing.md",
    "docs/wallets.md",
    "docs/emrex.md",
    "docs/webhooks.md",
    "docs/operate.md",
    *sorted(str(page.relative_to(ROOT)) for page in (ROOT / "docs" / "operating").glob("*.md")),
    "deploy/k8s/README.md",
)

_BLOCK: Final = re.compile(r"^ *```(?P<language>\w*)\n(?P<text>.*?)^ *```$", re.MULTILINE | re.DOTALL)
_SPAN: Final = re.compile(r"`([^`]+)`")
_SECTION: Final = re.compile(r"^##+ (.*)$", re.MULTILINE)
#: What a line begins with that is a command, after variables that are set for it.
_COMMAND: Final = re.compile(
    r"(?:[A-Z_]+=\S* )*(?:kubectl|cmctl|kustomize|podman|openssl|\S*python|pytest|make|curl|head|deploy/k8s/\S+)"
    r" (?![|=])\S"
)


@dataclass(frozen=True, slots=True)
class Command:
    """One command.

    Attributes:
        page: where it is, from the root of the checkout.
        section: the heading above it.
        text: as it is written, lines joined.
    """

    page: str
    section: str
    text: str


def scripts(page: str) -> list[str]:
    """The blocks of a page that are marked ``sh``: written to be pasted into a shell while ``make up`` runs."""
    return [match["text"] for match in _BLOCK.finditer(_read(page)) if match["language"] == "sh"]


def commands(page: str) -> Iterator[Command]:
    """Every command of a page outside of :func:`scripts`: lines of other blocks, and what stands in running text."""
    text = _read(page)
    for match in _BLOCK.finditer(text):
        if match["language"] != "sh":
            for line in match["text"].replace("\\\n", " ").splitlines():
                if _COMMAND.match(line.strip()):
                    yield Command(page, _section(text, match.start()), line.strip())
    prose = _BLOCK.sub(lambda match: "\n" * match[0].count("\n"), text)
    for match in _SPAN.finditer(prose):
        if _COMMAND.match(span := " ".join(match[1].split())):
            yield Command(page, _section(prose, match.start()), span)


def section(page: str, heading: str) -> str:
    """What stands under a heading."""
    _before, _, rest = _read(page).partition(f"## {heading}\n")
    return rest.split("\n## ")[0]


def _section(text: str, place: int) -> str:
    found = [match[1] for match in _SECTION.finditer(text, 0, place)]
    return found[-1] if found else ""


def _read(page: str) -> str:
    return (ROOT / page).read_text()

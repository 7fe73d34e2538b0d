"""What the navigation of a learner who is logged in leads to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Entry:
    """One link.

    Attributes:
        path: where it leads to.
        text: name of its text.
    """

    path: str
    text: str


ENTRIES: Final = (
    Entry("/me", "nav_credentials"),
    Entry("/me/timeline", "nav_timeline"),
    Entry("/me/shares", "nav_sharing"),
    Entry("/me/imports", "nav_imports"),
    Entry("/me/employers", "nav_employers"),
    Entry("/privacy", "nav_privacy"),
)

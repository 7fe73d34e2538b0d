"""What the demonstration prints: numbered steps, findings, and the one place where an expectation fails."""

from __future__ import annotations

import shutil
import sys
import textwrap
import time
from typing import Final, NoReturn

#: Lines are no longer than this, nor than the terminal is wide.
WIDTH: Final = 120
#: What stands above the steps; an expectation, a finding, and what belongs to the line above it.
_OPENING: Final = " " * 2
_HELD: Final = "   ok  "
_FINDING: Final = " " * 7
_UNDER: Final = " " * 9


class ExpectationFailed(Exception):
    """Something in the demonstration did not come out as it must."""


class Narrator:
    """Prints the steps of a job as they happen.

    Args:
        quiet: say nothing, where only the doing matters.
        verbose: tell details, too; else the story alone, on a screen or two.
    """

    def __init__(self, *, quiet: bool = False, verbose: bool = False) -> None:
        self._quiet = quiet
        self._verbose = verbose
        self._step = 0
        self._started = time.monotonic()
        #: Expectations that held, and how many of them were printed.
        self.held = 0
        self.told = 0

    def step(self, title: str) -> None:
        """Open a numbered step."""
        self._step += 1
        gap = "\n" if self._verbose else ""
        self._print(f"{gap}{self._step}. {title}  [{time.monotonic() - self._started:.1f} s]")

    def say(self, text: str, *, under: bool = False) -> None:
        """One finding under the step, or under the line above; before the first step, what is to be known of all."""
        indent = _OPENING if not self._step else _UNDER if under else _FINDING
        for line in text.split("\n"):
            self._print_folded(indent, line)

    def detail(self, text: str, *, under: bool = False) -> None:
        """A finding for those who ask for all of them."""
        if self._verbose:
            self.say(text, under=under)

    def progress(self, text: str) -> None:
        """One line while something takes long; overwritten on a terminal."""
        if not self._quiet and sys.stdout.isatty():
            print(f"\r{_FINDING}{text}\x1b[K", end="", flush=True)

    def expect(self, holds: bool, text: str, *, detail: bool = False) -> None:
        """Count and print an expectation that holds, a detail as :meth:`detail` does; stop where it does not."""
        if not holds:
            self.fail(f"expected: {text}")
        self.held += 1
        if not self._quiet and (self._verbose or not detail):
            self.told += 1
            self._print_folded(_HELD, text)

    def fail(self, reason: str) -> NoReturn:
        """Stop the job with a plain reason."""
        raise ExpectationFailed(reason)

    def _print_folded(self, indent: str, text: str) -> None:
        """Print a line; what is too long goes on below it, a little further in."""
        folded = textwrap.wrap(
            text,
            min(WIDTH, shutil.get_terminal_size((WIDTH, 0)).columns),
            initial_indent=indent,
            subsequent_indent=" " * (len(indent) + 2),
            break_long_words=False,
            break_on_hyphens=False,
        )
        self._print("\n".join(folded))

    def _print(self, text: str) -> None:
        if not self._quiet:
            end = "\r\x1b[K" if sys.stdout.isatty() else ""
            print(f"{end}{text}", flush=True)

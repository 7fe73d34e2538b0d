"""What the demonstration prints: numbered steps, findings, and the one place where an expectation fails."""

from __future__ import annotations

import sys
import time
from typing import NoReturn


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
        self.held = 0

    def step(self, title: str) -> None:
        """Open a numbered step."""
        self._step += 1
        gap = "\n" if self._verbose else ""
        self._print(f"{gap}{self._step}. {title}  [{time.monotonic() - self._started:.1f} s]")

    def say(self, text: str) -> None:
        """One finding under the step."""
        self._print("   " + text.replace("\n", "\n   "))

    def detail(self, text: str) -> None:
        """A finding for those who ask for all of them."""
        if self._verbose:
            self.say(text)

    def progress(self, text: str) -> None:
        """One line while something takes long; overwritten on a terminal."""
        if not self._quiet and sys.stdout.isatty():
            print(f"\r   {text}\x1b[K", end="", flush=True)

    def expect(self, holds: bool, text: str, *, detail: bool = False) -> None:
        """Count and print an expectation that holds, a detail as :meth:`detail` does; stop where it does not."""
        if not holds:
            self.fail(f"expected: {text}")
        self.held += 1
        if self._verbose or not detail:
            self._print(f"   ok  {text}")

    def fail(self, reason: str) -> NoReturn:
        """Stop the job with a plain reason."""
        raise ExpectationFailed(reason)

    def _print(self, text: str) -> None:
        if not self._quiet:
            end = "\r\x1b[K" if sys.stdout.isatty() else ""
            print(f"{end}{text}", flush=True)

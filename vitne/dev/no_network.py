"""Runs a program where there is no network at all, not even loopback: in a network namespace of its own (Linux)."""

from __future__ import annotations

import subprocess
from functools import cache
from typing import Final

#: By ``unshare`` of util-linux: as root, and as anybody whom the kernel lets make a user namespace.
_WAYS: Final = (("unshare", "--net", "--"), ("unshare", "--map-root-user", "--net", "--"))
#: Seconds that trying may take.
_SECONDS: Final = 10.0


@cache
def without_network() -> tuple[str, ...]:
    """What to put before a program, so that it has no network; empty where the kernel, or a container, permits none."""
    for way in _WAYS:
        try:
            done = subprocess.run([*way, "true"], capture_output=True, check=False, timeout=_SECONDS)
        except (OSError, subprocess.TimeoutExpired):
            continue
        if not done.returncode:
            return way
    return ()

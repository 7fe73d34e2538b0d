"""Find a Chromium for ``make test-browser``; as root Debian's is installed where none is on the PATH.

Usage: ``python -m tools.chromium``
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

#: Names under which distributions and their makers have it.
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PACKAGE = "chromium"


def find() -> str | None:
    """Path of a Chromium on the PATH; None where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name)) is not None), None)


def main() -> int:
    """The command."""
    if find() is not None:
        return 0
    if os.geteuid() == 0 and shutil.which("apt-get") is not None:
        known = _run("apt-cache", "show", PACKAGE, quiet=True) or _run("apt-get", "update", "-qq")
        if known and _run("apt-get", "install", "-qq", "--yes", "--no-install-recommends", PACKAGE) and find():
            return 0
    sys.stderr.write(f"no Chromium is on the PATH ({', '.join(NAMES)}): install Debian's package {PACKAGE}, as root\n")
    return 1


def _run(*command: str, quiet: bool = False) -> bool:
    output = subprocess.DEVNULL if quiet else None
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    return subprocess.run(command, check=False, stdout=output, stderr=output, env=environment).returncode == 0


if __name__ == "__main__":
    sys.exit(main())

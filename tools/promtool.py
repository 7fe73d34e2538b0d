"""Unpack promtool, of Debian's package ``prometheus``, into ``build/promtool``: nothing is installed.

Usage: ``python -m tools.promtool``; needs apt, and its lists (as root they are fetched where they are missing).
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "build" / "promtool"
PACKAGE = "prometheus"


def main() -> int:
    """The command."""
    if (FOLDER / "usr" / "bin" / "promtool").exists():
        return 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    try:
        if os.geteuid() == 0 and not _run("apt-cache", "show", PACKAGE, quiet=True):
            _run("apt-get", "update", "-qq")
        if not _run("apt-get", "download", "-q", PACKAGE):
            raise FileNotFoundError
    except FileNotFoundError:
        sys.stderr.write(f"promtool is missing, and apt can't fetch it: install Debian's package {PACKAGE}\n")
        return 1
    (package,) = FOLDER.glob(f"{PACKAGE}_*.deb")
    unpacked = _run("dpkg", "-x", package.name, ".")
    package.unlink()
    return 0 if unpacked else 1


def _run(*command: str, quiet: bool = False) -> bool:
    output = subprocess.DEVNULL if quiet else None
    return subprocess.run(command, cwd=FOLDER, check=False, stdout=output, stderr=output).returncode == 0


if __name__ == "__main__":
    sys.exit(main())

"""The sources of a release, as a small archive that tests run beside today's.

``python -m tools.release pack COMMIT`` writes ``tests/data/releases/vitne-VERSION.tar.xz`` with ``vitne``, ``services``
and ``proto`` of that commit: the same bytes each time. ``unpack`` needs no repository.
"""

from __future__ import annotations

import argparse
import io
import lzma
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path
from typing import Final

from tools import stubs

ROOT: Final = Path(__file__).resolve().parent.parent
#: Where the archives are.
RELEASES: Final = ROOT / "tests" / "data" / "releases"
#: What a release's services are made of; dependencies are those of today.
PARTS: Final = ("vitne", "services", "proto")


def pack(commit: str, folder: Path = RELEASES) -> Path:
    """Write the archive of a commit; where it is.

    Raises:
        subprocess.CalledProcessError: there is no such commit.
    """
    settings = tomllib.loads(_git("show", f"{commit}:pyproject.toml").decode())
    exported, packed = io.BytesIO(_git("archive", "--format=tar", commit, *PARTS)), io.BytesIO()
    with (
        tarfile.open(fileobj=exported) as source,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as target,
    ):
        for member in sorted((each for each in source if each.isfile()), key=lambda each: each.name):
            plain = tarfile.TarInfo(member.name)
            plain.size = member.size
            plain.mode = 0o644
            target.addfile(plain, source.extractfile(member))
    path = folder / f"vitne-{settings['project']['version']}.tar.xz"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(lzma.compress(packed.getvalue(), preset=9 | lzma.PRESET_EXTREME))
    return path


def unpack(version: str, folder: Path) -> Path:
    """A release's sources with their stubs, ready to be run from ``folder``, which is made.

    Raises:
        FileNotFoundError: there is no archive of that version.
    """
    folder.mkdir(parents=True)
    with tarfile.open(RELEASES / f"vitne-{version}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    stubs.generate(folder / "vitne_api", folder / "proto")
    return folder


def _git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True).stdout


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.release", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("pack", help="write the archive of a commit").add_argument("commit")
    unpacking = commands.add_parser("unpack", help="make a folder to run a release from")
    unpacking.add_argument("version")
    unpacking.add_argument("folder", type=Path)
    options = parser.parse_args()
    done = pack(options.commit) if options.command == "pack" else unpack(options.version, options.folder)
    sys.stdout.write(f"{done}\n")


if __name__ == "__main__":
    main()

"""The inputs that are kept: a file for each target, each line one input in base64, shortest first."""

from __future__ import annotations

import base64
from collections.abc import Collection
from pathlib import Path
from typing import Final

#: Where they are.
FOLDER: Final = Path(__file__).parent / "corpus"


def _file(target: str) -> Path:
    return FOLDER / f"{target}.txt"


def load(target: str) -> list[bytes]:
    """What is kept of a target's inputs."""
    file = _file(target)
    return [base64.b64decode(line, validate=True) for line in file.read_text("ascii").split()] if file.exists() else []


def keep(target: str, inputs: Collection[bytes]) -> None:
    """Keep these and no others."""
    lines = [base64.b64encode(each).decode("ascii") for each in sorted(set(inputs), key=lambda each: (len(each), each))]
    _file(target).write_text("".join(f"{line}\n" for line in lines), "ascii")


def unpack(inputs: Collection[bytes], folder: Path) -> None:
    """Inputs as the fuzzer wants them: a file each."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, each in enumerate(inputs):
        (folder / f"{number:05}").write_bytes(each)


def packed(folder: Path, most: int) -> list[bytes]:
    """The inverse of :func:`unpack`, without inputs longer than ``most`` bytes."""
    read = (file.read_bytes() for file in sorted(folder.iterdir()))
    return [each for each in read if len(each) <= most]

"""Remove what was made in this checkout, and nothing else; called by make, standard library only.

Usage: ``python3 tools/clean.py FOLDER``, FOLDER where the embedded stacks keep their state
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: Where stacks keep their state unless VITNE_HOME says otherwise, from the checkout's root.
HOME = ".vitne"
#: What targets build and tools remember.
BUILT = (
    *("build", "vitne_api", "tests/interop/node_modules", "clients/examples/node_modules"),
    *(".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", ".import_linter_cache"),
)
#: What the pages in docs/ have their readers make of public things.
EXAMPLES = (f"{HOME}/log-copy", f"{HOME}/mirror")
#: What may be somebody's own: figures, what was collected as evidence, keys of a service that was run by hand and of an
#: installation.
KEPT = ("bench/results.jsonl", "credential.sd-jwt", "bundle.zip", "bundle.json", "status.json", "state", "out")
#: Whose folders of compiled Python are not ours to take.
OTHERS = (".venv", ".git")


def main(folder: Path, root: Path = ROOT) -> None:
    """Clean a checkout; stop before anything is removed where a stack or another program of it still runs.

    Args:
        folder: of the stacks' state. It goes too if nothing else is in it.
        root: of the checkout.
    """
    # A stack locks its folder by this file: what has none is not a stack's, whatever VITNE_HOME says.
    locks = sorted({lock for home in (folder, root / HOME) for lock in home.glob("*/lock")})
    for path in locks:
        with path.open("r") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise SystemExit(f"clean: a stack is running in {path.parent}: end it first (Ctrl-C)") from None
    if pid := _running(root / ".venv"):
        raise SystemExit(f"clean: process {pid} runs from {root / '.venv'}: end it first")
    own = [lock.parent for lock in locks if lock.is_relative_to(folder)]
    for path in (*own, *(root / name for name in (*BUILT, *EXAMPLES))):
        _remove(path)
    for found, folders, _files in os.walk(root):
        folders[:] = [name for name in folders if Path(found) != root or name not in OTHERS]
        if "__pycache__" in folders:
            folders.remove("__pycache__")
            _remove(Path(found, "__pycache__"))
    left = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if left:
        print(f"clean: what is no stack's stays in {folder}: {', '.join(left[:5])}")
    for state in (folder, root / HOME):
        if state.is_dir() and not any(state.iterdir()):
            state.rmdir()
    if kept := [name for name in KEPT if (root / name).exists()]:
        print(f"clean: {', '.join(kept)} stays: it may be your own")


def _running(venv: Path) -> int | None:
    """A process whose program is of a ``.venv``, other than this one; None where there is none, or none can be seen."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            program = os.fsdecode((entry / "cmdline").read_bytes().partition(b"\0")[0])
        except OSError:  # it has ended, or is another user's
            continue
        if int(entry.name) != os.getpid() and program.startswith(f"{venv}/"):
            return int(entry.name)
    return None


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

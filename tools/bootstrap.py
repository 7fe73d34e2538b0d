"""Set up ``.venv`` and the generated stubs; called by make, runs on the standard library alone.

Safe to call from several makes at once: a lock file lets one of them work while
the others wait. Nothing is done when what is there fits the locks and protos.

Usage: ``python3 tools/bootstrap.py [LOCK]``, LOCK the name of one more in ``requirements/`` to install, ``bench``
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOCK = ROOT / "requirements" / "dev.txt"
OLDEST = (3, 11)
#: A command of pyproject.toml, as an installed Vitne has it; here its modules are the checkout's.
SCRIPT = """#!{python}
import sys

sys.path.insert(0, {root!r})
from {module} import {function}

{function}()
"""
#: Between two lines of a step that takes long.
SIGN_OF_LIFE_SECONDS = 15


def digest(paths: Iterable[Path], *extra: str) -> str:
    """One SHA-256 over names and contents."""
    state = hashlib.sha256("\0".join(extra).encode())
    for path in sorted(paths):
        state.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes() + b"\0")
    return state.hexdigest()


def is_current(stamp: Path, wanted: str) -> bool:
    """True where ``stamp`` says that ``wanted`` was built."""
    return stamp.is_file() and stamp.read_text() == wanted


def say(text: str) -> None:
    """One line of progress."""
    print(f"setup: {text}", flush=True)


def run(*command: str | Path, sign_of_life: str = "") -> None:
    """Run a step, saying ``sign_of_life`` now and then; stop with its exit code where it fails."""
    started = time.monotonic()
    with subprocess.Popen([str(part) for part in command], cwd=ROOT) as process:
        while True:
            try:
                code = process.wait(SIGN_OF_LIFE_SECONDS if sign_of_life else None)
                break
            except subprocess.TimeoutExpired:
                say(f"{sign_of_life}, {time.monotonic() - started:.0f} s")
    if code:
        raise SystemExit(f"setup: {' '.join(str(part) for part in command[:4])} … failed with exit code {code}")


def build_venv() -> None:
    """Make ``.venv`` from the hash-pinned lock, unless it is there."""
    stamp = VENV / ".vitne-lock"
    # The folder is part of it: scripts in a venv that was moved point to where it was.
    wanted = digest([LOCK], sys.version, str(VENV))
    if is_current(stamp, wanted):
        return
    shutil.rmtree(VENV, ignore_errors=True)
    # Started from inside the very .venv that was just removed, the interpreter below it still exists.
    say("making .venv …")
    run(getattr(sys, "_base_executable", sys.executable), "-m", "venv", VENV)
    install(LOCK)
    stamp.write_text(wanted)


def add_to_venv(lock: Path) -> None:
    """Install what one more lock pins, unless it is there; it goes when ``.venv`` is built anew."""
    stamp = VENV / f".vitne-lock-{lock.stem}"
    wanted = digest([lock])
    if not is_current(stamp, wanted):
        install(lock)
        stamp.write_text(wanted)


def install(lock: Path) -> None:
    """Install a hash-pinned lock into ``.venv``."""
    started = time.monotonic()
    say(f"installing what {lock.relative_to(ROOT)} pins into .venv (Python {sys.version.split()[0]}) …")
    pip = (PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    try:
        # Python compiles what is imported, once; pip would compile all, which takes longer than the rest of it.
        run(*pip, "--no-compile", "--no-deps", "--require-hashes", "-r", lock, sign_of_life="still installing")
    except SystemExit as error:
        raise SystemExit(f"{error}\nsetup: can this machine reach PyPI, or the index that pip is set up for?") from None
    say(f"installed in {time.monotonic() - started:.0f} s")


def build_stubs() -> None:
    """Generate ``vitne_api/`` from ``proto/``, unless it is there."""
    stamp = ROOT / "vitne_api" / ".vitne-protos"
    wanted = digest([*ROOT.glob("proto/**/*.proto"), ROOT / "tools" / "stubs.py", LOCK])
    if is_current(stamp, wanted) and (ROOT / "build" / "proto-deps").is_dir():
        return
    run(PYTHON, "-m", "tools.stubs")
    stamp.write_text(wanted)


def build_scripts() -> None:
    """Put the commands that pyproject.toml names into ``.venv/bin``."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for name, place in project["scripts"].items():
        module, _, function = place.partition(":")
        text = SCRIPT.format(python=PYTHON, root=str(ROOT), module=module, function=function)
        script = PYTHON.parent / name
        if not is_current(script, text):
            script.write_text(text, "utf-8")
            script.chmod(0o755)


def main() -> None:
    """Build what is missing, alone."""
    if sys.version_info < OLDEST:
        raise SystemExit(
            f"setup: Vitne needs Python {OLDEST[0]}.{OLDEST[1]} or newer; this is {sys.version.split()[0]}"
        )
    # pip would otherwise install for the person's own settings, not for the lock.
    for name in ("PIP_USER", "PIP_TARGET", "PIP_REQUIRE_VIRTUALENV", "PYTHONPATH", "PYTHONHOME"):
        os.environ.pop(name, None)
    folder = ROOT / "build"
    folder.mkdir(exist_ok=True)
    with (folder / ".setup-lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another make is setting up; waiting for it …")
            fcntl.flock(lock, fcntl.LOCK_EX)
        build_venv()
        build_stubs()
        build_scripts()
        for name in sys.argv[1:]:
            add_to_venv(ROOT / "requirements" / f"{name}.txt")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit("setup: interrupted; the next make starts it again") from None

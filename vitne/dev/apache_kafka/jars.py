"""Apache Kafka's jars, fetched by name by Maven as ``pom.xml`` pins them."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from vitne.errors import FailedPrecondition, Unavailable

POM: Final = Path(__file__).with_name("pom.xml")
#: Where the jars are kept: in the project's folder for what is built.
JARS_FOLDER: Final = Path(__file__).resolve().parents[3] / "build" / "kafka"
#: Some fifty megabytes, and Maven's plugin where it was never used before.
FETCH_SECONDS: Final = 600.0
#: How much of Maven's words an error shows: the cause comes first, advice follows.
SHOWN_LINES: Final = 10


def java() -> str:
    """The ``java`` to run: that of ``JAVA_HOME`` if set, else the one on the path.

    Raises:
        FailedPrecondition: ``NO_JAVA``.
    """
    home = os.environ.get("JAVA_HOME")
    program = shutil.which("java", path=str(Path(home) / "bin") if home else None)
    if program is None:
        raise FailedPrecondition(
            "NO_JAVA", "Apache Kafka needs Java, and there is none", remedy="install a JRE, version 17 or newer"
        )
    return program


def fetch_jars(folder: Path = JARS_FOLDER) -> Path:
    """Return the folder that holds exactly the jars of ``pom.xml``; fetch them when they are not there.

    The folder's name comes from the POM's digest, so Maven runs once a version and
    nothing is asked of the network after that. Safe to call from several processes.

    Raises:
        FailedPrecondition: ``NO_MAVEN``.
        Unavailable: ``JARS_NOT_FETCHED``.
    """
    jars = folder / hashlib.sha256(POM.read_bytes()).hexdigest()[:16]
    if jars.is_dir():
        return jars
    maven = shutil.which("mvn")
    if maven is None:
        raise FailedPrecondition(
            "NO_MAVEN", "Apache Kafka's jars are fetched by Maven, and there is none", remedy="install Maven"
        )
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not jars.is_dir():  # Another process may have fetched them while this one waited.
            with tempfile.TemporaryDirectory(prefix="unfinished-", dir=folder) as unfinished:
                complete = Path(unfinished) / "jars"
                _run_maven(maven, complete)
                complete.rename(jars)
    return jars


def _run_maven(maven: str, target: Path) -> None:
    command = [
        maven,
        "--batch-mode",
        "--quiet",
        "--strict-checksums",
        f"--file={POM}",
        "dependency:copy-dependencies",
        "-DincludeScope=runtime",
        f"-DoutputDirectory={target}",
    ]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=FETCH_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Unavailable(
            "JARS_NOT_FETCHED", f"Maven did not fetch Apache Kafka within {FETCH_SECONDS:g} s", remedy="try again"
        ) from error
    if done.returncode:
        words = "\n".join(f"  | {line}" for line in done.stdout.decode(errors="replace").splitlines()[:SHOWN_LINES])
        raise Unavailable(
            "JARS_NOT_FETCHED",
            f"Maven ended with {done.returncode}\n{words}",
            remedy="Maven must reach its repository the first time",
        )

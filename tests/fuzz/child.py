"""One target under atheris, which ends this process; started by ``tests.fuzz``.

Usage: ``python -m tests.fuzz.child EXECUTABLE TARGET [flags and folders of libFuzzer]``, EXECUTABLE what starts the
same again with the flags that it is given (libFuzzer does that to merge).
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["vitne", "services.verifier"]):
    from tests.fuzz.targets import feed


def main() -> None:
    executable, target, *flags = sys.argv[1:]

    def one(data: bytes) -> None:
        feed(target, data)

    atheris.Setup([executable, *flags], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

"""One target under atheris, which ends this process; started by ``tests.fuzz``.

Usage: ``python -m tests.fuzz.child EXECUTABLE TARGET SECONDS [flags and folders of libFuzzer]``, EXECUTABLE what starts
the same again with the flags that it is given (libFuzzer does that to merge), SECONDS of computing until it ends.
"""

from __future__ import annotations

import signal
import sys

import atheris

with atheris.instrument_imports(include=["vitne", "services.verifier"]):
    from tests.fuzz.targets import feed


def main() -> None:
    executable, target, seconds, *flags = sys.argv[1:]

    def one(data: bytes) -> None:
        feed(target, data)

    atheris.Setup([executable, *flags], one)
    # libFuzzer's own limit is by the clock on the wall, of which a busy machine leaves little to compute in.
    signal.signal(signal.SIGPROF, lambda _number, _frame: signal.raise_signal(signal.SIGUSR1))
    signal.setitimer(signal.ITIMER_PROF, float(seconds))
    atheris.Fuzz()


if __name__ == "__main__":
    main()

"""Run a program that dies with its parent: ``python attached.py PARENT SIGNAL PROGRAM [ARGUMENT...]``.

Runs as a small program of its own, before the real one replaces it, since code
between fork and exec is unsafe in a parent that has threads. Standard library
only: it starts with ``python -I -S`` in some ten milliseconds. On systems without
``prctl`` (it is Linux's) the program runs unattached.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Final

#: ``prctl(2)``: the signal that this process gets when its parent dies; it survives exec.
PR_SET_PDEATHSIG: Final = 1


def main(arguments: list[str]) -> None:
    """Attach this process to its parent, then become the program."""
    parent, signal, *program = arguments
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(signal), 0, 0, 0)
        if os.getppid() != int(parent):  # It died before the call above: no signal will come.
            sys.exit(1)
    os.execvp(program[0], program)  # noqa: S606 - no shell is wanted: the arguments are passed as they are


if __name__ == "__main__":
    main(sys.argv[1:])

"""Run a program that dies with its parent: ``python attached.py PARENT SIGNAL USER GROUP PROGRAM [ARGUMENT...]``.

``PARENT`` is the parent's process id, ``SIGNAL`` what the program gets when it
dies, ``USER`` and ``GROUP`` the ids to run as, or -1 to keep the present ones.

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


def launcher(signal: int, user_and_group: tuple[int, int] = (-1, -1)) -> list[str]:
    """What stands in front of a program's command line to have it die with this process, by that signal."""
    ids = (os.getpid(), int(signal), *user_and_group)
    return [sys.executable, "-I", "-S", __file__, *map(str, ids)]


def main(arguments: list[str]) -> None:
    """Attach this process to its parent, then become the program."""
    parent, signal, user, group = (int(argument) for argument in arguments[:4])
    program = arguments[4:]
    if user >= 0:  # Here and not by whoever starts us: that user may not be let in where the interpreter is.
        os.setgroups([])
        os.setgid(group)
        os.setuid(user)
    if sys.platform == "linux":  # After the change of user, which would undo it.
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal, 0, 0, 0)
        if os.getppid() != parent:  # It died before the call above: no signal will come.
            sys.exit(1)
    os.execvp(program[0], program)  # noqa: S606 - no shell is wanted: the arguments are passed as they are


if __name__ == "__main__":
    main(sys.argv[1:])

"""Runs the examples of docs/ on a stack, and ends them with one line where something is refused."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

import aiohttp
import grpc
from aiokafka.errors import KafkaError

from vitne.errors import Unavailable, VitneError
from vitne.runtime.status import error_from_rpc

#: What helps where nobody answers. Addresses are others each time that a stack starts.
REMEDY: Final = "`make up` in another shell, and here, once it runs: . .vitne/up/environment"
#: What the names of a stack's variables begin with.
_OURS: Final = "VITNE_"

_Answer = TypeVar("_Answer")


def run_example(main: Callable[[], Coroutine[Any, Any, _Answer]], **arguments: str) -> _Answer:
    """Run an example and return its answer; what was refused, and what to do, ends the program with exit code 1.

    Args:
        main: the example; what its module says of itself is the program's help.
        arguments: what the program has to be given, in this order, and what each is. Anything else is wrong usage,
            which ends it with exit code 2.
    """
    parser = argparse.ArgumentParser(
        description=main.__globals__["__doc__"],
        epilog="Exit code: 0 all was done, 1 something was refused or is out of reach, 2 wrong usage.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name, what in arguments.items():
        parser.add_argument(name, help=what)
    parser.parse_args()
    if "VITNE_PORTAL_URL" not in os.environ:
        sys.exit(f"there is no stack's environment in this shell; remedy: {REMEDY}")
    # What it logs before it gives up is what the last line says.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        return asyncio.run(main())
    except grpc.aio.AioRpcError as error:
        sys.exit(_told(error_from_rpc(error)))
    except KeyError as error:
        [name] = error.args
        if not str(name).startswith(_OURS) or name in os.environ:
            raise
        sys.exit(f"{name} is not set in this shell; remedy: {REMEDY}")
    except (VitneError, KafkaError, aiohttp.ClientError, OSError) as error:
        sys.exit(_told(error))
    except KeyboardInterrupt:
        sys.exit("stopped")


def _told(error: Exception) -> str:
    """One line of it. A refusal has its own remedy; what is out of reach is most often a stack that ended."""
    line = " ".join(str(error).split()) or type(error).__name__
    refused = isinstance(error, VitneError) and not isinstance(error, Unavailable)
    return line if refused else f"{line}; remedy if the stack ended or was started anew: {REMEDY}"

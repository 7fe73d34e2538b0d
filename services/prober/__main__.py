"""``python -m services.prober serve|once``."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

import uvloop

from services.prober.settings import ProberSettings
from services.prober.wiring import once, serve
from vitne.runtime.main import EXIT_FAILED, Command, cli
from vitne.runtime.settings import load_protected
from vitne.runtime.telemetry import start_logging

DESCRIPTION = "Runs the road with a synthetic learner, again and again: issue, prove, verify, revoke, see it published."


def main(arguments: Sequence[str]) -> int:
    """Run a command; answers the exit code."""
    once_more = Command("run the road once, print how it went as JSON; ends with 0 when it came through", _once)
    return cli(
        "prober",
        DESCRIPTION,
        serve=serve,
        migrations=(),
        settings=ProberSettings,
        further={"once": once_more},
        arguments=arguments,
    )


def _once(_: list[str]) -> int:
    settings = load_protected(ProberSettings)
    start_logging(settings.log_level)
    done = uvloop.run(once(settings))
    told = {
        "success": not done.failed,
        "failed": done.failed,
        "reason": done.error.reason if done.error else "",
        "seconds": {step: round(seconds, 3) for step, seconds in done.seconds.items()},
    }
    sys.stdout.write(json.dumps(told) + "\n")
    return EXIT_FAILED if done.failed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

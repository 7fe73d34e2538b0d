"""Which accreditations end soon: for the authority to decide in time, since after the end nothing is issued."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Final

from services.registry import store
from services.registry.metrics import ACCREDITATIONS_DUE
from services.registry.settings import RegistrySettings
from vitne.accreditation import Projection, instant
from vitne.accreditation.facts import FOREVER, milliseconds
from vitne.canonical import instant_text
from vitne.clock import Clock, SystemClock
from vitne.errors import VitneError
from vitne.outages import DATABASE_OUTAGES
from vitne.runtime.database import open_pool
from vitne.runtime.main import EXIT_FAILED
from vitne.runtime.settings import load_with_database
from vitne_api.registry.v1 import facts_pb2

#: Days ahead that are looked at unless told otherwise: a quarter, in which an authority can still decide.
DEFAULT_WITHIN_DAYS: Final = 90
#: Exit code with ``--exit-code`` when something is due (1 is a failure, 2 a wrong argument or setting).
EXIT_DUE: Final = 3
#: Bounds for which the number of what is due is told all the time.
WATCHED_DAYS: Final = (30, 90)
#: Seconds between two looks: days are what is counted.
WATCH_SECONDS: Final = 60.0
#: Facts that are read at once.
_PAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class Due:
    """An accreditation whose validity ends soon. Instants are RFC 3339 text in UTC."""

    accreditation: str
    revision: int
    provider: str
    provider_name: str
    authority: str
    kind: str
    state: str
    valid_until: str
    #: Whole days from now to then.
    days: int


def due(projection: Projection, now: datetime, within: timedelta) -> Iterator[Due]:
    """Accreditations that end after ``now`` and no later than ``within`` from it, by provider and id.

    What was withdrawn, and what a closed provider holds, ends nothing more. What counts is the newest revision: an
    accreditation that is already prolonged from a later day on is not due.
    """
    until = milliseconds(now + within)
    for provider_id in projection.provider_ids():
        provider = projection.provider(provider_id)
        if provider is None or (provider.HasField("closed_at") and instant(provider.closed_at) <= now):
            continue
        for held in projection.accreditations_of(provider_id):
            newest = held.newest
            ends = newest.valid_until
            if newest.state == facts_pb2.ACCREDITATION_STATE_WITHDRAWN or ends == FOREVER:
                continue
            if milliseconds(now) < ends <= until:
                ending = instant(newest.fact.accreditation.valid_until)
                yield Due(
                    accreditation=held.id,
                    revision=newest.revision,
                    provider=provider_id,
                    provider_name=provider.name[0].text if provider.name else "",
                    authority=held.authority,
                    kind=held.kind,
                    state=facts_pb2.AccreditationState.Name(newest.state).removeprefix("ACCREDITATION_STATE_").lower(),
                    valid_until=instant_text(ending),
                    days=(ending - now).days,
                )


class DueWatch:
    """Tells how many are due (``vitne.registry.accreditations_due``), all the time.

    Args:
        projection: everything that the registry has said.
        ready: whether all of it is known yet.
        clock: tells the time.
    """

    def __init__(self, projection: Projection, ready: Callable[[], bool], clock: Clock) -> None:
        self._projection = projection
        self._ready = ready
        self._clock = clock

    def look(self) -> None:
        """Look once."""
        if not self._ready():
            return
        now = self._clock.now()
        found = [each.days for each in due(self._projection, now, timedelta(days=max(WATCHED_DAYS)))]
        for within in WATCHED_DAYS:
            ACCREDITATIONS_DUE.set(sum(1 for days in found if days < within), str(within))

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            self.look()
            await self._clock.sleep(WATCH_SECONDS)


def command(
    arguments: Sequence[str],
    settings: Callable[[], RegistrySettings] = lambda: load_with_database(RegistrySettings),
    *,
    clock: Clock | None = None,
) -> int:
    """``due [--within DAYS] [--exit-code]``: print what is due, a JSON object a line; answers the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m services.registry due",
        description="Lists accreditations whose validity ends soon, one JSON object a line, soonest first. Exit code: "
        f"0 when it could look (with --exit-code {EXIT_DUE} when something is due), 1 when it could not, 2 for wrong "
        "arguments or settings.",
    )
    parser.add_argument(
        "--within", type=_days, default=DEFAULT_WITHIN_DAYS, metavar="DAYS", help="default: %(default)s"
    )
    parser.add_argument("--exit-code", action="store_true", help=f"end with {EXIT_DUE} when something is due")
    asked = parser.parse_args(arguments)
    loaded = settings()
    clock = clock or SystemClock()
    try:
        projection = asyncio.run(_read(loaded.database_dsn))
    except (VitneError, *DATABASE_OUTAGES) as error:
        sys.stderr.write(f"{error if isinstance(error, VitneError) else type(error).__name__}\n")
        return EXIT_FAILED
    found = sorted(due(projection, clock.now(), timedelta(days=asked.within)), key=lambda each: each.valid_until)
    sys.stdout.writelines(f"{json.dumps(asdict(each), ensure_ascii=False)}\n" for each in found)
    return EXIT_DUE if found and asked.exit_code else 0


def _days(text: str) -> int:
    days = int(text)
    if not 0 < days <= 3650:
        raise argparse.ArgumentTypeError("1 to 3650 days")
    return days


async def _read(dsn: str) -> Projection:
    """Everything that the table of facts says; no more than SELECT is needed."""
    projection = Projection()
    pool = await open_pool(dsn, max_size=1, name="registry-due")
    try:
        newest = 0
        while facts := await store.facts_after(pool, newest, _PAGE):
            for fact in facts:
                projection.fold(fact)
            newest = facts[-1].registry_revision
    finally:
        await pool.close()
    return projection

"""What is due soon: ends, reviews and conditions of accreditations, for the authority to decide in time."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from services.registry.metrics import ACCREDITATIONS_DUE
from services.registry.notices import deadlines, notices, standing
from services.registry.recorder import Recorder
from services.registry.settings import RegistrySettings
from vitne.accreditation import Projection
from vitne.canonical import instant_text
from vitne.clock import Clock, SystemClock
from vitne.errors import FailedPrecondition, VitneError
from vitne.frameworks import Frameworks
from vitne.identifiers import UuidFactory
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
#: What the gauge counts: after it nothing is issued.
END: Final = "end"
#: Providers whose accreditations are looked at under the registry's lock at once: some hundred accreditations.
PROVIDERS_AT_A_TIME: Final = 20
#: Seconds between two looks: days are what is counted.
WATCH_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Due:
    """An accreditation about which something is due soon. Instants are RFC 3339 text in UTC."""

    accreditation: str
    revision: int
    provider: str
    provider_name: str
    authority: str
    kind: str
    state: str
    #: ``end``, ``review`` or ``condition``.
    due: str
    due_at: str
    #: Whole days from now to then.
    days: int


def due(projection: Projection, now: datetime, within: timedelta) -> Iterator[Due]:
    """What is due after ``now`` and no later than ``within`` from it, by provider and id.

    What has ended, and what a closed provider holds, ends nothing more. What counts is the newest revision: an
    accreditation that is already prolonged from a later day on is not due.
    """
    for held in standing(projection, now):
        said, provider = held.newest.fact.accreditation, projection.provider(held.provider)
        for deadline in deadlines(said):
            if now < deadline.at <= now + within:
                yield Due(
                    accreditation=held.id,
                    revision=said.revision,
                    provider=held.provider,
                    provider_name=provider.name[0].text if provider and provider.name else "",
                    authority=held.authority,
                    kind=said.kind,
                    state=facts_pb2.AccreditationState.Name(said.state).removeprefix("ACCREDITATION_STATE_").lower(),
                    due=facts_pb2.DueKind.Name(deadline.kind).removeprefix("DUE_KIND_").lower(),
                    due_at=instant_text(deadline.at),
                    days=(deadline.at - now).days,
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
        soon = due(self._projection, now, timedelta(days=max(WATCHED_DAYS)))
        found = [each.days for each in soon if each.due == END]
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
    """``due [--within DAYS] [--exit-code] [--record]``: print what is due as JSON Lines; answers the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m services.registry due",
        description="Lists ends, reviews and conditions of accreditations that are due soon, one JSON object a line, "
        f"soonest first. Exit code: 0 when it could look (with --exit-code {EXIT_DUE} when something is due), 1 when "
        "it could not, 2 for wrong arguments or settings.",
    )
    parser.add_argument(
        "--within", type=_days, default=DEFAULT_WITHIN_DAYS, metavar="DAYS", help="default: %(default)s"
    )
    parser.add_argument("--exit-code", action="store_true", help=f"end with {EXIT_DUE} when something is due")
    parser.add_argument(
        "--record",
        action="store_true",
        help="first record, as facts, what is due within VITNE_DUE_LEAD_DAYS and was not told, and what has lapsed",
    )
    asked = parser.parse_args(arguments)
    loaded = settings()
    clock = clock or SystemClock()
    try:
        projection = asyncio.run(_read(loaded, clock, record=asked.record))
    except (VitneError, *DATABASE_OUTAGES) as error:
        sys.stderr.write(f"{error if isinstance(error, VitneError) else type(error).__name__}\n")
        return EXIT_FAILED
    found = sorted(due(projection, clock.now(), timedelta(days=asked.within)), key=lambda each: each.due_at)
    sys.stdout.writelines(f"{json.dumps(asdict(each), ensure_ascii=False)}\n" for each in found)
    return EXIT_DUE if found and asked.exit_code else 0


def _days(text: str) -> int:
    days = int(text)
    if not 0 < days <= 3650:
        raise argparse.ArgumentTypeError("1 to 3650 days")
    return days


async def _read(settings: RegistrySettings, clock: Clock, *, record: bool) -> Projection:
    """Everything that the table of facts says; unless something is to be recorded, no more than SELECT is needed."""
    pool = await open_pool(settings.database_dsn, max_size=1, name="registry-due")
    try:
        recorder = Recorder(
            pool,
            Frameworks.load(settings.standings),
            clock,
            UuidFactory(clock),
            operator=settings.operator,
            refresh_seconds=settings.refresh_seconds,
        )
        await recorder.refresh()
        if record:
            await record_notices(recorder, settings.due_lead_days, _observer(settings))
        return recorder.projection
    finally:
        await pool.close()


async def record_notices(recorder: Recorder, lead_days: Collection[int], observer: str) -> None:
    """Record what is to be told, a few providers at a time.

    While something is recorded nobody else can decide anything, so that it is looked for without that first, and the
    first run over a whole country's accreditations holds up nobody for longer than :data:`PROVIDERS_AT_A_TIME` take.
    """
    ids = recorder.projection.provider_ids()
    for first in range(0, len(ids), PROVIDERS_AT_A_TIME):
        some = ids[first : first + PROVIDERS_AT_A_TIME]
        if next(notices(recorder.desk(observer), lead_days, some), None) is not None:
            await recorder.note(partial(notices, lead_days=lead_days, providers=some), observer)


def _observer(settings: RegistrySettings) -> str:
    """Who says what the calendar says: the operator.

    Raises:
        FailedPrecondition: ``SETTING_MISSING``.
    """
    if not settings.operator:
        raise FailedPrecondition(
            "SETTING_MISSING",
            "nobody is there to record what is due",
            rule="each fact has an actor",
            remedy="set VITNE_OPERATOR",
        )
    return settings.operator

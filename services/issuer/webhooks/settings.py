"""What the webhooks are told by the issuer's environment."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Final

from pydantic import Field

from vitne.runtime.settings import CommonSettings

#: How long events are kept for replays: a receiver's long outage, its holidays included.
DEFAULT_RETENTION_DAYS: Final = 30
#: The suggested schedule as it is: ten attempts in a little more than three days.
DEFAULT_SCHEDULE_SCALE: Final = 1.0
#: HTTPS's own port. Others may be services that take anything that looks like a request.
DEFAULT_PORTS: Final = (443,)
#: Calls at once of this process: they wait for others, so many cost little.
DEFAULT_PARALLEL: Final = 64
#: Calls at once to one endpoint: what a small receiver bears, and an eighth of all.
DEFAULT_PARALLEL_ENDPOINT: Final = 8
#: How long a former secret goes on signing: a working day in which to deploy the new one.
DEFAULT_SECRET_OVERLAP_HOURS: Final = 24

Port = Annotated[int, Field(ge=1, le=65_535)]


class WebhookSettings(CommonSettings):
    """Settings of the issuer's webhooks, each with the prefix ``VITNE_WEBHOOK_``.

    Attributes:
        webhook_retention_days: how long events are kept.
        webhook_schedule_scale: factor of all waits between attempts.
        webhook_ports: ports that may be posted to.
        webhook_parallel: calls at once.
        webhook_parallel_endpoint: calls at once to one endpoint.
        webhook_secret_overlap_hours: how long a former secret goes on signing.
    """

    webhook_retention_days: int = Field(default=DEFAULT_RETENTION_DAYS, ge=1, le=3_650)
    webhook_schedule_scale: float = Field(default=DEFAULT_SCHEDULE_SCALE, gt=0, le=10)
    webhook_ports: tuple[Port, ...] = DEFAULT_PORTS
    webhook_parallel: int = Field(default=DEFAULT_PARALLEL, ge=1, le=1_000)
    webhook_parallel_endpoint: int = Field(default=DEFAULT_PARALLEL_ENDPOINT, ge=1, le=100)
    webhook_secret_overlap_hours: int = Field(default=DEFAULT_SECRET_OVERLAP_HOURS, ge=0, le=24 * 30)

    @property
    def webhook_retention(self) -> timedelta:
        """How long events are kept."""
        return timedelta(days=self.webhook_retention_days)

    @property
    def webhook_secret_overlap(self) -> timedelta:
        """How long a former secret goes on signing."""
        return timedelta(hours=self.webhook_secret_overlap_hours)

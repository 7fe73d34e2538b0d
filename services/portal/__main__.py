"""``python -m services.portal serve|migrate``."""

from __future__ import annotations

from services.portal.settings import PortalSettings
from services.portal.wiring import MIGRATIONS, serve
from vitne.runtime.main import cli

if __name__ == "__main__":
    raise SystemExit(
        cli(
            "portal",
            "Gathers one hub's learners' credentials from events, and shows them.",
            serve=serve,
            migrations=MIGRATIONS,
            settings=PortalSettings,
        )
    )

"""A learner takes results along from a data provider and imports them over EMREX. Needs a stack: ``make up``."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from cryptography import x509

from vitne.dev.cases import synthetic_learners
from vitne.dev.emrex import ACRONYM
from vitne.dev.learner import LearnerBrowser

PORTAL = os.environ["VITNE_PORTAL_URL"]


def look(certificates: Path) -> None:
    """Who signs answers, by the chain that the portal hands out."""
    own, *above = x509.load_pem_x509_certificates(certificates.read_bytes())
    own.verify_directly_issued_by(above[0])
    print(f"answers are signed for {own.subject.rfc4514_string()}")


async def main() -> None:
    """There and back."""
    (learner,) = synthetic_learners(1)
    async with LearnerBrowser(PORTAL) as browser:
        await browser.log_in(learner.value)
        one = next(held for held in await browser.credentials() if held["status"] == "valid")
        came = await browser.import_from(ACRONYM, [one["handle"]])
        print(f"{one['title']}: it came back, {'imported' if 'ikke utstedt her' in came else 'as something else'}")
        print("it is kept" if one["title"] in await browser.imported() else "it is not there")


look(Path(sys.argv[1]))
asyncio.run(main())

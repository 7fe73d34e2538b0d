"""A learner takes results along from a data provider and imports them over EMREX. Needs a stack: ``make up``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from cryptography import x509

from vitne.dev.cases import synthetic_learners
from vitne.dev.emrex import ACRONYM
from vitne.dev.examples import run_example
from vitne.dev.learner import LearnerBrowser


def look(certificates: Path) -> None:
    """Who signs answers, by the chain that the portal hands out."""
    try:
        own, above, *_ = x509.load_pem_x509_certificates(certificates.read_bytes())
    except ValueError:
        sys.exit(f"{certificates} holds no chain of certificates in PEM: docs/emrex.md says how it is fetched")
    own.verify_directly_issued_by(above)
    print(f"answers are signed for {own.subject.rfc4514_string()}")


async def main() -> None:
    """There and back."""
    look(Path(sys.argv[1]))
    (learner,) = synthetic_learners(1)
    async with LearnerBrowser(os.environ["VITNE_PORTAL_URL"]) as browser:
        await browser.log_in(learner.value)
        one = next((held for held in await browser.credentials() if held["status"] == "valid"), None)
        if one is None:
            sys.exit("none of her credentials is valid: docs/examples/issue.py issues one")
        came = await browser.import_from(ACRONYM, [one["handle"]])
        print(f"{one['title']}: it came back, {'imported' if 'ikke utstedt her' in came else 'as something else'}")
        print("it is kept" if one["title"] in await browser.imported() else "it is not there")


run_example(main, CERTIFICATES="the file that docs/emrex.md fetches from the portal")

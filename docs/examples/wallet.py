"""A learner takes a credential over to a wallet, by what the protocol says alone. Needs a stack: ``make up``."""

from __future__ import annotations

import os
import sys

from vitne.credentials import sd_jwt_vc
from vitne.dev.cases import synthetic_learners
from vitne.dev.examples import run_example
from vitne.dev.learner import LearnerBrowser
from vitne.dev.wallet import take


async def main() -> None:
    """The whole road."""
    (learner,) = synthetic_learners(1)
    async with LearnerBrowser(os.environ["VITNE_PORTAL_URL"]) as browser:
        await browser.log_in(learner.value)
        for held in await browser.credentials():
            if held["status"] == "valid" and (offer := await browser.offer_to_wallet(held["handle"])) is not None:
                break
        else:
            sys.exit("none of her credentials may be taken over")
        print(f"{held['title']}: {offer.link[:42]}…, with a one-time code of {len(offer.tx_code)} digits")
        credential = sd_jwt_vc.parse(await take(offer)).credential
        print(f"the wallet holds {credential.id}, issued by {credential.awarding_body.id}")


run_example(main)

"""What the portal measures (docs/operating/metrics.md)."""

from __future__ import annotations

from typing import Final

from vitne.metrics import counter, histogram

VISIBLE_DELAY: Final = histogram(
    "vitne.portal.visible.delay",
    "s",
    "from when it happened at the issuer (ce_time) to when the learner can read it in the portal",
    # Fresh within seconds; what waits for an issuer that is down takes as long as that.
    buckets=(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3_600.0),
)

WALLET_OFFERS: Final = counter(
    "vitne.portal.wallet.offers",
    "{offer}",
    "offers of credentials to wallets: made, redeemed, refused (a wallet's codes), taken, denied (withdrawn meanwhile)",
    "outcome",
)

"""Blocks marked ``sh`` do, as they are written, what the pages say of a stack that `make up` started."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from tests.docs.conftest import Shell
from tests.docs.pages import PAGES, scripts
from tests.docs.parked import parked

#: What a block's output must contain, by page, in order.
SHOWS: dict[str, list[list[str]]] = {
    "docs/integrate.md": [
        ["published", "achievement", "issued", "suspended", "valid"],
        ["2026-0001 issued", "2026-0002 issued"],
        ["given_name"],
    ],
    "docs/verify.md": [['"verdict": "valid"'], ["Valid: ", "log_inclusion"], ["Valid"]],
    "docs/log.md": [
        ["leaves", "agree"],
        [],
        ["listens at 127.0.0.1:8181", "leaves are cosigned", "\u2014 witness.example/mine "],
        ["lists compared", "the log, its lists and its witnesses agree"],
        ["valid at", "seen by the policy's witnesses by"],
    ],
    "docs/trust.md": [["The chain holds"]],
    "docs/portal-sharing.md": [["the recipient reads: Gyldig", "the signed PDF has"]],
    "docs/wallets.md": [['"credential_endpoint"', '"token_endpoint"'], ["the wallet holds", "issued by 0184:30859480"]],
    "docs/emrex.md": [["it came back, imported", "it is kept", "RETURN_URL_NOT_REGISTERED"]],
    "docs/subscribe.md": [["is up to date"], ["credentials are there to fetch", "Klimaregnskaber"]],
    "docs/operate.md": [
        ["migrate", "VITNE_"],
        ['"ready": true'],
        ['outcome="issued"'],
        ["UNDECODABLE", "ACT_KIND_REPLAYED", "ACT_KIND_DROPPED", "ACT_KIND_SKIPPED"],
        ['"credentials"', '"same"'],
        ["portals agree"],
    ],
    "docs/operating/README.md": [["vitne_log_size", "vitne_outbox_oldest_seconds", "vitne_consumer_lag_seconds"]],
    "docs/operating/events.md": [['consumer="portal"']],
    "docs/operating/kubernetes.md": [['"ready": true']],
    "docs/operating/metrics.md": [[]],
    "docs/operating/publishing.md": [["log.vitne.example/2026"]],
    "docs/operating/registry.md": [['"ready": true', "vitne_projection_staleness_seconds"]],
}


def test_every_block_is_run() -> None:
    assert {page: len(scripts(page)) for page in PAGES if scripts(page)} == {
        page: len(blocks) for page, blocks in SHOWS.items()
    }


@pytest.mark.parametrize("page", SHOWS)
async def test_the_blocks_of_a_page(shell: Shell, page: str) -> None:
    for script, shows in zip(scripts(page), SHOWS[page], strict=True):
        async with parked(shell) if "parked replay" in script else nullcontext():
            code, output = await shell.run(script)
        assert code == 0, output
        for text in shows:
            assert text in output

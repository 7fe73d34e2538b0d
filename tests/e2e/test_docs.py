"""The commands on the pages in docs/ do what the pages say: every block marked ``sh`` is run as written."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

import pytest

from vitne.dev.demo import Demo
from vitne.dev.stack import Stack

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: In the order in which a reader would follow them: what one makes, the next uses.
PAGES = ["integrate.md", "verify.md", "subscribe.md", "operate.md", "operating/metrics.md"]
#: Pages that stand alone.
RUNBOOKS = ["README", "publishing", "events", "registry", "kubernetes"]
PAGES += [f"operating/{name}.md" for name in RUNBOOKS]
#: What a block's output must contain, by page, in order.
SHOWS: dict[str, list[list[str]]] = {
    "integrate.md": [["published", "issued", "suspended", "valid"]],
    "verify.md": [['"verdict": "valid"'], ["Valid: ", "log_inclusion"]],
    "subscribe.md": [["credentials are there to fetch", "Klimaregnskaber"]],
    "operate.md": [["migrate", "VITNE_"], [], ['outcome="issued"']],
    "operating/metrics.md": [[]],
    "operating/README.md": [["vitne_log_size", "vitne_outbox_oldest_seconds", "vitne_consumer_lag_seconds"]],
    "operating/publishing.md": [["log.vitne.example/2026"]],
    "operating/events.md": [['consumer="portal"']],
    "operating/registry.md": [['"ready": true', "vitne_projection_staleness_seconds"]],
    "operating/kubernetes.md": [['"ready": true']],
}


@pytest.mark.parametrize("page", PAGES)
async def test_the_commands_of_a_page(
    world: Demo, stack: Stack, tmp_path_factory: pytest.TempPathFactory, page: str
) -> None:
    blocks = BLOCK.findall((ROOT / "docs" / page).read_text())
    assert len(blocks) == len(SHOWS[page])
    environment = stack.write_environment(await stack.registry_key())
    scratch = tmp_path_factory.getbasetemp() / "docs"
    scratch.mkdir(exist_ok=True)
    for block, shows in zip(blocks, SHOWS[page], strict=True):
        # The page's stack is this run's, and what it writes does not belong in the checkout.
        script = block.replace(".vitne/up/environment", str(environment))
        script = script.replace("credential.sd-jwt", str(scratch / "credential.sd-jwt"))
        process = await asyncio.create_subprocess_exec(
            "bash",
            "-euo",
            "pipefail",
            "-c",
            f"source {environment}\n{script}",
            cwd=ROOT,
            env=os.environ
            | {
                "CREDENTIAL_FILE": str(scratch / "credential.sd-jwt"),
                "PATH": f"{ROOT}/.venv/bin:{os.environ['PATH']}",
                "PYTHONPATH": str(ROOT),
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        assert process.returncode == 0, output.decode()
        for text in shows:
            assert text in output.decode()

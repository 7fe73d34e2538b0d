from __future__ import annotations

import os
import shutil

import pytest

from tests.deploy.manifests import K8S, OVERLAYS, Installation, render

# A skipped test counts as a failure in CI, so what needs more than PyPI has is not collected without it.
collect_ignore = []
if os.environ.get("VITNE_TEST_CRDS") != "1":
    collect_ignore.append("test_deploy_crds.py")
if shutil.which("promtool") is None:
    collect_ignore.append("test_deploy_alerts_promtool.py")


@pytest.fixture(scope="session", params=OVERLAYS)
def installation(request: pytest.FixtureRequest) -> Installation:
    """Each overlay, rendered."""
    return Installation(request.param, render(K8S / "overlays" / request.param))


@pytest.fixture(scope="session")
def production() -> Installation:
    """The production overlay, rendered."""
    return Installation("production", render(K8S / "overlays" / "production"))

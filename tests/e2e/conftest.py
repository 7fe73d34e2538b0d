"""What all end-to-end tests have in common: time for the stack to start."""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.stack)
            # The first of them waits for all services to start.
            item.add_marker(pytest.mark.timeout(300))

"""Which tests one worker runs together, and which of these rooms come first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

#: Folders whose tests share what is dear to make: one worker runs them all. Of others, a file goes to one worker.
TOGETHER: Final = ("tests/e2e", "tests/faults", "tests/deploy")
#: What takes longest, longest first: begun late it would leave the other worker idle at the end. By wall time, as
#: `--durations=0` says it: these wait for processes, and have few tests.
LONGEST: Final = (
    "tests/e2e",
    "tests/faults",
    "tests/deploy",
    "tests/integration/test_portal_log_in.py",
    "tests/integration/test_dev_postgres.py",
    "tests/integration/test_portal_subscriber.py",
    "tests/integration/test_portal_sharing_pages.py",
    "tests/integration/test_portal_privacy.py",
    "tests/integration/test_client_subscriber.py",
    "tests/integration/test_operations_parked.py",
    "tests/integration/test_rebuild_portal.py",
    "tests/integration/test_issuer_hubs.py",
    "tests/integration/test_ledger_faults.py",
    "tests/integration/test_identity_development.py",
    "tests/integration/test_ledger_forms.py",
    "tests/unit/test_stacking_oracle.py",
)


def room_of(nodeid: str) -> str:
    """The file, or the folder, that a test is run together with."""
    file = nodeid.partition("::")[0]
    return next((folder for folder in TOGETHER if file.startswith(f"{folder}/")), file)


def ranks(nodeids: Sequence[str]) -> dict[str, tuple[int, int]]:
    """What to sort rooms by: those of :data:`LONGEST` as they stand there, then those with most tests."""
    rooms = Counter(map(room_of, nodeids))
    places = {room: place for place, room in enumerate(LONGEST)}
    return {room: (places.get(room, len(LONGEST)), -count) for room, count in rooms.items()}

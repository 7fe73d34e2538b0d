"""A copy of logs that is kept while they are walked: fetched once, and believed as far as it was found to agree."""

from __future__ import annotations

import pytest

from tests.unit.test_published_logs import FIRST, Site, issuances, site
from vitne.inspection.mirror import Mirror
from vitne.inspection.published_logs import PublishedLogs
from vitne.merkle.policy import Policy
from vitne.merkle.resources import resources_at
from vitne.runtime.objects import Kind

NEW = "log/2027/"


class Copy:
    """Files in memory."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    async def get(self, path: str) -> bytes | None:
        return self.files.get(path)

    async def put(self, path: str, data: bytes, kind: Kind) -> None:
        self.files[path] = data

    async def close(self) -> None:
        """Nothing is held."""


async def mirrored(found: Site, copy: Copy) -> tuple[list[str], list[str]]:
    """What was fetched to keep a copy, and what was found to disagree."""
    fetched: list[str] = []

    async def fetch(path: str) -> bytes | None:
        fetched.append(path)
        return await found.fetch(path)

    mirror = Mirror(fetch, copy)
    logs = PublishedLogs(mirror.fetch, Policy.of_log(FIRST.key))
    await logs.walk_on()
    kinds = [each.kind for each in logs.finish()]
    if not kinds:
        await mirror.conclude(logs.shown)
    return [path for path in fetched if "tile/" in path], kinds


async def test_what_never_changes_is_fetched_once_and_the_copy_is_the_logs() -> None:
    found, copy = site(), Copy()
    assert (await mirrored(found, copy))[1] == []
    size = found.new.size
    found.new.append(issuances(5000, 300)).publish()
    fetched, kinds = await mirrored(found, copy)
    assert kinds == []
    partial = {each.path for each in resources_at(found.old.size) if not each.full}
    grown = {f"{NEW}{each.path}" for each in resources_at(found.new.size, size)}
    assert set(fetched) - partial == grown, "the first log's full tiles, and the next one's, are there already"

    logs = PublishedLogs(copy.get, Policy.of_log(FIRST.key))
    await logs.walk_on()
    assert (logs.finish(), logs.contents.leaves) == ([], 1002)


@pytest.mark.parametrize("path", ["tile/0/001", "tile/entries/001"])
async def test_what_did_not_agree_is_not_believed_the_next_time(path: str) -> None:
    found, copy = Site(issuances(0, 400), issuances(400, 300)), Copy()
    assert (await mirrored(found, copy))[1] == []
    found.new.append(issuances(5000, 300)).publish()
    honest = found.new.files[path]
    found.new.files[path] = bytes(len(honest))
    assert (await mirrored(found, copy))[1] != []
    assert copy.files[f"{NEW}checkpoint"].split(b"\n")[1] == b"301", "the copy shows what was found to agree"
    found.new.files[path] = honest
    assert (await mirrored(found, copy))[1] == []
    assert copy.files[NEW + path] == honest
    assert copy.files[f"{NEW}checkpoint"].split(b"\n")[1] == b"601"

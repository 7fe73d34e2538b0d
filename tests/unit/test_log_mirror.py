"""A copy of logs that is kept while they are walked: fetched once, and believed as far as it was found to agree."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from services.auditor.log_look import Beside, look
from tests.unit.log_samples import cosigner, note_signer
from tests.unit.test_published_logs import FIRST, Site, issuances, site
from vitne.audit.agreement import Disagreement
from vitne.clock import SystemClock
from vitne.errors import DataLoss
from vitne.inspection.log_memory import LogMemory
from vitne.inspection.published_logs import PublishedLogs
from vitne.merkle.notes import sign_note
from vitne.merkle.policy import Policy
from vitne.merkle.resources import resources_at
from vitne.runtime.objects import Kind, Stored

NEW = "log/2027/"


class Copy:
    """Files in memory."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    async def get(self, path: str) -> bytes | None:
        return self.files.get(path)

    async def read(self, path: str) -> Stored | None:
        raise AssertionError("a copy has one who writes it")

    async def replace(self, path: str, data: bytes, kind: Kind, *, over: str | None) -> str | None:
        raise AssertionError("a copy has one who writes it")

    async def put(self, path: str, data: bytes, kind: Kind) -> None:
        self.files[path] = data

    async def close(self) -> None:
        """Nothing is held."""


@dataclass
class Served:
    """Sites over HTTP, one at a time, and what is fetched of them."""

    base: str
    site: Site | None = None
    fetched: list[str] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        path = request.match_info["path"]
        self.fetched.append(path)
        data = await self.site.fetch(path) if self.site and not path.startswith("witness") else None
        return web.Response(status=404) if data is None else web.Response(body=data)


@pytest.fixture(scope="module")
async def served() -> AsyncIterator[Served]:
    made = Served("")
    app = web.Application()
    app.router.add_get("/{path:.*}", made.answer)
    async with TestServer(app, host="127.0.0.1") as server:
        made.base = str(server.make_url("/"))
        yield made


async def mirrored(
    served: Served, found: Site, copy: Copy, policy: Policy | None = None
) -> tuple[list[str], list[Disagreement]]:
    """Which tiles and bundles were fetched to keep a copy, and what was found to disagree."""
    served.site, served.fetched = found, []
    async with aiohttp.ClientSession() as session:
        looked = await look(
            session,
            served.base,
            policy or Policy.of_log(FIRST.key),
            Beside({}, {}, LogMemory()),
            copy=copy,
            seconds=0,
            clock=SystemClock(),
        )
    return [path for path in served.fetched if "tile/" in path], looked.disagreements


def kinds(told: Iterable[Disagreement]) -> set[str]:
    return {each.kind for each in told}


async def agrees_with_itself(copy: Copy) -> int:
    """The leaves of a copy, which is walked as a log."""
    logs = PublishedLogs(copy.get, Policy.of_log(FIRST.key))
    await logs.walk_on()
    assert logs.finish() == []
    return logs.contents.leaves


async def test_what_never_changes_is_fetched_once_and_the_copy_is_the_logs(served: Served) -> None:
    found, copy = site(), Copy()
    assert (await mirrored(served, found, copy))[1] == []
    size = found.new.size
    found.new.append(issuances(5000, 300)).publish()
    fetched, told = await mirrored(served, found, copy)
    assert told == []
    partial = {each.path for each in resources_at(found.old.size) if not each.full}
    grown = {f"{NEW}{each.path}" for each in resources_at(found.new.size, size)}
    assert set(fetched) - partial == grown, "the first log's full tiles, and the next one's, are there already"

    assert await agrees_with_itself(copy) == 1002


@pytest.mark.parametrize("path", ["tile/0/001", "tile/entries/001"])
async def test_what_did_not_agree_is_not_believed_the_next_time(served: Served, path: str) -> None:
    found, copy = Site(issuances(0, 400), issuances(400, 300)), Copy()
    assert (await mirrored(served, found, copy))[1] == []
    found.new.append(issuances(5000, 300)).publish()
    honest = found.new.files[path]
    found.new.files[path] = bytes(len(honest))
    assert (await mirrored(served, found, copy))[1] != []
    assert copy.files[f"{NEW}checkpoint"].split(b"\n")[1] == b"301", "the copy shows what was found to agree"
    found.new.files[path] = honest
    assert (await mirrored(served, found, copy))[1] == []
    assert copy.files[NEW + path] == honest
    assert copy.files[f"{NEW}checkpoint"].split(b"\n")[1] == b"601"


def copied() -> Site:
    return Site(issuances(0, 400), issuances(400, 300))


@pytest.mark.parametrize(
    ("other", "kind"),
    [
        (issuances(400, 280) + issuances(9000, 50), "log.forked"),
        (issuances(400, 280) + issuances(9000, 20), "log.forked"),
        (issuances(9000, 600), "log.forked"),
        (issuances(400, 280), "log.rolled_back"),
    ],
    ids=["further on", "at the same size", "from the beginning", "back"],
)
async def test_a_log_that_contradicts_its_copy_does_not_replace_it(
    served: Served, other: list[bytes], kind: str
) -> None:
    copy = Copy()
    assert (await mirrored(served, copied(), copy))[1] == []
    evidence = dict(copy.files)
    for _ in range(2):
        _, told = await mirrored(served, Site(issuances(0, 400), other), copy)
        assert (kind, "the copy") in {(each.kind, each.subject) for each in told}
        assert "copy.differs" not in kinds(told), "it is the log that contradicts itself"
        assert {path: copy.files[path] for path in evidence} == evidence
    assert await agrees_with_itself(copy) == 702


async def test_a_log_without_a_statement_that_the_copy_has_does_not_replace_it(served: Served) -> None:
    found, copy = copied(), Copy()
    assert (await mirrored(served, found, copy))[1] == []
    evidence = dict(copy.files)
    found.statements = []
    _, told = await mirrored(served, found, copy)
    assert {"log.rolled_back", "log.missing"} <= kinds(told)
    assert copy.files == evidence


@pytest.mark.parametrize("path", ["tile/entries/000", f"{NEW}tile/0/000", "tile/1/000.p/1"])
async def test_a_damaged_copy_is_named_as_that_and_is_mended(served: Served, path: str) -> None:
    found, copy = copied(), Copy()
    assert (await mirrored(served, found, copy))[1] == []
    whole = dict(copy.files)
    copy.files[path] = copy.files[path][:5] + b"\xff" + copy.files[path][6:]
    _, told = await mirrored(served, found, copy)
    assert [(each.kind, each.subject) for each in told] == [("copy.differs", path)]
    assert copy.files == whole
    fetched, told = await mirrored(served, found, copy)
    assert told == []
    assert path.endswith(".p/1") or path not in fetched


async def test_what_the_copy_lacks_is_fetched(served: Served) -> None:
    found, copy = copied(), Copy()
    assert (await mirrored(served, found, copy))[1] == []
    whole = dict(copy.files)
    del copy.files["tile/entries/000"]
    assert (await mirrored(served, found, copy))[1] == []
    assert copy.files == whole


CHECKPOINTS = ["checkpoint", f"{NEW}checkpoint"]


@pytest.mark.parametrize("damage", [b"", b"\xff\x00", b"<html>\n"], ids=["empty", "no text", "another file"])
@pytest.mark.parametrize("path", CHECKPOINTS)
async def test_a_checkpoint_that_cannot_be_read_is_replaced_where_all_else_agrees(
    served: Served, path: str, damage: bytes
) -> None:
    found, copy = copied(), Copy()
    assert (await mirrored(served, found, copy))[1] == []
    whole = dict(copy.files)
    copy.files[path] = damage
    fetched, told = await mirrored(served, found, copy)
    assert [(each.kind, each.subject) for each in told] == [("copy.differs", path)]
    assert copy.files == whole
    assert "tile/entries/000" not in fetched, "what the copy has counts still"
    assert (await mirrored(served, found, copy))[1] == []


@pytest.mark.parametrize(
    "other",
    [
        issuances(9000, 600),
        issuances(400, 280) + issuances(9000, 20),
        issuances(400, 280) + issuances(9000, 50),
        issuances(400, 280) + issuances(9000, 400),
        issuances(400, 280),
    ],
    ids=["from the beginning", "at the same size", "further on", "far on", "back"],
)
async def test_damage_does_not_let_another_history_replace_the_copy(served: Served, other: list[bytes]) -> None:
    copy = Copy()
    assert (await mirrored(served, copied(), copy))[1] == []
    copy.files[f"{NEW}checkpoint"] = b""
    evidence = dict(copy.files)
    for _ in range(2):
        with pytest.raises(DataLoss, match="COPY_UNREADABLE"):
            await mirrored(served, Site(issuances(0, 400), other), copy)
        assert copy.files == evidence


async def test_a_log_that_grew_since_its_checkpoint_was_damaged_is_copied(served: Served) -> None:
    found, copy = copied(), Copy()
    assert (await mirrored(served, found, copy))[1] == []
    copy.files[f"{NEW}checkpoint"] = b""
    found.new.append(issuances(5000, 300)).publish()
    assert kinds((await mirrored(served, found, copy))[1]) == {"copy.differs"}
    assert await agrees_with_itself(copy) == 1002


async def test_a_copy_of_another_log_is_left_as_it_is(served: Served) -> None:
    found, copy = copied(), Copy()
    assert (await mirrored(served, found, copy))[1] == []
    evidence = dict(copy.files)
    checkpoint = evidence["checkpoint"]
    text = checkpoint.partition(b"\n\n")[0].decode() + "\n"
    damaged = {
        "of another log": ("checkpoint", sign_note(text, [note_signer(9)]).encode()),
        "whose signature does not verify": ("checkpoint", checkpoint.replace(b"\n401\n", b"\n402\n")),
        "that is no statement": ("succession/1", b"\xff" + evidence["succession/1"]),
    }
    for path, data in damaged.values():
        assert data != evidence[path]
        copy.files[path] = data
        with pytest.raises(DataLoss, match="COPY_UNREADABLE"):
            await mirrored(served, found, copy)
        assert copy.files == {**evidence, path: data}
        copy.files[path] = evidence[path]


async def test_a_witness_who_is_silent_does_not_hold_the_copy_up(served: Served) -> None:
    witness = cosigner(0).key
    policy = f"log {FIRST.key.text}\nwitness w {witness.text} {served.base}witness\nquorum none\n"
    copy = Copy()
    _, told = await mirrored(served, copied(), copy, Policy.parse(policy))
    assert kinds(told) == {"witness.silent"}
    assert await agrees_with_itself(copy) == 702

"""Keys of status lists as an audit takes them from the registry's signed list: which, from where, and when none."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from services.auditor import log_command
from services.auditor.exit_codes import NOT_LOOKED
from tests.unit.accreditation_samples import UCL
from tests.unit.log_samples import note_signer
from tests.unit.verifier_world import FOREIGN_KEY, LIST_KEY, OPERATOR, REGISTRY, TRUST_KEY, World
from vitne.accreditation import FactsReference, render, sign_statement
from vitne.clock import SystemClock
from vitne.dev.ports import LOOPBACK
from vitne.errors import InvalidArgument, NotFound
from vitne.inspection.lists import registered_list_keys
from vitne_api.registry.v1 import facts_pb2

CLOCK = SystemClock()
USE = facts_pb2.KEY_USE_STATUS_LIST


class Registry:
    """Serves the list of a world; ``asked`` counts what was fetched."""

    def __init__(self) -> None:
        self.world = World(clock=CLOCK)
        self.asked = 0
        self.url = ""

    async def statement(self, _: web.Request) -> web.Response:
        self.asked += 1
        reference = FactsReference.of(*self._facts())
        count = len(self.world.chronicle.facts)
        return web.Response(text=sign_statement(reference, count, issuer=REGISTRY, at=CLOCK.now(), signer=TRUST_KEY))

    async def facts(self, _: web.Request) -> web.Response:
        return web.Response(body=self._facts()[1])

    def _facts(self) -> tuple[str, bytes]:
        listed = [fact for fact in self.world.chronicle.facts if not fact.HasField("achievement")]
        return f"trust-list/facts/{listed[-1].registry_revision}", b"".join(map(render, listed))


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    registry = Registry()
    app = web.Application()
    app.router.add_get("/v1/trust-list", registry.statement)
    app.router.add_get("/v1/trust-list/facts/{revision}", registry.facts)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, LOOPBACK, 0).start()
    registry.url = "http://{}:{}/v1/trust-list".format(*runner.addresses[0][:2])
    yield registry
    await runner.cleanup()


async def taken(registry: Registry, *, development: bool = True) -> set[str]:
    found = await registered_list_keys(registry.url, TRUST_KEY.key_id, REGISTRY, CLOCK, development=development)
    return set(found)


async def test_the_organisation_that_signs_the_list_has_the_keys_of_status_lists(registry: Registry) -> None:
    assert await taken(registry) == {LIST_KEY.key_id}


async def test_a_list_that_names_no_key_that_counts_now_is_told_as_that(registry: Registry) -> None:
    # It has ended; another one counts, and is somebody else's.
    registry.world.key(LIST_KEY, OPERATOR, USE, revision=2, valid_until=CLOCK.now())
    registry.world.key(FOREIGN_KEY, UCL, USE)
    with pytest.raises(NotFound) as caught:
        await taken(registry)
    assert (caught.value.reason, caught.value.field) == ("LIST_KEYS_UNKNOWN", "trust_list")
    assert "of the organisation whose key signs the list" in caught.value.rule
    assert "--list-key" in caught.value.remedy


async def test_plain_http_is_for_development_alone(registry: Registry) -> None:
    with pytest.raises(InvalidArgument, match="https"):
        await taken(registry, development=False)
    assert registry.asked == 0


@pytest.mark.parametrize("environment", ["production", "Production"])
def test_the_command_fetches_no_list_over_plain_http_in_production(
    environment: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VITNE_ENVIRONMENT", environment)
    assert log_command.main(arguments("http://127.0.0.1:1/v1/trust-list")) == NOT_LOOKED
    said = capsys.readouterr().err
    assert "BAD_ALLOW_RULE" in said
    assert "https" in said


@pytest.mark.parametrize("environment", [None, "development"])
def test_the_command_fetches_it_from_loopback_anywhere_else(
    environment: str | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("VITNE_ENVIRONMENT", raising=False)
    if environment is not None:
        monkeypatch.setenv("VITNE_ENVIRONMENT", environment)
    assert log_command.main(arguments("http://127.0.0.1:1/v1/trust-list")) == NOT_LOOKED
    assert "FETCH_FAILED" in capsys.readouterr().err  # It was tried; nobody is there.
    assert log_command.main(arguments("http://192.0.2.1/v1/trust-list")) == NOT_LOOKED
    assert "BAD_ALLOW_RULE" in capsys.readouterr().err


def arguments(trust_list: str) -> list[str]:
    signed = ["--trust-list", trust_list, "--registry-key", TRUST_KEY.key_id]
    return ["--url", "http://127.0.0.1:1", "--key", note_signer().key.text, *signed]

"""Authority → provider → credential from a bundle: it holds, and each link is found out where it does not."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from services.verifier import bundles
from tests.unit.accreditation_samples import ALL, DAI, T0, UCL, UIO, WITHDRAWN, text
from tests.unit.verifier_world import FOREIGN_KEY, NOW, OPERATOR, PROVIDER_KEY, REGISTRY, TRUST_KEY, World, p256
from vitne.accreditation.chain import STEPS, Bundle, Chain, check_bundle, parse_bundle
from vitne.accreditation.credential import sign_accreditation
from vitne.accreditation.extract import Extract, concerned, read_extract, sign_extract
from vitne.credentials.jose import LocalSigner
from vitne.errors import InvalidArgument
from vitne.runtime.fetch import Fetched
from vitne_api.credential.v1 import credential_pb2
from vitne_api.registry.v1 import facts_pb2

AUTHORITY_KEY = p256(601)
PASSED, SKIPPED = credential_pb2.Check.OUTCOME_PASSED, credential_pb2.Check.OUTCOME_SKIPPED


class Chained:
    """A world in which an authority signed the accreditation on which a credential was issued."""

    def __init__(self) -> None:
        self.world = World()
        remit = facts_pb2.Remit(
            country="DK", provider_kinds=["dk.business_academy"], accreditation_kinds=["dk.institution"]
        )
        # A second revision of the authority's entry, with the remit that its accreditations need.
        self.world.chronicle.record(
            DAI, authority=facts_pb2.Authority(id=DAI, name=[text("DAI")], remit=remit, revision=2)
        )
        self.world.key(AUTHORITY_KEY, DAI, facts_pb2.KEY_USE_ACCREDITATION)
        self.accreditation = self.world.accredit(accreditation=0xA001, revision=2)
        self.credential = self.world.issue()

    def extract(self, signer: LocalSigner = TRUST_KEY, provider: str = UCL) -> Extract:
        projection = self.world.chronicle.projection()
        about = concerned(projection, provider, OPERATOR)
        return sign_extract(
            projection.trusted_facts_about(about),
            about,
            projection.revision,
            path="trust-list/extracts/x",
            issuer=REGISTRY,
            at=NOW,
            signer=signer,
        )

    def bundle(self, signer: LocalSigner = AUTHORITY_KEY, fact: facts_pb2.Fact | None = None) -> Bundle:
        compact = sign_accreditation(fact or self.accreditation, registry_uri=REGISTRY, at=NOW, signer=signer)
        return Bundle(self.credential, compact, self.extract())


@pytest.fixture
def chained() -> Chained:
    return Chained()


def check(bundle: Bundle, **changes: Any) -> Chain:
    options: dict[str, Any] = {"pinned": TRUST_KEY.key_id, "registry_uri": REGISTRY, "frameworks": ALL, "now": NOW}
    return check_bundle(bundle, **options | changes)


def broken(chain: Chain) -> str:
    """The step that does not hold; what comes after it was not looked at."""
    assert tuple(step.name for step in chain.steps) == STEPS
    at = next(number for number, step in enumerate(chain.steps) if step.outcome != PASSED)
    assert all(step.outcome == SKIPPED for step in chain.steps[at + 1 :])
    assert not chain.holds
    return chain.steps[at].name


def test_a_chain_holds_as_of_its_list_also_years_later(chained: Chained) -> None:
    bundle = chained.bundle()
    for now in (NOW, NOW + timedelta(days=3650)):
        chain = check(parse_bundle(bundle.to_bytes()), now=now)
        assert (chain.holds, chain.as_of) == (True, NOW), chain.steps
    # A dozen facts, and not the list of a country.
    assert len(bundle.to_bytes()) < 20_000


def test_an_extract_is_whole_for_whom_it_names(chained: Chained) -> None:
    chained.world.chronicle.provider(UIO)
    statement, facts = read_extract(chained.extract(), pinned=TRUST_KEY.key_id, issuer=REGISTRY, now=NOW)
    assert {fact.subject for fact in facts} == {UCL, DAI, OPERATOR}
    about_them = [
        fact
        for fact in chained.world.chronicle.facts
        if fact.subject in {UCL, DAI, OPERATOR} and not fact.HasField("achievement")
    ]
    assert list(facts) == about_them
    assert statement.registry_revision == len(chained.world.chronicle.facts)


def test_a_list_of_another_key_or_with_other_facts_is_no_root(chained: Chained) -> None:
    bundle = chained.bundle()
    assert broken(check(replace(bundle, trust_list=chained.extract(FOREIGN_KEY)))) == "trust_list"
    lines = bundle.trust_list.facts.splitlines(keepends=True)
    fewer = replace(bundle.trust_list, facts=b"".join(lines[:-1]))
    assert broken(check(replace(bundle, trust_list=fewer))) == "trust_list"
    assert broken(check(bundle, now=NOW - timedelta(days=1))) == "trust_list"
    assert broken(check(bundle, registry_uri="https://registry.example")) == "trust_list"


def test_an_authority_outside_its_remit_accredits_nobody(chained: Chained) -> None:
    world = chained.world
    remit = world.chronicle.facts[-3].authority.remit
    within: dict[str, Any] = {
        "country": "DK",
        "provider_kinds": ["dk.business_academy"],
        "accreditation_kinds": ["dk.institution"],
    }
    for changes in ({"accreditation_kinds": ["dk.amu"]}, {"provider_kinds": ["dk.university"]}, {"country": "NO"}):
        remit.CopyFrom(facts_pb2.Remit(**within | changes))
        assert broken(check(chained.bundle())) == "authority"
    remit.CopyFrom(facts_pb2.Remit(**within))
    assert check(chained.bundle()).holds


def test_an_accreditation_must_be_signed_by_its_authority(chained: Chained) -> None:
    assert broken(check(chained.bundle(signer=PROVIDER_KEY))) == "accreditation"
    assert broken(check(chained.bundle(signer=p256(699)))) == "accreditation"
    chained.world.key(AUTHORITY_KEY, DAI, facts_pb2.KEY_USE_ACCREDITATION, revision=2, compromised_from=T0)
    assert broken(check(chained.bundle())) == "accreditation"


def test_an_accreditation_that_the_list_does_not_show_counts_for_nothing(chained: Chained) -> None:
    wider = facts_pb2.Fact()
    wider.CopyFrom(chained.accreditation)
    wider.accreditation.scope.credential_kinds.append("dk.module")
    assert broken(check(chained.bundle(fact=wider))) == "accreditation"


def test_a_credential_must_cite_it_by_digest(chained: Chained) -> None:
    another = chained.world.accredit(accreditation=0xA002)
    assert broken(check(chained.bundle(fact=another))) == "citation"
    uncited = chained.world.sign(chained.world.credential(accreditation_digest=""))
    assert broken(check(replace(chained.bundle(), credential=uncited))) == "citation"


def test_a_credential_must_be_signed_by_the_provider(chained: Chained) -> None:
    forged = chained.world.sign(chained.world.credential(), signer=FOREIGN_KEY, key_id=PROVIDER_KEY.key_id)
    assert broken(check(replace(chained.bundle(), credential=forged))) == "signature"
    forged = chained.world.sign(chained.world.credential(), signer=AUTHORITY_KEY)
    assert broken(check(replace(chained.bundle(), credential=forged))) == "signature"


def test_what_a_key_signed_that_others_may_know_could_be_dated_back(chained: Chained) -> None:
    chained.world.key(PROVIDER_KEY, UCL, facts_pb2.KEY_USE_CREDENTIAL, revision=2, compromised_from=NOW)
    chain = check(chained.bundle())
    assert broken(chain) == "signature"
    step = chain.steps[STEPS.index("signature")]
    assert step.outcome == credential_pb2.Check.OUTCOME_NOT_DETERMINABLE
    assert "the log" in step.detail


def test_what_can_not_be_read_is_an_answer(chained: Chained) -> None:
    assert broken(check(replace(chained.bundle(), credential="nothing"))) == "structure"
    assert broken(check(replace(chained.bundle(), accreditation="nothing"))) == "structure"


def test_what_was_not_allowed_does_not_hold(chained: Chained) -> None:
    larger = credential_pb2.Achievement()
    larger.CopyFrom(chained.world.achievement)
    larger.kind = "dk.module"
    credential = chained.world.sign(chained.world.credential(achievement=larger))
    assert broken(check(replace(chained.bundle(), credential=credential))) == "decision"


def test_what_was_withdrawn_backwards_holds_no_more(chained: Chained) -> None:
    assert check(chained.bundle()).holds
    chained.world.accredit(revision=3, state=WITHDRAWN, effective_from=T0)
    assert broken(check(chained.bundle())) == "not_withdrawn_backwards"


@pytest.mark.parametrize(
    "change",
    [
        lambda file: file | {"v": 2},
        lambda file: file | {"type": "bundle"},
        lambda file: {name: value for name, value in file.items() if name != "accreditation"},
        lambda file: file | {"trust_list": "none"},
        lambda file: file | {"trust_list": {"statement": 1, "facts": "x"}},
        lambda file: [file],
        lambda file: file | {"credential": "x" * (2 * 1024 * 1024)},
    ],
)
def test_other_files_are_refused(chained: Chained, change: Callable[[Any], Any]) -> None:
    file = json.loads(chained.bundle().to_bytes())
    with pytest.raises(InvalidArgument) as caught:
        parse_bundle(json.dumps(change(file)).encode())
    assert (caught.value.reason, caught.value.field) == ("BAD_BUNDLE", "bundle")


class Endpoints:
    """A registry's public endpoints, as ``gather`` asks them."""

    def __init__(self, bundle: Bundle) -> None:
        said = bundle.trust_list
        self.answers = {
            "v1/trust-list/extracts/0184-30859480": json.dumps(
                {"statement": said.statement, "facts": said.facts.decode()}
            ).encode(),
        }
        self.accreditation = bundle.accreditation.encode()

    async def fetch(self, url: str, *, accept: str = "", max_bytes: int | None = None) -> Fetched:
        path = url.removeprefix("https://r.example/")
        body = self.accreditation if "accreditations" in path else self.answers[path]
        assert max_bytes is not None
        assert len(body) <= max_bytes
        return Fetched(url, body, "", "")


async def test_what_is_gathered_is_checked_by_the_command(
    chained: Chained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = await bundles.gather(chained.credential, "https://r.example/", Endpoints(chained.bundle()))
    assert bundle == chained.bundle()
    file = tmp_path / "bundle.json"
    file.write_bytes(bundle.to_bytes())
    assert bundles.bundle_command(["--registry-key", TRUST_KEY.key_id, str(file)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("The chain holds, as of 2026-11-21T10:00:00Z.")
    assert all(name in said for name in STEPS)
    assert bundles.bundle_command(["--registry-key", FOREIGN_KEY.key_id, str(file)]) == 1
    assert capsys.readouterr().out.startswith("The chain does not hold: not a list to be trusted")
    file.write_bytes(b"{}")
    assert bundles.bundle_command(["--registry-key", TRUST_KEY.key_id, str(file)]) == 2
    file.write_bytes(b"PK\x03\x04")
    assert bundles.bundle_command(["--registry-key", TRUST_KEY.key_id, str(file)]) == 2
    assert "verify-bundle" in capsys.readouterr().err

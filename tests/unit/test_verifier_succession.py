"""A credential is verified in whichever of the logs its issuance is, online and from a bundle."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from services.verifier.bundle_file import Bundle
from services.verifier.evidence import STATEMENTS_SECONDS, Inclusions
from services.verifier.offline import verify_bundle
from tests.unit.accreditation_samples import UCL
from tests.unit.log_samples import SampleLog, cosigner
from tests.unit.test_verifier_bundle import PLACE, POLICY, SIGNER, Maker, verdict
from tests.unit.test_verifier_verification import detail, expect
from tests.unit.verifier_world import (
    CHECKPOINT_KEY,
    LIST,
    NOW,
    OPERATOR,
    ORIGIN,
    OTHER_CHECKPOINT_KEY,
    PROVIDER_KEY,
    REGISTRY,
    TRUST_KEY,
    MemoryLog,
    World,
)
from vitne.audit.status_evidence import ProvenLeaf
from vitne.canonical import from_b64url, sha256
from vitne.clock import ManualClock
from vitne.credentials.jose import LocalSigner
from vitne.errors import DataLoss, InvalidArgument, VitneError
from vitne.merkle.hashing import leaf_hash
from vitne.merkle.leaves import ListPublished, StatusChanged
from vitne.merkle.notes import NoteKey, NoteSigner
from vitne.merkle.succession import Succession, state_succession, succession_leaf
from vitne_api.ledger.v1 import ledger_pb2
from vitne_api.registry.v1 import facts_pb2

NEXT = "log.vitne.example/2027"
FOREIGN_KEY = LocalSigner(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(2, 34))))


@pytest.fixture
def world() -> World:
    return World()


async def test_what_is_in_the_next_log_is_valid_once_both_keys_said_so(world: World) -> None:
    early = world.issue()
    verifier = world.verifier()
    expect(await verifier.verify(early), "valid", "log_inclusion", "passed")
    world.key(OTHER_CHECKPOINT_KEY, OPERATOR, facts_pb2.KEY_USE_CHECKPOINT)
    world.log_facts()
    world.log = world.log.end(NEXT, OTHER_CHECKPOINT_KEY)
    verifier = world.verifier()
    late = world.issue()
    for compact in (late, early, late):
        expect(await verifier.verify(compact), "valid", "log_inclusion", "passed")


async def test_a_log_that_followed_by_a_key_of_somebody_elses_proves_nothing(world: World) -> None:
    world.issue()
    world.log_facts()
    world.log = world.log.end(NEXT, FOREIGN_KEY)
    verification = await world.verify(world.issue())
    expect(verification, "not_determinable", "log_inclusion", "not_determinable")


async def test_without_a_statement_the_operators_other_log_proves_nothing(world: World) -> None:
    world.key(OTHER_CHECKPOINT_KEY, OPERATOR, facts_pb2.KEY_USE_CHECKPOINT)
    world.log_facts()
    world.log = world.log.end(NEXT, OTHER_CHECKPOINT_KEY)
    world.log.statements = []
    verification = await world.verify(world.issue())
    assert "LOG_ORIGIN_UNKNOWN" in detail(verification, "log_inclusion")


async def test_a_log_that_grows_beyond_its_end_is_not_believed_any_more(world: World) -> None:
    world.key(OTHER_CHECKPOINT_KEY, OPERATOR, facts_pb2.KEY_USE_CHECKPOINT)
    world.log_facts()
    old, following = world.log, world.log.end(NEXT, OTHER_CHECKPOINT_KEY)
    following.append(b"l" * 32)
    knowledge = world.knowledge()
    log = Inclusions(following, knowledge, ORIGIN, world.clock)
    assert (await log.inclusion(b"l" * 32)).place == following.before
    old.append(b"m" * 32)  # consistent with all that was, and yet it was closed
    with pytest.raises(DataLoss, match="LOG_FORKED"):
        await log.inclusion(b"m" * 32)


async def test_when_the_key_of_a_log_that_ended_counts_no_longer_its_end_stands_and_so_do_those_that_followed(
    world: World,
) -> None:
    early = world.issue()
    world.key(OTHER_CHECKPOINT_KEY, OPERATOR, facts_pb2.KEY_USE_CHECKPOINT)
    world.log_facts()
    old = world.log
    world.log = old.end(NEXT, OTHER_CHECKPOINT_KEY)
    late = world.issue()
    since = NOW - timedelta(seconds=1)
    world.key(CHECKPOINT_KEY, OPERATOR, facts_pb2.KEY_USE_CHECKPOINT, revision=2, compromised_from=since)
    world.log_facts()
    for compact in (late, early):
        expect(await world.verifier().verify(compact), "valid", "log_inclusion", "passed")
    old.append(b"m" * 32)  # whoever has the key can go on, and is not believed
    expect(await world.verify(early), "not_determinable", "log_inclusion", "not_determinable")


async def test_a_replaced_key_counts_for_nothing_beyond_its_end_although_the_registry_lets_it_count(
    world: World,
) -> None:
    """Without a policy, too: whoever has the old key can't go on with it."""
    world.key(OTHER_CHECKPOINT_KEY, OPERATOR, facts_pb2.KEY_USE_CHECKPOINT)
    world.log_facts()
    world.log.rotate(OTHER_CHECKPOINT_KEY)
    log = Inclusions(world.log, world.knowledge(), ORIGIN, world.clock)
    world.log.append(b"l" * 32)
    assert (await log.inclusion(b"l" * 32)).key_id == OTHER_CHECKPOINT_KEY.key_id
    world.log.append(b"m" * 32)
    world.log.signer = CHECKPOINT_KEY
    for source in (log, Inclusions(world.log, world.knowledge(), ORIGIN, world.clock)):
        with pytest.raises(InvalidArgument, match="LOG_KEY_ENDED"):
            await source.inclusion(b"m" * 32)


async def test_a_statement_that_was_told_and_is_withheld_is_named_as_that(world: World) -> None:
    world.key(OTHER_CHECKPOINT_KEY, OPERATOR, facts_pb2.KEY_USE_CHECKPOINT)
    world.log_facts()
    world.log.rotate(OTHER_CHECKPOINT_KEY)
    clock = ManualClock(NOW)
    log = Inclusions(world.log, world.knowledge(), ORIGIN, clock)
    world.log.append(b"l" * 32)
    await log.inclusion(b"l" * 32)
    world.log.statements = []
    world.log.append(b"m" * 32)
    clock.advance(timedelta(seconds=STATEMENTS_SECONDS))
    with pytest.raises(DataLoss, match=r"SUCCESSION_WITHHELD.*statement of succession after \d+ leaves"):
        await log.inclusion(b"m" * 32)


class Changing:
    """Shows one log or another, and answers what statements there are when it is let."""

    def __init__(self, log: MemoryLog) -> None:
        self.log = log
        self.asked, self.let = asyncio.Event(), asyncio.Event()
        self.let.set()
        #: Statements in each answer.
        self.told: list[int] = []

    async def prove(self, leaf_hash: bytes, *, first: bool = False) -> ledger_pb2.GetInclusionProofResponse:
        return await self.log.prove(leaf_hash, first=first)

    async def consistency(self, origin: str, from_size: int, to_size: int) -> Sequence[bytes]:
        return await self.log.consistency(origin, from_size, to_size)

    async def succession(self) -> Sequence[str]:
        told = await self.log.succession()
        self.asked.set()
        await self.let.wait()
        self.told.append(len(told))
        return told


async def refusal(log: Inclusions, leaf: bytes) -> str | None:
    """Why a leaf's inclusion is not believed; None: it is."""
    try:
        await log.inclusion(leaf)
    except VitneError as error:
        return error.reason
    return None


async def test_what_was_believed_of_a_key_before_its_end_was_stated_is_not_any_more(world: World) -> None:
    world.key(OTHER_CHECKPOINT_KEY, OPERATOR, facts_pb2.KEY_USE_CHECKPOINT)
    world.log_facts()
    honest = world.log
    honest.append(b"l" * 32)
    other = deepcopy(honest)  # by whoever else has the key
    other.append(b"m" * 32)
    shown = Changing(other)
    clock = ManualClock(NOW)
    log = Inclusions(shown, world.knowledge(), ORIGIN, clock)
    assert await refusal(log, b"m" * 32) is None
    honest.rotate(OTHER_CHECKPOINT_KEY)
    other.statements = honest.statements
    # It is time to look, though all that is asked for is held.
    clock.advance(timedelta(seconds=STATEMENTS_SECONDS))
    async with asyncio.timeout(60):
        while await refusal(log, b"m" * 32) is None:
            await asyncio.sleep(0)
    assert await refusal(log, b"m" * 32) == "LOG_KEY_ENDED"
    # What somebody added beyond the end is not held against the log, which goes on.
    shown.log = honest
    honest.append(b"n" * 32)
    assert [await refusal(log, leaf * 32) for leaf in (b"l", b"n")] == [None, None]


async def test_statements_that_many_ask_for_at_once_are_neither_forgotten_nor_missed(world: World) -> None:
    world.key(OTHER_CHECKPOINT_KEY, OPERATOR, facts_pb2.KEY_USE_CHECKPOINT)
    world.log_facts()
    early, late = ([bytes([first + number]) * 32 for number in range(3)] for first in (1, 11))
    for leaf in early:
        world.log.append(leaf)
    shown = Changing(world.log)
    log = Inclusions(shown, world.knowledge(), ORIGIN, world.clock)
    shown.let.clear()
    asked = [asyncio.create_task(refusal(log, leaf)) for leaf in early]
    await shown.asked.wait()
    # That answer is of before the key was replaced; whoever comes now is shown what the new one signed.
    world.log.rotate(OTHER_CHECKPOINT_KEY)
    for leaf in late:
        world.log.append(leaf)
    asked += [asyncio.create_task(refusal(log, leaf)) for leaf in late]
    for _ in range(20):
        await asyncio.sleep(0)
    shown.let.set()
    assert await asyncio.gather(*asked) == [None] * 6
    assert shown.told == [0, 1], "one at a time, for all who asked meanwhile"


async def test_what_witnesses_saw_under_a_key_that_others_know_now_stands_by_the_word_of_the_next(
    world: World,
) -> None:
    """``rotate-key --compromised``, and a credential's key that others know: when it was logged is asked for first."""
    early = world.issue()
    world.witnessed(NOW - timedelta(minutes=30))
    forged = b"f" * 32
    world.log.append(b"n" * 32)
    world.key(OTHER_CHECKPOINT_KEY, OPERATOR, facts_pb2.KEY_USE_CHECKPOINT)
    world.log_facts()
    world.log.rotate(OTHER_CHECKPOINT_KEY)
    since = NOW - timedelta(minutes=1)
    world.key(CHECKPOINT_KEY, OPERATOR, facts_pb2.KEY_USE_CHECKPOINT, revision=2, compromised_from=since)
    world.key(PROVIDER_KEY, UCL, facts_pb2.KEY_USE_CREDENTIAL, revision=2, compromised_from=since)
    world.log_facts()
    world.log.cosign(NOW)
    expect(await world.verify(early), "valid_with_notes", "log_inclusion", "passed")
    # Another history of as many leaves, by who has the old key and a witness of that time.
    other = World().log
    for leaf in (forged, b"g" * 32):
        other.append(leaf)
    other.cosign(NOW - timedelta(minutes=30))
    other.statements = world.log.statements

    async def as_the_log_is(origin: str, from_size: int, to_size: int) -> list[bytes]:
        return await world.log.consistency(origin, from_size, to_size)

    other.consistency = as_the_log_is  # type: ignore[method-assign]
    with pytest.raises(DataLoss, match="LOG_FORKED"):
        await Inclusions(other, world.knowledge(), ORIGIN, world.clock, world.policy).earliest(forged)


async def test_logs_whose_keys_were_given_up_one_after_the_other_stand_by_the_one_that_counts(world: World) -> None:
    early = world.issue()
    for key in (OTHER_CHECKPOINT_KEY, FOREIGN_KEY):
        world.key(key, OPERATOR, facts_pb2.KEY_USE_CHECKPOINT)
    world.log_facts()
    world.log = world.log.end(NEXT, OTHER_CHECKPOINT_KEY)
    world.log.append(b"l" * 32)
    world.log = world.log.end("log.vitne.example/2028", FOREIGN_KEY)
    for key in (CHECKPOINT_KEY, OTHER_CHECKPOINT_KEY):
        world.key(key, OPERATOR, facts_pb2.KEY_USE_CHECKPOINT, revision=2, valid_until=NOW - timedelta(seconds=1))
    expect(await world.verify(early), "valid", "log_inclusion", "passed")
    # One that others know vouches for nothing: they could have stated another end of the one before.
    world.key(OTHER_CHECKPOINT_KEY, OPERATOR, facts_pb2.KEY_USE_CHECKPOINT, revision=3, compromised_from=NOW)
    expect(await world.verify(early), "not_determinable", "log_inclusion", "not_determinable")


async def test_what_came_in_a_later_log_came_later_than_the_news_of_a_compromise(world: World) -> None:
    world.key(OTHER_CHECKPOINT_KEY, OPERATOR, facts_pb2.KEY_USE_CHECKPOINT)
    world.key(PROVIDER_KEY, UCL, facts_pb2.KEY_USE_CREDENTIAL, revision=2, compromised_from=NOW - timedelta(minutes=1))
    world.log_facts()
    world.log = world.log.end(NEXT, OTHER_CHECKPOINT_KEY)
    verification = await world.verify(world.issue())
    expect(verification, "invalid", "log_inclusion", "failed")


def bundle_across(maker: Maker, *, held_back: bool = False) -> Bundle:
    """A bundle whose issuance is in the first log, and whose status was changed and listed in the next."""
    made = maker.make()
    last = maker.log.checkpoint()
    key = NoteKey(NEXT, from_b64url(OTHER_CHECKPOINT_KEY.public_jwk["x"]))
    following = NoteSigner(key, OTHER_CHECKPOINT_KEY.sign)
    statement = state_succession(Succession(last, key, last.size), SIGNER, following)
    token = maker.world.publisher.token()
    change = StatusChanged(LIST, PLACE, "revoked", NOW, NOW).to_bytes()
    # It reflects all leaves of the first log and two of the next: the statement's, and the change.
    listed = ListPublished(LIST, 2, sha256(token.encode()), last.size + 2).to_bytes()
    log = SampleLog(following).append([succession_leaf(statement).to_bytes(), change, listed])
    note = log.note(None, cosigner(0), cosigner(1), at=maker.witnessed)
    changed, shown = (ProvenLeaf(record, log.proof(index, note).text()) for index, record in ((1, change), (2, listed)))
    status = replace(
        made.status, token=token, list_leaf=shown, changes=[] if held_back else [changed], succession=(statement,)
    )
    return replace(made, status=status)


async def test_a_bundle_may_rest_on_two_logs(maker: Maker) -> None:
    maker.world.publisher.statuses[PLACE] = 1
    bundle = bundle_across(maker)
    assert await verdict(bundle) == "revoked"  # by a policy that names the first log alone
    assert await verdict(replace(bundle, status=replace(bundle.status, succession=()))) == "not_determinable"
    assert await verdict(bundle_across(maker, held_back=True)) == "not_determinable"


async def test_a_list_of_the_next_log_shows_what_was_changed_there_before_it(maker: Maker) -> None:
    # The list says valid, though its leaf says that it reflects the change: one of the two is not true.
    assert await verdict(bundle_across(maker)) == "not_determinable"


async def test_without_a_policy_the_registered_key_of_the_first_log_leads_to_the_next(maker: Maker) -> None:
    maker.world.publisher.statuses[PLACE] = 1
    bundle = bundle_across(maker)
    assert await verdict(bundle, None) == "revoked"
    assert await verdict(bundle, POLICY.without_witnesses()) == "revoked"


async def test_without_a_policy_a_log_is_followed_whose_first_key_was_given_up(maker: Maker) -> None:
    """Its end stands by the word of the key that followed; an earlier tree of that key's does not."""
    world = maker.world
    world.key(OTHER_CHECKPOINT_KEY, OPERATOR, facts_pb2.KEY_USE_CHECKPOINT)
    world.key(
        CHECKPOINT_KEY, OPERATOR, facts_pb2.KEY_USE_CHECKPOINT, revision=2, valid_until=NOW - timedelta(seconds=1)
    )
    world.publisher.statuses[PLACE] = 1
    bundle = bundle_across(maker)
    assert await verdict(bundle, None) == "revoked"
    assert await verdict(replace(bundle, status=replace(bundle.status, succession=())), None) == "not_determinable"
    earlier = maker.log.checkpoint().size - 1
    note = maker.log.note(earlier, cosigner(0), cosigner(1), at=maker.witnessed)
    proofs = {
        leaf_hash(entry).hex(): maker.log.proof(index, note, earlier).text()
        for index, entry in enumerate(maker.log.entries[:earlier])
    }
    found = await verify_bundle(
        replace(bundle, proofs={**bundle.proofs, **proofs}),
        registry_key=TRUST_KEY.key_id,
        registry_uri=REGISTRY,
        log_origin=ORIGIN,
        policy=None,
    )
    assert "LOG_KEY_RETIRED" in detail(found, "log_inclusion")


@pytest.fixture
def maker() -> Maker:
    return Maker()

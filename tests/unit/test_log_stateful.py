"""A log that grows, is published, is cut off anywhere, and is asked for proofs, beside a textbook model of RFC 6962."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.unit.log_samples import SampleLog
from vitne.audit.log_walk import LogWalk, Mark
from vitne.canonical import sha256
from vitne.merkle.hashing import leaf_hash
from vitne.merkle.memory import advance
from vitne.merkle.notes import Checkpoint
from vitne.merkle.proofs import verify_consistency, verify_inclusion
from vitne.merkle.resources import CHECKPOINT_PATH, decode_bundle, exists_at, resources_at, split_hashes


def textbook_root(entries: list[bytes]) -> bytes:
    """MTH(D[n]) as section 2.1 writes it, recursion and all."""
    if not entries:
        return sha256(b"")
    if len(entries) == 1:
        return sha256(b"\x00" + entries[0])
    k = 1
    while k * 2 < len(entries):
        k *= 2
    return sha256(b"\x01" + textbook_root(entries[:k]) + textbook_root(entries[k:]))


class LogMachine(RuleBasedStateMachine):
    """The log under test, what the model says of it, and a client that remembers."""

    @initialize()
    def begin(self) -> None:
        self.log = SampleLog()
        self.model: list[bytes] = []
        self.log.publish()
        self.client: Checkpoint = self.log.checkpoint()

    @rule(count=st.integers(1, 300))
    def append(self, count: int) -> None:
        entries = [b"%d" % number for number in range(len(self.model), len(self.model) + count)]
        self.log.append(entries)
        self.model += entries

    @rule(share=st.floats(0, 1))
    def crash_while_publishing(self, share: float) -> None:
        """Some files are written, and the checkpoint is not: it stays the old one, which must still hold."""
        files = list(resources_at(self.log.size, self.log.published))
        for resource in files[: int(share * len(files))]:
            self.log.files[resource.path] = self.log.resource(resource)

    @rule(count=st.integers(1, 50))
    def crash_while_appending(self, count: int) -> None:
        """A batch that is never committed leaves nothing behind: the next one is as if it had never been."""
        before = SampleLog(self.log.signer)
        before.entries, before.tiles = list(self.log.entries), dict(self.log.tiles)
        before.append(b"lost %d" % number for number in range(count))
        assert self.log.size == len(self.model)

    @rule()
    def publish(self) -> None:
        self.log.publish()

    @rule(choice=st.randoms(use_true_random=False))
    @precondition(lambda self: bool(self.model))
    def prove(self, choice: object) -> None:
        pick = choice.randint  # type: ignore[attr-defined]
        size = pick(1, len(self.model))
        index = pick(0, size - 1)
        root = textbook_root(self.model[:size])
        leaf = leaf_hash(self.model[index])
        path = self.log.proof(index, "", size).path
        verify_inclusion(leaf=leaf, index=index, size=size, path=path, root=root)
        earlier = pick(0, size)
        verify_consistency(
            from_size=earlier,
            to_size=size,
            from_root=textbook_root(self.model[:earlier]),
            to_root=root,
            path=self.log.consistency(earlier, size),
        )

    @rule()
    def read(self) -> None:
        """A client walks what is published, holds it to what it remembers, and remembers that."""
        published = Checkpoint.parse(self.log.files[CHECKPOINT_PATH].decode().partition("\n\n")[0] + "\n")
        assert published.root == textbook_root(self.model[: published.size])
        walk = LogWalk([Mark("client", self.client)])
        walk.aim(published)
        for resource in resources_at(published.size):
            data = self.log.files[resource.path]
            if resource.level is None:
                walk.take(resource, data, self.log.files[resource.path.replace("entries", "0")])
                assert decode_bundle(data, resource.width) == self.model[resource.first :][: resource.width]
            elif resource.level:
                walk.check_tile(resource, data)
            else:
                split_hashes(data, resource.width)
        assert [each for each in walk.finish() if not each.kind.startswith("leaf.")] == []
        path = self.log.consistency(self.client.size, published.size)
        self.client = advance(self.client, published, path)

    @invariant()
    def nothing_that_is_published_changes(self) -> None:
        """Full files are immutable, and every file is what the log has."""
        for resource in resources_at(self.log.size):
            if resource.full and resource.path in self.log.files:
                assert self.log.files[resource.path] == self.log.resource(resource)
            assert exists_at(resource, self.log.size)


TestLog = LogMachine.TestCase
TestLog.settings = settings(max_examples=25, stateful_step_count=15, deadline=None)

"""A log as it is published, in memory: static files that a test may read, serve or spoil, and witnesses."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from vitne.merkle.cosignatures import Cosigner, CosignerKey, cosign
from vitne.merkle.hashing import leaf_hash
from vitne.merkle.notes import Checkpoint, NoteKey, NoteSigner, sign_checkpoint
from vitne.merkle.policy import Policy
from vitne.merkle.proofs import make_proof, plan_consistency, plan_inclusion
from vitne.merkle.resources import CHECKPOINT_PATH, Resource, encode_bundle, resources_at
from vitne.merkle.tiles import Tile, TileId, TileReader, TileWriter, tiles_at
from vitne.merkle.tlog_proof import LogProof
from vitne.merkle.tree import root_at

ORIGIN = "log.vitne.example/2026"
T0 = datetime(2026, 11, 21, 10, tzinfo=UTC)


def private(number: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(number.to_bytes(32, "big"))


def note_signer(number: int = 1, origin: str = ORIGIN) -> NoteSigner:
    return NoteSigner(NoteKey(origin, private(number).public_key().public_bytes_raw()), private(number).sign)


def cosigner(number: int) -> Cosigner:
    key = private(100 + number)
    return Cosigner(CosignerKey(f"witness.example/w{number}", key.public_key().public_bytes_raw()), key.sign)


def policy_text(signer: NoteSigner, count: int, quorum: str) -> str:
    witnesses = [f"witness w{number} {cosigner(number).key.text}" for number in range(count)]
    group = [f"group all-of-them {quorum} {' '.join(f'w{number}' for number in range(count))}"] if count else []
    last = "quorum all-of-them" if count else "quorum none"
    return "\n".join([f"log {signer.key.text}", *witnesses, *group, last, ""])


class SampleLog:
    """Grows in tiles, as the ledger's database does, and publishes what it has."""

    def __init__(self, signer: NoteSigner | None = None) -> None:
        self.signer = signer or note_signer()
        self.entries: list[bytes] = []
        self.tiles: dict[TileId, Tile] = {}
        self.files: dict[str, bytes] = {}
        self.published = 0

    def append(self, entries: Iterable[bytes]) -> SampleLog:
        writer = TileWriter(self.size, {tile_id: self.tiles[tile_id] for tile_id in tiles_at(self.size)})
        added = list(entries)
        writer.extend([leaf_hash(entry) for entry in added])
        self.entries += added
        self.tiles |= writer.changed()
        return self

    @property
    def size(self) -> int:
        return len(self.entries)

    def checkpoint(self, size: int | None = None) -> Checkpoint:
        count = self.size if size is None else size
        reader = TileReader(self.tiles)
        return Checkpoint(self.signer.key.name, count, root_at(count, reader))

    def note(self, size: int | None = None, *witnesses: Cosigner, at: datetime = T0) -> str:
        checkpoint = self.checkpoint(size)
        lines = [cosign(checkpoint.text(), each, at) for each in witnesses]
        return sign_checkpoint(checkpoint, self.signer) + "".join(lines)

    def consistency(self, from_size: int, to_size: int) -> tuple[bytes, ...]:
        return tuple(make_proof(plan_consistency(from_size, to_size), TileReader(self.tiles)))

    def proof(self, index: int, note: str, size: int | None = None) -> LogProof:
        path = make_proof(plan_inclusion(index, self.size if size is None else size), TileReader(self.tiles))
        return LogProof(index, tuple(path), note)

    def resource(self, resource: Resource) -> bytes:
        if resource.level is None:
            return encode_bundle(self.entries[resource.first : resource.first + resource.width])
        return self.tiles[resource.tile_id].hashes[: resource.width * 32]

    def publish(self, *witnesses: Cosigner) -> SampleLog:
        for resource in resources_at(self.size, self.published):
            self.files[resource.path] = self.resource(resource)
        self.files[CHECKPOINT_PATH] = self.note(None, *witnesses).encode()
        self.published = self.size
        return self

    async def fetch(self, path: str) -> bytes | None:
        return self.files.get(path)

    @property
    def policy(self) -> Policy:
        return Policy.of_log(self.signer.key)

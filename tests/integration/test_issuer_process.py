"""The issuer's process: migrating both databases, and what it says when it was told too little."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from uuid import uuid4

import asyncpg

from vitne.dev.postgres import EmbeddedPostgres


async def run(*arguments: str, **settings: str) -> tuple[int, str]:
    """Exit code and output of ``python -m services.issuer``."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VITNE_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.issuer",
        *arguments,
        env=environment | {f"VITNE_{name.upper()}": value for name, value in settings.items()},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode is not None
    return process.returncode, output.decode()


async def tables(dsn: str) -> set[str]:
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    finally:
        await connection.close()
    return {row["tablename"] for row in rows}


async def test_migrating_brings_both_databases_up_to_date_and_keeps_them_apart(postgres: EmbeddedPostgres) -> None:
    names = [f"test_{uuid4().hex}" for _ in range(2)]
    dsn, keys_dsn = [await postgres.create_database(name) for name in names]
    try:
        settings = {"environment": "development", "database_dsn": dsn, "learner_keys_dsn": keys_dsn}
        code, output = await run("migrate", **settings)
        assert code == 0, output
        assert {"credential", "learner", "outbox", "request"} <= await tables(dsn)
        apart = {"learner_key", "erased_learner", "archived_credential", "archive_reading"}
        assert await tables(keys_dsn) == apart | {"schema_migration"}
        assert not apart & await tables(dsn)
        assert (await run("migrate", **settings))[0] == 0  # once more is harmless
    finally:
        for name in names:
            await postgres.drop_database(name)


async def test_it_says_which_setting_is_missing(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    code, output = await run(
        "serve", environment="development", database_dsn=postgres.dsn("postgres"), state_dir=str(tmp_path)
    )
    assert code == 1
    assert "VITNE_LEARNER_KEYS_DSN must be set" in output
    same = postgres.dsn("postgres")
    code, output = await run("migrate", environment="development", database_dsn=same, learner_keys_dsn=same)
    assert code == 2
    assert "another database" in output
    assert same.split(":")[2].split("@")[0] not in output  # the password

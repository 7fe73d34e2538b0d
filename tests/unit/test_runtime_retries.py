"""What channels repeat: what the contract calls safe, while the server is not there, within budget and deadline."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions

from tests.unit import runtime_probe
from vitne.runtime.channel import open_channel
from vitne.runtime.interceptors.chain import Chain
from vitne.runtime.interceptors.errors import ErrorsInterceptor
from vitne.runtime.retries import CONTRACT, MAX_ATTEMPTS, is_repeatable
from vitne.runtime.status import error_from_rpc
from vitne_api.ledger.v1 import ledger_pb2, ledger_pb2_grpc

METHODS = [method for service in CONTRACT for method in service.methods]
READS = ("Get", "List", "Fetch", "Decide", "Verify", "Preview", "Evaluate", "StatusAt")

Answer = Callable[[int, Any], Awaitable[Any]]


class Ledger(ledger_pb2_grpc.LedgerServiceServicer):
    """Answers a try by its number, the first being 1."""

    def __init__(self, answer: Answer) -> None:
        self.tries = 0
        self._answer = answer

    async def GetCheckpoint(self, _request: Any, context: Any) -> Any:  # noqa: N802 - the contract's name
        self.tries += 1
        return await self._answer(self.tries, context)


@contextlib.asynccontextmanager
async def serving(answer: Answer, address: str = "127.0.0.1:0") -> AsyncIterator[tuple[Ledger, str]]:
    server, ledger = grpc.aio.server(interceptors=[Chain([ErrorsInterceptor()])]), Ledger(answer)  # type: ignore[abstract]  # one method is all that is called
    ledger_pb2_grpc.add_LedgerServiceServicer_to_server(ledger, server)
    port = server.add_insecure_port(address)
    await server.start()
    try:
        yield ledger, f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


@contextlib.asynccontextmanager
async def checkpoints(address: str) -> AsyncIterator[Callable[..., Awaitable[Any]]]:
    """Calls of a method that only reads."""
    channel = open_channel(address, None)
    try:
        stub = ledger_pb2_grpc.LedgerServiceStub(channel)
        yield lambda **options: stub.GetCheckpoint(ledger_pb2.GetCheckpointRequest(), **options)
    finally:
        await channel.close()


async def answered(_number: int, _context: Any) -> Any:
    return ledger_pb2.GetCheckpointResponse()


async def unavailable(_number: int, context: Any) -> Any:
    await context.abort(grpc.StatusCode.UNAVAILABLE, "restarting")


async def code_of(call: Awaitable[Any]) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    code = caught.value.code()
    assert isinstance(code, grpc.StatusCode)
    return code


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_the_contract_says_of_each_method_whether_it_may_be_repeated(method: MethodDescriptor) -> None:
    level = method.GetOptions().idempotency_level
    if method.name.startswith(READS):
        assert level == MethodOptions.NO_SIDE_EFFECTS
    elif level == MethodOptions.IDEMPOTENT:
        # What makes it so: the key by which a repetition is known, in the request or the stream's first message.
        messages = [method.input_type, *(field.message_type for field in method.input_type.fields)]
        assert any("request_id" in message.fields_by_name for message in messages if message is not None)
    else:
        assert level == MethodOptions.IDEMPOTENCY_UNKNOWN
    assert is_repeatable(method) == (level != MethodOptions.IDEMPOTENCY_UNKNOWN and not method.client_streaming)


async def test_a_call_is_repeated_until_the_server_can_answer() -> None:
    async def third_time(number: int, context: Any) -> Any:
        return await (unavailable if number < 3 else answered)(number, context)

    async with serving(third_time) as (ledger, address), checkpoints(address) as call:
        await call()
        assert ledger.tries == 3


async def test_tries_are_few_and_further_and_further_apart() -> None:
    loop, moments = asyncio.get_running_loop(), []

    async def note(number: int, context: Any) -> Any:
        moments.append(loop.time())
        await unavailable(number, context)

    async with serving(note) as (ledger, address), checkpoints(address) as call:
        assert await code_of(call()) == grpc.StatusCode.UNAVAILABLE
        assert ledger.tries == MAX_ATTEMPTS
    assert moments[1] - moments[0] >= 0.07  # 0.1 s less a fifth, and what the clocks differ
    assert moments[4] - moments[3] >= 0.6  # 0.8 s less a fifth


@pytest.mark.parametrize("code", ["INTERNAL", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "ABORTED", "INVALID_ARGUMENT"])
async def test_other_refusals_are_not_repeated(code: str) -> None:
    async def refuse(_number: int, context: Any) -> Any:
        await context.abort(grpc.StatusCode[code], "no")

    async with serving(refuse) as (ledger, address), checkpoints(address) as call:
        assert await code_of(call()) == grpc.StatusCode[code]
        assert ledger.tries == 1


async def test_the_deadline_covers_all_tries() -> None:
    loop = asyncio.get_running_loop()
    async with serving(unavailable) as (ledger, address), checkpoints(address) as call:
        begun = loop.time()
        await code_of(call(timeout=0.4))
        assert loop.time() - begun < 1.1  # all tries would take 1.2 s and more
        assert ledger.tries < MAX_ATTEMPTS


async def test_the_budget_ends_repeating_where_everything_fails() -> None:
    async with serving(unavailable) as (ledger, address), checkpoints(address) as call:
        await asyncio.gather(*(code_of(call()) for _ in range(200)))
        assert 200 < ledger.tries < 300  # 1000 without a budget
        before = ledger.tries
        await code_of(call())
        assert ledger.tries == before + 1


async def test_a_restart_is_outlasted() -> None:
    async with serving(answered) as (_, address), checkpoints(address) as call:
        await call()
    async with checkpoints(address) as call:
        waiting = [asyncio.ensure_future(call()) for _ in range(10)]
        await asyncio.sleep(0.3)
        assert not any(task.done() for task in waiting)
        async with serving(answered, address):
            await asyncio.gather(*waiting)


@pytest.mark.parametrize("translated", [False, True])
async def test_what_was_repeated_further_on_is_not_repeated_again(translated: bool) -> None:
    async with serving(unavailable) as (last, last_address), checkpoints(last_address) as ask_last:

        async def pass_on(_number: int, _context: Any) -> Any:
            try:
                return await ask_last()
            except grpc.aio.AioRpcError as error:
                if translated:
                    raise error_from_rpc(error) from error
                raise

        async with serving(pass_on) as (first, address), checkpoints(address) as call:
            assert await code_of(call()) == grpc.StatusCode.UNAVAILABLE
            assert (first.tries, last.tries) == (1, MAX_ATTEMPTS)


async def test_a_method_of_which_the_contract_says_nothing_is_called_once() -> None:
    tries = 0

    async def refuse(_request: Any, context: Any) -> Any:
        nonlocal tries
        tries += 1
        await context.abort(grpc.StatusCode.UNAVAILABLE, "restarting")

    server = grpc.aio.server()
    runtime_probe.Servicer(Open=refuse).add_to(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    probe = descriptor_pool.Default().FindServiceByName(runtime_probe.SERVICE)
    channel = open_channel(f"127.0.0.1:{port}", None, services=[probe])
    assert await code_of(runtime_probe.call(channel, "Open")(runtime_probe.Part())) == grpc.StatusCode.UNAVAILABLE
    await channel.close()
    await server.stop(0)
    assert tries == 1

"""``python -m vitne.dev``: the embedded stack, and the demonstration that runs on it."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc
from aiokafka.errors import KafkaError

from vitne.dev.actors import Actors
from vitne.dev.demo import Demo
from vitne.dev.foreign import run_foreign
from vitne.dev.narrator import ExpectationFailed, Narrator
from vitne.dev.settings import STANDINGS
from vitne.dev.soak import soak as kill_and_compare
from vitne.dev.stack import SERVICES, Stack
from vitne.dev.story import tell
from vitne.errors import VitneError
from vitne.runtime.arguments import parsed
from vitne.runtime.status import error_from_rpc

#: Where state lives when VITNE_HOME does not say otherwise.
DEFAULT_HOME: Final = Path(".vitne")
#: Exit code of what Ctrl-C ended: 128 and the signal's number, as shells have it.
EXIT_INTERRUPTED: Final = 128 + signal.SIGINT
#: Witnesses that watch the log.
WITNESSES: Final = 2
#: Kills of a soak where nothing else is said.
DEFAULT_KILLS: Final = 1000
#: Which national rules the stack applies: more than an installation does that says nothing.
RULES: Final = (
    f"national rules that are {', '.join(STANDINGS)}: all count here, proposals too; "
    "an installation applies law and readings of it unless VITNE_STANDINGS names more"
)
#: What somebody does next who has seen the demonstration.
NEXT: Final = """Next:
  make up            the same stack, left running, with pages to look at
  docs/integrate.md  issue a credential of your own on it
  docs/verify.md     check one, as an employer would"""
MORE: Final = "\n(make demo VERBOSE=1 tells the details: every check, rule and page.)"
#: A Node program gets this long to read seven credentials; group formation takes some seconds of it.
INTEROP_SECONDS: Final = 120
#: A Go program gets this long to be compiled for the first time, its modules fetched, and to walk a small log.
GO_SECONDS: Final = 600


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says.

    Attributes:
        folder: where all state of the command's stack lives.
        kafka: ``apache``, ``apache-tls``, the address of a cluster, or empty for the embedded broker.
        tls: TLS everywhere.
        renew_topics: delete what a cluster has of an earlier run.
        kills: of a soak.
        seed: of a soak.
        verbose: of the demonstration: details, too.
    """

    folder: Path
    kafka: str
    tls: bool
    renew_topics: bool
    kills: int
    seed: int
    verbose: bool

    def stack(self, progress: Callable[[str], None]) -> Stack:
        """The stack as it is wanted, not started yet; ``progress`` is told what is started next."""
        return Stack(
            self.folder,
            kafka=self.kafka,
            tls=self.tls,
            renew_topics=self.renew_topics,
            witnesses=WITNESSES,
            progress=progress,
        )


async def demo(options: Options) -> None:
    """Run the whole job, print what happened, end."""
    started = time.monotonic()
    narrator = Narrator(verbose=options.verbose)
    if not options.verbose:
        _starting("PostgreSQL, a broker, a token issuer and Vitne's services")
    async with AsyncExitStack() as exits:
        stack = await exits.enter_async_context(options.stack(_starting if options.verbose else _ignore))
        actors = await exits.enter_async_context(Actors(stack))
        print(f"The stack is ready after {time.monotonic() - started:.1f} s (state and logs: {_shown(options.folder)})")
        print(f"  {stack.transport}\n  {RULES}")
        await tell(Demo(stack, actors, narrator, exits))
    among_details = narrator.held - narrator.told
    counted = f"the {narrator.told} marked ok above" + (
        f", and {among_details} among the details" * bool(among_details)
    )
    seconds = time.monotonic() - started
    print(f"\nDone in {seconds:.1f} s from the stack's start on; setup before it is not counted.")
    print(f"{narrator.held} expectations held: {counted}.")
    print(NEXT if options.verbose else NEXT + MORE)


async def up(options: Options) -> None:
    """Start the stack, fill it with the demonstration's data, print where it is, run until Ctrl-C."""
    with suppress(asyncio.CancelledError):
        async with AsyncExitStack() as exits:
            await _filled(options, exits)
            await asyncio.Event().wait()
    print("Stopped.")


async def _filled(options: Options, exits: AsyncExitStack) -> None:
    stack = await exits.enter_async_context(options.stack(_starting))
    actors = await exits.enter_async_context(Actors(stack))
    filled = Demo(stack, actors, Narrator(quiet=True), exits)
    await filled.fill()
    learner = filled.learner
    print("\nVitne is running, with the demonstration's data.\n")
    for service in SERVICES:
        # The issuer has nothing to show to people.
        page = f"{stack.http_url(service)}/" if service != "issuer" else ""
        print(f"  {service:<9} {page:<24} gRPC {stack.grpc_address(service)}  metrics {stack.metrics_url(service)}")
    print(f"  {'identity':<9} {stack.identity_url:<24} the development token issuer")
    print(f"  {'kafka':<9} {stack.kafka}, the hub's topic: {stack.hub_topic()}")
    print(f"  {'transport':<9} {stack.transport}")
    print(f"  {'rules':<9} {RULES}")
    name = f"{learner.given_name} {learner.family_name}"
    print(f"\n  Log in at {stack.portal_url}/login as {name} to see her credentials.")
    print(f"  Logs, traces and the clients' keys: {_shown(options.folder)}")
    environment = stack.write_environment(await stack.registry_key())
    print(f"  For the examples in docs/:  . {_shown(environment)}")
    print("\nCtrl-C ends it.", flush=True)


async def interop(options: Options) -> None:
    """Let programs in other languages read the hub's topic and fetch by handle, take a credential, and walk the log."""
    node = shutil.which("node")
    if node is None:
        raise ExpectationFailed("node is not on the PATH: this target needs Node 20 or newer")
    async with AsyncExitStack() as exits:
        stack = await exits.enter_async_context(options.stack(_starting))
        actors = await exits.enter_async_context(Actors(stack))
        job = Demo(stack, actors, Narrator(quiet=True), exits)
        await job.accredit()
        await job.issue()
        await job.aggregate()
        token = await actors.organisation(job.cases.hub).access_token()
        arguments = ["--bootstrap", stack.kafka, "--topic", stack.hub_topic(), "--issuer", stack.grpc_address("issuer")]
        arguments += ["--token", token, "--expect", str(len(job.issued))]
        await run_foreign("the Node program", INTEROP_SECONDS, node, "clients/examples/subscribe.mjs", *arguments)
        await _foreign_wallet(job, node)
        if (go := shutil.which("go")) is None:
            print("go is not on the PATH: the log was read by nobody else")
        else:
            own = ["--url", stack.http_url("ledger"), "--key", await stack.log_key()]
            own += ["--witnesses", ",".join(stack.witness_keys)]
            await run_foreign("the Go program", GO_SECONDS, go, "run", "-C", "tests/interop/tiles", ".", *own)
    print("Programs that share no code with us, given the contracts alone, read all that there was.")


async def _foreign_wallet(job: Demo, node: str) -> None:
    """Have a wallet that is not ours take a credential of the learner's, as its issuer signed it."""
    async with job.stack.browser() as browser:
        await browser.log_in(job.learner.value)
        offered = [await browser.offer_to_wallet(one["handle"]) for one in await browser.credentials()]
    offer = next((one for one in offered if one is not None), None)
    if offer is None:
        raise ExpectationFailed("none of the learner's credentials may be taken over to a wallet")
    command = [node, "tests/interop/wallet.mjs", offer.link, offer.tx_code]
    taken = json.loads(await run_foreign("the wallet", INTEROP_SECONDS, *command, read=True))
    if (taken["refused"], taken["format"]) != ("invalid_grant", "dc+sd-jwt"):
        raise ExpectationFailed("the wallet was not told that its transaction code was wrong")
    if taken["credential"] not in {one.artefact for one in job.issued.values()}:
        raise ExpectationFailed("the wallet holds something else than what was issued")


async def soak(options: Options) -> None:
    """Kill everything again and again under load; fail when the services disagree in the end."""
    async with options.stack(_starting) as stack, Actors(stack) as actors:
        report = await kill_and_compare(stack, actors, options.kills, seed=options.seed, progress=_telling)
    print()
    for line in report.lines():
        print(line)
    if not report.faultless:
        raise ExpectationFailed("something was lost, happened twice, or disagrees")


_COMMANDS: Final[dict[str, Callable[[Options], Coroutine[None, None, None]]]] = {
    "demo": demo,
    "up": up,
    "interop": interop,
    "soak": soak,
}


async def _stoppable(command: Callable[[Options], Coroutine[None, None, None]], options: Options) -> int:
    """Run a command that a signal stops, which says so at once: services take some seconds to end."""
    loop, running = asyncio.get_running_loop(), asyncio.current_task()
    assert running is not None  # noqa: S101 - a coroutine that runs is a task's

    def stop() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, lambda: None)  # Once is enough.
        print("\nStopping ...", flush=True)
        running.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    try:
        await command(options)
    except asyncio.CancelledError:
        return EXIT_INTERRUPTED
    return 0


def main() -> int:
    """The command line; 0 when everything held, 1 with a plain reason when something did not."""
    parser = argparse.ArgumentParser(prog="python -m vitne.dev", description=__doc__)
    parser.add_argument(
        "command", choices=sorted(_COMMANDS), help="demo: run the job and end; up: keep running; soak: kill everything"
    )
    parser.add_argument(
        "--home",
        type=Path,
        default=Path(os.environ.get("VITNE_HOME") or DEFAULT_HOME),
        help="folder for all state (VITNE_HOME; default: %(default)s)",
    )
    parser.add_argument(
        "--kafka",
        default=os.environ.get("KAFKA_BOOTSTRAP_SERVERS", ""),
        metavar="apache|apache-tls|HOST:PORT,...",
        help="instead of the embedded broker: 'apache' starts an Apache Kafka (needs Java 17 and Maven), 'apache-tls' "
        "one with client certificates and access rules, an address uses that cluster (KAFKA_BOOTSTRAP_SERVERS)",
    )
    parser.add_argument(
        "--tls",
        action="store_true",
        help="TLS between all parts, with certificates of an authority of the stack's own; with --kafka apache for "
        "Kafka, too, and the services run as in production",
    )
    parser.add_argument("--kills", type=int, default=DEFAULT_KILLS, help="of soak (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of soak's chances (default: %(default)s)")
    parser.add_argument(
        "--renew-topics", action="store_true", help="delete our topics of an earlier run from that cluster"
    )
    parser.add_argument("--verbose", action="store_true", help="of demo: every check, rule and page, too")
    arguments = parsed(parser, sys.argv[1:])
    folder: Path = arguments.home / arguments.command
    options = Options(
        folder,
        arguments.kafka,
        arguments.tls,
        arguments.renew_topics,
        arguments.kills,
        arguments.seed,
        arguments.verbose,
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return _unwritable(folder, error)
    try:
        return asyncio.run(_stoppable(_COMMANDS[arguments.command], options))
    except ExpectationFailed as error:
        return _failed(str(error), folder)
    except grpc.aio.AioRpcError as error:
        return _failed(str(error_from_rpc(error)), folder)
    except VitneError as error:
        return _failed(str(error), folder)
    except KafkaError as error:
        return _failed(_no_kafka(arguments.kafka, error, folder), folder)
    except (PermissionError, NotADirectoryError, FileExistsError) as error:
        return _unwritable(folder, error)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _unwritable(folder: Path, error: OSError) -> int:
    return _failed(f"{folder}: {error.strerror or error}\nVITNE_HOME has to be a folder that can be written", folder)


def _no_kafka(named: str, error: KafkaError, folder: Path) -> str:
    if named:
        return f"Kafka at {named!r}: {error}\nKAFKA= takes apache, apache-tls or host:port"
    return (
        f"the embedded broker runs, and did not answer in time\nmost likely the machine is busy: run it again when it "
        f"is less so, or look into {_shown(folder / 'broker' / 'broker.log')}"
    )


def _failed(reason: str, folder: Path) -> int:
    print(f"\nFAILED: {reason}\n(logs: {_shown(folder / 'logs')})", file=sys.stderr)
    return 1


def _starting(what: str) -> None:
    print(f"starting {what} …", flush=True)


def _ignore(_what: str) -> None:
    """Who wants the story alone is told once that all of it is started."""


def _telling(what: str) -> None:
    print(what, flush=True)


def _shown(path: Path) -> str:
    """A path as short as it can be told from here."""
    absolute = path.resolve()
    return str(absolute.relative_to(Path.cwd())) if absolute.is_relative_to(Path.cwd()) else str(absolute)


if __name__ == "__main__":
    raise SystemExit(main())

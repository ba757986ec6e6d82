"""The relay between the network and gRPC's server, over real sockets with a plain server behind it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from collector.receivers.memory import Memory
from collector.receivers.relay import Relay
from tests.support import until

LIMIT = 1000
MEBIBYTE = 1 << 20


def run(scenario: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # the loop that `serve` runs on
        runner.run(asyncio.wait_for(scenario, 60))


@dataclass
class Behind:
    """A server that takes what comes, sends ``greeting`` first, and may be told to wait."""

    greeting: bytes = b""
    taken: int = 0
    ended: int = 0
    may_read: asyncio.Event = field(default_factory=asyncio.Event)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        writer.write(self.greeting)
        await self.may_read.wait()
        with contextlib.suppress(ConnectionError):
            while piece := await reader.read(1 << 16):
                self.taken += len(piece)
        self.ended += 1
        await close(writer)


@dataclass
class Memories:
    """What the process is said to hold."""

    bytes: int = 0

    def resident(self) -> int:
        return self.bytes


@contextlib.asynccontextmanager
async def relaying(
    tmp_path: Path, behind: Behind, memories: Memories | None = None, connections: int = 100
) -> AsyncIterator[tuple[Relay, int]]:
    """A relay, and the port that it listens at."""
    server = await asyncio.start_unix_server(behind.serve, tmp_path / "socket")
    relay = Relay(Memory(LIMIT, (memories or Memories()).resident), connections)
    relay.path = str(tmp_path / "socket")
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setblocking(False)
    relay.listen([listening])
    try:
        yield relay, listening.getsockname()[1]
    finally:
        relay.close()
        server.close()
        behind.may_read.set()
        await server.wait_closed()
        await until(lambda: behind.ended == len(behind.writers))


async def close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


def test_bytes_and_ends_pass_both_ways(tmp_path: Path) -> None:
    """Even what the server says first, before the client is looked at."""

    async def scenario() -> None:
        behind = Behind(greeting=b"settings")
        behind.may_read.set()
        async with relaying(tmp_path, behind) as (relay, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            assert await reader.readexactly(8) == b"settings"
            writer.write(b"x" * MEBIBYTE)
            await until(lambda: behind.taken == MEBIBYTE)
            assert relay.connections == 1
            await close(writer)
            await until(lambda: behind.ended == 1)
            await until(lambda: relay.connections == 0)

            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            await reader.readexactly(8)
            behind.writers[-1].close()
            assert await reader.read() == b""
            await close(writer)

    run(scenario())


def test_a_server_that_takes_nothing_holds_its_client_back(tmp_path: Path) -> None:
    """What is on its way is bounded; all of it comes through afterwards."""

    async def scenario() -> None:
        behind = Behind()
        async with relaying(tmp_path, behind) as (_, port):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            sent = 0
            with contextlib.suppress(TimeoutError):
                while sent < 256 * MEBIBYTE:
                    writer.write(bytes(MEBIBYTE))
                    await asyncio.wait_for(writer.drain(), 1)
                    sent += MEBIBYTE
            assert sent < 32 * MEBIBYTE  # the buffers of four sockets
            behind.may_read.set()
            await close(writer)
            await until(lambda: behind.ended == 1)
            assert sent <= behind.taken <= sent + MEBIBYTE

    run(scenario())


def test_while_memory_is_short_little_is_taken_and_then_everything(tmp_path: Path) -> None:
    """20 clients send 16 MiB each; while memory is short that goes at some 100 MB a second at most."""

    async def scenario() -> None:
        behind, memories = Behind(), Memories()
        behind.may_read.set()
        async with relaying(tmp_path, behind, memories) as (_, port):
            writers = [(await asyncio.open_connection("127.0.0.1", port))[1] for _ in range(20)]
            await until(lambda: len(behind.writers) == 20)
            memories.bytes = LIMIT + 1
            for writer in writers:
                writer.write(bytes(16 * MEBIBYTE))
            await until(lambda: behind.taken > 4 * MEBIBYTE)
            before, started = behind.taken, time.monotonic()
            await asyncio.sleep(0.5)
            await until(lambda: behind.taken > before)
            assert behind.taken - before < 160 * MEBIBYTE * (time.monotonic() - started)
            memories.bytes = 0
            await until(lambda: behind.taken == 320 * MEBIBYTE)
            for writer in writers:
                await close(writer)
            await until(lambda: behind.ended == 20)

    run(scenario())


def test_who_comes_while_memory_is_short_is_let_in(tmp_path: Path) -> None:
    """Few at a time: a small request gets through."""

    async def scenario() -> None:
        behind, memories = Behind(greeting=b"settings"), Memories()
        behind.may_read.set()
        async with relaying(tmp_path, behind, memories) as (_, port):
            _, large = await asyncio.open_connection("127.0.0.1", port)
            memories.bytes = LIMIT + 1
            large.write(bytes(64 * MEBIBYTE))
            await until(lambda: behind.taken > 5 * MEBIBYTE)
            reader, small = await asyncio.open_connection("127.0.0.1", port)
            small.write(b"small")
            assert await reader.readexactly(8) == b"settings"
            await close(small)
            await until(lambda: behind.ended == 1)
            large.transport.abort()
            await close(large)

    run(scenario())


def test_connections_beyond_the_limit_are_closed(tmp_path: Path) -> None:
    async def scenario() -> None:
        behind = Behind(greeting=b"settings")
        async with relaying(tmp_path, behind, connections=2) as (relay, port):
            kept = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
            for reader, _ in kept:
                await reader.readexactly(8)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            assert await reader.read() == b""
            await close(writer)
            kept[0][1].close()
            behind.may_read.set()
            await until(lambda: relay.connections == 1)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            assert await reader.readexactly(8) == b"settings"
            await close(writer)
            kept[1][1].close()

    run(scenario())


def test_where_no_server_is_connections_end(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with relaying(tmp_path, Behind()) as (relay, port):
            relay.path = str(tmp_path / "gone")
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            assert await reader.read() == b""
            await close(writer)
            assert relay.connections == 0

    run(scenario())

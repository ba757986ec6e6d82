"""The one path of a request, for both transports: measure, inflate, admit, check, spool.

Each step returns a value or raises a Refusal. A request is acknowledged only after the spool has it on disk.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from collector.config import Config
from collector.log import Log
from collector.receivers import admission, compression
from collector.receivers.auth import Authenticator, Principal
from collector.receivers.status import Internal, NotSpooled, Refusal, Unavailable
from collector.spool import Record, SpoolFailed, SpoolFull
from semconv.settings import Encoding, Signal
from semconv.validity import Verdict

log = Log("intake")

Transport = Literal["http", "grpc"]

# Version of the rules of validity that a record in the spool was accepted under.
LIMITS_VERSION: Final = 1
# What a body costs in memory while it is handled, per byte: measured on typical requests of each encoding.
COST_PER_BYTE: Final[dict[Encoding, int]] = {"protobuf": 4, "json": 32}
# Up to this many bytes the event loop checks a body itself. What is ordinary takes a few
# ms then, less than a change of threads under load; the most spiteful body takes some 0.1 s.
INLINE_BYTES: Final[dict[Encoding, int]] = {"protobuf": 1 << 20, "json": 128 << 10}
_INLINE_PIECES: Final = 16


class SpoolLike(Protocol):
    async def append(self, record: Record) -> None: ...


class Telemetry(Protocol):
    """What the receivers count."""

    def received(self, signal: Signal, transport: Transport, items: int) -> None:
        """``items`` spans, log records or data points were accepted."""

    def refused(self, signal: Signal | None, transport: Transport, reason: str, items: int) -> None:
        """A request was refused, or ``items`` of one were rejected; 0 = refused before they were counted."""


class Budget:
    """Memory for requests in flight, as their cost. Not for use by several threads."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    @contextmanager
    def lease(self, encoding: Encoding) -> Iterator[Lease]:
        """Room for one request; what it took is free again at the end."""
        lease = Lease(self, COST_PER_BYTE[encoding])
        try:
            yield lease
        finally:
            self.used -= lease.cost


@dataclass(slots=True)
class Lease:
    """What one request has taken of the budget."""

    budget: Budget
    cost_per_byte: int
    cost: int = 0

    def grow(self, size: int) -> None:
        """Take room for ``size`` more bytes. Raises Unavailable, never while nothing else is in flight."""
        more = size * self.cost_per_byte
        used = self.budget.used
        if used + more > self.budget.limit and used > self.cost:
            raise Unavailable("too many large requests are being handled at this moment")
        self.budget.used = used + more
        self.cost += more


@dataclass(slots=True)
class Arrival:
    """What is known of a request besides its bytes."""

    signal: Signal
    encoding: Encoding
    transport: Transport
    principal: Principal
    lease: Lease


class Intake:
    """Accepts requests into the spool. For one event loop."""

    def __init__(self, spool: SpoolLike, config: Config, telemetry: Telemetry) -> None:
        self.limits = config.limits
        self.telemetry = telemetry
        self.authenticator = Authenticator(config.secrets())
        self.budget = Budget(config.limits.max_inflight_bytes)
        self._spool = spool
        # One thread: two parses at a time would hold twice the memory and run no faster under one lock.
        self._worker = ThreadPoolExecutor(1, "intake")

    async def accept(self, arrival: Arrival, body: bytes, content_encoding: str) -> Verdict:
        """The verdict on a request, once all of it that is valid is on disk.

        ``content_encoding`` is a coding of ``compression.inflate``, "" where the body is as it is.
        Raises Refusal, or whatever else ``as_refusal`` is to make one of.
        """
        if content_encoding:
            body = await self._inflate(arrival, compression.inflate(content_encoding, body))
        received_at = time.time_ns()
        verdict = await self._judge(arrival, body, received_at)
        if verdict.items > verdict.rejected:
            await self._store(_record(arrival, body, received_at), verdict.items)
        self.telemetry.received(arrival.signal, arrival.transport, verdict.items - verdict.rejected)
        for fault, items in verdict.faults.items():
            self.telemetry.refused(arrival.signal, arrival.transport, fault, items)
        return verdict

    async def _store(self, record: Record, items: int) -> None:
        try:
            await self._spool.append(record)
        except (SpoolFull, SpoolFailed) as error:
            raise NotSpooled(str(error), error.retry_after, items) from error

    async def _inflate(self, arrival: Arrival, pieces: Iterator[bytes]) -> bytes:
        inflated: list[bytes] = []
        size = 0
        while piece := await self._next(
            pieces, inline=size < compression.PIECE_BYTES and len(inflated) < _INLINE_PIECES
        ):
            size += len(piece)
            admission.check_size(size, arrival.encoding, self.limits)
            arrival.lease.grow(len(piece))
            inflated.append(piece)
        return await self.join(inflated, size)

    async def join(self, pieces: list[bytes], size: int) -> bytes:
        """The ``size`` bytes of ``pieces`` in one; copying many must not hold up the other requests."""
        if len(pieces) == 1:
            return pieces[0]
        if size <= compression.PIECE_BYTES:
            return b"".join(pieces)
        return await asyncio.get_running_loop().run_in_executor(self._worker, b"".join, pieces)

    async def _next(self, pieces: Iterator[bytes], *, inline: bool) -> bytes:
        if inline:
            return next(pieces, b"")
        return await asyncio.get_running_loop().run_in_executor(self._worker, next, pieces, b"")

    async def _judge(self, arrival: Arrival, body: bytes, received_at: int) -> Verdict:
        if len(body) <= INLINE_BYTES[arrival.encoding]:
            return self._check(arrival, body, received_at)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._worker, self._check, arrival, body, received_at)

    def _check(self, arrival: Arrival, body: bytes, received_at: int) -> Verdict:
        return admission.judge(arrival.signal, arrival.encoding, body, received_at, self.limits)

    def close(self) -> None:
        """After the transports have stopped."""
        self._worker.shutdown(wait=False)


def as_refusal(error: Exception) -> Refusal:
    """What to answer where ``error`` ended a request; our own trouble is retryable: nothing is lost."""
    if isinstance(error, Refusal):
        return error
    log.failed_on_data("a request could not be handled", error)
    return Internal("the request could not be handled; the server's log says why")


def _record(arrival: Arrival, body: bytes, received_at: int) -> Record:
    return Record(
        received_at=received_at,
        limits_version=LIMITS_VERSION,
        tenant=arrival.principal.tenant,
        billing_account=arrival.principal.billing_account,
        signal=arrival.signal,
        encoding=arrival.encoding,
        body=body,
    )

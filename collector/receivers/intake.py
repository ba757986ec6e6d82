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
from io import BytesIO
from typing import Any, Final, Literal, Protocol

from collector.config import Config
from collector.log import Log
from collector.receivers import admission, compression
from collector.receivers.auth import Authenticator, Principal
from collector.receivers.memory import SLOW_SECONDS, Memory
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
# A request of 1 MiB of protobuf is small: twice a full batch of an SDK. Small ones find room in an eighth more than
# the budget, and where that is not enough, they take the place of large ones that arrive slowly.
SMALL_COST: Final = 4 << 20
_SHARE_FOR_SMALL: Final = 8


class SpoolLike(Protocol):
    async def append(self, record: Record) -> None: ...


class Telemetry(Protocol):
    """What the receivers count."""

    def received(self, signal: Signal, transport: Transport, items: int) -> None:
        """``items`` spans, log records or data points were accepted."""

    def refused(self, signal: Signal | None, transport: Transport, reason: str, items: int) -> None:
        """A request was refused, or ``items`` of one were rejected; 0 = refused before they were counted."""


class Budget:
    """Memory for requests in flight, as their cost. For one event loop."""

    def __init__(self, limit: int, memory: Memory) -> None:
        self.limit = limit
        self.used = 0
        self._memory = memory
        self._arriving: set[Lease] = set()

    @contextmanager
    def lease(self, encoding: Encoding) -> Iterator[Lease]:
        """Room for one request of the current task; what it took is free again at the end.

        Raises Unavailable where it had to make room for others while it arrived.
        """
        lease = Lease(self, COST_PER_BYTE[encoding], asyncio.current_task(), time.monotonic())
        self._arriving.add(lease)
        try:
            yield lease
        except asyncio.CancelledError:
            if not lease.is_cut_off or (lease.task is not None and lease.task.uncancel()):
                raise
            raise Unavailable("it took too long to arrive while there was no room for others") from None
        finally:
            self.arrived(lease)
            self.used -= lease.cost
            if lease.cost > SMALL_COST:
                self._memory.give_back_soon()

    def arrived(self, lease: Lease) -> None:
        """All bytes of its request are here: it is not cut off any more."""
        self._arriving.discard(lease)

    def check_memory(self, lease: Lease, more: int) -> None:
        """Raises Unavailable where a request becomes large while memory is short and it is not alone."""
        if lease.cost + more > SMALL_COST and self.used > lease.cost and self._memory.is_short():
            raise Unavailable("memory is short at this moment")

    def take(self, lease: Lease, more: int) -> None:
        """Raises Unavailable where there is no room, never while nothing else is in flight."""
        is_small = lease.cost + more <= SMALL_COST
        limit = self.limit + (self.limit // _SHARE_FOR_SMALL if is_small else 0)
        while self.used + more > limit and self.used > lease.cost:
            if not (is_small and self._cut_off_slowest()):
                raise Unavailable("too many large requests are being handled at this moment")
        self.used += more
        lease.cost += more

    def _cut_off_slowest(self) -> bool:
        """End the largest of those that arrive slowly; False where there is none."""
        before = time.monotonic() - SLOW_SECONDS
        slow = (lease for lease in self._arriving if lease.since < before and lease.cost)
        lease = max(slow, key=lambda lease: lease.cost, default=None)
        if lease is None or lease.task is None:
            return False
        self._arriving.discard(lease)
        self.used, lease.cost, lease.is_cut_off = self.used - lease.cost, 0, True
        lease.task.cancel()
        return True


@dataclass(slots=True, eq=False)
class Lease:
    """What one request has taken of the budget, and the task that reads it."""

    budget: Budget
    cost_per_byte: int
    task: asyncio.Task[Any] | None
    since: float
    cost: int = 0
    is_cut_off: bool = False

    def grow(self, size: int) -> None:
        """Take room for ``size`` more bytes. Raises Unavailable, never while nothing else is in flight."""
        self.budget.check_memory(self, size * self.cost_per_byte)
        self.hold(size)

    def hold(self, size: int) -> None:
        """As ``grow``, for bytes that are in memory already."""
        self.budget.take(self, size * self.cost_per_byte)


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
        self.memory = Memory(config.limits.max_resident_bytes)
        self.budget = Budget(config.limits.max_inflight_bytes, self.memory)
        self._spool = spool
        # One thread: two parses at a time would hold twice the memory and run no faster under one lock.
        self._worker = ThreadPoolExecutor(1, "intake")

    async def accept(self, arrival: Arrival, body: bytes, content_encoding: str) -> Verdict:
        """The verdict on a request, once all of it that is valid is on disk.

        ``content_encoding`` is a coding of ``compression.inflate``, "" where the body is as it is.
        Raises Refusal, or whatever else ``as_refusal`` is to make one of.
        """
        self.budget.arrived(arrival.lease)
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
        # Grows in place: pieces that were joined at the end would be there twice.
        inflated = BytesIO()
        size = count = 0
        while piece := await self._next(
            pieces, inline=size < compression.PIECE_BYTES and count < _INLINE_PIECES
        ):
            size += len(piece)
            admission.check_size(size, arrival.encoding, self.limits)
            arrival.lease.grow(len(piece))
            inflated.write(piece)
            count += 1
        return inflated.getvalue()

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
    refusal = error
    if not isinstance(refusal, Refusal):
        log.failed_on_data("a request could not be handled", error)
        refusal = Internal("the request could not be handled; the server's log says why")
    # They lead to the frames that hold the request's bytes, which nobody needs while it is answered.
    error.__traceback__ = error.__context__ = error.__cause__ = None
    return refusal


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

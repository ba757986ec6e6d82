"""The spool: accepted requests rest here, on disk, from before their OK until the lake has them.

``Spool`` is the writing side (one process, one event loop); ``read_records``, ``resynchronise`` and ``free``
are the loader's. Requests that wait at the same time share one fdatasync.
"""

from __future__ import annotations

import asyncio
import math
import shutil
import time
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from collector.spool_files import (
    Position,
    SpoolDamaged,
    SpoolError,
    SpoolFailed,
    SpoolFull,
    bytes_on_disk,
    cut_torn_tail,
    end_of_records,
    free,
    read_records,
    resynchronise,
    segments,
)
from collector.spool_format import Record, encoded_size
from collector.spool_segment import SegmentWriter
from collector.store.durability import sync

__all__ = [
    "Position",
    "Record",
    "Spool",
    "SpoolDamaged",
    "SpoolError",
    "SpoolFailed",
    "SpoolFull",
    "free",
    "read_records",
    "resynchronise",
]

SEGMENT_BYTES: Final = 64 * 1024 * 1024
# Room comes back a segment at a time: of a small spool, one of 64 MiB would be all there is.
_SEGMENTS: Final = 8
# A segment is left this long after its first record, so that loaded bodies are unlinked within seconds.
SEGMENT_SECONDS: Final = 5.0
# min(4 GiB, 20 % of the free space), the default of the interface.
_MAX_BYTES: Final = 4 * 1024**3
_SHARE_OF_FREE: Final = 0.2
# Bounds what one sync makes its first waiter wait for.
_GROUP_BYTES: Final = 16 * 1024 * 1024
_RECOUNT_SECONDS: Final = 0.2
_PROBE_SECONDS: Final = 1.0
_RETRY_SECONDS: Final = 5.0
# The SDKs' largest default batch, 512 spans, is some 0.6 MB: with less room than this most requests are refused.
_ROOM: Final = 1 << 20
_ROOM_SHARE: Final = 8
# The exporters' own deadline for a request: a disk that takes longer answers nobody.
_STALLED_SECONDS: Final = 10.0
# What was written this long ago says enough about the disk.
_PROOF_SECONDS: Final = 5.0
_CHECK_SECONDS: Final = 1.0

State = Literal["ok", "full", "failed", "stalled"]


@dataclass(slots=True)
class _Waiting:
    record: Record
    size: int
    durable: asyncio.Future[None]


class Spool:
    """A bounded, durable queue of requests in ``directory``; open it with ``Spool.open``."""

    def __init__(
        self, directory: Path, writer: SegmentWriter, max_bytes: int, segment_seconds: float
    ) -> None:
        self.directory = directory
        self.max_bytes = max_bytes
        self.torn_bytes = 0  # cut at start-up
        self.left_over: Position | None = None  # end of what the last run had not freed
        self.failure: str | None = None  # why the disk refused last; None = it takes data
        self.on_durable: Callable[[Position], None] = lambda _position: None
        self._segment_seconds = segment_seconds
        self._writer = writer
        self._worker = ThreadPoolExecutor(1, "spool")
        self._durable = writer.position
        self._pending: deque[_Waiting] = deque()
        self._queued_bytes = 0
        self._refused_bytes = 0  # size of the last request that there was no room for, until there is
        self._committing: asyncio.Task[None] | None = None
        self._segment_timer: asyncio.TimerHandle | None = None
        self._probe_timer: asyncio.TimerHandle | None = None
        self._under_way: list[float] = []  # when each job of the worker was given to it
        self._proved_at = -_PROOF_SECONDS  # when the disk took data last
        self._chores: set[asyncio.Task[None]] = set()
        self._closed = False
        self._on_disk = bytes_on_disk(directory)
        self._counted_at = time.monotonic()

    @classmethod
    def open(
        cls,
        directory: Path,
        max_bytes: int | None = None,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        segment_seconds: float = SEGMENT_SECONDS,
    ) -> Spool:
        """Open or create the spool, cut a torn tail and start a new segment. Blocks; raises OSError."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        sync(directory.parent)
        torn, left_over = _cut_last(directory), end_of_records(directory)
        bound = _default_bound(directory) if max_bytes is None else max_bytes
        writer = SegmentWriter(directory, min(segment_bytes, bound // _SEGMENTS))
        spool = cls(directory, writer, bound, segment_seconds)
        spool.torn_bytes, spool.left_over = torn, left_over
        return spool

    @property
    def durable(self) -> Position:
        """Everything before this is on disk."""
        return self._durable

    @property
    def used_bytes(self) -> int:
        """Bytes on disk and waiting to get there; what the loader freed is seen within 200 ms."""
        if time.monotonic() - self._counted_at > _RECOUNT_SECONDS:
            self.recount()
        return self._on_disk + self._queued_bytes

    @property
    def state(self) -> State:
        """Whether an ordinary request would be accepted; if not, why."""
        used, room = self.used_bytes, min(_ROOM, self.max_bytes // _ROOM_SHARE)
        if self.failure is not None:
            return "failed"
        if time.monotonic() - min(self._under_way, default=math.inf) > _STALLED_SECONDS:
            return "stalled"
        return "full" if used + max(room, self._refused_bytes) >= self.max_bytes else "ok"

    def recount(self) -> None:
        """Count the bytes on disk now, after segments were freed."""
        self._counted_at = time.monotonic()
        try:
            self._on_disk = bytes_on_disk(self.directory)
        except OSError as cause:
            self._failed(cause)
        if self._on_disk + self._queued_bytes + self._refused_bytes <= self.max_bytes:
            self._refused_bytes = 0

    async def check(self) -> None:
        """Make ``state`` true of now: where nothing was written lately, find out whether the disk takes data.

        Returns within 1 s; that a disk hangs shows in ``state`` after a while.
        """
        known = self.failure is not None or bool(self._under_way) or self._closed
        if not known and time.monotonic() - self._proved_at > _PROOF_SECONDS:
            await asyncio.wait({self._start_chore(self._prove)}, timeout=_CHECK_SECONDS)

    async def append(self, record: Record) -> None:
        """Return once ``record`` is durable.

        Raises SpoolFull or SpoolFailed; after SpoolFailed the record may still be found by the loader.
        """
        size = encoded_size(record)
        self._admit(size)
        waiting = _Waiting(record, size, asyncio.get_running_loop().create_future())
        self._pending.append(waiting)
        self._queued_bytes += size
        if self._committing is None:
            self._committing = asyncio.create_task(self._commit_pending())
        await waiting.durable

    async def close(self) -> None:
        """Finish what is waiting, then close; safe twice."""
        self._closed = True
        for timer in (self._segment_timer, self._probe_timer):
            if timer is not None:
                timer.cancel()
        if self._committing is not None:
            await self._committing
        await asyncio.gather(*self._chores)
        self._writer.close()
        self._worker.shutdown()

    def _admit(self, size: int) -> None:
        if self._closed:
            raise SpoolFailed("it is closed", _RETRY_SECONDS)
        if self.used_bytes + size > self.max_bytes:
            # One that could never fit says nothing about how full the spool is.
            self._refused_bytes = size if size <= self.max_bytes else self._refused_bytes
            raise SpoolFull(_RETRY_SECONDS)

    async def _commit_pending(self) -> None:
        try:
            while self._pending:
                await self._commit(self._take_group())
        finally:
            self._committing = None

    def _take_group(self) -> list[_Waiting]:
        group = [self._pending.popleft()]
        size = group[0].size
        while self._pending and size + self._pending[0].size <= _GROUP_BYTES:
            group.append(self._pending.popleft())
            size += group[-1].size
        return group

    async def _commit(self, group: list[_Waiting]) -> None:
        """Write one group and answer every one of its waiters."""
        error: SpoolFailed | None = None
        try:
            position = await self._in_worker(lambda: self._writer.write([w.record for w in group]))
        except Exception as cause:  # of any kind: a waiter without an answer would hang its client
            error = self._failed(cause)
        else:
            self._advance(position)
            self._on_disk += sum(waiting.size for waiting in group)
        self._queued_bytes -= sum(waiting.size for waiting in group)
        for waiting in group:
            _answer(waiting.durable, error)

    def _advance(self, position: Position) -> None:
        moved = position != self._durable
        started = position[0] != self._durable[0] or self._durable[1] == 0
        self._durable, self.failure, self._proved_at = position, None, time.monotonic()
        if started and position[1] > 0:
            self._segment_timer = self._later(self._segment_timer, self._segment_seconds, self._leave_segment)
        if moved:
            # Not called from here: whatever it raises must not keep a waiter from its answer.
            asyncio.get_running_loop().call_soon(self.on_durable, position)

    def _failed(self, cause: Exception) -> SpoolFailed:
        """Remember why; a probe finds out when it is over, as no request may come that would."""
        # Without the path that an OSError names: everybody may read /readyz.
        self.failure = getattr(cause, "strerror", None) or str(cause)
        if self._probe_timer is None:
            self._probe_timer = self._later(None, _PROBE_SECONDS, self._probe)
        return SpoolFailed(self.failure, _RETRY_SECONDS)

    async def _leave_segment(self) -> None:
        if self.failure is None:  # else a probe starts the next one
            await self._on_writer(self._writer.start_segment)

    async def _probe(self) -> None:
        self._probe_timer = None
        if self.failure is not None:
            await self._on_writer(self._writer.probe)

    async def _prove(self) -> None:
        await self._on_writer(self._writer.check)

    async def _on_writer(self, job: Callable[[], Position]) -> None:
        try:
            self._advance(await self._in_worker(job))
        except Exception as cause:  # of any kind: the next probe must come
            self._failed(cause)

    async def _in_worker(self, job: Callable[[], Position]) -> Position:
        given = time.monotonic()
        self._under_way.append(given)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._worker, job)
        finally:
            self._under_way.remove(given)

    def _later(
        self, timer: asyncio.TimerHandle | None, delay: float, chore: Callable[[], Coroutine[Any, Any, None]]
    ) -> asyncio.TimerHandle | None:
        """A timer for ``chore`` in the place of ``timer``; none any more once the spool closes."""
        if timer is not None:
            timer.cancel()
        if self._closed:
            return None
        return asyncio.get_running_loop().call_later(delay, self._start_chore, chore)

    def _start_chore(self, chore: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
        task = asyncio.create_task(chore())
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)
        return task


def _cut_last(directory: Path) -> int:
    old = segments(directory)
    try:
        return cut_torn_tail(directory, old[-1]) if old else 0
    except OSError:
        return 0  # unreadable here is unreadable for the loader, which reports it; accepting goes on


def _answer(future: asyncio.Future[None], error: SpoolFailed | None) -> None:
    if future.done():
        return  # its client went away
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)


def _default_bound(directory: Path) -> int:
    usable = shutil.disk_usage(directory).free + bytes_on_disk(directory)
    return min(_MAX_BYTES, int(usable * _SHARE_OF_FREE))

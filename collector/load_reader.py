"""Extracted batches of what the spool holds, made by a process of their own: while one is committed, it makes the next.

Here, in a thread of the loader, is decided how much goes into a batch and when it is begun.
"""

from __future__ import annotations

import queue
import threading
import time
from typing import Final

from collector.config import Config
from collector.data_dir import SPOOL
from collector.load_batch import LARGEST_BATCH_BYTES, Batch, BatchReader, BodyLimits, whole
from collector.load_orders import Orders
from collector.spool_files import Position
from collector.worker import Worker
from semconv.settings import Settings

# How long the first request after a silence waits for company.
_GATHER_SECONDS: Final = 0.05
# A first guess, for protobuf spans of 25 attributes; measured from the first batch on.
_BYTES_PER_ITEM: Final = 1000.0
_SMALLEST_BATCH_BYTES: Final = 64 << 10
# One batch in commit, one being prepared or waiting: memory holds no more of them. A large request is alone: it
# takes 300 MB from here to the lake.
_BATCHES_IN_MEMORY: Final = 2


class SpoolReader:
    """Reads on from `start` as far as the spool is durable, for ever or until told to stop."""

    def __init__(self, config: Config, settings: Settings, start: Position | None, orders: Orders) -> None:
        """The number of spans in a batch is met by an estimate from bytes. Batches start at least the configured wait
        apart unless they are full.
        """
        self._max_items = config.loader.max_batch_spans
        self._max_wait_seconds = config.loader.max_wait_seconds
        self._position = start
        self._orders = orders
        self._bytes_per_item = _BYTES_PER_ITEM
        self._last_batch = 0.0
        self.spool = BatchReader(config.data_dir / SPOOL, settings, BodyLimits.of(config.limits))
        self._worker = Worker(self.spool)
        self._slots = threading.Semaphore(_BATCHES_IN_MEMORY)
        self._slots_taken: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._queue: queue.SimpleQueue[Batch | BaseException] = queue.SimpleQueue()

    def start(self) -> None:
        """Begin to read."""
        threading.Thread(target=self._run, name="spool-reader", daemon=True).start()

    def take(self, seconds: float) -> Batch | None:
        """The next batch, in order; None where none came within `seconds`. Say `done` when it is dealt with.

        Raises EndOfSpool once all that was durable at the order to stop has been given out, and WorkerEnded.
        """
        try:
            batch = self._queue.get(timeout=seconds)
        except queue.Empty:
            self._worker.check()
            return None
        if isinstance(batch, BaseException):
            raise batch
        return batch

    def done(self) -> None:
        """The batch taken last may be forgotten: there is room for another."""
        self._slots.release(self._slots_taken.get())

    def close(self) -> None:
        """End the process; what it was making is read again by whoever comes next."""
        self._worker.close()

    def _run(self) -> None:
        try:
            while (batch := self._next_batch()) is not None:
                self._queue.put(batch)
            self._queue.put(EndOfSpool())
        except BaseException as error:  # raised again where the batch is waited for
            self._queue.put(error)

    def _next_batch(self) -> Batch | None:
        self._slots.acquire()
        self._orders.wait_for(lambda _durable: True)
        if self._orders.durable is not None:
            self._notice_a_new_spool(self._orders.durable)
        self._orders.wait_for(lambda durable: self._backlog(durable) > 0)
        durable = self._orders.durable
        if durable is None or not self._backlog(durable):
            return None  # told to stop, and nothing left
        due = max(time.monotonic() + _GATHER_SECONDS, self._last_batch + self._max_wait_seconds)
        self._orders.wait_for(lambda end: self._backlog(end) >= self._budget(), due - time.monotonic())
        self._last_batch = time.monotonic()
        return self._made(self._orders.durable or durable)

    def _notice_a_new_spool(self, durable: Position) -> None:
        """A spool that counts from the start again (its directory was removed) is read from the start: what was
        loaded from the old one has no name here any more, and what is stored already is not stored twice.
        """
        if self._position is not None and durable[0] < self._position[0]:
            self._position = None

    def _backlog(self, durable: Position) -> float:
        """Bytes that are durable and not read; as good as endless where they are in several segments."""
        segment, offset = self._position or (0, 0)
        if segment == durable[0]:
            return max(0, durable[1] - offset)
        return float("inf") if segment < durable[0] else 0

    def _budget(self) -> int:
        wanted = int(self._bytes_per_item * self._max_items)
        return min(max(wanted, _SMALLEST_BATCH_BYTES), LARGEST_BATCH_BYTES)

    def _made(self, end: Position) -> Batch:
        slots, batch = 1, self._read(end, alone=False)
        if batch.is_too_large:
            self._slots.acquire()
            slots, batch = _BATCHES_IN_MEMORY, self._read(end, alone=True)
        self._slots_taken.put(slots)
        self._position = batch.position
        self._learn_from(batch)
        return batch

    def _read(self, end: Position, *, alone: bool) -> Batch:
        self._worker.give(self._position, end, self._budget(), alone)
        return whole(self._worker.take(), self.spool.settings)

    def _learn_from(self, batch: Batch) -> None:
        if batch.extracted is None or batch.origin is None:
            return
        counts = batch.extracted.counts
        items = counts["spans_read"] + counts["log_records_read"] + counts["metric_points_read"]
        if items:
            self._bytes_per_item = batch.origin.bytes / items


class EndOfSpool(Exception):  # noqa: N818 - not an error
    """The loader was told to stop, and everything that was durable has been given out."""

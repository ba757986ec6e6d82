"""From the spool to extracted batches, in a thread: while one batch is committed, the next is parsed."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from collector.config import Config
from collector.data_dir import SPOOL
from collector.load_orders import Orders
from collector.spool_files import Position, SpoolDamaged, read_records, resynchronise
from collector.spool_format import Record
from collector.store.load_row import Origin
from semconv.admission import admit
from semconv.extract import TABLES, Extracted, extract, joined
from semconv.otlp import DecodeError
from semconv.request import Request
from semconv.settings import Settings
from semconv.wire import TooMany

# How long the first request after a silence waits for company.
_GATHER_SECONDS: Final = 0.05
# A first guess, for protobuf spans of 25 attributes; measured from the first batch on.
_BYTES_PER_ITEM: Final = 1000.0
_PIECE_BYTES: Final = 2 << 20
_SMALLEST_BATCH_BYTES: Final = 64 << 10
# A batch is no larger than this, or one request: those have up to 64 MiB.
_LARGEST_BATCH_BYTES: Final = 32 << 20
# Of rows: they repeat what their requests say once, so some requests are small and their rows are not.
_LARGEST_BATCH_ROWS: Final = 128 << 20
# One batch in commit, one being prepared or waiting: memory holds no more of them. A large request is alone: it
# takes 300 MB from here to the lake.
_BATCHES_IN_MEMORY: Final = 2


Requests = list[tuple[Position, Request]]  # each with the spool position after it


@dataclass(slots=True)
class Batch:
    """Requests, from the spool position `start` on, and what came out of them, or why nothing did.

    Once that is tried they are forgotten: they are in the spool, and hardly ever wanted again.
    """

    start: Position | None
    position: Position
    requests: Requests = field(default_factory=list)
    origin: Origin | None = None
    extracted: Extracted | None = None
    error: Exception | None = None
    bytes: int = 0
    skipped: bool = False  # something was put aside: bytes that are no records, or requests that are too much
    slots: int = 1  # how many of the batches that memory may hold it counts as


class SpoolReader:
    """Reads on from `start` as far as the spool is durable, for ever or until told to stop."""

    def __init__(
        self,
        config: Config,
        settings: Settings,
        start: Position | None,
        orders: Orders,
        on_damage: Callable[[SpoolDamaged, Position], None],
        on_refused: Callable[[Position, Request, Exception], None],
    ) -> None:
        """`on_damage` is told of bytes that are no records, and where reading goes on, `on_refused` of requests that
        the limits do not let anybody parse.

        The number of spans in a batch is met by an estimate from bytes. Batches start at least the configured wait
        apart unless they are full.
        """
        self._directory = config.data_dir / SPOOL
        self._settings = settings
        self._limits = config.limits
        self._max_items = config.loader.max_batch_spans
        self._max_wait_seconds = config.loader.max_wait_seconds
        self._position = start
        self._orders = orders
        self._on_damage = on_damage
        self._on_refused = on_refused
        self._bytes_per_item = _BYTES_PER_ITEM
        self._last_batch = 0.0
        self._slots = threading.Semaphore(_BATCHES_IN_MEMORY)
        self._taken = 0
        self._queue: queue.SimpleQueue[Batch | BaseException] = queue.SimpleQueue()

    def start(self) -> None:
        """Begin to read."""
        threading.Thread(target=self._run, name="spool-reader", daemon=True).start()

    def take(self, seconds: float) -> Batch | None:
        """The next batch, in order; None where none came within `seconds`. Say `done` when it is dealt with.

        Raises EndOfSpool once all that was durable at the order to stop has been given out.
        """
        try:
            batch = self._queue.get(timeout=seconds)
        except queue.Empty:
            return None
        if isinstance(batch, BaseException):
            raise batch
        self._taken = batch.slots
        return batch

    def done(self) -> None:
        """The batch taken last may be forgotten: there is room for another."""
        self._slots.release(self._taken)

    def read_again(self, batch: Batch) -> Requests:
        """The requests of a batch, once more."""
        requests: Requests = []
        with suppress(SpoolDamaged):  # where the batch ended
            for position, record in read_records(self._directory, batch.start, batch.position):
                request = _request(record)
                with suppress(TooMany, DecodeError):
                    self._admit(request)
                    requests.append((position, request))
        return requests

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
        batch = self._read(self._orders.durable or durable)
        if batch.bytes > _LARGEST_BATCH_BYTES:
            self._slots.acquire()
            batch.slots = _BATCHES_IN_MEMORY
        self._extract(batch)
        batch.origin = origin_of(batch.requests, batch.position)
        batch.requests.clear()
        return batch

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
        return min(max(wanted, _SMALLEST_BATCH_BYTES), _LARGEST_BATCH_BYTES)

    def _read(self, end: Position) -> Batch:
        batch = Batch(self._position, self._position or (0, 0))
        budget = self._budget()
        try:
            for position, record in read_records(self._directory, self._position, end):
                if batch.bytes and batch.bytes + len(record.body) > _LARGEST_BATCH_BYTES:
                    return batch  # it is read again for the next
                self._add(batch, position, _request(record))
                batch.position = self._position = position
                if batch.bytes >= budget:
                    return batch
            self._position = batch.position = end
        except SpoolDamaged as damage:
            self._position = batch.position = self._pass_over(damage, end)
            batch.skipped = True
        return batch

    def _add(self, batch: Batch, position: Position, request: Request) -> None:
        """Take a request into the batch if it may be parsed: the spool may hold what older limits let in."""
        try:
            self._admit(request)
        except (TooMany, DecodeError) as error:
            self._on_refused(position, request, error)
            batch.skipped = True
        else:
            batch.requests.append((position, request))
            batch.bytes += len(request.body)

    def _admit(self, request: Request) -> None:
        admit(request.signal, request.encoding, request.body, self._limits)

    def _pass_over(self, damage: SpoolDamaged, end: Position) -> Position:
        resumed = resynchronise(self._directory, damage.segment, damage.offset, end)
        self._on_damage(damage, resumed)
        return resumed

    def _extract(self, batch: Batch) -> None:
        try:
            batch.extracted, used = extract_in_pieces(
                [request for _, request in batch.requests],
                self._settings,
                # What was passed over with the last requests must not be met again.
                largest=None if batch.skipped else _LARGEST_BATCH_ROWS,
            )
        except Exception as error:  # whatever it is, the request that causes it is looked for
            batch.error = error
            return
        if used < len(batch.requests):
            self._put_back(batch, used)
        counts = batch.extracted.counts
        items = counts["spans_read"] + counts["log_records_read"] + counts["metric_points_read"]
        if items:
            self._bytes_per_item = batch.bytes / items

    def _put_back(self, batch: Batch, used: int) -> None:
        """Leave all but the first requests to the next batch."""
        del batch.requests[used:]
        batch.bytes = sum(len(request.body) for _, request in batch.requests)
        batch.position = self._position = batch.requests[-1][0]


class EndOfSpool(Exception):  # noqa: N818 - not an error
    """The loader was told to stop, and everything that was durable has been given out."""


def origin_of(requests: Requests, end: Position) -> Origin:
    """Where they come from, as their row in `loads` says it."""
    received = [request.received_at for _, request in requests]
    return Origin(
        source="otlp",
        position=end,
        requests=len(requests),
        bytes=sum(len(request.body) for _, request in requests),
        first_received_at=min(received, default=None),
        last_received_at=max(received, default=None),
    )


def extract_in_pieces(
    requests: Sequence[Request], settings: Settings, largest: int | None = None
) -> tuple[Extracted, int]:
    """As `extract`, but the Python objects of only some 2,000 spans exist at a time.

    Ends with the piece that brings the rows to `largest` bytes; the number is that of the requests until then.
    """
    pieces: list[Extracted] = []
    used = rows = 0
    for piece in _pieces(requests):
        extracted = extract(piece, settings)
        pieces.append(extracted)
        used += len(piece)
        rows += _bytes_of_rows(extracted)
        if largest is not None and rows >= largest:
            break
    return joined(pieces or [extract([], settings)]), used


def _pieces(requests: Sequence[Request]) -> Iterator[list[Request]]:
    piece: list[Request] = []
    size = 0
    for request in requests:
        piece.append(request)
        size += len(request.body)
        if size >= _PIECE_BYTES:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece


def _bytes_of_rows(extracted: Extracted) -> int:
    return sum(getattr(extracted, name).nbytes for name in TABLES)


def _request(record: Record) -> Request:
    return Request(
        signal=record.signal,
        encoding=record.encoding,
        body=record.body,
        received_at=record.received_at,
        tenant=record.tenant,
        billing_account=record.billing_account,
    )

"""From the spool to one extracted batch: the work of the process beside the loader (collector/load_reader.py)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from collector.spool_files import Position, SpoolDamaged, read_records, resynchronise
from collector.spool_format import Record
from collector.store.load_row import Origin
from semconv.admission import Limits, admit
from semconv.extract import TABLES, Extracted, extract, joined
from semconv.otlp import DecodeError
from semconv.request import Request
from semconv.settings import Settings
from semconv.wire import TooMany

# A batch is no larger than this, or one request: those have up to 64 MiB.
LARGEST_BATCH_BYTES: Final = 32 << 20
# Of rows: they repeat what their requests say once, so some requests are small and their rows are not.
_LARGEST_BATCH_ROWS: Final = 128 << 20
_PIECE_BYTES: Final = 2 << 20

Requests = list[tuple[Position, Request]]  # each with the spool position after it


Refusal = TooMany | DecodeError


@dataclass(frozen=True, slots=True)
class Refused:
    """A request between two positions of the spool that must not be parsed, and why."""

    start: Position
    end: Position
    error: Refusal


@dataclass(slots=True)
class Batch:
    """What the requests between two positions of the spool gave, or why nothing came out of them.

    They themselves are forgotten: they are in the spool, and hardly ever wanted again.
    """

    start: Position | None
    position: Position
    origin: Origin | None = None
    extracted: Extracted | None = None
    error: str | None = None
    refused: list[Refused] = field(default_factory=list)
    # Bytes that are no records lie before the end of the batch.
    damage: SpoolDamaged | None = None
    # There is nothing in it yet: the next request is larger than a batch, and has to come alone.
    is_too_large: bool = False

    @property
    def skips(self) -> bool:
        """Whether something between its positions is to be put aside."""
        return bool(self.refused) or self.damage is not None


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """The part of the configured limits that says what may be parsed."""

    max_request_bytes: int
    max_json_bytes: int
    max_spans: int
    max_nodes: int
    max_depth: int

    @staticmethod
    def of(limits: Limits) -> BodyLimits:
        return BodyLimits(*(getattr(limits, name) for name in BodyLimits.__slots__))


@dataclass(frozen=True, slots=True)
class BatchReader:
    """Reads one spool directory. Can be sent to another process."""

    directory: Path
    settings: Settings
    limits: BodyLimits

    def __call__(
        self, start: Position | None, end: Position, budget: int, alone: bool
    ) -> Iterator[Extracted | Batch]:
        """The requests after ``start`` up to ``end`` until their bodies have ``budget`` bytes; one that is larger
        than a batch may be comes only where it may stand ``alone``. Yields the rows in pieces, in the end the batch
        they belong to (see ``whole``)."""
        batch, requests = Batch(start, start or (0, 0)), Requests()
        try:
            self._read(batch, requests, end, budget, alone)
        except SpoolDamaged as damage:
            batch.position = resynchronise(self.directory, damage.segment, damage.offset, end)
            batch.damage = damage
        if not batch.is_too_large:
            yield from self._extract(batch, requests)
            batch.origin = origin_of(requests, batch.position)
        yield batch

    def again(self, start: Position | None, end: Position) -> Requests:
        """The requests of a batch that may be parsed, once more."""
        requests = Requests()
        with suppress(SpoolDamaged):  # where the batch ended
            for position, record in read_records(self.directory, start, end):
                request = _request(record)
                if self._refusal(request) is None:
                    requests.append((position, request))
        return requests

    def request_of(self, refused: Refused) -> Request:
        """The one that was refused."""
        _, record = next(read_records(self.directory, refused.start, refused.end))
        return _request(record)

    def _read(self, batch: Batch, requests: Requests, end: Position, budget: int, alone: bool) -> None:
        size = 0
        for position, record in read_records(self.directory, batch.start, end):
            request = _request(record)
            is_first = size == 0
            size += len(request.body)
            if size > LARGEST_BATCH_BYTES and not (is_first and alone):
                batch.is_too_large = is_first
                return  # it is read again for the next
            if error := self._refusal(request):
                batch.refused.append(Refused(batch.position, position, error))
            else:
                requests.append((position, request))
            batch.position = position
            if size >= budget:
                return
        batch.position = end

    def _refusal(self, request: Request) -> Refusal | None:
        """Why it must not be parsed: the spool may hold what older limits let in."""
        try:
            admit(request.signal, request.encoding, request.body, self.limits)
        except (TooMany, DecodeError) as error:
            return error
        return None

    def _extract(self, batch: Batch, requests: Requests) -> Iterator[Extracted]:
        used = rows = 0
        try:
            for piece in _pieces(requests):
                extracted = extract(piece, self.settings)
                used += len(piece)
                rows += sum(getattr(extracted, name).nbytes for name in TABLES)
                yield extracted
                if rows >= _LARGEST_BATCH_ROWS:
                    break
        except Exception as error:  # whatever it is, the request that causes it is looked for
            batch.error = type(error).__name__
            return
        if used < len(requests):
            _put_back(batch, requests, used)


def whole(parts: Sequence[Extracted | Batch], settings: Settings) -> Batch:
    """What a BatchReader yielded, in one."""
    *pieces, batch = parts
    assert isinstance(batch, Batch)  # noqa: S101 - it comes last
    if batch.error is None and not batch.is_too_large:
        rows = [piece for piece in pieces if isinstance(piece, Extracted)]
        batch.extracted = joined(rows or [extract([], settings)])
    return batch


def _put_back(batch: Batch, requests: Requests, used: int) -> None:
    """Leave all but the first requests, and what lies between them, to the next batch."""
    del requests[used:]
    batch.position = requests[-1][0]
    batch.refused = [refused for refused in batch.refused if refused.end <= batch.position]
    batch.damage = None


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


def _pieces(requests: Requests) -> Iterator[list[Request]]:
    """In turn some 2,000 spans' worth: of no more do Python objects exist at a time."""
    piece: list[Request] = []
    size = 0
    for _, request in requests:
        piece.append(request)
        size += len(request.body)
        if size >= _PIECE_BYTES:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece


def _request(record: Record) -> Request:
    return Request(
        signal=record.signal,
        encoding=record.encoding,
        body=record.body,
        received_at=record.received_at,
        tenant=record.tenant,
        billing_account=record.billing_account,
    )

"""Load inputs into the lake by the same steps as live data: extract, resolve, commit."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from collector.backfill.parts import Chunk, Rejected
from collector.backfill.reader import one_by_one, read_chunks
from collector.backfill.report import FileReport
from collector.backfill.seen import Seen
from collector.backfill.source import Source, UnreadableInput
from collector.backfill.steps import RECORDS, cut_into_steps, rows
from collector.store.load_row import LoadRow, Origin
from semconv.extract import Extracted, extract
from semconv.request import Request
from semconv.settings import Settings, Signal
from semconv.validity import DecodeError, check

# Requests are extracted together up to this size: a table for each costs time.
_GROUP_BYTES: Final = 4 << 20
# Rows are sorted and stored when there are so many of them, or they take up so much memory.
_BATCH_ROWS: Final = 200_000
_BATCH_BYTES: Final = 256 << 20
# Rows a commit: the writer lock is held for well under a second, and the server's loader waits no longer.
_STEP_ROWS: Final = 20_000


class Store(Protocol):
    """What is needed of ``collector.store.commit.Committer``."""

    def commit(self, extracted: Extracted, origin: Origin, *, dry_run: bool = False) -> LoadRow: ...


@dataclass(frozen=True, slots=True)
class Options:
    """``signal`` settles what a protobuf input holds where that cannot be told; ``scratch`` is a directory
    for temporary files (None = the system's)."""

    settings: Settings
    signal: Signal | None = None
    dry_run: bool = False
    scratch: Path | None = None


class Backfill:
    """Loads one input after the other through ``store``; ``progress`` is told how many bytes are read."""

    def __init__(self, store: Store, options: Options, seen: Seen | None = None) -> None:
        self._store = store
        self._options = options
        self._seen = seen

    def load(self, path: str, progress: Callable[[int], None] = lambda _: None) -> FileReport:
        """Loads a file, or standard input for ``-``. What is wrong with the input stands in the report;
        raises OSError where it cannot be opened or read, and what the store raises."""
        report = FileReport(path)
        try:
            source = Source.open(path)
        except UnreadableInput as error:
            report.error = str(error)
            return report
        try:
            self._load(source, report, progress)
        except UnreadableInput as error:
            report.error = str(error)
        finally:
            source.close()
            report.bytes = source.consumed
        return report

    def _load(self, source: Source, report: FileReport, progress: Callable[[int], None]) -> None:
        batch = _Batch(self._options, source, report)
        for part in read_chunks(source, self._options.signal, self._options.scratch):
            batch.add(part)
            if batch.full:
                self._flush(batch, report)
            progress(source.consumed)
        self._flush(batch, report)
        progress(source.consumed)

    def _flush(self, batch: _Batch, report: FileReport) -> None:
        origin = batch.take_origin()
        for step in cut_into_steps(batch.take(), _STEP_ROWS):
            report.counts.update(self._commit(step, origin))
            # The requests are counted with the first step.
            origin = Origin(origin.source, None, 0, 0, origin.first_received_at, origin.last_received_at)

    def _commit(self, step: Extracted, origin: Origin) -> Counter[str]:
        repeated: Counter[str] = Counter()
        if self._seen is not None:
            step, repeated = self._seen.without_repeated(step)
        if not rows(step):
            return step.counts + repeated
        row = self._store.commit(step, origin, dry_run=self._options.dry_run)
        return Counter({name: getattr(row, name) for name in _COUNTS}) + repeated


_COUNTS: Final = (
    *(
        f"{signal}_{outcome}"
        for signal in RECORDS
        for outcome in ("read", "stored", "duplicate", "not_kept", "rejected")
    ),
    "calls_written",
)


class _Batch:
    """Chunks on their way to rows: extracted in groups, kept until there are enough to sort and store."""

    def __init__(self, options: Options, source: Source, report: FileReport) -> None:
        self._options = options
        self._report = report
        self._source = f"backfill:{source.name}"
        self._received_at = source.modified_at or time.time_ns()
        self._group: list[Chunk] = []
        self._group_bytes = 0
        self._extracted: list[Extracted] = []
        self._rows = 0
        self._bytes = 0
        self._requests = 0
        self._request_bytes = 0

    @property
    def full(self) -> bool:
        return self._rows >= _BATCH_ROWS or self._bytes >= _BATCH_BYTES

    def add(self, part: Chunk | Rejected) -> None:
        if isinstance(part, Rejected):
            self._reject(part)
            return
        self._group.append(part)
        self._group_bytes += len(part.body)
        if self._group_bytes >= _GROUP_BYTES:
            self._extract_group()

    def take(self) -> list[Extracted]:
        """Everything added since the last time."""
        self._extract_group()
        taken, self._extracted, self._rows, self._bytes = self._extracted, [], 0, 0
        return taken

    def take_origin(self) -> Origin:
        self._extract_group()
        origin = Origin(
            self._source, None, self._requests, self._request_bytes, self._received_at, self._received_at
        )
        self._requests = self._request_bytes = 0
        return origin

    def _extract_group(self) -> None:
        group, self._group, self._group_bytes = self._group, [], 0
        if group:
            self._extract(group)

    def _extract(self, chunks: list[Chunk]) -> None:
        try:
            extracted = extract(map(self._request, chunks), self._options.settings)
        except DecodeError as error:
            self._extract_apart(chunks, str(error.__cause__ or error))
            return
        if any(extracted.counts[f"{signal}_rejected"] for signal in RECORDS):
            self._explain(chunks)
        self._extracted.append(extracted)
        self._rows += rows(extracted)
        self._bytes += sum(getattr(extracted, name).nbytes for name in (*RECORDS, "contents"))
        self._requests += len(chunks)
        self._request_bytes += sum(len(chunk.body) for chunk in chunks)

    def _extract_apart(self, chunks: list[Chunk], problem: str) -> None:
        """One of the chunks cannot be decoded: find it, and of its records keep the sound ones."""
        if len(chunks) > 1:
            for chunk in chunks:
                self._extract([chunk])
            return
        records = list(one_by_one(chunks[0], self._options.scratch))
        if len(records) < 2:
            self._reject(Rejected(chunks[0].where, problem))
            return
        for record in records:
            if isinstance(record, Rejected):
                self._reject(record)
            else:
                self._extract([record])

    def _explain(self, chunks: list[Chunk]) -> None:
        """Why single records were rejected: the judgement that a live request would have got."""
        for chunk in chunks:
            verdict = check(chunk.signal, chunk.encoding, chunk.body, self._received_at)
            apart = list(one_by_one(chunk, self._options.scratch)) if len(verdict.reasons) > 1 else []
            if len(apart) > 1:
                self._explain([record for record in apart if isinstance(record, Chunk)])
                continue
            # Only data points of one metric can still have several reasons; the first one gets the rest.
            for reason in verdict.reasons[1:]:
                self._report.add_problem(chunk.where, reason)
            for reason in verdict.reasons[:1]:
                self._report.add_problem(chunk.where, reason, verdict.rejected - len(verdict.reasons) + 1)

    def _reject(self, part: Rejected) -> None:
        self._report.unreadable += 1
        self._report.add_problem(part.where, part.reason)

    def _request(self, chunk: Chunk) -> Request:
        return Request(chunk.signal, chunk.encoding, chunk.body, self._received_at, source=self._source)

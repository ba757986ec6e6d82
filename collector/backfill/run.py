"""Load inputs into the lake by the same steps as live data: extract, resolve, commit."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol

from collector.backfill.extraction import Group, Job
from collector.backfill.parts import Chunk, Rejected
from collector.backfill.reader import read_chunks
from collector.backfill.report import OUTCOMES, FileReport
from collector.backfill.seen import Seen
from collector.backfill.source import Source, UnreadableInput
from collector.backfill.steps import RECORDS, cut_into_steps, rows
from collector.backfill.workers import Workers
from collector.store.load_row import LoadRow, Origin
from semconv.extract import Extracted
from semconv.settings import Settings, Signal

# Requests are extracted together up to this size: a table for each costs time.
_GROUP_BYTES: Final = 4 << 20
# Rows are sorted and stored when there are so many of them, or they take up so much memory.
_BATCH_ROWS: Final = 200_000
_BATCH_BYTES: Final = 192 << 20
# Rows a commit: the writer lock is held for well under a second, and the server's loader waits no longer.
_STEP_ROWS: Final = 20_000

Progress = Callable[[int], None]


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
    """Loads one input after the other through ``store``; a context manager, for it has threads and processes.

    While one batch is stored, the next one is read and extracted.
    """

    def __init__(self, store: Store, options: Options, seen: Seen | None = None) -> None:
        self._options = options
        self._workers = Workers()
        self._writer = _Writer(store, options.dry_run, seen)

    def __enter__(self) -> Backfill:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._workers.__exit__(kind, error, trace)
        self._writer.close()

    def load(self, path: str, progress: Progress = lambda _: None) -> FileReport:
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
        finally:
            source.close()
            report.bytes = source.consumed
        return report

    def _load(self, source: Source, report: FileReport, progress: Progress) -> None:
        job = Job(self._options.settings, f"backfill:{source.name}", source.modified_at or time.time_ns())
        batch = _Batch(job, report)
        try:
            self._read(source, job, batch, progress)
        except UnreadableInput as error:
            report.error = str(error)
        for group in self._workers.finish():
            batch.add(group)
        self._writer.write(batch)
        self._writer.wait()

    def _read(self, source: Source, job: Job, batch: _Batch, progress: Progress) -> None:
        waiting = _Waiting()
        for part in read_chunks(source, self._options.signal, self._options.scratch):
            if isinstance(part, Rejected):
                batch.report.add_unreadable(part.where, part.reason)
            elif waiting.add(part):
                self._extract(job, waiting.take(), batch)
            progress(source.consumed)
        self._extract(job, waiting.take(), batch)

    def _extract(self, job: Job, chunks: list[Chunk], batch: _Batch) -> None:
        for group in self._workers.give(job, chunks):
            batch.add(group)
            if batch.full:
                self._writer.write(batch)


@dataclass(slots=True)
class _Waiting:
    """Chunks until there are enough to extract together."""

    chunks: list[Chunk] = field(default_factory=list)
    bytes: int = 0

    def add(self, chunk: Chunk) -> bool:
        """Returns whether there are enough."""
        self.chunks.append(chunk)
        self.bytes += len(chunk.body)
        return self.bytes >= _GROUP_BYTES

    def take(self) -> list[Chunk]:
        taken, self.chunks, self.bytes = self.chunks, [], 0
        return taken


class _Batch:
    """Rows of one input until there are enough to sort and store."""

    def __init__(self, job: Job, report: FileReport) -> None:
        self.report = report
        self._empty = Origin(job.source, None, 0, 0, job.received_at, job.received_at)
        self._origin = self._empty
        self._parts: list[Extracted] = []
        self._rows = 0
        self._bytes = 0

    @property
    def full(self) -> bool:
        return self._rows >= _BATCH_ROWS or self._bytes >= _BATCH_BYTES

    def add(self, group: Group) -> None:
        for where, reason, count in group.problems:
            self.report.add_problem(where, reason, count)
        for part in group.unreadable:
            self.report.add_unreadable(part.where, part.reason)
        self._parts.extend(group.extracted)
        self._rows += sum(map(rows, group.extracted))
        self._bytes += sum(
            getattr(part, name).nbytes for part in group.extracted for name in (*RECORDS, "contents")
        )
        origin = self._origin
        self._origin = replace(
            origin, requests=origin.requests + group.requests, bytes=origin.bytes + group.bytes
        )

    def take(self) -> tuple[list[Extracted], Origin]:
        """Everything added since the last time."""
        taken = self._parts, self._origin
        self._parts, self._rows, self._bytes, self._origin = [], 0, 0, self._empty
        return taken


_COUNTS: Final = (*(f"{name}_{outcome}" for name in RECORDS for outcome in OUTCOMES), "calls_written")


class _Writer:
    """Stores one batch at a time, in a thread of its own."""

    def __init__(self, store: Store, dry_run: bool, seen: Seen | None) -> None:
        self._store = store
        self._dry_run = dry_run
        self._seen = seen
        self._thread = ThreadPoolExecutor(1, "writer")
        self._under_way: Future[Counter[str]] | None = None
        self._report: FileReport | None = None
        self._closing = False

    def write(self, batch: _Batch) -> None:
        """Waits for the batch before, then starts on this one. Raises what the store raised."""
        self.wait()
        parts, origin = batch.take()
        self._report = batch.report
        self._under_way = self._thread.submit(self._write, parts, origin)

    def wait(self) -> None:
        """Until everything is stored and counted. Raises what the store raised."""
        if self._under_way is not None and self._report is not None:
            counts, self._under_way = self._under_way.result(), None
            self._report.counts.update(counts)

    def close(self) -> None:
        """A step that has begun is finished, no other begins."""
        self._closing = True
        self._thread.shutdown()

    def _write(self, parts: list[Extracted], origin: Origin) -> Counter[str]:
        counts: Counter[str] = Counter()
        for step in cut_into_steps(parts, _STEP_ROWS):
            if self._closing:
                break
            counts.update(self._commit(step, origin))
            # The requests are counted with the first step.
            origin = replace(origin, requests=0, bytes=0)
        return counts

    def _commit(self, step: Extracted, origin: Origin) -> Counter[str]:
        repeated: Counter[str] = Counter()
        if self._seen is not None:
            step, repeated = self._seen.without_repeated(step)
        if not rows(step):
            return step.counts + repeated
        row = self._store.commit(step, origin, dry_run=self._dry_run)
        return Counter({name: getattr(row, name) for name in _COUNTS}) + repeated

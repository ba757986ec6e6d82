"""Load inputs into the lake by the same steps as live data: extract, resolve, commit."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final

from collector.backfill.batch import Batch
from collector.backfill.extraction import Job
from collector.backfill.parts import Chunk, Rejected
from collector.backfill.reader import read_chunks
from collector.backfill.report import FileReport
from collector.backfill.seen import Seen
from collector.backfill.source import Source, UnreadableInput
from collector.backfill.workers import Workers
from collector.backfill.writer import Store, Writer
from semconv.settings import Settings, Signal

# Requests are extracted together up to this size: a table for each costs time.
_GROUP_BYTES: Final = 4 << 20
# Rows are sorted and stored when there are so many of them, or they take up so much memory: one batch is stored while
# the next one grows, and to sort takes as much again.
_BATCH_ROWS: Final = 200_000
_BATCH_BYTES: Final = 40 << 20

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Options:
    """``signal`` settles what a protobuf input holds where that cannot be told; ``scratch`` is a directory
    for temporary files (None = the system's)."""

    settings: Settings
    signal: Signal | None = None
    dry_run: bool = False
    scratch: Path | None = None


class Backfill:
    """Loads one input after the other through ``store``; a context manager, for it has threads and
    processes."""

    def __init__(self, store: Store, options: Options, seen: Seen | None = None) -> None:
        self._options = options
        self._workers = Workers()
        self._writer = Writer(store, seen)
        self._batch = Batch()

    def __enter__(self) -> Backfill:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._workers.__exit__(kind, error, trace)
        self._writer.close()

    def load(self, path: str, progress: Progress = lambda _: None) -> FileReport:
        """Loads a file, or standard input for ``-``; what was stored of it may be known only after
        ``finish``.

        What is wrong with the input stands in the report. Raises OSError where it cannot be opened or read,
        and what the store raises.
        """
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

    def finish(self) -> None:
        """Stores what is left and completes the reports. Raises what the store raises."""
        self._flush()
        self._writer.wait()

    def _load(self, source: Source, report: FileReport, progress: Progress) -> None:
        # Received when the file was written: what is dated by it (a log record without a time) is the same record
        # at the next run, and only what lay ahead of that clock is noted as skewed.
        job = Job(self._options.settings, f"backfill:{source.name}", source.modified_at or time.time_ns())
        # Of a dry run nothing can be asked of the lake afterwards: its files are counted apart.
        if job.source in self._batch.shares or self._options.dry_run:
            self._flush()
        self._batch.open(job, report)
        try:
            self._read(source, job, report, progress)
        except UnreadableInput as error:
            report.error = str(error)
        for group in self._workers.finish():
            self._batch.add(group)

    def _read(self, source: Source, job: Job, report: FileReport, progress: Progress) -> None:
        waiting = _Waiting()
        for part in read_chunks(source, self._options.signal, self._options.scratch):
            if isinstance(part, Rejected):
                report.add_unreadable(part.where, part.reason)
            elif waiting.add(part):
                self._extract(job, waiting.take(), report)
            progress(source.consumed)
        self._extract(job, waiting.take(), report)

    def _extract(self, job: Job, chunks: list[Chunk], report: FileReport) -> None:
        for group in self._workers.give(job, chunks):
            self._batch.add(group)
            if self._batch.rows >= _BATCH_ROWS or self._batch.bytes >= _BATCH_BYTES:
                self._flush()
                self._batch.open(job, report)

    def _flush(self) -> None:
        batch, self._batch = self._batch, Batch()
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

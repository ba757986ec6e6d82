"""Batches → the lake, in a thread of its own: while one is stored, the next one is read and extracted."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Final, Protocol

import pyarrow.compute as pc

from collector.backfill.batch import Batch, Share, origin_of
from collector.backfill.seen import Seen
from collector.backfill.steps import RECORDS, cut_into_steps, rows
from collector.store.load_row import LoadRow, Origin
from semconv.extract import Extracted

# Rows a commit, as the server's loader has them: it waits no longer than for one of its own, and a row of ordinary
# spans takes some 10 KB until it is stored.
_STEP_ROWS: Final = 15_000

# (source, name of a count) → how many.
Counts = Counter[tuple[str, str]]


class Store(Protocol):
    """Where batches go."""

    def commit(self, extracted: Extracted, origin: Origin, *, dry_run: bool = False) -> LoadRow:
        """As ``collector.store.commit.Committer``."""

    def stored_by_source(self, load_id: str, table: str) -> dict[str, int]:
        """How many rows of ``table`` each source has from this load."""


class Writer:
    """Stores one batch at a time. ``seen`` makes a dry run count what stands twice in the input once."""

    def __init__(self, store: Store, seen: Seen | None) -> None:
        self._store = store
        self._seen = seen
        self._thread = ThreadPoolExecutor(1, "writer")
        self._under_way: tuple[Batch, Future[Counts]] | None = None
        self._closing = False

    def write(self, batch: Batch) -> None:
        """Waits for the batch before, then starts on this one. Raises what the store raised."""
        self.wait()
        self._under_way = batch, self._thread.submit(self._write, batch)

    def wait(self) -> None:
        """Until everything is stored and stands in the reports. Raises what the store raised."""
        if self._under_way is None:
            return
        (batch, counting), self._under_way = self._under_way, None
        for (source, name), count in counting.result().items():
            batch.shares[source].report.counts[name] += count

    def close(self) -> None:
        """A step that has begun is finished, no other begins."""
        self._closing = True
        self._thread.shutdown()

    def _write(self, batch: Batch) -> Counts:
        counts: Counts = Counter()
        for shares in batch.unions():
            counts.update(self._write_together(shares))
        return counts

    def _write_together(self, shares: list[Share]) -> Counts:
        origin = origin_of(shares)
        parts = [part for share in shares for part in share.parts]
        for share in shares:
            share.parts.clear()
        counts: Counts = Counter()
        for step in cut_into_steps(parts, _STEP_ROWS):
            if self._closing:
                break
            counts.update(self._commit(step, origin, [share.job.source for share in shares]))
            # The requests are counted with the first step.
            origin = replace(origin, requests=0, bytes=0)
        return counts

    def _commit(self, step: Extracted, origin: Origin, sources: list[str]) -> Counts:
        counts: Counts = Counter()
        if self._seen is not None:
            step, repeated = self._seen.without_repeated(step)
            counts.update({(sources[0], name): count for name, count in repeated.items()})
        if rows(step):
            row = self._store.commit(step, origin, dry_run=self._seen is not None)
            counts[sources[0], "calls_written"] += row.calls_written
            for table in RECORDS:
                counts.update(self._outcomes(step, row, table, sources))
        return counts

    def _outcomes(self, step: Extracted, row: LoadRow, table: str, sources: list[str]) -> Counts:
        """Which input's rows were stored, and which were there already."""
        stored = {sources[0]: getattr(row, f"{table}_stored")}
        if len(sources) > 1 and getattr(step, table).num_rows:
            stored = self._store.stored_by_source(row.load_id, table)
        given = pc.value_counts(getattr(step, table).column("source")).to_pylist()
        counts: Counts = Counter()
        for each in given:
            source = each["values"]
            counts[source, f"{table}_stored"] = stored.get(source, 0)
            counts[source, f"{table}_duplicate"] = each["counts"] - stored.get(source, 0)
        return counts

"""The one write path into the lake, for the loader and for backfills.

A commit is one lake transaction under the writer lock: rows that are not stored yet, the `calls` of every trace
they touch, the texts that are switched on, and the `loads` row with the spool position. A crash at any moment leaves
all of it or nothing, and the same batch again stores nothing.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import replace
from functools import reduce

import duckdb
import pyarrow as pa

from collector.store import missing_records
from collector.store.calls_update import CallsUpdate
from collector.store.lake import Lake
from collector.store.load_row import LoadRow, Origin, Position, insert_load
from collector.store.partitions import split
from collector.store.prices import WriterPrices
from collector.store.records import (
    KINDS,
    LOG_RECORDS,
    SPANS,
    Kind,
    choose_new,
    first_of_each,
    insert_contents,
    look_up_keys,
    remember,
)
from collector.store.traces import joined_parts
from collector.store.transaction import Writer
from semconv.extract import Extracted
from semconv.resolve import Resolver
from semconv.settings import Settings


class Committer:
    """Writes batches to a lake. Not thread-safe: one thread, one connection."""

    def __init__(self, lake: Lake, settings: Settings, max_bytes: int | None = None) -> None:
        """`max_bytes` bounds the rows of one transaction; what is larger is stored in several."""
        self._max_bytes = max_bytes
        self._lake = lake
        self._settings = settings
        self._has_seen: set[Kind] = set()  # kinds of which a dry run remembers what it would have stored
        self._prepare()

    def commit(self, extracted: Extracted, origin: Origin, *, dry_run: bool = False) -> LoadRow:
        """Store what is not stored yet; return the `loads` row (of several transactions: their sum).

        `dry_run` counts the same, across batches too, and rolls back; a committer of its own, please. After any
        exception this batch, or the rest of a batch in several pieces, is rolled back and the committer usable.
        """
        *first, last = split(extracted, self._max_bytes)
        part_origin = replace(origin, position=None, requests=0, bytes=0)
        rows = [self._commit_part(part, part_origin, dry_run) for part in first]
        return reduce(LoadRow.plus, [*rows, self._commit_part(last, origin, dry_run)])

    def spool_position(self) -> Position | None:
        """Up to where the spool is loaded: (segment, byte offset); None where nothing came from one yet."""
        row = self._lake.connection.execute(
            "SELECT spool_segment, spool_offset FROM lake.loads WHERE spool_segment IS NOT NULL"
            " ORDER BY spool_segment DESC, spool_offset DESC LIMIT 1"
        ).fetchone()
        return (int(row[0]), int(row[1])) if row else None

    def _prepare(self) -> None:
        self._prices = WriterPrices(self._lake.connection, self._settings)
        self._resolver = Resolver(self._lake.connection, self._settings, self._prices.price_list)
        self._writer = Writer(self._lake)
        self._calls = CallsUpdate(self._lake.connection, self._resolver, self._settings.dimensions)

    def _commit_part(self, extracted: Extracted, origin: Origin, dry_run: bool) -> LoadRow:
        started = time.monotonic()
        load_id = f"{time.time_ns():016x}{secrets.token_hex(4)}"
        try:
            if self._prices.are_outdated():
                self._prepare()
            resolved = self._resolve(extracted)
            with self._writer.transaction(dry_run=dry_run):
                self._calls.may_lack_records = missing_records.are_possible(self._lake.data_dir)
                self._prices.store()
                counts = self._store(extracted, resolved, load_id)
                row = LoadRow.of(load_id, origin, counts, started)
                insert_load(self._lake.connection, row)
            if dry_run:
                remember(self._lake.connection, resolved)
                self._has_seen.update(resolved)
            else:
                self._prices.committed()
            self._calls.forget()
        except BaseException:
            self._recover()
            raise
        return row

    def _resolve(self, extracted: Extracted) -> dict[Kind, pa.Table]:
        """What needs no lake, before the lock is taken: the kinds of record that the batch has."""
        resolved = {}
        for kind in KINDS:
            records = getattr(extracted, kind.table)
            if records.num_rows:
                resolve = getattr(self._resolver, f"resolve_{kind.table}")
                resolved[kind] = resolve(first_of_each(records, kind))
        return resolved

    def _store(self, extracted: Extracted, resolved: dict[Kind, pa.Table], load_id: str) -> dict[str, int]:
        """All of the batch but its `loads` row: first everything that reads the lake, then all that writes."""
        connection = self._lake.connection
        counts = dict(extracted.counts)
        new = {kind: self._find_new(kind, records) for kind, records in resolved.items() if kind is not SPANS}
        has_call_logs = self._calls.logs.take_new(new.get(LOG_RECORDS))
        has_calls = False
        if has_call_logs or SPANS in resolved:
            spans = resolved[SPANS] if SPANS in resolved else self._resolver.resolve_spans(extracted.spans)
            new[SPANS], has_calls = self._find_new_spans(spans, has_call_logs)
        for kind in resolved:
            duplicates = getattr(extracted, kind.table).num_rows - new[kind].num_rows
            counts |= {f"{kind.table}_stored": new[kind].num_rows, f"{kind.table}_duplicate": duplicates}
            if new[kind].num_rows:
                self._writer.new_files.insert(kind.table, _of_load(new[kind], load_id), kind.time)
        if has_calls:
            counts["calls_written"] = self._calls.replace(self._writer.new_files)
        if extracted.contents.num_rows:
            insert_contents(connection, extracted.contents, load_id)
        return counts

    def _find_new(self, kind: Kind, records: pa.Table) -> pa.Table:
        stored = look_up_keys(self._lake.connection, kind, records)
        return self._choose_new(kind, records, stored)

    def _find_new_spans(self, spans: pa.Table, has_call_logs: bool) -> tuple[pa.Table, bool]:
        """Which there are, and whether calls were built that have to take the place of stored ones."""
        calls = self._calls
        looked_at = calls.stored.look_up_batch(joined_parts(spans, calls.logs.new))
        new = self._choose_new(SPANS, spans, calls.stored.rows)
        return new, (new.num_rows > 0 or has_call_logs) and calls.build(new, looked_at)

    def _choose_new(self, kind: Kind, records: pa.Table, stored: pa.Table) -> pa.Table:
        return choose_new(self._lake.connection, kind, records, stored, also_seen=kind in self._has_seen)

    def _recover(self) -> None:
        """Replace a connection that an internal error has spoilt."""
        try:
            self._lake.connection.execute("SELECT 1")
        except duckdb.Error:
            self._lake.reopen()
            self._has_seen.clear()
            self._prepare()


def _of_load(rows: pa.Table, load_id: str) -> pa.Table:
    return rows.append_column("load_id", pa.repeat(pa.scalar(load_id, pa.string()), rows.num_rows))

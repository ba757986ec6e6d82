"""Stored records read again with today's dialect tables, and the `calls` that they touch built again.

It goes in steps, each over a short stretch of time of one table: read what is stored there, work it out anew, and
where something differs replace those rows and their calls in one transaction under the writer lock. So a crash
leaves a lake in which every call agrees with the records, and running again does the rest. What a loader stores
meanwhile was read with today's tables anyway.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

import pyarrow as pa

from collector.store.calls_update import CallsUpdate, delete_calls
from collector.store.lake import Lake
from collector.store.prices import WriterPrices
from collector.store.records import (
    KINDS,
    LOG_RECORDS,
    METRIC_POINTS,
    SPANS,
    Kind,
    count,
    drop_tables,
    hours,
    insert_contents,
)
from collector.store.statements import sql
from collector.store.traces import MARGIN
from collector.store.transaction import Writer
from collector.store.windows import any_of, windows
from semconv import restore
from semconv.calls import RECORD_TRACE
from semconv.planned import relation
from semconv.resolve import Resolver
from semconv.restore import Restored
from semconv.settings import Settings

# Rows of a step: read, worked out and replaced in about a second.
_STEP_ROWS: Final = 2000
# Text of a step: its rows exist several times over, in Python, Arrow and DuckDB.
_STEP_BYTES: Final = 8 << 20
_RESTORE: Final[dict[Kind, Callable[[pa.Table, Settings], Restored]]] = {
    SPANS: restore.restore_spans,
    LOG_RECORDS: restore.restore_log_records,
    METRIC_POINTS: restore.restore_metric_points,
}
_TEXTS: Final[dict[Kind, tuple[str, ...]]] = {
    SPANS: ("attributes", "events", "links", "resource_attributes"),
    LOG_RECORDS: ("attributes", "body", "resource_attributes"),
    METRIC_POINTS: ("attributes", "buckets", "exemplars", "resource_attributes"),
}
# Relation, dialect before and dialect now.
Change = tuple[str, str | None, str | None]


@dataclass(frozen=True, slots=True)
class Step:
    """Rows of a table from `start` to before `end`, naive UTC."""

    kind: Kind
    start: dt.datetime
    end: dt.datetime

    def condition(self) -> str:
        """SQL with literals, which prune files."""
        column = self.kind.time
        return f"{column} >= TIMESTAMP '{self.start}' AND {column} < TIMESTAMP '{self.end}'"


@dataclass(slots=True)
class Outcome:
    """What steps did. ``read`` and ``left`` (cut off too much to be read again) by relation; ``changes`` counts
    rows; `calls` were written, and stand in no dry run.
    """

    read: Counter[str] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)
    changes: Counter[Change] = field(default_factory=Counter)
    calls: int = 0

    def add(self, other: Outcome) -> None:
        """Count the other's too."""
        self.read += other.read
        self.left += other.left
        self.changes += other.changes
        self.calls += other.calls

    def changed(self, relation: str) -> int:
        """Changed rows of a relation."""
        return sum(number for (of, _, _), number in self.changes.items() if of == relation)


class Renormalizer:
    """Not thread-safe: one thread, one connection, and the TEMP tables of a connection of its own."""

    def __init__(self, lake: Lake, settings: Settings) -> None:
        self._lake = lake
        self._connection = lake.connection
        self._settings = settings
        self._writer = Writer(lake)
        self._prepare()

    def steps(self, start: dt.datetime, end: dt.datetime) -> Iterator[Step]:
        """The steps over records of `start` to before `end`, naive UTC; each is cut when the one before is done."""
        for kind in KINDS:
            for step in self._cut(Step(kind, start, end), _STEP_ROWS):
                yield from self._cut_by_size(step)

    def _prepare(self) -> None:
        self._prices = WriterPrices(self._connection, self._settings)
        self._resolver = Resolver(self._connection, self._settings, self._prices.price_list)
        self._calls = CallsUpdate(self._connection, self._resolver, self._settings.dimensions)

    def rows(self, start: dt.datetime, end: dt.datetime) -> int:
        """How many records the steps will read."""
        return sum(
            count(self._connection, f"lake.{kind.table} WHERE {Step(kind, start, end).condition()}")
            for kind in KINDS
        )

    def take(self, step: Step, *, dry_run: bool) -> Outcome:
        """Make one step; a dry run only counts. After any exception nothing of the step is done."""
        outcome = Outcome()
        if self._prices.are_outdated():
            self._prepare()
        if self._compare(step, outcome) and not dry_run:
            with self._writer.transaction():
                self._prices.store()
                outcome.calls = self._replace(step)
            self._prices.committed()
        self._calls.forget()
        drop_tables(self._connection, "stored_rows", "renormalized")
        return outcome

    # --- steps ------------------------------------------------------------------------------------

    def _cut(self, step: Step, rows: int) -> Iterator[Step]:
        """A step in several of about so many rows. Rows of one time are never parted."""
        statement = sql("sql/step_borders.sql").format(
            table=step.kind.table, time=step.kind.time, within=step.condition(), rows=rows
        )
        borders = [row[0] for row in self._connection.execute(statement).fetchall()]
        for start, end in pairwise([*borders, step.end] if borders else []):
            yield Step(step.kind, start, end)

    def _cut_by_size(self, step: Step) -> Iterator[Step]:
        sizes = " + ".join(f"coalesce(strlen({name}::VARCHAR), 0)" for name in _TEXTS[step.kind])
        found = self._connection.execute(
            f"SELECT count(*), sum({sizes}) FROM lake.{step.kind.table} WHERE {step.condition()}"
        ).fetchone()
        rows, size = found or (0, 0)
        if not rows or size <= _STEP_BYTES:
            yield step
        else:
            yield from self._cut(step, max(1, rows * _STEP_BYTES // size))

    # --- one step ---------------------------------------------------------------------------------

    def _compare(self, step: Step, outcome: Outcome) -> int:
        """TEMP renormalized: the rows that come out different; how many."""
        kind, connection = step.kind, self._connection
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE stored_rows AS SELECT * FROM lake.{kind.table}"
            f" WHERE {step.condition()} ORDER BY {kind.time}"
        )
        stored = connection.execute("FROM stored_rows").to_arrow_table()
        restored = _RESTORE[kind](stored, self._settings)
        outcome.read[kind.table] += stored.num_rows
        outcome.left[kind.table] += restored.left
        del stored
        resolved = getattr(self._resolver, f"resolve_{kind.table}")(restored.records)
        self._columns = resolved.column_names
        with relation(connection, f"resolved_{kind.table}", resolved):
            connection.execute(self._statement("renormalized", kind))
        self._contents = restored.contents
        for before, now, number in connection.execute(
            "SELECT dialect_before, dialect, count(*) FROM renormalized GROUP BY ALL"
        ).fetchall():
            outcome.changes[kind.table, before, now] += number
        return outcome.changed(kind.table)

    def _replace(self, step: Step) -> int:
        """Put TEMP renormalized in the place of what is stored; how many calls were written."""
        kind, connection = step.kind, self._connection
        connection.execute(self._statement("drop_vanished", kind, within=step.condition()))
        if not count(connection, "renormalized"):
            return 0
        if kind is not METRIC_POINTS:
            self._take_calls_apart(kind)
        connection.execute(self._statement("delete_renormalized", kind, within=step.condition()))
        has_calls = kind is not METRIC_POINTS and self._build_calls(kind)
        connection.execute(
            f"INSERT INTO lake.{kind.table} BY NAME SELECT * EXCLUDE (dialect_before) FROM renormalized"
            f" ORDER BY {kind.time}"
        )
        if self._contents.num_rows:
            (load_id,) = connection.execute("SELECT min(load_id) FROM renormalized").fetchall()[0]
            insert_contents(connection, self._contents, load_id)
        return self._calls.replace(self._writer.new_files) if has_calls else 0

    def _take_calls_apart(self, kind: Kind) -> None:
        """Delete the calls that the changed records reported; TEMP linked_traces: where their records stand."""
        connection = self._connection
        near = any_of(windows(hours(connection, "renormalized", kind.time), MARGIN), "start_time")
        record = "record_hash" if kind is LOG_RECORDS else "trace_id || ' ' || span_id"
        connection.execute(
            sql("sql/stale_calls.sql").format(changed="renormalized", near=near, record=record)
        )
        within = any_of(windows(hours(connection, "stale_calls", "start_time"), MARGIN), LOG_RECORDS.time)
        connection.execute(sql("sql/linked_traces.sql").format(within=within, record_trace=RECORD_TRACE))
        delete_calls(connection, "stale_calls", hours(connection, "stale_calls", "start_time"))

    def _build_calls(self, kind: Kind) -> bool:
        """Build calls as after a load of the changed rows alone."""
        connection = self._connection
        changed = connection.execute(
            f"SELECT * EXCLUDE (dialect_before, load_id) FROM renormalized ORDER BY {kind.time}"
        ).to_arrow_table()
        linked = connection.execute("FROM linked_traces").to_arrow_table()
        if kind is LOG_RECORDS:
            return self._calls.build_again(linked, logs=changed)
        return self._calls.build_again(linked, spans=changed)

    def _statement(self, name: str, kind: Kind, **parts: str) -> str:
        key = (*kind.key, kind.time)
        return sql(f"sql/{name}.sql").format(
            table=kind.table,
            key=", ".join(key),
            differs=" OR ".join(
                f"new.{column} IS DISTINCT FROM old.{column}" for column in self._columns if column not in key
            ),
            **parts,
        )

"""Spans that are stored twice: the same identity more than an hour apart, where a commit does not look for it.

The one that was loaded first stays. The other goes with its texts, and the calls of its trace are built again, in one
transaction under the writer lock.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

import duckdb
import pyarrow as pa

from collector.store.calls_update import CallsUpdate, delete_calls
from collector.store.lake import Lake
from collector.store.prices import WriterPrices
from collector.store.records import LOG_RECORDS, SPANS, count, drop_tables, hours, hours_of
from collector.store.statements import sql
from collector.store.traces import MARGIN
from collector.store.transaction import Writer
from collector.store.windows import any_of, windows
from semconv.calls import RECORD_TRACE
from semconv.planned import relation
from semconv.resolve import Resolver
from semconv.settings import Settings

# Spans that are compared at once, as hashes: some 150 MB.
_BUCKET_SPANS: Final = 4_000_000
# Identities whose twins are removed in one step, of about a second.
_STEP_IDENTITIES: Final = 500
# A load is named when it begins, so one that was waiting for its turn may come after later ones.
_LONGEST_LOAD_NS: Final = 3600 * 10**9
EVER: Final = ""


def checked_now() -> str:
    """What `find` may be told the next time: loads that are named before this are compared now."""
    return f"{time.time_ns() - _LONGEST_LOAD_NS:016x}"


class Twins:
    """Not thread-safe: one thread, one connection, and the TEMP tables of a connection of its own."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._connection = lake.connection

    def find(self, since: str = EVER) -> Iterator[pa.Table]:
        """Spans that were loaded after the load `since` compared with all: of each identity that is there several times
        every row (identity, tenant, trace_id, span_id, start_time, duration_ns, load_id, place; place 1 is the first
        loaded), some hundreds of identities at a time.
        """
        spans = count(self._connection, "lake.spans")
        buckets = max(1, -(-spans // _BUCKET_SPANS))
        for bucket in range(buckets):
            yield from self._find(since, buckets, bucket)

    def _find(self, since: str, buckets: int, bucket: int) -> Iterator[pa.Table]:
        statement = sql("sql/repeated_spans.sql").format(since=since, buckets=buckets, bucket=bucket)
        repeated = self._connection.execute(statement).to_arrow_table()
        for first in range(0, repeated.num_rows, _STEP_IDENTITIES):
            twins = rows_of(self._connection, repeated.slice(first, _STEP_IDENTITIES), "true")
            if twins.num_rows:
                yield twins


def rows_of(connection: duckdb.DuckDBPyConnection, repeated: pa.Table, within: str) -> pa.Table:
    """Every row of the identities that `repeated` has as hashes and that are there several times under a condition."""
    with relation(connection, "repeated", repeated):
        return connection.execute(sql("sql/twins.sql").format(within=within)).to_arrow_table()


class TwinRemover:
    """As Twins; needs what building calls needs."""

    def __init__(self, lake: Lake, settings: Settings) -> None:
        self._lake = lake
        self._connection = lake.connection
        self._settings = settings
        self._writer = Writer(lake)
        self._prices = WriterPrices(self._connection, settings)
        self._resolver = Resolver(self._connection, settings, self._prices.price_list)
        self._calls = CallsUpdate(self._connection, self._resolver, settings.dimensions)

    def remove(self, twins: pa.Table) -> int:
        """Remove the later ones of one table of `find`; how many rows. After any exception nothing is changed."""
        with self._writer.transaction():
            removed = self._remove(twins)
        self._prices.committed()
        self._calls.forget()
        drop_tables(self._connection, "twins", "doomed", "stale_calls", "linked_traces")
        return removed

    def _remove(self, found: pa.Table) -> int:
        """The rows are looked at once more, under the lock: the first may have gone meanwhile."""
        connection = self._connection
        within = any_of(windows(hours_of(found, SPANS.time)), SPANS.time)
        twins = rows_of(connection, found.select(["identity"]), within)
        with relation(connection, "found_twins", twins):
            connection.execute("CREATE OR REPLACE TEMP TABLE twins AS FROM found_twins")
        connection.execute("CREATE OR REPLACE TEMP TABLE doomed AS FROM twins WHERE place > 1")
        doomed = count(connection, "doomed")
        if not doomed:
            return 0
        self._prices.store()
        self._take_calls_apart()
        starts = hours(connection, "doomed", SPANS.time)
        for table in ("spans", "contents"):
            connection.execute(
                sql("sql/delete_twins.sql").format(table=table, within=any_of(windows(starts), SPANS.time))
            )
        if self._build_calls():
            self._calls.replace(self._writer.new_files)
        return doomed

    def _take_calls_apart(self) -> None:
        """Delete the calls that they reported; TEMP linked_traces: where the records of those stand."""
        connection = self._connection
        near = any_of(windows(hours(connection, "doomed", SPANS.time), MARGIN), SPANS.time)
        stale = sql("sql/stale_calls.sql")
        connection.execute(stale.format(changed="doomed", near=near, record="trace_id || ' ' || span_id"))
        starts = hours(connection, "stale_calls", SPANS.time)
        within = any_of(windows(starts, MARGIN), LOG_RECORDS.time)
        connection.execute(sql("sql/linked_traces.sql").format(within=within, record_trace=RECORD_TRACE))
        delete_calls(connection, "stale_calls", starts)

    def _build_calls(self) -> bool:
        """Build the calls of those traces from what is left of them."""
        linked = self._connection.execute(sql("sql/linked_twins.sql")).to_arrow_table()
        return self._calls.build_again(linked)

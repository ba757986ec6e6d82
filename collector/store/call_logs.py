"""The log records that report calls: those of the batch, and those stored that belong to what it touches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import duckdb
import pyarrow as pa

from collector.store.records import LOG_RECORDS
from collector.store.statements import sql
from collector.store.traces import MARGIN, distinct_traces
from collector.store.windows import Extent, Window, any_of, windows
from semconv.calls import (
    PARTNER_HORIZON,
    RECORD_TRACE,
    REPORTS_CALL,
    log_record_select,
    partner_log_select,
)
from semconv.planned import Planned, relation


class CallLogs:
    """Log records as `call_records`, of one batch after the other. Most deployments store none that report calls:
    there a batch costs one look for them.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, dimensions: Mapping[str, str]) -> None:
        self._connection = connection
        self._select = log_record_select(dimensions)
        self._chosen = Planned(connection, f"SELECT {self._select} FROM log_records WHERE {REPORTS_CALL}")
        self._none: pa.Table = connection.execute(
            f"SELECT {self._select} FROM lake.log_records WHERE false"
        ).to_arrow_table()
        self.new = self._none  # those of the batch
        self.traces = distinct_traces(self._none)  # traces of the batch in which there are stored ones
        self.are_stored = False

    @property
    def are_there(self) -> bool:
        """Whether the batch has any, or the lake at about its time."""
        return self.new.num_rows > 0 or self.are_stored

    def take_new(self, log_records: pa.Table | None) -> bool:
        """Those among the new log records of the batch; whether there are any."""
        self.new = self._none if log_records is None else self._chosen.table(log_records=log_records)
        return bool(self.new.num_rows)

    def look_around(self, looked_at: Sequence[Window], new_spans: pa.Table) -> None:
        """Whether any are stored at about the batch's time, and in which of its traces."""
        within = any_of(looked_at, LOG_RECORDS.time)
        self.traces = self.traces.schema.empty_table()
        self.are_stored = self._may_be_stored() and self._finds(
            f"SELECT count(*) > 0 FROM (SELECT 1 FROM lake.log_records WHERE ({within}) AND {REPORTS_CALL} LIMIT 1)"
        )
        if self.are_stored:
            with relation(self._connection, "wanted_traces", distinct_traces(new_spans)):
                self.traces = self._connection.execute(
                    "SELECT DISTINCT tenant, trace_id FROM lake.log_records SEMI JOIN wanted_traces"
                    f" USING (tenant, trace_id) WHERE ({within}) AND {REPORTS_CALL}"
                ).to_arrow_table()

    def stored(self, traces: pa.Table, extents: Sequence[Extent]) -> pa.Table:
        """Those stored of `traces`, as call_records. `extents`: when records of these traces start."""
        if not self.are_stored:
            return self._none
        within = any_of(windows(extents, MARGIN), LOG_RECORDS.time)
        with relation(self._connection, "wanted_traces", traces):
            return self._connection.execute(
                f"SELECT {self._select} FROM lake.log_records"
                f" WHERE ({within}) AND {REPORTS_CALL} AND (tenant, {RECORD_TRACE}) IN (FROM wanted_traces)"
            ).to_arrow_table()

    def partners_sql(self, near: Sequence[Extent]) -> str | None:
        """A SELECT of those stored that may be one call with one of call_records, whose candidates start at `near`;
        None where there are none.
        """
        if not self.are_stored:
            return None
        # A record is written up to as long after its call's start as that may lie from the other's.
        within = any_of(windows(near, 2 * PARTNER_HORIZON), LOG_RECORDS.time)
        statement = sql("sql/partner_logs.sql")
        return statement.format(columns=partner_log_select(), within=within, reports_call=REPORTS_CALL)

    def _may_be_stored(self) -> bool:
        return self._finds(sql("sql/logs_of_calls.sql"))

    def _finds(self, statement: str) -> bool:
        row = self._connection.execute(statement).fetchone()
        return row is not None and bool(row[0])
